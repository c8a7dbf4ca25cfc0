"""One database and one role each for MLflow, Prefect and closedloop, and a role for the API, whose
rights `api_role.py` grants. Run each time the stack comes up: it looks at what is there, and gives
every role the password that the environment has now."""

from __future__ import annotations

import os

import psycopg
from psycopg import sql

NAMES = ("mlflow", "prefect", "closedloop")
API = "closedloop_api"


def prepare_databases() -> None:
    """Create the roles and databases that are missing.

    PGHOST, PGUSER and PGPASSWORD name a superuser, NAME_DB_PASSWORD each role's password. Raises
    KeyError when a password is missing and psycopg.Error when the server refuses.
    """
    with psycopg.connect(dbname="postgres", autocommit=True) as connection:
        for name in (*NAMES, API):
            password = os.environ[f"{name.upper()}_DB_PASSWORD"]
            known = connection.execute(
                "SELECT 1 FROM pg_roles WHERE rolname = %s", [name]
            ).fetchone()
            form = (
                "ALTER ROLE {} LOGIN PASSWORD {}" if known else "CREATE ROLE {} LOGIN PASSWORD {}"
            )
            connection.execute(sql.SQL(form).format(sql.Identifier(name), sql.Literal(password)))
        for name in NAMES:
            if not connection.execute(
                "SELECT 1 FROM pg_database WHERE datname = %s", [name]
            ).fetchone():
                connection.execute(
                    sql.SQL("CREATE DATABASE {} OWNER {}").format(
                        sql.Identifier(name), sql.Identifier(name)
                    )
                )
            # Nobody but its owner has business in a database.
            connection.execute(
                sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name))
            )
            print(f"database {name}: there")
        connection.execute(
            sql.SQL("GRANT CONNECT ON DATABASE closedloop TO {}").format(sql.Identifier(API))
        )


if __name__ == "__main__":
    prepare_databases()
