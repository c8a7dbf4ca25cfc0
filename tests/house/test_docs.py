"""The documents are true: what they name exists, what they show runs or says why not, and what
there is has a place in them."""

from __future__ import annotations

import json
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from closedloop.decisions.policy import Policy
from closedloop.errors import ClosedLoopError
from closedloop.settings import Settings
from closedloop.use_case.contract import Column
from closedloop.use_case.loop_toml import load_use_case
from docs.make_reference import PAGES, commands, fill
from tests.house.documents import (
    DOCUMENTS,
    anchors,
    blocks,
    calls_of,
    code_lines,
    links,
    name_of,
    named_paths,
    read,
)
from tests.house.tree import ROOT, make_targets, modules

README = ROOT / "README.md"
TUTORIAL = ROOT / "docs" / "tutorial.md"
FROM_PYTHON = ROOT / "docs" / "python.md"  # tests/e2e/test_from_python.py runs its blocks
DESIGN = ROOT / "docs" / "design"
each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)


def test_the_readme_is_read_in_two_minutes() -> None:
    """README.md has at most 700 words."""
    assert len(read(README).split()) <= 700


def test_the_readme_has_the_default_policy() -> None:
    """The numbers of README.md's table of triggers and gates are the defaults."""
    policy, text = Policy(), read(README)
    retraining, promotion = policy.retraining, policy.promotion
    column = Column("numeric")
    for row in (
        f"over {column.max_bad_rate:.0%} bad or {column.max_null_rate:.0%} null",
        f"over {retraining.max_drift_share:g}\n",
        f"down by over {retraining.max_auc_loss:g}\n",
        f"windows since training | {retraining.max_age_windows}\n",
        f"{retraining.cooldown_windows} window, {retraining.budget_trainings} trainings in "
        f"{retraining.budget_windows} windows, {retraining.min_new_labels}\n",
        f"{promotion.min_val_auc:g}, {promotion.min_f1:g}, {promotion.min_gain_over_baseline:g}\n",
        f"within {promotion.max_packaging_difference:.5f}\n",
        f"previous, {policy.rollback.probation_windows} windows",
    ):
        assert row in text.replace(" %", "%"), row


def test_every_exit_code_is_documented() -> None:
    """docs/commands.md lists the code of every kind of error."""
    kinds = [ClosedLoopError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    listed = re.findall(r"^\| (\d) \|", read(ROOT / "docs/commands.md"), re.MULTILINE)
    assert {int(code) for code in listed} == {0, *(kind.exit_code for kind in kinds)}


@each_document
def test_every_block_says_what_it_is(document: Path) -> None:
    """A block names its language, so that commands can be told from what they print."""
    known = {"sh", "text", "json", "ini", "mermaid"} | (
        {"python"} if document == FROM_PYTHON else set()
    )
    assert [block.text for block in blocks(document) if block.language not in known] == []
    assert read(document).count("\n```") == 2 * len(blocks(document))


@each_document
def test_every_command_block_runs_or_says_why_not(document: Path) -> None:
    """tests/e2e/test_tutorial.py runs those of the tutorial, and the request of README.md is held
    against its loop.toml below; every other block has a comment above it that says why not."""
    silent = [
        block.text
        for block in blocks(document)
        if block.is_command and not block.why_not_run and document != TUTORIAL
    ]
    assert [text for text in silent if document != README or not text.startswith("curl")] == []


def test_the_request_of_the_readme_fits_the_demo() -> None:
    """The curl of README.md sends every feature of the demo's use case, each within its contract,
    to a route and port that are the default."""
    [text] = [block.text for block in blocks(README) if block.text.startswith("curl")]
    assert text.startswith(f"curl -s localhost:{Settings.model_fields['port'].default}/predict ")
    row: dict[str, Any] = json.loads(text.partition("-d '")[2].rpartition("'")[0])
    columns = load_use_case(ROOT / "data/streamflow").columns
    assert set(row) == set(columns)
    for name, column in columns.items():
        if column.type == "numeric":
            assert column.minimum <= row[name] <= column.maximum, name  # type: ignore[operator]
        else:
            assert str(row[name]) in column.allowed, name


@each_document
def test_every_path_in_a_document_exists(document: Path) -> None:
    """A file, folder or pattern that a document names is there; a module is named with its
    folder."""
    missing = [path for path in named_paths(document) if not list(ROOT.glob(path))]
    bare = [line for line in code_lines(document) if re.fullmatch(r"\w+\.py", line)]
    assert sorted(missing) == []
    assert bare == [], "name a module with its folder"


@each_document
def test_every_test_that_a_document_names_exists(document: Path) -> None:
    """A failure that a document promises to guard against has its test, under the name given."""
    for path, name in re.findall(r"(tests/[a-z_/]+\.py)::(test_\w+)", read(document)):
        assert f"def {name}(" in (ROOT / path).read_text(encoding="utf-8"), f"{path}::{name}"


@each_document
def test_every_link_leads_somewhere(document: Path) -> None:
    """The file and the heading of each relative link exist."""
    for file, heading in links(document):
        target = (document.parent / file).resolve() if file else document
        assert target.exists(), file
        if heading:
            assert heading in anchors(target), f"{file}#{heading}"


@each_document
def test_every_call_in_a_document_can_be_made(document: Path) -> None:
    """Targets of make, commands of closedloop and their flags exist."""
    assert {call[0] for call in calls_of(document, "make")} <= make_targets()
    known = commands()
    for name, *words in calls_of(document, "closedloop"):
        if name == "--version":
            continue
        assert name in known, f"closedloop {name}"
        flags = {flag for parameter in known[name].params for flag in parameter.opts} | {"--help"}
        given = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert given <= flags, f"closedloop {name} {given - flags}"


def test_every_error_in_the_troubleshooting_exists() -> None:
    """An error that docs/troubleshooting.md quotes is one that the program raises."""
    quoted = re.findall(r"`wanted ([^`]+)`", read(ROOT / "docs/troubleshooting.md"))
    code = "".join(module.path.read_text(encoding="utf-8") for module in modules())
    assert len(quoted) >= 2
    assert [wanted for wanted in quoted if f'wanted="{wanted}"' not in code] == []


@each_document
def test_every_variable_in_a_document_is_a_setting(document: Path) -> None:
    """A document names no variable that nobody reads: each is a setting, one of the stack, or one
    that the shell sets for a benchmark or to see a traceback."""
    stack = (ROOT / ".env.example").read_text(encoding="utf-8")
    of_the_shell = {"CLOSEDLOOP_DEBUG", "CLOSEDLOOP_STREAMS"}
    for variable in set(re.findall(r"CLOSEDLOOP_[A-Z_]+[A-Z]", read(document))):
        known = variable.removeprefix("CLOSEDLOOP_").lower() in Settings.model_fields
        assert known or variable in of_the_shell or f"# {variable}=" in stack, variable


@pytest.mark.parametrize("page", PAGES)
def test_the_reference_is_what_the_code_says(page: str) -> None:
    """Every key of loop.toml, every command and flag, and every setting stands in the reference,
    with its default, and nothing else: `make reference` writes it anew."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert fill(text, PAGES[page]()) == text, "run: make reference"


def test_every_design_page_has_its_price() -> None:
    """A choice is told with its context and its price, and is listed in ARCHITECTURE.md and the
    index."""
    pages = sorted(DESIGN.glob("[0-9]*.md"))
    assert [page.name[:2] for page in pages] == [
        f"{number:02}" for number in range(1, len(pages) + 1)
    ]
    for page in pages:
        assert re.findall(r"^## (.*)$", read(page), re.MULTILINE) == ["Context", "Choice", "Price"]
        assert f"]({page.name})" in read(DESIGN / "index.md"), page.name
        assert f"](docs/design/{page.name})" in read(ROOT / "ARCHITECTURE.md"), page.name


def test_the_pictures_are_small() -> None:
    """A clone stays small: a picture has at most 200,000 bytes."""
    pictures = {path.name: path.stat().st_size for path in (ROOT / "docs/pictures").iterdir()}
    page = {"page-overview.png", "page-drift.png", "page-versions.png"}
    assert set(pictures) == {"demo-still.png", "drift-report.png", "history.png"} | page
    assert max(pictures.values()) <= 200_000
    assert pictures["demo-still.png"] <= 150_000


def test_the_recording_is_short_and_small() -> None:
    """docs/demo.mp4 takes three to five minutes and has less than 8 MB; a browser may start it
    before it has all of it, because the header stands in front of the pictures."""
    content = (ROOT / "docs/demo.mp4").read_bytes()
    assert len(content) < 8_000_000
    header = content.index(b"mvhd")
    assert header < content.index(b"mdat")
    # After the name: version and flags, two times, ticks in a second, ticks in all.
    version, _, _, ticks_in_a_second, ticks = struct.unpack_from(">5I", content, header + 4)
    assert version >> 24 == 0, "the fields of version 1 are longer"
    assert 180 <= ticks / ticks_in_a_second <= 300


def test_the_site_is_built_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    """mkdocs finds no broken link, page or heading, and no page asks another server for a font, a
    style or a script."""
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > len(list(DESIGN.glob("*.md")))
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"<(script|img|iframe)[^>]+src=\"https?:", text), page
        assert not re.search(r"<link rel=\"(stylesheet|preconnect)\" href=\"https?:", text), page
        assert 'class="mermaid"' not in text, f"{page}: its script comes from another server"


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_alone_lists_every_target() -> None:
    """`make` without an argument changes nothing and shows each target with a sentence."""
    shown = subprocess.run(
        ["make", "-C", str(ROOT), "--no-print-directory"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    listed = dict(re.findall(r"^  make ([a-z-]+) +(\S.*)$", shown, flags=re.MULTILINE))
    assert set(listed) == make_targets()
    assert all(sentence.endswith(".") for sentence in listed.values())
