"""The policies of comparison do what their names say, and are found by them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from closedloop.backtest.figures import Round
from closedloop.backtest.policies import DEFAULT, Brain, parse_policy
from closedloop.backtest.replay import Past, fit_first, replay
from closedloop.backtest.run import run_backtest
from closedloop.errors import UseCaseError
from tests.unit.streams import make_frame, make_frames, make_past, make_use_case

pytestmark = pytest.mark.slow


def replayed(past: Past, name: str) -> tuple[Round, ...]:
    return replay(past, parse_policy(name, past.use_case), fit_first(past))


def test_every_policy_is_compared_in_the_measure_of_the_use_case(tmp_path: Path) -> None:
    """By log loss the rounds, their candidates and the loop's reasons are in log loss; what never
    trains is the worst, below 0."""
    past = make_past(tmp_path, make_frames(8))
    rules = replace(past.use_case.policy.promotion, measure="log_loss")
    policy = replace(past.use_case.policy, promotion=rules)
    past = replace(past, use_case=replace(past.use_case, policy=policy))
    found = run_backtest(past, ("static", "always", "loop"))
    figures = {known.policy: known.mean_auc for known in found.figures}
    assert found.measure == "log_loss"
    assert figures["static"] is not None
    assert figures["loop"] is not None
    assert figures["static"] < figures["loop"] < 0
    reasons = " ".join(lived.reason for lived in found.rounds["loop"])
    assert "on the same rows: gain in log loss" in reasons
    assert "AUC +" not in reasons


def test_static_never_trains(tmp_path: Path) -> None:
    """Version 1 answers to the end."""
    rounds = replayed(make_past(tmp_path), "static")
    assert {lived.production for lived in rounds} == {1}
    assert not [lived for lived in rounds if lived.candidate]


def test_always_ships_every_round_what_all_due_labels_taught(tmp_path: Path) -> None:
    """With labels one window late, round t teaches all windows up to t - 1, and the new version
    answers the next window."""
    rounds = replayed(make_past(tmp_path), "always")
    assert [lived.production for lived in rounds] == list(range(2, len(rounds) + 2))
    assert rounds[0].window == "w3"
    assert rounds[0].trained_on == ("w0", "w1", "w2")
    assert rounds[-1].next_window == "w8"
    assert rounds[-1].trained_on == tuple(f"w{number}" for number in range(7))


def test_every_k_trains_each_kth_round(tmp_path: Path) -> None:
    """Rounds 2 and 4 of 5, as it would always have trained there."""
    past = make_past(tmp_path)
    rounds, always = replayed(past, "every-2"), replayed(past, "always")
    assert [lived.number for lived in rounds if lived.candidate] == [2, 4]
    assert rounds[1].next_auc == always[1].next_auc


def test_naive_trains_on_the_newest_window_alone_and_reads_the_logged_number(
    tmp_path: Path,
) -> None:
    """Every training knows the newest due window only, and an easy window (w4) sets a bar that an
    ordinary one does not pass."""
    frames = {f"w{number}": make_frame(number) for number in range(4)}
    frames |= {
        "w4": make_frame(4, 3.0, 2.0),
        "w5": make_frame(5, 1.0, 4.0),
        "w6": make_frame(6, 1.0, 9.0),
        "w7": make_frame(7, 1.0, 14.0),
    }
    rounds = {lived.window: lived for lived in replayed(make_past(tmp_path, frames), "naive")}
    assert {window: lived.trained_on for window, lived in rounds.items() if window > "w3"} == {
        "w4": ("w3",),
        "w5": ("w4",),
        "w6": ("w5",),
    }
    assert rounds["w5"].promoted
    assert not rounds["w6"].promoted
    assert "against 0.96" in rounds["w6"].reason


def test_naive_does_nothing_while_nothing_drifts(tmp_path: Path) -> None:
    """Its only trigger is drift_share; what production realises is not looked at."""
    past = make_past(tmp_path)
    retraining = replace(past.use_case.policy.retraining, max_drift_share=1.0)
    calm = replace(
        past,
        use_case=replace(
            past.use_case, policy=replace(past.use_case.policy, retraining=retraining)
        ),
    )
    assert {lived.actions for lived in replayed(calm, "naive")} == {("keep",)}


def test_the_loop_retrains_and_goes_on(tmp_path: Path) -> None:
    """The brain's own decisions: it retrains when the relation turns, and ends better than never
    retraining."""
    found = {figures.policy: figures for figures in run_backtest(make_past(tmp_path)).figures}
    assert tuple(found) == DEFAULT
    assert found["loop"].promotions >= 1
    assert (found["loop"].mean_auc or 0) > (found["static"].mean_auc or 1)
    assert found["always"].share == pytest.approx(1)


def test_a_harmful_promotion_is_taken_back(tmp_path: Path) -> None:
    """Two windows lie, a careless policy follows the second because it agrees with the first, and
    on probation goes back by itself when the truth returns."""
    lies = {name: make_frame(number, -1.0) for number, name in enumerate(("w4", "w5"), start=4)}
    past = make_past(tmp_path, make_frames(8, turns_at=100) | lies, delay=0)
    careless = replace(
        past.use_case.policy,
        quarantine=replace(past.use_case.policy.quarantine, max_auc_drop=1.0),
        promotion=replace(past.use_case.policy.promotion, min_recent_gain=0.0),
    )
    rounds = {
        lived.window: lived for lived in replay(past, Brain("careless", careless), fit_first(past))
    }
    assert not rounds["w4"].promoted
    assert rounds["w5"].promoted
    assert rounds["w6"].actions == ("rollback",)
    assert rounds["w6"].rolled_back
    assert rounds["w6"].production == rounds["w4"].production < rounds["w5"].production
    assert (rounds["w6"].next_auc or 0) > (rounds["w5"].next_auc or 1) + 0.2


def test_a_file_replaces_the_tables_that_it_names(tmp_path: Path) -> None:
    """[policy.promotion] comes from the file, all else stays the user's; the file's stem is the
    policy's name."""
    use_case = make_use_case(tmp_path)
    (tmp_path / "strict.toml").write_text("[policy.promotion]\nmin_delta = 0.02\n")
    found = parse_policy(str(tmp_path / "strict.toml"), use_case)
    assert isinstance(found, Brain)
    assert found.name == "strict"
    assert found.policy is not None
    assert found.policy.promotion.min_delta == 0.02
    assert found.policy.promotion.min_rows == 500
    assert found.policy.retraining == use_case.policy.retraining


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("allways", None, "did you mean always"),
        ("adwinn", None, "did you mean adwin"),
        ("two-of-6", None, "two-of-five"),
        ("every-0", None, "every-K"),
        ("gone.toml", None, "correct the path"),
        ("other.toml", "[training]\nseed = 1\n", "policy"),
        ("typo.toml", "[policy.promotion]\nmin_detla = 1\n", "min_delta"),
    ],
)
def test_a_policy_that_cannot_be_obeyed_says_so(
    tmp_path: Path, name: str, text: str | None, words: str
) -> None:
    """A name that is none, a file that is not there, and a file that says something else."""
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(UseCaseError, match=words):
        parse_policy(
            str(tmp_path / name) if name.endswith(".toml") else name, make_use_case(tmp_path)
        )


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    """What is shown by its name must have one."""
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.toml").write_text("[policy.rollback]\nenabled = false\n")
    with pytest.raises(UseCaseError, match="mine twice"):
        run_backtest(
            make_past(tmp_path), [str(tmp_path / "a/mine.toml"), str(tmp_path / "b/mine.toml")]
        )
