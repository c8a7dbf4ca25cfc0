"""A filled stack, its backup, and another stack that the backup is restored into."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.stack.own_stack import OwnStack

_CONTENTS = (Path(__file__).parent / "contents.py").read_bytes()
WINDOW = "id,amount\n1,2.5\n"


@dataclass(frozen=True)
class Copied:
    """Both stacks, running, and what each one held."""

    old: OwnStack
    new: OwnStack
    backup: Path
    before: dict[str, Any]
    after: dict[str, Any]
    printed: str


def copy_stack(new_stack: Callable[..., OwnStack], backup: Path) -> Copied:
    """Fill a stack, back it up into `backup` while it runs, and restore that into another stack."""
    old, new = new_stack(), new_stack()
    old.up("mlflow", "prefect-server")
    old.job("prefect-worker", "python", "-", "fill", given=_CONTENTS)
    old.job("prefect-worker", "sh", "-c", "cat > /windows/month_001.csv", given=WINDOW.encode())
    old.job("api", "closedloop", "key", "add", "friend")
    done = old.run("sh", "stack/backup.sh", str(backup), WITH_WINDOWS="1")
    assert done.returncode == 0, done.stderr.decode()
    restored = restore(new, backup)
    assert restored.returncode == 0, restored.stderr.decode()
    new.up("mlflow", "prefect-server")
    return Copied(
        old, new, backup, read_contents(old), read_contents(new), restored.stdout.decode()
    )


def read_contents(stack: OwnStack) -> dict[str, Any]:
    """What a stack holds, as MLflow, Prefect and the journal answer."""
    return dict(json.loads(stack.job("prefect-worker", "python", "-", "tell", given=_CONTENTS)))


def restore(stack: OwnStack, backup: Path, **variables: str) -> subprocess.CompletedProcess[bytes]:
    """Run stack/restore.sh for a stack; the exit code is for the caller to check."""
    return stack.run("sh", "stack/restore.sh", str(backup), **variables)
