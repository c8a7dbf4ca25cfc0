"""/predict: rows are batched, answered, recorded, and only then sent."""
