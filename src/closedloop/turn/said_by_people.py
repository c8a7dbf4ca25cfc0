"""Names and reasons that people give, as they are kept in the journal."""

from __future__ import annotations

from closedloop.errors import UseCaseError
from closedloop.shown_text import printable

MOST_OF_A_REASON = 2000  # characters; MLflow keeps 5,000 of a whole decision
MOST_OF_A_NAME = 200


def check_said(text: str, what: str, most: int) -> str:
    """A name or reason in one line, without what would act on a terminal.

    Raises UseCaseError for one that is empty or too long.
    """
    line = printable(" ".join(text.encode("utf-8", "backslashreplace").decode().split()))
    if line and len(line) <= most:
        return line
    raise UseCaseError(
        where=f"the {what}",
        wanted=f"1 to {most:,} characters",
        got=f"{len(line):,} characters" if line else "nothing",
        then="say in a sentence why; it is kept in the journal",
    )
