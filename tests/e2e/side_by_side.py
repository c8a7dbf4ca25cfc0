"""Three use cases on one home, one database and one MLflow; run by itself, it trains one of them.

`python -m tests.e2e.side_by_side FOLDER NAME WINDOW...` trains at a person's request, once for each
window, as `closedloop train` does but without Prefect.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from closedloop.settings import Settings
from closedloop.turn.history import History
from closedloop.turn.open import Loop, open_loop
from closedloop.turn.register import propose_candidate
from closedloop.turn.take_turn import retrain, write_request
from tests.turned_loop import write_loop

# One name is the beginning of the others, and two differ by one sign.
NAMES = ("shop", "shop-2", "shop_2")
WINDOWS = ("2026-02", "2026-03")


@dataclass(frozen=True)
class SideBySide:
    """The folder of all of them, with their common home in it."""

    folder: Path

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def paths(self) -> list[Path]:
        return [self.folder / name / "loop.toml" for name in NAMES]

    @property
    def environment(self) -> Mapping[str, str]:
        return {
            "CLOSEDLOOP_HOME": str(self.home),
            "CLOSEDLOOP_USE_CASES": ",".join(map(str, self.paths)),
        }

    def write(self) -> None:
        """Two have the same columns, the third has one less."""
        for name, path in zip(NAMES, self.paths, strict=True):
            write_loop(path.parent, 3)
            text = path.read_text(encoding="utf-8").replace('name = "shop"', f'name = "{name}"')
            if name == "shop_2":
                text = text.replace('[columns.visits]\ntype = "numeric"\noptional = true\n', "")
            path.write_text(text, encoding="utf-8")

    def open(self, name: str) -> Loop:
        """As a new process would open it."""
        settings = Settings(home=self.home, data=None, database_url=None, mlflow_url=None)
        return open_loop(self.folder / name, settings=settings)

    def train(self, name: str, window: str) -> None:
        """Train and let the rules decide; hold the locks that a flow holds."""
        loop = self.open(name)
        with loop.training_lock("train"):
            history = History(loop, window).look()
            retrain(
                history,
                write_request(history),
                propose=propose_candidate,
                lock=lambda: loop.lock("train"),
            )


if __name__ == "__main__":
    for asked in sys.argv[3:]:
        SideBySide(Path(sys.argv[1])).train(sys.argv[2], asked)
