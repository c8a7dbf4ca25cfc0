"""`python -m closedloop` is `closedloop`."""

import gc
import os
import sys

from closedloop.cli.app import main


def run() -> None:
    """The command `closedloop`, on the arguments and the environment of this process."""
    # Libraries make millions of objects that live as long as the process. Looking for garbage among
    # them takes a fifth of the time to import them, and a second when the process ends.
    gc.set_threshold(50_000)
    code = main(sys.argv[1:], os.environ)
    gc.collect()  # closes databases, of which SQLite's otherwise keep a log beside them
    if "_duckdb" not in sys.modules:  # it prints what it takes for leaks otherwise
        gc.freeze()
    sys.exit(code)


if __name__ == "__main__":
    run()
