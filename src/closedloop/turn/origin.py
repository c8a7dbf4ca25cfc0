"""Where a version comes from: the tags by which it is followed back, to its rows and its code."""

from __future__ import annotations

import json
import platform

from closedloop.bundle.files import Facts
from closedloop.use_case.contract import UseCase

# MLflow takes 100,000 characters; the facts of the version and its run name every window.
_MOST_WINDOWS = 1000


def describe_origin(facts: Facts, use_case: UseCase, revision: str) -> dict[str, str]:
    """Rows, code, contract, seed and platform of a training, as tags of its version.

    `data` maps the newest windows to the first 12 digits of the sha256 of their prepared rows.
    """
    newest = list(facts.digests.items())[-_MOST_WINDOWS:]
    return {
        "data": json.dumps(dict(newest)),
        "revision": revision,
        "contract": use_case.fingerprint,
        "seed": str(use_case.training.seed),
        "platform": describe_platform(),
    }


def describe_platform() -> str:
    """What besides library versions decides on the last digits of a fit.

    That is the system, Python, and the kernels and threads of the linear algebra.
    """
    from threadpoolctl import threadpool_info

    kernels = {
        f"{library['architecture']} with {library['num_threads']} threads"
        for library in threadpool_info()
        if "architecture" in library
    }
    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    return ", ".join([system, *sorted(kernels)])
