"""One database and one role each for MLflow, Prefect and closedloop. Run each time the stack comes up: it looks at what is there, and gives
every role, and MLflow's user `admin`, the password that the environment has now."""

from __future__ import annotations

import os

import psycopg
from psycopg import sql
from werkzeug.security import check_password_hash, generate_password_hash

NAMES = ("mlflow", "prefect", "closedloop")


def prepare_databases() -> None:
    """Make what is missing; PGHOST, PGUSER and PGPASSWORD name a superuser, NAME_DB_PASSWORD each role's password.

    Raises KeyError when a password is missing and psycopg.Error when the server refuses.
    """
    with psycopg.connect(dbname="postgres", autocommit=True) as connection:
        for name in NAMES:
            password = os.environ[f"{name.upper()}_DB_PASSWORD"]
            known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name]).fetchone()
            form = "ALTER ROLE {} LOGIN PASSWORD {}" if known else "CREATE ROLE {} LOGIN PASSWORD {}"
            connection.execute(sql.SQL(form).format(sql.Identifier(name), sql.Literal(password)))
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
                connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(name)))
            # Nobody but its owner has business in a database.
            connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name)))
            print(f"database {name}: there")


def set_admin_password() -> None:
    """Give MLflow's `admin` the password MLFLOW_ADMIN_PASSWORD, if there is such a user yet and its password is another one.

    MLflow takes it from its environment only when it makes the user: a changed password, or a database that was restored from another
    stack's, would lock everybody out who has the new one, and these are all parts of the stack. Raises like `prepare_databases`.
    """
    password = os.environ["MLFLOW_ADMIN_PASSWORD"]
    with psycopg.connect(dbname="mlflow") as connection:
        if connection.execute("SELECT to_regclass('public.users')").fetchone() == (None,):
            return  # the server makes its tables, and this user, when it starts
        found = connection.execute("SELECT password_hash FROM users WHERE username = 'admin'").fetchone()
        if found and not check_password_hash(found[0], password):
            connection.execute("UPDATE users SET password_hash = %s WHERE username = 'admin'", [generate_password_hash(password)])
            print("MLflow's admin: has the password of the environment now")


if __name__ == "__main__":
    prepare_databases()
    set_admin_password()
