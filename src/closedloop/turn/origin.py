"""Where a version comes from: the tags by which it is followed back, to its rows and its code."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version

from closedloop.bundle.files import Facts
from closedloop.training.recipes import parse_recipe
from closedloop.use_case.contract import UseCase

# MLflow takes 100,000 characters; the facts of the version and its run name every window.
_MOST_WINDOWS = 1000


def describe_origin(
    facts: Facts, use_case: UseCase, revision: str, fitted_on: str | None = None
) -> dict[str, str]:
    """Rows, code, contract, seed and platform of a training, as tags of its version.

    `fitted_on` is the platform, None for this one.

    `data` maps the newest windows to the first 12 digits of the sha256 of their prepared rows,
    `own_code` is the sha256 of the modules of an estimator of the user's own, if it is one.
    """
    recipe = use_case.recipes.get(parse_recipe(facts.recipe)[0])
    newest = list(facts.digests.items())[-_MOST_WINDOWS:]
    return {
        "data": json.dumps(dict(newest)),
        "revision": revision,
        "contract": use_case.fingerprint,
        "seed": str(use_case.training.seed),
        "platform": fitted_on or describe_platform(),
        "closedloop": version("closedloop"),
        **({"own_code": recipe.code} if recipe is not None and recipe.code else {}),
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
