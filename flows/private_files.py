"""What a flow writes into the home is not for other users of the machine.

A command sees to that for its whole process. A run that Prefect starts has no command around it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from closedloop.settings import Settings
from closedloop.storage.home import choose_umask, making_files

P = ParamSpec("P")
T = TypeVar("T")


def privately(flow: Callable[P, T]) -> Callable[P, T]:
    """A flow whose files have the modes of the home.

    Afterwards the process makes files as before.
    """

    @wraps(flow)
    def call(*given: P.args, **named: P.kwargs) -> T:
        with making_files(choose_umask(Settings().home_folder)):
            return flow(*given, **named)

    return call
