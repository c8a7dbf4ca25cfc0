"""The database: engine, lock, journal of decisions, and upgrades of the tables."""
