"""What a version that a real turn made tells about itself, with hostile names in its table."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from markdown_it import MarkdownIt

from closedloop.cli.app import main
from closedloop.decisions.checks import Action
from closedloop.errors import ModelError, RegistryError
from closedloop.settings import Settings
from closedloop.storage.entry import Entry
from closedloop.turn.card import carry_out_with_card, read_card
from closedloop.turn.card_facts import CARD_FACTS_FILE
from closedloop.turn.card_page import write_html, write_markdown
from closedloop.turn.history import History
from closedloop.turn.move_by_hand import promote_by_hand
from closedloop.turn.open import Loop, open_loop
from closedloop.turn.register import (
    EVIDENCE_FILE,
    IMPORTANCE_FILE,
    propose_candidate,
    read_evidence,
    read_importance,
)
from closedloop.turn.take_turn import retrain, write_request

pytestmark = pytest.mark.slow

SCRIPT = "<script>alert(1)</script>"
IMAGE = "<img src=x onerror=alert(2)>"
LINK = "[here](javascript:alert(3))"
CARDS = ["card.md", "card.html"]
COLUMN = f"{IMAGE} | {LINK}"
WINDOWS = (f"2026-01 {IMAGE}", f"2026-02 {LINK}")
LIMITS = f"Never for {SCRIPT} {LINK} \x1b[31m, says | nobody"
LIMITS_IN_TOML = LIMITS.replace("\x1b", "\\u001b")

TOML = f"""
name = "shop"
key = "customer"
target = {{ column = "left", classes = ["no", '{SCRIPT}'] }}
source = {{ root = ".", windows = "2026-*.csv" }}
columns.spend = {{ type = "numeric", minimum = -99, maximum = 99 }}
columns.'{COLUMN}' = {{ type = "categorical", allowed = ['{SCRIPT}', "a//b"] }}
slices = [{{ name = '../{SCRIPT}', column = '{COLUMN}', values = ['{SCRIPT}'] }}]
training.recipes = ["logistic"]
card = {{ intended_use = '{IMAGE}', limits = "{LIMITS_IN_TOML}" }}
policy.promotion = {{ min_rows = 100, min_slice_rows = 50 }}
"""


def make_rows(seed: int) -> pd.DataFrame:
    """Customers of whom those who spend more leave more often, and whose plans are scripts."""
    draw = np.random.default_rng(seed)
    spend = draw.normal(size=600)
    left = draw.random(600) < 1 / (1 + np.exp(-3 * spend))
    return pd.DataFrame(
        {
            "customer": [f"{seed}-{number}" for number in range(600)],
            "spend": spend,
            COLUMN: draw.choice([SCRIPT, "a//b"], 600),
            "left": np.where(left, SCRIPT, "no"),
        }
    )


def train(loop: Loop, window: str) -> Entry:
    history = History(loop, window)
    return retrain(
        history, write_request(history), propose=propose_candidate, act=carry_out_with_card
    )


@pytest.fixture(scope="module")
def turned(
    tmp_path_factory: pytest.TempPathFactory, make_mlflow_tables: Callable[[Path], None]
) -> Loop:
    """Two versions, of which the second is a refit of the first one's recipe."""
    folder = tmp_path_factory.mktemp("card")
    make_mlflow_tables(folder / "home")
    (folder / "loop.toml").write_text(TOML)
    for number, window in enumerate(WINDOWS):
        make_rows(number).to_csv(folder / f"{window}.csv", index=False)
    settings = Settings(home=folder / "home", data=None, database_url=None, mlflow_url=None)
    loop = open_loop(folder / "loop.toml", settings=settings)
    for window in WINDOWS:
        assert train(loop, window).decision.action is Action.PROMOTE
    return loop


def test_a_version_keeps_how_much_it_needs_each_column(
    turned: Loop, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the change against production on the same rows, as numbers, a plot and metrics, and
    `closedloop why` shows it, whatever the columns are called."""
    first, second = (
        read_importance(turned.registry.read_file(version, IMPORTANCE_FILE)) for version in (1, 2)
    )
    assert (first.production, second.production) == (None, 1)
    assert first.columns[0].column == second.columns[0].column == "spend"
    assert (second.window, second.rows) == (WINDOWS[1], 600)
    spend, plan = second.columns
    assert spend.loss > 0.2 > abs(plan.loss)
    assert spend.change is not None
    assert abs(spend.change) < 0.05
    run = turned.registry._client.get_run(turned.registry.version(2).run_id)
    assert run.data.metrics["importance_spend"] == spend.loss
    place = turned.registry.local_file(run.info.run_id, "importance.png")
    assert place is not None
    assert place.read_bytes().startswith(b"\x89PNG")
    monkeypatch.setenv("COLUMNS", "300")
    decision = turned.journal.history("shop")[-1]
    home, path = str(turned.settings.home), str(turned.use_case.path)
    assert main(["why", str(decision.id), "--use-case", path], {"CLOSEDLOOP_HOME": home}) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"needed columns, on 600 rows of {' '.join(WINDOWS[1].split())}" in shown
    assert f"{spend.loss:+.4f} ± {spend.error:.4f}" in shown
    assert f"{spend.change:+.4f} ± {spend.change_error:.4f}" in shown


class Seen(HTMLParser):
    """What a browser makes of a page: its elements with their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def shown(text: str) -> str:
    """A text as pages show it: on one line, with characters for terminals as their escapes."""
    return " ".join(text.replace("\x1b", "\\x1b").split())


def test_a_card_shows_hostile_texts_and_runs_none(turned: Loop) -> None:
    """Scripts, images and links in values, names of slices, columns and windows and in what people
    wrote are text, in HTML and in what a viewer of Markdown that lets HTML in makes of it."""
    page = read_card(turned, 2)
    html, markdown = write_html(page), write_markdown(page)
    rendered = MarkdownIt("commonmark").enable("table").render(markdown)
    asked = {"h1", "h2", "p", "table", "thead", "tbody", "tr", "th", "td"}
    for seen in (Seen(html), Seen(rendered)):
        assert seen.elements - {"meta", "title", "style"} <= asked
        assert {name for name, _ in seen.attributes} <= {"charset", "http-equiv", "content"}
        text = shown(seen.text)
        for hostile in (SCRIPT, COLUMN, *WINDOWS, f"../{SCRIPT}", LIMITS):
            assert shown(hostile) in text
    assert Seen(html).attributes.count(("http-equiv", "Content-Security-Policy")) == 1
    assert "default-src 'none'" in html
    assert "\x1b" not in html + markdown
    assert len(re.findall("<table>", html)) == len(re.findall("<table>", rendered)) > 6


def test_a_card_tells_what_the_decision_was_made_of(turned: Loop) -> None:
    """The numbers are those of the evidence, the windows those of the source with their rows and
    digests, and the decision comes with every check."""
    text = shown(Seen(write_html(read_card(turned, 2))).text)
    evidence = read_evidence(turned.registry.read_file(2, EVIDENCE_FILE))
    entry = turned.journal.history("shop")[-1]
    assert evidence.comparison is not None
    assert f"Decision {entry.id}: promote" in text
    assert all(check.claim in text and check.got in text for check in entry.decision.checks)
    assert f"delta of AUC: {evidence.comparison.delta}" in text
    assert f"{evidence.comparison.candidate.val_auc:.4f} [" in text
    for name in WINDOWS:
        digest = History(turned, name).read(name).facts.digest
        assert f"trained {shown(name)} 600 {digest}".replace(" ", "") in text.replace(" ", "")
    importance = read_importance(turned.registry.read_file(2, IMPORTANCE_FILE))
    assert f"{importance.columns[0].loss:+.4f}" in text
    assert "spendnumericfrom -99 to 995 %yes" in text
    assert "ONNX: it was proved" in text
    assert turned.registry.version(2).digest in text
    assert "scikit-learn" in text
    replaced = shown(Seen(write_html(read_card(turned, 1))).text)
    assert "from version 1 to version 2" in replaced


def test_the_command_prints_and_writes_the_card(
    turned: Loop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As Markdown that acts on no terminal, or as HTML by the name of the file; what the run holds
    is the same."""
    environment = {"CLOSEDLOOP_HOME": str(turned.settings.home)}
    asked = ["card", "2", "--use-case", str(turned.use_case.path)]
    assert main(asked, environment) == 0
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    kept = turned.registry.read_run_files(turned.registry.version(2).run_id, CARDS)
    assert printed.strip() == kept["card.md"].strip()
    for name in CARDS:
        assert main([*asked, "--out", str(tmp_path / name)], environment) == 0
        assert (tmp_path / name).read_text() == kept[name]
    assert main([*asked, "--out", str(tmp_path / "none" / "card.md")], environment) == 2
    assert "wanted a file that can be written" in capsys.readouterr().err


def test_a_version_has_its_card_before_it_is_production(
    turned: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off before `production` moves, the card is there; the same command finishes, and writes
    no other card."""

    def cut_off(*_: object, **__: object) -> bool:
        raise RegistryError(where="MLflow", wanted="an answer", got="none", then="try again")

    window = "2026-03"
    make_rows(3).to_csv(turned.use_case.path.parent / f"{window}.csv", index=False)
    with monkeypatch.context() as patched:
        patched.setattr(turned.registry, "promote", cut_off)
        with pytest.raises(RegistryError):
            train(turned, window)
    run = turned.registry.version(3).run_id
    assert turned.registry.production() == 2
    before = turned.registry.read_run_files(run, CARDS)
    assert list(before) == CARDS
    done = train(turned, window)
    assert (done.outcome, turned.registry.production()) == ("done", 3)
    assert turned.registry.read_run_files(run, CARDS) == before


def test_a_card_of_an_older_release_says_what_was_not_kept(turned: Loop) -> None:
    """Without the files that only newer releases write. A damaged one is named, and keeps no person
    from promoting that version by hand."""
    paths = [
        turned.registry.local_file(turned.registry.version(1).run_id, name)
        for name in (CARD_FACTS_FILE, IMPORTANCE_FILE)
    ]
    for path in paths:
        assert path is not None
        path.rename(path.with_suffix(".away"))
    assert paths[0] is not None
    card = write_markdown(read_card(turned, 1))
    assert card.count("not kept: the release of closedloop that made this version") == 4
    assert "val_auc" in card
    paths[0].write_text('{"windows": 3}')
    with pytest.raises(ModelError, match=r"card.json of version 1: wanted what closedloop wrote"):
        read_card(turned, 1)
    promote_by_hand(turned, 2, act=carry_out_with_card)
    assert promote_by_hand(turned, 1, act=carry_out_with_card).outcome == "done"
    kept = turned.registry.read_run_files(turned.registry.version(2).run_id, CARDS)
    assert "by the person" in kept["card.md"]
