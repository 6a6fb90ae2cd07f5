"""How a command is declared, and what follows from its declaration.

A command is a frozen dataclass whose fields are annotated with the types of
:mod:`chat_protocol.wire.fields`, in the order of the wire, under ``Registry.declare``::

    @REGISTRY.declare(key=0x0001, version=1, sender=Sender.CLIENT, exclusive=True)
    @dataclass(frozen=True, slots=True)
    class Login:
        "Takes a name for this connection."

        username: String

From that come the encoder, the decoder, the dispatch, the precondition that the dispatcher
checks before any handler runs, and the table in docs/protocol.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from enum import Enum, Flag, auto
from typing import Any, TypeVar, get_type_hints

from chat_protocol.errors import Malformed
from chat_protocol.wire.fields import FieldType

__all__ = ["Declaration", "Needs", "Registry", "Sender"]

C = TypeVar("C")


class Sender(Flag):
    """Who may send a command."""

    CLIENT = auto()
    SERVER = auto()


class Needs(Enum):
    """What a command of the client's needs before it is handled."""

    NOTHING = "nothing"
    LOGIN = "a login"


@dataclass(frozen=True)
class Declaration:
    """What is known of one command in one version."""

    command: type[Any]
    key: int
    version: int
    sender: Sender
    needs: Needs
    exclusive: bool
    """What follows it on the connection waits until it is answered."""
    fields: tuple[tuple[str, FieldType[Any]], ...]

    def encode(self, command: Any) -> bytes:
        """The body behind the correlationId; ValueError names the field that does not fit."""
        parts = []
        for name, type_ in self.fields:
            try:
                parts.append(type_.encode(getattr(command, name)))
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        return b"".join(parts)

    def decode(self, data: bytes, position: int) -> Any:
        """The command whose body starts at ``position``; bytes behind it are ignored.

        Raises:
            Malformed: the body is too short, or a string in it is not UTF-8.
        """
        values = []
        for name, type_ in self.fields:
            try:
                value, position = type_.decode(data, position)
            except Malformed as error:
                raise Malformed(f"{name}: {error.detail}") from None
            values.append(value)
        return self.command(*values)


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
        return iter(self._by_key.values())

    def declare(
        self,
        *,
        key: int,
        version: int,
        sender: Sender,
        needs: Needs = Needs.NOTHING,
        exclusive: bool = False,
    ) -> Callable[[type[C]], type[C]]:
        """Register the decorated dataclass; a key can be taken only once in a version."""

        def register(command: type[C]) -> type[C]:
            other = self._by_key.get((version, key))
            if other is not None:
                raise ValueError(f"key 0x{key:04X} is {other.command.__name__} already")
            hints = get_type_hints(command, include_extras=True)
            declared = Declaration(
                command,
                key,
                version,
                sender,
                needs,
                exclusive,
                tuple(
                    (field.name, hints[field.name].__metadata__[0])
                    for field in fields(command)  # type: ignore[arg-type]
                ),
            )
            self._by_key[version, key] = self._by_class[command] = declared
            return command

        return register

    def by_key(self, version: int, key: int) -> Declaration | None:
        """The command of that key in that version, if there is one."""
        return self._by_key.get((version, key))

    def of(self, command: type[Any]) -> Declaration:
        """The declaration of a command's class; KeyError if it was never declared."""
        return self._by_class[command]
