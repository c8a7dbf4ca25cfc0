"""Dates and times in any usual form. As features they only grow: every new window would drift."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from closedloop.cli.draft.feature import show

_MONTH_NAMES = """
january february march april may june july august september october november december
januar februar märz mai juni juli oktober dezember jänner maerz
janvier février fevrier mars avril juin juillet août aout septembre octobre novembre décembre
enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre
gennaio febbraio aprile maggio giugno luglio settembre ottobre dicembre
janeiro fevereiro março maio junho julho setembro outubro dezembro januari maart mei augustus
"""
_MONTHS = frozenset(name[:size] for name in _MONTH_NAMES.split() for size in (3, 4, len(name))) | {
    "mrz"
}
_D, _M, _Y = r"(?:0?[1-9]|[12]\d|3[01])", r"(?:0?[1-9]|1[0-2])", r"(?:1[6-9]|20|21|99)\d\d"
_DD, _MM = r"(?:0[1-9]|[12]\d|3[01])", r"(?:0[1-9]|1[0-2])"
_ZONE = r"(?: ?(?:Z|[A-Z]{2,5}|(?:UTC|GMT)?[+-]\d\d(?::?\d\d)?))?(?: ?\[[\w/+-]+\])?"
_CLOCK = r"\d{1,2}[:.]\d\d(?:[:.]\d\d(?:[.,]\d+)?)?(?: ?[AaPp]\.?[Mm]\.?)?"
_TIME = rf"(?:(?:T|,? +){_CLOCK}{_ZONE})?"
_WORD, _WEEKDAY = r"(?P<month>[^\W\d_]{3,11})\.?", r"(?:[^\W\d_]{2,10}\.?,? )?"
_DAY = rf"{_D}(?:st|nd|rd|th|\.)?"
_FORMS = tuple(
    re.compile(form, re.IGNORECASE)
    for form in (
        rf"{_Y}([-/. ]){_M}\1{_D}\.?{_TIME}",
        rf"{_D}([-/. ]){_M}\1{_Y}{_TIME}",
        rf"{_M}([-/. ]){_D}\1{_Y}{_TIME}",
        rf"(?:{_M}/{_D}|{_D}/{_M})/\d\d{_TIME}",
        rf"\d\d([-.]){_MM}\1{_DD}|(?:{_DD}-{_MM}|{_MM}-{_DD})-\d\d|{_DD}\.{_MM}\.\d\d",
        rf"{_Y}[-/.]{_M}|{_M}[-/.]{_Y}",
        rf"{_Y}{_M}{_D}T\d{{4,6}}(?:\.\d+)?{_ZONE}",
        rf"{_Y}[ -]?[WQ]\d\d?(?:-?\d)?|[WQ]\d\d?[ /-]?{_Y}",
        rf"{_WEEKDAY}{_DAY}(?:er)?[ /-]?(?:de )?{_WORD}[ /,-]*(?:de )?(?:{_Y}|\d\d){_TIME}",
        rf"{_WEEKDAY}{_WORD}[ -]?{_DAY},? +(?:{_Y}){_TIME}",
        rf"{_WEEKDAY}{_WORD} +{_D} {_CLOCK}(?: [A-Z]+)? {_Y}",
        rf"{_WORD}[ /,'-]*(?:de )?(?:{_Y}|\d\d)",
        rf"(?:{_Y}|\d\d)[ /-]{_WORD}(?:[ /-]{_D})?",
    )
)
_NAMED = re.compile(
    r"(^|[\s_.-])(date|datum|day|time|timestamp|ts|epoch|unix|created|updated|modified|at|on|since|"
    r"month|period|year|yearmonth|ym|ymd|when)([\s_.-]|$)|[a-z](At|On|Date|Time|Month)$|date|time",
    re.IGNORECASE,
)
_TIMES = (dt.date, dt.time, dt.timedelta, np.datetime64, np.timedelta64)
_FIRST, _LAST = 631_152_000, 4_102_444_800  # 1990 to 2100, in seconds
_UNITS = {1: "seconds", 10**3: "milliseconds", 10**6: "microseconds", 10**9: "nanoseconds"}
_DIGITS = {6: "%Y%m", 8: "%Y%m%d", 10: "%Y%m%d%H", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
_DAY_OF_TIME = re.compile(r"-?\d{1,3}:\d\d(:\d\d([.,]\d+)?)?( ?[AaPp]\.?[Mm]\.?)?")
_MANY_TIMES = 30
_LOOKED_AT = 500  # of the most frequent texts, before all are
_SPREADSHEET = (32_874, 73_050)  # days since 1900, from 1990 to 2100
_WHY = "derive an age or a season from it, because it only grows"
_MOST = 0.97  # of the values must be dates


def describe_time(column: pd.Series[Any]) -> str:
    """Why a column of the type of a date or time is left out; empty for any other column."""
    kinds = pd.api.types
    if (
        kinds.is_datetime64_any_dtype(column)
        or kinds.is_timedelta64_dtype(column)
        or isinstance(column.dtype, pd.PeriodDtype)
        or (
            kinds.is_object_dtype(column)
            and column.dropna().map(lambda value: isinstance(value, _TIMES)).all()
        )
    ):
        return f"a date or time: {_WHY}"
    return ""


def describe_written_time(counts: pd.Series[int]) -> str:
    """Why a column of texts that are dates or times is left out; empty for any other column.

    `counts` has the rows of each text, most frequent first.
    """
    if len(counts) > _MANY_TIMES and counts.index.str.fullmatch(_DAY_OF_TIME).mean() > _MOST:
        return "a time of the day or a duration: derive the hour, or a number, from it"
    if not any(is_date(str(text)) for text in counts.index[:_LOOKED_AT]):
        return ""
    dates = counts[[is_date(str(text)) for text in counts.index]]
    if not len(dates) or dates.sum() < _MOST * counts.sum():
        return ""
    return f"a date or time, written like {show(str(dates.index[0]))}: {_WHY}"


def is_date(text: str) -> bool:
    """Whether a text is a day, a month or a quarter of a year, with or without a time.

    Runs of digits are no such text: see `describe_digits`.
    """
    for form in _FORMS:
        found = form.fullmatch(text)
        if found is not None:
            word = found.groupdict().get("month")
            if word is None or word.casefold() in _MONTHS:
                return True
    return False


def describe_digits(name: str, numbers: NDArray[np.float64], windows: pd.Series[int]) -> str:
    """Why a column of numbers that are dates is left out; empty for any other column.

    Numbers that merely could be dates are not: the name, growth over the windows, or the odds that
    so many values are dates by chance must speak for it.
    """
    present = pd.Series(numbers)[~np.isnan(numbers)]
    distinct = present.unique()
    hinted = bool(_NAMED.search(name)) or grows(present, windows[present.index])
    example = f"{distinct[0]:.0f}"
    form = _DIGITS.get(len(example))
    whole = not np.any(distinct % 1)
    if form and whole and (hinted or len(distinct) >= 3) and _are_days(distinct, form):
        return f"a date or time, written like {example}: {_WHY}"
    if hinted and len(example) == 6 and whole and _are_days(distinct, "%y%m%d"):
        return f"a date or time, written like {example}: {_WHY}"
    low, high = _SPREADSHEET
    if re.search("date|datum", name, re.IGNORECASE) and np.all(
        (distinct > low) & (distinct < high)
    ):
        day = pd.Timestamp("1899-12-30") + pd.Timedelta(days=float(distinct[0]))
        return f"a date or time in days since 1900 ({example} is {day:%Y-%m-%d}): {_WHY}"
    for scale, unit in _UNITS.items():
        if not np.all((distinct >= _FIRST * scale) & (distinct <= _LAST * scale)):
            continue
        many = whole and scale > 1 and len(distinct) > 0.5 * len(present) > 10
        if hinted or many:
            day = pd.to_datetime(float(distinct[0]) / scale, unit="s")
            return f"a date or time in {unit} since 1970 ({example} is {day:%Y-%m-%d}): {_WHY}"
    return ""


def may_be_seconds(numbers: pd.Series[float]) -> bool:
    """Whether numbers without other signs of a date are all in the range of seconds since 1970."""
    return bool(numbers.between(10**9, 2 * 10**9).all() and (numbers % 1 == 0).all())


def _are_days(numbers: NDArray[np.float64], form: str) -> bool:
    texts = pd.Series([f"{number:.0f}" for number in numbers])
    days = pd.to_datetime(texts, format=form, errors="coerce")
    return bool(days.dt.year.between(1900, 2100).all())


def grows(values: pd.Series[float], windows: pd.Series[int]) -> bool:
    """Whether the values of each of at least three windows lie above most of the one before."""
    by_window = values.groupby(windows.to_numpy())
    low, median, high = (by_window.quantile(share).to_numpy() for share in (0.1, 0.5, 0.9))
    return len(median) >= 3 and bool(
        np.all(median[1:] > high[:-1]) and np.all(low[1:] > median[:-1])
    )
