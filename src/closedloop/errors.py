"""The error tree. Every error says where, what was wanted, what was found, and what to do next;
users see no traceback.

ClosedLoopError            exit code 1
  UseCaseError       2     a mistake in loop.toml, golden cases or the command line
  SourceError        3     rows that cannot be read
  RegistryError      4     MLflow cannot be reached or holds something unexpected
    UnknownRegistry  4     not the one that the journal speaks of
    AnswerRefused    4     a decision that a person cannot answer so, or not any more
  ModelError         5     a model that cannot be loaded, packaged or fitted
  StoreError         6     records, journal or lock that cannot be read or written
    LabelConflict    7     a label that contradicts a recorded one
  ClusterError       8     a Dask cluster that cannot be reached, or that lost the fits
"""

from __future__ import annotations

from collections.abc import Sequence


class ClosedLoopError(Exception):
    """Something the user can act on: `where: wanted ..., got ...: next`."""

    exit_code = 1

    def __init__(self, *, where: str, wanted: str, got: str, then: str) -> None:
        self.where, self.wanted, self.got, self.then = where, wanted, got, then
        super().__init__(f"{where}: wanted {wanted}, got {got}: {then}")

    def __reduce__(self) -> tuple[object, ...]:
        # Prefect pickles exceptions, and pickle cannot call keyword-only constructors.
        return (_rebuild, (type(self), self.where, self.wanted, self.got, self.then))


def _rebuild(
    kind: type[ClosedLoopError], where: str, wanted: str, got: str, then: str
) -> ClosedLoopError:
    return kind(where=where, wanted=wanted, got=got, then=then)


class UseCaseError(ClosedLoopError):
    """A mistake in loop.toml, golden cases or the command line."""

    exit_code = 2


class SourceError(ClosedLoopError):
    """Rows cannot be read."""

    exit_code = 3


class RegistryError(ClosedLoopError):
    """MLflow cannot be reached or holds something unexpected."""

    exit_code = 4


class UnknownRegistry(RegistryError):
    """The registry is not the one that the journal speaks of."""


class AnswerRefused(RegistryError):
    """A decision waits for nobody any more, or has another answer."""


class ModelError(ClosedLoopError):
    """A model cannot be loaded, packaged or fitted."""

    exit_code = 5


class StoreError(ClosedLoopError):
    """Records, journal or lock cannot be read or written."""

    exit_code = 6


class LabelConflict(StoreError):
    """A label contradicts a recorded one."""

    exit_code = 7


class ClusterError(ClosedLoopError):
    """A Dask cluster cannot be reached, or lost the fits."""

    exit_code = 8


def name_some(names: Sequence[str], most: int, between: str = ", ") -> str:
    """The first `most` names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return between.join(names[:most]) + more
