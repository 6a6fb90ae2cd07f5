"""Logins and logouts on their way to the store."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from twisted.internet.defer import Deferred, succeed

from chat_protocol.domain.batch import Lookup, Registration
from chat_protocol.domain.session import Claim, Session
from chat_protocol.errors import Unavailable, UserAlreadyLogged
from chat_protocol.interfaces import ISharedStore, IStore

__all__ = ["GatheredLogins", "Logins"]


class GatheredLogins(NamedTuple):
    """Those that are stored together."""

    registrations: list[tuple[Registration, Deferred[Registration]]]
    released: list[tuple[Session | Claim, Deferred[None]]]


class Logins:
    """Gathers logins and logouts, and hands out what became of them.

    Args:
        store: an open one.
        request: called when there is something to store.
    """

    def __init__(self, store: IStore, request: Callable[[], None]) -> None:
        self._store = store
        self._shared = ISharedStore.providedBy(store)
        self._request = request
        self._registrations: list[tuple[Registration, Deferred[Registration]]] = []
        self._released: list[tuple[Session | Claim, Deferred[None]]] = []

    def register(
        self, name: str, when: int, token: str = "", shown: str = ""
    ) -> Deferred[Registration]:
        """Store a login; fires with the store's answer.

        Where a store that is this process' own cannot write, a user who is known gets in all the
        same, to read.

        Args:
            name: of the user.
            when: nanoseconds since the epoch.
            token: see Registration.
            shown: see Registration.

        Raises:
            UserAlreadyLogged: in the Deferred; the user has a session in another process.
            Unavailable: in the Deferred; the store cannot take a new user now.
        """
        registered: Deferred[Registration] = Deferred()
        self._registrations.append((Registration(name, when, token, shown), registered))
        self._request()
        return registered

    def release(self, session: Session | Claim) -> Deferred[None]:
        """A session is over; fires when any process may log its user in.

        What was taken from its mailbox is stored before that.
        """
        if not self._shared:
            return succeed(None)
        released: Deferred[None] = Deferred()
        self._released.append((session, released))
        self._request()
        return released

    # The exchange's side.

    @property
    def coming(self) -> bool:
        """Whether there are logins to store."""
        return bool(self._registrations)

    @property
    def leaving(self) -> bool:
        """Whether there are logouts to store."""
        return bool(self._released)

    def gather(self) -> GatheredLogins:
        """All that there are; they are stored next."""
        gathered = GatheredLogins(self._registrations, self._released)
        self._registrations, self._released = [], []
        return gathered

    def stored(self, gathered: GatheredLogins) -> None:
        """They are stored: say so."""
        for registration, registered in gathered.registrations:
            if registration.failed:
                registered.errback(Unavailable("no logins now, try again later"))
            elif self._shared and not registration.number:
                registered.errback(UserAlreadyLogged(f"{registration.name} is logged in elsewhere"))
            else:
                registered.callback(registration)
        for _, freed in gathered.released:
            freed.callback(None)

    async def refused(
        self, gathered: GatheredLogins, unreadable: Callable[[Exception], None]
    ) -> None:
        """They are not stored; logouts are tried again with the next batch.

        Args:
            gathered: what :meth:`gather` gave.
            unreadable: told of an error where the store cannot be read either.
        """
        registrations = gathered.registrations
        self._released = gathered.released + self._released
        if not registrations:
            return
        if self._shared:
            # Only the store knows whether another process has the user.
            for _, registered in registrations:
                registered.errback(Unavailable("no logins now, try again later"))
            return
        lookups = [Lookup(registration.name) for registration, _ in registrations]
        try:
            await self._store.read(lookups)
        except Exception as error:
            unreadable(error)
        for lookup, (registration, registered) in zip(lookups, registrations, strict=True):
            if lookup.user_id:
                registration.user_id = lookup.user_id
                registered.callback(registration)
            else:
                registered.errback(Unavailable("no new users now, try again later"))
