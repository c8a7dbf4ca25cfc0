"""The first view: what is live, how it does, what comes next, and what waits for a person."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from api.page.charts.bars import Bar, draw_bars, draw_bullet
from api.page.charts.lines import Limit, Point, draw_lines
from api.page.charts.svg import say_share
from api.page.timeline import WORDS
from closedloop.turn.open import Loop
from closedloop.views.overview import DAYS, Overview, gather_overview
from closedloop.views.words import tell_age, tell_span


def gather_first_view(loop: Loop, _asked: Mapping[str, str]) -> dict[str, Any]:
    """The facts and charts of the first view."""
    now = datetime.now(UTC)
    facts = gather_overview(loop, now)
    live, delay = facts.live, facts.traffic.delay
    limit = loop.use_case.policy.retraining.max_drift_share
    return {
        "facts": facts,
        "live": live,
        "age": tell_age(live.since, now) if live and live.since else "",
        "auc": facts.realised[-1] if facts.realised else None,
        "drift": facts.drift[-1] if facts.drift else None,
        "max_drift_share": limit,
        "delay": tell_span(delay.median) if delay else "",
        "delay_most": tell_span(delay.most) if delay else "",
        "delay_windows": loop.use_case.labels.delay_windows,
        "in_time": tell_span(facts.next_turn.at - now) if facts.next_turn.at else "",
        "auc_chart": _draw_auc(facts),
        "drift_chart": _draw_drift(facts, limit),
        "drift_bullet": _draw_share(facts, limit),
        "days_chart": _draw_days(facts, now),
        "days": DAYS,
        **WORDS,
    }


def _draw_auc(facts: Overview) -> str:
    points = [
        Point(
            point.window,
            point.value,
            point.lower,
            point.upper,
            "" if point.version is None else f"version {point.version}",
            hollow=point.late,
        )
        for point in facts.realised
    ]
    live = facts.live
    limit = None
    if live is not None and live.facts.val_auc is not None:
        limit = Limit(live.facts.val_auc, f"version {live.facts.version} at promotion")
    return draw_lines("Live AUC by window", points, limit, least=0.0, most=1.0)


def _draw_drift(facts: Overview, limit: float) -> str:
    points = [
        Point(point.window, point.drift_share, over=bool(point.over)) for point in facts.drift
    ]
    words = Limit(limit, "limit")
    return draw_lines(
        "Share of columns that drifted", points, words, least=0.0, most=1.0, say=say_share
    )


def _draw_share(facts: Overview, limit: float) -> str:
    newest = facts.drift[-1] if facts.drift else None
    if newest is None:
        return ""
    verdict = "fails" if newest.over else "holds"
    title = "Share of columns that drifted, newest window"
    return draw_bullet(title, newest.drift_share, limit, verdict=verdict)


def _draw_days(facts: Overview, now: datetime) -> str:
    """Every day, also those without an answer: a gap is what one looks for."""
    if not facts.traffic.days:
        return ""
    rows = {day.day: day.rows for day in facts.traffic.days}
    first = max(min(rows), (now - timedelta(days=DAYS - 1)).date())
    number = (now.date() - first).days + 1
    days = [first + timedelta(days=step) for step in range(number)]
    bars = [Bar(f"{day:%d %b}", float(rows.get(day, 0))) for day in days]
    return draw_bars("Rows answered by day", bars, "rows")
