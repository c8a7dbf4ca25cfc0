"""What is deleted on a schedule, and when. It changes no decision."""

from __future__ import annotations

from dataclasses import dataclass

from closedloop.use_case.schedule import check_cron


@dataclass(frozen=True)
class Housekeeping:
    """Pruning on a schedule: by the same rules as `closedloop prune`.

    A scheduled run keeps a list of what it would delete. It deletes only when `enabled`, and only
    by rules that an earlier run has shown.
    """

    cron: str = ""
    """When to look for what can be deleted; empty: never."""
    enabled: bool = False
    """Whether the runs delete what an earlier one has shown; otherwise they only show it."""
    keep_versions: int = 20
    """Rejected and archived versions that keep their files."""
    keep_reports: int | None = None
    """Drift reports that are kept; without it, the value of CLOSEDLOOP_KEEP_REPORTS."""
    keep_days_of_records: int = 0
    """Days after which records are deleted that no turn needs; 0 keeps all."""

    def __post_init__(self) -> None:
        if self.cron:
            check_cron(self.cron)
        for name in ("keep_versions", "keep_reports", "keep_days_of_records"):
            if (getattr(self, name) or 0) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.enabled and not self.cron:
            raise ValueError('cron is needed with enabled = true, such as "30 3 * * 0"')
