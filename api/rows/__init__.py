"""Rows of a request: decoded, held by column, packed for the model."""
