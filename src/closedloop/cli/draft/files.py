"""Which files of a folder look like windows, and in what order, before anybody described them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from closedloop.cli.draft.source import split_ending
from closedloop.errors import ClosedLoopError, SourceError, name_some
from closedloop.use_case.source import Source
from closedloop.windows.copied_names import find_copies
from closedloop.windows.query_text import escape_pattern
from closedloop.windows.tables.chunks import open_table
from closedloop.windows.tables.delimiters import read_beginning
from closedloop.windows.tables.dialect import find_signs_of_text
from closedloop.windows.tables.table_file import find_table, is_table_name
from closedloop.windows.time_names import UnclearOrder, find_time_order
from closedloop.windows.time_words import CONVENTIONS, read_time

_SHOWN = 3


@dataclass(frozen=True)
class ChosenFiles:
    """The files that are windows, oldest first, the columns that all have, and notes."""

    files: tuple[Path, ...]
    columns: tuple[str, ...] = ()
    pattern: str = ""
    notes: tuple[str, ...] = ()

    @property
    def newest(self) -> Path:
        return self.files[-1]


@dataclass
class _Sorting:
    """Files that are still candidates, and the reasons why others are not."""

    files: list[Path]
    reasons: dict[str, list[str]] = field(default_factory=dict)

    def leave_out(self, path: Path, reason: str) -> None:
        self.reasons.setdefault(reason, []).append(path.name)

    def keep(self, reason_of: Callable[[Path], str]) -> None:
        """Keep the files for which there is no reason against it."""
        kept = []
        for path in self.files:
            if reason := reason_of(path):
                self.leave_out(path, reason)
            else:
                kept.append(path)
        self.files = kept

    def notes(self) -> tuple[str, ...]:
        return tuple(
            f"left out: {name_some(names, _SHOWN)}: {reason}"
            for reason, names in self.reasons.items()
        )


def choose_files(
    tables: Sequence[Path],
    given: Mapping[str, Any],
    named: Sequence[str],
    *,
    by_column: bool = False,
) -> ChosenFiles:
    """The files of a folder, or of several named files of one folder, that look like windows.

    They have the same ending and the columns of most. With `by_column` a column cuts the rows of
    all into windows, and the order of the files means nothing. Raises SourceError when there is
    none, when one is written in another way than the others, or when their order cannot be told.
    """
    if len(tables) == 1 and not tables[0].is_dir():
        find_table(tables[0])
        return ChosenFiles((tables[0],), pattern=escape_pattern(tables[0].name))
    folder = _folder_of(tables)
    listed = sorted(folder.iterdir()) if len(tables) == 1 else list(dict.fromkeys(tables))
    tables_in = [path for path in listed if path.is_file() and is_table_name(path.name)]
    sorting = _Sorting(tables_in)
    sorting.keep(lambda path: "hidden" if path.name.startswith(".") else "")
    sorting.keep(lambda path: "" if path.stat().st_size else "empty")
    copies = find_copies(split_ending(path)[0] for path in sorting.files)
    sorting.keep(lambda path: _tell_copy(copies.get(split_ending(path)[0])))
    if not sorting.files:
        raise _nothing_in(folder, listed, sorting)
    usual = Counter(split_ending(path)[1] for path in sorting.files).most_common(1)[0][0]
    sorting.keep(lambda path: "" if split_ending(path)[1] == usual else f"does not end in {usual}")
    if len(sorting.files) == 1:
        only = sorting.files[0]
        return ChosenFiles((only,), (), escape_pattern(only.name), sorting.notes())
    columns, more = _keep_alike(sorting, given, named)
    files, order = _as_listed(sorting) if by_column else _in_order(sorting)
    pattern, doubt = (
        find_pattern(folder, files) if len(files) > 1 else (escape_pattern(files[0].name), ())
    )
    return ChosenFiles(files, columns, pattern, (*order, *doubt, *sorting.notes(), *more))


def is_window_name(stem: str) -> bool:
    """Whether a name speaks of a time and of nothing else: 2026-01, Jan 2026, w07, 3."""
    words = re.findall(r"[^\W\d_]+", stem.casefold())
    short = {"q", "h", "w", "t", "z", "m", "d", "kw", "cw", "wk", "fy", "hy", "week", "month"}
    if not all(word in short or _speaks_of_time(word) for word in words):
        return False
    return bool(re.search(r"\d", stem)) or _speaks_of_time(stem)


def find_pattern(folder: Path, files: Sequence[Path]) -> tuple[str, tuple[str, ...]]:
    """The pattern under `folder` that matches these files and later ones, and a note.

    The note says which others it matches too; without any there is none.
    """
    names = [path.name for path in files]
    ending = split_ending(files[0])[1]
    stems = [split_ending(path)[0] for path in files]
    prefix = next(
        stems[0][:length]
        for length in range(min(map(len, stems)), -1, -1)
        if all(stem.startswith(stems[0][:length]) for stem in stems)
    )
    # Numbers go on: a year ends, and w9 is followed by w10.
    year = re.fullmatch(r"(.*?(?<!\d))((?:19|20)\d{0,2})(?!\d).*", prefix)
    whole = re.sub(r"\d+$", "", prefix)
    beginnings = [f"{year[1]}{year[2][:2]}"] if year else []
    patterns = [f"{escape_pattern(text)}*{escape_pattern(ending)}" for text in (*beginnings, whole)]
    others = {pattern: _other_matches(folder, pattern, names) for pattern in patterns}
    for pattern, found in others.items():
        if not found:
            return pattern, ()
    first = patterns[0]
    return first, (
        f'windows = "{first}" also matches {name_some(others[first], _SHOWN)}: move what is no '
        "window out of the folder",
    )


def _other_matches(folder: Path, pattern: str, names: Sequence[str]) -> list[str]:
    found = (path.name for path in folder.glob(pattern))
    return sorted(name for name in found if not name.startswith(".") and name not in names)


def _folder_of(tables: Sequence[Path]) -> Path:
    if len(tables) == 1:
        return tables[0]
    for path in tables:
        find_table(path)
    folders = list(dict.fromkeys(path.resolve().parent for path in tables))
    if len(folders) > 1:
        raise SourceError(
            where="init",
            wanted="files of one folder",
            got=f"files in {name_some([str(folder) for folder in folders], _SHOWN)}",
            then="put them into one folder",
        )
    return tables[0].parent


def _tell_copy(original: str | None) -> str:
    return "" if original is None else f"a copy of {original}"


def _keep_alike(
    sorting: _Sorting, given: Mapping[str, Any], named: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Keep the files that have the columns of most; these columns, and notes."""
    columns: dict[Path, tuple[str, ...]] = {}
    written: dict[Path, dict[str, str]] = {}
    settings: dict[str, str] = {}
    for path in reversed(sorting.files):
        names = _names_in(path, {**settings, **given})
        if not settings or not set(named) <= set(names):
            own = find_signs_of_text(path, given, named)
            names, settings = _names_in(path, {**own, **given}), settings or own
            written[path] = own
        columns[path] = names
    sorting.keep(lambda path: "empty" if _has_no_rows(path, written.get(path, settings)) else "")
    with_target = [path for path in sorting.files if set(named) <= set(columns[path])]
    counted = Counter(frozenset(columns[path]) for path in with_target or sorting.files)
    if not counted:
        raise _nothing_in(Path(), (), sorting)
    usual = counted.most_common(1)[0][0]
    wanted = next(names for names in columns.values() if frozenset(names) == usual)
    usual_signs = _most_common(written.get(path, settings) for path in with_target)
    for path in with_target:
        if (own := written.get(path, settings)) != usual_signs and usual <= set(columns[path]):
            raise _written_otherwise(path, own, usual_signs)
    more: dict[str, list[str]] = {}
    for path in sorting.files:
        if usual <= set(columns[path]):
            for name in sorted(set(columns[path]) - usual):
                more.setdefault(name, []).append(path.name)

    def compare(path: Path) -> str:
        missing = [name for name in wanted if name not in columns[path]]
        return f"other columns, without {name_some(missing, _SHOWN)}" if missing else ""

    sorting.keep(compare)
    return wanted, tuple(
        f"left out: {name} is only in {name_some(found, _SHOWN)}" for name, found in more.items()
    )


def _most_common(settings: Any) -> dict[str, str]:
    counted = Counter(tuple(sorted(found.items())) for found in settings)
    return dict(counted.most_common(1)[0][0]) if counted else {}


def _names_in(path: Path, settings: Mapping[str, Any]) -> tuple[str, ...]:
    """The columns of a file read in one way; none when it cannot be read so."""
    if not settings and find_table(path) != ".parquet":
        return ()
    try:
        reader = open_table(path, Source(windows=path.name, **settings))
        return tuple(name for name in reader.names if name)
    except ClosedLoopError:
        return ()


def _has_no_rows(path: Path, settings: Mapping[str, str]) -> bool:
    if find_table(path) == ".parquet":
        return open_table(path, Source(windows="*")).size == 0
    return len(read_beginning(path, settings["encoding"]).strip().splitlines()) < 2


def _as_listed(sorting: _Sorting) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    return tuple(sorting.files), (f"{len(sorting.files)} files are read together",)


def _in_order(sorting: _Sorting) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """The files, oldest first, and how they are ordered, in words."""
    named = {split_ending(path)[0]: path for path in sorting.files}
    try:
        order = find_time_order(named)
    except UnclearOrder:
        timed = [name for name in named if _speaks_of_time(name)]
        if not len(named) / 2 < len(timed) < len(named):
            raise
        sorting.keep(
            lambda path: "" if split_ending(path)[0] in timed else "its name speaks of no time"
        )
        order = find_time_order(timed)
    names, word = order.names, "time order" if order.reading != "names" else "order of their names"
    files = tuple(named[name] for name in names)
    if len(names) == 1:
        return files, ()
    return files, (f"{len(names)} windows in {word}: {names[0]} to {names[-1]}",)


def _speaks_of_time(name: str) -> bool:
    return any(read_time(name, convention) is not None for convention in CONVENTIONS)


def _written_otherwise(path: Path, own: Mapping[str, str], usual: Mapping[str, str]) -> SourceError:
    name = next(name for name in usual if own.get(name) != usual[name])
    return SourceError(
        where=str(path),
        wanted=f"{name} {usual[name]!r}, as in the other files",
        got=f"{name} {own[name]!r}",
        then="write it like the others, or move it out of the folder",
    )


def _nothing_in(folder: Path, listed: Sequence[Path], sorting: _Sorting) -> SourceError:
    left = [path.name for path in listed if not path.name.startswith(".")]
    inside = [path for path in listed if path.is_dir() and not path.name.startswith(".")]
    return SourceError(
        where=str(folder),
        wanted="CSV or Parquet files with rows",
        got="; ".join(sorting.notes()) or (name_some(left, _SHOWN) if left else "an empty folder"),
        then=f"name the folder that holds them, such as {inside[0]}"
        if inside
        else "put the files into it, or name another folder",
    )
