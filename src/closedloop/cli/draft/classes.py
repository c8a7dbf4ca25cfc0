"""The classes of the target: their spellings, and which one is the positive."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from closedloop.cli.draft.facts import Facts
from closedloop.cli.draft.feature import count_rows, show
from closedloop.cli.draft.nested import describe_nested
from closedloop.errors import UseCaseError
from closedloop.use_case.toml_text import quote
from closedloop.windows.spelling import NULLS, find_spellings, read_label
from closedloop.windows.written_numbers import read_number

_MAX_CLASSES = 20
_MANY_NUMBERS = 10  # more are seldom classes
_SAYS_YES = """
yes ja oui si sí sim da tak hai true on positive pos churn churned leaves exited attrited lost
cancelled canceled returned return default defaulted fraud fraudulent bad spam dead died deceased
sick ill disease malignant fail failed failure anomaly attack abnormal late delayed risk clicked
click bought converted responded won subscribed
"""
_SAYS_NO = """
no not non nein nej nee não nao nie ne false off negative neg none never stay stays stayed kept
keep retained active good normal ok okay fine ham alive survived healthy well benign pass passed
legit legitimate genuine control existing
"""
_YES, _NO = frozenset(_SAYS_YES.split()), frozenset(_SAYS_NO.split())
_LETTERS = frozenset({("n", "y"), ("n", "j"), ("n", "o"), ("n", "s"), ("f", "t"), ("-", "+")})
_NOTS = ("not", "no", "non", "un", "in", "dis", "nicht", "kein", "keine", "pas")


@dataclass(frozen=True)
class Classes:
    """The classes in their order; `why` says why the last one is the positive of two."""

    names: tuple[str, ...]
    why: str = ""
    notes: tuple[str, ...] = ()


def read_classes(
    facts: Facts,
    path: Path,
    target: str,
    null_words: frozenset[str] = NULLS,
    positive: str | None = None,
) -> Classes:
    """Classes that differ only in case are one, in the most common spelling.

    Of two the positive one is second: `positive`, or the one that says yes, or the rarer. Raises
    UseCaseError for a target that does not have 2 to 20 classes.
    """
    if why := describe_nested(facts.values):
        raise _refusal(path, target, why, "choose another --target, or add a column with classes")
    labels = facts.known(null_words)
    groups: dict[str, list[str]] = {}
    for text in labels.index:
        groups.setdefault(str(text).casefold(), []).append(str(text))
    if len(groups) == 1:  # the classes may be 'a' and 'A'
        groups = {text: [text] for texts in groups.values() for text in texts}
    names = [spellings[0] for spellings in groups.values()]
    _check(names, labels, path, target)
    notes = [
        f"one class, written in {len(spellings)} ways: "
        + ", ".join(show(text) for text in spellings[:6])
        for spellings in groups.values()
        if len(spellings) > 1
    ]
    notes += [
        f"{show(str(word))} in {count_rows(int(rows), facts.rows)} counts as not labelled; "
        "if it is a class, add it to classes"
        for word, rows in facts.counts.items()
        if str(word).casefold() in null_words - {"", "nan", "nat", "null", "<na>"}
    ]
    if len(names) > _MANY_NUMBERS and np.isfinite([read_number(name) for name in names]).all():
        notes.append(
            f"{len(names)} whole numbers are taken for as many classes, none of which is nearer to "
            "another; if they are a quantity, add a column with a few classes"
        )
    known = find_spellings(tuple(names))
    counts = labels.groupby([read_label(label, known) for label in labels.index]).sum()
    ordered, why = _order(counts)
    if positive is not None:
        ordered, why = _put_last(ordered, positive, path, target), "--positive"
    return Classes(tuple(ordered), why if len(ordered) == 2 else "", tuple(notes))


def _check(names: list[str], labels: pd.Series[int], path: Path, target: str) -> None:
    numbers = np.array([read_number(name) for name in names])
    fractional = bool(np.any(numbers[np.isfinite(numbers)] % 1))
    if len(names) < 2:
        got = f"only {names[0]!r}" if names else "nulls only"
        raise _refusal(path, target, got, "add rows of every class")
    quantity = "looks like a quantity, not a class"
    if np.isfinite(numbers).all() and fractional and len(names) > 2:
        got = f"{len(names)} numbers such as {names[0]}: it {quantity}"
        raise _refusal(path, target, got, _advise_cutting(labels))
    if len(names) > _MAX_CLASSES:
        if np.isfinite(numbers).any():
            got, then = f"{len(names)} different values; it {quantity}", _advise_cutting(labels)
        else:
            got = f"{len(names)} different values; it has too many values for classes"
            then = "choose another --target, or add a column with classes"
        raise _refusal(path, target, got, then)


def _advise_cutting(labels: pd.Series[int]) -> str:
    """What to do about a quantity, with the bounds of three classes of about as many rows."""
    numbers = np.array([read_number(label) for label in labels.index]).repeat(labels)
    low, high = np.quantile(numbers[np.isfinite(numbers)], [1 / 3, 2 / 3])
    cut = f"low, middle and high, cut at {low:g} and {high:g}" if low < high else "low and high"
    return (
        "predicting a quantity is a regression, which closedloop does not do: add a column with "
        f"classes, such as {cut}, and name it with --target"
    )


def _refusal(path: Path, target: str, got: str, then: str) -> UseCaseError:
    return UseCaseError(
        where=f"{path}: {target}",
        wanted=f"a target of 2 to {_MAX_CLASSES} classes",
        got=got,
        then=then,
    )


def _order(counts: pd.Series[int]) -> tuple[list[str], str]:
    """The classes in order, and why the last one is the positive of two."""
    ordered = sorted(map(str, counts.index))
    if np.isfinite([_as_number(name) for name in ordered]).all():
        return sorted(ordered, key=_as_number), "the larger number"
    if len(ordered) != 2:
        return ordered, ""
    for first, second in (ordered, ordered[::-1]):
        if (first.casefold(), second.casefold()) in _LETTERS:
            return [first, second], "by its meaning"
        yes, no = _says(second, _YES), _says(first, _NO)
        if (yes or no) and not _says(first, _YES) and not _says(second, _NO):
            return [first, second], "by its meaning" if yes else f"{quote(first)} means no"
        if _negates(first, second):
            return [first, second], f"{quote(first)} negates it"
    by_rows = sorted(ordered, key=lambda name: -counts[name])
    share = 100 * counts.min() / counts.sum()
    return by_rows, f"the rarer one, {share:.2g} % of the labels"


def _as_number(name: str) -> float:
    return float("nan") if name.casefold() in ("true", "false") else read_number(name)


def _says(name: str, words: frozenset[str]) -> bool:
    text = name.casefold().replace("_", " ").rstrip(".!")
    return text in words or text.split(" ")[0] in words & {"yes", "no", "not", "non", "never"}


def _negates(first: str, second: str) -> bool:
    opposite, said = first.casefold(), second.casefold()
    return any(
        opposite == f"{prefix}{sign}{said}" for prefix in _NOTS for sign in ("", " ", "_", "-")
    )


def _put_last(ordered: list[str], positive: str, path: Path, target: str) -> list[str]:
    found = read_label(positive, find_spellings(tuple(ordered)))
    if len(ordered) != 2 or found is None:
        raise UseCaseError(
            where=f"{path}: {target}",
            wanted="--positive with one of two classes",
            got=f"{positive!r}, and the classes {', '.join(ordered)}",
            then="name one of them" if len(ordered) == 2 else "drop --positive",
        )
    return [name for name in ordered if name != found] + [found]
