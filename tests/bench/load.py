"""What wrk puts on a server, and what it then says of it."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from api.rows.arrow import MEDIA_TYPE
from closedloop.errors import ClosedLoopError

CONNECTIONS, THREADS = 16, 1
# A server that answers late is slow, not broken; wrk's own limit of two seconds would count it as
# broken.
PATIENCE_SECONDS = 30
_MARK = "measured "
# Everything of an answer is counted by wrk itself: a `response` function of ours would be called
# for each and slow it down.
_SCRIPT = """wrk.method = "POST"
wrk.path = {path}
wrk.headers["Content-Type"] = "{kind}"
wrk.body = "{body}"
function done(summary, latency, requests)
  io.write(string.format('{mark}{{"requests": %d, "microseconds": %d, "p50": %d, "p99": %d, ' ..
    '"max": %d, "refused": %d, "broken": %d}}\\n',
    summary.requests, summary.duration, latency:percentile(50.0), latency:percentile(99.0),
    latency.max,
    summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout))
end
"""


@dataclass(frozen=True)
class Load:
    """One run of wrk. `refused` answers had a status of 400 or more, `broken` counts connections
    that failed or waited too long."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    refused: int = 0
    broken: int = 0
    max_ms: float = 0.0

    @property
    def answered(self) -> int:
        """Requests that got what they asked for."""
        return self.requests - self.refused

    @property
    def requests_per_second(self) -> float:
        """Answers a second over the whole run."""
        return self.requests / self.seconds


def find_wrk() -> str:
    """Where wrk is. Raises ClosedLoopError when it is not installed."""
    found = shutil.which("wrk")
    if found is None:
        raise ClosedLoopError(
            where="bench-serving",
            wanted="wrk on the PATH, which makes the load",
            got="none",
            then="install it (Debian and Ubuntu: apt-get install wrk; macOS: brew install wrk)",
        )
    return found


def write_script(path: str, body: str | bytes) -> str:
    """The Lua script that posts `body` to `path` and prints exact percentiles at the end.

    Text is sent as JSON, bytes as an Arrow stream.
    """
    kind = MEDIA_TYPE if isinstance(body, bytes) else "application/json"
    sent = body if isinstance(body, bytes) else body.encode()
    escaped = "".join(f"\\{byte:03d}" for byte in sent)
    return _SCRIPT.format(path=json.dumps(path), kind=kind, body=escaped, mark=_MARK)


def read_load(printed: str, where: str, *, may_refuse: bool = False) -> Load:
    """What one run printed.

    Raises ClosedLoopError when it measured nothing, when a connection broke, or when an answer was
    no good one unless the server `may_refuse`.
    """
    line = next(
        (line.removeprefix(_MARK) for line in printed.splitlines() if line.startswith(_MARK)), None
    )
    if line is None:
        raise ClosedLoopError(
            where=where,
            wanted="wrk's measurements",
            got=printed.strip()[-500:] or "nothing",
            then="run wrk with this server by hand",
        )
    figures = json.loads(line)
    load = Load(
        figures["requests"],
        figures["microseconds"] / 1e6,
        figures["p50"] / 1e3,
        figures["p99"] / 1e3,
        figures["refused"],
        figures["broken"],
        figures.get("max", 0) / 1e3,
    )
    if (load.refused and not may_refuse) or load.broken or not load.requests:
        raise ClosedLoopError(
            where=where,
            wanted="good answers only",
            got=f"{load.requests} answers, {load.refused} of them 400 or more, "
            f"{load.broken} broken connections",
            then="look into the server's log: figures of a server that fails say nothing",
        )
    return load


def put_load(
    address: str, script: Path, seconds: int, where: str, *, may_refuse: bool = False
) -> Load:
    """Run wrk for `seconds`; raises as `read_load` does."""
    command = [
        find_wrk(),
        "-t",
        str(THREADS),
        "-c",
        str(CONNECTIONS),
        "-d",
        f"{seconds}s",
        "--timeout",
        f"{PATIENCE_SECONDS}s",
        "-s",
        str(script),
        address,
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=seconds + 2 * PATIENCE_SECONDS
    )
    return read_load(done.stdout + done.stderr, where, may_refuse=may_refuse)
