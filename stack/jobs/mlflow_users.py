"""The stack's two users of MLflow: `admin`, who may do everything, and `reader`, who may look at
everything and change nothing. Run each time the stack comes up, before MLflow's server: both have
the password that the environment has now."""

from __future__ import annotations

import os
import sys

from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

USERS = {"admin": True, "reader": False}


def set_users(database: str) -> None:
    """Create missing MLflow users in `database` and set each password to MLFLOW_NAME_PASSWORD.

    MLflow takes its admin's from the environment only when it makes that user: a changed password,
    or a database that was restored from another stack's, would lock out everybody who has the new
    one, and these are all parts of the stack. Raises KeyError when a password is missing, and
    MLflow's own errors for one that it does not accept.
    """
    store = SqlAlchemyStore()
    store.init_db(database)
    try:
        for name, is_admin in USERS.items():
            password = os.environ[f"MLFLOW_{name.upper()}_PASSWORD"]
            if not store.has_user(name):
                store.create_user(name, password, is_admin=is_admin)
            elif not store.authenticate_user(name, password):
                store.update_user(name, password=password)
            print(f"MLflow's user {name}: there")
    finally:
        store.engine.dispose()


if __name__ == "__main__":
    set_users(sys.argv[1])
