"""loop.toml, read into one frozen use case."""
