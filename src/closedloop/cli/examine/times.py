"""What `closedloop doctor` says about windows: what is left out, and what has changed."""

from __future__ import annotations

from closedloop.turn.changed_windows import tell_changed_windows
from closedloop.turn.history import History
from closedloop.turn.open import Loop
from closedloop.windows.sources import tell_remarks


def tell_left_out(loop: Loop) -> str:
    """Rows that are in no window yet or ever, after a semicolon; empty when there are none."""
    return "".join(f"; {remark}" for remark in tell_remarks(loop.source))


def describe_past_windows(loop: Loop) -> str:
    """Which windows have changed since a turn looked at them."""
    changed = tell_changed_windows(History(loop))
    return "; ".join(changed) or "none has changed since a turn looked at it"
