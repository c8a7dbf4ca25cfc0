"""Numbers as a file writes them, such as 1.234,56 -> as `read_number` reads them, 1234.56.

No value is guessed by itself: the signs are those of the whole file, and what does not fit them
stays unreadable, so that the contract reports it.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

SPACES = r" \x{a0}\x{202f}\x{2009}\x{2007}"
# Signs, and one currency or unit such as EUR, kr. or %.
_AROUND = r"[^\d.,\pL]*(?:\pL{1,5}\.?)?[^\d.,\pL]*"
_POWER = r"(?:[eE][+-]?\d+)?"
_GROUPS = r"[1-9]\d{0,2}(?:[X]\d{3})+"  # none follows a lone 0: 0.125 is an eighth
_SMALL_GROUPS = _GROUPS.replace("X", rf"'’{SPACES}")
_POINT_GROUPS = _GROUPS.replace("X", r"\.")
_WITH_COMMA = rf"(?:(?:\d+|{_SMALL_GROUPS}|)(?:,\d*)?|{_POINT_GROUPS},\d*"
_FITS_COMMA = {
    "": rf"^{_AROUND}{_WITH_COMMA}){_POWER}{_AROUND}$",
    ".": rf"^{_AROUND}{_WITH_COMMA}|{_POINT_GROUPS}){_POWER}{_AROUND}$",
}
_FITS_POINT = (
    rf"^{_AROUND}(?:(?:\d+|{_SMALL_GROUPS}|{_GROUPS.replace('X', ',')}|"
    rf"[1-9]\d?(?:,\d{{2}})+,\d{{3}}|)(?:\.\d*)?){_POWER}{_AROUND}$"
)
_UNFIT = " where the decimal sign is ,"


def fits(texts: Any, decimal: str, thousands: str) -> Any:
    """Whether each text is a number with these signs."""
    pattern = _FITS_POINT if decimal == "." else _FITS_COMMA["." if thousands == "." else ""]
    return pc.and_(pc.match_substring_regex(texts, pattern), pc.match_substring_regex(texts, r"\d"))


def plain_numbers(texts: Any, decimal: str, thousands: str) -> Any:
    """The texts with a decimal point and without thousands, where they fit the signs.

    Points between thousands are accepted if `thousands` says so, or if a decimal comma follows.
    Other texts stay as they are; those that would be another number with another sign get words
    that make them unreadable.
    """
    if decimal == ".":
        return texts  # `read_number` knows its thousands
    pointed = pc.replace_substring(texts, ",", ".")
    if not pc.any(pc.match_substring(texts, ".")).as_py() and _are_floats(pointed):
        return pointed
    fit = fits(texts, decimal, thousands)
    joined = pc.replace_substring_regex(texts, rf"(\d)[.'’{SPACES}](\d)", r"\1\2")
    doubtful = pc.match_substring_regex(texts, r"\d.*[.,]|[.,].*\d")
    marked = pc.binary_join_element_wise(texts, _UNFIT, "")
    return pc.if_else(
        fit, pc.replace_substring(joined, ",", "."), pc.if_else(doubtful, marked, texts)
    )


def _are_floats(texts: Any) -> bool:
    try:
        pc.cast(texts, pa.float64())
    except pa.ArrowInvalid:
        return False
    return True


def has_commas(texts: Any) -> bool:
    """Whether any text is a number with a decimal comma."""
    return bool(
        pc.any(
            pc.and_(pc.match_substring(texts, ","), fits(texts, ",", ".")),
        ).as_py()
    )
