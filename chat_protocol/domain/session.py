"""A user on a connection."""

from __future__ import annotations

from chat_protocol.domain.delivery import Delivery
from chat_protocol.domain.directory import User
from chat_protocol.domain.limits import Limits
from chat_protocol.interfaces import IConnection, IOutput
from chat_protocol.wire.frames import encode_address, encode_route

__all__ = ["Claim", "Session"]


class Claim:
    """A user that a login has taken, before the session begins.

    Args:
        user: who.
        token: of the session that is to be.
    """

    __slots__ = ("number", "token", "user")

    def __init__(self, user: User, token: str) -> None:
        self.user = user
        self.token = token
        self.number = 0
        """See Session."""


class Session:
    """What the server keeps for a user who is on-line.

    Args:
        user: who it is.
        output: of the connection; answers to messages go there.
        connection: held while too much of the session waits for the store.
        delivery: brings the user's messages.
        version: of the login: in it the server speaks of its own accord.
    """

    __slots__ = (
        "_routes",
        "connection",
        "delivery",
        "number",
        "output",
        "outstanding",
        "published",
        "token",
        "user",
        "version",
    )

    def __init__(
        self, user: User, output: IOutput, connection: IConnection, delivery: Delivery, version: int
    ) -> None:
        self.user = user
        self.output = output
        self.connection = connection
        self.delivery = delivery
        self.version = version
        self.number = 0
        """Tells it from others of the user's, in a store that several processes share."""
        self.token = ""
        """Who shows it at a login takes the session over; empty: nobody can."""
        self.outstanding = 0
        """Bytes of messages that have no answer yet."""
        self.published = 0
        """The highest publishing id of which anything is known; those above it are new."""
        self._routes: dict[bytes, User] | None = None

    @property
    def routes(self) -> dict[bytes, User]:
        """The recipients at hand, by the route that a Message to them has, or a Publish."""
        return self._routes if self._routes is not None else _NO_ROUTES

    def remember(self, recipient: User, limits: Limits) -> None:
        """Keep a recipient that exists at hand; past ``limits.routes`` the others go."""
        routes = self._routes
        if routes is None or len(routes) >= limits.routes:
            routes = self._routes = {}
        routes[encode_route(self.user.name, recipient.name)] = recipient
        if self.version > 1:
            routes[encode_address(recipient.name)] = recipient


_NO_ROUTES: dict[bytes, User] = {}
