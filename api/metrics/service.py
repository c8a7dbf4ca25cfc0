"""The metrics of the service of one use case: its part of the families of its process."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import Counter, Gauge, Histogram

from api.metrics.families import Families, Join
from api.metrics.features import FeatureMetrics
from api.model.live import Production
from closedloop.records.queue import RecordQueue

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """Counters that the routes raise, and gauges that `refresh` reads.

    Every series has the label `use_case`. Without `families` they are its own.
    """

    def __init__(
        self,
        production: Production,
        queue: RecordQueue,
        use_case: str = "",
        families: Families | None = None,
    ) -> None:
        self._families, self._use_case = families or Families(), use_case
        self._read: list[tuple[Gauge, Callable[[], float]]] = []
        self._of_route: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        make = self._families.make
        self._requests = make(Counter, "requests", "Answered requests", ["route", "status"])
        self._request_seconds = make(
            Histogram, "request_seconds", "Time to answer", ["route"], buckets=_SECONDS
        )
        self._predictions = make(Counter, "predictions", "Answered rows", ["version", "prediction"])
        self.warnings = self.add_counter(
            "prediction_warnings", "Answered rows with a value outside the contract"
        )
        self.labels = self.add_counter("labels", "Labels recorded")
        self.records_failures = self.add_counter(
            "records_failures", "Requests that could not be recorded"
        )
        self.unrecorded = self.add_counter("unrecorded_answers", "Rows answered without a record")
        self.features = FeatureMetrics(self._families, use_case, production)
        self._add_gauges(production, queue)
        self._families.before_render(self.refresh)

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
            found = (
                self._requests.labels(self._use_case, route, str(status)),
                self._request_seconds.labels(self._use_case, route),
            )
            self._of_route[route, status] = found
        found[0].inc()
        found[1].observe(seconds)

    def rows_predicted(self, version: int, prediction: str) -> Counter:
        """The counter of the rows that a version answered with a class: to be looked up once."""
        return self._predictions.labels(self._use_case, str(version), prediction)

    def add_counter(self, name: str, meaning: str) -> Counter:
        """Add a counter to raise, without further labels."""
        return self._families.make(Counter, name, meaning).labels(self._use_case)

    def add_gauge(self, name: str, meaning: str, read: Callable[[], float], join: Join) -> None:
        """Add a gauge that `refresh` reads; `join` makes one value of those of several workers."""
        gauge = self._families.make(Gauge, name, meaning, multiprocess_mode=join)
        self._read.append((gauge.labels(self._use_case), read))

    def refresh(self) -> None:
        """Read the gauges. Every worker does this each second, whichever worker is asked."""
        for gauge, read in self._read:
            gauge.set(float(read()))
        self._families.refresh()
        self.features.refresh()

    def render(self, shown: Callable[[str], bool] | None = None) -> bytes:
        """The metrics of the process in the Prometheus text format.

        They are those of all its use cases, or of those whose names are to be `shown`.
        """
        return self._families.render(shown)
