"""The commands of the protocol, declared (docs/protocol.md, "Commands").

Where the two versions of a command differ, the class of version 2 is named so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from chat_protocol.wire.schema import Needs, Registry, Sender, fields_of
from chat_protocol.wire.types import (
    Byte,
    Properties,
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
    """Whom a message goes to."""

    USERS = 0
    EVERYONE = 1


@REGISTRY.declare(key=0x0001, versions=(1,), sender=Sender.CLIENT, exclusive=True)
@dataclass(frozen=True, slots=True)
class Login:
    """Takes the name for this connection."""

    username: String


@dataclass(frozen=True, slots=True)
class LoginAnswer:
    """How a version 2 login ended, and what the server grants."""

    code: UInt16
    detail: String = ""
    properties: Properties = field(default_factory=dict)


REGISTRY.declare(key=0x8001, versions=(2,), sender=Sender.SERVER)(LoginAnswer)


@REGISTRY.declare(
    key=0x0001, versions=(2,), sender=Sender.CLIENT, answer=LoginAnswer, exclusive=True
)
@dataclass(frozen=True, slots=True)
class Login2:
    """Takes the name for this connection, with wishes as properties."""

    username: String
    properties: Properties = field(default_factory=dict)


@REGISTRY.declare(
    key=0x0002, versions=(1, 2), sender=Sender.CLIENT | Sender.SERVER, needs=Needs.LOGIN
)
@dataclass(frozen=True, slots=True)
class Message:
    """A text to one user; the server passes it on with correlationId 0."""

    message: String
    from_: String
    to: String
    time: UInt64
    """Chosen by the sender and passed on untouched."""


@REGISTRY.declare(key=0x0003, versions=(1,), sender=Sender.SERVER)
@dataclass(frozen=True, slots=True)
class Response:
    """How a command of the client's ended."""

    code: UInt16


@REGISTRY.declare(key=0x0003, versions=(2,), sender=Sender.SERVER)
@dataclass(frozen=True, slots=True)
class Response2:
    """How a command of the client's ended, with a word for people."""

    code: UInt16
    detail: String = ""


@REGISTRY.declare(key=0x0009, versions=(1, 2), sender=Sender.CLIENT)
@dataclass(frozen=True, slots=True)
class CorrelationIdTest:
    """Answered OK after a random delay of up to 4 seconds."""


@REGISTRY.declare(key=0x0102, versions=(2,), sender=Sender.CLIENT, needs=Needs.LOGIN)
@dataclass(frozen=True, slots=True)
class Publish:
    """A text to several users or to everyone, stored once however often it is sent."""

    publishing_id: UInt64
    message: String
    scope: Byte
    to: Strings
    time: UInt64


@REGISTRY.declare(key=0x0108, versions=(2,), sender=Sender.SERVER)
@dataclass(frozen=True, slots=True)
class Deliver:
    """A message for this session, under the number it has for ever."""

    offset: UInt64
    message: String
    from_: String
    scope: Byte
    to: Strings
    time: UInt64


@REGISTRY.declare(key=0x010A, versions=(2,), sender=Sender.CLIENT, needs=Needs.LOGIN)
@dataclass(frozen=True, slots=True)
class Ack:
    """Everything up to the offset has arrived for good; not answered."""

    offset: UInt64


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """One message of a conversation."""

    offset: UInt64
    message: String
    from_: String
    scope: Byte
    to: Strings
    time: UInt64


@REGISTRY.declare(key=0x810B, versions=(2,), sender=Sender.SERVER)
@dataclass(frozen=True, slots=True)
class HistoryAnswer:
    """Messages of a conversation, oldest first."""

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
    """Asks for the newest messages of a conversation below an offset."""

    with_: String
    before: UInt64
    limit: UInt16


@dataclass(frozen=True, slots=True)
class UserStatus:
    """One user, as the list has it."""

    username: String
    online: Byte
    last_login: UInt64
    """Nanoseconds since the epoch."""


@REGISTRY.declare(key=0x810F, versions=(2,), sender=Sender.SERVER)
@dataclass(frozen=True, slots=True)
class UsersAnswer:
    """Users in the order of their names' bytes."""

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
    """Asks for users with names above one."""

    after: String
    limit: UInt16


@REGISTRY.declare(key=0x0110, versions=(2,), sender=Sender.SERVER)
@dataclass(frozen=True, slots=True)
class Presence:
    """A user came or went."""

    username: String
    online: Byte
    time: UInt64
    """Nanoseconds since the epoch."""


@REGISTRY.declare(key=0x0116, versions=(2,), sender=Sender.CLIENT | Sender.SERVER)
@dataclass(frozen=True, slots=True)
class Close:
    """The end of the connection, and why."""

    code: UInt16
    reason: String


@REGISTRY.declare(key=0x0117, versions=(2,), sender=Sender.CLIENT)
@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A sign of life, answered by one."""
