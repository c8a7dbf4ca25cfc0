"""Where people find the page of a use case, for what they are told."""

from __future__ import annotations

from closedloop.operations.access.servers_file import find_running, name_page
from closedloop.turn.open import Loop


def find_page(loop: Loop) -> str:
    """The page that `closedloop up` runs for this use case, else CLOSEDLOOP_PAGE_URL; may be empty.

    It has no slash at its end.
    """
    running = find_running(loop.settings.home_folder).get(name_page(loop.use_case.name))
    return (running.address if running else loop.settings.page_url or "").rstrip("/")
