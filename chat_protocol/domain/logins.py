"""Logins and logouts on their way to the store."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from chat_protocol.domain.login_rules import is_device
from chat_protocol.domain.messages import Registration
from chat_protocol.domain.ports import ISharedStore, IStore
from chat_protocol.domain.queries import Lookup
from chat_protocol.domain.users import Claim, Session, User
from chat_protocol.errors import Unavailable

__all__ = ["Logins"]


class Logins:
    """Gathers logins and logouts for the next batch, and reports their outcome.

    Args:
        store: an open store.
        request: called when there is something to store.
    """

    def __init__(self, store: IStore, request: Callable[[], None]) -> None:
        self._store = store
        self._shared = ISharedStore.providedBy(store)
        self._request = request
        self._registrations: list[Registration] = []
        self._registered: dict[Registration, Deferred[Registration]] = {}
        self._released: list[Session | Claim] = []
        self._freed: dict[Session | Claim, Deferred[None]] = {}

    def register(self, registration: Registration) -> Deferred[Registration]:
        """Store a login. Fires with the registration, filled in by the store.

        If a store that is not shared cannot write, users can log in from devices that it knows all
        the same, to read their mailboxes.

        Raises:
            Refused: in the Deferred; the rules of login refuse it, in a store that is shared.
            Unavailable: in the Deferred; the store cannot register a new user or device now.
            OutcomeUnknown: in the Deferred; the store cannot tell whether it did.
        """
        registered = self._registered[registration] = Deferred()
        self._registrations.append(registration)
        self._request()
        return registered

    def release(self, session: Session | Claim) -> Deferred[None]:
        """Store that a session has ended. Fires when any process may log its user in.

        The position of its delivery is stored no later than that.
        """
        if not self._shared:
            if _is_tracked(session):
                self._released.append(session)
                self._request()
            return succeed(None)
        freed = self._freed[session] = Deferred()
        self._released.append(session)
        self._request()
        return freed

    # The exchange's side.

    @property
    def coming(self) -> bool:
        """Whether there are logins to store."""
        return bool(self._registrations)

    @property
    def leaving(self) -> bool:
        """Whether there are logouts to store."""
        return bool(self._released)

    def gather(self) -> tuple[list[Registration], list[Session | Claim]]:
        """Return all logins and logouts for the next batch."""
        gathered = self._registrations, self._released
        self._registrations, self._released = [], []
        return gathered

    def stored(self, registrations: list[Registration], released: list[Session | Claim]) -> None:
        """Report that logins and logouts are stored."""
        for registration in registrations:
            registered = self._registered.pop(registration)
            if registered.called:
                # The connection was lost meanwhile: nobody else gives the user up.
                self._give_up(registration)
            elif self._shared and not registration.number:
                registered.errback(registration.refused)
            else:
                registered.callback(registration)
        for session in released:
            freed = self._freed.pop(session, None)
            if freed is not None:
                freed.callback(None)

    def _give_up(self, registration: Registration) -> None:
        """Release the session of a login that was cancelled while it was stored."""
        if registration.number:
            user = User(registration.name)
            user.id = registration.user_id
            claim = Claim(user, registration.token, registration.login)
            claim.number = registration.number
            claim.device_id = registration.device_id
            self._released.append(claim)
            self._request()

    def failed(self, registrations: list[Registration], failure: Failure) -> None:
        """Report that logins have failed."""
        for registration in registrations:
            self._registered.pop(registration).errback(failure)

    def retry(self, released: list[Session | Claim]) -> None:
        """Store logouts with the next batch, because this one has failed."""
        self._released = released + self._released

    async def refused(
        self, registrations: list[Registration], unreadable: Callable[[Exception], None]
    ) -> None:
        """Report that logins are not stored. Registered users can log in all the same.

        Args:
            registrations: those of the batch.
            unreadable: called with the error if the store cannot be read either.
        """
        if not registrations:
            return
        lookups = [Lookup(one.name, one.login.device) for one in registrations]
        if not self._shared:
            # In a cluster only the store knows whether another node has the user.
            try:
                await self._store.read(lookups)
            except Exception as error:
                unreadable(error)
        for lookup, registration in zip(lookups, registrations, strict=True):
            registered = self._registered.pop(registration)
            if not lookup.user_id:
                registered.errback(Unavailable("no new users now, try again later"))
            elif not lookup.known:
                registered.errback(Unavailable("no new devices now, try again later"))
            else:
                registration.user_id, registration.device_id = lookup.user_id, lookup.device_id
                registration.known, registration.has_devices = True, lookup.has_devices
                registered.callback(registration)


def _is_tracked(session: Session | Claim) -> bool:
    """Return whether a store that is not shared needs to know that a session has ended."""
    return session.user.has_devices or (not is_device(session.device) and session.device_id > 0)
