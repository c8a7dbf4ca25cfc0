"""A search over recipes and their parameters, which registers nothing."""
