"""The database: engine, lock, journal of decisions, and the revisions of the tables."""
