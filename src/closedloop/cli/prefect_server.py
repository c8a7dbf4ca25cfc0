"""The Prefect server of a command, which starts while the command loads what it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from closedloop.cli.session import Session


@contextmanager
def starting_prefect(session: Session) -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """Start a Prefect server, unless there is one; flows run in what the yielded function opens.

    What the block does before that costs no time: a server needs seconds to start, and so do the
    libraries of a turn. The server ends with the block, unless it was there before.
    """
    from flows.deployment.embedded_server import embedded_prefect, using

    @contextmanager
    def running() -> Iterator[None]:
        with ExitStack() as stack:
            with session.working("starting Prefect ..."):
                # Imports that the flow would do later; until the server answers they cost no time.
                import flows.monitor_flow  # noqa: F401
                from closedloop.bundle.skops_model import load_libraries
                from closedloop.registry.mlflow_client import load_client

                load_client(session.settings.tracking_uri)
                load_libraries()
                stack.enter_context(using(server))
            yield

    with embedded_prefect(session.settings.home_folder) as server:
        yield running
