"""The model that answers, and the thread that follows production."""
