"""What the service tells Prometheus. Each app has a registry of its own, so that two apps in one process do not mix."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from api.model import Production
from closedloop.recorder import Recorder

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """Counters that the routes raise, and gauges that read `production` and `recorder` when they are asked."""

    def __init__(self, production: Production, recorder: Recorder) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter("closedloop_requests", "Answered requests", ["route", "status"], registry=self._registry)
        self.request_seconds = Histogram(
            "closedloop_request_seconds", "Time to answer", ["route"], buckets=_SECONDS, registry=self._registry
        )
        self.predictions = Counter("closedloop_predictions", "Answered rows", ["version", "prediction"], registry=self._registry)
        self.warnings = Counter(
            "closedloop_prediction_warnings", "Answered rows with a value outside the contract", registry=self._registry
        )
        self.labels = Counter("closedloop_labels", "Labels recorded", registry=self._registry)
        self.records_failures = Counter("closedloop_records_failures", "Requests that could not be recorded", registry=self._registry)
        self.unrecorded = Counter("closedloop_unrecorded_answers", "Rows answered without a record", registry=self._registry)
        waiting = Gauge("closedloop_records_waiting", "Rows that wait for their commit", registry=self._registry)
        waiting.set_function(lambda: recorder.waiting)
        storing = Gauge("closedloop_records_writable", "0 since the last try to record failed", registry=self._registry)
        storing.set_function(lambda: float(recorder.fault is None))
        version = Gauge("closedloop_model_version", "Version that answers; 0 when none does", registry=self._registry)
        version.set_function(lambda: production.current.version if production.current else 0)
        loaded = Gauge("closedloop_model_loaded_timestamp_seconds", "When that version was loaded", registry=self._registry)
        loaded.set_function(lambda: production.current.loaded_at.timestamp() if production.current else 0)
        reachable = Gauge(
            "closedloop_registry_reachable", "1 when the registry answered the last time it was asked", registry=self._registry
        )
        reachable.set_function(lambda: float(production.following.asked and production.following.registry_fault is None))
        refused = Gauge("closedloop_versions_refused", "Versions that failed to load or to repeat their self-test", registry=self._registry)
        refused.set_function(lambda: len(production.following.refused))

    def render(self) -> bytes:
        """The Prometheus text format."""
        return generate_latest(self._registry)
