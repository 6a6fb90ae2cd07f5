"""Who may log in under a name: by certificate, or by password (twisted.cred) and how fast."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import LoginFailed, UnauthorizedLogin
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from zope.interface import Interface, implementer

from chat_protocol.domain.names import normalise_username
from chat_protocol.errors import AuthenticationFailed, InvalidUsername, RateLimited

__all__ = ["Authenticator", "Throttle"]

FREE_GUESSES = 3
"""Wrong passwords for one name from one address before the next has to wait."""

FREE_GUESSES_OF_ADDRESS = 20
"""The same for all names from one address."""

FREE_GUESSES_OF_NAME = 100
"""The same for one name from all addresses, but for those that know its password."""

LONGEST_WAIT = 60.0
"""Seconds; each wrong password doubles the wait up to there."""

LONGEST_WAIT_OF_NAME = 5.0
"""The same for FREE_GUESSES_OF_NAME: who is at a new address, and waits for others' guesses."""

GUESSERS = 10_000
"""Addresses and names with wrong passwords that are kept, and as many that had the right one;
past that the oldest are forgotten."""


def _same_name(certified: str, name: str) -> bool:
    with suppress(InvalidUsername):
        return normalise_username(certified) == name
    return False


class _IUser(Interface):
    """What a login gives: that the name may be used. The session is the server's affair."""


@implementer(IRealm)
class _Realm:
    def requestAvatar(
        self,
        avatarId: Any,
        mind: Any,
        *interfaces: Any,
    ) -> Deferred[Any]:
        return succeed((_IUser, avatarId, _leave))


def _leave() -> None:
    """Nothing is kept for an avatar."""


class _Guesser:
    """An address, with or without a name, that gave wrong passwords."""

    __slots__ = ("free_at", "wrong")

    def __init__(self) -> None:
        self.wrong = 0
        self.free_at = 0.0


class Throttle:
    """Slows guessing down, for each address and name, for each address and for each name.

    Args:
        clock: measures the waits.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._guessers: OrderedDict[tuple[str, str], _Guesser] = OrderedDict()
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()
        """Addresses and names that had the right password."""

    def check(self, host: str, name: str) -> None:
        """RateLimited, saying for how long, while one has to wait."""
        now = self._clock.seconds()
        for key, limit, free, _ in self._counted(host, name):
            guesser = self._guessers.get(key)
            wait = guesser.free_at - now if guesser is not None else 0
            if wait > 0:
                of = f" for {name!a}" if key[1] else ""
                here = " from this address" if key[0] else ""
                raise RateLimited(
                    f"{free} wrong passwords{of}{here} ({limit}), try again in {int(wait) + 1} s",
                    limit,
                )

    def wrong(self, host: str, name: str) -> None:
        """A wrong password: perhaps the next has to wait."""
        for key, _, free, longest in self._counted(host, name):
            guesser = self._guessers.pop(key, None) or _Guesser()
            self._guessers[key] = guesser
            guesser.wrong += 1
            over = guesser.wrong - free
            if over >= 0:
                wait = min(2.0 ** min(over, 10), longest)
                guesser.free_at = self._clock.seconds() + wait
        while len(self._guessers) > GUESSERS:
            self._guessers.popitem(last=False)

    def right(self, host: str, name: str) -> None:
        """The right password: this name starts anew from there; the address does not."""
        self._guessers.pop((host, name), None)
        self._known.pop((host, name), None)
        self._known[host, name] = None
        if len(self._known) > GUESSERS:
            self._known.popitem(last=False)

    def _counted(self, host: str, name: str) -> Iterator[tuple[tuple[str, str], str, int, float]]:
        """What a password counts for: the key, its limit, how many are free, the longest wait."""
        yield (host, ""), "FREE_GUESSES_OF_ADDRESS", FREE_GUESSES_OF_ADDRESS, LONGEST_WAIT
        yield (host, name), "FREE_GUESSES", FREE_GUESSES, LONGEST_WAIT
        if (host, name) not in self._known:
            yield ("", name), "FREE_GUESSES_OF_NAME", FREE_GUESSES_OF_NAME, LONGEST_WAIT_OF_NAME


class Authenticator:
    """Asks cred checkers whether a password is a user's; a certificate needs none.

    Args:
        checkers: for IUsernamePassword; any of them may say yes. They may take their time.
            Without any, only certificates let in.
        clock: for the throttle and for time-outs.
        version_1: whether version 1, which has no passwords, may log in without.
        timeout: seconds after which a checker is given up.
    """

    def __init__(
        self,
        checkers: Sequence[ICredentialsChecker],
        clock: IReactorTime,
        version_1: bool = False,
        timeout: float = 30.0,
    ) -> None:
        self._passwords = bool(checkers)
        self._portal = Portal(_Realm(), checkers)
        self._clock = clock
        self._version_1 = version_1
        self._timeout = timeout
        self._throttle = Throttle(clock)
        self._under_way: set[tuple[str, str]] = set()

    async def check(
        self,
        host: str,
        name: str,
        password: str | None,
        version: int,
        certified: str | None = None,
    ) -> None:
        """Return if ``name`` may log in from ``host``.

        One password at a time is checked for a name and an address.

        Args:
            certified: the name in the certificate that was shown and is good.

        Raises:
            AuthenticationFailed: the password is wrong or missing, the certificate another's.
            RateLimited: too many were, or one is being checked.
        """
        if version == 1 and self._version_1:
            return
        if certified is not None and _same_name(certified, name):
            return
        if not self._passwords:
            raise AuthenticationFailed("a certificate with this name is needed")
        if password is None:
            raise AuthenticationFailed("a password is needed")
        self._throttle.check(host, name)
        key = (host, name)
        if key in self._under_way:
            raise RateLimited("a password for this name is being checked, try again")
        self._under_way.add(key)
        try:
            credentials = UsernamePassword(name.encode(), password.encode())
            asked: Deferred[Any] = self._portal.login(credentials, None, _IUser)
            await asked.addTimeout(self._timeout, self._clock)
        except (UnauthorizedLogin, LoginFailed):
            self._throttle.wrong(host, name)
            raise AuthenticationFailed("the password is wrong") from None
        finally:
            self._under_way.discard(key)
        self._throttle.right(host, name)
