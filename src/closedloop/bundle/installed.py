"""Versions of the packages that a model is fitted and answers with."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

# Of those that may be missing, a service holds only the ones that its models need.
ANSWERING = (
    "closedloop",
    "numpy",
    "onnxruntime",
    "scikit-learn",
    "lightgbm",
    "skops",
    "xgboost-cpu",
    "xgboost",
    "catboost",
)


def find_version(package: str) -> str | None:
    """The version that is installed; None when the package is not."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def describe_packages(packages: Iterable[str]) -> list[str]:
    """`name version` of those that are installed."""
    return [f"{name} {found}" for name in packages if (found := find_version(name)) is not None]
