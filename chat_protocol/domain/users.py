"""Users and their sessions."""

from __future__ import annotations

from chat_protocol.domain.delivery import Delivery
from chat_protocol.domain.limits import Limits
from chat_protocol.domain.peer import IConnection, IOutput
from chat_protocol.wire.bulk import MAX_ROUTE
from chat_protocol.wire.commands import Scope
from chat_protocol.wire.frames import encode_address, encode_route
from chat_protocol.wire.types import STRING

__all__ = ["EVERYONE", "Audience", "Claim", "Session", "User"]


class User:
    """A username and what is known about it. At any time there is one object for one name."""

    __slots__ = ("__weakref__", "id", "name", "session")

    def __init__(self, name: str) -> None:
        self.name = name
        self.id = 0
        """The id in the store. 0: it is not known whether there is such a user."""
        self.session: Session | None = None
        """The user's session; None: the user is offline."""

    @property
    def takes_at_once(self) -> bool:
        """Whether the user's session can take a message as soon as it is stored.

        Then a full mailbox does not refuse it.
        """
        # Admission asks in the thread of the store, while the reactor may end the session.
        session = self.session
        return session is not None and session.delivery.takes_at_once


class Audience:
    """The users that a message goes to: one, several, or everyone.

    Args:
        recipients: each once, in the order that the sender chose. None: everyone but the sender.
    """

    __slots__ = ("address", "recipients", "scope", "tail", "to")

    def __init__(self, *recipients: User) -> None:
        self.recipients = recipients
        self.scope = Scope.USERS if recipients else Scope.EVERYONE
        self.to = tuple(user.name for user in recipients)
        self.address = encode_address(self.scope, self.to)
        """Scope and names as in the bytes of a Publish and a Deliver."""
        self.tail = STRING.encode(self.to[0] if len(self.to) == 1 else "")
        """The last string in the frames of an Entry."""


EVERYONE = Audience()


class Claim:
    """A username that a login has claimed, until the session begins.

    Args:
        user: the user of that name.
        token: of the session that will begin.
    """

    __slots__ = ("number", "token", "user")

    def __init__(self, user: User, token: str) -> None:
        self.user = user
        self.token = token
        self.number = 0
        """See Session."""


class Session:
    """What the server keeps for a user who is online.

    Args:
        user: the user.
        output: of the connection, for the answers to messages.
        connection: paused while too many bytes of the session wait for the store.
        delivery: brings the user's messages.
        version: of the login, and of everything that the server sends on its own.
    """

    __slots__ = (
        "connection",
        "delivery",
        "device",
        "number",
        "output",
        "outstanding",
        "published",
        "routes",
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
        self.device = ""
        """The device that logged in; empty: the unnamed one."""
        self.number = 0
        """Distinguishes the user's sessions in a store that nodes share."""
        self.token = ""
        """A login that shows it takes the session over. Empty: no login can."""
        self.outstanding = 0
        """Bytes of messages that are not answered yet."""
        self.published = 0
        """The highest publishing id that this session has sent or that was stored before it."""
        self.routes = _NO_ROUTES
        """Audiences that the session keeps at hand, by their bytes in a Message or a Publish."""

    def remember(self, audience: Audience, limits: Limits) -> None:
        """Keep an audience at hand, all of whose users exist.

        Above ``limits.routes`` all others are dropped. Publishes with an address longer than
        MAX_ROUTE are decoded one by one.
        """
        keys = [audience.address] if self.version > 1 else []
        if len(audience.to) == 1:
            # A client of version 2 may send Messages of version 1 as well.
            keys.append(encode_route(self.user.name, audience.to[0]))
        if len(audience.address) > MAX_ROUTE or all(key in self.routes for key in keys):
            return
        if self.routes is _NO_ROUTES or len(self.routes) >= limits.routes * len(keys):
            self.routes = {}
        self.routes.update(dict.fromkeys(keys, audience))


_NO_ROUTES: dict[bytes, Audience] = {}
"""Shared by the sessions that have sent nothing; never changed."""
