"""The hot path of /predict: batched, answered, recorded first."""
