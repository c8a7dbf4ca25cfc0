"""What a command of ours says, for the page: run in its own process, with a bound, and kept."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

FRESH_SECONDS, BOUND_SECONDS = 60.0, 120.0
_MOST_BYTES = 1_000_000


@dataclass(frozen=True)
class Said:
    """What a command said, and when: its JSON, or in `fault` why there is none."""

    at: datetime
    content: Any = None
    fault: str = ""


class Checkup:
    """A command that prints JSON: `closedloop ARGUMENTS`.

    It is run when somebody looks, at most once a minute. Whoever looks gets what it said last, at
    once; None before it has said anything.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        fresh_seconds: float = FRESH_SECONDS,
        bound_seconds: float = BOUND_SECONDS,
    ) -> None:
        self._command = (sys.executable, "-m", "closedloop", *arguments)
        self._fresh, self._bound = fresh_seconds, bound_seconds
        self._said: Said | None = None
        self._began = -fresh_seconds
        self._running: asyncio.Task[None] | None = None

    def look(self) -> Said | None:
        """What it said last; starts it again when that is old."""
        idle = self._running is None or self._running.done()
        if idle and time.monotonic() - self._began >= self._fresh:
            self._began = time.monotonic()
            self._running = asyncio.create_task(self._run(), name=" ".join(self._command[2:4]))
        return self._said

    async def wait(self) -> None:
        """Until the run that is under way has ended."""
        if self._running is not None:
            await asyncio.wait([self._running])

    async def stop(self) -> None:
        """End the run that is under way, and its process."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])

    async def _run(self) -> None:
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(self._bound):
                out, err = await process.communicate()
            self._said = Said(datetime.now(UTC), json.loads(out[:_MOST_BYTES]))
        except TimeoutError:
            self._said = Said(datetime.now(UTC), fault=f"no answer within {self._bound:g} s")
        except ValueError:
            last = err.decode("utf-8", "replace").strip().splitlines()[-1:]
            self._said = Said(datetime.now(UTC), fault=last[0][:2000] if last else "no answer")
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
