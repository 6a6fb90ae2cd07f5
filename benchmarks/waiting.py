"""A store in which many messages wait for many users, made quickly.

    python -m benchmarks.waiting STORE

It is filled through the interface of all stores, so it is what a server would have left behind.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from twisted.internet.task import react

from chat_protocol.domain.batch import Batch, Registration, Run
from chat_protocol.domain.directory import User
from chat_protocol.domain.session import Session
from chat_protocol.stores.registry import store_from_url
from chat_protocol.wire.codec import encode
from chat_protocol.wire.commands import Message

__all__ = ["EACH", "USERS", "frames_for", "make", "user_name"]

USERS = 100_000

EACH = 10
"""Messages that wait for each of them, from as many others."""

_BATCH = 5_000
_SIZE = 64
_STEP = 7919


def user_name(number: int) -> str:
    """Of a user, 0 to USERS - 1."""
    return f"user{number:06d}"


def _message(number: int, index: int) -> Message:
    """The one with that index of those that wait for a user."""
    sender = (number + _STEP * (index + 1)) % USERS
    text = f"{index} {number:06d} ".ljust(_SIZE, "w")
    return Message(text, user_name(sender), user_name(number), index)


def frames_for(name: str) -> bytes:
    """What a user of that name gets after a login of version 1."""
    number = int(name.removeprefix("user"))
    return b"".join(encode(_message(number, index)) for index in range(EACH))


def make(path: Path) -> None:
    """Write the file of an SQLite store, in a process of its own.

    Raises:
        CalledProcessError: it cannot be made; standard error says why.
    """
    subprocess.run([sys.executable, "-m", __name__, f"sqlite:{path}"], check=True)


def _batches(users: list[User]) -> Iterator[Batch]:
    for first in range(0, USERS, _BATCH):
        registrations = [Registration(user.name, 1) for user in users[first : first + _BATCH]]
        yield Batch(registrations, [], [], {})
        for user, registration in zip(users[first:], registrations, strict=False):
            user.id = registration.user_id
    # All that a store looks at is who it is.
    sessions = [cast(Session, SimpleNamespace(user=user)) for user in users]
    for index in range(EACH):
        for first in range(0, USERS, _BATCH):
            yield Batch(
                [],
                [_run(number, index, users, sessions) for number in range(first, first + _BATCH)],
                [],
                {},
            )


def _run(number: int, index: int, users: list[User], sessions: list[Session]) -> Run:
    message = _message(number, index)
    frame = encode(message)
    sender = sessions[(number + _STEP * (index + 1)) % USERS]
    text = message.message.encode()
    return Run(sender, users[number], [bytes(4)], [text], [frame], len(frame))


async def _fill(reactor: Any, url: str) -> None:
    store = store_from_url(url, 0, reactor)
    await store.open()
    for batch in _batches([User(user_name(number)) for number in range(USERS)]):
        await store.commit(batch)
    await store.close()


if __name__ == "__main__":
    react(_fill, sys.argv[1:])
