"""Writes a version into a folder that scores rows without closedloop."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import nullcontext
from dataclasses import asdict
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

from closedloop.bundle.files import FACTS_FILE, ONNX_FILE, Facts, read_file, write_json
from closedloop.bundle.loaded import LoadedVersion
from closedloop.bundle.own_code import own_types
from closedloop.bundle.skops_model import TRUSTED_TYPES
from closedloop.errors import UseCaseError
from closedloop.operations.score_script import write_script
from closedloop.storage.home import Writing
from closedloop.training.recipes import parse_recipe
from closedloop.turn.open import Loop
from closedloop.use_case.recipe import find_own_modules

MODEL_FOLDER, CONTRACT_FILE, REQUIREMENTS_FILE = "model", "contract.json", "requirements.txt"
# What MLflow reads. A bundle's other files hold rows of customers, which an export does not.
_MLFLOW_FILES = ("MLmodel", "model.skops", "conda.yaml", "python_env.yaml", REQUIREMENTS_FILE)


def export_version(
    loop: Loop, number: int, out: Path, writing: Writing = nullcontext
) -> LoadedVersion:
    """Write a version into the new folder `out`, whole or not at all; returns what was loaded.

    Raises UseCaseError when `out` holds something or cannot be made, RegistryError when there is no
    such version or its files were pruned, ModelError when it does not repeat its own answers.
    """
    _refuse_occupied(out)
    loop.registry.loadable(number)
    loaded, bundle = loop.registry.load_proved(number), loop.registry.download(number)
    loaded.require_self_test(number)
    try:
        with writing():
            out.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=out.parent, prefix=".export-") as temporary:
                folder = Path(temporary) / "export"
                folder.mkdir()
                _write_files(folder, bundle, loaded, number)
                _write_own_code(folder, loaded.facts.recipe, loop)
                folder.rename(out)
    except OSError as error:
        raise _refusal(out, error.strerror or str(error)) from error
    return loaded


def _refuse_occupied(out: Path) -> None:
    if out.is_dir() and not any(out.iterdir()):
        return
    if out.is_symlink() or out.exists():
        raise _refusal(out, "a folder that is not empty" if out.is_dir() else "a file")


def _refusal(out: Path, got: str) -> UseCaseError:
    return UseCaseError(
        where=str(out),
        wanted="a folder that is new or empty, where files can be written",
        got=got,
        then="choose another DIR",
    )


def _write_files(folder: Path, bundle: Path, loaded: LoadedVersion, number: int) -> None:
    (folder / MODEL_FOLDER).mkdir()
    for name in _MLFLOW_FILES:
        shutil.copyfile(bundle / name, folder / MODEL_FOLDER / name)
    write_json(folder / FACTS_FILE, _describe_facts(loaded.facts))
    needed = read_file(bundle / REQUIREMENTS_FILE).decode()
    if loaded.proof.served_by == "onnx":
        shutil.copyfile(bundle / ONNX_FILE, folder / ONNX_FILE)
        needed = "".join(f"{name}=={version_of(name)}\n" for name in ("numpy", "onnxruntime"))
    (folder / REQUIREMENTS_FILE).write_text(needed, encoding="utf-8")
    write_json(folder / CONTRACT_FILE, _describe_contract(loaded, number))
    write_script(folder, loaded.proof.served_by)


def _write_own_code(folder: Path, name: str, loop: Loop) -> None:
    """The modules of an estimator of the user's own, beside the script that needs them."""
    recipe = loop.use_case.recipes.get(parse_recipe(name)[0])
    home = loop.use_case.path.parent
    for path, content in {} if recipe is None else find_own_modules(recipe, home).items():
        target = folder / path.relative_to(home)
        if target.exists():
            raise UseCaseError(
                where=str(path),
                wanted="another name: an export has a file of this name itself",
                got=target.name,
                then="rename the module",
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def _describe_facts(facts: Facts) -> dict[str, Any]:
    """The facts without the address of a database, which may hold a password."""
    found = asdict(facts)
    found["use_case"]["source"].pop("url", None)
    return found


def _describe_contract(loaded: LoadedVersion, number: int) -> dict[str, Any]:
    """What a row has to hold and what the answers mean; arrays have the columns in this order."""
    use_case = loaded.use_case
    return {
        "name": use_case.name,
        "version": number,
        "target": use_case.target.column,
        "classes": list(loaded.facts.classes),
        "threshold": loaded.facts.threshold,
        "columns": {name: asdict(column) for name, column in use_case.columns.items()},
        "required": list(use_case.required),
        "numeric": list(use_case.numeric),
        "categorical": list(use_case.categorical),
        "trusted_types": [*TRUSTED_TYPES, *own_types()],
    }
