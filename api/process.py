"""What the services of one process share: the metric families, and the connections."""

from __future__ import annotations

from api.guard.connections import Connections
from api.guard.limits import RequestLimits
from api.metrics.families import Families


class Process:
    """The part of a service that is no use case's own.

    A connection may ask for one use case and then for another.
    """

    def __init__(self, limits: RequestLimits) -> None:
        self.families = Families()
        self.connections = Connections(limits, self.families.connections_closed)
        self.families.watch_process(
            "connections", "Open connections", lambda: len(self.connections.open), "livesum"
        )
