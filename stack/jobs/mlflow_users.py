"""The stack's users of MLflow. Run each time the stack comes up, before MLflow's server: each has
the password that the environment has now, and may do what GRANTS says.

`admin` may do everything, also make users: for people. `promoter` (the worker that watches, rolls
back and prunes) may change and delete experiments and models. `trainer` (the worker that trains,
and promotes what was better) may add and change. `reader` (the API) may look at everything.

MLflow asks for the same right to register a version and to move `production`, so `trainer` can do
both. `reader` is held to questions by stack/mlflow/login.py.
"""

from __future__ import annotations

import os
import sys

from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

# For each user, a permission of MLflow and what it is for. A grant on parts wins over that on the
# whole: whoever made an experiment owns it, and yet `trainer` cannot delete its runs.
GRANTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "admin": ("", ()),
    "promoter": ("MANAGE", ("experiment", "registered_model")),
    "trainer": (
        "EDIT",
        ("experiment", "run", "logged_model", "registered_model", "registered_model_version"),
    ),
    "reader": ("", ()),
}


def set_users(database: str) -> None:
    """Create missing MLflow users in `database`, with their grants, and set every password.

    Each is in MLFLOW_NAME_PASSWORD. MLflow takes its admin's from the environment only when it
    makes that user: a changed password, or a database that was restored from another stack's, would
    lock out everybody who has the new one, and these are all parts of the stack. Raises KeyError
    when a password is missing, and MLflow's own errors for one that it does not accept.
    """
    store = SqlAlchemyStore()
    store.init_db(database)
    try:
        for name, (permission, resources) in GRANTS.items():
            password = os.environ[f"MLFLOW_{name.upper()}_PASSWORD"]
            if not store.has_user(name):
                store.create_user(name, password, is_admin=name == "admin")
            elif not store.authenticate_user(name, password):
                store.update_user(name, password=password)
            for resource in resources:
                store.grant_user_permission(name, resource, "*", permission)
            print(f"MLflow's user {name}: there")
    finally:
        store.engine.dispose()


if __name__ == "__main__":
    set_users(sys.argv[1])
