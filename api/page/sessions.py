"""Who is logged in: sessions in memory, each with the key that opened it and a token for forms.

A session ends when its key is removed or gets another role, after twelve hours, with a logout, and
when the page restarts.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from api.guard.keys import Keys
from closedloop.operations.api_keys import ApiKey, Role

LIFE_SECONDS = 12 * 3600.0
MOST_SESSIONS = 200
_MOST_RESULTS = 20


@dataclass
class Session:
    """A person who is logged in.

    `results` are what became of the forms that were sent, by form, so that a form that is sent
    twice is carried out once. `token` stands in every form.
    """

    name: str
    role: Role
    until: float
    key: ApiKey | None = None
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    results: dict[str, Future[object]] = field(default_factory=dict)

    @property
    def may_act(self) -> bool:
        """Whether this person may approve, promote and roll back."""
        return self.role is Role.OPERATOR

    def is_token(self, given: str) -> bool:
        """Whether a form comes from a page of this session."""
        return hmac.compare_digest(given.encode(), self.token.encode())

    def remember(self, form: str, result: Future[object]) -> None:
        """Keep what became of a form; of many the oldest are forgotten."""
        self.results[form] = result
        while len(self.results) > _MOST_RESULTS:
            self.results.pop(next(iter(self.results)))


class Sessions:
    """All sessions of the process, at most `MOST_SESSIONS`: the oldest make room.

    `link` is the secret of the link that `closedloop up` prints; whoever has it is an operator
    under the name `owner`.
    """

    def __init__(
        self,
        keys: Keys,
        *,
        link: str | None = None,
        owner: str = "",
        use_case: str = "",
        now: Callable[[], float] | None = None,
    ) -> None:
        self._keys, self._link, self._owner = keys, link, owner
        self._use_case = use_case
        self._now = now or time.monotonic
        self._sessions: dict[str, Session] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def open_with_key(self, secret: str) -> tuple[str, Session] | ApiKey | None:
        """A new session and its id, for the key of a viewer or an operator.

        The key itself when it is a client's or one for other use cases, who have no business here;
        None for any other text.
        """
        key = self._keys.find(secret)
        if key is None or key.role is Role.CLIENT or not key.allows(self._use_case):
            return key
        return self._open(Session(key.name, key.role, self._now() + LIFE_SECONDS, key))

    def open_with_link(self, secret: str) -> tuple[str, Session] | None:
        """A new session and its id, for whoever has the link; None for any other secret."""
        if not self._link or not hmac.compare_digest(secret.encode(), self._link.encode()):
            return None
        return self._open(Session(self._owner, Role.OPERATOR, self._now() + LIFE_SECONDS))

    def find(self, identity: str) -> Session | None:
        """The session of that id, while it lasts."""
        session = self._sessions.get(identity)
        if session is None:
            return None
        if self._now() < session.until and (
            session.key is None or self._keys.still_knows(session.key)
        ):
            return session
        self.close(identity)
        return None

    def close(self, identity: str) -> None:
        """End a session, if there is one of that id."""
        self._sessions.pop(identity, None)

    def _open(self, session: Session) -> tuple[str, Session]:
        while len(self._sessions) >= MOST_SESSIONS:
            self._sessions.pop(next(iter(self._sessions)))
        identity = secrets.token_urlsafe(32)
        self._sessions[identity] = session
        return identity, session
