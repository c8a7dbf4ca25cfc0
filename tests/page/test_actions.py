"""What an operator does on the page: asked twice, carried out once, refused in words."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from pathlib import Path

import pytest
from httpx import Response

from api.guard.keys import open_keys
from api.page.app import create_page
from closedloop.decisions.checks import Action
from closedloop.operations.api_keys import Role
from closedloop.storage.entry import Entry
from closedloop.storage.rows import Origin
from tests.page.conftest import PORT, Place, Visitor
from tests.turned_loop import TurnedLoop, write_loop

pytestmark = pytest.mark.slow
FIELD = re.compile(r'name="(token|form|seen)" value="([^"]*)"')
HOSTILE = "</script><script>alert('x')</script>\x1b[31m"


@pytest.fixture(scope="module")
def waiting_loop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A loop with version 1 in production and version 2, which waits for a person."""
    turned = write_loop(tmp_path_factory.mktemp("waiting") / "shop", 2)
    turned.train("2026-01")
    with turned.path.open("a") as file:
        file.write('approval = "always"\n')
    turned.train("2026-02")
    return turned.folder


@pytest.fixture
def place(waiting_loop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """The page of a copy of it."""
    monkeypatch.setattr("api.guard.keys.LOOK_SECONDS", 0.0)
    shutil.copytree(waiting_loop, tmp_path / "shop")
    loop = TurnedLoop(tmp_path / "shop").open()
    keys = open_keys(loop.settings.keys_file, "127.0.0.1", what="the page")
    yield Place(loop, create_page(loop, keys, host="127.0.0.1", port=PORT))
    loop.engine.dispose()


def fields_of(page: str) -> dict[str, str]:
    """The hidden fields of the form that asks once more."""
    form = page.partition('class="card"')[2]
    return {name: unescape(value) for name, value in FIELD.findall(form)}


def order(visitor: Visitor, path: str, reason: str = "clear gain") -> Response:
    """Open the page that asks once more, and send its form."""
    page = visitor.get(path)
    assert page.status_code == 200, page.text
    return visitor.post(path, {**fields_of(page.text), "reason": reason})


def result_of(visitor: Visitor, answer: Response) -> Response:
    """The page that an order leads to."""
    assert answer.status_code == 303, answer.text
    return visitor.get(answer.headers["location"])


def newest(place: Place) -> Entry:
    return place.loop.journal.history(place.loop.use_case.name)[-1]


def count(place: Place) -> int:
    return len(place.loop.journal.history(place.loop.use_case.name))


def test_a_waiting_candidate_is_approved_once(place: Place) -> None:
    """The page that asks shows which version will answer, which it replaces and since when that one
    answers; the form moves production and keeps name and reason as they were typed, as text; sent
    again it shows the same; a second operator is told who was first."""
    wait, visitor = newest(place).id, place.logged_in(Role.OPERATOR, "anna")
    assert newest(place).decision.action is Action.WAIT
    path = f"/decisions/{wait}/approve"
    page = unescape(visitor.get(path).text)
    for words in ("version 2, trained for 2026-02", "version 1", "decision 2", "Waits since"):
        assert words in page
    fields = {**fields_of(visitor.get(path).text), "reason": f"looks good {HOSTILE}"}
    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(lambda _: visitor.post(path, fields), range(2)))
    assert {answer.headers["location"] for answer in answers} == {f"/done/{fields['form']}"}
    said = result_of(visitor, answers[0])
    assert "Version 2 is in production" in said.text
    assert place.loop.registry.production() == 2
    entry = newest(place)
    assert (entry.decision.action, entry.cause, entry.origin) == (
        Action.PROMOTE,
        wait,
        Origin.PERSON,
    )
    assert entry.by == "anna"
    assert entry.why is not None
    assert entry.why.startswith("looks good </script><script>alert('x')</script>")
    before = count(place)
    assert "Version 2 is in production" in result_of(visitor, visitor.post(path, fields)).text
    second = place.logged_in(Role.OPERATOR, "bert").get(path)
    assert second.status_code == 409
    assert "approved by anna" in second.text
    assert "<script" not in second.text
    assert "&lt;/script&gt;" in second.text
    assert "\x1b" not in second.text
    assert count(place) == before


def test_of_two_operators_at_once_one_wins(place: Place) -> None:
    """Both had the page open; one approves, the other rejects: the second is told who was first and
    that nothing else was done."""
    path, wait = "/decisions/{}/{}", newest(place).id
    anna, bert = (place.logged_in(Role.OPERATOR, name) for name in ("anna", "bert"))
    other = fields_of(bert.get(path.format(wait, "reject")).text)
    assert "in production" in result_of(anna, order(anna, path.format(wait, "approve"))).text
    answer = bert.post(path.format(wait, "reject"), {**other, "reason": "too early"})
    said = result_of(bert, answer)
    assert said.status_code == 409
    assert "approved by anna" in said.text
    assert place.loop.registry.production() == 2


def test_a_rejected_candidate_does_not_answer(place: Place) -> None:
    """Production stays, and the reason is kept."""
    visitor = place.logged_in(Role.OPERATOR, "anna")
    said = result_of(visitor, order(visitor, f"/decisions/{newest(place).id}/reject", "too early"))
    assert "Version 2 was rejected" in said.text
    assert place.loop.registry.production() == 1
    assert (newest(place).decision.action, newest(place).why) == (Action.REJECT, "too early")


def test_versions_are_promoted_and_rolled_back_by_hand(place: Place) -> None:
    """Each with who and why in the journal; what cannot be done is said before there is a form."""
    visitor = place.logged_in(Role.OPERATOR, "anna")
    nowhere = visitor.get("/rollback")
    assert nowhere.status_code == 409
    assert "no previous version" in nowhere.text
    said = result_of(visitor, order(visitor, "/versions/2/promote", "the board wants it"))
    assert "Version 2 is in production" in said.text
    assert (newest(place).by, newest(place).why) == ("anna", "the board wants it")
    assert "nothing needs to be done" in visitor.get("/versions/2/promote").text
    page = visitor.get("/rollback").text
    assert all(words in page for words in ("Roll back to version 1", "version 2 is archived"))
    said = result_of(visitor, order(visitor, "/rollback", "it was worse"))
    assert "Version 1 is in production again" in said.text
    assert (newest(place).by, newest(place).why) == ("anna", "it was worse")
    assert place.loop.registry.production() == 1
    for path in ("/versions/9/promote", "/rollback?to=9"):
        assert visitor.get(path).status_code == 409
    for path in ("/versions/x/promote", "/decisions/99999999999/approve", "/decisions/1/approve"):
        assert visitor.get(path).status_code == 404


def test_a_probation_is_ended(place: Place) -> None:
    """The card of the version that is watched offers it, the page that asks says what it would go
    back to, and the journal has who and why; a second time nothing is on probation."""
    visitor = place.logged_in(Role.OPERATOR, "anna")
    assert visitor.get("/probation/end").status_code == 409
    order(visitor, f"/decisions/{newest(place).id}/approve")
    assert 'href="/probation/end"' in visitor.get("/versions/2").text
    page = visitor.get("/probation/end").text
    assert "no longer goes back to version 1 by itself" in page
    said = result_of(visitor, order(visitor, "/probation/end", "seen enough"))
    assert "no longer on probation" in said.text
    assert (newest(place).by, newest(place).why) == ("anna", "seen enough")
    assert visitor.get("/probation/end").status_code == 409
    assert 'href="/probation/end"' not in visitor.get("/versions/2").text


def test_what_has_moved_since_is_asked_again(place: Place) -> None:
    """A page that was left open while production moved carries nothing out: it shows what the form
    would do now."""
    visitor = place.logged_in(Role.OPERATOR, "anna")
    late = fields_of(visitor.get("/versions/2/promote").text)
    assert late["seen"] == "1"
    order(visitor, f"/decisions/{newest(place).id}/approve")
    kept = fields_of(visitor.get("/rollback").text)
    order(visitor, "/rollback", "worse")
    before = count(place)
    answer = visitor.post("/rollback?to=2", {**kept, "reason": "worse"})
    assert answer.status_code == 409
    assert "Something else answers now" in answer.text
    assert "worse</textarea>" in answer.text
    assert count(place) == before


def test_only_an_operator_acts(place: Place) -> None:
    """A viewer sees what to do instead, a stranger the login, and no form moves anything without
    its token, its id and a reason."""
    path, before = f"/decisions/{newest(place).id}/approve", count(place)
    operator, viewer = place.logged_in(Role.OPERATOR), place.logged_in(Role.VIEWER)
    fields = {**fields_of(operator.get(path).text), "reason": "I may not"}
    for answer in (viewer.get(path), viewer.post(path, fields)):
        assert answer.status_code == 403
        assert "--role operator" in answer.text
    stranger = place.visitor()
    for answer in (stranger.get(path), stranger.post(path, fields)):
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/login")
    for wrong in ({"token": ""}, {"token": "made up"}, {"form": ""}):
        assert operator.post(path, {**fields, **wrong}).status_code == 403
    nothing = operator.post(path, {**fields, "reason": " \n "})
    assert nothing.status_code == 409
    assert "Say why" in nothing.text
    assert count(place) == before
    assert place.loop.registry.production() == 1
