"""What `closedloop doctor` says about the records: columns that are kept out, and the archive."""

from __future__ import annotations

from closedloop.errors import StoreError
from closedloop.turn.open import Loop


def describe_recorded(loop: Loop) -> str:
    """Which columns are not recorded, and what cannot be done without them.

    Raises StoreError when the newest answer has such a column: its service does not know yet.
    """
    hidden = loop.use_case.unrecorded
    if not hidden:
        return "every column that the API is asked with"
    newest = loop.records.newest_columns(loop.use_case.name)
    if newest is not None and (found := [name for name in hidden if name in newest[1]]):
        raise StoreError(
            where="records",
            wanted=f"no values of {', '.join(found)}, which record = false keeps out",
            got=f"the newest answer, of {newest[0]:%Y-%m-%d %H:%M} UTC, has them",
            then="start the API again, which reads loop.toml when it starts, and send it a request",
        )
    return (
        f"without {', '.join(hidden)} (record = false), so they are no windows to monitor or to "
        "train on, and candidates are not asked what was recorded; answers from before still have "
        "them until they are pruned"
    )


def describe_archive(loop: Loop) -> str:
    """The days in the archive. Raises ArchiveError when it does not answer."""
    archive = loop.records.archive
    days = () if archive is None else archive.days(loop.use_case.name)
    return (
        f"{len(days)} days, {days[0]} to {days[-1]}" if days else "no day yet: closedloop archive"
    )
