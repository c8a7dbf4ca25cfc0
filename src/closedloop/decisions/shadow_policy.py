"""The numbers of `[policy.shadow]`: how a candidate may answer what clients have really asked."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ShadowPolicy:
    """What a candidate may do otherwise than production on the newest recorded rows.

    Before it is decided on, both answer these rows, each in a process of its own. Limits of
    `max_flips` and `max_score_shift` that are 1 let anything pass: then both only inform.
    """

    rows: int = 1000
    """Newest recorded rows that are replayed; 0: none."""
    max_errors: int = 0
    """Rows that the candidate may fail on although production answers them."""
    max_latency_factor: float = 3.0
    """Time to answer a request (p95), as a factor of production's ..."""
    quick_ms: float = 25.0
    """... that does not matter up to this many milliseconds."""
    max_memory_factor: float = 3.0
    """Memory of the process that answers, as a factor of production's ..."""
    small_mb: float = 1000.0
    """... that does not matter up to this many megabytes."""
    max_flips: float = 1.0
    """Share of rows, of all and of each protected slice, that may get another prediction."""
    max_score_shift: float = 1.0
    """Distance (Kolmogorov-Smirnov, 0 to 1) that may lie between both distributions of scores."""
    min_rows: int = 100
    """Rows, of all or of a slice, that flips and the shift of scores need to close the gate."""

    def __post_init__(self) -> None:
        for name, low, high in (
            ("rows", 0, 100_000),
            ("max_errors", 0, 1e9),
            ("max_latency_factor", 1, 1e9),
            ("quick_ms", 0, 1e9),
            ("max_memory_factor", 1, 1e9),
            ("small_mb", 0, 1e9),
            ("max_flips", 0, 1),
            ("max_score_shift", 0, 1),
            ("min_rows", 1, 1e9),
        ):
            if not low <= (value := getattr(self, name)) <= high:
                raise ValueError(f"{name} must be between {low:g} and {high:g}, got {value:g}")
