"""One turn of the loop: observe, decide, write down, carry out; and retrain when asked to."""
