"""The values of a categorical column: which are one, which mean null, and whether to list them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

import numpy as np
import pandas as pd

from closedloop.cli.draft.facts import Facts
from closedloop.cli.draft.feature import (
    Feature,
    Surroundings,
    count_rows,
    limit_nulls,
    looks_like_id,
    show,
)
from closedloop.use_case.contract import MISSING
from closedloop.use_case.toml_text import quote
from closedloop.windows.spelling import NULLS, says_nothing

_MAX_ALLOWED = 30
# Programs write these for null; nobody means a value by them.
_SURE_NULLS = frozenset({"", "nan", "nat", "null", "<na>", "#n/a"})
_COMMA = re.compile(r"[-+(]?\W{0,2}(?:\d+|\d{1,3}(?:[. ']\d{3})+),\d+\W{0,4}")
_MOST_COMMAS = 0.9
_SURELY_DIFFERENT = 4.0  # standard errors
_NESTED_TEXT = re.compile(r"\{.*\}|\[.*\]", re.DOTALL)


def find_null_words(columns: Iterable[tuple[Facts, bool]]) -> frozenset[str]:
    """The spellings that count as null in a table, in lower case.

    `columns` are what is known of each, and whether it is numbers. 'NA' and 'None' are values when
    empty cells say what is missing, and no column of numbers says it with that word.
    """
    empty, among_numbers = False, set(_SURE_NULLS)
    for facts, are_numbers in columns:
        empty = empty or bool(facts.nulls[MISSING].any())
        if are_numbers:
            among_numbers |= {word.casefold() for word in facts.nulls} & NULLS
    return frozenset(among_numbers) if empty else NULLS


def describe_categories(name: str, facts: Facts, around: Surroundings, codes: str = "") -> Feature:
    """The values of a column of categories; `codes` says why they are no numbers."""
    counts = facts.known(around.null_words)
    distinct, rows = facts.distinct - (len(facts.counts) - len(counts)), counts.sum()
    if distinct <= 1:
        return Feature(name, left_out="constant" if distinct else "always null")
    if np.mean([bool(_COMMA.fullmatch(text)) for text in counts.index]) > _MOST_COMMAS:
        return Feature(name, left_out="numbers with a decimal comma: write them with a point")
    if all(_NESTED_TEXT.fullmatch(text) for text in counts.index):
        return Feature(name, left_out="lists or objects written as text")
    if distinct > _MAX_ALLOWED and distinct / rows > 0.9:
        return Feature(name, left_out="an id or free text: nearly every value is different")
    if looks_like_id(name) and distinct == rows:
        return Feature(name, left_out="an id: every value is different")
    values, notes = _merge_cases(facts.texts, counts, around.positive)
    listed = facts.complete and len(values) <= _MAX_ALLOWED
    # Only `allowed` makes a value of a word for null.
    null_words = around.null_words if listed else NULLS
    notes = [
        *(
            [f'{codes}; if these are numbers, write type = "numeric", without allowed']
            if codes
            else []
        ),
        *notes,
        *_explain_words(facts, null_words, listed, around),
    ]
    lines = ['type = "categorical"', *(f"# {note}" for note in notes)]
    if listed:
        lines.append(
            f"allowed = [{', '.join(quote(text) for text in sorted(values))}]  # "
            "any other value breaks the contract; delete this line to allow all"
        )
    else:
        many = len(values) if facts.complete else f"about {distinct:,}"
        lines.append(f"# {many} different values seen, too many to list")
    rate = around.windows.worst_share(facts.is_null(null_words))
    return Feature(name, (*lines, *limit_nulls(rate)), notes=tuple(notes))


def _merge_cases(
    texts: pd.Series[str], counts: pd.Series[int], positive: pd.Series[bool]
) -> tuple[list[str], list[str]]:
    """Of values that differ only in case, the most common spelling, unless they seem to differ."""
    groups: dict[str, list[str]] = {}
    for text in counts.index:
        groups.setdefault(str(text).casefold(), []).append(str(text))
    values, notes = [], []
    for spellings in groups.values():
        values.append(spellings[0])
        if len(spellings) == 1:
            continue
        listed = ", ".join(f"{show(text)} ({counts[text]:,} rows)" for text in spellings[:6])
        if any(map(str.isdigit, spellings[0])) or _differ(spellings, texts, positive):
            values += spellings[1:]
            notes.append(
                f"differ only in case and are kept apart: {listed}; delete all but one to make "
                "them one"
            )
        else:
            notes.append(f"differ only in case and are one value: {listed}")
    return values, notes


def _differ(spellings: list[str], texts: pd.Series[str], positive: pd.Series[bool]) -> bool:
    """Whether the last class is clearly more frequent with one spelling than with the others."""
    for text in spellings:
        with_it = positive[texts == text]
        others = positive[texts.isin(set(spellings) - {text})]
        if min(len(with_it), len(others)) < 20:
            continue
        both = (with_it.sum() + others.sum()) / (len(with_it) + len(others))
        error = math.sqrt(both * (1 - both) * (1 / len(with_it) + 1 / len(others)))
        if error and abs(with_it.mean() - others.mean()) > _SURELY_DIFFERENT * error:
            return True
    return False


def _explain_words(
    facts: Facts, null_words: frozenset[str], listed: bool, around: Surroundings
) -> list[str]:
    """What is said of 'NA', 'None', '?' and the like: whether they are values, with their count."""
    notes = []
    for text, rows in facts.counts.items():
        word, often = show(str(text)), count_rows(int(rows), facts.rows)
        if str(text).casefold() in NULLS:
            if str(text).casefold() in _SURE_NULLS - {"#n/a"}:
                continue
            if str(text).casefold() not in null_words:
                notes.append(f"{word} in {often} is a value: what is missing is empty here")
            elif listed:
                notes.append(
                    f"{word} in {often} counts as null; if it is a value, add it to allowed"
                )
            else:
                notes.append(f"{word} in {often} counts as null; only allowed makes it a value")
        elif says_nothing(text):
            advice = around.advise_null(str(text), facts)
            notes.append(f"{word} in {often} is a value here; if it means missing, {advice}")
    return notes
