"""The documents as tests see them: blocks of code, what is said about running them, links,
headings and the paths and commands that are named."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.house.tree import ROOT, project_files

# CHANGELOG.md names what was there at its time.
DOCUMENTS = tuple(
    path for path in project_files() if path.suffix == ".md" and path.name != "CHANGELOG.md"
)
PATH_ROOTS = "src|flows|api|tests|stack|data|docs|\\.github"
_FENCE = re.compile(r"(?:^<!-- ([^\n]*?) -->\n)?^```([a-z]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_GENERATED = ("var", "generated", "site", "backups")


def name_of(path: Path) -> str:
    """The path of a document from the top of the project, as test ids show it."""
    return str(path.relative_to(ROOT))


@dataclass(frozen=True)
class Block:
    """A block of code in a document: its language, its text, and the comment right above it."""

    document: Path
    language: str
    text: str
    comment: str

    @property
    def is_command(self) -> bool:
        return self.language == "sh"

    @property
    def why_not_run(self) -> str:
        return (
            self.comment.removeprefix("not run: ") if self.comment.startswith("not run: ") else ""
        )


@cache
def read(document: Path) -> str:
    """The text of a document."""
    return document.read_text(encoding="utf-8")


def blocks(document: Path) -> list[Block]:
    """Every block of code, in order."""
    return [
        Block(document, language, text, comment)
        for comment, language, text in _FENCE.findall(read(document))
    ]


def prose(document: Path) -> str:
    """The document without its blocks of code."""
    return _FENCE.sub("", read(document))


def code_lines(document: Path) -> list[str]:
    """Lines of blocks and code spans, without comments; Python is run as a whole by its test."""
    spans = re.findall(r"`([^`\n]+)`", prose(document))
    shown = [block.text for block in blocks(document) if block.language != "python"]
    lines = [line for text in shown for line in text.splitlines()]
    return [re.sub(r"(^|\s)#\s.*", "", line).strip() for line in [*lines, *spans]]


def calls_of(document: Path, program: str) -> list[list[str]]:
    """The words after a program's name, for each call of it that a document shows."""
    return [
        found[1].split()
        for line in code_lines(document)
        for call in re.split(r";|&&|\|", line)
        if (found := re.search(rf"(?:^|\s)(?:\.venv/bin/)?{program} ([a-z-].*)", call.strip()))
    ]


def named_paths(document: Path) -> set[str]:
    """Files and folders of the project that a document names, but for those that are made."""
    found = re.findall(rf"(?<![\w/.:@-])((?:{PATH_ROOTS})/[\w./*-]*\w)", read(document))
    return {path for path in found if not set(path.split("/")) & set(_GENERATED)}


def links(document: Path) -> list[tuple[str, str]]:
    """Relative links: the file that each leads to ('' is the document itself) and the heading."""
    targets = re.findall(r"\]\(([^)\s]+)\)", prose(document))
    return [
        (target.partition("#")[0], target.partition("#")[2])
        for target in targets
        if not re.match(r"[a-z]+:", target)
    ]


def anchors(document: Path) -> set[str]:
    """What links can lead to in a document."""
    headings = re.findall(r"^#+ (.*)$", prose(document), flags=re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings
    }
