"""What a view raises for something that is not there."""


class NotThere(Exception):
    """Its text says what was asked for; the answer is a 404 that shows it."""
