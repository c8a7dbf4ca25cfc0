"""Whether a column alone tells the target: then it is probably written after the target."""

from __future__ import annotations

from dataclasses import dataclass

from closedloop.decisions.checks import Check, Role, make_check
from closedloop.decisions.policy import Policy

NO_LEAK = "no column alone tells the target"


@dataclass(frozen=True)
class ColumnAuc:
    """The AUC that a feature alone reaches on rows that it was not learnt on.

    `by_nulls` when it is enough to know where the column is null. `allowed` when a person says that
    the column is known before the target is.
    """

    column: str
    auc: float
    rows: int
    by_nulls: bool = False
    allowed: bool = False


def find_leaks(columns: tuple[ColumnAuc, ...], limit: float) -> tuple[ColumnAuc, ...]:
    """Columns whose AUC is over the limit and that no person allowed."""
    return tuple(column for column in columns if column.auc > limit and not column.allowed)


def tell_leak(leak: ColumnAuc) -> str:
    """What was found in one column, and what a person does about it, in a sentence."""
    by_nulls = ", by where it is null" if leak.by_nulls else ""
    return (
        f"{leak.column} alone tells the target{by_nulls} (AUC {leak.auc:.3f} on {leak.rows:,} "
        f"rows): remove [columns.{leak.column}] if it is written after the target is known, "
        "otherwise write known_before_target = true under it"
    )


def single_column_checks(columns: tuple[ColumnAuc, ...], policy: Policy) -> list[Check]:
    """Gates of a first model: one for each column that tells the target, or one that none does."""
    limit = policy.promotion.max_single_column_auc
    leaks = find_leaks(columns, limit)
    highest = max(columns, key=lambda column: column.auc, default=None)
    if highest is None:
        return []
    wanted = f"the AUC of one column at most {limit:g}, unless it is known before the target is"
    if not leaks:
        known = ", known before the target is" if highest.auc > limit else ""
        got = f"at most {highest.auc:.4f} ({highest.column}{known})"
        return [make_check(NO_LEAK, True, Role.GATE, wanted, got)]
    return [
        make_check(
            NO_LEAK,
            False,
            Role.GATE,
            wanted,
            f"{leak.auc:.4f} ({leak.column})",
            summary=tell_leak(leak),
        )
        for leak in leaks
    ]
