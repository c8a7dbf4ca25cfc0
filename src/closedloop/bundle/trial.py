"""`python -m closedloop.bundle.trial FOLDER WHAT`: try a version in a process of its own.

Files with the right sha256 may still end, stop or fill the process that loads them. So a version
that this installation did not make is first tried by a process that may take so much time and
memory; what became of it is remembered here, so that a second start costs nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from closedloop.bundle.files import ONNX_FILE, model_digest, read_facts, read_file, read_proof
from closedloop.bundle.installed import ANSWERING, describe_packages
from closedloop.bundle.loaded import LoadedVersion, load_version, load_with_pipeline
from closedloop.bundle.own_code import allow, own_code
from closedloop.errors import ModelError

# A usual version takes one to three seconds, most of it the start of Python and its libraries.
SECONDS, CPU_SECONDS, MEMORY_BYTES = 120, 60, 4 * 1024**3
_REFUSED = 3

What = Literal["proved", "pipeline"]


def load_tried(folder: Path, tried: Path, what: What = "proved") -> LoadedVersion:
    """Load a bundle as its proof says, or with its pipeline, once a trial has gone well.

    `tried` is where trials are remembered, by the digest of the files and the libraries here.
    Raises ModelError as `load_version`, and when the trial failed.
    """
    digest = model_digest(folder)
    if not _is_noted(tried, digest, what):
        with _alone(tried):  # several workers start at once, and one trial is enough
            if not _is_noted(tried, digest, what):
                _try(folder, what)
                _note(tried, digest, what)
    return load_version(folder) if what == "proved" else load_with_pipeline(folder)


def note_own(digest: str, tried: Path) -> None:
    """Note files that this installation has just made and proved: they need no trial here."""
    for what in ("proved", "pipeline"):
        _note(tried, digest, what)


def _is_noted(tried: Path, digest: str, what: str) -> bool:
    try:
        return (tried / f"{digest}-{what}").read_text(encoding="utf-8") == _describe_libraries()
    except (OSError, ValueError):
        return False


def _note(tried: Path, digest: str, what: str) -> None:
    with contextlib.suppress(OSError):  # then it is tried again next time
        tried.mkdir(parents=True, exist_ok=True)
        new = tried / f"{digest}-{what}.{os.getpid()}"
        new.write_text(_describe_libraries(), encoding="utf-8")
        new.replace(tried / f"{digest}-{what}")


def _describe_libraries() -> str:
    python = f"python {platform.python_version()} {platform.machine()}"
    return ", ".join([python, *describe_packages(ANSWERING)])


@contextlib.contextmanager
def _alone(tried: Path) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            tried.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context((tried / "lock").open("w"))
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _try(folder: Path, what: str) -> None:
    command = [sys.executable, "-m", "closedloop.bundle.trial", str(folder), what]
    command += [json.dumps(own_code())]
    few = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env={**os.environ, **few},
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _failure(folder, f"none after {SECONDS} seconds") from None
    if done.returncode == _REFUSED:
        raise ModelError(**json.loads(done.stdout.splitlines()[-1]))
    if done.returncode < 0:
        raise _failure(folder, f"a process that ended by {name_end(-done.returncode)}")
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["nothing"]
        raise _failure(folder, f"a process that ended with: {said[-1][:200]}")


def name_end(number: int) -> str:
    """The name of the signal that ended a process."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _failure(folder: Path, got: str) -> ModelError:
    return ModelError(
        where=f"bundle {folder.name}",
        wanted="answers in a process of its own, before it is loaded here",
        got=got,
        then="do not serve this version: roll back, or train again",
    )


def main(folder: Path, what: str, own: str) -> int:
    """Load and ask the version in this process, with limits; 0 when all is well.

    `own` is what `own_code` of the other process said.
    """
    for place, types in json.loads(own):
        allow(Path(place), types)
    for limit, most in (
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_DATA, MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, 1_000_000),
        (resource.RLIMIT_CORE, 0),
    ):
        allowed = resource.getrlimit(limit)[1]
        most = most if allowed == resource.RLIM_INFINITY else min(most, allowed)
        resource.setrlimit(limit, (most, most))
    with contextlib.suppress(OSError):  # when memory runs out, Linux ends us and not a service
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="utf-8")
    from closedloop.bundle.onnx_check import check_graph
    from closedloop.bundle.soundness import check_reference, check_version

    try:
        if what == "pipeline":
            loaded = load_with_pipeline(folder)
        else:
            if read_proof(folder).served_by == "onnx":
                kinds = [kind["type"] for kind in read_facts(folder).use_case["columns"].values()]
                check_graph(read_file(folder / ONNX_FILE), kinds.count("numeric"))
            loaded = load_version(folder)
        check_version(loaded)
        if what == "pipeline" and find_spec("pyarrow"):  # a service has none, and does not read it
            check_reference(loaded)
    except ModelError as error:
        told = {name: getattr(error, name) for name in ("where", "wanted", "got", "then")}
        print(json.dumps(told), flush=True)
        return _REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:4]))
