"""The metric families of a process: each is made once, and every use case has its part of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Metric,
    generate_latest,
)
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

CONTENT_TYPE = CONTENT_TYPE_LATEST
USE_CASE = "use_case"
# How the values of several workers become one; workers that have ended do not count.
Join = Literal["livesum", "livemin", "livemax"]

_Kind = TypeVar("_Kind", bound=MetricWrapperBase)


class Families:
    """One registry, so two services in one process do not mix unless they share it.

    With PROMETHEUS_MULTIPROC_DIR, which the parent of several workers sets, each worker keeps its
    numbers in files there, and the worker that is asked adds them up.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._made: dict[str, Any] = {}
        self._read: list[tuple[Gauge, Callable[[], float]]] = []
        self._refreshing: list[Callable[[], object]] = []
        shared = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
        self._shared = Path(shared) if shared else None
        # Of the process: a connection may ask for several use cases, or for none.
        self.connections_closed = Counter(
            "closedloop_connections_closed",
            "Connections that the service ended, by reason",
            ["reason"],
            registry=self._registry,
        )

    def make(
        self,
        kind: type[_Kind],
        name: str,
        meaning: str,
        labels: Sequence[str] = (),
        **options: Any,
    ) -> _Kind:
        """The family of that name, made once; its first label is `use_case`."""
        if name not in self._made:
            self._made[name] = kind(
                f"closedloop_{name}",
                meaning,
                [USE_CASE, *labels],
                registry=self._registry,
                **options,
            )
        made: _Kind = self._made[name]
        return made

    def watch_process(self, name: str, meaning: str, read: Callable[[], float], join: Join) -> None:
        """Add a gauge of the process, of no use case."""
        gauge = Gauge(
            f"closedloop_{name}", meaning, registry=self._registry, multiprocess_mode=join
        )
        self._read.append((gauge, read))

    def refresh(self) -> None:
        """Read the gauges of the process."""
        for gauge, read in self._read:
            gauge.set(float(read()))

    def before_render(self, refresh: Callable[[], object]) -> None:
        """Have `refresh` read gauges whenever metrics are asked for."""
        self._refreshing.append(refresh)

    def render(self, shown: Callable[[str], bool] | None = None) -> bytes:
        """The metrics in the Prometheus text format, those of all workers added up.

        With `shown`, those of other use cases are left out.
        """
        for refresh in self._refreshing:
            refresh()
        if self._shared is None:
            return _write(self._registry, shown)
        self._forget_dead(self._shared)
        joined = CollectorRegistry()
        MultiProcessCollector(joined, path=str(self._shared))  # type: ignore[no-untyped-call]
        return _write(joined, shown)

    @staticmethod
    def _forget_dead(shared: Path) -> None:
        for path in shared.glob("gauge_live*.db"):
            worker = path.stem.rpartition("_")[2]
            if not Path(f"/proc/{worker}").exists() and Path("/proc/self").exists():
                mark_process_dead(int(worker), path=str(shared))  # type: ignore[no-untyped-call]


def _write(registry: CollectorRegistry, shown: Callable[[str], bool] | None) -> bytes:
    return generate_latest(registry if shown is None else _Shown(registry, shown))


class _Shown(CollectorRegistry):
    """What a registry collects, without the use cases that are not to be shown."""

    def __init__(self, registry: CollectorRegistry, shown: Callable[[str], bool]) -> None:
        super().__init__()
        self._whole, self._shown = registry, shown

    def collect(self) -> Iterator[Metric]:
        for family in self._whole.collect():
            family.samples = [
                sample
                for sample in family.samples
                if USE_CASE not in sample.labels or self._shown(sample.labels[USE_CASE])
            ]
            yield family
