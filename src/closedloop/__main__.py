"""`python -m closedloop` is `closedloop`."""

from closedloop.cli.app import main

if __name__ == "__main__":
    main()
