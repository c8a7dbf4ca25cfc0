"""The digest of a bundle: its content, every registered file of it, not its place."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from closedloop.bundle.files import (
    MANIFEST_FILE,
    describe_damage,
    extra_files,
    model_digest,
    write_manifest,
)
from closedloop.bundle.loaded import load_with_pipeline
from closedloop.errors import ModelError
from tests.unit.bundle.shop import fit_pipeline, write_bundle


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "bundle", fit_pipeline("logistic"))


OTHERS = [
    "registered_model_meta",  # MLflow, when it loads models:/NAME@production
    ".DS_Store",
    "model.skops~",
    "MLmodel.bak",
    "__pycache__/reader.cpython-311.pyc",
    "notes/todo.txt",
]


@pytest.mark.parametrize("listed", [True, False], ids=["manifest", "registered without one"])
def test_the_digest_covers_every_registered_file(folder: Path, listed: bool) -> None:
    """One changed byte, one file less, another name, a changed manifest: each gives another
    digest."""
    digests = [write_manifest(folder) if listed else model_digest(folder)]
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    assert len(files) == 4 + listed
    for path in files:
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        digests.append(model_digest(folder))
        path.unlink()
        without = model_digest(folder)
        digests.append(without)
        path.with_name(f"{path.name}.old").write_bytes(content)
        assert model_digest(folder) == without
        path.with_name(f"{path.name}.old").unlink()
        path.write_bytes(content)
    assert len(set(digests)) == len(digests)
    assert model_digest(folder) == digests[0]


@pytest.mark.parametrize("listed", [True, False], ids=["manifest", "registered without one"])
def test_only_what_was_registered_counts(folder: Path, listed: bool) -> None:
    """Whatever lies beside the registered files changes no digest, and is named."""
    digest = write_manifest(folder) if listed else model_digest(folder)
    assert extra_files(folder) == ()
    for name in OTHERS:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("by others", encoding="utf-8")
    assert model_digest(folder) == digest
    assert sorted(extra_files(folder)) == sorted(OTHERS)


def test_a_version_of_before_manifests_has_the_digest_it_was_registered_with(folder: Path) -> None:
    """The digest over every file, as older versions noted it, is the one that is compared."""
    whole = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        whole.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    (folder / "registered_model_meta").touch()
    assert model_digest(folder) == whole.hexdigest()


def test_damage_is_named(folder: Path) -> None:
    """Which registered file is missing or changed is said, also when the manifest itself is."""
    digest = write_manifest(folder)
    assert describe_damage(folder) == f"sha256 {digest[:12]}"
    (folder / "facts.json").write_text("{}", encoding="utf-8")
    (folder / "model.skops").unlink()
    assert describe_damage(folder) == "facts.json changed, model.skops missing"
    for content in ("", "[]", "{}", '{"sha256": []}'):
        (folder / MANIFEST_FILE).write_text(content, encoding="utf-8")
        assert model_digest(folder) != digest
        assert describe_damage(folder).startswith("sha256 ")
    assert describe_damage(folder / "nowhere") == f"no model in {folder / 'nowhere'}"


NO_FILES = {
    "a link": lambda path: path.symlink_to("/etc/hostname"),
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a folder": Path.mkdir,
    "a pipe": os.mkfifo,
    "6 GB": lambda path: (path.touch(), os.truncate(path, 6_000_000_000)),
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("make", NO_FILES.values(), ids=NO_FILES)
@pytest.mark.parametrize("name", ["self_test.json", "model.skops", MANIFEST_FILE])
def test_what_is_no_file_of_its_own_is_not_read(folder: Path, name: str, make: Any) -> None:
    """A link, a device, a pipe that nobody writes to and a file of gigabytes count as missing, at
    once, and no bundle with them loads."""
    digest = write_manifest(folder)
    (folder / name).unlink()
    make(folder / name)
    assert model_digest(folder) != digest
    if name != MANIFEST_FILE:
        assert describe_damage(folder) == f"{name} missing"
        with pytest.raises(ModelError):
            load_with_pipeline(folder)


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "a/b", "run.sh"])
def test_a_manifest_names_no_file_but_those_of_a_bundle(
    folder: Path, tmp_path: Path, name: str
) -> None:
    """What it names elsewhere is not even hashed, and no bundle with other files is written."""
    write_manifest(folder)
    (tmp_path / "outside").touch()
    path = folder / MANIFEST_FILE
    path.write_text(json.dumps({"sha256": {name: "0" * 64}}), encoding="utf-8")
    assert describe_damage(folder) == f"sha256 {model_digest(folder)[:12]}"
    (folder / "run.sh").touch()
    with pytest.raises(ModelError, match=r"in files of a bundle, got .*run\.sh"):
        write_manifest(folder)


def test_the_digest_is_that_of_the_content_not_of_the_place(folder: Path, tmp_path: Path) -> None:
    """A copy under another name, in another order of creation, has the same digest."""
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in sorted(folder.iterdir(), reverse=True):
        shutil.copy(path, copy / path.name)
    assert model_digest(copy) == model_digest(folder)
