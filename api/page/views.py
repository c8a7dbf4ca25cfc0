"""What the page shows: each view has an address, a template, and what gathers its facts.

A template extends `frame.html` and finds its facts under their names, and the frame's under `page`
(`api/page/frame.py`). Nothing of it may hold a script or a style: the browser is told to run none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from api.page.drift import gather_column, gather_drift
from api.page.overview import gather_first_view
from api.page.timeline import gather_decision, gather_timeline
from api.page.versions import gather_card, gather_comparison, gather_versions
from closedloop.turn.open import Loop

# Given the loop and what the address says: the parts of its path, then its query.
Gather = Callable[[Loop, Mapping[str, str]], Mapping[str, Any]]


@dataclass(frozen=True)
class View:
    """One address that shows something; with a `name` it stands in the navigation.

    `gather` reads the world in a thread. It raises NotThere for something that is not there, and
    ClosedLoopError, which is shown with what to do.
    """

    path: str
    template: str
    gather: Gather
    name: str = ""


VIEWS: tuple[View, ...] = (
    View("/", "overview.html", gather_first_view, "Overview"),
    View("/decisions", "timeline.html", gather_timeline, "Decisions"),
    View("/decisions/{number:int}", "decision.html", gather_decision),
    View("/drift", "drift.html", gather_drift, "Drift"),
    View("/drift/column", "column.html", gather_column),
    View("/versions", "versions.html", gather_versions, "Versions"),
    View("/versions/compare", "compare.html", gather_comparison),
    View("/versions/{number:int}", "card.html", gather_card),
)
