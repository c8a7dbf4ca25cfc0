"""Work on an installation: prune, API keys, child processes, moving to other stores."""
