"""Which columns `closedloop predict` asks for, and which it writes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from closedloop.bundle.contributions import Explainer
from closedloop.bundle.frames import pack_frame
from closedloop.bundle.loaded import LoadedVersion, load_version, load_with_pipeline
from closedloop.bundle.scored_rows import score_names
from closedloop.cli.explained_columns import Explained, ExplainedColumns, explained_names
from closedloop.cli.score_table import score_table
from closedloop.errors import SourceError
from closedloop.use_case.loop_toml import parse_use_case
from closedloop.use_case.source import Source
from tests.unit.bundle.shop import CATEGORICAL, NUMERIC
from tests.unit.bundle.shop import rows as shop_rows
from tests.unit.bundle.test_contributions import make_version
from tests.unit.cli.small_models import CONTENT, make_rows, pack, read_scores


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedVersion:
    return load_version(pack(tmp_path_factory.mktemp("bundles") / "logistic", "logistic"))


def test_a_table_may_lack_an_optional_column(model: LoadedVersion, tmp_path: Path) -> None:
    """Its rows have the scores of nulls, without a warning; a column that is not optional is asked
    for by name."""
    columns = {**CONTENT["columns"], "plan": {"type": "categorical", "optional": True}}
    lenient = replace(
        model, use_case=parse_use_case({**CONTENT, "columns": columns}, Path("loop.toml"))
    )
    rows, out = make_rows(200), tmp_path / "scores.csv"
    found = {}
    for name, table in {
        "null": rows.assign(plan=None),
        "missing": rows.drop(columns="plan"),
        "neither": rows.drop(columns=["plan", "visits"]),
    }.items():
        table.to_csv(tmp_path / f"{name}.csv", index=False)
        if name == "neither":
            with pytest.raises(SourceError, match="every feature column of the model, got no visi"):
                score_table(lenient, 3, tmp_path / f"{name}.csv", out)
            continue
        assert score_table(lenient, 3, tmp_path / f"{name}.csv", out).violations == ()
        found[name] = pd.read_csv(out)
    assert found["missing"].equals(found["null"])
    assert len(found["null"]) == 200


def rows_as_written(number: int) -> pd.DataFrame:
    """Rows whose text a reader of numbers, dates or nulls would change."""
    rows = make_rows(number).drop(columns="comment")
    rows["spend"] = [f"{spend:.2f}".replace(".", ",") for spend in rows["spend"]]
    rows["since"] = [f"0{place % 9 + 1}.11.2025" for place in range(number)]
    rows["note"] = ["?" if place % 3 else 'said "so"\nin two; lines' for place in range(number)]
    return rows.astype(object).where(rows.notna(), None)


@pytest.mark.parametrize("out", ["scores.csv", "scores.parquet"])
def test_keep_columns_writes_every_column_as_it_came(
    model: LoadedVersion, tmp_path: Path, out: str
) -> None:
    """Text is neither read as numbers nor as nulls, in any chunk, and stands before the same
    scores in the same order as without it."""
    rows, table = rows_as_written(500), tmp_path / "table.csv"
    rows.to_csv(table, index=False, sep=";")
    source = Source(windows="*.csv", delimiter=";", decimal=",", null_values=("?",))
    for name, keep in {"few.csv": False, out: True}.items():
        score_table(
            model, 3, table, tmp_path / name, chunk_rows=200, source=source, keep_columns=keep
        )
    few = pd.read_csv(tmp_path / "few.csv", dtype=str)
    kept = (
        pd.read_csv(tmp_path / out, dtype=str, keep_default_na=False, na_values=[""])
        if out.endswith("csv")
        else pd.read_parquet(tmp_path / out)
    )
    scores = [*score_names(("no", "yes"))]
    assert list(few.columns) == ["customer", *scores]
    assert list(kept.columns) == [*rows.columns, *scores]
    pd.testing.assert_frame_equal(
        kept[rows.columns].fillna("").astype(str), rows.fillna("").astype(str)
    )
    assert kept["note"].tolist() == rows["note"].tolist()
    for name in scores:
        assert kept[name].astype(str).tolist() == few[name].tolist()


def test_keep_columns_has_the_types_of_a_parquet_table(
    model: LoadedVersion, tmp_path: Path
) -> None:
    """Dates, whole numbers with gaps and lists are what they were."""
    rows = make_rows(300)
    table = pa.Table.from_pandas(rows, preserve_index=False)
    table = table.append_column("at", pa.array(pd.date_range("2026-01-01", periods=300)))
    table = table.append_column("tags", pa.array([["a", str(place)] for place in range(300)]))
    pq.write_table(table, tmp_path / "table.parquet")
    out = tmp_path / "scores.parquet"
    score_table(model, 3, tmp_path / "table.parquet", out, chunk_rows=100, keep_columns=True)
    assert pq.read_table(out).select(table.column_names).equals(table)


@pytest.mark.parametrize(
    ("names", "keep", "said"),
    [
        ({"comment": "version"}, True, "got a column version: rename it in the file, or leave out"),
        (
            {"comment": "probability_yes", "customer": "prediction"},
            True,
            "got a column prediction, probability_yes: rename",
        ),
        ({"comment": ""}, True, "got no name for column 6: name it in the file, or leave out"),
        ({"comment": "version"}, False, None),
        ({"comment": ""}, False, None),
        ({"comment": "row", "customer": "number"}, False, None),
        ({"comment": "row", "customer": "number"}, True, None),
    ],
)
def test_a_kept_column_never_takes_the_name_of_a_score(
    model: LoadedVersion, tmp_path: Path, names: dict[str, str], keep: bool, said: str | None
) -> None:
    """It is refused by name, and what OUT held before is still there; columns that are not kept may
    be called anything."""
    table, out = tmp_path / "table.csv", tmp_path / "scores.csv"
    make_rows(50).rename(columns=names).to_csv(table, index=False)
    out.write_text("older scores", encoding="utf-8")
    if said is None:
        assert score_table(model, 3, table, out, keep_columns=keep).rows == 50
        return
    with pytest.raises(SourceError, match=said):
        score_table(model, 3, table, out, keep_columns=keep)
    assert out.read_text(encoding="utf-8") == "older scores"


def test_a_key_with_the_name_of_a_score_is_refused(model: LoadedVersion, tmp_path: Path) -> None:
    """It was overwritten by the score."""
    use_case = parse_use_case({**CONTENT, "key": "version"}, Path("loop.toml"))
    table = tmp_path / "table.csv"
    make_rows(50).rename(columns={"customer": "version"}).to_csv(table, index=False)
    with pytest.raises(SourceError, match=r"got a column version: rename it in the file$"):
        score_table(replace(model, use_case=use_case), 3, table, tmp_path / "scores.csv")


@pytest.mark.parametrize("without", ["the use case", "the table"])
def test_rows_without_a_key_have_their_number(
    model: LoadedVersion, tmp_path: Path, without: str
) -> None:
    """From 1, across chunks, so that each score can be matched with its row."""
    rows, table = make_rows(250), tmp_path / "table.csv"
    keyless = {name: value for name, value in CONTENT.items() if name != "key"}
    use_case = parse_use_case(keyless, Path("loop.toml"))
    given = replace(model, use_case=use_case) if without == "the use case" else model
    (rows if without == "the use case" else rows.drop(columns="customer")).to_csv(
        table, index=False
    )
    score_table(given, 3, table, tmp_path / "scores.csv", chunk_rows=100)
    rows.to_csv(table, index=False)
    score_table(model, 3, table, tmp_path / "keyed.csv", chunk_rows=100)
    scores = pd.read_csv(tmp_path / "scores.csv")
    keyed = pd.read_csv(tmp_path / "keyed.csv")
    assert list(scores.columns) == ["row", *score_names(("no", "yes"))]
    assert scores["row"].tolist() == list(range(1, 251))
    pd.testing.assert_frame_equal(scores.drop(columns="row"), keyed.drop(columns="customer"))


def test_formulas_are_quoted_for_a_spreadsheet(model: LoadedVersion, tmp_path: Path) -> None:
    """Texts that a spreadsheet would run, the names of columns among them; numbers stay."""
    rows = make_rows(6)
    rows["note"] = ["=cmd|' /C calc'!A0", "@SUM(1)", "+1+1", "-2,5", "+3e4", "plain"]
    rows["=1+1"] = "x"
    rows.to_csv(tmp_path / "rows.csv", index=False)
    for quote_formulas in (False, True):
        score_table(
            model,
            3,
            tmp_path / "rows.csv",
            tmp_path / f"{quote_formulas}.csv",
            keep_columns=True,
            quote_formulas=quote_formulas,
        )
    as_is, quoted = (pd.read_csv(tmp_path / f"{asked}.csv", dtype=str) for asked in (False, True))
    assert as_is["note"].tolist() == rows["note"].tolist()
    assert quoted["note"].tolist() == [
        *(f"'{text}" for text in rows["note"][:3]),
        *rows["note"][3:],
    ]
    assert "'=1+1" in quoted.columns
    same = quoted.rename(columns={"'=1+1": "=1+1"}).drop(columns="note")
    assert same.equals(as_is.drop(columns="note"))


@pytest.fixture(scope="module")
def with_pipeline(model: LoadedVersion, tmp_path_factory: pytest.TempPathFactory) -> LoadedVersion:
    return load_with_pipeline(pack(tmp_path_factory.mktemp("bundles") / "logistic", "logistic"))


@pytest.mark.parametrize("out", ["scores.csv", "scores.parquet"])
def test_scores_are_explained(
    model: LoadedVersion, with_pipeline: LoadedVersion, tmp_path: Path, out: str
) -> None:
    """After the same scores as without, in any chunk: base and columns add up to the log odds of
    the second class, with nulls and spellings as they come; an empty table has the columns too."""
    rows = make_rows(500)
    rows.to_csv(tmp_path / "table.csv", index=False)
    rows.head(0).to_csv(tmp_path / "none.csv", index=False)
    for name, given in {"plain.csv": None, out: with_pipeline}.items():
        done = score_table(
            model, 3, tmp_path / "table.csv", tmp_path / name, chunk_rows=200, with_pipeline=given
        )
    assert done.explained == Explained("exact", 0, None)
    plain, scores = read_scores(tmp_path / "plain.csv"), read_scores(tmp_path / out)
    added = ["explain.base", *(f"explain.{name}" for name in CONTENT["columns"])]
    assert list(scores.columns) == [*plain.columns, *added]
    pd.testing.assert_frame_equal(scores[plain.columns], plain, check_dtype=False)
    odds = np.log(scores["probability_yes"] / scores["probability_no"])
    assert np.abs(scores[added].sum(axis=1) - odds).max() < 1e-4  # ONNX answers in 32 bits
    assert scores["explain.base"].nunique() == 1
    assert scores["explain.plan"].abs().min() > 0
    score_table(model, 3, tmp_path / "none.csv", tmp_path / out, with_pipeline=with_pipeline)
    assert list(read_scores(tmp_path / out).columns) == list(scores.columns)


def test_names_of_what_is_explained(
    model: LoadedVersion, with_pipeline: LoadedVersion, tmp_path: Path
) -> None:
    """Three classes have their parts each, a column named base takes no base's place, and a kept
    column of that name is refused."""
    names = ("spend", "visits", "code", "plan")
    assert explained_names(model.use_case, ("a", "b", "c")) == tuple(
        f"explain.{label}.{name}" for label in "abc" for name in ("base", *names)
    )
    columns = {"base": CONTENT["columns"]["spend"]}
    use_case = parse_use_case({**CONTENT, "columns": columns}, Path("loop.toml"))
    assert explained_names(use_case, ("a", "b")) == ("explain.(base)", "explain.base")
    table = tmp_path / "table.csv"
    make_rows(50).rename(columns={"comment": "explain.base"}).to_csv(table, index=False)
    out = tmp_path / "scores.csv"
    with pytest.raises(SourceError, match=r"got a column explain\.base: rename it in the file"):
        score_table(model, 3, table, out, keep_columns=True, with_pipeline=with_pipeline)
    assert score_table(model, 3, table, out, keep_columns=True).rows == 50


def test_three_classes_and_an_estimate() -> None:
    """Each class's parts are its own, in the order of the names, and an estimate says its largest
    error."""
    table = shop_rows(9, 30)
    version = make_version("baseline", classes=3)
    explaining, explainer = ExplainedColumns(version), Explainer(version)
    found = explaining.explain(table)
    wanted = explainer.explain(*pack_frame(table, NUMERIC, CATEGORICAL))
    assert list(found) == list(explaining.names)
    place = explainer.columns.index("visits")
    assert np.array_equal(found["explain.yes.visits"], wanted.values[:, 1, place])
    assert np.array_equal(found["explain.maybe.base"], np.repeat(wanted.base[2], 30))
    said = explaining.explained
    assert said.largest_error is not None
    assert wanted.errors is not None
    assert said.largest_error == wanted.errors.max()
