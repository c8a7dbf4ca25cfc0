"""A newcomer's story: a CSV file, `init`, `doctor`, the loop turned window by window, and every
command that looks back or moves on."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from closedloop.settings import Settings
from tests.e2e.newcomer import (
    MONTHS,
    Story,
    closedloop,
    customers,
    story,  # noqa: F401
)

pytestmark = pytest.mark.slow

# What a program may count on.
DECISION_KEYS = {
    "id",
    "kind",
    "action",
    "window",
    "checks",
    "version",
    "reason",
    "cause",
    "outcome",
    "at",
}
CHECK_KEYS = {"claim", "outcome", "role", "wanted", "got", "summary", "headline", "numbers"}


def test_init_says_what_it_found_and_what_comes_next(story: Story) -> None:
    """The file is written, its guesses are told in a line, and the next commands can be copied."""
    assert (story.init.code, story.init.err) == (0, "")
    assert "wrote loop.toml: 3 features, target left with classes no, yes" in story.init.out
    assert "closedloop doctor --use-case loop.toml" in story.init.out
    again = closedloop("init", "customers.csv", "--target", "left")
    assert again.code == 2
    assert "--force" in again.err


def test_the_doctor_finds_a_new_use_case_well(story: Story) -> None:
    """Before anything was decided nothing is wrong, and the doctor says how to begin."""
    assert story.doctor.code == 0, story.doctor.out
    assert "3 windows since 2026-01" in story.doctor.out
    assert "none yet, train one: closedloop monitor" in story.doctor.out


def test_the_doctor_speaks_to_programs(story: Story) -> None:
    """--json lists every check with what was found; all is well after the loop has turned."""
    findings = closedloop("doctor", "--json").json
    assert all(
        set(finding) == {"check", "ok", "found", "next"} and finding["ok"] for finding in findings
    )
    assert {"use case", "newest window", "tables", "journal", "MLflow", "production"} <= {
        finding["check"] for finding in findings
    }


def test_the_first_command_made_tables_that_need_no_upgrade(story: Story) -> None:
    """Whoever begins never has to know of `closedloop upgrade`: it finds nothing to do."""
    checked = closedloop("upgrade", "--check", "--json").json
    assert (checked["needed"], checked["from"]) == (False, checked["to"])


def test_the_loop_turns_on_a_table_it_never_saw(story: Story) -> None:
    """The first window makes and promotes a model; later ones, from the same customers, are
    watched; stdout is JSON and nothing else."""
    for turn, month in zip(story.turns, MONTHS, strict=True):
        assert turn.json["window"] == month
        assert set(turn.json) >= {*DECISION_KEYS, "led_to"}
    first = story.turns[0].json
    assert (first["action"], [entry["action"] for entry in first["led_to"]]) == (
        "retrain",
        ["promote"],
    ), first["led_to"]
    assert closedloop("status", "--json").json["production"] >= 1


def test_a_turn_that_works_says_nothing_on_stderr(story: Story) -> None:
    """No library's greeting, warning or progress reaches a terminal that asked for JSON."""
    assert [turn.err for turn in story.turns] == [""] * len(MONTHS)


def test_a_killed_first_command_ruins_nothing(story: Story) -> None:
    """The first turn was killed while Prefect's tables were made; the same command went well, and
    nothing half made is left."""
    assert story.turns[0].code == 0
    assert not list((story.folder / "home").rglob("*.part"))


def test_nobody_else_may_read_what_is_kept(story: Story) -> None:
    """Of all that `init` and a turn made, MLflow's, Prefect's and ours, others can read only what
    belongs to the user: the table and its loop.toml."""
    assert sorted(story.readable) == ["customers.csv", "loop.toml"]


def test_an_unknown_window_is_refused_before_anything_starts(story: Story) -> None:
    """The sentence names the windows there are; no traceback of a flow comes with it."""
    refused = closedloop("monitor", "--window", "2031-01", "--json")
    assert (refused.code, refused.out) == (3, "")
    assert refused.err.count("\n") == 1
    assert "2026-01 to 2026-03" in refused.err


def test_history_has_the_promised_keys(story: Story) -> None:
    """An array of decisions, oldest first, each with id, kind, action, window, checks and version;
    --last shortens it from the front."""
    entries = closedloop("history", "--json").json
    assert all(set(entry) >= DECISION_KEYS for entry in entries)
    assert all(set(check) == CHECK_KEYS for entry in entries for check in entry["checks"])
    assert [entry["id"] for entry in entries] == sorted(entry["id"] for entry in entries)
    assert closedloop("history", "--json", "--last", "1").json == entries[-1:]


def test_why_tells_the_same_as_history(story: Story) -> None:
    """One decision, with every check: as JSON the journal's own entry, for people the claims, and
    the report's address in one piece."""
    entry = next(
        entry
        for entry in closedloop("history", "--json").json
        if "drift_report" in str(entry["details"].get("report"))
    )
    assert closedloop("why", str(entry["id"]), "--json").json == entry
    shown = closedloop("why", str(entry["id"])).out
    assert all(check["claim"].split()[0] in shown for check in entry["checks"])
    link = next(line for line in shown.splitlines() if "drift_report.html" in line)
    assert (
        f"/runs/{entry['details']['run']}/artifacts/drift_report.html?workflowType=machine_learning"
        in link
    )


@pytest.mark.parametrize("columns", ["80", "120"])
def test_what_people_read_fits_their_terminal(
    story: Story, columns: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No line of status and history is wider than the terminal, and no decision of the history is a
    page long."""
    monkeypatch.setenv("COLUMNS", columns)
    for command in ("status", "history"):
        lines = closedloop(command).out.splitlines()
        assert lines
        assert max(len(line) for line in lines) <= int(columns)
    assert len(closedloop("history", "--last", "1").out.splitlines()) < 12


def test_status_has_the_promised_keys(story: Story) -> None:
    """What is live, what it replaced, every version and what is open, for a program."""
    facts = closedloop("status", "--json").json
    promised = (
        "use_case production previous versions last_decision open_decisions records without_labels "
        "kept_out reference standstill waiting probation housekeeping moved damaged disagreement"
    )
    assert set(facts) == set(promised.split())
    assert facts["use_case"] == "customers"
    assert {
        "version",
        "status",
        "aliases",
        "recipe",
        "window",
        "trained_through",
        "val_auc",
    } == set(facts["versions"][0])
    assert facts["open_decisions"] == []


def test_predict_answers_as_the_api_does(story: Story) -> None:
    """CSV in and CSV out, Parquet in and Parquet out, and the API give the same scores for the same
    rows, with keys and order kept; explained, they are what the parts add up to."""
    rows = customers().sample(200, random_state=3).drop(columns=["month", "left"])
    rows.to_csv("some.csv", index=False)
    rows.to_parquet("some.parquet", index=False)
    said = closedloop("predict", "some.csv", "scores.csv", "--json").json
    assert said.pop("explained") is None
    assert said == {"rows": 200, "version": said["version"], "out": "scores.csv", "warnings": []}
    assert Path("scores.csv").stat().st_mode == Path("some.csv").stat().st_mode
    explained = closedloop("predict", "some.parquet", "deep/scores.parquet", "--explain", "--json")
    assert explained.json["explained"]["method"] in ("exact", "tree")
    from_csv, from_parquet = (
        pd.read_csv("scores.csv", dtype={"customer_id": str}),
        pd.read_parquet("deep/scores.parquet"),
    )
    assert list(from_csv.columns) == [
        "customer_id",
        "prediction",
        "probability_no",
        "probability_yes",
        "version",
    ]
    assert (
        from_csv["customer_id"].tolist()
        == rows["customer_id"].tolist()
        == from_parquet["customer_id"].tolist()
    )
    np.testing.assert_allclose(
        from_csv["probability_yes"], from_parquet["probability_yes"], atol=1e-12
    )
    margins = from_parquet.filter(like="explain.").sum(axis=1)
    np.testing.assert_allclose(1 / (1 + np.exp(-margins)), from_csv["probability_yes"], atol=1e-6)

    from closedloop.cli.service import serving
    from closedloop.use_case.loop_toml import load_use_case

    asked = rows.drop(columns="customer_id").to_dict(orient="records")
    with serving(load_use_case("loop.toml"), Settings(), "127.0.0.1", 0) as address:
        request = urllib.request.Request(
            f"{address}/predict",
            json.dumps({"rows": asked}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            answer = json.load(response)
    assert answer["version"] == said["version"]
    np.testing.assert_allclose(
        [row["probabilities"]["yes"] for row in answer["predictions"]],
        from_csv["probability_yes"],
        atol=1e-9,
    )
    assert [row["prediction"] for row in answer["predictions"]] == from_csv["prediction"].tolist()


def test_predict_names_what_is_missing_and_warns_of_what_is_odd(story: Story) -> None:
    """Absent feature columns are named, an empty table gives an empty file, and rows that break the
    contract are scored with a warning."""
    rows = customers().head(50)
    rows.drop(columns=["age", "plan"]).to_csv("less.csv", index=False)
    refused = closedloop("predict", "less.csv", "never.csv")
    assert refused.code == 3
    assert "no age, plan" in refused.err
    assert not Path("never.csv").exists()
    rows.head(0).to_csv("empty.csv", index=False)
    assert closedloop("predict", "empty.csv", "none.csv").code == 0
    assert len(pd.read_csv("none.csv")) == 0
    rows.assign(plan="gold").to_csv("odd.csv", index=False)
    odd = closedloop("predict", "odd.csv", "odd_scores.csv")
    assert odd.code == 0
    assert "plan: categories" in odd.err


def test_a_person_moves_production_and_goes_back(story: Story) -> None:
    """train, promote and rollback speak JSON, are in the journal, and a version that does not exist
    or is live is refused."""
    trained = closedloop("train", "--json").json
    assert (trained["kind"], trained["window"]) == ("promotion", MONTHS[-1])
    facts = closedloop("status", "--json").json
    live, other = (
        facts["production"],
        next(
            version["version"]
            for version in facts["versions"]
            if version["version"] != facts["production"]
        ),
    )
    assert closedloop("promote", str(live)).code == 4
    assert "versions 1, 2" in closedloop("promote", "77").err
    assert closedloop("promote", str(other), "--json").json["action"] == "promote"
    assert closedloop("status", "--json").json["production"] == other
    back = closedloop("rollback", "--json").json
    assert (back["action"], back["version"]) == ("rollback", live)
    assert closedloop("rollback", "--to", "77").code == 4
    assert closedloop("history", "--json").json[-1]["id"] == back["id"]


def test_pruning_says_what_would_go_and_what_went(story: Story) -> None:
    """--dry-run and the pruning itself print the same numbers, for programs and for people; the
    journal loses nothing."""
    before = closedloop("history", "--json").json
    planned = closedloop("prune", "--keep-reports", "0", "--dry-run", "--json").json
    asked = {"versions", "reports", "records", "records_before", "kept_back", "archived"}
    assert set(planned) == asked
    assert planned["reports"] > 0
    said = closedloop("prune", "--keep-reports", "0")
    assert (said.code, said.err) == (0, "")
    assert f"deleted {planned['reports']} drift reports" in said.out
    assert closedloop("prune", "--keep-reports", "0", "--json").json == {**planned, "reports": 0}
    assert closedloop("history", "--json").json == before
