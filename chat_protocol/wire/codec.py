"""Encode commands to frames and decode payloads to commands (docs/protocol.md, "Frames").

A *frame* is a uint32 length and that many bytes. Those bytes are the *payload*: version, key,
correlationId and the fields of the command.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

from chat_protocol.errors import Malformed, UnknownCommand
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import REGISTRY
from chat_protocol.wire.schema import Declaration, Registry, declaration
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
    "encode_body",
]

MIN_FRAME = 7
"""Size of the shortest payload, in bytes: version, key and correlationId."""

MAX_FRAME_BEFORE_LOGIN = 66 * 1024
"""Size of the longest payload on a connection without a session, in bytes."""

MAX_FRAME = 256 * 1024
"""Size of the longest payload on a connection with a session, in bytes."""

HIGHEST_VERSION = REGISTRY.versions[-1]

_HEADER = struct.Struct(">BHI")
_FRAME = struct.Struct(">IBHI")


class Header(NamedTuple):
    """The first fields of every payload."""

    version: int
    key: int
    correlation_id: int


def decode_header(payload: bytes) -> Header:
    """Decode the first 7 bytes of a payload of at least MIN_FRAME bytes, without checks."""
    return Header._make(_HEADER.unpack_from(payload))


def declaration_of(header: Header, registry: Registry = REGISTRY) -> Declaration:
    """Return the declaration of the command with this version and key in a registry.

    A version above the highest known version is read as the highest known version.

    Raises:
        Malformed: the version is 0.
        UnknownCommand: the version has no command with this key.
    """
    if header.version == 0:
        raise Malformed("version 0 does not exist")
    declared = registry.by_key(min(header.version, HIGHEST_VERSION), header.key)
    if declared is None:
        raise UnknownCommand(f"key 0x{header.key:04X} is not a command of this version")
    return declared


def decode(payload: bytes, registry: Registry = REGISTRY) -> tuple[Header, Any]:
    """Decode a payload to its header and its command, one of a registry.

    Raises:
        Malformed, UnknownCommand: see :func:`declaration_of` and :meth:`Declaration.decode`.
    """
    if len(payload) < MIN_FRAME:
        raise Malformed("the payload is shorter than its header")
    header = decode_header(payload)
    return header, declaration_of(header, registry).decode(payload, MIN_FRAME)


def encode(command: Any, correlation_id: int = 0, version: int | None = None) -> bytes:
    """Encode a command to a frame, including its length.

    Args:
        version: a version that has the command; by default the lowest of them.

    Raises:
        ValueError: a value does not fit its field, or correlation_id is not a uint32.
    """
    declared = declaration(type(command))
    return _frame(declared, declared.encode(command), correlation_id, version)


def encode_body(command: type[Any], body: bytes, correlation_id: int = 0) -> bytes:
    """Encode a command whose fields are encoded already."""
    return _frame(declaration(command), body, correlation_id, None)


def _frame(declared: Declaration, body: bytes, correlation_id: int, version: int | None) -> bytes:
    try:
        head = _FRAME.pack(
            MIN_FRAME + len(body), version or declared.versions[0], declared.key, correlation_id
        )
    except struct.error:
        raise ValueError(f"correlationId: {correlation_id!r} is not a uint32") from None
    return head + body


_RESPONSE_KEY = 0x0003
_RESPONSE_HEAD = struct.Struct(">IBH")
_RESPONSE_HEAD_1 = _RESPONSE_HEAD.pack(MIN_FRAME + 2, 1, _RESPONSE_KEY)
_CODES_1 = {code: struct.pack(">H", code.version_1) for code in Code}
_CODES = {code: struct.pack(">H", code) for code in Code}
_NO_DETAIL = STRING.encode("")


def encode_answers(
    code: Code, correlation_ids: list[bytes], version: int = 1, detail: str = ""
) -> bytes:
    """Encode one Response with the same code for each of several requests, in their order.

    Args:
        code: the code; for version 1, :attr:`Code.version_1` is sent in its place.
        correlation_ids: the correlationIds of the requests, 4 bytes each; at least one.
        version: the version of the requests.
        detail: text for people; not sent to version 1.
    """
    if version == 1:
        head, tail = _RESPONSE_HEAD_1, _CODES_1[code]
    else:
        tail = _CODES[code] + (STRING.encode(detail) if detail else _NO_DETAIL)
        head = _RESPONSE_HEAD.pack(MIN_FRAME + len(tail), version, _RESPONSE_KEY)
    return head + (tail + head).join(correlation_ids) + tail
