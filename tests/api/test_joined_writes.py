"""The head of an answer and its body leave together, and nothing that was written stays behind."""

from __future__ import annotations

import asyncio
from typing import Any

from api.guard.joined_writes import JoinedWrites


class Transport:
    """Keeps what each call sent, instead of sending it."""

    def __init__(self) -> None:
        self.calls: list[bytes | str] = []

    def write(self, data: bytes) -> None:
        self.calls.append(data)

    def writelines(self, parts: tuple[bytes, ...]) -> None:
        self.calls.append(b"".join(parts))

    def close(self) -> None:
        self.calls.append("close")

    def __getattr__(self, name: str) -> Any:
        return name


def write(*turns: tuple[bytes, ...], close: bool = False) -> list[bytes | str]:
    """What is sent when each tuple is written in a turn of the loop of its own."""
    transport = Transport()

    async def run() -> None:
        joined = JoinedWrites(transport, asyncio.get_running_loop())  # type: ignore[arg-type]
        for turn in turns:
            for part in turn:
                joined.write(part)
            if close:
                joined.close()
            await asyncio.sleep(0)

    asyncio.run(run())
    return transport.calls


def test_a_head_and_its_body_are_one_call() -> None:
    """Also for two answers of one turn: none of them waits for another."""
    assert write((b"head", b"body")) == [b"headbody"]
    assert write((b"head", b"body", b"head", b"body")) == [b"headbody", b"headbody"]


def test_what_nothing_follows_leaves_when_the_loop_turns() -> None:
    """A head whose body comes later is not kept back, and is not sent twice."""
    assert write((b"head",), (b"body",), (b"more",)) == [b"head", b"body", b"more"]
    assert write((b"head", b"body", b"rest")) == [b"headbody", b"rest"]
    assert write((b"head", b"")) == [b"head"]


def test_closing_sends_first_what_was_written() -> None:
    """A refusal is read before its connection ends."""
    assert write((b"refusal",), close=True) == [b"refusal", "close"]
