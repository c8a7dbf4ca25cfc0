"""`group` in loop.toml: part of what decides, and refused where windows cannot tell it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from closedloop.errors import UseCaseError
from closedloop.use_case.loop_toml import parse_use_case
from tests.unit.use_case.test_loop_toml import changed

FINGERPRINT_BEFORE_GROUPS = "8c92452a4a00"


def test_a_file_without_groups_keeps_its_fingerprint() -> None:
    """The key came later: files that do not use it have the fingerprint that they had
    before, and what is stored with a model names the group of a file that does."""
    content = changed(key="id", columns={"x": {"type": "numeric"}})
    assert parse_use_case(content, Path("loop.toml")).fingerprint == FINGERPRINT_BEFORE_GROUPS
    grouped = parse_use_case({**content, "group": "customer"}, Path("loop.toml"))
    assert grouped.fingerprint != FINGERPRINT_BEFORE_GROUPS
    assert grouped.stored_content["group"] == grouped.group == "customer"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            changed(group="y"),
            "group: wanted a column that windows keep, such as customer_id, got y, the target",
        ),
        (
            changed(source={"windows": "*", "time_column": "at", "every": "day"}, group="at"),
            "got at, the time: name another column, such as one with the day of the row",
        ),
        (
            changed(group="customer", schedule={"source": "records"}),
            'wanted "windows", because records hold features and keys only, got "records", and '
            'group = "customer" is neither',
        ),
    ],
)
def test_a_group_that_windows_cannot_tell_is_refused(content: dict[str, Any], message: str) -> None:
    """The target, a time that is cut into windows, and records that do not hold it."""
    with pytest.raises(UseCaseError) as found:
        parse_use_case(content, Path("loop.toml"))
    assert message in str(found.value)


@pytest.mark.parametrize("group", ["x", "id"])
def test_records_hold_groups_that_are_features_or_keys(group: str) -> None:
    """Then the schedule may look at them."""
    content = changed(key="id", group=group, schedule={"source": "records"})
    assert parse_use_case(content, Path("loop.toml")).group == group
