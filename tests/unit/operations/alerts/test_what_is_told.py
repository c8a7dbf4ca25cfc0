"""What people are told of: decisions once they are carried out, and what no decision tells."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from closedloop.decisions.checks import Action, Decision, Kind
from closedloop.operations.alerts.look import note_turn
from closedloop.operations.alerts.overview import list_deliveries
from closedloop.records.labels import Label
from closedloop.storage.alert_book import AlertBook
from closedloop.storage.details import RealisedFacts, TurnDetails, WindowFacts
from closedloop.use_case.alerts import EVERY_EVENT
from tests.answers import describe_answers
from tests.receivers import Webhook
from tests.unit.operations.alerts.conftest import DECIDED, Place


@pytest.fixture
def quiet(tmp_path: Path) -> Place:
    """A loop whose channel has no address: alerts are written, and wait."""
    made = Place(tmp_path, channels=("ops",))
    made.look()
    return made


def told(place: Place) -> list[str]:
    """The keys of all alerts that were written."""
    return [each.alert.key for each in AlertBook(place.open().engine).listed("shop")]


def test_the_past_is_not_told(tmp_path: Path) -> None:
    """Whoever chooses a channel, or chooses one again, is told what comes from then on."""
    place = Place(tmp_path, channels=("ops",))
    place.promote(1)
    place.look()
    assert told(place) == []
    place.promote(2)
    place.look()
    assert told(place) == ["shop/promoted/2"]
    place.channels = ()
    place.look()
    place.promote(3)
    place.channels = ("ops",)
    place.look()
    place.promote(4)
    place.look()
    assert told(place) == ["shop/promoted/2", "shop/promoted/4"]


def test_a_move_is_told_when_it_is_carried_out(quiet: Place) -> None:
    """A promotion that waits for its turn is not told, one that another decision overtook never;
    it is told once it is done, however many decisions came in between."""
    journal = quiet.open().journal
    decision = Decision(Kind.PROMOTION, Action.PROMOTE, "2026-01", (), 7)
    waits = journal.write("late", "shop", decision)
    lost = journal.write("lost", "shop", Decision(Kind.PROMOTION, Action.PROMOTE, "w", (), 8))
    journal.supersede(lost, reason="production moved on")
    for number in range(3):
        quiet.escalate(f"window {number}")
    quiet.look()
    quiet.clock.turn(days=3)
    quiet.look()
    journal.carried_out(waits)
    quiet.look()
    quiet.clock.turn(days=3)
    quiet.look()
    assert told(quiet) == [
        *(f"shop/escalated/{number}" for number in (3, 4, 5)),
        f"shop/promoted/{waits.id}",
    ]


def test_each_kind_of_decision_has_its_words(quiet: Place) -> None:
    """A rejection, a rollback and a call for a person each say what happened and what to do; what
    nobody is to be told of, such as a window that was looked at, is not told."""
    journal = quiet.open().journal
    for kind, action in (
        (Kind.PROMOTION, Action.REJECT),
        (Kind.ROLLBACK, Action.ROLLBACK),
        (Kind.RETRAINING, Action.KEEP),
        (Kind.RETRAINING, Action.ESCALATE),
    ):
        entry = journal.write(action.value, "shop", Decision(kind, action, "2026-02", (), 3))
        journal.carried_out(entry)
    quiet.look()
    found = {each.alert.event: each.alert for each in AlertBook(quiet.open().engine).due("shop")}
    assert [*found] == ["rejected", "rolled_back", "escalated"]
    assert [alert.title for alert in found.values()] == [
        "shop: version 3 was rejected",
        "shop: production went back to version 3",
        "shop: a person is called for 2026-02",
    ]
    assert all(f"closedloop why {alert.decision}" in alert.then for alert in found.values())


def test_only_chosen_events_are_told(quiet: Place) -> None:
    """`events` under [alerts] leaves out the others."""
    quiet.events = ("escalated",)
    quiet.promote(1)
    quiet.escalate("2026-02")
    quiet.look()
    assert told(quiet) == ["shop/escalated/2"]


def test_no_turn_for_too_long(quiet: Place) -> None:
    """Two scheduled turns that did not come are told once; a turn on rows that were judged before
    counts, although it decides nothing."""
    quiet.events, quiet.schedule = ("no_turn",), {"cron": "0 6 * * *"}
    quiet.clock.turn(hours=42)  # the second one was due an hour ago
    quiet.look()
    assert told(quiet) == []
    quiet.clock.turn(minutes=61)
    quiet.look()
    quiet.clock.turn(days=4)
    quiet.look()
    assert told(quiet) == ["shop/no_turn/20261120T120000Z"]
    note_turn(quiet.open(), quiet.clock)
    quiet.clock.turn(hours=20)
    quiet.look()
    assert len(told(quiet)) == 1
    quiet.alerts = {"no_turn_hours": 12}
    quiet.look()
    assert len(told(quiet)) == 2


def answer(place: Place, request: str) -> None:
    records = place.open().records
    probabilities = {"no": [0.5], "yes": [0.5]}
    records.append([describe_answers("shop", 1, {"spend": [1.0]}, probabilities, request=request)])
    records.close()


def test_labels_that_are_overdue(quiet: Place) -> None:
    """Labels of the records that are due and one period late are told once, and again only after
    others came; nobody is told where labels never came to the records."""
    quiet.events = ("labels_overdue",)
    for day in range(6):
        answer(quiet, f"r{day}")
        quiet.look()
        quiet.clock.turn(days=1)
    assert told(quiet) == []  # they may come in the windows
    quiet.schedule = {"source": "records"}
    quiet.look()
    quiet.clock.turn(hours=1)
    quiet.look()
    assert told(quiet) == ["shop/labels_overdue/records/None"]
    quiet.open().records.label_many([Label("yes", id="r5-000000")])
    quiet.look()
    assert len(told(quiet)) == 1
    answer(quiet, "r6")
    quiet.clock.turn(days=1)
    quiet.look()
    assert len(told(quiet)) == 1  # on their way
    quiet.clock.turn(days=1)
    quiet.look()
    assert len(told(quiet)) == 2


def test_labels_that_are_overdue_in_windows(quiet: Place) -> None:
    """From what turns found: a window without any label where labels come with the rows; otherwise
    the newest judged window is too many windows ago. A window that is only late by the delay is
    not."""
    quiet.events = ("labels_overdue",)
    journal = quiet.open().journal

    def look_at(window: str, labelled: int, judged: str | None) -> None:
        details = TurnDetails(
            1, WindowFacts(100, labelled), realised=RealisedFacts(judged, 0.7) if judged else None
        )
        decision = Decision(Kind.RETRAINING, Action.KEEP, window, (), 1)
        journal.carried_out(journal.write(window, "shop", decision, details=details))
        quiet.look()

    look_at("2026-01", 100, "2026-01")
    look_at("2026-02", 0, None)
    assert told(quiet) == ["shop/labels_overdue/window/2026-02"]
    quiet.labels = {"delay_windows": 1}
    look_at("2026-03", 0, "2026-02")
    look_at("2026-04", 0, None)
    assert len(told(quiet)) == 1
    look_at("2026-05", 0, None)
    look_at("2026-06", 0, None)
    assert told(quiet)[1:] == ["shop/labels_overdue/after/2026-02"]


def test_the_api_cannot_record(quiet: Place, webhook: Webhook) -> None:
    """What `/ready` of the API says of its records is told, although the database takes rows from
    here; an API that is not there, or says something else, tells nothing."""
    quiet.events, quiet.alerts = ("records_not_written",), {"away_minutes": 0}
    address = webhook.address.partition("/hook")[0]
    quiet.settings = {"api_url": address}
    for page in (b"[]", b"not JSON", b'{"records": "writable"}', b'{"records": 3}'):
        webhook.page = page
        quiet.look()
    quiet.settings = {"api_url": "http://127.0.0.1:9"}
    quiet.look()
    assert told(quiet) == []
    quiet.settings = {"api_url": address}
    webhook.answer, webhook.page = 503, b'{"records": "not writable: disk full"}'
    quiet.look()
    (alert,) = AlertBook(quiet.open().engine).due("shop")
    assert alert.alert.why == "API: not writable: disk full"


def test_mlflow_is_away(quiet: Place) -> None:
    """MLflow that does not answer is told once it has been away for the minutes of [alerts], and
    that it is back; one look alone tells nobody."""
    quiet.events, quiet.settings = ("mlflow_away",), {"mlflow_url": "http://127.0.0.1:9"}
    quiet.look()
    quiet.settings = {}
    quiet.look()
    quiet.settings = {"mlflow_url": "http://127.0.0.1:9"}
    quiet.look()
    quiet.clock.turn(minutes=9)
    quiet.look()
    assert told(quiet) == []
    quiet.clock.turn(minutes=1)
    quiet.look()
    quiet.look()
    assert told(quiet) == ["shop/mlflow_away/20261120T120000Z"]
    quiet.settings = {}
    quiet.look()
    quiet.look()
    assert told(quiet)[1:] == ["shop/mlflow_away/20261120T120000Z/over"]


def test_an_alias_that_was_moved(quiet: Place, make_mlflow_tables: Callable[[Path], None]) -> None:
    """`production` where no decision put it is told once for each place where it is found."""
    quiet.events = ("moved_outside",)
    make_mlflow_tables(quiet.folder)
    quiet.look()
    with closing(sqlite3.connect(quiet.folder / "mlflow.db")) as registry:
        registry.execute("INSERT INTO registered_models (name) VALUES ('shop')")
        for version in (4, 5):
            registry.execute("DELETE FROM registered_model_aliases")
            registry.execute(
                "INSERT INTO registered_model_aliases (name, alias, version) "
                f"VALUES ('shop', 'production', {version})"
            )
            registry.commit()
            quiet.look()
            quiet.look()
    assert told(quiet) == ["shop/moved_outside/0/4", "shop/moved_outside/0/5"]


def test_what_the_loop_did_about_a_moved_alias(quiet: Place) -> None:
    """A call for a person says what the look has told already, so it is not told again; that the
    loop took the version as live, or moved it back, is."""
    quiet.events = ("moved_outside",)
    journal = quiet.open().journal
    for number, action in enumerate((Action.ESCALATE, Action.ESCALATE, Action.ACCEPT, Action.KEEP)):
        decision = Decision(Kind.OUTSIDE, action, "2026-02", (), 4)
        journal.carried_out(journal.write(f"outside/{number}", "shop", decision))
        quiet.look()
    # The registry is empty, so the looks find that nothing is live.
    looks = [key for key in told(quiet) if key.endswith("/None")]
    done = [key for key in told(quiet) if key not in looks]
    assert done == ["shop/moved_outside/0/4", "shop/moved_outside/3"]
    titles = [each.alert.what for each in AlertBook(quiet.open().engine).listed("shop")]
    assert any("The loop took it as live by decision 3." in text for text in titles)


def test_the_database_is_away(place: Place, tmp_path: Path, webhook: Webhook) -> None:
    """When nothing can be written down, that is told all the same, once, from a book of its own;
    what waited is sent when the database is back, and that it is back is told."""
    place.events, place.channels = (*DECIDED, "records_not_written"), ("webhook",)
    place.alerts = {"away_minutes": 5.0}
    place.promote(1)
    place.settings = {"database_url": f"sqlite:///{tmp_path}"}  # a folder is no database
    assert "unable to open database" in place.look().problem
    place.clock.turn(minutes=5)
    place.look()
    place.look()
    place.settings = {}
    assert place.look().problem == ""
    place.look()
    assert webhook.keys == [
        "shop/records_not_written/20261120T120000Z",
        "shop/promoted/1",
        "shop/records_not_written/20261120T120000Z/over",
    ]
    assert [each.state for each in list_deliveries(place.open())] == ["sent"] * 3


def test_every_event_has_a_name() -> None:
    """The events of the default are those that loop.toml knows."""
    from typing import get_args

    from closedloop.use_case.alerts import Event

    assert get_args(Event) == EVERY_EVENT
