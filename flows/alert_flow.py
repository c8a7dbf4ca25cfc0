"""Look for what people are to be told, and tell them; runs every few minutes, without a turn."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from closedloop.errors import StoreError
from closedloop.operations.alerts.look import Looked, look_and_send
from closedloop.turn.open import Loop, open_loop
from flows.best_effort import best_effort
from flows.prefect_client.missed_runs import cancel_missed_runs
from flows.private_files import privately


@task(name="tell people", cache_policy=NO_CACHE, persist_result=False)
def tell_people(loop: Loop) -> Looked:
    """Write down what is new, and send what is due."""
    return look_and_send(loop)


@flow(name="alerts", flow_run_name="tell people", validate_parameters=False)
@privately
def alert_flow(use_case: str = "") -> dict[str, Any]:
    """Look for what people are to be told, and send it to the channels of [alerts].

    What a channel does not take is sent again by a later run.

    Args:
        use_case: Path of a loop.toml. Empty: the value of CLOSEDLOOP_USE_CASE.

    Returns:
        How many alerts are new, and how many deliveries were sent, failed and were given up.
    """
    with best_effort("cancel what was missed before"):
        cancel_missed_runs()
    loop = open_loop(use_case or None)
    looked = tell_people(loop)
    if looked.sent.failed:
        get_run_logger().warning("%s deliveries failed: closedloop alert", looked.sent.failed)
    if looked.problem:
        raise StoreError(
            where="alerts",
            wanted="to read journal and records",
            got=looked.problem,
            then="run: closedloop doctor",
        )
    return asdict(looked)
