"""Tokens of sessions, as far as they stand for a password."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable

from chat_protocol.domain.users import Session

__all__ = ["TOKENS", "EndedTokens"]

TOKENS = 100_000
"""Tokens of ended sessions that are kept. Above it the oldest one is dropped, and its user has to
give the password again."""


class EndedTokens:
    """The tokens of verified sessions that have ended. Each stands for the password once.

    Args:
        seconds: how long after the end of its session a token is kept; 0: not at all.
        clock: returns seconds.
    """

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._kept: OrderedDict[str, tuple[str, float]] = OrderedDict()
        """Name of the user, and the time at which it ends; the oldest first."""

    def ended(self, session: Session) -> None:
        """Keep the token of a session that has ended, if it stands for the password."""
        if not (session.verified and session.receives and self._seconds):
            return
        now = self._clock()
        while self._kept and (
            len(self._kept) >= TOKENS or next(iter(self._kept.values()))[1] <= now
        ):
            self._kept.popitem(last=False)
        self._kept[session.token] = session.user.name, now + self._seconds

    def stands_for(self, name: str, token: str) -> bool:
        """Return whether a token stands for the password of a user."""
        user, until = self._kept.get(token, ("", 0.0))
        return user == name and self._clock() < until

    def spend(self, token: str, sessions: Iterable[Session]) -> None:
        """Let a token stand for the password no more, be its session ended or not."""
        self._kept.pop(token, None)
        for session in sessions:
            if session.has_token(token):
                session.verified = False

    def forget(self, sessions: Iterable[Session]) -> None:
        """Let no token stand for a password: the passwords may be others now."""
        self._kept.clear()
        for session in sessions:
            session.verified = False
