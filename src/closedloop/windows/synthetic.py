"""Generates the windows of the built-in use cases and writes them as files."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from closedloop.errors import SourceError
from closedloop.use_case.contract import UseCase
from closedloop.windows.files_source import root_folder
from closedloop.windows.streamflow_month import subscription_month


def generate_windows(
    generator: Literal["streamflow", "iris"], months: int = 7, seed: int = 0
) -> dict[str, dict[str, pd.DataFrame]]:
    """The windows of a built-in use case: window -> file name ('' for a single file) -> frame.

    `months` is the number of streamflow months; iris always has three windows.
    """
    if generator == "iris":
        return {name: {"": frame} for name, frame in iris_windows(seed).items()}
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
