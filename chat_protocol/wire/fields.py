"""The data types of the protocol (docs/protocol.md, "Types"), as encoders and decoders.

A field of a command names its type with :data:`typing.Annotated`; the codec finds it there.
"""

from __future__ import annotations

import struct
from typing import Annotated, Protocol, TypeVar

from chat_protocol.errors import Malformed

__all__ = ["FieldType", "String", "UInt16", "UInt32", "UInt64"]

T = TypeVar("T")


class FieldType(Protocol[T]):
    """One data type of the wire."""

    name: str
    """As docs/protocol.md writes it."""

    def encode(self, value: T) -> bytes:
        """The bytes of ``value``; ValueError if it does not fit the type."""

    def decode(self, data: bytes, position: int) -> tuple[T, int]:
        """The value at ``position`` and the position behind it; Malformed if it does not parse."""


class _Integer:
    """An unsigned big-endian integer of ``size`` bytes."""

    def __init__(self, name: str, size: int, form: str) -> None:
        self.name = name
        self.size = size
        self._struct = struct.Struct(form)

    def encode(self, value: int) -> bytes:
        try:
            return self._struct.pack(value)
        except struct.error:
            raise ValueError(f"{value!r} is not a {self.name}") from None

    def decode(self, data: bytes, position: int) -> tuple[int, int]:
        try:
            (value,) = self._struct.unpack_from(data, position)
        except struct.error:
            raise Malformed(f"the body ends inside a {self.name}") from None
        return value, position + self.size


_LENGTH = _Integer("uint16", 2, ">H")


class _String:
    """UTF-8 behind its length in bytes, a uint16: at most 65,535 bytes."""

    name = "string"

    def encode(self, value: str) -> bytes:
        try:
            data = value.encode()
        except UnicodeEncodeError:
            raise ValueError("a string holds a surrogate, which has no UTF-8") from None
        if len(data) > 0xFFFF:
            raise ValueError(f"a string of {len(data)} bytes, at most 65535 can be sent")
        return _LENGTH.encode(len(data)) + data

    def decode(self, data: bytes, position: int) -> tuple[str, int]:
        length, start = _LENGTH.decode(data, position)
        end = start + length
        if end > len(data):
            raise Malformed("the body ends inside a string")
        try:
            return data[start:end].decode(), end
        except UnicodeDecodeError:
            raise Malformed("a string is not UTF-8") from None


UINT16 = _Integer("uint16", 2, ">H")
UINT32 = _Integer("uint32", 4, ">I")
UINT64 = _Integer("uint64", 8, ">Q")
STRING = _String()

UInt16 = Annotated[int, UINT16]
UInt32 = Annotated[int, UINT32]
UInt64 = Annotated[int, UINT64]
String = Annotated[str, STRING]
