"""`python -m closedloop` is `closedloop`."""

import os
import sys

from closedloop.cli.app import main


def run() -> None:
    """The command `closedloop`, on the arguments and the environment of this process."""
    sys.exit(main(sys.argv[1:], os.environ))


if __name__ == "__main__":
    run()
