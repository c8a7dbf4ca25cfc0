"""Generates the windows of the built-in use cases and writes them as files."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from closedloop.errors import SourceError, UseCaseError
from closedloop.use_case.contract import UseCase
from closedloop.windows.files_source import root_folder
from closedloop.windows.streamflow_month import subscription_month

Generator = Literal["streamflow", "iris"]
# How many windows are written unless another number is asked for, and how many there are: iris has
# 150 rows, and the number in a month's name three digits.
USUAL_WINDOWS: dict[Generator, int] = {"streamflow": 7, "iris": 3}
MOST_WINDOWS: dict[Generator, int] = {"streamflow": 1000, "iris": 3}


def generate_windows(
    generator: Generator, months: int | None = None, seed: int = 0
) -> dict[str, dict[str, pd.DataFrame]]:
    """The windows of a built-in use case: window -> file name ('' for a single file) -> frame.

    `months` is the number of windows, the first ones of the generator; None: `USUAL_WINDOWS`.
    Raises UseCaseError for fewer than 1, or more than the generator has.
    """
    months, most = USUAL_WINDOWS[generator] if months is None else months, MOST_WINDOWS[generator]
    if not 1 <= months <= most:
        raise UseCaseError(
            where="--months",
            wanted=f"1 to {most}, {generator} has only {most} windows",
            got=str(months),
            then=f"closedloop generate --months {min(max(months, 1), most)}",
        )
    if generator == "iris":
        return {name: {"": frame} for name, frame in list(iris_windows(seed).items())[:months]}
    return {f"month_{month:03d}": subscription_month(month, seed) for month in range(months)}


def iris_windows(seed: int = 0) -> dict[str, pd.DataFrame]:
    """scikit-learn's iris as three windows of 50 rows, with nearly equal shares of each species."""
    from sklearn.datasets import load_iris

    iris = load_iris()
    frame = pd.DataFrame(
        iris.data, columns=["sepal_length", "sepal_width", "petal_length", "petal_width"]
    )
    frame["species"] = [str(iris.target_names[label]) for label in iris.target]
    order = np.random.default_rng(seed).permutation(len(frame))
    dealt = frame.iloc[order].sort_values("species", kind="stable")
    return {
        f"window_{number}": dealt.iloc[number::3]
        .sample(frac=1, random_state=seed + number)
        .reset_index(drop=True)
        for number in range(3)
    }


def write_generated(
    use_case: UseCase, data: Path | None, windows: Mapping[str, Mapping[str, pd.DataFrame]]
) -> tuple[str, ...]:
    """Write the windows of `generate_windows` under the source's root.

    A window appears whole or not at all; an unchanged window is left alone. Returns the names
    written. Raises SourceError when the folder cannot be written.
    """
    root = root_folder(use_case, data)
    try:
        root.mkdir(parents=True, exist_ok=True)
        return tuple(name for name, tables in windows.items() if _write_window(root, name, tables))
    except OSError as error:
        raise SourceError(
            where=f"source root {root}",
            wanted="a folder that can be written",
            got=str(error),
            then="fix its permissions",
        ) from None


def _write_window(root: Path, name: str, tables: Mapping[str, pd.DataFrame]) -> bool:
    single = set(tables) == {""}
    place = root / (f"{name}.csv" if single else name)
    content = {
        table: frame.to_csv(index=False, lineterminator="\n").encode()
        for table, frame in tables.items()
    }
    there = {table: place if single else place / f"{table}.csv" for table in tables}
    if all(path.is_file() and path.read_bytes() == content[table] for table, path in there.items()):
        return False
    with tempfile.TemporaryDirectory(dir=root, prefix=".writing-") as folder:
        new = Path(folder) / place.name
        if single:
            new.write_bytes(content[""])
        else:
            new.mkdir()
            for table, text in content.items():
                (new / f"{table}.csv").write_bytes(text)
            if place.exists():
                shutil.move(place, Path(folder) / "old")  # a folder cannot be renamed over another
        new.replace(place)
    return True
