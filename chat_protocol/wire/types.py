"""The data types of the protocol (docs/protocol.md, "Types"), as encoders and decoders.

A field of a command names its type with :data:`typing.Annotated`; the codec finds it there.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Generic, Protocol, TypeVar

from chat_protocol.errors import Malformed

__all__ = [
    "Byte",
    "FieldType",
    "Properties",
    "String",
    "Strings",
    "Struct",
    "UInt16",
    "UInt64",
    "array_of",
]

T = TypeVar("T")


class FieldType(Protocol[T]):
    """One data type of the wire."""

    name: str
    """As docs/protocol.md writes it."""
    smallest: int
    """Bytes of the shortest value."""

    def encode(self, value: T) -> bytes:
        """The bytes of ``value``; ValueError if it does not fit the type."""

    def decode(self, data: bytes, position: int) -> tuple[T, int]:
        """The value at ``position`` and the position behind it; Malformed if it does not parse."""


class _Integer:
    """An unsigned big-endian integer of ``size`` bytes."""

    def __init__(self, name: str, size: int, form: str) -> None:
        self.name = name
        self.smallest = self.size = size
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
    smallest = 2

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


class _Array(Generic[T]):
    """Items of one type behind their number, a uint32."""

    def __init__(self, item: FieldType[T]) -> None:
        self.name = f"[]{item.name}"
        self.smallest = 4
        self._item = item

    def encode(self, value: Sequence[T]) -> bytes:
        return UINT32.encode(len(value)) + b"".join(map(self._item.encode, value))

    def decode(self, data: bytes, position: int) -> tuple[tuple[T, ...], int]:
        count, position = UINT32.decode(data, position)
        if count * self._item.smallest > len(data) - position:
            raise Malformed(f"the body ends inside a {self.name} of {count}")
        items = []
        for _ in range(count):
            item, position = self._item.decode(data, position)
            items.append(item)
        return tuple(items), position


class _Map:
    """Pairs of strings behind their number, a uint32; of two with one key the last counts."""

    name = "map"
    smallest = 4

    def encode(self, value: Mapping[str, str]) -> bytes:
        pairs = (STRING.encode(key) + STRING.encode(one) for key, one in value.items())
        return UINT32.encode(len(value)) + b"".join(pairs)

    def decode(self, data: bytes, position: int) -> tuple[dict[str, str], int]:
        count, position = UINT32.decode(data, position)
        if count * 2 * STRING.smallest > len(data) - position:
            raise Malformed(f"the body ends inside a map of {count}")
        value = {}
        for _ in range(count):
            key, position = STRING.decode(data, position)
            value[key], position = STRING.decode(data, position)
        return value, position


class Struct(Generic[T]):
    """Fields behind each other, as a class: the fields of a dataclass or a NamedTuple."""

    def __init__(
        self, name: str, made: Callable[..., T], fields: Sequence[tuple[str, FieldType[Any]]]
    ) -> None:
        self.name = name
        self.smallest = sum(type_.smallest for _, type_ in fields)
        self._made = made
        self._fields = fields

    def encode(self, value: T) -> bytes:
        """See FieldType."""
        parts = []
        for name, type_ in self._fields:
            try:
                parts.append(type_.encode(getattr(value, name)))
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        return b"".join(parts)

    def decode(self, data: bytes, position: int) -> tuple[T, int]:
        """See FieldType."""
        values = []
        for name, type_ in self._fields:
            try:
                value, position = type_.decode(data, position)
            except Malformed as error:
                raise Malformed(f"{name}: {error.detail}") from None
            values.append(value)
        return self._made(*values), position


BYTE = _Integer("byte", 1, ">B")
UINT16 = _Integer("uint16", 2, ">H")
UINT32 = _Integer("uint32", 4, ">I")
UINT64 = _Integer("uint64", 8, ">Q")
STRING = _String()
MAP = _Map()
STRINGS = _Array(STRING)

Byte = Annotated[int, BYTE]
UInt16 = Annotated[int, UINT16]
UInt64 = Annotated[int, UINT64]
String = Annotated[str, STRING]
Strings = Annotated[tuple[str, ...], STRINGS]
Properties = Annotated[Mapping[str, str], MAP]


def array_of(item: FieldType[T]) -> FieldType[Any]:
    """The type of any number of items."""
    return _Array(item)
