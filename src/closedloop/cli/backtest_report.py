"""Replay past windows for `closedloop backtest`, and print and write what came out."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from closedloop.backtest.fault_replay import FaultFigures
from closedloop.backtest.faults import applicable
from closedloop.backtest.figures import PolicyFigures, recommend, tell_asked
from closedloop.backtest.plots import draw_policies
from closedloop.backtest.policies import DEFAULT
from closedloop.backtest.run import Backtest, find_results, open_past, run_backtest
from closedloop.cli.plain_text import plain
from closedloop.cli.progress_bar import show_progress
from closedloop.decisions.deciding_measure import MEASURES, Measure
from closedloop.errors import SourceError, UseCaseError
from closedloop.storage.home import Writing
from closedloop.turn.open import Loop
from closedloop.use_case.contract import UseCase
from closedloop.use_case.recipe import LEARNERS

if TYPE_CHECKING:
    from rich.console import Console

HEADINGS = (
    "policy",
    "{measure}",
    "share",
    "regret",
    "trained",
    "promoted",
    "rejected",
    "undone",
    "harmful",
    "missed",
)
FAULT_HEADINGS = ("policy", "cases", "shipped", "harmful", "worst loss", "false calls", "kept out")


def replay_history(
    loop: Loop,
    progress: Console,
    policies: Sequence[str] | None = None,
    *,
    delay: int | None = None,
    first: int = 3,
    learners: Sequence[str] | None = None,
    faults: bool = False,
    out: Path | None = None,
    writing: Writing = nullcontext,
) -> tuple[Backtest, Path]:
    """Replay, and write `backtest.json` and `backtest.html` into `out`; returns result and page.

    `out` is the user's, and written inside `writing()`; without it they go under CLOSEDLOOP_HOME.
    Results are cached under CLOSEDLOOP_HOME, so that an interrupted run continues where it stopped.
    Raises UseCaseError for an unknown policy or learner, SourceError when there are too few windows
    or `out` cannot be written.
    """
    use_case = _with_learners(loop.use_case, learners)
    past = open_past(replace(loop, use_case=use_case), delay=delay, first=first)
    with show_progress(progress, f"replaying {len(past.stream.names)} windows") as report:
        found = run_backtest(
            past, policies or DEFAULT, report, applicable(use_case) if faults else ()
        )
    if out is None:
        return found, _write(found, find_results(loop))
    with writing():
        return found, _write(found, out)


def _with_learners(use_case: UseCase, learners: Sequence[str] | None) -> UseCase:
    if not learners:
        return use_case
    known = tuple(dict.fromkeys((*LEARNERS, *use_case.recipes)))
    if unknown := [learner for learner in learners if learner not in known]:
        raise UseCaseError(
            where="--learner", wanted=" or ".join(known), got=unknown[0], then="choose one of them"
        )
    training = replace(use_case.training, recipes=tuple(dict.fromkeys(learners)))
    return replace(use_case, training=training)


def _write(found: Backtest, folder: Path) -> Path:
    page = folder / "backtest.html"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "backtest.json").write_text(
            json.dumps(found.as_json(), indent=1) + "\n", encoding="utf-8"
        )
        page.write_text(_make_page(found), encoding="utf-8")
    except OSError as error:
        raise SourceError(
            where=str(folder),
            wanted="a folder that can be written",
            got=error.strerror or str(error),
            then="choose another --out",
        ) from error
    return page


def list_figures(found: Backtest) -> list[dict[str, Any]]:
    """The output of `closedloop backtest --json`, an item per policy."""
    faults = {figures.policy: asdict(figures) for figures in found.faults}
    return [
        {**asdict(figures), **({"faults": faults.get(figures.policy)} if faults else {})}
        for figures in found.figures
    ]


def _headings(found: Backtest) -> list[str]:
    """The names of the columns; the second is the measure's."""
    return [heading.format(measure=MEASURES[found.measure].words) for heading in HEADINGS]


def _cells(figures: PolicyFigures, measure: Measure) -> tuple[str, ...]:
    def shown(value: float | None, form: str) -> str:
        return "-" if value is None else format(value, form)

    return (
        figures.policy,
        "-" if figures.mean_auc is None else f"{measure.turn(figures.mean_auc):.4f}",
        shown(figures.share, ".2f"),
        shown(figures.worst_regret, "+.4f"),
        f"{figures.trainings_share:.0%}",
        str(figures.promotions),
        str(figures.rejected),
        str(figures.rollbacks),
        str(figures.harmful),
        str(figures.missed),
    )


def show_figures(console: Console, found: Backtest) -> None:
    """Print a table row per policy."""
    measure = MEASURES[found.measure]
    lines = [_cells(figures, measure) for figures in found.figures]
    _show_table(console, _title(found), _headings(found), lines)
    if asked := tell_asked(found.figures):
        console.print(plain(asked), highlight=False)
    if found.faults:
        _show_table(
            console,
            _fault_title(found),
            FAULT_HEADINGS,
            [_fault_cells(figures) for figures in found.faults],
        )


def _show_table(
    console: Console, title: str, headings: Sequence[str], lines: Sequence[Sequence[str]]
) -> None:
    table = Table(
        title=title, title_justify="left", box=None, pad_edge=False, collapse_padding=True
    )
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="right" if place else "left", no_wrap=True)
    for line in lines:
        table.add_row(*map(plain, line))
    console.print(table)


def _fault_title(found: Backtest) -> str:
    kinds, windows = (
        {getattr(case, name) for case in found.fault_cases} for name in ("fault", "window")
    )
    return f"{len(kinds)} faults in {len(windows)} windows, a single fault per replay"


def _fault_cells(figures: FaultFigures) -> tuple[str, ...]:
    worst = "-" if figures.worst_damage is None else f"{figures.worst_damage:.4f}"
    return (
        figures.policy,
        str(figures.cases),
        str(figures.shipped),
        str(figures.harmful),
        worst,
        f"{figures.clean_escalated_share:.0%}",
        f"{figures.clean_quarantined_share:.0%}",
    )


def _title(found: Backtest) -> str:
    rounds = len(found.rounds["static"])
    return (
        f"{found.use_case}: {rounds} rounds, first model on {found.first_windows} "
        f"windows, labels {found.label_delay} windows late"
    )


def _make_page(found: Backtest) -> str:
    """A self-contained page: the chart, the tables, and what each column means."""
    measure = MEASURES[found.measure]
    best = found.rounds[found.best_fixed]
    picture = draw_policies(found.figures, found.rounds, best, measure.gain)
    drawn = base64.b64encode(picture.svg).decode()
    tables = _make_table(_headings(found), [_cells(figures, measure) for figures in found.figures])
    if found.faults:
        tables += f"<h2>{_fault_title(found)}</h2>" + _make_table(
            FAULT_HEADINGS, [_fault_cells(figures) for figures in found.faults]
        )
    words = "".join(
        f"<li><b>{word.format(measure=measure.words)}</b>: {meaning.format(measure=measure.words)}"
        "</li>"
        for word, meaning in _WORDS
    )
    title = html.escape(_title(found))
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width, initial-scale=1'>"
        "<meta http-equiv=Content-Security-Policy "
        "content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">"
        f"<title>{title}</title><style>{_STYLE}</style><main><h1>{title}</h1>"
        f"<p>{html.escape(recommend(found.figures, measure=measure.gain))}</p>{tables}"
        f"<p>{html.escape(tell_asked(found.figures))}</p>"
        f'<img alt="{measure.words}, regret and cost of every policy" '
        f'src="data:image/svg+xml;base64,{drawn}"><h2>What the words mean</h2>'
        f"<ul>{words}</ul></main></html>"
    )


def _make_table(headings: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{heading}</th>" for heading in headings)
    rows = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in line) + "</tr>"
        for line in lines
    )
    # It scrolls by itself on a narrow screen, by keyboard too.
    return f"<div tabindex=0 role=region><table><tr>{head}</tr>{rows}</table></div>"


_STYLE = (
    ":root{color-scheme:light dark;--ground:#fff;--ink:#1b1f24;--soft:#57606a;--line:#d0d7de}"
    "@media(prefers-color-scheme:dark){:root{--ground:#14171c;--ink:#e6e9ee;--soft:#a4adb8;"
    "--line:#3a424d}}"
    "body{background:var(--ground);color:var(--ink);font:16px/1.5 system-ui,sans-serif;margin:0}"
    "main{max-width:70em;margin:auto;padding:1.5em}h1{font-size:1.4em}h2{font-size:1.1em}"
    "div{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}"
    "td,th{text-align:right;padding:.35em .8em;border-bottom:1px solid var(--line)}"
    "th{color:var(--soft);font-weight:600}td:first-child,th:first-child{text-align:left}"
    "img{max-width:100%;margin-top:1.5em;background:#fff;border-radius:.5em}"
)


_WORDS = (
    (
        "{measure}",
        "mean over the rounds; each round scores its production model on all rows of the "
        "next window",
    ),
    ("share", "gain over never retraining, as a share of what always retraining gains"),
    (
        "regret",
        "mean {measure} of the best fixed policy (static, always, every-K) minus that of this one; "
        "above 0 is worse",
    ),
    ("trained", "rounds that trained a candidate, as a share of all rounds"),
    ("undone", "rollbacks"),
    (
        "harmful",
        "promotions that made the next window significantly worse, by more than 0.005 "
        "(paired on the same rows, one-sided 5 %)",
    ),
    (
        "missed",
        "candidates not promoted that would have been significantly better, by more than 0.005",
    ),
    (
        "shipped",
        "cases in which a model trained on the faulty window went live; harmful: it lost "
        "more than 0.02 on a window",
    ),
    (
        "false calls, kept out",
        "without any fault: rounds that escalated to a person, and windows kept out of training",
    ),
)
