"""The tables of journal and records, revision by revision, from the first release on; see
CONTRIBUTING.md, "Change a table".

Each file has `revision`, `down_revision` (the one before it) and `upgrade(op)`, whose argument is
Alembic's `Operations`. There is no way down: before an upgrade there is a copy of the SQLite file,
or your own backup of the server. A file that was released is never changed.
"""
