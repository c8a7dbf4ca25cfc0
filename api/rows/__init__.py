"""The rows of a request: decoded, checked, packed for the model."""
