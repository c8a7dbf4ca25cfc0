"""The trials of a search on disk, and what to try next: the only door to Optuna.

A search that is killed goes on as if it had not been: what is tried next depends on the trials
that are over and on the seed, so the trial that was cut off is asked for again, and not counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from closedloop.errors import ModelError, StoreError
from closedloop.experiment.trial import Choice, Trial
from closedloop.training.recipes import HistoryKind
from closedloop.training.search_spaces import Range, find_space
from closedloop.use_case.recipe import Recipe

_TRIAL = "trial"


class Study:
    """One search, in a file that may hold others; nobody else works on it meanwhile.

    `recipes` are searched on `histories`: first as they are, then with other parameters. Raises
    ModelError without Optuna, StoreError when the file cannot be used.
    """

    def __init__(
        self,
        file: Path,
        name: str,
        *,
        recipes: Mapping[str, Recipe],
        histories: tuple[HistoryKind, ...],
        seed: int,
    ) -> None:
        self._recipes, self._histories, self._seed = recipes, histories, seed
        self._optuna = _import_optuna()
        self._optuna.logging.set_verbosity(self._optuna.logging.ERROR)
        self._asked: Any = None
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._study = self._optuna.create_study(
                study_name=name,
                storage=f"sqlite:///{file}",
                direction="maximize",
                load_if_exists=True,
            )
            self.drop_unfinished()
        except Exception as error:  # of Optuna, SQLAlchemy, Alembic or the system
            raise StoreError(
                where=f"searches in {file}",
                wanted="a database that Optuna can read and write",
                got=f"{type(error).__name__}: {str(error).partition(chr(10))[0]}",
                then="delete it, which only costs time, and search again",
            ) from error

    @property
    def trials(self) -> tuple[Trial, ...]:
        """The trials that are over, oldest first."""
        kept = (trial.user_attrs.get(_TRIAL) for trial in self._study.get_trials(deepcopy=False))
        return tuple(_read(content) for content in kept if content is not None)

    def count_wanted(self, trials: int) -> int:
        """How many trials there will be of so many: recipes without parameters end a search."""
        return trials if any(map(find_space, self._recipes.values())) else min(trials, self._plain)

    @property
    def _plain(self) -> int:
        """How many trials fit the recipes as they are."""
        return len(self._recipes) * len(self._histories)

    def ask(self, number: int) -> Choice:
        """What to try as the trial of this number, from 0 on."""
        # A sampler for each trial: one for all would begin anew when a search goes on.
        self._study.sampler = self._optuna.samplers.TPESampler(seed=self._seed + number)
        self._asked = self._study.ask()
        if number < self._plain:
            name = tuple(self._recipes)[number // len(self._histories)]
            history = self._histories[number % len(self._histories)]
            return Choice(name, history, self._recipes[name], changed=False)
        searched = [name for name, recipe in self._recipes.items() if find_space(recipe)]
        name = self._choose("recipe", searched)
        history = self._choose("history", self._histories)
        recipe = self._recipes[name]
        found = {
            parameter: self._suggest(f"{name}.{parameter}", limits)
            for parameter, limits in find_space(recipe).items()
        }
        changed = replace(recipe, parameters={**recipe.parameters, **found})
        return Choice(name, history, changed, changed=True)

    def tell(self, trial: Trial) -> None:
        """Keep the trial that was asked for, now that it is over."""
        self._asked.set_user_attr(_TRIAL, asdict(trial))
        self._finish(self._asked.number, trial)

    def drop_unfinished(self) -> None:
        """End trials that were cut off; one that was measured counts."""
        running = self._optuna.trial.TrialState.RUNNING
        for trial in self._study.get_trials(deepcopy=False, states=(running,)):
            content = trial.user_attrs.get(_TRIAL)
            self._finish(trial.number, None if content is None else _read(content))

    def _finish(self, number: int, trial: Trial | None) -> None:
        if trial is None or trial.score is None:
            self._study.tell(number, state=self._optuna.trial.TrialState.FAIL)
        else:
            self._study.tell(number, trial.score)

    def _choose(self, name: str, among: Any) -> Any:
        return among[0] if len(among) == 1 else self._asked.suggest_categorical(name, among)

    def _suggest(self, name: str, limits: Range) -> float | int:
        low, high = limits.low, limits.high
        if isinstance(low, int) and isinstance(high, int):
            return int(self._asked.suggest_int(name, low, high, log=limits.log))
        # What is fitted is what people will read, and write into loop.toml.
        return float(f"{self._asked.suggest_float(name, low, high, log=limits.log):.3g}")


def _read(content: Mapping[str, Any]) -> Trial:
    return Trial(**{**content, "by_fold": tuple(content["by_fold"])})


def _import_optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise ModelError(
            where="closedloop experiment",
            wanted="the package optuna",
            got="none",
            then="install it with: pip install 'closedloop[experiment]'",
        ) from None
    return optuna
