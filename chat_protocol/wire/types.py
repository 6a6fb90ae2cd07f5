"""Encoders and decoders for the data types of the protocol (docs/protocol.md, "Types").

A command declares the type of each field with :data:`typing.Annotated`. The codec reads it from
there.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Generic, Protocol, TypeVar

from chat_protocol.errors import Malformed

__all__ = [
    "MAX_PAIRS",
    "MAX_RECIPIENTS",
    "Byte",
    "FieldType",
    "Properties",
    "Recipients",
    "String",
    "Strings",
    "Struct",
    "UInt16",
    "UInt64",
    "array_of",
]

T = TypeVar("T")


class FieldType(Protocol[T]):
    """One data type of the wire format."""

    name: str
    """The name of the type in docs/protocol.md."""
    min_size: int
    """Size of the shortest value, in bytes."""

    def encode(self, value: T) -> bytes:
        """Encode ``value``; raise ValueError if the type cannot represent it."""

    def decode(self, data: bytes, position: int) -> tuple[T, int]:
        """Return the value at ``position`` and the position after it.

        Raises:
            Malformed: the bytes do not parse.
        """


class _Integer:
    """An unsigned big-endian integer of ``size`` bytes."""

    def __init__(self, name: str, size: int, form: str) -> None:
        self.name = name
        self.min_size = self.size = size
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
    """A uint16 length in bytes, then UTF-8: at most 65,535 bytes."""

    name = "string"
    min_size = 2

    def encode(self, value: str) -> bytes:
        try:
            data = value.encode()
        except UnicodeEncodeError:
            raise ValueError("the string contains a surrogate, which UTF-8 cannot encode") from None
        if len(data) > 0xFFFF:
            raise ValueError(f"the string has {len(data)} bytes; the maximum is 65535 bytes")
        return _LENGTH.encode(len(data)) + data

    def decode(self, data: bytes, position: int) -> tuple[str, int]:
        length, start = _LENGTH.decode(data, position)
        end = start + length
        if end > len(data):
            raise Malformed("the body ends inside a string")
        try:
            return data[start:end].decode(), end
        except UnicodeDecodeError:
            raise Malformed("the string is not valid UTF-8") from None


class _Array(Generic[T]):
    """A uint32 count, then that many items of one type.

    Args:
        item: the type of the items.
        most: items that the decoder accepts; None: as many as the frame has room for.
    """

    def __init__(self, item: FieldType[T], most: int | None = None) -> None:
        self.name = f"[]{item.name}"
        self.min_size = 4
        self._item = item
        self._most = most

    def encode(self, value: Sequence[T]) -> bytes:
        return UINT32.encode(len(value)) + b"".join(map(self._item.encode, value))

    def decode(self, data: bytes, position: int) -> tuple[tuple[T, ...], int]:
        count, position = UINT32.decode(data, position)
        if count * self._item.min_size > len(data) - position:
            raise Malformed(f"the body ends inside a {self.name} of {count} items")
        if self._most is not None and count > self._most:
            raise Malformed(f"{count} items, at most {self._most} are allowed")
        items = []
        for _ in range(count):
            item, position = self._item.decode(data, position)
            items.append(item)
        return tuple(items), position


MAX_PAIRS = 64
"""Pairs of strings in a map that the decoder accepts."""


class _Map:
    """A uint32 count, then that many pairs of strings; the last pair with a key wins."""

    name = "map"
    min_size = 4

    def encode(self, value: Mapping[str, str]) -> bytes:
        pairs = (STRING.encode(key) + STRING.encode(one) for key, one in value.items())
        return UINT32.encode(len(value)) + b"".join(pairs)

    def decode(self, data: bytes, position: int) -> tuple[dict[str, str], int]:
        count, position = UINT32.decode(data, position)
        if count * 2 * STRING.min_size > len(data) - position:
            raise Malformed(f"the body ends inside a map of {count} pairs")
        if count > MAX_PAIRS:
            raise Malformed(f"{count} pairs, at most {MAX_PAIRS} are allowed")
        value = {}
        for _ in range(count):
            key, position = STRING.decode(data, position)
            value[key], position = STRING.decode(data, position)
        return value, position


class Struct(Generic[T]):
    """Consecutive fields, decoded to a dataclass or a NamedTuple.

    Args:
        name: the name of the type in docs/protocol.md.
        construct: builds the value from the fields, in the order of the wire.
        fields: name and type of each field.
    """

    def __init__(
        self, name: str, construct: Callable[..., T], fields: Sequence[tuple[str, FieldType[Any]]]
    ) -> None:
        self.name = name
        self.min_size = sum(type_.min_size for _, type_ in fields)
        self._construct = construct
        self._fields = fields

    def encode(self, value: T) -> bytes:
        parts = []
        for name, type_ in self._fields:
            try:
                parts.append(type_.encode(getattr(value, name)))
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        return b"".join(parts)

    def decode(self, data: bytes, position: int) -> tuple[T, int]:
        values = []
        for name, type_ in self._fields:
            try:
                value, position = type_.decode(data, position)
            except Malformed as error:
                raise Malformed(f"{name}: {error.detail}") from None
            values.append(value)
        return self._construct(*values), position


BYTE = _Integer("byte", 1, ">B")
UINT16 = _Integer("uint16", 2, ">H")
UINT32 = _Integer("uint32", 4, ">I")
UINT64 = _Integer("uint64", 8, ">Q")
STRING = _String()
MAP = _Map()
STRINGS = _Array(STRING)

MAX_RECIPIENTS = 1000
"""Names in a Publish that the decoder accepts."""


Byte = Annotated[int, BYTE]
UInt16 = Annotated[int, UINT16]
UInt64 = Annotated[int, UINT64]
String = Annotated[str, STRING]
Strings = Annotated[tuple[str, ...], STRINGS]
Recipients = Annotated[tuple[str, ...], _Array(STRING, MAX_RECIPIENTS)]
Properties = Annotated[Mapping[str, str], MAP]


def array_of(item: FieldType[T]) -> FieldType[Any]:
    """Return the type of an array of ``item`` values."""
    return _Array(item)
