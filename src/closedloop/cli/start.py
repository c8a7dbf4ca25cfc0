"""What a command needs before its own work: the environment of the libraries, and a Prefect server
for the flows it runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from rich.console import Console

from closedloop.errors import UseCaseError

# A command says in one sentence what it did or what went wrong; these would say it before, in a
# page.
QUIET = {
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


def prepare_environment() -> None:
    """Tell Prefect, MLflow and Evidently where their state lives, before anything imports them.

    What the user has set stays. Raises UseCaseError when a variable of ours holds what it cannot
    hold.
    """
    from pydantic import ValidationError

    from closedloop.settings import Settings

    try:
        settings = Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        wanted = first["msg"].removeprefix("Input should be ")
        raise UseCaseError(
            where=name if name.isupper() else f"CLOSEDLOOP_{name.upper()}",
            wanted=wanted,
            got=repr(first["input"]),
            then="mend it in the environment or in .env",
        ) from None
    above = next(
        one for one in (settings.home_folder, *settings.home_folder.parents) if one.exists()
    )
    if not (above.is_dir() and os.access(above, os.W_OK)):
        got = f"{above}, which " + ("cannot be written" if above.is_dir() else "is a file")
        raise UseCaseError(
            where="CLOSEDLOOP_HOME",
            wanted=f"to keep everything under {settings.home_folder}",
            got=got,
            then="set it to a folder of your own",
        )
    quiet = {} if os.environ.get("CLOSEDLOOP_DEBUG") else QUIET
    for variable, value in {**settings.library_environment(), **quiet}.items():
        os.environ.setdefault(variable, value)


@contextmanager
def running_flows(progress: Console) -> Iterator[None]:
    """Run the block's flows on the Prefect server that PREFECT_API_URL names, or on one of our own
    that ends with the block."""
    from closedloop.settings import Settings

    with ExitStack() as stack:
        with progress.status("starting Prefect ..."):
            from flows.deployment.embedded_server import embedded_prefect, using

            server = stack.enter_context(
                embedded_prefect(Settings().home_folder / "logs" / "prefect.log")
            )
            import flows.monitor_flow  # noqa: F401  # takes about as long as the server needs to start

            stack.enter_context(using(server))
        yield
