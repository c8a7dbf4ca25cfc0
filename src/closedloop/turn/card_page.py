"""A page of sections as Markdown and as HTML. Every text on it comes from outside."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from closedloop.shown_text import as_markdown, printable

# MLflow shows the page in a frame; with this a browser runs nothing and asks for nothing.
_ONLY_ITSELF = (
    '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
    "style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\">"
)
_STYLE = (
    "body{font:15px sans-serif;max-width:70em;margin:2em auto;overflow-wrap:anywhere}"
    "td,th{text-align:left;padding:.2em .8em;vertical-align:top}"
)


@dataclass(frozen=True)
class Section:
    """A title, lines, and a table when `rows` has any."""

    title: str
    lines: tuple[str, ...] = ()
    head: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Page:
    """A title and its sections, as plain texts."""

    title: str
    sections: tuple[Section, ...]


def write_markdown(page: Page) -> str:
    """The page as Markdown that shows every text as it is."""
    parts = [f"# {_as_cell(page.title)}"]
    for section in page.sections:
        parts += [f"## {_as_cell(section.title)}", *map(_as_cell, section.lines)]
        if section.rows:
            lines = [section.head, ("---",) * len(section.head)]
            table = [*(f"| {' | '.join(line)} |" for line in lines)]
            table += [f"| {' | '.join(map(_as_cell, row))} |" for row in section.rows]
            parts.append("\n".join(table))
    return "\n\n".join(parts) + "\n"


def write_html(page: Page) -> str:
    """The page as HTML that shows every text as it is."""
    title = _as_text(page.title)
    parts = [
        f'<!doctype html><meta charset="utf-8">{_ONLY_ITSELF}',
        f"<title>{title}</title><style>{_STYLE}</style>\n<h1>{title}</h1>",
    ]
    for section in page.sections:
        parts.append(f"<h2>{_as_text(section.title)}</h2>")
        parts += [f"<p>{_as_text(line)}</p>" for line in section.lines]
        if section.rows:
            parts += ["<table>", _as_row("th", section.head)]
            parts += [*(_as_row("td", row) for row in section.rows), "</table>"]
    return "\n".join(parts) + "\n"


def _as_cell(text: str) -> str:
    return as_markdown(printable(text))


def _as_text(text: str) -> str:
    return escape(printable(text))


def _as_row(tag: str, cells: tuple[str, ...]) -> str:
    return f"<tr>{''.join(f'<{tag}>{_as_text(cell)}</{tag}>' for cell in cells)}</tr>"
