"""What the journal keeps of a replay, and how people are told of it."""

from __future__ import annotations

from closedloop.decisions.shadow import Answering, ShadowReplay
from closedloop.storage.details import ShadowFacts

_NOBODY = Answering(0)


def describe_replay(replay: ShadowReplay | None) -> ShadowFacts | None:
    """The facts of a replay; None when there was none."""
    if replay is None or replay.candidate is None:
        return None
    candidate, production = replay.candidate, replay.production or _NOBODY
    return ShadowFacts(
        shadow_rows=replay.rows,
        shadow_errors=replay.new_errors,
        shadow_agreement=1 - replay.flips / replay.compared if replay.compared else None,
        shadow_score_shift=replay.score_shift,
        shadow_p50_ms=candidate.p50_ms,
        shadow_p95_ms=candidate.p95_ms,
        shadow_memory_mb=candidate.memory_mb,
        production_p50_ms=production.p50_ms,
        production_p95_ms=production.p95_ms,
        production_memory_mb=production.memory_mb,
        shadow_flips=tuple((part.name, part.rows, part.flips) for part in replay.slices),
        shadow_failure=candidate.failure or None,
    )


def tell_replay(facts: ShadowFacts) -> tuple[str, ...]:
    """What the candidate did with recorded requests, in sentences for people."""
    rows = f"{facts.shadow_rows or 0:,}"
    if facts.shadow_failure:
        return (f"the candidate did not answer {rows} recorded rows: {facts.shadow_failure}",)
    told = [f"of {rows} recorded rows the candidate fails on {facts.shadow_errors or 0}"]
    if facts.shadow_agreement is not None:
        told[0] += f" and predicts as production does on {facts.shadow_agreement:.1%}"
        told += [
            f"in slice {name} it changes {flips:,} of {of:,} predictions"
            for name, of, flips in facts.shadow_flips
            if flips
        ]
    if facts.shadow_p95_ms is not None:
        took = f"95 % of these requests take it {facts.shadow_p95_ms:.2g} ms or less"
        if facts.production_p95_ms is not None:
            took += f" (production {facts.production_p95_ms:.2g} ms)"
        if facts.shadow_memory_mb is not None:
            took += f", and it needs {facts.shadow_memory_mb:.0f} MB"
        if facts.production_memory_mb is not None:
            took += f" (production {facts.production_memory_mb:.0f} MB)"
        told.append(took)
    return tuple(told)
