"""What docs/demo.mp4 shows, in order, and what it says about it."""

from __future__ import annotations

import re
from pathlib import Path

from docs.film import Card, Page, Scene

README = Path(__file__).resolve().parents[1] / "README.md"
# The picture of the film is taken below this caption.
STILL = "Prices rise"

_LOOP = """<h1>closedloop</h1>
<h2>A self-hosted closed loop for models that classify rows of a table</h2>
<pre>
new data ──> sound? ──> changed? ──> decide ──> keep
     ^          │                        │
     │          └─> no: call a person    ├─> go back
     │                                   │
     │                                retrain
     │                                   │
  answers <── API <── model in use <── better on the same rows?
                                         │
                                         └─> no: reject
</pre>"""
_END = """<h1>Try it</h1>
<pre>
make demo                                what you saw

closedloop init TABLE --target COLUMN    your own table
closedloop doctor                        what is wrong
closedloop up                            from now on by itself
</pre>"""
_ABOUT = "What it is"
_DEMO = "Seven months in one command"
_WHY = "Why was a candidate rejected?"
_JOURNAL = "Every decision is written down"
_DRIFT = "What drifted"
_UP = "From now on by itself"
_MLFLOW = "The models, in MLflow"
_PREFECT = "The runs and the schedule, in Prefect"
_ASK = "Ask the model, and go back"


def tell() -> list[Card | Scene | Page]:
    """The story; the request is that of README.md."""
    found = re.search(
        r"^curl -s localhost:8080/predict.*?'$", README.read_text("utf-8"), re.M | re.S
    )
    assert found
    request = found[0]
    return [
        Card(
            _ABOUT,
            "A model in use grows old. closedloop watches its data, trains a new one when that "
            "pays, and lets it take over only if it proves better.",
            _LOOP,
        ),
        Card(
            _ABOUT,
            "All you see is one real run on one machine. Only waits are cut: while a command is "
            "at work, the top right says for how long it really was.",
            _LOOP,
        ),
        Scene(
            _DEMO,
            "closedloop demo",
            {
                "": "A streaming service wants to know which customers will leave. Its seven "
                "months of data are made up; what the loop decides about them is not.",
                "^month_000": "The first month. There is no model yet: one is trained. Its AUC, "
                "how well it ranks customers, is 0.79: 0.5 is chance, 1 is perfect. It goes live.",
                "^month_001": "A quiet month. No column has drifted: values are spread as before. "
                "The model is as good as it was, so nothing is done.",
                "^month_002": "A campaign brings other customers: half of the columns drift. A new "
                "model is trained. It beats the old one on the same rows, so it is promoted.",
                "^month_003": "The campaign is over, and on the newest rows version 2 is worse "
                "than version 1. The loop goes back to version 1 by itself.",
                "^month_004": "Prices rise, columns drift, a model is trained. It is worse than "
                "the one in use, so it is rejected. Drift alone never changes what is live.",
                "^month_005": "Broken data: fees are in cents, a column is empty. That is not "
                "drift. Nothing is trained on it, and a person is called.",
                "^month_006": "Sound data again, and customers leave for new reasons. Now a "
                "retrained model is clearly better: version 4 takes over.",
                "^the API answers": "The API now answers with version 4: will this customer "
                "leave, and how probable is that? Here for three customers.",
                "^in the journal": "Seven outcomes, each with the command that shows why. Next, we "
                "ask about number 8, the model that was rejected.",
            },
        ),
        Scene(
            _WHY,
            "closedloop why 8",
            {
                "": "Every check behind decision 8. A gate must hold before a model may take over: "
                "enough rows, good enough by itself, ...",
                "delta on month_004": "... and not worse than the model in use, on the same 4,800 "
                "rows. Two gates fail: over all rows, and among customers with monthly contracts.",
                "golden case six years": "Golden cases are customers whose answer is beyond doubt. "
                "These hold. But one gate that fails is enough: rejected.",
                "^scores on": "For each class: how often its predictions are right, and how many "
                "of its customers are found. In brackets, the model in use on the same rows.",
                "^needed columns": "It also says which columns each model lives on: this candidate "
                "needs the fee nearly twice as much as version 1 does.",
            },
        ),
        Scene(
            _JOURNAL,
            "closedloop history",
            {
                "": "The journal: each decision with its reason and its numbers. In "
                "brackets, how far chance alone could move a number: luck is no progress.",
                "^7 ": "Decisions 6, 8 and 9 protect the customers: back to the former model, no "
                "to a worse one, and nothing learned from broken data.",
            },
        ),
        Scene(
            _JOURNAL,
            "closedloop status",
            {
                "": "What is in production now, what a rollback would bring back, and what became "
                "of every version.",
            },
        ),
        Page(
            _DRIFT,
            "Each look at a month leaves a report for the browser. In this one, of month_006, "
            "nearly half of the columns are spread differently from the data that the model knew.",
            "drift report",
            until="Drifted Columns",
        ),
        Page(
            _DRIFT,
            "Column by column: its spread before, its spread now, and how far apart they are.",
            until="Drift",
            scroll=560,
        ),
        Scene(
            _UP,
            "closedloop up",
            {
                "": "One command starts all that a team needs on one machine. MLflow and Prefect "
                "get a new login at each start; it is hidden here.",
            },
            until="Ctrl-C",
        ),
        Page(
            _MLFLOW,
            "MLflow keeps every version. The name production is on version 4: that is the one "
            "that the API serves. Tags tell what it was made of.",
            "its models",
            until="production",
        ),
        Page(
            _MLFLOW,
            "Each look at a month and each training is a run, with the data it saw and the "
            "version that it made.",
            "/#/experiments/1/runs",
            until="month_006",
        ),
        Page(
            _MLFLOW,
            "Inside a training: all that was measured, the model in use beside the candidate, on "
            "the same rows.",
            click="train month_006",
            until="val_auc",
        ),
        Page(
            _PREFECT,
            "Prefect runs it from now on: monitor looks at the newest data every morning. A person "
            "can start it, or a rollback, with a click.",
            "Prefect",
            until="prune",
        ),
        Page(
            _PREFECT,
            "The months that you saw are here, too, each with its steps, its log and how "
            "long it took.",
            "/runs",
            until="month_006",
            scroll=450,
        ),
        Scene(
            _ASK,
            request,
            {
                "": "Ask the API about one customer. The row is checked before it is scored, and "
                "the answer is recorded before it is given.",
                '^{"model"': "Which class, how probable each is, and which version says so. Once "
                "the truth is known, send it to /labels: these rows are then data to learn from.",
            },
        ),
        Scene(
            _ASK,
            "closedloop rollback",
            {"": "And if a person wants the former model back: one command, at any time."},
        ),
        Scene(
            _ASK,
            "closedloop history --last 2",
            {"": "The journal says that it was a person, and that version 1 was loaded and tried."},
        ),
        Scene(
            _ASK,
            request,
            {
                "": "The API was not restarted. We ask the same question again, ...",
                '^{"model"': "... and now version 1 answers, with other probabilities.",
            },
        ),
        Card(
            "Try it",
            "Everything stays on your machine. README.md and the tutorial go on from here.",
            _END,
        ),
    ]
