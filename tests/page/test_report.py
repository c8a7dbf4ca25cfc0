"""The drift report on the page: shown, and able to do nothing."""

from __future__ import annotations

import re

from closedloop.decisions.checks import Action, Decision, Kind
from closedloop.operations.api_keys import Role
from closedloop.registry.runs import REPORT
from closedloop.storage.details import RunFacts, TurnDetails
from tests.page.conftest import Place

CONTENT = "<html><script>draw('</script><script>parent.document')</script></html>"


def keep_report(place: Place, content: str | None, link: str = f"somewhere/{REPORT}") -> int:
    """A decision with a report in MLflow, or with one that was pruned; returns its id."""
    loop = place.loop
    files = {} if content is None else {REPORT: content}
    run = loop.registry.log_run(
        f"key-{content}-{link}", "monitor", metrics={}, parameters={}, tags={}, data={}, files=files
    )
    decision = Decision(Kind.RETRAINING, Action.KEEP, "2026-01", ())
    details = TurnDetails(run=RunFacts(run, link))
    return loop.journal.write(
        f"key-{content}-{link}", loop.use_case.name, decision, details=details
    ).id


def test_a_report_is_shown_in_a_sandbox(place: Place) -> None:
    """As it was made, under a policy that gives it no origin, lets it load and send nothing, and
    only lets our own page frame it; that page names the same sandbox, and keeps its own policy."""
    number = keep_report(place, CONTENT)
    visitor = place.logged_in(Role.VIEWER)
    answer = visitor.get(f"/decisions/{number}/report/content")
    assert answer.text == CONTENT
    policy = dict(
        part.strip().partition(" ")[::2]
        for part in answer.headers["content-security-policy"].split(";")
    )
    assert policy.pop("sandbox") == "allow-scripts"
    assert policy == {
        "default-src": "'none'",
        "script-src": "'unsafe-inline'",
        "style-src": "'unsafe-inline'",
        "img-src": "data:",
        "font-src": "data:",
        "form-action": "'none'",
        "base-uri": "'none'",
        "frame-ancestors": "'self'",
    }
    assert answer.headers["x-frame-options"] == "SAMEORIGIN"
    around = visitor.get(f"/decisions/{number}/report")
    [frame] = re.findall(r"<iframe [^>]*>", around.text)
    assert 'sandbox="allow-scripts"' in frame
    assert "script" not in around.headers["content-security-policy"]


def test_a_report_that_is_not_there_is_said(place: Place) -> None:
    """A pruned one, that of a quiet window, which has none, and of a decision that does not exist
    are each a page that says so; a stranger is asked to log in."""
    pruned, quiet = keep_report(place, None), keep_report(place, None, link="somewhere")
    visitor = place.logged_in(Role.VIEWER)
    for number, words in ((pruned, "was pruned"), (quiet, "has no drift"), (999, "has no drift")):
        answer = visitor.get(f"/decisions/{number}/report/content")
        assert answer.status_code == 404
        assert words in answer.text
    assert place.visitor().get(f"/decisions/{pruned}/report/content").status_code == 303
