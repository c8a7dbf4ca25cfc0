"""A search for better recipes: trials on folds, kept on disk and logged; nothing is registered.

Whoever wants the winner writes it into loop.toml, where the gates treat it as another recipe.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from closedloop.decisions.deciding_measure import MEASURES, Measure
from closedloop.errors import ModelError
from closedloop.experiment.folds import Folds, make_folds
from closedloop.experiment.study import Study
from closedloop.experiment.trial import Choice, ScoredChoice, Trial, best_of, measure_choice
from closedloop.experiment.written_recipe import choose_name, write_recipe
from closedloop.operations.progress import OnProgress
from closedloop.plots.scores import draw_scores
from closedloop.plots.search import draw_search
from closedloop.registry.search_runs import SearchRuns
from closedloop.training.learners import find_parameters
from closedloop.training.search_spaces import find_space
from closedloop.turn.history import History
from closedloop.turn.open import Loop
from closedloop.turn.run_metrics import describe_scores, name_metrics
from closedloop.turn.try_recipe import refuse_unknown
from closedloop.use_case.recipe import Recipe, find_recipe


@dataclass(frozen=True)
class FoundRecipe:
    """What a search would write into loop.toml: the tables of a recipe, and its name."""

    name: str
    block: str


@dataclass(frozen=True)
class Found:
    """How a search stands.

    `before` trials were there already; `stopped` when somebody ended it before it was through.
    `recipe` is None while no other parameters are better than those that loop.toml has.
    """

    name: str
    measure: Measure
    folds: Folds
    production: int | None
    trials: tuple[Trial, ...]
    before: int
    stopped: bool
    run_id: str
    recipe: FoundRecipe | None

    @property
    def best(self) -> Trial:
        """The trial with the highest score; one could be fitted."""
        best = best_of(self.trials)
        assert best is not None
        return best


def search(
    loop: Loop,
    *,
    recipes: Sequence[str] = (),
    trials: int = 20,
    folds: int = 3,
    on_progress: OnProgress = lambda done, size: None,
) -> Found:
    """Search until there are so many trials; those of an earlier call count, if nothing changed.

    Raises UseCaseError for an unknown recipe, SourceError without folds, ModelError without Optuna
    or a learner's package, or when no trial could be fitted; RegistryError when MLflow is away.
    """
    use_case = loop.use_case
    names = tuple(dict.fromkeys(recipes)) or use_case.training.recipes
    for name in names:
        refuse_unknown(use_case, name, "closedloop experiment")
    wanted = {name: find_recipe(name, use_case.recipes) for name in names}
    for recipe in wanted.values():
        if recipe.learner is not None:
            find_parameters(recipe.learner)  # raises when its package is missing
    history = History(loop).look()
    made = make_folds(history, folds)
    name = f"{use_case.name}-{_digest(loop, made, wanted)}"
    with loop.search_lock():
        study = Study(
            loop.settings.home_folder / "experiment.db",
            name,
            recipes=wanted,
            histories=use_case.training.histories,
            seed=use_case.training.seed,
        )
        runs = _SearchLog(loop, made, name, tuple(wanted))
        before, size = len(study.trials), study.count_wanted(trials)
        stopped = False
        try:
            for number in range(before, size):
                on_progress(number, size)
                study.tell(runs.carry_out(number, study.ask(number)))
            on_progress(size, size)
        except KeyboardInterrupt:
            stopped = True
            study.drop_unfinished()
        except BaseException:
            runs.end("FAILED")
            raise
        found = Found(
            name,
            runs.measure,
            made,
            None if history.production is None else history.production.version,
            study.trials,
            before,
            stopped,
            runs.parent,
            _describe_best(loop, study.trials, runs.measure),
        )
        runs.end("KILLED" if stopped else "FINISHED", found)
    if best_of(found.trials) is None:
        errors = [trial.error for trial in found.trials]
        raise ModelError(
            where="closedloop experiment",
            wanted="a trial that can be fitted",
            got=errors[0] if errors else "none before it was stopped",
            then="correct the recipe, or run the same command again",
        )
    return found


class _SearchLog:
    """The runs of a search in MLflow: the search itself and its trials."""

    def __init__(self, loop: Loop, folds: Folds, name: str, recipes: Sequence[str]) -> None:
        use_case, settings = loop.use_case, loop.settings
        self._loop, self._folds, self._name = loop, folds, name
        self.measure = MEASURES[use_case.policy.promotion.measure]
        self._runs = SearchRuns(
            use_case.name,
            settings.tracking_uri,
            artifacts=settings.artifacts_folder,
            tried=settings.tried_folder,
        )
        self.parent = self._runs.begin(
            f"experiment/{name}",
            f"experiment {name}",
            {
                "recipes": ", ".join(recipes),
                "histories": ", ".join(use_case.training.histories),
                "measure": use_case.policy.promotion.measure,
                "folds": ", ".join(folds.named),
                "first_windows": ", ".join(window.name for window in folds.folds[0].history),
                "seed": use_case.training.seed,
            },
            folds.digests,
        )

    def carry_out(self, number: int, choice: Choice) -> Trial:
        """Fit, score and log a trial; one whose recipe cannot be fitted counts, with the error."""
        parameters = {"recipe": choice.name, "history": choice.history, **choice.recipe.parameters}
        run_id = self._runs.begin(
            f"experiment/{self._name}/{number}",
            f"trial {number + 1}: {choice.title}",
            parameters,
            self._folds.digests,
            parent=self.parent,
        )
        trial = Trial(
            number,
            choice.name,
            choice.history,
            choice.changed,
            choice.recipe.parameters,
            run_id=run_id,
        )
        try:
            found = measure_choice(
                self._loop, self._folds.folds, choice, lambda: self._runs.observing(run_id)
            )
        except ModelError as error:
            self._runs.end(run_id, status="FAILED", files={"error.txt": str(error)})
            return replace(trial, error=str(error))
        except KeyboardInterrupt:
            self._runs.end(run_id, status="KILLED")
            raise
        trial = replace(
            trial,
            score=sum(found.by_fold) / len(found.by_fold),
            by_fold=found.by_fold,
            f1=found.scores.f1,
            log_loss=found.scores.log_loss,
        )
        self._log(trial, found, choice)
        return trial

    def _log(self, trial: Trial, found: ScoredChoice, choice: Choice) -> None:
        words, turn = f"mean_{self._loop.use_case.policy.promotion.measure}", self.measure.turn
        by_window = {
            f"{words.removeprefix('mean_')}_{window}": turn(score)
            for window, score in zip(self._folds.named, trial.by_fold, strict=True)
        }
        classes = self._loop.use_case.target.classes
        mean = None if trial.score is None else turn(trial.score)
        self._runs.end(
            trial.run_id,
            metrics={
                **describe_scores(found.scores),
                **name_metrics({words: mean, **by_window}),
            },
            files={
                "scores.json": json.dumps(asdict(found.scores), indent=1),
                **draw_scores(
                    found.labels, found.probabilities, classes, found.scores, choice.title
                ).files("scores"),
            },
        )

    def end(self, status: str, found: Found | None = None) -> None:
        """End the run of the search with what it found."""
        best = None if found is None else best_of(found.trials)
        if found is None or best is None or best.score is None:
            self._runs.end(self.parent, status=status)
            return
        files: dict[str, str | bytes] = {
            "trials.json": json.dumps([asdict(trial) for trial in found.trials], indent=1),
            **draw_search([trial.score for trial in found.trials], self.measure).files("search"),
            "loop.toml": self._loop.use_case.path.read_text(encoding="utf-8"),
        }
        if found.recipe is not None:
            files["recipe.toml"] = found.recipe.block
        measure = self._loop.use_case.policy.promotion.measure
        metrics = {f"mean_{measure}": self.measure.turn(best.score)}
        self._runs.end(
            self.parent, metrics=metrics, files=files, step=len(found.trials), status=status
        )


def _describe_best(loop: Loop, trials: Sequence[Trial], measure: Measure) -> FoundRecipe | None:
    best, known = best_of(trials), loop.use_case.recipes
    if best is None or best.score is None or not best.changed:
        return None
    found = Recipe(find_recipe(best.recipe, known).learner, dict(best.parameters))
    name = choose_name(best.recipe, known)
    remark = (
        f"closedloop experiment, trial {best.number + 1} of {len(trials)}: mean {measure.words} "
        f"{measure.turn(best.score):.4f} with the history {best.history}"
    )
    return FoundRecipe(name, write_recipe(name, found, remark))


def _digest(loop: Loop, folds: Folds, recipes: dict[str, Recipe]) -> str:
    """Of all that decides what a trial is and how it does: one that changed is another search."""
    windows = [
        [window.name, window.index, window.digest, len(window.labels)]
        for fold in folds.folds
        for window in (*fold.history, fold.judged)
    ]
    spaces = {name: repr(find_space(recipe)) for name, recipe in recipes.items()}
    described = [loop.use_case.fingerprint, spaces, windows]
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()[:12]
