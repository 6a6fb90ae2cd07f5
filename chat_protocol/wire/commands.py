"""The commands of the protocol, declared (docs/protocol.md, "Commands")."""

from __future__ import annotations

from dataclasses import dataclass

from chat_protocol.wire.declaration import Needs, Registry, Sender
from chat_protocol.wire.fields import String, UInt16, UInt64

__all__ = ["REGISTRY", "CorrelationIdTest", "Login", "Message", "Response"]

REGISTRY = Registry()


@REGISTRY.declare(key=0x0001, version=1, sender=Sender.CLIENT, exclusive=True)
@dataclass(frozen=True, slots=True)
class Login:
    """Takes the name for this connection."""

    username: String


@REGISTRY.declare(key=0x0002, version=1, sender=Sender.CLIENT | Sender.SERVER, needs=Needs.LOGIN)
@dataclass(frozen=True, slots=True)
class Message:
    """A text to one user; the server passes it on with correlationId 0."""

    message: String
    from_: String
    to: String
    time: UInt64
    """Chosen by the sender and passed on untouched."""


@REGISTRY.declare(key=0x0003, version=1, sender=Sender.SERVER)
@dataclass(frozen=True, slots=True)
class Response:
    """How a command of the client's ended."""

    code: UInt16


@REGISTRY.declare(key=0x0009, version=1, sender=Sender.CLIENT)
@dataclass(frozen=True, slots=True)
class CorrelationIdTest:
    """Answered OK after a random delay of up to 4 seconds."""
