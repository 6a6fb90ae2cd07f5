"""The commands of the protocol (docs/protocol.md, "Commands").

Where the versions of a command differ, the name of the version 2 class ends with 2.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from chat_protocol.wire.schema import Needs, Registry, Sender, fields_of
from chat_protocol.wire.types import (
    Byte,
    Properties,
    Recipients,
    String,
    Strings,
    Struct,
    UInt16,
    UInt64,
    array_of,
)

__all__ = [
    "REGISTRY",
    "Ack",
    "Close",
    "CorrelationIdTest",
    "Deliver",
    "Heartbeat",
    "History",
    "HistoryAnswer",
    "Login",
    "Login2",
    "LoginAnswer",
    "Message",
    "Presence",
    "Publish",
    "Response",
    "Response2",
    "Scope",
    "StoredMessage",
    "UserStatus",
    "Users",
    "UsersAnswer",
]

REGISTRY = Registry()


class Scope:
    """The recipients of a message: named users, or every registered user."""

    USERS = 0
    EVERYONE = 1


@REGISTRY.declare(key=0x0001, versions=(1,), sender=Sender.CLIENT, exclusive=True)
@dataclass(frozen=True, slots=True)
class Login:
    """Log in: register the user if necessary and begin a session on this connection."""

    username: String


@dataclass(frozen=True, slots=True)
class LoginAnswer:
    """The answer to a version 2 login: a code, and the properties that the server grants."""

    code: UInt16
    detail: String = ""
    properties: Properties = field(default_factory=dict)


REGISTRY.declare(key=0x8001, versions=(2,), sender=Sender.SERVER)(LoginAnswer)


@REGISTRY.declare(
    key=0x0001, versions=(2,), sender=Sender.CLIENT, answer=LoginAnswer, exclusive=True
)
@dataclass(frozen=True, slots=True)
class Login2:
    """Log in with properties, which docs/protocol.md lists."""

    username: String
    properties: Properties = field(default_factory=dict)


@REGISTRY.declare(
    key=0x0002, versions=(1, 2), sender=Sender.CLIENT | Sender.SERVER, needs=Needs.LOGIN
)
@dataclass(frozen=True, slots=True)
class Message:
    """A message to one user; the server delivers it with correlationId 0."""

    message: String
    from_: String
    to: String
    time: UInt64
    """Chosen by the sender; the server does not interpret or change it."""


@REGISTRY.declare(key=0x0003, versions=(1,), sender=Sender.SERVER)
@dataclass(frozen=True, slots=True)
class Response:
    """The answer to a command of the client."""

    code: UInt16


@REGISTRY.declare(key=0x0003, versions=(2,), sender=Sender.SERVER)
@dataclass(frozen=True, slots=True)
class Response2:
    """The answer to a command of the client, with a detail for people."""

    code: UInt16
    detail: String = ""


@REGISTRY.declare(key=0x0009, versions=(1, 2), sender=Sender.CLIENT)
@dataclass(frozen=True, slots=True)
class CorrelationIdTest:
    """Answered with OK after a random delay of up to 4 s."""


@REGISTRY.declare(key=0x0102, versions=(2,), sender=Sender.CLIENT, needs=Needs.LOGIN)
@dataclass(frozen=True, slots=True)
class Publish:
    """A message to users or to everyone; the server stores it once, even if it is sent again."""

    publishing_id: UInt64
    message: String
    scope: Byte
    to: Recipients
    time: UInt64


@REGISTRY.declare(key=0x0108, versions=(2,), sender=Sender.SERVER)
@dataclass(frozen=True, slots=True)
class Deliver:
    """A message for this session, with its permanent offset."""

    offset: UInt64
    message: String
    from_: String
    scope: Byte
    to: Strings
    time: UInt64


@REGISTRY.declare(key=0x010A, versions=(2,), sender=Sender.CLIENT, needs=Needs.LOGIN)
@dataclass(frozen=True, slots=True)
class Ack:
    """Acknowledge all messages up to an offset; not answered."""

    offset: UInt64


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message in a HistoryAnswer."""

    offset: UInt64
    message: String
    from_: String
    scope: Byte
    to: Strings
    time: UInt64


@REGISTRY.declare(key=0x810B, versions=(2,), sender=Sender.SERVER)
@dataclass(frozen=True, slots=True)
class HistoryAnswer:
    """The answer to History: messages, oldest first."""

    code: UInt16
    detail: String = ""
    messages: Annotated[
        tuple[StoredMessage, ...],
        array_of(Struct("Stored", StoredMessage, fields_of(StoredMessage))),
    ] = ()


@REGISTRY.declare(
    key=0x010B,
    versions=(2,),
    sender=Sender.CLIENT,
    needs=Needs.LOGIN,
    answer=HistoryAnswer,
    exclusive=True,
)
@dataclass(frozen=True, slots=True)
class History:
    """Request the newest messages of a conversation that have an offset below a given one."""

    with_: String
    before: UInt64
    limit: UInt16


@dataclass(frozen=True, slots=True)
class UserStatus:
    """A user in a UsersAnswer."""

    username: String
    online: Byte
    last_login: UInt64
    """Nanoseconds since the epoch."""


@REGISTRY.declare(key=0x810F, versions=(2,), sender=Sender.SERVER)
@dataclass(frozen=True, slots=True)
class UsersAnswer:
    """The answer to Users: users, in the byte order of their names."""

    code: UInt16
    detail: String = ""
    users: Annotated[
        tuple[UserStatus, ...], array_of(Struct("User", UserStatus, fields_of(UserStatus)))
    ] = ()


@REGISTRY.declare(
    key=0x010F,
    versions=(2,),
    sender=Sender.CLIENT,
    needs=Needs.LOGIN,
    answer=UsersAnswer,
    exclusive=True,
)
@dataclass(frozen=True, slots=True)
class Users:
    """Request the users whose names sort after a given name."""

    after: String
    limit: UInt16


@REGISTRY.declare(key=0x0110, versions=(2,), sender=Sender.SERVER)
@dataclass(frozen=True, slots=True)
class Presence:
    """A user went online or offline."""

    username: String
    online: Byte
    time: UInt64
    """Nanoseconds since the epoch."""


@REGISTRY.declare(key=0x0116, versions=(2,), sender=Sender.CLIENT | Sender.SERVER)
@dataclass(frozen=True, slots=True)
class Close:
    """Announce the end of the connection, with the reason."""

    code: UInt16
    reason: String


@REGISTRY.declare(key=0x0117, versions=(2,), sender=Sender.CLIENT)
@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Keep the connection alive; the server answers with OK."""
