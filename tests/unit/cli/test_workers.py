"""The processes that answer: how long one may take before it is replaced."""

from __future__ import annotations

from uvicorn import Config

from closedloop.cli.workers import Workers


def test_a_process_that_starts_slowly_is_not_replaced() -> None:
    """On a machine with little time to give, the imports of a process took more than the 5 s that
    uvicorn gives it to answer: each was killed before it had started, and so was the next."""
    workers = Workers(Config("nowhere:app"), [], lambda reason: None)
    assert workers.config.timeout_worker_healthcheck >= 20
