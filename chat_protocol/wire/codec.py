"""Frames: bytes to commands and back (docs/protocol.md, "Frames").

A *frame* is a uint32 length and that many bytes; those bytes alone are the *payload*: version,
key, correlationId and the rest of the body.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

from chat_protocol.errors import Malformed, UnknownCommand
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import REGISTRY
from chat_protocol.wire.schema import Declaration
from chat_protocol.wire.types import STRING

__all__ = [
    "HIGHEST_VERSION",
    "MAX_FRAME",
    "MAX_FRAME_BEFORE_LOGIN",
    "MIN_FRAME",
    "Header",
    "declaration_of",
    "decode",
    "decode_header",
    "encode",
    "encode_answers",
]

MIN_FRAME = 7
"""Bytes of the shortest payload: version, key and correlationId."""

MAX_FRAME_BEFORE_LOGIN = 66 * 1024
"""Bytes of the longest payload on a connection without a session."""

MAX_FRAME = 256 * 1024
"""Bytes of the longest payload on a connection with a session."""

HIGHEST_VERSION = REGISTRY.versions[-1]

_HEADER = struct.Struct(">BHI")
_FRAME = struct.Struct(">IBHI")


class Header(NamedTuple):
    """What every payload begins with."""

    version: int
    key: int
    correlation_id: int


def decode_header(payload: bytes) -> Header:
    """The first seven bytes of a payload of at least MIN_FRAME bytes, as they stand."""
    return Header._make(_HEADER.unpack_from(payload))


def declaration_of(header: Header) -> Declaration:
    """The command that a header announces.

    A version above the highest known is read as the highest known.

    Raises:
        Malformed: the version is 0.
        UnknownCommand: there is no such key in that version.
    """
    if header.version == 0:
        raise Malformed("there is no version 0")
    declared = REGISTRY.by_key(min(header.version, HIGHEST_VERSION), header.key)
    if declared is None:
        raise UnknownCommand(f"0x{header.key:04X} is not a command of this version")
    return declared


def decode(payload: bytes) -> tuple[Header, Any]:
    """The header and the command of a payload.

    Raises:
        Malformed, UnknownCommand: see :func:`declaration_of` and :meth:`Declaration.decode`.
    """
    if len(payload) < MIN_FRAME:
        raise Malformed("the payload is shorter than its header")
    header = decode_header(payload)
    return header, declaration_of(header).decode(payload, MIN_FRAME)


def encode(command: Any, correlation_id: int = 0, version: int | None = None) -> bytes:
    """The whole frame of a command, its length in front.

    Args:
        version: one that has the command; without it the lowest that has.

    Raises:
        ValueError: a value does not fit its field, or correlation_id its uint32.
    """
    declared = REGISTRY.of(type(command))
    body = declared.encode(command)
    try:
        head = _FRAME.pack(
            MIN_FRAME + len(body), version or declared.versions[0], declared.key, correlation_id
        )
    except struct.error:
        raise ValueError(f"correlationId: {correlation_id!r} is not a uint32") from None
    return head + body


_RESPONSE_KEY = 0x0003
_RESPONSE_HEAD = struct.pack(">IBH", MIN_FRAME + 2, 1, _RESPONSE_KEY)
_CODES = {code: struct.pack(">H", code) for code in Code}


def encode_answers(
    code: Code, correlation_ids: list[bytes], version: int = 1, detail: str = ""
) -> bytes:
    """Responses with one code to many requests, in their order.

    Args:
        code: what they all say; version 1 is told what it knows.
        correlation_ids: four bytes each, as they stood in the requests; at least one.
        version: of the requests.
        detail: for people; version 1 has no place for it.
    """
    if version == 1:
        head, tail = _RESPONSE_HEAD, _CODES[code.version_1]
    else:
        tail = _CODES[code] + STRING.encode(detail)
        head = struct.pack(">IBH", MIN_FRAME + len(tail), version, _RESPONSE_KEY)
    return head + (tail + head).join(correlation_ids) + tail
