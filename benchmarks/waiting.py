"""Fill a store with waiting messages for many users.

    python -m benchmarks.waiting STORE

The module uses the interface of the stores (IStore), so the result is the same as after a run of
the server.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from twisted.internet.task import react

from chat_protocol.domain.messages import Batch, Registration
from chat_protocol.domain.messages import Message as SentMessage
from chat_protocol.domain.users import Audience, Session, User
from chat_protocol.stores.registry import store_from_url
from chat_protocol.wire.codec import encode
from chat_protocol.wire.commands import Message

__all__ = ["EACH", "USERS", "frames_for", "make", "user_name"]

USERS = 100_000

EACH = 10
"""Number of waiting messages per user, each from another sender."""

_BATCH = 5_000
_SIZE = 64
_STEP = 7919


def user_name(number: int) -> str:
    """Return the name of a user, 0 to USERS - 1."""
    return f"user{number:06d}"


def _message(number: int, index: int) -> Message:
    """Return the waiting message of a user with that index."""
    sender = (number + _STEP * (index + 1)) % USERS
    text = f"{index} {number:06d} ".ljust(_SIZE, "w")
    return Message(text, user_name(sender), user_name(number), index)


def frames_for(name: str) -> bytes:
    """Return the frames that the server delivers to a user after a version 1 login."""
    number = int(name.removeprefix("user"))
    return b"".join(encode(_message(number, index)) for index in range(EACH))


def make(path: Path) -> None:
    """Create the file of an SQLite store in a separate process.

    Raises:
        CalledProcessError: the process failed; its standard error has the reason.
    """
    subprocess.run([sys.executable, "-m", __name__, f"sqlite:{path}"], check=True)


def _batches(users: list[User]) -> Iterator[Batch]:
    for first in range(0, USERS, _BATCH):
        registrations = [Registration(user.name, 1) for user in users[first : first + _BATCH]]
        yield Batch(registrations, [], {})
        for user, registration in zip(users[first:], registrations, strict=False):
            user.id = registration.user_id
    # A store uses only the user and the device of a session.
    sessions = [cast(Session, SimpleNamespace(user=user, device="")) for user in users]
    for index in range(EACH):
        for first in range(0, USERS, _BATCH):
            yield Batch(
                [],
                [_sent(number, index, users, sessions) for number in range(first, first + _BATCH)],
                {},
            )


def _sent(number: int, index: int, users: list[User], sessions: list[Session]) -> SentMessage:
    message = _message(number, index)
    frame = encode(message)
    sender = sessions[(number + _STEP * (index + 1)) % USERS]
    text = message.message.encode()
    return SentMessage(sender, Audience(users[number]), [bytes(4)], [text], [frame], len(frame))


async def _fill(reactor: Any, url: str) -> None:
    store = store_from_url(url, 0, reactor)
    await store.open()
    for batch in _batches([User(user_name(number)) for number in range(USERS)]):
        await store.commit(batch)
    await store.close()


if __name__ == "__main__":
    react(_fill, sys.argv[1:])
