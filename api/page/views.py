"""What the page shows: each view has an address, a template, and what gathers its facts.

A template extends `frame.html` and finds its facts under their names, and the frame's under `page`
(`api/page/frame.py`). Nothing of it may hold a script or a style: the browser is told to run none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from api.page.overview import gather_overview
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


VIEWS: tuple[View, ...] = (View("/", "overview.html", gather_overview, "Overview"),)
