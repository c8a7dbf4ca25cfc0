"""The frame around every view: templates, what stands in all of them, and cookies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse

from api.page.charts.svg import shown
from api.page.sessions import Session
from closedloop.shown_text import printable


@dataclass(frozen=True)
class Frame:
    """What every template finds as `page`.

    `here` is the address of the view; `links` are the navigation, address and name; `session` is
    None for somebody who is not logged in, whom `open_to_all` lets read.
    """

    use_case: str
    here: str
    links: Sequence[tuple[str, str]]
    session: Session | None
    open_to_all: bool

    @property
    def may_act(self) -> bool:
        """Whether actions are offered as such; otherwise they lead to the login."""
        return self.session is not None and self.session.may_act


class Templates:
    """The templates of this package: everything in them is escaped, and nothing may be missing."""

    def __init__(self) -> None:
        self._environment = Environment(
            loader=PackageLoader("api.page"),
            autoescape=True,
            undefined=StrictUndefined,
            finalize=show_value,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {"when": show_time, "brief": show_brief}

    def render(self, name: str, frame: Frame, facts: Mapping[str, Any]) -> str:
        """The HTML of a template."""
        return self._environment.get_template(name).render({**facts, "page": frame})

    def answer(
        self, name: str, frame: Frame, facts: Mapping[str, Any], status: int = 200
    ) -> HTMLResponse:
        """The answer that shows a template."""
        return HTMLResponse(self.render(name, frame, facts), status)


def show_value(value: Any) -> Any:
    """A value as it is shown: control characters of a text as their escapes, nothing for None."""
    if value is None:
        return ""
    # What is Markup was made here, of parts that went through this.
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def show_time(moment: datetime) -> str:
    """A moment as people read it, in UTC."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def show_brief(value: Any, longest: int = 40) -> str:
    """A text from outside on one line, not longer than there is room."""
    return shown("" if value is None else str(value), longest)


def read_cookie(request: Request, name: str) -> str:
    """The value of a cookie, empty without it."""
    return request.cookies.get(name, "")
