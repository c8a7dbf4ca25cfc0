"""Names of copies: each is known, and comes right after its original, never as the newest."""

from __future__ import annotations

import pytest

from closedloop.windows.copied_names import find_copies
from closedloop.windows.time_names import in_time_order

COPIES = [
    "2026-01 (1)",
    "2026-01(2)",
    "2026-01 copy",
    "2026-01 copy 2",
    "2026-01 - Copy (2)",
    "2026-01 - Kopie",
    "2026-01_final",
    "2026-01_v2",
    "2026-01.bak",
    "2026-01~",
    "Copy of 2026-01",
    "Kopie von 2026-01",
]


@pytest.mark.parametrize("copy", COPIES)
def test_a_copy_comes_right_after_its_original(copy: str) -> None:
    """Whatever is put before or behind the name."""
    names = ["2026-02", copy, "2025-12", "2026-01"]
    assert dict(find_copies(names)) == {copy: "2026-01"}
    assert in_time_order(names) == ("2025-12", "2026-01", copy, "2026-02")


@pytest.mark.parametrize(
    "names",
    [
        ["2026-01", "2026-02", "2026-01-01"],
        ["2026-01 (1)", "2026-02"],  # the original is not there
        ["batch", "batch (1)", "batch (2)"],  # a series without times
        ["2026-05_final", "2026-06_final"],
        ["north 2026-01", "south 2026-01"],
    ],
)
def test_names_that_are_no_copies(names: list[str]) -> None:
    """A mark of a copy counts only beside the original, and where that names a time."""
    assert not find_copies(names)


def test_a_copy_of_a_copy_comes_after_it() -> None:
    """2026-01_final (1) is a copy of 2026-01_final, which is one of 2026-01."""
    names = ["2026-02", "2026-01_final (1)", "2026-01", "2026-01_final"]
    assert in_time_order(names) == ("2026-01", "2026-01_final", "2026-01_final (1)", "2026-02")
