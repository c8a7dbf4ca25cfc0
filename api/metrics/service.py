"""The metrics of the service, added up over all workers.

Each app has its own registry, so two apps in one process do not mix. With PROMETHEUS_MULTIPROC_DIR,
which the parent of several workers sets, each worker keeps its numbers in files there, and the
worker that is asked adds them up.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from api.metrics.features import FeatureMetrics
from api.model.live import Production
from closedloop.records.queue import RecordQueue

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# How the values of several workers become one; workers that have ended do not count.
_Join = Literal["livesum", "livemin", "livemax"]


class Metrics:
    """Counters that the routes raise, and gauges that `refresh` reads."""

    def __init__(self, production: Production, queue: RecordQueue) -> None:
        self._registry = CollectorRegistry()
        self._read: list[tuple[Gauge, Callable[[], float]]] = []
        shared = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
        self._shared = Path(shared) if shared else None
        self._of_route: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        self.requests = Counter(
            "closedloop_requests", "Answered requests", ["route", "status"], registry=self._registry
        )
        self.request_seconds = Histogram(
            "closedloop_request_seconds",
            "Time to answer",
            ["route"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.predictions = Counter(
            "closedloop_predictions",
            "Answered rows",
            ["version", "prediction"],
            registry=self._registry,
        )
        self.warnings = Counter(
            "closedloop_prediction_warnings",
            "Answered rows with a value outside the contract",
            registry=self._registry,
        )
        self.labels = Counter("closedloop_labels", "Labels recorded", registry=self._registry)
        self.records_failures = Counter(
            "closedloop_records_failures",
            "Requests that could not be recorded",
            registry=self._registry,
        )
        self.unrecorded = Counter(
            "closedloop_unrecorded_answers",
            "Rows answered without a record",
            registry=self._registry,
        )
        self.connections_closed = Counter(
            "closedloop_connections_closed",
            "Connections that the service ended, by reason",
            ["reason"],
            registry=self._registry,
        )
        self.features = FeatureMetrics(self._registry, production)
        self._add_gauges(production, queue)

    def _add_gauges(self, production: Production, queue: RecordQueue) -> None:
        self.add_gauge(
            "records_waiting",
            "Rows waiting for their commit",
            lambda: queue.waiting,
            "livesum",
        )
        self.add_gauge(
            "records_writable",
            "0 when the last attempt to record failed",
            lambda: queue.fault is None,
            "livemin",
        )
        # The minimum: a version is live when every worker answers with it.
        self.add_gauge(
            "model_version",
            "Version that answers; 0 for none",
            lambda: production.current.version if production.current else 0,
            "livemin",
        )
        self.add_gauge(
            "model_wanted_version",
            "Version that `production` pointed at when the registry was last reached; 0 for none",
            lambda: production.following.wanted or 0,
            "livemax",
        )
        self.add_gauge(
            "model_loaded_timestamp_seconds",
            "When the version that answers was loaded",
            lambda: production.current.loaded_at.timestamp() if production.current else 0,
            "livemin",
        )
        self.add_gauge(
            "registry_reachable",
            "1 when the registry answered the last request",
            lambda: production.following.asked and production.following.registry_fault is None,
            "livemin",
        )
        self.add_gauge(
            "versions_refused",
            "Versions that failed to load or failed their self-test",
            lambda: len(production.following.refused),
            "livemax",
        )

    def count_request(self, route: str, status: int, seconds: float) -> None:
        """Count an answered request, 499 for one whose client left, and how long it took."""
        found = self._of_route.get((route, status))
        if found is None:  # looked up once: `labels` takes longer than counting
            found = self.requests.labels(route, str(status)), self.request_seconds.labels(route)
            self._of_route[route, status] = found
        found[0].inc()
        found[1].observe(seconds)

    def add_counter(self, name: str, meaning: str) -> Counter:
        """Add a counter to raise, without labels."""
        return Counter(f"closedloop_{name}", meaning, registry=self._registry)

    def add_gauge(self, name: str, meaning: str, read: Callable[[], float], join: _Join) -> None:
        """Add a gauge that `refresh` reads; `join` makes one value of those of several workers."""
        self._read.append(
            (
                Gauge(
                    f"closedloop_{name}", meaning, registry=self._registry, multiprocess_mode=join
                ),
                read,
            )
        )

    def refresh(self) -> None:
        """Read the gauges. Every worker does this each second, whichever worker is asked."""
        for gauge, read in self._read:
            gauge.set(float(read()))
        self.features.refresh()

    def render(self) -> bytes:
        """All metrics in the Prometheus text format."""
        self.refresh()
        if self._shared is None:
            return generate_latest(self._registry)
        self._forget_dead(self._shared)
        joined = CollectorRegistry()
        MultiProcessCollector(joined, path=str(self._shared))  # type: ignore[no-untyped-call]
        return generate_latest(joined)

    @staticmethod
    def _forget_dead(shared: Path) -> None:
        for path in shared.glob("gauge_live*.db"):
            worker = path.stem.rpartition("_")[2]
            if not Path(f"/proc/{worker}").exists() and Path("/proc/self").exists():
                mark_process_dead(int(worker), path=str(shared))  # type: ignore[no-untyped-call]
