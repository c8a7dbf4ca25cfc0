"""How exports spell single values: categories, labels, nulls.

Without pandas, because the service reads values too.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from closedloop.use_case.contract import MISSING

# Spellings of 'no value' in exports. A category spelled like this is a value if `allowed` names it.
NULLS = frozenset({"", "na", "n/a", "#n/a", "nan", "nat", "null", "none", "<na>"})
# What people write where a number is wanted and they have none; among categories these are values.
_NO_NUMBERS = re.compile(
    r"unknown|unk|missing|blank|empty|void|undefined|invalid|tb[ad]|n\.a\.?|n/?[dk]|n\.d\.|"
    r"not (available|applicable|known|given)|no (data|value|answer)|unbekannt|k\. ?a\.|"
    r"keine angabe|inconnu|desconocido|\\n|[(\[](null|none|blank|empty|missing)[)\]]|"
    r"#(value!|ref!|div/0!|num!|name\?|null!|error!)"
)
_SYMBOLS = re.compile(r"[-?.*/#~_=!%$€£¥\u2010-\u2015\u2026\u2212]{1,5}")  # '?', '-', '...'
_WHOLE = re.compile(r"[+-]?(?:0|[1-9]\d*)\.0+")  # 1.0 is 1, but 001.0 is a code
# The nulls of pandas, by name: this saves importing pandas.
_PANDAS_NULLS = ("NAType", "NaTType")
# Nothing for zero-width spaces, soft hyphens, byte order marks and marks of direction; a plain
# space for the others.
_LOOKS = str.maketrans(
    dict.fromkeys("\u200b\u2060\u00ad\ufeff\u200e\u200f", "")
    | dict.fromkeys("\u00a0\u202f\u2007\u2009\u2002\u2003\u3000", " ")
)


def is_null(value: object) -> bool:
    """None, NaN and the nulls of pandas."""
    return (
        value is None
        or (isinstance(value, (float, np.floating)) and math.isnan(value))
        or type(value).__name__ in _PANDAS_NULLS
    )


def says_nothing(value: Any) -> bool:
    """Whether a value where a number is wanted is null or says so, such as '?' or 'n/a'."""
    if not isinstance(value, str):
        return is_null(value)
    text = tidy(value).casefold()
    return text in NULLS or bool(_NO_NUMBERS.fullmatch(text) or _SYMBOLS.fullmatch(text))


def tidy(text: str) -> str:
    """Text without blanks around it, in one form for what looks alike.

    Composed characters (NFC), plain spaces, nothing without a width.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFC", text.translate(_LOOKS))
    return text.strip()


def read_category(allowed: tuple[str, ...] = ()) -> Callable[[Any], str]:
    """A function that spells a category as in `allowed` where it matches; MISSING for null."""
    return partial(_category, known=find_spellings(allowed))


def spell(value: Any) -> str:
    """One spelling per value: True is 'True', 1.0 is '1', text is stripped, null is MISSING."""
    if type(value) is str:  # most are, and there may be millions
        return value.strip()
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
    return _shorten(text).casefold()


def find_spellings(allowed: tuple[str, ...]) -> Mapping[str, str]:
    """Form -> the spelling to use; an exact spelling wins over an equal plain form."""
    known = {_plain(tidy(text)): text for text in reversed(allowed)}
    known.update({tidy(text): text for text in reversed(allowed)})
    known.update({text.strip(): text for text in allowed})
    return known


def _find(text: str, known: Mapping[str, str]) -> str | None:
    found = known.get(text)
    if found is None and not text.isascii():
        text = tidy(text)
        found = known.get(text)
    return found if found is not None else known.get(_plain(text))


def _category(value: Any, known: Mapping[str, str]) -> str:
    text = spell(value)
    found = _find(text, known)
    if found is not None:
        return found
    text = spell_category(text)
    return MISSING if text.casefold() in NULLS else text


def spell_category(value: Any) -> str:
    """One spelling per value; MISSING for null and for blanks, but not for words such as NA."""
    text = tidy(spell(value))
    if not text:
        return MISSING
    return _shorten(text)


def _shorten(text: str) -> str:
    """1 for 1.0."""
    return text.partition(".")[0] if "." in text and _WHOLE.fullmatch(text) else text


def read_label(value: Any, known: Mapping[str, str]) -> str | None:
    """The class that a value spells; None for an unknown class."""
    return _find(spell(value), known)
