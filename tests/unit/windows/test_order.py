"""Window order: no step is given anything from its future; held-out rows are a fixed choice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from closedloop.errors import SourceError, UseCaseError
from closedloop.windows.order import held_out, mature, position, up_to

NAMES = tuple(f"month_{number:03d}" for number in range(12))


def test_position_refuses_an_unknown_window() -> None:
    """An unknown name is refused with the known ones."""
    assert position(NAMES, "month_003") == 3
    with pytest.raises(
        SourceError, match="wanted a known window \\(month_000 to month_011\\), got month_99"
    ):
        position(NAMES, "month_99")
    with pytest.raises(SourceError, match="none"):
        position((), "month_000")


def test_up_to_stops_at_the_window() -> None:
    """The window itself is included, nothing newer is."""
    assert up_to(NAMES, "month_002") == ("month_000", "month_001", "month_002")


def test_mature_counts_the_delay_back_from_the_newest() -> None:
    """With no delay a window has its own labels; with two, the two newest have none yet."""
    assert mature(NAMES, "month_003", 0) == NAMES[:4]
    assert mature(NAMES, "month_003", 2) == NAMES[:2]
    assert mature(NAMES, "month_001", 5) == ()


def test_mature_refuses_labels_from_the_future() -> None:
    """A negative delay would let labels arrive before their rows."""
    with pytest.raises(UseCaseError, match=r"labels\.delay_windows"):
        mature(NAMES, "month_003", -1)


@given(place=st.integers(0, 11), delay=st.integers(0, 15))
def test_no_window_of_the_future_is_ever_given(place: int, delay: int) -> None:
    """Whatever the window and the delay: only windows whose labels are due, and all of them."""
    due = mature(NAMES, NAMES[place], delay)
    assert due == tuple(name for name in NAMES if position(NAMES, name) + delay <= place)
    assert set(due) <= set(up_to(NAMES, NAMES[place]))


@given(
    keys=st.lists(st.text(min_size=1), unique=True, min_size=1, max_size=40),
    extra=st.lists(st.text(), max_size=20),
    seed=st.integers(0, 99),
)
def test_a_key_is_held_out_whatever_rows_surround_it(
    keys: list[str], extra: list[str], seed: int
) -> None:
    """Adding or reordering rows does not change whether another row is held out."""
    alone = dict(zip(keys, held_out(keys, 0.3, seed), strict=True))
    among = dict(
        zip(reversed(extra + keys), held_out(list(reversed(extra + keys)), 0.3, seed), strict=True)
    )
    assert all(among[key] == held for key, held in alone.items())


def test_about_the_share_is_held_out_and_the_seed_changes_which() -> None:
    """20,000 keys: within a percentage point of the share; another seed picks others; a share of 0
    holds out none, 1 holds out all."""
    keys = [str(number) for number in range(20_000)]
    first, second = held_out(keys, 0.25, 7), held_out(keys, 0.25, 8)
    assert first.mean() == pytest.approx(0.25, abs=0.01)
    assert (first & second).mean() == pytest.approx(0.0625, abs=0.01)
    assert not held_out(keys, 0.0, 7).any()
    assert held_out(keys, 1.0, 7).all()
    assert first.dtype == np.bool_


def test_the_choice_is_the_same_in_every_process() -> None:
    """Known answers: a choice that depended on Python's hash seed or on a random state would change
    from run to run."""
    assert held_out(list("abcdefgh"), 0.5, 7).tolist() == [
        True,
        False,
        False,
        False,
        False,
        True,
        True,
        True,
    ]
