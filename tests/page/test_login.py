"""Who gets in: keys, the link of `closedloop up`, sessions and their end."""

from __future__ import annotations

import pytest

from api.guard.keys import Keys
from api.page.attempts import MOST_ATTEMPTS, SECONDS, Attempts
from api.page.sessions import LIFE_SECONDS, MOST_SESSIONS, Sessions
from closedloop.operations.api_keys import Role, add_key, remove_key
from tests.page.conftest import LINK, Place


def test_without_a_key_everybody_here_may_read_and_nobody_act(place: Place) -> None:
    """The first page is shown without a login, and the login says how to make a key."""
    visitor = place.visitor()
    assert visitor.get("/").status_code == 200
    page = visitor.get("/login").text
    assert "closedloop key add NAME --role operator" in page
    assert "nobody may act" in page


def test_once_there_is_a_key_reading_needs_a_login(place: Place) -> None:
    """Any key closes the page, and the way to the login leads back to what was asked for; what the
    door itself needs stays open."""
    place.add_key("shop", Role.CLIENT)
    visitor = place.visitor()
    answer = visitor.get("/?window=2026-01")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/login?next=/%3Fwindow%3D2026-01"
    for path in ("/login", "/page.css", "/icon.svg", "/alive"):
        assert visitor.get(path).status_code == 200, path


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
def test_a_key_logs_in(place: Place, role: Role) -> None:
    """A viewer and an operator get a cookie that no script and no other site can use, and see under
    which name they are in; the key itself is in no cookie and no page."""
    key = place.add_key("anna", role)
    visitor = place.visitor()
    answer = visitor.log_in(key, "/?a=1")
    assert (answer.status_code, answer.headers["location"]) == (303, "/?a=1")
    cookie = answer.headers["set-cookie"]
    assert all(word in cookie for word in ("HttpOnly", "SameSite=strict", "Path=/", "Max-Age="))
    assert "Secure" not in cookie
    page = visitor.get("/").text
    assert f"anna, {role.value}" in page
    assert key not in page + cookie


def test_behind_https_the_cookie_stays_there(place: Place) -> None:
    """A server that was asked by https marks its cookies as secure."""
    visitor = place.visitor()
    visitor.client.base_url = "https://127.0.0.1:8001"
    address = {"Origin": "https://127.0.0.1:8001"}
    answer = visitor.log_in(place.add_key("anna", Role.VIEWER), **address)
    assert answer.status_code == 303
    assert "; Secure" in answer.headers["set-cookie"]


def test_other_keys_do_not(place: Place) -> None:
    """A client's key gets a sentence on which role is wanted, an unknown one another; neither a
    session."""
    client = place.add_key("shop", Role.CLIENT)
    for key, said in ((client, "key of a client"), ("cl_wrong", "not known"), ("", "not known")):
        visitor = place.visitor()
        answer = visitor.log_in(key)
        assert answer.status_code == 403
        assert said in answer.text
        assert visitor.get("/").status_code == 303


def test_the_link_lets_in_the_owner(place: Place) -> None:
    """The link that `closedloop up` prints makes whoever opens it an operator under the name of who
    started it, and its secret leaves the address; an old link says where the new one is."""
    visitor = place.visitor()
    answer = visitor.get(f"/enter?token={LINK}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "root@host, operator" in visitor.get("/").text
    old = place.visitor().get("/enter?token=old")
    assert old.status_code == 403
    assert "closedloop status" in old.text


def test_a_logout_ends_the_session(place: Place) -> None:
    """The form needs its token; afterwards the cookie is worth nothing, also when it is kept."""
    visitor = place.logged_in(Role.VIEWER)
    kept = dict(visitor.client.cookies)
    assert visitor.post("/logout", {"token": "made up"}).status_code == 403
    assert visitor.get("/").status_code == 200
    assert visitor.post("/logout", {"token": visitor.token("/")}).status_code == 303
    visitor.client.cookies.update(kept)
    assert visitor.get("/").status_code == 303


def test_a_removed_key_and_another_role_end_its_sessions(place: Place) -> None:
    """The next request after the change of the file (looked at once a second, here always) is that
    of a stranger, also when a key of the same name is there again; others stay."""
    other, gone, changed = (place.logged_in(Role.OPERATOR, name) for name in ("a", "b", "c"))
    remove_key(place.keys_file, "b")
    content = place.keys_file.read_text()
    before, mark, after = content.partition('"name": "c"')
    place.keys_file.write_text(before + mark + after.replace('"operator"', '"viewer"'))
    statuses = [visitor.get("/").status_code for visitor in (other, gone, changed)]
    assert statuses == [200, 303, 303]
    place.add_key("b", Role.OPERATOR)
    assert gone.get("/").status_code == 303


def test_logins_that_fail_are_bounded(place: Place) -> None:
    """After ten wrong keys in a minute even the right one has to wait; the link counts, too."""
    key = place.add_key("anna", Role.VIEWER)
    visitor = place.visitor()
    for _ in range(MOST_ATTEMPTS - 1):
        assert visitor.log_in("wrong").status_code == 403
    assert visitor.get("/enter?token=wrong").status_code == 403
    assert visitor.log_in(key).status_code == 429
    assert visitor.get(f"/enter?token={LINK}").status_code == 429


def test_failures_are_forgotten() -> None:
    """After a minute, by address, and of many addresses the oldest."""
    seconds = [0.0]
    attempts = Attempts(now=lambda: seconds[0])
    for _ in range(MOST_ATTEMPTS):
        attempts.note_failure("192.0.2.1")
    assert [attempts.may_try(address) for address in ("192.0.2.1", "192.0.2.2")] == [False, True]
    seconds[0] = SECONDS
    assert attempts.may_try("192.0.2.1")
    for number in range(2_000):
        attempts.note_failure(str(number))
    assert len(attempts._failed) == 1_000


def test_sessions_end_and_are_bounded(tmp_path: object) -> None:
    """After twelve hours, and the oldest when there are too many."""
    from pathlib import Path

    path, seconds = Path(str(tmp_path)) / "keys.json", [0.0]
    key = add_key(path, "anna", Role.VIEWER)
    sessions = Sessions(Keys(path, needed=False), now=lambda: seconds[0])
    opened = [sessions.open_with_key(key) for _ in range(MOST_SESSIONS + 1)]
    identities = [found[0] for found in opened if isinstance(found, tuple)]
    assert len(set(identities)) == MOST_SESSIONS + 1
    assert len(sessions) == MOST_SESSIONS
    assert sessions.find(identities[0]) is None
    seconds[0] = LIFE_SECONDS - 1
    assert sessions.find(identities[-1]) is not None
    seconds[0] = LIFE_SECONDS
    assert sessions.find(identities[-1]) is None
    assert sessions.open_with_link("") is None


@pytest.mark.parametrize(
    "there",
    ["//evil.example", "https://evil.example", "/\\evil.example", "evil", "/\n/evil.example", ""],
)
def test_a_login_leads_to_no_other_site(place: Place, there: str) -> None:
    """An address that is not one of this page leads to its beginning."""
    answer = place.visitor().log_in(place.add_key("anna", Role.VIEWER), there)
    assert answer.headers["location"] == "/"


def test_a_link_from_a_chat_finds_the_session(place: Place) -> None:
    """Browsers keep our cookie back when another site leads here: the login asks once more by
    itself, from our own page, instead of asking somebody who is logged in for a key."""
    place.add_key("anna", Role.VIEWER)
    came = {
        "Sec_Fetch_Site": "cross-site",
        "Sec_Fetch_Mode": "navigate",
        "Sec_Fetch_Dest": "document",
    }
    answer = place.visitor().get("/login?next=/%3Fa%3D1", **came)
    assert 'http-equiv="refresh" content="0;url=/?a=1"' in answer.text
    assert "Key</label>" in place.visitor().get("/login", Sec_Fetch_Site="same-origin").text


def test_a_key_for_other_use_cases_lets_nobody_in(place: Place) -> None:
    """It gets a sentence that names both, and the page does not list it; one that names this use
    case, too, lets its holder in."""
    other = add_key(place.keys_file, "other", Role.OPERATOR, ["fraud"])
    both = add_key(place.keys_file, "both", Role.OPERATOR, ["fraud", "shop"])
    visitor = place.visitor()
    answer = visitor.log_in(other)
    assert answer.status_code == 403
    assert "other is a key for fraud only" in answer.text
    assert "about shop" in answer.text
    assert visitor.log_in(both).status_code == 303
    page = visitor.get("/health").text
    assert '<th scope="row">both</th>' in page
    assert '<th scope="row">other</th>' not in page
