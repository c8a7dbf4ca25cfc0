"""The page of a small loop without any version, and people who look at it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from httpx import Response

from api.guard.keys import open_keys
from api.page.app import create_page
from closedloop.operations.api_keys import Role, add_key
from closedloop.turn.open import Loop
from tests.turned_loop import write_loop

PORT = 8001
ADDRESS = f"http://127.0.0.1:{PORT}"
LINK = "the-secret-of-the-link"
TOKEN = re.compile(r'name="token" value="([^"]+)"')


class Visitor:
    """A browser: it keeps cookies, and names its page with each form."""

    def __init__(self, app: object) -> None:
        self.client = TestClient(app, base_url=ADDRESS, follow_redirects=False)  # type: ignore[arg-type]

    def get(self, path: str, **headers: str) -> Response:
        return self.client.get(path, headers=_named(headers))

    def post(self, path: str, fields: dict[str, str], **headers: str) -> Response:
        sent = {"Origin": ADDRESS, **_named(headers)}
        return self.client.post(path, data=fields, headers=sent)

    def token(self, path: str) -> str:
        """The token of the last form on a page."""
        return TOKEN.findall(self.get(path).text)[-1]

    def log_in(self, key: str, there: str = "/", **headers: str) -> Response:
        fields = {"token": self.token("/login"), "next": there, "key": key}
        return self.post("/login", fields, **headers)


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


@dataclass
class Place:
    """A page, the loop that it shows, and its file of keys."""

    loop: Loop
    app: object

    @property
    def keys_file(self) -> Path:
        return self.loop.settings.keys_file

    def visitor(self) -> Visitor:
        return Visitor(self.app)

    def add_key(self, name: str, role: Role) -> str:
        return add_key(self.keys_file, name, role)

    def logged_in(self, role: Role, name: str = "") -> Visitor:
        """Somebody with a key of that role, logged in."""
        visitor = self.visitor()
        assert visitor.log_in(self.add_key(name or role.value, role)).status_code == 303
        return visitor


@pytest.fixture
def place(
    tmp_path: Path,
    make_mlflow_tables: Callable[[Path], None],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Place]:
    """The page on this machine, before there is a key."""
    monkeypatch.setattr("api.guard.keys.LOOK_SECONDS", 0.0)
    turned = write_loop(tmp_path / "shop", 1)
    make_mlflow_tables(turned.settings.home_folder)
    loop = turned.open()
    keys = open_keys(loop.settings.keys_file, "127.0.0.1", what="the page")
    yield Place(
        loop,
        create_page(loop, keys, host="127.0.0.1", port=PORT, link=LINK, owner="root@host"),
    )
    loop.engine.dispose()
