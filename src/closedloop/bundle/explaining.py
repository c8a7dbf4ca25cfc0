"""`python -m closedloop.bundle.explaining FOLDER TRIED`: explain rows in a process of its own.

Rows come as lines of JSON and so do their explanations. A service that answers does not wait for
this process, has none of its libraries and memory, and can end it. It needs little here: the
standard library and numpy.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from closedloop.bundle.own_code import allow, own_code
from closedloop.bundle.trial import MEMORY_BYTES, load_tried
from closedloop.errors import ModelError

if TYPE_CHECKING:
    from closedloop.bundle.contributions import Explainer

_IDLE_SECONDS = 600.0


@dataclass(frozen=True)
class Explained:
    """`Contributions` as lists, and what `Explainer` says of them."""

    method: str
    evaluations: int
    columns: list[str]
    classes: list[str]
    margins: list[list[float]]
    base: list[float]
    values: list[list[list[float]]]
    errors: list[list[list[float]]] | None


class RowExplainer(Protocol):
    """Explains rows of one version."""

    @property
    def alive(self) -> bool:
        """Whether it can be asked again."""

    def explain(
        self, numbers: NDArray[np.float64], texts: NDArray[Any], seconds: float, /
    ) -> Explained:
        """Packed rows explained; raises TimeoutError, or ModelError when it cannot be done."""

    def close(self) -> None:
        """End what belongs to it."""


class ExplainProcess:
    """A version's rows are explained by a process that ends with this one, or when it is idle.

    It is started at once, and loads the version when it was tried. It runs when nobody else wants
    the processor.
    """

    def __init__(self, folder: Path, tried: Path) -> None:
        few = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        self._folder, self._ready = folder, False
        command = [sys.executable, "-m", "closedloop.bundle.explaining", str(folder), str(tried)]
        self._process = subprocess.Popen(
            [*command, json.dumps(own_code())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **few},
            start_new_session=True,  # Ctrl-C is for us, who end it
        )

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def explain(
        self, numbers: NDArray[np.float64], texts: NDArray[Any], seconds: float, /
    ) -> Explained:
        """As `RowExplainer`. A process that still loads is left to it, another one is ended."""
        end = time.monotonic() + seconds
        if not self._ready:
            self._read(end)
            self._ready = True
        request = {"numbers": numbers.tolist(), "texts": texts.tolist()}
        try:
            with contextlib.suppress(BrokenPipeError):  # then there is no answer, either
                _write(self._process.stdin, request)
            return Explained(**self._read(end))
        except TimeoutError:
            self.close()
            raise

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _read(self, end: float) -> dict[str, Any]:
        out = self._process.stdout
        assert out is not None
        if not wait([out.fileno()], max(0.0, end - time.monotonic())):
            raise TimeoutError("the version is being loaded" if not self._ready else "out of time")
        line = out.readline()
        if not line:
            raise ModelError(
                where=f"bundle {self._folder.name}",
                wanted="an explanation",
                got=f"a process that ended with {self._process.wait()}",
                then="look into the log of the service",
            )
        found: dict[str, Any] = json.loads(line)
        if "refused" in found:
            raise ModelError(**found["refused"])
        return found


def explain_rows(
    explainer: Explainer, numbers: NDArray[np.float64], texts: NDArray[Any]
) -> Explained:
    """Packed rows explained in this process."""
    found = explainer.explain(numbers, texts)
    return Explained(
        explainer.method,
        explainer.evaluations,
        list(explainer.columns),
        list(explainer.classes),
        found.margins.tolist(),
        found.base.tolist(),
        found.values.tolist(),
        None if found.errors is None else found.errors.tolist(),
    )


def main(folder: Path, tried: Path, own: str) -> int:
    """Say when the version is loaded, then explain each line until there are no more.

    `own` is what `own_code` of the other process said.
    """
    for place, types in json.loads(own):
        allow(Path(place), types)
    with contextlib.suppress(OSError):
        os.nice(19)
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="utf-8")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    out, source = os.fdopen(os.dup(1), "wb"), sys.stdin.buffer
    os.dup2(2, 1)  # whatever a library prints must not stand between the answers
    try:
        from closedloop.bundle.contributions import Explainer

        loaded = load_tried(folder, tried, "pipeline")
        most = resource.getrlimit(resource.RLIMIT_DATA)[1]
        memory = MEMORY_BYTES if most == resource.RLIM_INFINITY else min(most, MEMORY_BYTES)
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
        explainer = Explainer(loaded)
    except ModelError as error:
        _write(out, {"refused": _fields(error)})
        return 1
    _write(out, {})
    while wait([source.fileno()], _IDLE_SECONDS) and (line := source.readline()):
        asked = json.loads(line)
        rows = len(asked["numbers"])
        numbers = np.array(asked["numbers"], dtype=np.float64).reshape(rows, -1)
        texts = np.array(asked["texts"], dtype=object).reshape(rows, -1)
        try:
            _write(out, asdict(explain_rows(explainer, numbers, texts)))
        except ModelError as error:
            _write(out, {"refused": _fields(error)})
    return 0


def _fields(error: ModelError) -> dict[str, str]:
    return {name: str(getattr(error, name)) for name in ("where", "wanted", "got", "then")}


def _write(out: IO[bytes] | None, content: dict[str, Any]) -> None:
    assert out is not None
    out.write(json.dumps(content).encode() + b"\n")
    out.flush()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]))
