"""closedloop: watch the data, retrain when it pays, promote only what the same rows prove, go back
in one command."""
