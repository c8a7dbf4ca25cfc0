"""Where a search looks: at parameters that the learners have, around our own settings."""

from __future__ import annotations

import pytest

from closedloop.training.learners import find_parameters, make_learner
from closedloop.training.search_spaces import SPACES


@pytest.mark.parametrize("learner", SPACES)
def test_a_space_fits_its_learner(learner: str) -> None:
    """Each name is a parameter of the class, and what we set ourselves lies within the limits."""
    space = SPACES[learner]
    assert set(space) <= set(find_parameters(learner))
    ours = make_learner(learner, {}, 5_000, 7).get_params()
    outside = {
        name: value
        for name, limits in space.items()
        if isinstance(value := ours.get(name), int | float)
        and value
        and not limits.low <= value <= limits.high
    }
    assert outside == {}
