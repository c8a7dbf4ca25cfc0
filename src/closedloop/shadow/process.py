"""`python -m closedloop.shadow.process FOLDER ...`: answer recorded requests, in its own process.

It loads a version as the API does, and is asked one request at a time. Whatever the version does
there, this process can end it: it may take so much memory, and so long for a request.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import IO, Any

import msgspec

from closedloop.bundle.loaded import LoadedVersion, load_version
from closedloop.bundle.own_code import allow, own_code
from closedloop.bundle.scorer import are_probabilities
from closedloop.bundle.trial import MEMORY_BYTES, SECONDS, load_tried, name_end
from closedloop.errors import ModelError
from closedloop.records.request import to_json
from closedloop.records.shadow import RecordedRequest
from closedloop.shadow.columns import RequestPacker, read_features
from closedloop.shown_text import printable

REQUEST_SECONDS = 10  # no request of an API may take as long
_LONGEST_ERROR, _LONGEST_ANSWER = 300, 100_000_000


@dataclass(frozen=True)
class Answered:
    """What a version said to a request: `probabilities` as they are recorded, or an error."""

    probabilities: bytes | None
    error: str
    seconds: float
    memory_mb: float


class _Said(msgspec.Struct):
    """A line of the process."""

    probabilities: msgspec.Raw = msgspec.field(default_factory=lambda: msgspec.Raw(b"null"))
    error: str = ""
    seconds: float = 0.0
    memory_mb: float = 0.0
    refused: dict[str, str] | None = None


_decode = msgspec.json.Decoder(_Said).decode


class AnsweringProcess:
    """One version, asked in a process that ends with this one.

    `polite`: it runs when nobody else wants the processor. With `tried` the version is loaded as
    by a service, once a trial has gone well. Raises nothing before it is asked.
    """

    def __init__(
        self,
        folder: Path,
        *,
        polite: bool,
        tried: Path | None = None,
        request_seconds: int = REQUEST_SECONDS,
    ) -> None:
        self._folder, self._seconds, self._ready = folder, request_seconds, False
        # A service has a log; of a replay, only the last words are told.
        self._said = None if polite else tempfile.TemporaryFile()  # noqa: SIM115  # until `close`
        few = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        command = [sys.executable, "-m", "closedloop.shadow.process", str(folder)]
        told = ["" if tried is None else str(tried), str(int(polite)), str(request_seconds)]
        self._process = subprocess.Popen(
            [*command, *told, json.dumps(own_code())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env={**os.environ, **few},
            start_new_session=True,  # Ctrl-C is for us, who end it
        )

    def load(self) -> None:
        """Wait until the version is loaded; raises ModelError when it cannot be."""
        if not self._ready:
            self._read(SECONDS)
            self._ready = True

    def ask(self, request: RecordedRequest) -> Answered:
        """What the version says; raises ModelError when the process ends or takes too long."""
        self.load()
        head = b'{"rows":%d,"features":' % request.rows
        sent = self._process.stdin
        assert sent is not None
        with contextlib.suppress(BrokenPipeError):  # then there is no answer, either
            # A line is a request, and JSON needs no line ends.
            sent.write(head + request.features.replace(b"\n", b" ") + b"}\n")
            sent.flush()
        found = self._read(self._seconds + 5)  # it ends itself before that
        written, error = bytes(found.probabilities), printable(" ".join(found.error.split()))
        return Answered(
            None if written == b"null" else written,
            error[:_LONGEST_ERROR],
            found.seconds,
            found.memory_mb,
        )

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()
        if self._said is not None:
            self._said.close()

    def _read(self, seconds: float) -> _Said:
        out = self._process.stdout
        assert out is not None
        if not wait([out.fileno()], seconds):
            self.close()
            raise self._failure(f"none within {seconds:g} seconds")
        line = out.readline(_LONGEST_ANSWER)
        if not line:
            code = self._process.wait()
            raise self._failure(
                f"none within {self._seconds} seconds"
                if code == -signal.SIGALRM
                else f"a process that ended by {name_end(-code)}"
                if code < 0
                else f"a process that ended with {self._last_words() or code}"
            )
        try:
            found = _decode(line)
        except msgspec.MsgspecError as error:
            raise self._failure(f"a line that is no answer: {error}") from error
        if found.refused:
            raise self._failure(printable(str(found.refused.get("got")))[:_LONGEST_ERROR])
        return found

    def _last_words(self) -> str:
        if self._said is None:
            return ""
        self._said.seek(max(0, self._said.seek(0, os.SEEK_END) - 2_000))
        said = self._said.read().decode(errors="replace").strip().splitlines()
        return printable(said[-1])[:_LONGEST_ERROR] if said else ""

    def _failure(self, got: str) -> ModelError:
        return ModelError(
            where=f"bundle {self._folder.name}",
            wanted="an answer to each recorded request",
            got=got,
            then="do not serve this version: train again",
        )


def main(folder: Path, tried: str, polite: bool, seconds: int, own: str) -> int:
    """Say when the version is loaded, then answer each line until there are no more.

    `own` is what `own_code` of the other process said. An alarm ends this process, whatever a
    library does, when a request takes longer than `seconds`.
    """
    for place, types in json.loads(own):
        allow(Path(place), types)
    signal.alarm(SECONDS)
    _limit(polite)
    out, source = os.fdopen(os.dup(1), "wb"), sys.stdin.buffer
    os.dup2(2, 1)  # whatever a library prints must not stand between the answers
    try:
        loaded = load_tried(folder, Path(tried)) if tried else load_version(folder)
        answering = _Answering(loaded)
    except ModelError as error:
        told = {name: str(getattr(error, name)) for name in ("where", "wanted", "got", "then")}
        _write(out, {"refused": told})
        return 1
    signal.alarm(0)
    _write(out, {})
    while line := source.readline():
        signal.alarm(seconds)
        _write(out, answering.answer(line))
        signal.alarm(0)
    return 0


class _Answering:
    def __init__(self, loaded: LoadedVersion) -> None:
        self._loaded, self._packer = loaded, RequestPacker(loaded.use_case)

    def answer(self, line: bytes) -> dict[str, Any]:
        asked: dict[str, Any] = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
        rows, began = msgspec.json.decode(asked["rows"]), time.perf_counter()
        probabilities, error = None, ""
        try:
            loaded = self._loaded
            names, classes = tuple(loaded.use_case.columns), loaded.facts.classes
            columns = read_features(bytes(asked["features"]), rows, names)
            began = time.perf_counter()
            answers = loaded.scorer.probabilities(*self._packer.pack(columns, rows))
            if not are_probabilities(answers, rows, len(classes)):
                raise ValueError("answers that are no probabilities")
            probabilities = dict(zip(classes, answers.T.tolist(), strict=True))
        except Exception as raised:  # what a version raises is what is asked for
            error = f"{type(raised).__name__}: {raised}"[:_LONGEST_ERROR]
        return {
            "probabilities": probabilities,
            "error": error,
            "seconds": time.perf_counter() - began,
            "memory_mb": _peak_mb(),
        }


def _peak_mb() -> float:
    """The most memory that this process had; the kernel's other count includes its parent's."""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024
    except (OSError, ValueError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _limit(polite: bool) -> None:
    with contextlib.suppress(OSError):
        if polite:
            os.nice(19)
        # When memory runs out, Linux ends us and not a service.
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="utf-8")
    for limit, most in (
        (resource.RLIMIT_DATA, MEMORY_BYTES),
        (resource.RLIMIT_CORE, 0),
    ):
        allowed = resource.getrlimit(limit)[1]
        most = most if allowed == resource.RLIM_INFINITY else min(most, allowed)
        resource.setrlimit(limit, (most, most))


def _write(out: IO[bytes], content: dict[str, Any]) -> None:
    out.write(to_json(content) + b"\n")
    out.flush()


if __name__ == "__main__":
    given = sys.argv[1:]
    sys.exit(main(Path(given[0]), given[1], given[2] == "1", int(given[3]), given[4]))
