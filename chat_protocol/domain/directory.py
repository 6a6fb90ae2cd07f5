"""The user directory: which names are claimed, and which users are online."""

from __future__ import annotations

from weakref import WeakValueDictionary

from chat_protocol.domain.users import Session, User
from chat_protocol.errors import UserAlreadyLogged

__all__ = ["Directory"]


class Directory:
    """The users that connections are concerned with at the moment.

    Other users are not in memory; the store knows them. A claimed name can be promised to the login
    that takes its session over, so that no other login gets the name in between.
    """

    def __init__(self) -> None:
        self._users: WeakValueDictionary[str, User] = WeakValueDictionary()
        self._claimed: dict[str, User] = {}
        self._promised: set[User] = set()

    def user(self, name: str) -> User:
        """Return the user of a normalized name, registered or not."""
        user = self._users.get(name)
        if user is None:
            user = self._users[name] = User(name)
        return user

    def claim(self, name: str) -> User:
        """Claim a name for a session that is about to begin.

        Raises:
            UserAlreadyLogged: the name is claimed.
        """
        if name in self._claimed:
            raise UserAlreadyLogged(f"{name} is logged in elsewhere")
        user = self._claimed[name] = self.user(name)
        return user

    def claim_next(self, user: User) -> None:
        """Promise a claimed name to a login that takes it over.

        Raises:
            UserAlreadyLogged: the name is promised to another login.
        """
        if user in self._promised:
            raise UserAlreadyLogged(f"{user.name} is being taken over already")
        self._promised.add(user)

    def session_of(self, name: str) -> Session | None:
        """Return the session of a user who is online."""
        user = self._claimed.get(name)
        return user.session if user is not None else None

    def release(self, user: User) -> None:
        """Give up a claim or a promise. The name is free once both are given up."""
        if user in self._promised:
            self._promised.remove(user)
        else:
            del self._claimed[user.name]

    @property
    def online(self) -> list[User]:
        """The users that have a session, in the order of their logins."""
        return [user for user in self._claimed.values() if user.session is not None]
