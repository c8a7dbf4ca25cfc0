"""The error tree: what an error says, what it costs as an exit code, and that it survives another
process."""

from __future__ import annotations

import pickle

import pytest

from closedloop import errors
from closedloop.errors import ClosedLoopError, LabelConflict, StoreError

KINDS = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, ClosedLoopError)
]


def test_an_error_says_where_what_was_wanted_what_came_and_what_next() -> None:
    """The text has its four parts in the order in which a person asks for them."""
    error = StoreError(
        where="journal",
        wanted="a database that answers",
        got="connection refused",
        then="start PostgreSQL",
    )
    assert (
        str(error)
        == "journal: wanted a database that answers, got connection refused: start PostgreSQL"
    )


def test_no_part_of_an_error_can_be_left_out() -> None:
    """An error that does not say what to do next cannot be built."""
    with pytest.raises(TypeError, match="then"):
        StoreError(where="journal", wanted="a database", got="nothing")  # type: ignore[call-arg]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_error_survives_another_process(kind: type[ClosedLoopError]) -> None:
    """Kind, text and parts come back from pickling, as Prefect needs it."""
    error = kind(where="here", wanted="this", got="that", then="mend it")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == str(error)
    assert (again.where, again.wanted, again.got, again.then) == ("here", "this", "that", "mend it")


def test_exit_codes_tell_the_kinds_apart() -> None:
    """No two kinds share an exit code and none is 0, so that a script can tell what went wrong; a
    narrower kind may have that of its parent."""
    codes = [kind.exit_code for kind in KINDS if "exit_code" in vars(kind)]
    assert len(set(codes)) == len(codes)
    assert min(codes) == 1


def test_the_drawing_of_the_tree_is_true() -> None:
    """The docstring of the module draws every kind, under its parent, with its exit code."""
    drawn = {}
    parents: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        words = line.split()
        if words and words[0] in vars(errors):
            indent = len(line) - len(line.lstrip())
            parents = [(depth, name) for depth, name in parents if depth < indent]
            code = next(int(word) for word in words if word.isdigit())
            drawn[words[0]] = (parents[-1][1] if parents else "Exception", code)
            parents.append((indent, words[0]))
    assert drawn == {
        kind.__name__: (kind.__base__.__name__, kind.exit_code) for kind in KINDS if kind.__base__
    }


def test_a_label_conflict_is_caught_as_a_store_error() -> None:
    """Whoever handles the store's errors handles a contradicting label with them."""
    assert issubclass(LabelConflict, StoreError)
