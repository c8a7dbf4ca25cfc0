"""MLflow's login, with a user `reader` who writes nothing. `basic_auth.ini` names it.

MLflow itself lets every user make experiments and models under new names, and own them.
"""

from __future__ import annotations

from flask import Response, request
from mlflow.server.auth import authenticate_request_basic_auth, make_forbidden_response
from werkzeug.datastructures import Authorization

# MLflow asks these with POST, too.
_QUESTIONS = ("/search", "/search-datasets", "/graphql")


def authenticate() -> Authorization | Response:
    """Who asks; or the refusal to send instead, 401 or 403."""
    found = authenticate_request_basic_auth()
    asks = request.method in ("GET", "HEAD") or request.path.endswith(_QUESTIONS)
    if isinstance(found, Authorization) and found.username == "reader" and not asks:
        return make_forbidden_response()
    return found
