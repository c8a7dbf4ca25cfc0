"""What `closedloop init` makes of tables that nobody has described: the draft of a loop.toml."""
