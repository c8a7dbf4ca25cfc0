"""`python -m flows.deployments LOOP_TOML CRON`: offers both flows to a Prefect server, one on a schedule, until it is stopped."""

from __future__ import annotations

import sys


def serve_deployments(use_case: str, cron: str) -> None:
    """Register `monitor/scheduled` and `train-and-compare/on-demand` and run what the server asks for; does not return.

    A second monitor while one runs is cancelled: late runs must not pile up and all fire. A retraining waits its turn.
    """
    from prefect import serve
    from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
    from prefect.types.entrypoint import EntrypointType

    from flows.monitor_flow import monitor_flow
    from flows.train_and_compare_flow import train_and_compare_flow

    serve(
        monitor_flow.to_deployment(  # type: ignore[arg-type]  # in a plain function it is no coroutine
            name="scheduled",
            cron=cron,
            parameters={"use_case": use_case},
            tags=["closedloop"],
            entrypoint_type=EntrypointType.MODULE_PATH,  # found wherever the run is started
            concurrency_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW),
        ),
        train_and_compare_flow.to_deployment(  # type: ignore[arg-type]
            name="on-demand",
            parameters={"use_case": use_case},
            tags=["closedloop"],
            entrypoint_type=EntrypointType.MODULE_PATH,  # found wherever the run is started
            concurrency_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE),
        ),
        pause_on_shutdown=False,  # a schedule that stops with its process would have to be switched on again by hand
    )


if __name__ == "__main__":
    serve_deployments(sys.argv[1], sys.argv[2])
