"""How exports spell single values: numbers, categories, nulls.

Without pandas, because the service reads values too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from closedloop.use_case.contract import MISSING

# Spellings of 'no value' in exports. A category spelled like this is a value if `allowed` names it.
_NULLS = frozenset({"", "na", "n/a", "#n/a", "nan", "nat", "null", "none", "<na>"})
_CURRENCY = "€$£¥"
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?")
_WHOLE = re.compile(r"[+-]?\d+\.0+")
# The nulls of pandas, by name: this saves importing pandas.
_PANDAS_NULLS = ("NAType", "NaTType")


def is_null(value: object) -> bool:
    """None, NaN and the nulls of pandas."""
    return (
        value is None
        or (isinstance(value, (float, np.floating)) and math.isnan(value))
        or type(value).__name__ in _PANDAS_NULLS
    )


def says_nothing(value: Any) -> bool:
    """Whether a value is null or a spelling of it."""
    return is_null(value) or (isinstance(value, str) and value.strip().casefold() in _NULLS)


def read_number(value: Any) -> float:
    """Bools, Decimals and text such as ' 1,234.50 ' or '€12' as a number; NaN for anything else.

    A comma is accepted only between thousands.
    """
    if is_null(value):
        return math.nan
    if isinstance(value, str):
        text = value.strip().strip(_CURRENCY).strip()
        if text.casefold() in ("true", "false"):
            return float(text.casefold() == "true")
        if _THOUSANDS.fullmatch(text):
            text = text.replace(",", "")
        value = text if "_" not in text else ""  # Python would read 1_000
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def read_category(allowed: tuple[str, ...] = ()) -> Callable[[Any], str]:
    """A function that spells a category as in `allowed` where it matches; MISSING for null."""
    return partial(_category, known=find_spellings(allowed))


def spell(value: Any) -> str:
    """One spelling per value: True is 'True', 1.0 is '1', text is stripped, null is MISSING."""
    if is_null(value):
        return MISSING
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value))
    if isinstance(value, (float, np.floating)):
        number = float(value)
        return str(int(number)) if number.is_integer() else repr(number)
    return str(value).strip()


def _plain(text: str) -> str:
    """The form that two spellings of a category share: lower case, and 1 for 1.0."""
    return (text.partition(".")[0] if _WHOLE.fullmatch(text) else text).casefold()


def find_spellings(allowed: tuple[str, ...]) -> Mapping[str, str]:
    """Plain form -> the spelling to use; an exact spelling wins over an equal plain form."""
    known = {_plain(text.strip()): text for text in reversed(allowed)}
    known.update({text.strip(): text for text in allowed})
    return known


def _category(value: Any, known: Mapping[str, str]) -> str:
    text = spell(value)
    found = known.get(text, known.get(_plain(text)))
    if found is not None:
        return found
    if text.casefold() in _NULLS:
        return MISSING
    return text.partition(".")[0] if _WHOLE.fullmatch(text) else text


def read_label(value: Any, known: Mapping[str, str]) -> str | None:
    """The class that a value spells; None for an unknown class."""
    text = spell(value)
    return known.get(text, known.get(_plain(text)))
