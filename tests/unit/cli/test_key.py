"""`closedloop key`: keys are shown once, kept as hashes, and never lost by two who change them at
once."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from closedloop.cli.app import main
from closedloop.operations.api_keys import Role, add_key, read_keys

USE_CASE = Path(__file__).resolve().parents[3] / "data" / "streamflow" / "loop.toml"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home of its own; the environment is put back afterwards."""
    before = dict(os.environ)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLOSEDLOOP_HOME", "home")
    monkeypatch.setenv("CLOSEDLOOP_USE_CASE", str(USE_CASE))
    yield tmp_path / "home"
    os.environ.clear()
    os.environ.update(before)


def test_a_key_is_printed_alone_and_kept_as_its_hash(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """stdout is the key and nothing else, the file holds its sha256 and not the key, and only its
    owner may read it."""
    assert main(["key", "add", "shop"], os.environ) == 0
    out, err = capsys.readouterr()
    assert "shown only now" in err
    key, file = out.rstrip("\n"), home / "api_keys.json"
    assert len(key) > 43
    assert " " not in key
    assert key not in file.read_text()
    assert [(key.name, key.sha256) for key in read_keys(file)] == [
        ("shop", hashlib.sha256(key.encode()).hexdigest())
    ]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert sorted(path.name for path in home.iterdir()) == ["api_keys.json", "api_keys.json.lock"]


def test_keys_are_listed_and_removed_by_name(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second key stands beside the first; a removed one is gone; the last one to go is said to
    lock the service."""
    assert main(["key", "list"], os.environ) == 0
    assert capsys.readouterr().out == ""
    assert [main(["key", "add", name], os.environ) for name in ("old", "new")] == [0, 0]
    capsys.readouterr()
    assert main(["key", "list"], os.environ) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["old", "new"]
    assert main(["key", "remove", "old"], os.environ) == 0
    assert "1 left" in capsys.readouterr().err
    assert [key.name for key in read_keys(home / "api_keys.json")] == ["new"]
    assert main(["key", "remove", "new"], os.environ) == 0
    assert "refuses every request" in capsys.readouterr().err


def test_a_key_has_a_role(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The role is what was asked for, a client's without one, and listed; the note says where each
    is used. A key of a file from before there were roles is a client's."""
    notes = []
    for typed in (["shop"], ["wall", "--role", "viewer"], ["anna", "--role", "operator"]):
        assert main(["key", "add", *typed], os.environ) == 0
        notes.append(" ".join(capsys.readouterr().err.split()))
    assert "Authorization: Bearer KEY" in notes[0]
    assert "log in on the page" in notes[1]
    assert "Authorization" not in notes[1]
    assert all(word in notes[2] for word in ("log in on the page", "Authorization: Bearer KEY"))
    assert main(["key", "list"], os.environ) == 0
    lines = [line.split()[:2] for line in capsys.readouterr().out.splitlines()]
    assert lines == [["shop", "client"], ["wall", "viewer"], ["anna", "operator"]]
    file = home / "api_keys.json"
    content = json.loads(file.read_text())
    del content["keys"][2]["role"]
    file.write_text(json.dumps(content))
    assert [key.role for key in read_keys(file)] == [Role.CLIENT, Role.VIEWER, Role.CLIENT]


def test_the_file_may_lie_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CLOSEDLOOP_API_KEYS_FILE is where the keys are; a link to the file stays a link."""
    (tmp_path / "real.json").write_text(json.dumps({"keys": []}))
    (tmp_path / "link.json").symlink_to("real.json")
    monkeypatch.setenv("CLOSEDLOOP_API_KEYS_FILE", "link.json")
    assert main(["key", "add", "shop"], os.environ) == 0
    assert (tmp_path / "link.json").is_symlink()
    assert [key.name for key in read_keys(tmp_path / "real.json")] == ["shop"]


@pytest.mark.parametrize(
    ("typed", "code", "words"),
    [
        ("key add shop", 1, ["shop, which is taken", "closedloop key remove shop"]),
        ("key add a/b", 1, ["letters, digits", "'a/b'"]),
        ("key add", 2, ["the name of a key", "closedloop key add NAME"]),
        ("key remove shpo", 1, ["did you mean shop?"]),
        ("key remove other", 1, ["closedloop key list"]),
        ("key list shop", 2, ["no name", "leave it out"]),
        ("key rotate shop", 2, ["add, list, remove", "rotate"]),
        ("key add anna --role boss", 1, ["client, viewer, operator", "'boss'"]),
        ("key remove shop --role viewer", 2, ["no role", "leave it out"]),
        ("key list --role viewer", 2, ["no role"]),
    ],
)
def test_a_mistake_is_said_and_changes_nothing(
    typed: str, code: int, words: list[str], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was wanted and what to do, on stderr, and the file is as before."""
    add_key(home / "api_keys.json", "shop")
    before = (home / "api_keys.json").read_bytes()
    assert main(typed.split(), os.environ) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert all(word in err for word in words), err
    assert (home / "api_keys.json").read_bytes() == before


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"keys": [{"name": "x"}]}',
        '{"keys": [{"name": "x", "sha256": "00", "added": ""}]}',
        '{"keys": 3}',
        f'{{"keys": [{{"name": "x", "sha256": "{"0" * 64}", "added": "", "role": "boss"}}]}}',
    ],
)
def test_a_damaged_file_is_named_and_left_alone(
    content: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that is none of ours is not overwritten by the next key."""
    home.mkdir()
    (home / "api_keys.json").write_text(content)
    for typed in ("key add shop", "key list"):
        assert main(typed.split(), os.environ) == 1
        assert "a file of API keys" in capsys.readouterr().err
    assert (home / "api_keys.json").read_text() == content


def test_two_who_add_at_once_both_have_their_key(home: Path) -> None:
    """Sixteen keys added side by side are all in the file."""
    names = [f"user-{number}" for number in range(16)]
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(lambda name: add_key(home / "api_keys.json", name), names))
    assert len(set(keys)) == 16
    assert sorted(key.name for key in read_keys(home / "api_keys.json")) == sorted(names)


@pytest.mark.parametrize("typed", ["serve --host 0.0.0.0", "up"])
def test_a_service_that_others_reach_is_not_started_without_a_key(
    typed: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is started, one sentence names the command that makes a key."""
    monkeypatch.setenv("CLOSEDLOOP_HOST", "0.0.0.0")
    for name in ("PORT", "MLFLOW_PORT", "PREFECT_PORT"):
        monkeypatch.setenv(f"CLOSEDLOOP_{name}", "0")
    assert main(typed.split(), os.environ) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "the API on 0.0.0.0" in err
    assert "closedloop key add NAME" in err


def test_a_key_may_be_for_some_use_cases_only(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--use-case` may be repeated, the list says whom a key is for, and a key without it is
    written as it always was."""
    some = ["key", "add", "shop", "--for", "shop-2", "--for", "fraud"]
    assert [main(some, os.environ), main(["key", "add", "all"], os.environ)] == [0, 0]
    assert "of shop for shop-2, fraud, shown only" in " ".join(capsys.readouterr().err.split())
    first, second = read_keys(home / "api_keys.json")
    assert [first.allows(name) for name in ("shop", "shop-2", "fraud")] == [False, True, True]
    assert second.allows("shop")
    entries = json.loads((home / "api_keys.json").read_text())["keys"]
    assert [entry.get("use_cases") for entry in entries] == [["shop-2", "fraud"], None]
    assert main(["key", "list"], os.environ) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("  for shop-2, fraud")
    assert " for " not in lines[1]


@pytest.mark.parametrize("written", ["[]", '"shop"', "[1]", "{}"])
def test_use_cases_of_a_key_that_cannot_be_read_open_nothing(home: Path, written: str) -> None:
    """Whatever else than names stands there, the file is refused: no key becomes one for all."""
    add_key(home / "api_keys.json", "shop", Role.CLIENT, ["fraud"])
    text = (home / "api_keys.json").read_text()
    names = json.dumps(json.loads(text)["keys"][0]["use_cases"], indent=2)
    damaged = " ".join(text.split()).replace(" ".join(names.split()), written)
    (home / "api_keys.json").write_text(damaged)
    assert main(["key", "list"], os.environ) == 1


def test_a_use_case_of_a_key_is_a_name(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A path is refused, and so is a use case for a key that is not added."""
    assert main(["key", "add", "shop", "--for", "mine/shop"], os.environ) == 1
    assert "give the name, not the path" in capsys.readouterr().err
    assert main(["key", "list", "--for", "shop"], os.environ) == 2
    assert "wanted no use case, got shop" in capsys.readouterr().err
    assert not (home / "api_keys.json").exists()
