"""What happens to a `production` that somebody moved outside of closedloop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

MovedOutside = Literal["tell", "accept", "return"]


@dataclass(frozen=True)
class RegistryPolicy:
    """What a turn does when somebody has moved `production` with MLflow's own tools.

    It is written down and told in any case. A version without files, that fails its own test or
    that was rejected is never accepted.
    """

    moved_outside: MovedOutside = "tell"
    """tell: a person decides. accept: it is taken as live. return: production is moved back, once
    a window; then a person is called."""

    def __post_init__(self) -> None:
        if self.moved_outside not in get_args(MovedOutside):
            raise ValueError(f"moved_outside must be one of {', '.join(get_args(MovedOutside))}")
