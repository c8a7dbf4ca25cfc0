"""Two columns that drift is measured on, and that no window has under these names."""

from __future__ import annotations

PREDICTION, TARGET = "(prediction)", "(target)"
