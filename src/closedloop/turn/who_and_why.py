"""Who decides and why, in a line each: words from outside that the journal keeps for ever."""

from __future__ import annotations

from closedloop.errors import UseCaseError
from closedloop.shown_text import printable

MOST_OF_A_NAME = 200
MOST_OF_A_REASON = 2000  # MLflow keeps 5,000 characters of a whole decision


def check_name(text: str) -> str:
    """The name of whoever decides, in one line, without what would act on a terminal.

    Raises UseCaseError for one that is empty or too long.
    """
    return _check(text, "the name of who decides", MOST_OF_A_NAME, "say who you are")


def check_reason(text: str) -> str:
    """The reason of a decision, as `check_name`."""
    then = "say in a sentence why; the journal keeps it"
    return _check(text, "the reason of a decision", MOST_OF_A_REASON, then)


def check_words(by: str | None, reason: str | None) -> tuple[str | None, str | None]:
    """Who asks and why, if they say it; raises UseCaseError for words that cannot be kept."""
    return by and check_name(by), reason and check_reason(reason)


def _check(text: str, where: str, most: int, then: str) -> str:
    if len(text) > 10 * most:  # a megabyte is not worth a look
        line = text
    else:
        # What a shell passes on that is no UTF-8 would be refused by databases.
        line = printable(" ".join(text.encode("utf-8", "backslashreplace").decode().split()))
    if line and len(line) <= most:
        return line
    raise UseCaseError(
        where=where,
        wanted=f"1 to {most:,} characters",
        got=f"{len(line):,} characters" if line else "nothing",
        then=then,
    )
