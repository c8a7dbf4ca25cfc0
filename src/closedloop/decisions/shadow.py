"""A candidate beside production on what clients have really asked: facts, and the checks of them.

Recorded requests have no labels when they are replayed. So this finds what a candidate does to a
service: errors, slowness, memory, and predictions that change.
"""

from __future__ import annotations

from dataclasses import dataclass

from closedloop.decisions.checks import Check, Numbers, Role, make_check
from closedloop.decisions.shadow_policy import ShadowPolicy

REPLAYED, ANSWERS = "recorded requests were replayed", "it answers recorded requests"
LATENCY, MEMORY = "recorded requests are answered in time", "the process that answers stays small"
FLIPS, SHIFT = "recorded rows keep their prediction", "the scores of recorded rows stay in place"
UNSENT = "columns that no recorded request has"


@dataclass(frozen=True)
class Answering:
    """How one version answered the replayed requests, in a process of its own.

    `errors` are rows that it failed on, `error` what it said to the first of them. `failure` says
    why the process did not get through; empty when it did. Times are by request, 95 % of which
    take at most `p95_ms`; `memory_mb` is the most that the process had.
    """

    rows: int
    errors: int = 0
    error: str = ""
    p50_ms: float | None = None
    p95_ms: float | None = None
    memory_mb: float | None = None
    failure: str = ""


@dataclass(frozen=True)
class SliceFlips:
    """Rows of a slice that both versions answered, and how many got another prediction."""

    name: str
    protected: bool
    rows: int
    flips: int


@dataclass(frozen=True)
class ShadowReplay:
    """The newest recorded requests, answered by a candidate and by production.

    `new_errors` are rows that the candidate failed on and production did not. `compared` rows were
    answered by both, and `flips` of them got another prediction. `score_shift` is the Kolmogorov-
    Smirnov distance between both distributions of scores, the largest over the classes.
    `candidate` is None when nothing was recorded, `production` when there is none that answers.
    """

    requests: int
    rows: int
    candidate: Answering | None = None
    production: Answering | None = None
    new_errors: int = 0
    compared: int = 0
    flips: int = 0
    score_shift: float | None = None
    slices: tuple[SliceFlips, ...] = ()
    unsent: tuple[str, ...] = ()


def shadow_checks(replay: ShadowReplay | None, rules: ShadowPolicy) -> tuple[Check, ...]:
    """Whether the candidate may answer what clients ask.

    Errors, slowness and memory close the gate, and so do changed predictions with a limit of their
    own. Where nothing was recorded nothing is known, and the gate stays as it is: a loop without a
    service has no requests, and must go on.
    """
    if replay is None:
        return ()
    if replay.candidate is None:
        wanted = f"the newest {rules.rows} recorded rows"
        return (make_check(REPLAYED, None, Role.NOTE, wanted, "no requests are recorded yet"),)
    return (
        _check_answers(replay, replay.candidate, rules),
        *_check_latency(replay.candidate, replay.production, rules),
        *_check_memory(replay.candidate, replay.production, rules),
        *_check_flips(replay, rules),
        *_check_shift(replay, rules),
        *_note_unsent(replay),
    )


def _check_answers(replay: ShadowReplay, candidate: Answering, rules: ShadowPolicy) -> Check:
    failed, told = replay.new_errors, ""
    if candidate.failure:
        got = told = f"it did not answer {replay.rows} recorded rows: {candidate.failure}"
    elif failed:
        got = f"errors on {failed} of {replay.rows} rows, such as: {candidate.error}"
        told = f"it fails on {failed} of {replay.rows} recorded rows: {candidate.error}"
    else:
        got = f"every row that production answers, of {replay.rows} in {replay.requests} requests"
    holds = not candidate.failure and failed <= rules.max_errors
    wanted = f"at most {rules.max_errors} rows that production answers and it does not"
    return make_check(ANSWERS, holds, Role.GATE, wanted, got, summary="" if holds else told)


def _check_latency(
    candidate: Answering, production: Answering | None, rules: ShadowPolicy
) -> list[Check]:
    ours, theirs = candidate.p95_ms, None if production is None else production.p95_ms
    if ours is None:
        return []  # no request was answered: another check says so
    got = f"p50 {_ms(candidate.p50_ms)}, p95 {_ms(ours)}"
    if production is not None and theirs is not None:
        got += f"; production p50 {_ms(production.p50_ms)}, p95 {_ms(theirs)}"
    factor, quick = rules.max_latency_factor, rules.quick_ms
    wanted = f"p95 within {quick:g} ms or {factor:g} times production's"
    told = f"slower than production on recorded requests: {got}"
    return [_check_price(LATENCY, ours, _allowed(theirs, factor, quick), quick, wanted, got, told)]


def _check_memory(
    candidate: Answering, production: Answering | None, rules: ShadowPolicy
) -> list[Check]:
    ours, theirs = candidate.memory_mb, None if production is None else production.memory_mb
    if ours is None:
        return []
    got = f"{ours:.0f} MB" + ("" if theirs is None else f"; production {theirs:.0f} MB")
    factor, small = rules.max_memory_factor, rules.small_mb
    wanted = f"within {small:g} MB or {factor:g} times production's"
    told = f"it needs more memory than production to answer: {got}"
    return [_check_price(MEMORY, ours, _allowed(theirs, factor, small), small, wanted, got, told)]


def _check_price(
    claim: str,
    ours: float,
    allowed: float | None,
    harmless: float,
    wanted: str,
    got: str,
    told: str,
) -> Check:
    """Whether an answer of the candidate costs at most `allowed`, or what never matters.

    Only a note where production was not measured.
    """
    return make_check(
        claim,
        True if ours <= harmless else None if allowed is None else ours <= allowed,
        Role.NOTE if allowed is None else Role.GATE,
        wanted,
        got,
        summary=told if allowed is not None and ours > allowed else "",
        numbers=Numbers(ours, allowed),
    )


def _allowed(theirs: float | None, factor: float, harmless: float) -> float | None:
    """The limit; None where production was not measured, so that nothing can be compared."""
    return None if theirs is None else max(harmless, factor * theirs)


def _ms(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2g} ms" if value < 1 else f"{value:.1f} ms"


def _check_flips(replay: ShadowReplay, rules: ShadowPolicy) -> list[Check]:
    if not replay.compared:
        return []
    every = _check_share(FLIPS, replay.flips, replay.compared, rules, may_close=True)
    return [
        every,
        *(
            _check_share(
                f"{FLIPS} in slice {part.name}", part.flips, part.rows, rules, part.protected
            )
            for part in replay.slices
            if part.rows
        ),
    ]


def _check_share(claim: str, flips: int, rows: int, rules: ShadowPolicy, may_close: bool) -> Check:
    limited, enough = rules.max_flips < 1 and may_close, rows >= rules.min_rows
    wanted = f"at least {1 - rules.max_flips:.1%}" if limited else "no limit is set (max_flips)"
    if limited and not enough:
        wanted += f", of {rules.min_rows} rows or more"
    got = f"{1 - flips / rows:.1%} of {rows} rows, {flips} would change"
    holds = None if limited and not enough else not limited or flips / rows <= rules.max_flips
    return make_check(
        claim,
        holds,
        Role.GATE if limited and enough else Role.NOTE,
        wanted,
        got,
        summary=f"too many predictions would change ({claim}): {got}" if holds is False else "",
        numbers=Numbers(1 - flips / rows, 1 - rules.max_flips if limited else None),
    )


def _check_shift(replay: ShadowReplay, rules: ShadowPolicy) -> list[Check]:
    if replay.score_shift is None:
        return []
    limited, enough = rules.max_score_shift < 1, replay.compared >= rules.min_rows
    holds = not limited or (replay.score_shift <= rules.max_score_shift if enough else None)
    wanted = (
        f"a distance of at most {rules.max_score_shift:g}, on {rules.min_rows} rows or more"
        if limited
        else "no limit is set (max_score_shift)"
    )
    got = f"a distance of {replay.score_shift:.3f} (Kolmogorov-Smirnov, 0 to 1)"
    return [
        make_check(
            SHIFT,
            holds,
            Role.GATE if limited and enough else Role.NOTE,
            wanted,
            got,
            summary=f"the scores of recorded rows moved too far: {got}" if holds is False else "",
            numbers=Numbers(replay.score_shift, rules.max_score_shift if limited else None),
        )
    ]


def _note_unsent(replay: ShadowReplay) -> list[Check]:
    """Clients do not send a new column yet: the candidate answered as if it was null."""
    if not replay.unsent:
        return []
    names = ", ".join(replay.unsent)
    return [make_check(UNSENT, True, Role.NOTE, "none", f"{names}: clients have to send them")]
