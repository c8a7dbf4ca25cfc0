"""Windows of rows: where they come from, how they are read, ordered, checked and spelled."""
