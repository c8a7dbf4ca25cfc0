"""Numbers as people write them: thousands, currencies, per cent, brackets for minus.

Without pandas, because the service reads values too.
"""

from __future__ import annotations

import math
import re
from typing import Any

from closedloop.windows.spelling import is_null, tidy

_SYMBOLS = {"$": "USD", "US$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY", "₹": "INR"}
_CODES = (
    "USD|EUR|GBP|JPY|CHF|CNY|INR|AUD|CAD|NZD|SEK|NOK|DKK|ISK|PLN|CZK|HUF|RON|BGN|TRY|UAH|RUB|BRL|"
    "MXN|ARS|CLP|COP|PEN|ZAR|NGN|KES|EGP|MAD|ILS|SAR|AED|QAR|KWD|SGD|HKD|TWD|KRW|THB|IDR|MYR|PHP|"
    "VND|PKR|BDT|LKR|RMB|BTC|usd|eur|gbp"
)
_UNIT = rf"(?:US|AU|CA|NZ|HK|A|C|R|S)?[$¢£¤¥฿₠-⃀]|{_CODES}|(?:S?Fr|Rs|kr)\.?|zł|Kč|Ft"
_WRITTEN = re.compile(
    rf"(?P<sign>[+-]?) ?(?P<before>{_UNIT})? ?(?P<inner>[+-]?) ?"
    rf"(?P<digits>\d[\d,.' ]*|\.\d+) ?(?P<after>{_UNIT}|[Ee]uros?|%)? ?(?P<end>-?)"
)
# A group of thousands has exactly three digits, and none follows a lone 0: 0,125 is an eighth.
# The last form is India's, 12,34,567.
_DIGITS = re.compile(
    r"(?:\d+|[1-9]\d{0,2}([,' ])\d{3}(?:\1\d{3})*|[1-9]\d?(?:,\d{2})+,\d{3})(?:\.\d*)?|\.\d+"
)
_BRACKETS = re.compile(r"([^\d()]*)\(([^()]+)\)([^\d()]*)")
_SIGNS = str.maketrans(dict.fromkeys("\u2212\u2013\ufe63\uff0d", "-") | dict.fromkeys("’´ʼ", "'"))


def read_number(value: Any) -> float:
    """Bools, Decimals and text such as ' 1,234.50 ', '€12' or '(3 %)' as a number, else NaN.

    A per cent keeps the number as written: '12 %' is 12. A comma is accepted only between
    thousands.
    """
    if is_null(value):
        return math.nan
    if isinstance(value, str):
        return read_amount(value)[0]
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def read_amount(text: str) -> tuple[float, str]:
    """A number and its unit: a currency such as 'USD', '%' or none; NaN for other text."""
    try:
        return (math.nan if "_" in text else float(text)), ""  # Python would read 1_000
    except ValueError:
        pass
    text = tidy(text).translate(_SIGNS)
    if text.casefold() in ("true", "false"):
        return float(text.casefold() == "true"), ""
    brackets = _BRACKETS.fullmatch(text)
    found = _WRITTEN.fullmatch("".join(brackets.groups()).strip() if brackets else text)
    if found is None:
        return math.nan, ""
    signs = found["sign"] + found["inner"] + found["end"] + ("-" if brackets else "")
    digits = found["digits"].strip()
    units = {_name_unit(unit) for unit in (found["before"], found["after"]) if unit}
    if len(signs) > 1 or len(units) > 1 or not _DIGITS.fullmatch(digits):
        return math.nan, ""
    number = float(re.sub("[,' ]", "", digits))
    return (-number if signs == "-" else number), "".join(units)


def _name_unit(unit: str) -> str:
    if unit.casefold().startswith("euro"):
        return "EUR"
    return _SYMBOLS.get(unit, unit.upper() if unit in ("usd", "eur", "gbp") else unit)
