"""Numbers of a policy within their limits."""

from __future__ import annotations


def check_between(name: str, value: float, low: float, high: float) -> None:
    """Raise ValueError, with both limits, unless `value` is within them."""
    if not low <= value <= high:
        raise ValueError(f"{name} must be between {low:g} and {high:g}, got {value:g}")
