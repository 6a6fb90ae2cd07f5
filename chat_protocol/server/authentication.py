"""Authentication: by certificate or by password (twisted.cred), and how guessing is slowed down."""

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

from chat_protocol.domain.names import normalize_username
from chat_protocol.errors import AuthenticationFailed, InvalidUsername, RateLimited

__all__ = ["Authenticator", "IReloadable", "Throttle"]

FREE_GUESSES = 3
"""Wrong passwords for one name from one address that cause no wait."""

FREE_GUESSES_OF_ADDRESS = 20
"""Wrong passwords for all names from one address that cause no wait."""

FREE_GUESSES_OF_NAME = 100
"""Wrong passwords for one name from all addresses that cause no wait. Addresses from which the
right password came are not counted."""

LONGEST_WAIT = 60.0
"""Longest wait in seconds; each further wrong password doubles the wait."""

LONGEST_WAIT_OF_NAME = 5.0
"""Longest wait in seconds for FREE_GUESSES_OF_NAME. It is shorter, because a user at a new
address has to wait for the guesses of others."""

GUESSERS = 10_000
"""Addresses and names with wrong passwords that the server keeps, and as many with the right one.
Above it the server drops the oldest."""


def _same_name(certified: str, name: str) -> bool:
    with suppress(InvalidUsername):
        return normalize_username(certified) == name
    return False


class IReloadable(Interface):
    """A checker that has read passwords from a file."""

    def reload() -> None:
        """Read the file again.

        If that fails, log the reason in one sentence; the passwords that were read last stay valid.
        """


class _IUser(Interface):
    """The avatar of a user: it says that the name may be used, and nothing else."""


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
    """Do nothing: nothing is kept for an avatar."""


class _Guesser:
    """The wrong passwords from an address, for a name, or both."""

    __slots__ = ("free_at", "wrong")

    def __init__(self) -> None:
        self.wrong = 0
        self.free_at = 0.0


class Throttle:
    """Slows guessing down for each address, for each name, and for each name from an address.

    Args:
        clock: measures the waits.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._guessers: OrderedDict[tuple[str, str], _Guesser] = OrderedDict()
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()
        """Addresses from which the right password of a name came, with that name."""

    def check(self, host: str, name: str) -> None:
        """Check whether a password for a name may be tried from an address now.

        Raises:
            RateLimited: there is a wait; the detail says how long.
        """
        now = self._clock.seconds()
        for key, limit, free, _ in self._counted(host, name):
            guesser = self._guessers.get(key)
            wait = guesser.free_at - now if guesser is not None else 0
            if wait > 0:
                of = f" for {name!a}" if key[1] else ""
                here = " from this address" if key[0] else ""
                raise RateLimited(
                    f"too many wrong passwords{of}{here}: {free} are free ({limit}); try again in"
                    f" {int(wait) + 1} s",
                    limit,
                )

    def wrong(self, host: str, name: str) -> None:
        """Count a wrong password."""
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
        """Note the right password.

        It clears the wrong ones for this name from this address, but not those that count for the
        address as a whole: it may know one password and guess others.
        """
        self._guessers.pop((host, name), None)
        self._known.pop((host, name), None)
        self._known[host, name] = None
        if len(self._known) > GUESSERS:
            self._known.popitem(last=False)

    def _counted(self, host: str, name: str) -> Iterator[tuple[tuple[str, str], str, int, float]]:
        """Iterate over what a password counts for.

        Yields:
            The key, the name of the limit, how many wrong passwords are free, the longest wait.
        """
        yield (host, ""), "FREE_GUESSES_OF_ADDRESS", FREE_GUESSES_OF_ADDRESS, LONGEST_WAIT
        yield (host, name), "FREE_GUESSES", FREE_GUESSES, LONGEST_WAIT
        if (host, name) not in self._known:
            yield ("", name), "FREE_GUESSES_OF_NAME", FREE_GUESSES_OF_NAME, LONGEST_WAIT_OF_NAME


class Authenticator:
    """Lets a user in by certificate, or by a password that a cred checker accepts.

    Args:
        checkers: for IUsernamePassword. One that accepts is enough. Without checkers, a certificate
            is needed.
        clock: times the throttle and the timeout.
        version_1: whether version 1 clients, which have no passwords, may log in without one.
        timeout: seconds that a checker may take. Then the login meets a fault.
    """

    def __init__(
        self,
        checkers: Sequence[ICredentialsChecker],
        clock: IReactorTime,
        version_1: bool = False,
        timeout: float = 30.0,
    ) -> None:
        self._checkers = checkers
        self._portal = Portal(_Realm(), checkers)
        self._clock = clock
        self._version_1 = version_1
        self._timeout = timeout
        self._throttle = Throttle(clock)
        self._under_way: set[tuple[str, str]] = set()

    def reload(self) -> None:
        """Have the checkers that have read files read them again."""
        for checker in self._checkers:
            if IReloadable.providedBy(checker):
                IReloadable(checker).reload()

    async def check(
        self,
        host: str,
        name: str,
        password: str | None,
        version: int,
        certified: str | None = None,
    ) -> None:
        """Return if ``name`` may log in from ``host``.

        Args:
            host: the address of the client.
            name: in its normal form.
            password: as in the login; None: there was none.
            version: of the login.
            certified: the name in the valid certificate that the client has shown; None: there is
                no such certificate.

        Raises:
            AuthenticationFailed: the password is wrong or missing, or the certificate has another
                name and there are no checkers.
            RateLimited: too many passwords were wrong, or another one for this name from this
                address is being checked.
        """
        if version == 1 and self._version_1:
            return
        if certified is not None and _same_name(certified, name):
            return
        if not self._checkers:
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
