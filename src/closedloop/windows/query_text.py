"""Names in the place of `{root}`, `{window}`, `{start}` and `{end}` of a query."""

from __future__ import annotations

import re
from collections.abc import Mapping

from closedloop.errors import SourceError

_COMMENT = r"--[^\n]*|/\*.*?\*/"
_QUOTED = r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`"
_PARTS = re.compile(f"(?P<comment>{_COMMENT})|(?P<quoted>{_QUOTED})", re.DOTALL)
_PLACES = re.compile(r"\{(root|window|start|end)\}")
_GLOB = re.compile(r"([*?[])")
# What may stand there without quotes around it: a number; a word where it can only be the name of a
# table, or the end of a longer name. Elsewhere a word may be a column, or `true`: every row.
_NUMBER, _WORD = (re.compile(pattern, re.ASCII) for pattern in (r"\d+(\.\d+)?", r"\w+"))
_BEFORE_A_NAME = re.compile(r"(\b(from|join)\s+|[\w.])\Z", re.ASCII | re.IGNORECASE)
_COMPARED = re.compile(r"\bdistinct\s+from\s+\Z", re.ASCII | re.IGNORECASE)


def fill_query(query: str, values: Mapping[str, str], *, backslash_escapes: bool = False) -> str:
    """The query with `values` in their places; none of them can become SQL or a pattern.

    Inside quotes they are doubled. A quoted text with `{root}` is the path of a file, so signs of a
    pattern in the names stand for themselves. `backslash_escapes`: a backslash inside quotes is
    more than a letter (MySQL). Raises SourceError for a name that fits no such place.
    """
    filled, end = [], 0
    for part in _PARTS.finditer(query):
        filled.append(_fill(query[end : part.start()], "", values, backslash_escapes))
        # A comment is left out: a name with a line end would leave it.
        quoted = part["quoted"]
        filled.append(_fill(quoted, quoted[0], values, backslash_escapes) if quoted else " ")
        end = part.end()
    filled.append(_fill(query[end:], "", values, backslash_escapes))
    return "".join(filled)


def escape_pattern(name: str) -> str:
    """The pattern that matches this name only."""
    return _GLOB.sub(r"[\1]", name)


def _fill(text: str, quote: str, values: Mapping[str, str], backslash_escapes: bool) -> str:
    is_path = bool(quote) and "{root}" in text and "root" in values

    def replace(found: re.Match[str]) -> str:
        value = values.get(found[1])
        if value is None:
            return found[0]
        if not quote and not _may_be_bare(value, text[: found.start()]):
            raise _unfit(found[1], value, f"quotes around {found[0]}, or a number")
        if (backslash_escapes and "\\" in value) or "\0" in value:
            raise _unfit(found[1], value, "a name without a backslash")
        if is_path:
            value = escape_pattern(value)
        return value.replace(quote, 2 * quote) if quote else value

    return _PLACES.sub(replace, text)


def _may_be_bare(value: str, before: str) -> bool:
    if _NUMBER.fullmatch(value):
        return True
    names_a_table = _BEFORE_A_NAME.search(before) and not _COMPARED.search(before)
    return bool(names_a_table and _WORD.fullmatch(value))


def _unfit(place: str, value: str, wanted: str) -> SourceError:
    return SourceError(
        where=f"query in [source], {{{place}}}",
        wanted=wanted,
        got=repr(value),
        then="write quotes around it, or rename the window",
    )
