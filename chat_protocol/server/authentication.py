"""Authentication: by certificate or by password (twisted.cred)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import LoginFailed, UnauthorizedLogin
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from zope.interface import Attribute, Interface, implementer

from chat_protocol.domain.names import canonical_username
from chat_protocol.errors import AuthenticationFailed, InvalidUsername, RateLimited
from chat_protocol.server.throttle import Throttle
from chat_protocol.transport.addresses import address_of

__all__ = ["Authenticator", "Credentials", "IReloadable", "certifies"]


def certifies(certified: str, name: str) -> bool:
    """Return whether a certificate with the common name ``certified`` is that of a user."""
    with suppress(InvalidUsername):
        return canonical_username(certified) == name
    return False


class IReloadable(Interface):
    """A checker that has read passwords from a file."""

    readings: int = Attribute("How many times the passwords were read.")

    def reload_if_changed() -> None:
        """Read the file again if it is not the one that was read last."""

    def reload() -> None:
        """Read the file again.

        If that fails, log the reason in one sentence; the passwords that were read last stay valid.
        """


class Credentials(UsernamePassword):
    """A name and a password, with the address of the client that has sent them.

    Args:
        username: of the user.
        password: as in the login.
        host: the address; empty if there is none.
    """

    def __init__(self, username: bytes, password: bytes, host: str) -> None:
        super().__init__(username, password)
        self.host = host


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
        self.takes_passwords = bool(checkers)
        """Whether a password can verify a user; else a certificate is needed."""
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

    @property
    def readings(self) -> int:
        """How many times passwords were read from files, including those that changed just now."""
        total = 0
        for checker in self._checkers:
            if IReloadable.providedBy(checker):
                reloadable = IReloadable(checker)
                reloadable.reload_if_changed()
                total += reloadable.readings
        return total

    def knows(self, host: str, name: str) -> bool:
        """Return whether the right password of a name came from an address lately."""
        return self._throttle.knows(host, name)

    async def check(
        self,
        host: str,
        name: str,
        password: str | None,
        version: int,
    ) -> bool:
        """Return whether the user is verified; False: version 1 needs no password.

        Args:
            host: the address of the client.
            name: in its normal form.
            password: as in the login; None: there was none.
            version: of the login.

        Raises:
            AuthenticationFailed: the password is wrong or missing, or the certificate has another
                name and there are no checkers.
            RateLimited: too many passwords were wrong, or another one for this name from this
                address is being checked.
        """
        if version == 1 and self._version_1:
            return False
        if not self.takes_passwords:
            raise AuthenticationFailed("a certificate with this name is needed")
        if password is None:
            raise AuthenticationFailed("a password is needed")
        key = (address_of(host), name)
        if key in self._under_way:
            raise RateLimited("a password for this name is being checked, try again")
        self._throttle.attempt(host, name)
        self._under_way.add(key)
        try:
            credentials = Credentials(name.encode(), password.encode(), host)
            asked: Deferred[Any] = self._portal.login(credentials, None, _IUser)
            await asked.addTimeout(self._timeout, self._clock)
        except (UnauthorizedLogin, LoginFailed):
            raise AuthenticationFailed("the password is wrong") from None
        except CancelledError:
            # The client has not waited: it could try as many as it likes if that did not count.
            raise
        except BaseException:
            self._throttle.undecided(host, name)
            raise
        finally:
            self._under_way.discard(key)
        self._throttle.right(host, name)
        return True
