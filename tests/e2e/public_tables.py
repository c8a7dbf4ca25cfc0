"""Public tables that come inside installed packages, as their files are or as a user would save
them, and what becomes of each: `docs/public-tables.md` lists the same."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sklearn import datasets


@dataclass(frozen=True)
class PublicTable:
    """One table: how it is saved, what is asked of `init`, and what happens without an edit.

    `said` is part of what `init` prints. `turn` is how the first turn ends, with part of its
    reason; None where `init` refuses the table, with an error that says what a person has to do.
    """

    name: str
    save: Callable[[Path], Path]
    asked: tuple[str, ...]
    said: str
    turn: tuple[str, str] | None


def file_of(package: str, place: str) -> Callable[[Path], Path]:
    """The file as the package ships it."""

    def save(folder: Path) -> Path:
        found = find_spec(package)
        assert found is not None
        assert found.submodule_search_locations
        shipped = Path(found.submodule_search_locations[0]) / place
        return Path(shutil.copy(shipped, folder / shipped.name))

    return save


def frame_of(load: Any, name: str) -> Callable[[Path], Path]:
    """A frame of scikit-learn, saved by pandas under a name that ends in .csv or .parquet."""

    def save(folder: Path) -> Path:
        frame = load(as_frame=True).frame
        write = frame.to_csv if name.endswith(".csv") else frame.to_parquet
        write(folder / name, index=False)
        return folder / name

    return save


def plotly(name: str) -> Callable[[Path], Path]:
    """A compressed CSV file of plotly."""
    return file_of("plotly", f"package_data/datasets/{name}.csv.gz")


def statsmodels(name: str) -> Callable[[Path], Path]:
    """A text file of statsmodels; some have tabs, semicolons or blanks between the values."""
    return file_of("statsmodels", f"datasets/{name}/{name}.csv")


TABLES = (
    PublicTable(
        "iris",
        plotly("iris"),
        ("--target", "species"),
        "species_id alone tells the target (AUC 1.000 on 150 rows)",
        ("escalate", "species_id alone tells the target"),
    ),
    PublicTable(
        "wine",
        frame_of(datasets.load_wine, "wine.parquet"),
        ("--target", "target"),
        "13 features, target target with classes 0, 1, 2",
        ("promote", "val_auc: 0.9994"),
    ),
    PublicTable(
        "breast_cancer",
        frame_of(datasets.load_breast_cancer, "breast_cancer.csv"),
        ("--target", "target", "--positive", "0"),
        'the positive class is "0"',
        ("promote", "val_auc: 0.9958"),
    ),
    PublicTable(
        "digits",
        frame_of(datasets.load_digits, "digits.parquet"),
        ("--target", "target"),
        'left out: "pixel_0_0" is constant',
        ("promote", "val_auc: 0.9993"),
    ),
    PublicTable(
        "diabetes",
        frame_of(datasets.load_diabetes, "diabetes.csv"),
        ("--target", "target"),
        "looks like a quantity, not a class",
        None,
    ),
    PublicTable(
        "tips",
        plotly("tips"),
        ("--target", "smoker"),
        'the positive class is "Yes" (by its meaning)',
        ("promote", "val_auc: 0.7495"),
    ),
    PublicTable(
        "gapminder",
        plotly("gapminder"),
        ("--target", "continent", "--window-column", "year"),
        "12 windows, 1952 to 2007",
        ("promote", "val_auc: 1.0000"),
    ),
    PublicTable(
        "election",
        plotly("election"),
        ("--target", "winner"),
        'left out: "district" is an id or free text',
        ("promote", "val_auc: 0.9702"),
    ),
    PublicTable(
        "experiment",
        plotly("experiment"),
        ("--target", "group"),
        'the positive class is "treatment"',
        ("reject", "val_auc: wanted at least 0.600"),
    ),
    PublicTable(
        "carshare",
        plotly("carshare"),
        ("--target", "peak_hour"),
        "looks like a quantity, not a class",
        None,
    ),
    PublicTable(
        "affairs",
        statsmodels("fair"),
        ("--target", "affairs"),
        "looks like a quantity, not a class",
        None,
    ),
    PublicTable(
        "marriage",
        statsmodels("fair"),
        ("--target", "rate_marriage"),
        "8 features, target rate_marriage with classes 1, 2, 3, 4, 5",
        ("reject", "F1: wanted at least 0.300"),
    ),
    PublicTable(
        "anes96",
        statsmodels("anes96"),
        ("--target", "vote"),
        "read as: tab between values, decimal point, utf-8, quotes '",
        ("promote", "val_auc: 0.9719"),
    ),
    PublicTable(
        "modechoice",
        statsmodels("modechoice"),
        ("--target", "choice"),
        "read as: ; between values",
        ("promote", "val_auc: 0.9943"),
    ),
    PublicTable(
        "randhie",
        statsmodels("randhie"),
        ("--target", "hlthp"),
        '"lpi": 0 in 4,767 rows (24 %)',
        ("promote", "val_auc: 0.9829"),
    ),
    PublicTable(
        "spector",
        statsmodels("spector"),
        ("--target", "GRADE", "--delimiter", " ", "--quote", "'"),
        "read as: blank between values",
        ("promote", "val_auc: 0.7500"),
    ),
    PublicTable(
        "heart",
        statsmodels("heart"),
        ("--target", "censors"),
        "2 features",
        ("promote", "val_auc: 0.7592"),
    ),
    PublicTable(
        "ccard",
        statsmodels("ccard"),
        ("--target", "OWNRENT"),
        "4 features",
        ("promote", "val_auc: 0.8721"),
    ),
)
