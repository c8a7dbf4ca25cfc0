"""`init` finds out how a file is written, shows it, and writes it down; options say otherwise."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import pytest

from closedloop.cli.app import main
from closedloop.use_case.loop_toml import load_use_case
from closedloop.windows.open_source import open_source
from closedloop.windows.prepare import prepare
from tests.unit.cli.printed import sentence

pytestmark = pytest.mark.slow

CITIES = ["Köln", "Bonn"]


def table(separator: str, number: Any, rows: int = 200) -> str:
    lines = [separator.join(["weight", "city", "left"])]
    for place in range(rows):
        lines.append(
            separator.join([number(place), CITIES[place % 2], "yes" if place % 3 else "no"])
        )
    return "\n".join(lines) + "\n"


def comma(place: int) -> str:
    return f"{place % 4},{125 + 7 * place % 800:03d}"


def quoted(place: int) -> str:
    return f'"{1 + place % 4},{100 + place:03d}.50"'


def german(place: int) -> str:
    return f"{1 + place % 4}.{100 + place:03d},50"


def french(place: int) -> str:
    return f"{1 + place % 4}\u202f{100 + place:03d},50"


def started(
    folder: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, *options: str
) -> tuple[int, dict[str, Any]]:
    monkeypatch.chdir(folder)
    (folder / "t.csv").write_bytes(content)
    typed = ["init", "t.csv", "--target", "left", *options]
    code = main(typed, {**os.environ, "CLOSEDLOOP_HOME": str(folder / "home")})
    written = folder / "loop.toml"
    return code, tomllib.loads(written.read_text()) if written.exists() else {}


@pytest.mark.parametrize(
    ("content", "options", "said", "settings", "first"),
    [
        (
            table(";", comma).encode(),
            (),
            "; between values, decimal comma, utf-8",
            {"delimiter": ";", "decimal": ","},
            0.125,
        ),
        (
            table(";", german).encode("latin-1"),
            (),
            "; between values, decimal comma, point between thousands, latin-1",
            {"delimiter": ";", "decimal": ",", "thousands": ".", "encoding": "latin-1"},
            1100.5,
        ),
        (
            table("\t", french).encode("utf-16"),
            (),
            "tab between values, decimal comma, blank between thousands, utf-16",
            {"delimiter": "\t", "decimal": ",", "thousands": " ", "encoding": "utf-16"},
            1100.5,
        ),
        (
            table(",", quoted).encode(),
            (),
            "comma between values, decimal point, comma between thousands, utf-8",
            {"thousands": ","},
            1100.5,
        ),
        (
            table("|", lambda place: f"'{place / 8}'").encode(),
            (),
            "| between values, decimal point, utf-8, quotes '",
            {"delimiter": "|", "quote": "'"},
            0.0,
        ),
        (
            table(";", lambda place: f"{1 + place % 9},{100 + place}").encode(),
            ("--decimal", ","),
            "; between values, decimal comma, utf-8",
            {"delimiter": ";", "decimal": ","},
            1.1,
        ),
        (
            table(";", lambda place: f"{1 + place % 9},{100 + place}").encode(),
            (),
            "weight: a comma as in 1,100 is taken for thousands; if it is the decimal sign, add "
            '--decimal ","',
            {"delimiter": ";", "thousands": ","},
            1100.0,
        ),
        (
            table(",", lambda place: "?" if place % 40 == 7 else f"{place}").encode("cp1252"),
            ("--null-values", "?,-", "--encoding", "cp1252"),
            "comma between values, decimal point, cp1252",
            {"encoding": "cp1252", "null_values": ["?", "-"]},
            0.0,
        ),
    ],
)
def test_the_dialect_is_found_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    content: bytes,
    options: tuple[str, ...],
    said: str,
    settings: dict[str, Any],
    first: float,
) -> None:
    """Shown, written where it is not the default, and what the windows are read with."""
    code, written = started(tmp_path, monkeypatch, content, *options)
    assert code == 0
    assert said in " ".join(capsys.readouterr().out.split())
    usual = {"kind", "root", "windows"}
    assert {k: v for k, v in written["source"].items() if k not in usual} == settings
    use_case = load_use_case(tmp_path / "loop.toml")
    read = prepare(open_source(use_case).read("t"), use_case)
    assert read["weight"][0] == first
    assert set(read["city"]) == set(CITIES)


def test_a_guessed_encoding_shows_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Any text of one byte a letter can be read as cp1252: a person sees whether it was."""
    content = table(",", str).replace("Köln", "Łódź").encode("cp1250")
    started(tmp_path, monkeypatch, content)
    assert "cp1252 reads '£ódŸ'; if that is wrong, add --encoding NAME" in capsys.readouterr().out
    started(tmp_path, monkeypatch, content, "--encoding", "cp1250", "--force")
    assert "Łódź" in (tmp_path / "loop.toml").read_text()


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ("3.5", "lat has numbers such as 3.5, in a file whose decimal sign is ,"),
        ("03.2025", "lat has numbers such as 03.2025, in a file whose decimal sign is ,"),
    ],
)
def test_beside_semicolons_a_comma_is_the_decimal_sign(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    column: str,
    said: str,
) -> None:
    """Of two columns with other signs the comma wins: semicolons are written where it is one."""
    rows = [f"{n},5;{column};{n % 2}" for n in range(100)]
    started(tmp_path, monkeypatch, ("\n".join(["a;lat;left", *rows]) + "\n").encode())
    assert said in " ".join(capsys.readouterr().out.split())


def test_the_sign_of_most_columns_is_that_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A column with another sign is left out and told; dates are none of it."""
    rows = [f"{n},5;{n},25;52.{n:04d};01.{1 + n % 9:02d}.2025;{n % 2}" for n in range(100)]
    content = "\n".join(["a;b;lat;day;left", *rows]) + "\n"
    _, written = started(tmp_path, monkeypatch, content.encode())
    assert "lat has numbers such as 52.0000, in a file whose decimal sign is ," in " ".join(
        capsys.readouterr().out.split()
    )
    assert {"a", "b"} <= set(written["columns"])
    assert "lat" not in written["columns"]


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--decimal", ";"), 2, "--decimal: wanted one of '.' ','"),
        (("--decimal", ",", "--thousands", ","), 2, "decimal and thousands must differ"),
        (("--delimiter", ";;"), 2, "delimiter must be one character"),
        (("--encoding", "klingon"), 2, "encoding must be one that Python knows"),
        (("--encoding", "utf-16"), 3, "wanted text in utf-16, got UTF-8"),
    ],
)
def test_an_option_that_cannot_be_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    code: int,
    said: str,
) -> None:
    """One sentence, and no loop.toml."""
    found, written = started(tmp_path, monkeypatch, table(";", comma).encode(), *options)
    assert (found, written) == (code, {})
    assert said in sentence(capsys.readouterr())
