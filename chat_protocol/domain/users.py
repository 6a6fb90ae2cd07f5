"""Users and their sessions."""

from __future__ import annotations

import hmac

from chat_protocol.domain.delivery import Delivery
from chat_protocol.domain.limits import Limits
from chat_protocol.domain.login_rules import NO_NAME, LoginRequest, is_device
from chat_protocol.domain.peer import IConnection, IOutput
from chat_protocol.wire.bulk import MAX_ROUTE
from chat_protocol.wire.commands import Scope
from chat_protocol.wire.frames import encode_address, encode_route
from chat_protocol.wire.types import STRING

__all__ = ["EVERYONE", "Audience", "Claim", "Session", "User"]


class User:
    """A username and what is known about it. At any time there is one object for one name."""

    __slots__ = ("__weakref__", "has_devices", "id", "name", "senders", "sessions")

    def __init__(self, name: str) -> None:
        self.name = name
        self.id = 0
        """The id in the store. 0: it is not known whether there is such a user."""
        self.sessions: tuple[Session, ...] = ()
        """The sessions of the user's devices; empty: the user is offline."""
        self.senders: tuple[Session, ...] = ()
        """The sessions that only ask and send."""
        self.has_devices = False
        """Whether the store keeps a position for each of several devices."""

    @property
    def takes_at_once(self) -> bool:
        """Whether a session of the user can take a message as soon as it is stored.

        Then a full mailbox does not refuse it.
        """
        # Admission asks in the thread of the store, while the reactor may end a session.
        return any(session.delivery.takes_at_once for session in self.sessions)

    def add(self, session: Session) -> None:
        """Add a session."""
        if session.receives:
            self.sessions += (session,)
        else:
            self.senders += (session,)

    def remove(self, session: Session) -> None:
        """Remove a session that has ended."""
        self.sessions = tuple(one for one in self.sessions if one is not session)
        self.senders = tuple(one for one in self.senders if one is not session)


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
    """A login that is under way: it has claimed its device until the session begins.

    Provides login_rules.Holder.

    Args:
        user: the user.
        token: of the session that will begin.
        login: what the login asks for.
    """

    __slots__ = ("device_id", "ends", "login", "number", "token", "trusted", "user", "verified")

    under_way = True

    def __init__(self, user: User, token: str, login: LoginRequest) -> None:
        self.user = user
        self.token = token
        self.login = login
        self.verified = login.verified
        self.trusted = login.verified
        self.ends: tuple[Session, ...] = ()
        """The sessions that end when this one begins."""
        self.number = 0
        self.device_id = 0
        """See Session."""

    @property
    def device(self) -> str:
        """See Session."""
        return self.login.device

    def has_token(self, token: str) -> bool:
        return False


class Session:
    """What the server keeps for a session. Provides login_rules.Holder.

    Args:
        claim: what the login has claimed.
        output: of the connection, for the answers to messages.
        connection: paused while too many bytes of the session wait for the store.
        delivery: brings the user's messages.
    """

    __slots__ = (
        "connection",
        "delivery",
        "device",
        "device_id",
        "encoded_name",
        "number",
        "output",
        "outstanding",
        "published",
        "routes",
        "token",
        "trusted",
        "user",
        "verified",
        "version",
    )

    under_way = False

    def __init__(
        self, claim: Claim, output: IOutput, connection: IConnection, delivery: Delivery
    ) -> None:
        self.user = claim.user
        self.output = output
        self.connection = connection
        self.delivery = delivery
        self.encoded_name = STRING.encode(claim.user.name)
        """The name of the user, as a string of the protocol."""
        self.version = claim.login.version
        """Of the login, and of everything that the server sends on its own."""
        self.device = claim.device
        """The device that logged in; empty: the unnamed one. See login_rules.sender_name."""
        self.device_id = claim.device_id
        """The id of the device in the store. 0: the unnamed one, or it has none."""
        self.number = claim.number
        """Distinguishes the user's sessions in a store that nodes share."""
        self.token = claim.token
        """What a later login can show. Empty: nothing."""
        self.verified = claim.verified
        self.trusted = claim.trusted
        """See login_rules.Holder."""
        self.outstanding = 0
        """Bytes of messages that are not answered yet."""
        self.published = 0
        """The highest publishing id that this session has sent or that was stored before it."""
        self.routes = _NO_ROUTES
        """Audiences that the session keeps at hand, by their bytes in a Message or a Publish."""

    @property
    def receives(self) -> bool:
        """Whether messages are delivered to it."""
        return is_device(self.device)

    @property
    def numbers(self) -> bool:
        """Whether its messages may have publishing ids."""
        return self.device != NO_NAME

    def has_token(self, token: str) -> bool:
        return bool(self.token) and hmac.compare_digest(self.token.encode(), token.encode())

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
