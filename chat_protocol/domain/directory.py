"""Who is known and who is on-line."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from chat_protocol.errors import UserAlreadyLogged

if TYPE_CHECKING:
    from chat_protocol.domain.session import Session

__all__ = ["Directory", "User"]


class User:
    """A name, and what is known of it. There is one object for a name at any time."""

    __slots__ = ("__weakref__", "id", "name", "session")

    def __init__(self, name: str) -> None:
        self.name = name
        self.id = 0
        """The store's number for it; 0 while it is not known whether there is such a user."""
        self.session: Session | None = None
        """The one that is on-line."""


class Directory:
    """The users somebody is concerned with just now.

    Users who are off-line and whom nobody writes to are not in memory: the store knows them.
    A name can be promised to one that is to follow its session: whatever becomes of the session,
    nobody else gets the name in between.
    """

    def __init__(self) -> None:
        self._users: WeakValueDictionary[str, User] = WeakValueDictionary()
        self._claimed: dict[str, User] = {}
        self._promised: set[User] = set()

    def user(self, name: str) -> User:
        """The user of a normalised name, known or not."""
        user = self._users.get(name)
        if user is None:
            user = self._users[name] = User(name)
        return user

    def claim(self, name: str) -> User:
        """Take a name for a session that is about to begin.

        Raises:
            UserAlreadyLogged: somebody has it.
        """
        if name in self._claimed:
            raise UserAlreadyLogged(f"{name} is logged in elsewhere")
        user = self._claimed[name] = self.user(name)
        return user

    def claim_next(self, user: User) -> None:
        """Have a user's name change hands when it is released.

        Raises:
            UserAlreadyLogged: it is promised to another.
        """
        if user in self._promised:
            raise UserAlreadyLogged(f"{user.name} is being taken over already")
        self._promised.add(user)

    def session_of(self, name: str) -> Session | None:
        """The session of a user who is on-line."""
        user = self._claimed.get(name)
        return user.session if user is not None else None

    def release(self, user: User) -> None:
        """One that has the name, or was promised it, gives it up; of the last it is free."""
        if user in self._promised:
            self._promised.remove(user)
        else:
            del self._claimed[user.name]

    @property
    def online(self) -> list[User]:
        """The users that have a session, in the order of their logins."""
        return [user for user in self._claimed.values() if user.session is not None]
