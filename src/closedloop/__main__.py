"""`python -m closedloop` is `closedloop`."""

import gc
import os
import sys

from closedloop.cli.app import main


def run() -> None:
    """The command `closedloop`, on the arguments and the environment of this process."""
    # Libraries make millions of objects that live as long as the process. Looking for garbage among
    # them takes a fifth of the time to import them. At the end it has to be looked for: DuckDB
    # prints what it takes for leaks otherwise.
    gc.set_threshold(50_000)
    sys.exit(main(sys.argv[1:], os.environ))


if __name__ == "__main__":
    run()
