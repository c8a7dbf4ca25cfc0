"""What Prefect's clients read from the environment; importing this does not load Prefect."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from urllib.parse import urlsplit


def client_environment(url: str, login: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Variables for clients of our own server at `url` that log in as `user:password`.

    They are additions to `environment`. The header is named by itself, too: the client that waits
    for cancellations sends no other. No proxy gets to see it.
    """
    basic = base64.b64encode(login.encode()).decode()
    direct = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    if direct != "*":
        direct = ",".join(filter(None, [direct, urlsplit(url).hostname]))
    return {
        "PREFECT_API_URL": url,
        "PREFECT_API_AUTH_STRING": login,
        "PREFECT_CLIENT_CUSTOM_HEADERS": json.dumps({"Authorization": f"Basic {basic}"}),
        "no_proxy": direct,
    }
