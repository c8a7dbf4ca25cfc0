"""Steps that only improve Prefect's pages may fail without failing the turn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prefect.exceptions import MissingContextError
from prefect.logging import get_logger, get_run_logger


@contextmanager
def best_effort(what: str) -> Iterator[None]:
    """Log an error of the block and go on.

    It is logged with what was tried, in the flow run if there is one.
    """
    try:
        yield
    except Exception as error:  # whatever it is, the loop's own work comes first
        try:
            logger = get_run_logger()
        except MissingContextError:
            logger = get_logger("closedloop")
        logger.warning("could not %s: %s: %s", what, type(error).__name__, error)
