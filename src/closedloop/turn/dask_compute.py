"""Fits on the workers of a Dask cluster. The only door of Dask, which is imported when it is used.

Workers run what clients send them, and clients read pickles of the workers: a cluster is trusted
like the machine that the loop runs on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_info

from closedloop.bundle.skops_model import PipelineScorer
from closedloop.errors import ClosedLoopError, ClusterError
from closedloop.training.candidates import LabelledWindow, fit_recipe
from closedloop.training.fits import Fit
from closedloop.training.learners import THREADS
from closedloop.turn.compute import Compute
from closedloop.turn.origin import describe_platform
from closedloop.use_case.contract import UseCase

# A worker that is not there after this time will not come by itself.
PATIENCE_SECONDS = 30
# What a fit depends on, beyond the packages that Dask compares anyway.
_COMPARED = ["closedloop", "scikit-learn", "scipy", "lightgbm", "xgboost-cpu", "catboost"]


class DaskCompute(Compute):
    """As `Compute`, with the fits of a training on a cluster.

    `place` is the address of its scheduler, or the path of the scheduler's file. Estimators of the
    user's own are fitted here, because workers do not have their code.
    """

    def __init__(self, place: str, *, patience: float = PATIENCE_SECONDS) -> None:
        self.place, self._patience = place, patience

    def fit_all(self, fits: Sequence[Fit]) -> list[PipelineScorer]:
        """As `Compute`; a fit whose worker is lost is done again by another.

        Raises ClusterError when the cluster cannot be reached or loses the fits.
        """
        known = [fit for fit in fits if not fit.own_code]
        done = dict(zip(map(id, known), self._send(known), strict=True)) if known else {}
        own = [fit for fit in fits if fit.own_code]
        done |= zip(map(id, own), super().fit_all(own), strict=True)
        return [done[id(fit)] for fit in fits]

    def _send(self, fits: Sequence[Fit]) -> list[PipelineScorer]:
        windows = {id(window): window for fit in fits for window in fit.windows}
        with self._connected() as client:
            # On every worker: what a client scattered cannot be computed again where it is lost.
            there = dict(
                zip(windows, client.scatter([*windows.values()], broadcast=True), strict=True)
            )
            running = [
                client.submit(
                    fit_there,
                    fit.recipe,
                    [there[id(window)] for window in fit.windows],
                    fit.use_case,
                    key=f"{fit.recipe}-{place}",
                    pure=False,
                )
                for place, fit in enumerate(fits)
            ]
            return list(client.gather(running))

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        """A client for as long as it is needed, so that nothing of ours stays in the cluster."""
        try:
            from distributed import Client
        except ImportError:
            raise self._error(
                "the package distributed", "none", "install it: pip install 'closedloop[dask]'"
            ) from None
        try:
            client = Client(
                self._find_address(),
                timeout=self._patience,
                set_as_default=False,
                asynchronous=False,
            )
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise self._error(
                "a Dask scheduler that answers",
                _describe(error),
                "start it, or correct CLOSEDLOOP_DASK (docs/dask.md)",
            ) from error
        with client:
            self._check(client)
            try:
                yield client
            except ClosedLoopError:  # of a fit
                raise
            except Exception as error:  # a killed worker, a lost scheduler, a lost window
                raise self._error(
                    "workers that finish the fits",
                    _describe(error),
                    "look at the workers' logs and memory, and run the same command again",
                ) from error

    def _find_address(self) -> str:
        """Of the scheduler; its file is read here, because Dask waits for one without end."""
        found = self.place
        if "://" not in found:
            found = str(json.loads(Path(found).read_text(encoding="utf-8"))["address"])
        if not re.fullmatch(r"(tcp|tls)://\S+:\d{1,5}", found):
            raise ValueError(f"{found} is not tcp://HOST:PORT or tls://HOST:PORT")
        return found

    def _check(self, client: Any) -> None:
        try:
            client.wait_for_workers(1, timeout=self._patience)
        except TimeoutError:
            raise self._error(
                "a worker", "none", "start one: dask worker ADDRESS --nthreads 1 (docs/dask.md)"
            ) from None
        found = client.get_versions(packages=_COMPARED)
        here = found["client"]["packages"]
        for worker, there in found["workers"].items():
            others = [
                f"{name} {version or 'none'} instead of {here[name] or 'none'}"
                for name, version in there["packages"].items()
                if version != here[name]
            ]
            if others:
                raise self._error(
                    f"the versions of this installation at worker {worker}",
                    ", ".join(others),
                    "install both from the same lock, or run both from the same image",
                )

    def _error(self, wanted: str, got: str, then: str) -> ClusterError:
        return ClusterError(where=f"Dask at {self.place}", wanted=wanted, got=got, then=then)


def fit_there(recipe: str, windows: Sequence[LabelledWindow], use_case: UseCase) -> PipelineScorer:
    """As `fit_recipe`, on a worker and as many threads as its OMP_NUM_THREADS says."""
    import sklearn.utils  # noqa: F401 - loads OpenMP

    pools = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "openmp"]
    THREADS.set(max(pools, default=1))
    scorer = fit_recipe(recipe, tuple(windows), use_case)
    scorer.fitted_on = describe_platform()
    return scorer


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".strip()
