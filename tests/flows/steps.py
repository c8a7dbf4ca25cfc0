"""The steps of a process: calls that change something outside of it, before which it may die."""

from __future__ import annotations

import os
import signal
from typing import Any


class Steps:
    """Counts the steps of a process, and ends it when its last one has come."""

    def __init__(self, kill_at: int | str | None) -> None:
        self.taken: list[str] = []
        self._kill_at = kill_at

    def reach(self, step: str) -> None:
        if self._kill_at in (len(self.taken), step):
            os.kill(os.getpid(), signal.SIGKILL)
        self.taken.append(step)

    def watch(self, owner: type, name: str) -> None:
        """Count every call of a method."""
        original = getattr(owner, name)

        def watched(*arguments: Any, **named: Any) -> Any:
            self.reach(name)
            return original(*arguments, **named)

        setattr(owner, name, watched)


def watch_steps(steps: Steps) -> None:
    """Count in this process every call that changes something outside of it."""
    from mlflow import MlflowClient

    from closedloop.registry.registry import Registry
    from closedloop.storage.journal import Journal

    steps.watch(Registry, "save_model")
    steps.watch(Registry, "_upload")
    steps.watch(Registry, "put_files")
    for name in (
        "create_run",
        "log_batch",
        "log_inputs",
        "set_terminated",
        "create_registered_model",
        "create_model_version",
        "set_registered_model_alias",
        "delete_registered_model_alias",
        "set_model_version_tag",
    ):
        steps.watch(MlflowClient, name)
    steps.watch(Journal, "write")
    steps.watch(Journal, "carried_out")
