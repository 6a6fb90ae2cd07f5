"""Logins and logouts on their way to the store."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from chat_protocol.domain.messages import Registration
from chat_protocol.domain.ports import ISharedStore, IStore
from chat_protocol.domain.queries import Lookup
from chat_protocol.domain.users import Claim, Session, User
from chat_protocol.errors import Unavailable, UserAlreadyLogged

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

    def register(
        self, name: str, when: int, token: str = "", shown: str = ""
    ) -> Deferred[Registration]:
        """Store a login. Fires with the registration, filled in by the store.

        If a store that is not shared cannot write, registered users can log in all the same, to
        read their mailboxes.

        Args:
            name: of the user.
            when: nanoseconds since the epoch.
            token: see Registration.
            shown: see Registration.

        Raises:
            UserAlreadyLogged: in the Deferred; the user has a session in another process.
            Unavailable: in the Deferred; the store cannot register a new user now.
            OutcomeUnknown: in the Deferred; the store cannot tell whether it did.
        """
        registration = Registration(name, when, token, shown)
        registered = self._registered[registration] = Deferred()
        self._registrations.append(registration)
        self._request()
        return registered

    def release(self, session: Session | Claim) -> Deferred[None]:
        """Store that a session has ended. Fires when any process may log its user in.

        The position of its delivery is stored no later than that.
        """
        if not self._shared:
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
                registered.errback(UserAlreadyLogged(f"{registration.name} is logged in elsewhere"))
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
            claim = Claim(user, registration.token)
            claim.number = registration.number
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
        lookups = [Lookup(registration.name) for registration in registrations]
        if not self._shared:
            # In a cluster only the store knows whether another node has the user.
            try:
                await self._store.read(lookups)
            except Exception as error:
                unreadable(error)
        for lookup, registration in zip(lookups, registrations, strict=True):
            registered = self._registered.pop(registration)
            if lookup.user_id:
                registration.user_id = lookup.user_id
                registered.callback(registration)
            else:
                registered.errback(Unavailable("no new users now, try again later"))
