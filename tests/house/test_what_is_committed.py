"""What may be committed: nothing of one machine, a whole lock, documented settings, no secrets."""

from __future__ import annotations

import itertools
import re
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement

from closedloop.settings import Settings
from tests.house.tree import ROOT, modules, texts

# Written in two parts, because this file is searched too.
MACHINE_PATHS = [f"/{folder}/" for folder in ("work", "root", "home", "Users")]
INDEX_ADDRESSES = [
    "".join(parts)
    for parts in (
        ("index", "-url"),
        ("find", "-links"),
        ("pypi.org", "/simple"),
        ("files.", "pythonhosted"),
        ("registry = ", '"http'),
    )
]


def _found(patterns: list[str]) -> list[str]:
    return [
        f"{path}:{number}: {line.strip()[:100]}"
        for path, text in texts()
        for number, line in enumerate(text.splitlines(), start=1)
        if any(pattern in line for pattern in patterns)
    ]


def test_no_path_of_a_machine_is_committed() -> None:
    """A path that exists on a single machine would break on every other."""
    assert _found(MACHINE_PATHS) == []


def test_no_address_of_a_package_index_is_committed() -> None:
    """The installer chooses the index: the tree names packages, versions and hashes."""
    assert _found(INDEX_ADDRESSES) == []


def _locked() -> dict[str, list[str]]:
    """Name -> versions; some Pythons or systems need a different version of a package."""
    found: dict[str, list[str]] = {}
    for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines():
        if match := re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^ ;\\]+)", line):
            found.setdefault(re.sub(r"[-_.]+", "-", match[1]).lower(), []).append(match[2])
    return found


def test_the_lock_holds_names_versions_and_hashes_only() -> None:
    """Every line is a pin, a hash or a comment, and every pin has a hash, so that pip refuses a
    file that was replaced on the way."""
    pin = r"[A-Za-z0-9._-]+(\[[^]]+\])?==[^ ;]+( ; [^\\]+)? \\"
    allowed = re.compile(rf"(#.*|\s+#.*|{pin}|    --hash=sha256:[0-9a-f]{{64}}( \\)?)?")
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not allowed.fullmatch(line)] == []
    assert not [line for line in lines if "://" in line]
    for pinned, following in zip(lines, [*lines[1:], ""], strict=True):
        assert "==" not in pinned or pinned.lstrip().startswith("#") or "--hash=" in following, (
            f"no hash: {pinned}"
        )


def test_the_lock_satisfies_pyproject() -> None:
    """Each dependency, the developers' included, is locked within its range: run make lock."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    locked = _locked()
    extras = itertools.chain(*project["optional-dependencies"].values())
    for wanted in map(Requirement, [*project["dependencies"], *extras]):
        if wanted.name == project["name"]:
            continue  # its other extras, which are here, too
        versions = locked.get(re.sub(r"[-_.]+", "-", wanted.name).lower(), [])
        assert versions, f"{wanted} is not in requirements.lock: run make lock"
        assert all(wanted.specifier.contains(version, prereleases=True) for version in versions), (
            f"{wanted} against {versions}: run make lock"
        )


def _variables_of_the_stack() -> set[str]:
    """The variables that docker-compose.yml and stack/development.yml read."""
    texts = [
        (ROOT / name).read_text(encoding="utf-8")
        for name in ("docker-compose.yml", "stack/development.yml")
    ]
    # Each file of a secret is called after the variable that make-env.sh writes into it.
    return {name for text in texts for name in re.findall(r"(?<!\$)\$\{([A-Z0-9_]+)", text)} | set(
        yaml.safe_load(texts[0])["secrets"]
    )


def test_every_variable_is_documented_and_nothing_else() -> None:
    """.env.example names each setting and each variable of the stack once, and no other."""
    prefix = Settings.model_config["env_prefix"]
    documented = re.findall(
        r"^# ?([A-Z0-9_]+)=",
        (ROOT / ".env.example").read_text(encoding="utf-8"),
        flags=re.MULTILINE,
    )
    assert sorted(documented) == sorted(
        {*(f"{prefix}{name}".upper() for name in Settings.model_fields), *_variables_of_the_stack()}
    )


def test_no_secret_of_the_stack_has_a_default() -> None:
    """docker-compose.yml requires every secret, and make-env.sh makes every secret."""
    secret = {
        name for name in _variables_of_the_stack() if re.search("PASSWORD|SECRET|_KEY$|AUTH", name)
    }
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    made = (ROOT / "stack" / "make-env.sh").read_text(encoding="utf-8")
    for name in sorted(secret):
        assert re.findall(rf"\$\{{{name}(..)", text) == [":?"] * text.count(f"${{{name}"), name
        assert re.search(rf"\b{name}\b", made), f"stack/make-env.sh makes no {name}"


def test_the_documented_defaults_are_the_defaults() -> None:
    """A line of .env.example shows the default of its setting, if there is a default."""
    shown = dict(
        re.findall(
            r"^# ?CLOSEDLOOP_([A-Z_]+)=(.*)$",
            (ROOT / ".env.example").read_text(encoding="utf-8"),
            flags=re.MULTILINE,
        )
    )
    for name, field in Settings.model_fields.items():
        if field.default is not None:
            assert shown[name.upper()] == str(field.default), name


@pytest.mark.parametrize(
    "variable",
    sorted(
        {
            name
            for module in modules()
            for name in re.findall(r"CLOSEDLOOP_[A-Z_]+", module.path.read_text(encoding="utf-8"))
        }
    ),
)
def test_every_variable_that_the_program_names_exists(variable: str) -> None:
    """A variable in a message, a help text or a call is a setting, or CLOSEDLOOP_DEBUG, which shows
    tracebacks."""
    assert variable in {f"CLOSEDLOOP_{name}".upper() for name in Settings.model_fields} | {
        "CLOSEDLOOP_DEBUG"
    }


def test_the_licence_is_whole() -> None:
    """LICENSE is the full text of the licence that pyproject.toml names."""
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert (
        tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["license"]
        == "Apache-2.0"
    )
