"""The policies that a backtest compares.

`static` never retrains. `always` and `every-k` fit the first recipe on all labels that are due,
every or every k-th round, and promote it unchecked. `naive` is what most published loops do: it
trains on the newest labelled window alone when drift_share is over its limit, and promotes when the
AUC on a random part of that window beats, by 0.01, the number logged for production. `loop` is the
loop itself with the use case's policy. The policies of others are in `rivals` and `cost_aware`.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from closedloop.backtest.replay import ReplayParts, Step, Strategy
from closedloop.backtest.rivals import RIVALS, find_rival
from closedloop.backtest.unchecked import (
    first_recipe,
    read_due,
    register,
    retrain_unchecked,
)
from closedloop.bundle.frames import score_frame
from closedloop.bundle.loaded import LoadedVersion
from closedloop.decisions.checks import Action
from closedloop.decisions.evidence import PromotionEvidence, RetrainingEvidence
from closedloop.decisions.policy import Policy
from closedloop.decisions.retraining import drift_over_limit
from closedloop.errors import UseCaseError
from closedloop.metrics.auc import measure_auc
from closedloop.storage.details import ComparisonFacts, PromotionDetails
from closedloop.turn.answers import finish_answer, write_answer
from closedloop.turn.candidate import (
    describe_candidate,
    fit_candidate,
    make_evidence,
)
from closedloop.turn.carry_out import carry_out
from closedloop.turn.history import History
from closedloop.turn.reference_rows import make_reference
from closedloop.turn.take_turn import retrain, take_turn
from closedloop.turn.window_drift import measure_window_drift
from closedloop.use_case.contract import UseCase
from closedloop.use_case.loop_toml import parse_use_case

DEFAULT = ("static", "always", "every-2", "every-4", "naive", "loop")
NAIVE_DELTA = 0.01
REPLAY, ASKS_NOBODY = "the replay", "a replay asks nobody"
_EVERY = re.compile(r"every-([1-9]\d*)")


@dataclass(frozen=True)
class Brain:
    """The loop itself: takes the turns that the flows take, in memory.

    Where the policy asks a person, the replay approves at once: nobody is there to be asked.
    """

    name: str = "loop"
    policy: Policy | None = None

    def turn(self, parts: ReplayParts, window: str, number: int) -> Step:
        """One turn, and the retraining that it asks for."""
        entry = take_turn(History(parts, window))
        facts, decision = entry.turn.realised, entry.decision
        kept_out = (facts.realised_on,) if facts and facts.quarantined and facts.realised_on else ()
        if decision.action is not Action.RETRAIN or entry.outcome is not None:
            return Step((decision.action.value,), decision.reason, quarantined=kept_out)
        promotion = retrain(History(parts, window), entry, propose=_propose)
        assert isinstance(promotion.details, PromotionDetails)
        compared = promotion.details.comparison or ComparisonFacts()
        actions = [decision.action.value, promotion.decision.action.value]
        if promotion.decision.action is Action.WAIT:
            answer = write_answer(
                parts,
                promotion,
                Action.PROMOTE,
                window=window,
                by=REPLAY,
                why=ASKS_NOBODY,
            )
            actions.append(finish_answer(parts, promotion, answer, carry_out).decision.action.value)
        return Step(
            tuple(actions),
            promotion.decision.reason,
            promotion.decision.version,
            compared.delta,
            tuple(dict.fromkeys((*kept_out, *compared.quarantined_windows))),
        )


def _propose(history: History[ReplayParts]) -> PromotionEvidence:
    """Fit one candidate and register it; the fitted pipeline is what would serve."""
    parts, candidate = history.loop, fit_candidate(history)
    model = LoadedVersion(
        describe_candidate(history, candidate),
        parts.use_case,
        candidate.scorer,
        cache(lambda: make_reference(history, candidate)),
    )
    version = parts.registry.add(model, history.window)
    return replace(make_evidence(history, candidate, model.scorer, 0.0), version=version)


@dataclass(frozen=True)
class Every:
    """Trains every `rounds`-th round on all labels that are due, and promotes the result.

    `rounds` 0 never trains.
    """

    name: str
    rounds: int
    policy: Policy | None = None

    def turn(self, parts: ReplayParts, window: str, number: int) -> Step:
        """No gate and no contract: every labelled row is trained on."""
        if not self.rounds or number % self.rounds:
            return Step(("keep",), "not its turn")
        return retrain_unchecked(History(parts, window), self.name, "its turn")


@dataclass(frozen=True)
class Naive:
    """Trains on the newest window alone and compares numbers from different rows."""

    name: str = "naive"
    policy: Policy | None = None

    def turn(self, parts: ReplayParts, window: str, number: int) -> Step:
        """Drift over its limit trains; an AUC above the logged number promotes."""
        history = History(parts, window)
        read = history.read(window)
        drift, _ = measure_window_drift(history, read)
        shown = f"drift_share {drift.drift_share}"
        evidence = RetrainingEvidence(read.facts, history.state(), drift=drift)
        newest = next(reversed(read_due(history)), None)
        if not drift_over_limit(evidence, parts.use_case.policy) or newest is None:
            return Step(("keep",), shown)
        use_case, compute, recipe = parts.use_case, parts.compute, first_recipe(parts.use_case)
        judged = (
            np.random.default_rng([use_case.training.seed, newest.index]).random(len(newest.labels))
            < use_case.training.holdout_share
        )
        taught, kept = (
            replace(newest, frame=newest.frame[part], labels=newest.labels[part])
            for part in (~judged, judged)
        )
        scorer = compute.fit(recipe, (taught,), use_case)
        auc = measure_auc(kept.labels, score_frame(scorer, kept.frame))
        version = register(history, recipe, (newest,), scorer, auc, kept)
        logged = history.production.val_auc if history.production else None
        better = auc is not None and (logged is None or auc - logged > NAIVE_DELTA)
        if better:
            parts.registry.promote(version, instead_of=parts.registry.production(), reason=shown)
        reason = f"{shown}, val_auc {auc} against {logged} logged for production"
        return Step(
            ("retrain", "promote" if better else "reject"),
            reason,
            version,
            None if auc is None or logged is None else auc - logged,
        )


def parse_policy(name: str, use_case: UseCase) -> Strategy:
    """A policy by its name, or from a TOML file whose [policy] tables replace the use case's.

    Raises UseCaseError when it is neither, or when the file cannot be obeyed.
    """
    if every := _EVERY.fullmatch(name):
        return Every(name, int(every[1]))
    known: dict[str, Strategy] = {
        "static": Every("static", 0),
        "always": Every("always", 1),
        "naive": Naive(),
        "loop": Brain(),
    }
    if name in known:
        return known[name]
    if name in RIVALS:
        return find_rival(name)
    if not name.endswith(".toml"):
        near = difflib.get_close_matches(name, (*known, *RIVALS), n=1)
        raise UseCaseError(
            where="--policy",
            wanted=f"static, always, every-K, naive, loop, {', '.join(RIVALS)} or a .toml file",
            got=repr(name),
            then=f"did you mean {near[0]}?" if near else "use one of these",
        )
    return Brain(Path(name).stem, _read_policy(Path(name), use_case))


def _read_policy(path: Path, use_case: UseCase) -> Policy:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UseCaseError(
            where=str(path),
            wanted="a TOML file with [policy] tables",
            got=str(error),
            then="correct the path or the file",
        ) from None
    if set(content) != {"policy"} or not isinstance(content["policy"], dict):
        raise UseCaseError(
            where=str(path),
            wanted="[policy] tables and nothing else",
            got=", ".join(content) or "nothing",
            then="copy the tables that differ from loop.toml, such as [policy.promotion]",
        )
    described = {key: value for key, value in use_case.content.items() if key != "golden"}
    changed = {**described, "policy": {**described.get("policy", {}), **content["policy"]}}
    return parse_use_case(changed, path).policy
