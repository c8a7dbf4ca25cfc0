"""What every request passes first: API keys, limits, early closing."""
