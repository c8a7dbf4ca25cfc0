"""The revisions of the tables of journal and records; see "Change a table" in CONTRIBUTING.md.

Each file has `revision`, `down_revision` (the previous one) and `upgrade(op)`, which takes
Alembic's `Operations`. There is no downgrade: an upgrade copies a SQLite file first, and you back
up a server. A released file never changes.
"""
