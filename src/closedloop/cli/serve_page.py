"""The page with its real parts."""

from __future__ import annotations

from urllib.parse import urlsplit

from api.guard.keys import open_keys
from api.page.app import LIMITS, create_page
from api.page.health import make_checkups
from api.server import run
from closedloop.cli.service import refuse_taken
from closedloop.cli.session import Session
from closedloop.turn.open import Loop


def serve_page(session: Session, loop: Loop, host: str, port: int, link: str | None) -> None:
    """Serve until stopped; `link` is the secret that lets in whoever started this.

    Raises ClosedLoopError when the address cannot be used, or when other machines could reach it
    and there is no key.
    """
    settings = loop.settings
    refuse_taken(host, port, then="choose another --port, or stop what uses it")
    keys = open_keys(settings.keys_file, host, settings.api_key, what="the page")
    page = create_page(
        loop,
        keys,
        host=host,
        port=port,
        further_hosts=(*settings.further_hosts, *_host_of(settings.page_url)),
        secure=(settings.page_url or "").startswith("https:"),
        link=link,
        owner=session.person,
        checkups=make_checkups(str(loop.use_case.path)),
    )
    address = settings.page_link if settings.page_url else _address(host, port)
    session.print_line(f"the page: {address}")
    run(page, host, port, patience_seconds=LIMITS.request_seconds + 1)


def _address(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _host_of(url: str | None) -> tuple[str, ...]:
    name = urlsplit(url or "").hostname
    return (name,) if name else ()
