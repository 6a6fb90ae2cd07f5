"""How a command is declared, and what follows from its declaration.

A command is a frozen dataclass whose fields are annotated with the types of
:mod:`chat_protocol.wire.types`, in the order of the wire, under ``Registry.declare``::

    @REGISTRY.declare(key=0x010A, versions=(2,), sender=Sender.CLIENT, needs=Needs.LOGIN)
    @dataclass(frozen=True, slots=True)
    class Ack:
        "Everything up to the offset has arrived for good."

        offset: UInt64

From that come the encoder, the decoder, the dispatch, the precondition that the dispatcher
checks before any handler runs, and the table in docs/protocol.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from enum import Enum, Flag, auto
from typing import Any, TypeVar, get_type_hints

from chat_protocol.wire.types import FieldType, Struct

__all__ = ["Declaration", "Needs", "Registry", "Sender", "fields_of"]

C = TypeVar("C")


class Sender(Flag):
    """Who may send a command."""

    CLIENT = auto()
    SERVER = auto()


class Needs(Enum):
    """What a command of the client's needs before it is handled."""

    NOTHING = "nothing"
    LOGIN = "a login"


def fields_of(struct: type[Any]) -> tuple[tuple[str, FieldType[Any]], ...]:
    """Name and type of each annotated field of a dataclass, in the order of the wire."""
    hints = get_type_hints(struct, include_extras=True)
    return tuple((field.name, hints[field.name].__metadata__[0]) for field in fields(struct))


@dataclass(frozen=True)
class Declaration:
    """What is known of one command."""

    command: type[Any]
    key: int
    versions: tuple[int, ...]
    sender: Sender
    needs: Needs
    answer: type[Any] | None
    """The command that answers it where that is not a Response: with a code, a detail and what
    was asked for, each field of which has a default."""
    exclusive: bool
    """What follows it on the connection waits until it is answered."""
    fields: tuple[tuple[str, FieldType[Any]], ...]
    body: Struct[Any]

    def encode(self, command: Any) -> bytes:
        """The body behind the correlationId; ValueError names the field that does not fit."""
        return self.body.encode(command)

    def decode(self, data: bytes, position: int) -> Any:
        """The command whose body starts at ``position``; bytes behind it are ignored.

        Raises:
            Malformed: the body is too short, or a string in it is not UTF-8.
        """
        return self.body.decode(data, position)[0]


class Registry:
    """The commands of every version, by key and by class."""

    def __init__(self) -> None:
        self._by_key: dict[tuple[int, int], Declaration] = {}
        self._by_class: dict[type[Any], Declaration] = {}

    @property
    def versions(self) -> tuple[int, ...]:
        """The versions that have commands, lowest first."""
        return tuple(sorted({version for version, _ in self._by_key}))

    def __iter__(self) -> Iterator[Declaration]:
        return iter(self._by_class.values())

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
        """Register the decorated dataclass; a key can be taken only once in a version."""

        def register(command: type[C]) -> type[C]:
            layout = fields_of(command)
            body = Struct(command.__name__, command, layout)
            declared = Declaration(
                command, key, versions, sender, needs, answer, exclusive, layout, body
            )
            for version in versions:
                other = self._by_key.get((version, key))
                if other is not None:
                    raise ValueError(f"key 0x{key:04X} is {other.command.__name__} already")
                self._by_key[version, key] = declared
            self._by_class[command] = declared
            return command

        return register

    def by_key(self, version: int, key: int) -> Declaration | None:
        """The command of that key in that version, if there is one."""
        return self._by_key.get((version, key))

    def of(self, command: type[Any]) -> Declaration:
        """The declaration of a command's class; KeyError if it was never declared."""
        return self._by_class[command]
