"""`closedloop predict` on tables of any size: the API's own scores, in bounded memory, whole or not
at all."""

from __future__ import annotations

import gzip
import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from closedloop.bundle.loaded import load_version, load_with_pipeline
from closedloop.cli.progress_bar import show_progress
from closedloop.cli.score_table import score_table
from closedloop.errors import ModelError, SourceError
from tests.house.tree import ROOT
from tests.unit.cli.small_models import (
    ask_api,
    make_rows,
    pack,
    read_scores,
    said_of,
)

pytestmark = pytest.mark.slow

SCORES = ["customer", "prediction", "probability_no", "probability_yes", "version"]
LARGE, SMALL = 300_000, 30_000
MOST_GROWTH_KB = 100_000
# Scores a table and says how many KB this process held at most. Not ru_maxrss: that of a child
# begins with what its parent holds.
CHILD = """
import re, sys
from pathlib import Path
from closedloop.cli.score_table import score_table
from closedloop.bundle.loaded import load_version
bundle, table, out = map(Path, sys.argv[1:4])
score_table(load_version(bundle), 3, table, out, keep_columns=bool(sys.argv[4]))
print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One of each recipe."""
    folder = tmp_path_factory.mktemp("bundles")
    return {recipe: pack(folder / recipe, recipe) for recipe in ("lightgbm", "logistic")}


@pytest.fixture
def bundle(bundles: dict[str, Path]) -> Path:
    return bundles["lightgbm"]


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(),
    reason="this system does not say how much memory a process held",
)
@pytest.mark.parametrize(
    ("kind", "keep"),
    [("parquet", ""), pytest.param("csv", "keep", marks=pytest.mark.nightly)],
)
def test_a_table_ten_times_as_long_takes_no_more_memory(
    bundle: Path, tmp_path: Path, kind: str, keep: str
) -> None:
    """300,000 rows, in Parquet as one row group, are scored within 100 MB of what 30,000 take, and
    as the API scores them."""
    rows, peaks = make_rows(LARGE), {}
    for number in (SMALL, LARGE):
        table, out = tmp_path / f"{number}.{kind}", tmp_path / f"scores-{number}.{kind}"
        part = rows.head(number)
        part.to_csv(table, index=False) if kind == "csv" else part.to_parquet(
            table, index=False, row_group_size=LARGE
        )
        done = subprocess.run(
            [sys.executable, "-c", CHILD, str(bundle), str(table), str(out), keep],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        peaks[number] = int(done.stdout)
    assert peaks[LARGE] - peaks[SMALL] < MOST_GROWTH_KB, peaks
    scores = read_scores(out)
    assert list(scores.columns) == [*(rows.columns if keep else ["customer"]), *SCORES[1:]]
    assert scores["customer"].tolist() == rows["customer"].tolist()
    places = [*range(500), *range(LARGE // 2, LARGE // 2 + 500), *range(LARGE - 500, LARGE)]
    assert said_of(scores.iloc[places]) == ask_api(bundle, rows.iloc[places])


@pytest.mark.parametrize("out", ["scores.csv", "scores.parquet"])
@pytest.mark.parametrize(
    ("recipe", "kind"),
    [("lightgbm", "csv"), ("logistic", "tsv"), ("lightgbm", "csv.gz"), ("logistic", "parquet")],
)
def test_every_format_gives_the_scores_of_the_api(
    bundles: dict[str, Path], tmp_path: Path, recipe: str, kind: str, out: str
) -> None:
    """To the last digit, whatever the format and wherever a chunk ends; keys and order are kept,
    and the report reaches its end."""
    bundle = bundles[recipe]
    rows, table, heard = (
        make_rows(3_500, seed=2),
        tmp_path / f"table.{kind}",
        list[tuple[int, int]](),
    )
    if kind == "parquet":
        rows.to_parquet(table, index=False)
    else:
        rows.to_csv(table, index=False, sep="\t" if kind == "tsv" else ",")
    done = score_table(
        load_version(bundle),
        3,
        table,
        tmp_path / out,
        lambda *progress: heard.append(progress),
        chunk_rows=1000,
    )
    assert (done.rows, done.violations) == (3_500, ())
    scores = read_scores(tmp_path / out)
    assert (list(scores.columns), scores["customer"].tolist()) == (
        SCORES,
        rows["customer"].tolist(),
    )
    assert said_of(scores) == ask_api(bundle, rows)
    assert len(heard) == 3
    assert heard[-1][0] == heard[-1][1]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_what_is_not_proved_is_scored_by_its_pipeline(bundle: Path, tmp_path: Path) -> None:
    """A pipeline answers in the place of ONNX, as it does in the service."""
    rows, out = make_rows(300), tmp_path / "scores.parquet"
    rows.to_parquet(tmp_path / "table.parquet", index=False)
    score_table(load_with_pipeline(bundle), 3, tmp_path / "table.parquet", out, chunk_rows=100)
    assert said_of(read_scores(out)) == ask_api(bundle, rows, pipeline=True)


def test_a_threshold_of_the_version_gives_the_answers(tmp_path: Path) -> None:
    """In the service, with ONNX and with its pipeline, and in a scored table: the second class from
    its probability on, far more often than it is the likeliest."""
    bundle = pack(tmp_path / "bundle", "logistic", threshold=0.2)
    rows, out = make_rows(300), tmp_path / "scores.parquet"
    rows.to_parquet(tmp_path / "table.parquet", index=False)
    score_table(load_version(bundle), 3, tmp_path / "table.parquet", out)
    said = said_of(read_scores(out))
    assert said == ask_api(bundle, rows)
    wanted = ["yes" if shares[1] >= 0.2 else "no" for _, shares in said]
    assert [answer for answer, _ in said] == wanted
    assert wanted == [answer for answer, _ in ask_api(bundle, rows, pipeline=True)]
    assert wanted.count("yes") > 1.2 * sum(shares[1] > 0.5 for _, shares in said)


@pytest.mark.parametrize("out", ["scores.csv", "scores.parquet"])
def test_a_table_that_breaks_off_leaves_the_old_scores(
    bundle: Path, tmp_path: Path, out: str
) -> None:
    """A damaged line after chunks that were written is a SourceError; what OUT held before is still
    there, and nothing half written."""
    table = tmp_path / "table.csv"
    # More than Arrow reads ahead, so that chunks are written before it comes to the fault.
    text = make_rows(150_000).to_csv(index=False)
    table.write_text(text + "1,2\n", encoding="utf-8")
    (tmp_path / out).write_text("older scores", encoding="utf-8")
    heard: list[int] = []
    with pytest.raises(SourceError, match=r"table\.csv.*line 150002 has 2 values, the header 6"):
        score_table(
            load_version(bundle),
            3,
            table,
            tmp_path / out,
            lambda done, size: heard.append(done),
            chunk_rows=1000,
        )
    assert heard
    assert (tmp_path / out).read_text(encoding="utf-8") == "older scores"
    assert {path.name for path in tmp_path.iterdir()} == {"table.csv", out}


def test_a_model_that_fails_in_the_middle_leaves_no_scores(bundle: Path, tmp_path: Path) -> None:
    """The answers before the failure are not given either, and a model that does not repeat its
    self-test is asked nothing."""
    make_rows(500).to_csv(tmp_path / "table.csv", index=False)
    model = load_version(bundle)

    class Tiring:
        """Answers two chunks."""

        asked = 0

        def __getattr__(self, name: str) -> Any:
            return getattr(model.scorer, name)

        def probabilities(self, numbers: Any, texts: Any) -> Any:
            self.asked += 1
            return model.scorer.probabilities(numbers, texts) * (np.nan if self.asked > 2 else 1)

    with pytest.raises(ModelError, match="values that are none"):
        score_table(
            replace(model, scorer=Tiring()),  # type: ignore[arg-type]
            3,
            tmp_path / "table.csv",
            tmp_path / "scores.csv",
            chunk_rows=100,
        )
    good = load_with_pipeline(bundle)
    spoilt = replace(good, self_test=replace(good.self_test, answers=good.self_test.answers + 0.01))
    with pytest.raises(ModelError, match="self-test"):
        score_table(spoilt, 3, tmp_path / "table.csv", tmp_path / "scores.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]


def test_broken_rows_are_told_with_their_place(bundle: Path, tmp_path: Path) -> None:
    """A burst of broken rows in one chunk of many is found and placed; a table of one chunk is
    judged as a whole, and so is a short end."""
    rows = make_rows(10_050)
    rows.loc[3_000:3_100, "spend"] = 5000.0
    rows.loc[10_040:, "plan"] = (
        "silver"  # 10 of the last 50 rows, but a hundredth of the last chunk
    )
    rows.to_csv(tmp_path / "table.csv", index=False)
    model = load_version(bundle)
    parted = score_table(model, 3, tmp_path / "table.csv", tmp_path / "scores.csv", chunk_rows=1000)
    assert [(violation.column, violation.rule) for violation in parted.violations] == [
        ("spend", "range")
    ]
    assert parted.violations[0].got.endswith(", in rows 3001 to 4000")
    rows["spend"] = 5000.0
    rows.to_csv(tmp_path / "table.csv", index=False)
    whole = score_table(model, 3, tmp_path / "table.csv", tmp_path / "scores.csv")
    assert whole.violations[0].got == "100 % of values outside, median 5000"


def test_a_type_does_not_depend_on_its_chunk(bundle: Path, tmp_path: Path) -> None:
    """Numbers beside text, whole numbers beside gaps, quoted line ends and empty cells are read as
    in a table of one chunk."""
    rows = make_rows(600).astype({"spend": object, "code": object})
    rows.loc[450, "spend"] = " 1,234.50 "
    rows.loc[455, "spend"] = "€12"
    rows["code"] = rows["code"].mask(rows.index < 300)
    rows.loc[500, "comment"] = 'two\nlines, "quoted"'
    rows.to_csv(tmp_path / "table.csv", index=False, sep=";")
    model, found = load_version(bundle), []
    for number, size in enumerate((50, 600)):
        score_table(
            model, 3, tmp_path / "table.csv", tmp_path / f"{number}.parquet", chunk_rows=size
        )
        found.append(read_scores(tmp_path / f"{number}.parquet"))
    pd.testing.assert_frame_equal(*found)
    plain = rows.assign(
        spend=pd.to_numeric(rows["spend"].replace({" 1,234.50 ": 1234.5, "€12": 12.0}))
    )
    assert said_of(found[0]) == ask_api(bundle, plain)


def test_a_key_is_written_as_it_came(bundle: Path, tmp_path: Path) -> None:
    """A whole number stays one beside gaps, a category of pandas becomes its text, and an empty
    table gives its columns."""
    rows = make_rows(300).drop(columns="comment")
    rows["customer"] = pd.Series(2**53 + np.arange(300), dtype="Int64").mask(rows.index % 7 == 0)
    model, out = load_version(bundle), tmp_path / "scores.parquet"
    rows.to_parquet(tmp_path / "table.parquet", index=False)
    score_table(model, 3, tmp_path / "table.parquet", out, chunk_rows=100)
    assert pq.read_table(out)["customer"].combine_chunks() == pa.array(rows["customer"])
    rows["customer"] = pd.Series([f"name {place % 5}" for place in range(300)], dtype="category")
    rows.to_parquet(tmp_path / "table.parquet", index=False)
    score_table(model, 3, tmp_path / "table.parquet", out, chunk_rows=100)
    assert pq.read_table(out)["customer"].to_pylist() == rows["customer"].tolist()
    rows.head(0).to_csv(tmp_path / "empty.csv.gz", index=False)
    assert gzip.decompress((tmp_path / "empty.csv.gz").read_bytes()).count(b"\n") == 1
    done = score_table(model, 3, tmp_path / "empty.csv.gz", tmp_path / "empty.csv")
    assert (done.rows, [violation.rule for violation in done.violations]) == (0, ["empty"])
    assert list(pd.read_csv(tmp_path / "empty.csv").columns) == SCORES


@pytest.mark.parametrize("watched", [True, False])
def test_a_bar_is_shown_to_those_who_watch(watched: bool) -> None:
    """A terminal sees how much is done; a file or pipe gets nothing, not even an empty line."""
    shown = io.StringIO()
    with show_progress(
        Console(file=shown, force_terminal=watched, width=100), "scoring table.csv"
    ) as report:
        report(50, 200)
    text = shown.getvalue()
    assert ("scoring table.csv" in text and "25%" in text) if watched else text == ""
