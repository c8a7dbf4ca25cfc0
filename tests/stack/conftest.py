"""Stacks of a test's own, which are gone when the tests of its module are done, whatever became of
them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.stack.own_stack import OwnStack, require_docker, require_images
from tests.stack.running_stack import Stack


@pytest.fixture(scope="module")
def new_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., OwnStack]]:
    """`new_stack(NAME=value)` is another stack, not started, with these variables beside its
    secrets and ports."""
    require_docker()
    folder = tmp_path_factory.mktemp("stacks")
    with ExitStack() as removed:

        def prepare(**variables: str) -> OwnStack:
            stack = OwnStack.prepare(folder, **variables)
            require_images(stack)
            removed.callback(stack.remove)
            return stack

        yield prepare


@pytest.fixture(scope="module")
def team_stack(new_stack: Callable[..., OwnStack]) -> Stack:
    """A stack of the module's own, all of it running."""
    own = new_stack()
    own.up()
    return Stack(own.project, own.env_file)
