"""Fit a version again from the rows, the contract and the seed of its training; compare answers.

Nothing is registered, moved or written down.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from closedloop.bundle.files import Facts, read_file
from closedloop.bundle.frames import measure_difference
from closedloop.bundle.installed import find_version
from closedloop.bundle.loaded import LoadedVersion
from closedloop.bundle.own_code import refuse_own_code_of_others
from closedloop.bundle.scorer import Scorer, largest_difference, pack_rows
from closedloop.json_text import read_json
from closedloop.records.as_windows import PREFIX
from closedloop.training.candidates import LabelledWindow
from closedloop.training.recipes import parse_recipe
from closedloop.turn.open import Loop, choose_source, read_git_revision
from closedloop.turn.origin import describe_platform
from closedloop.turn.register import EVIDENCE_FILE
from closedloop.use_case.contract import UseCase
from closedloop.use_case.loop_toml import parse_use_case
from closedloop.use_case.recipe import with_code
from closedloop.windows.sources import NoWindows
from closedloop.windows.time_names import in_time_order

# Of a probability, where library versions or the platform are others: last digits may differ.
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Reproduction:
    """What became of fitting a version again.

    `differences` keep it from being proved: its rows are not there any more, or its scores differ.
    `others` are library versions, code revision, platform and loop.toml, where they are not those
    of the training. `largest_difference` is that of a probability on `rows` rows, None when nothing
    was fitted; up to `tolerance` it proves the version.
    """

    version: int
    recipe: str
    windows: tuple[str, ...]
    differences: tuple[str, ...]
    others: tuple[str, ...]
    rows: int
    largest_difference: float | None
    tolerance: float

    @property
    def proved(self) -> bool:
        """Whether the same rows gave the same scores again."""
        return not self.differences

    def as_json(self) -> dict[str, Any]:
        """What `closedloop reproduce --json` prints."""
        return {"proved": self.proved, **asdict(self)}


def reproduce(loop: Loop, number: int) -> Reproduction:
    """Read the training windows of a version again, fit its recipe on them, compare its scores.

    They must be equal bit for bit; within `TOLERANCE` where libraries or platform are others.
    Raises RegistryError when there is no such version or its files were pruned, ModelError when it
    cannot be loaded or fitted, SourceError when the source does not answer.
    """
    loop.registry.loadable(number)
    bundle, folder = loop.registry.load(number), loop.registry.download(number)
    use_case = _as_trained(bundle.facts, loop.use_case)
    name, _ = parse_recipe(bundle.facts.recipe)
    noted = loop.registry.tags(number)
    strange = tuple(_compare_surroundings(noted, read_file(folder / "requirements.txt").decode()))
    others = (
        *strange,
        *_compare_revisions(noted, loop),
        *_compare_contracts(use_case, loop.use_case),
        *_compare_own_code(name, use_case),
    )
    windows, differences = _read_again(loop, bundle.facts, use_case, number)
    found = Reproduction(
        version=number,
        recipe=bundle.facts.recipe,
        windows=bundle.facts.trained_windows,
        differences=tuple(differences),
        others=others,
        rows=0,
        largest_difference=None,
        tolerance=TOLERANCE if strange else 0.0,
    )
    if differences:
        return found
    refuse_own_code_of_others(name, use_case, loop.use_case)
    fitted = loop.compute.fit(bundle.facts.recipe, windows, use_case)
    difference, rows = _compare_scores(bundle, fitted)
    found = replace(found, rows=rows, largest_difference=difference)
    if difference <= found.tolerance:
        return found
    said = f"scores differ by up to {difference:.3g} on {rows} rows, {found.tolerance:g} is allowed"
    return replace(found, differences=(said,))


def _as_trained(facts: Facts, today: UseCase) -> UseCase:
    """The use case of the training; where the windows are is what loop.toml says today."""
    content = {name: value for name, value in facts.use_case.items() if name != "golden"}
    moved = {
        name: value for name, value in today.content["source"].items() if name in ("root", "url")
    }
    return parse_use_case({**content, "source": {**content["source"], **moved}}, today.path)


def _compare_contracts(then: UseCase, today: UseCase) -> Iterator[str]:
    before, now = (_without_code(use_case.stored_content) for use_case in (then, today))
    names = {*before, *now} - {"description", "schedule", "card"}
    changed = [name for name in names if before.get(name) != now.get(name)]
    if changed:
        yield f"loop.toml has changed since: {', '.join(sorted(changed))}; that of then was used"


def _without_code(content: Mapping[str, Any]) -> dict[str, Any]:
    recipes = {
        name: {key: value for key, value in table.items() if key != "code"}
        for name, table in content.get("recipes", {}).items()
    }
    return {**content, "recipes": recipes}


def _compare_own_code(name: str, then: UseCase) -> Iterator[str]:
    """Code of the user's own is imported as it is today, whatever the rest of loop.toml was."""
    recipe = then.recipes.get(name)
    if recipe is None or recipe.estimator is None:
        return
    now = with_code(replace(recipe, code=""), then.path.parent).code
    if recipe.code != now:
        before, after = (code[:12] or "not beside loop.toml" for code in (recipe.code, now))
        yield f"the code of {recipe.estimator} was {before}, now {after}; today's was used"


def _compare_surroundings(noted: Mapping[str, str], requirements: str) -> Iterator[str]:
    """Library versions and the platform, where they are others than those of the training."""
    for line in requirements.split():
        name, pinned, wanted = line.partition("==")
        if pinned and (found := find_version(name)) != wanted:
            yield f"{name} was {wanted}, now {found or 'not installed'}"
    then, now = noted.get("platform", ""), describe_platform()
    if then != now:
        yield f"the platform was {then or 'not noted'}, now {now}"


def _compare_revisions(noted: Mapping[str, str], loop: Loop) -> Iterator[str]:
    now = loop.settings.revision or read_git_revision(loop.use_case.path.parent)
    then = noted.get("revision", "")
    if then != now and not {then, now} & {"", "unknown"}:
        yield f"the code revision was {then}, now {now}"


def _read_again(
    loop: Loop, facts: Facts, use_case: UseCase, number: int
) -> tuple[tuple[LabelledWindow, ...], list[str]]:
    """The training windows as they are now, and what is not as it was, in words."""
    of_records = any(name.startswith(PREFIX) for name in facts.trained_windows)
    source = choose_source(use_case, loop.settings, loop.records if of_records else None)
    try:
        names = source.windows()
    except NoWindows:
        names = ()
    if missing := [name for name in facts.trained_windows if name not in names]:
        return (), [f"the window {name} is missing" for name in missing]
    if not facts.digests:
        return (), ["the version does not say which rows it was trained on"]
    places = _places_then(loop, names, facts, number)
    windows, differences = [], []
    for name, then in facts.digests.items():
        read = loop.compute.read_window(source, name, places.index(name), use_case, None)
        windows.append(read.labelled)
        if (now := read.facts.digest[:12]) != then:
            differences.append(f"the rows of {name} have changed (digest {then}, now {now})")
    return tuple(windows), differences


def _places_then(loop: Loop, names: Sequence[str], facts: Facts, number: int) -> tuple[str, ...]:
    """The windows by which age counted: also those that the training left out.

    A window that was deleted since, or that came between two others, changes no age.
    """
    evidence = read_json(loop.registry.read_file(number, EVIDENCE_FILE))
    if "left_out" not in evidence:  # registered by an older version
        return tuple(names)
    known = {*facts.trained_windows, *(name for name, _ in evidence["left_out"])}
    there = tuple(name for name in names if name in known)
    return there if len(there) == len(known) else in_time_order(known)


def _compare_scores(bundle: LoadedVersion, fitted: Scorer) -> tuple[float, int]:
    """The largest difference on the self-test's rows and on the sample of training rows."""
    test, reference = bundle.self_test, bundle.reference()
    packed = pack_rows(test.rows, fitted.numeric, fitted.categorical)
    answers = np.asarray(fitted.probabilities(*packed), dtype=np.float64)
    difference = max(
        largest_difference(answers, test.answers),
        measure_difference(fitted, bundle.scorer, reference),
    )
    return difference, len(test.rows) + len(reference)
