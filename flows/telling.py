"""At the end of a flow, whether it succeeded or not, people are told what happened."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import ParamSpec, TypeVar

from closedloop.operations.alerts.look import look_and_send
from closedloop.operations.alerts.sending import within
from closedloop.turn.open import open_loop
from flows.best_effort import best_effort

# What receivers may delay the end of a flow by; what is not sent then waits for the next look.
MOST_SECONDS = 15.0
P = ParamSpec("P")
T = TypeVar("T")


def telling(flow: Callable[P, T]) -> Callable[P, T]:
    """A flow that ends with a look at what people are to be told; that never fails it.

    The flow has a parameter `use_case`.
    """

    @wraps(flow)
    def told(*given: P.args, **named: P.kwargs) -> T:
        try:
            return flow(*given, **named)
        finally:
            with best_effort("tell people what happened"):
                use_case = signature(flow).bind(*given, **named).arguments.get("use_case", "")
                within(MOST_SECONDS, lambda: _tell(str(use_case)))

    return told


def _tell(use_case: str) -> None:
    # Less than the whole, so that what was sent is noted too.
    look_and_send(open_loop(use_case or None), seconds=MOST_SECONDS / 3)
