"""Declarations of commands.

A command is a frozen dataclass, decorated with ``Registry.declare``. Its fields are annotated with
the types of :mod:`chat_protocol.wire.types`, in the order of the wire::

    @REGISTRY.declare(key=0x010A, versions=(2,), sender=Sender.CLIENT, needs=Needs.LOGIN)
    @dataclass(frozen=True, slots=True)
    class Ack:
        "Acknowledge all messages up to an offset."

        offset: UInt64

The encoder, the decoder, the dispatch table, the precondition that the dispatcher checks before it
calls a handler, and the table in docs/protocol.md are derived from the declaration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from enum import Enum, Flag, auto
from typing import Any, TypeVar, get_type_hints

from chat_protocol.wire.types import FieldType, Struct

__all__ = ["Declaration", "Needs", "Registry", "Sender", "declaration", "fields_of"]

C = TypeVar("C")


class Sender(Flag):
    """The sides that may send a command."""

    CLIENT = auto()
    SERVER = auto()


class Needs(Enum):
    """The precondition of a client's command, checked before its handler runs."""

    NOTHING = "nothing"
    LOGIN = "a login"


def fields_of(struct: type[Any]) -> tuple[tuple[str, FieldType[Any]], ...]:
    """Return name and type of each annotated field of a dataclass, in the order of the wire."""
    hints = get_type_hints(struct, include_extras=True)
    return tuple((field.name, hints[field.name].__metadata__[0]) for field in fields(struct))


@dataclass(frozen=True)
class Declaration:
    """The declaration of one command."""

    command: type[Any]
    key: int
    versions: tuple[int, ...]
    sender: Sender
    needs: Needs
    answer: type[Any] | None
    """The command that answers it, or None for a Response. Such an answer has a code, a detail and
    the requested data; every field but the code has a default."""
    exclusive: bool
    """If true, later commands of the connection wait until this one is answered."""
    fields: tuple[tuple[str, FieldType[Any]], ...]
    body: Struct[Any]

    def encode(self, command: Any) -> bytes:
        """Encode the fields that follow the correlationId.

        Raises:
            ValueError: a value does not fit its field; the text names the field.
        """
        return self.body.encode(command)

    def decode(self, data: bytes, position: int) -> Any:
        """Decode the command whose fields start at ``position``; ignore bytes after them.

        Raises:
            Malformed: the body is too short, or a string in it is not valid UTF-8.
        """
        return self.body.decode(data, position)[0]


_DECLARATIONS: dict[type[Any], Declaration] = {}
"""Of all registries, by class: a class is declared once."""


def declaration(command: type[Any]) -> Declaration:
    """Return the declaration of a command class, whatever the registry.

    Raises:
        KeyError: it is not declared.
    """
    return _DECLARATIONS[command]


class Registry:
    """The commands of all versions, by key and by class.

    Args:
        base: a registry whose commands it has as well, such as wire.commands.REGISTRY. What is
            declared here is not known there.
    """

    def __init__(self, base: Registry | None = None) -> None:
        self._by_key: dict[tuple[int, int], Declaration] = {}
        self._by_class: dict[type[Any], Declaration] = {}
        self._base = base

    @property
    def versions(self) -> tuple[int, ...]:
        """The versions that have commands, in ascending order."""
        return tuple(sorted({version for one in self for version in one.versions}))

    def __iter__(self) -> Iterator[Declaration]:
        return iter([*(self._base or ()), *self._by_class.values()])

    def declare(
        self,
        *,
        key: int,
        versions: tuple[int, ...],
        sender: Sender,
        needs: Needs = Needs.NOTHING,
        answer: type[Any] | None = None,
        exclusive: bool = False,
    ) -> Callable[[type[C]], type[C]]:
        """Register the decorated dataclass.

        Raises:
            ValueError: another command of that version has the key.
        """

        def register(command: type[C]) -> type[C]:
            layout = fields_of(command)
            body = Struct(command.__name__, command, layout)
            declared = Declaration(
                command, key, versions, sender, needs, answer, exclusive, layout, body
            )
            for version in versions:
                other = self.by_key(version, key)
                if other is not None:
                    raise ValueError(
                        f"key 0x{key:04X} of version {version} is already declared for"
                        f" {other.command.__name__}; choose another key"
                    )
                self._by_key[version, key] = declared
            self._by_class[command] = _DECLARATIONS[command] = declared
            return command

        return register

    def by_key(self, version: int, key: int) -> Declaration | None:
        """Return the command with that key in that version, or None."""
        found = self._by_key.get((version, key))
        if found is None and self._base is not None:
            return self._base.by_key(version, key)
        return found

    def of(self, command: type[Any]) -> Declaration:
        """Return the declaration of a command class; raise KeyError if there is none."""
        return self._by_class[command]
