"""What a command printed."""

from __future__ import annotations


def sentence(captured: tuple[str, str]) -> str:
    """The one line on stderr; stdout has to be empty."""
    out, err = captured
    assert out == ""
    assert err.startswith("closedloop: ")
    assert err.count("\n") == 1, f"one sentence was wanted: {err}"
    assert "Traceback" not in err
    return err
