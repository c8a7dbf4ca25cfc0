"""What the API may do in closedloop's database: record answers and labels, read the journal, and
note there what it serves. Nothing that moves production: no decision, no outcome of one, no change.

Run as the owner of the tables, each time the stack comes up, after the tables are there.
"""

from __future__ import annotations

import os

import psycopg

GRANTS = """
GRANT SELECT ON decisions, outcomes, closedloop_alembic_version TO closedloop_api;
GRANT INSERT (key, use_case, kind, action, "window", version, checks, details, cause, at)
    ON decisions TO closedloop_api;
GRANT INSERT ON outcomes TO closedloop_api;
GRANT USAGE ON SEQUENCE decisions_id_seq TO closedloop_api;
GRANT SELECT, INSERT ON answers, answer_keys, shadow_answers TO closedloop_api;
REVOKE UPDATE ON answer_labels FROM closedloop_api;
GRANT SELECT, INSERT, UPDATE (label, at) ON answer_labels TO closedloop_api;
-- What a label was stays as it was.
GRANT SELECT, INSERT ON label_corrections TO closedloop_api;
GRANT SELECT, INSERT, DELETE ON record_probes TO closedloop_api;
GRANT INSERT ON served_minutes TO closedloop_api;

-- Rules for single rows bind every role but the owner.
ALTER TABLE decisions ENABLE ROW LEVEL SECURITY;
ALTER TABLE outcomes ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS everybody_reads ON decisions;
DROP POLICY IF EXISTS everybody_reads ON outcomes;
DROP POLICY IF EXISTS api_notes ON decisions;
DROP POLICY IF EXISTS api_notes ON outcomes;
CREATE POLICY everybody_reads ON decisions FOR SELECT USING (true);
CREATE POLICY everybody_reads ON outcomes FOR SELECT USING (true);
-- A key of another shape would be taken for a decision that was made.
CREATE POLICY api_notes ON decisions FOR INSERT TO closedloop_api WITH CHECK (
    kind = 'serving' AND action = 'serve' AND cause IS NULL
    AND starts_with(key, use_case || '/serving/')
);
CREATE POLICY api_notes ON outcomes FOR INSERT TO closedloop_api WITH CHECK (
    EXISTS (SELECT 1 FROM decisions WHERE id = decision AND kind = 'serving')
);
"""


def grant_rights() -> None:
    """Give the role `closedloop_api` its rights in the database of CLOSEDLOOP_DATABASE_URL.

    Raises psycopg.Error when the server refuses, or when role or tables are missing.
    """
    address = os.environ["CLOSEDLOOP_DATABASE_URL"].replace("+psycopg", "", 1)
    with psycopg.connect(address) as connection:
        connection.execute(GRANTS)
    print("role closedloop_api: has its rights")


if __name__ == "__main__":
    grant_rights()
