"""How alerts and their deliveries look in a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from closedloop.cli.plain_text import plain
from closedloop.operations.alerts.look import Looked
from closedloop.storage.alert_book import Delivery
from closedloop.turn.open import Loop

_COLOURS = {"sent": "green", "waits": "yellow", "given up": "red"}
_OFF = (
    "no channel is chosen: name one under [alerts] in loop.toml, such as "
    'channels = ["webhook"], and give its address in the environment (docs/alerts.md)'
)


def show_answers(console: Console, loop: Loop, answers: Mapping[str, str]) -> None:
    """Print what each channel said to a test."""
    for name, error in answers.items():
        said = f"[red]not sent[/red]: {plain(error)}" if error else "[green]sent[/green]"
        console.print(f"{plain(name)}: {said}", highlight=False, soft_wrap=True)
    if not loop.use_case.alerts.channels:
        console.print(_OFF, highlight=False, markup=False)


def show_looked(console: Console, looked: Looked) -> None:
    """Print what a look found and sent."""
    sent = looked.sent
    console.print(
        f"{looked.new} new alerts; {sent.sent} sent, {sent.failed} failed, "
        f"{sent.given_up} given up",
        highlight=False,
    )
    if looked.problem:
        console.print(plain(looked.problem), style="red", highlight=False)


def show_deliveries(console: Console, loop: Loop, deliveries: Sequence[Delivery]) -> None:
    """Print a line per delivery, or how to get any."""
    if not deliveries:
        said = "no alerts yet" if loop.use_case.alerts.channels else _OFF
        console.print(said, highlight=False, markup=False)
        return
    table = Table("made at (UTC)", "channel", "state", "alert", box=None, pad_edge=False)
    for delivery in deliveries:
        error = f": {delivery.last_error}" if delivery.last_error else ""
        tries = f", {delivery.attempts} tries" if delivery.attempts > 1 else ""
        state = f"[{_COLOURS[delivery.state]}]{delivery.state}[/]"
        table.add_row(
            f"{delivery.alert.at:%Y-%m-%d %H:%M}",
            plain(delivery.channel),
            f"{state}{tries}{plain(error)}",
            plain(delivery.alert.title),
        )
    console.print(table)
