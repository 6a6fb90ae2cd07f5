"""Short words for what is said to a store."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, TypeVar, cast
from weakref import WeakKeyDictionary

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from chat_protocol.domain.entries import Entry
from chat_protocol.domain.login_rules import LoginRequest
from chat_protocol.domain.messages import Batch, Message, PositionKey, Registration
from chat_protocol.domain.ports import IStore
from chat_protocol.domain.queries import Account, Conversation, Lookup, Page
from chat_protocol.domain.users import Audience, Session, User
from chat_protocol.wire import commands
from chat_protocol.wire.codec import encode
from chat_protocol.wire.frames import text_of, time_of

T = TypeVar("T")


def now(deferred: Deferred[T]) -> T:
    """The result of a Deferred that has fired."""
    results: list[Any] = []
    deferred.addBoth(results.append)
    assert results, "the Deferred has not fired"
    if isinstance(results[0], Failure):
        results[0].raiseException()
    return cast(T, results[0])


class Sender:
    """As much of a session as a store may look at."""

    def __init__(self, user: User, device: str = "", device_id: int = 0) -> None:
        self.user = user
        self.device = device
        self.device_id = device_id
        self.number = _NUMBERS.get(user, 0)


TAKES_OVER = LoginRequest("", 2, takes_over=True, verified=True)
"""Ends the session of the unnamed device, if there is one."""

_SESSIONS: WeakKeyDictionary[User, dict[str, Sender]] = WeakKeyDictionary()
"""Of further devices, by their names."""

_NUMBERS: WeakKeyDictionary[User, int] = WeakKeyDictionary()
"""Of the sessions that were registered."""


def register(store: IStore, *names: str) -> list[User]:
    registrations = [
        Registration(name, 1_000 + index, TAKES_OVER) for index, name in enumerate(names)
    ]
    now(store.commit(Batch(registrations, [], {})))
    users = []
    for registration in registrations:
        user = User(registration.name)
        user.id = registration.user_id
        _NUMBERS[user] = registration.number
        users.append(user)
    return users


def log_in(store: IStore, user: User, *devices: str) -> None:
    """Log a user in from further devices."""
    sessions = _SESSIONS.setdefault(user, {})
    for device in devices:
        login = LoginRequest(device, 2, verified=True)
        registration = Registration(user.name, 2_000, login)
        now(store.commit(Batch([registration], [], {})))
        session = sessions[device] = Sender(user, device, registration.device_id)
        session.number = registration.number


def message(
    sender: User,
    *texts: str,
    to: tuple[User, ...] = (),
    time: int = 7,
    id_: int = 0,
    device: str = "",
) -> Message:
    """Messages to these users; to everyone without any.

    ``device``: of :func:`log_in`, which PostgreSQL needs.
    """
    tail = to[0].name if len(to) == 1 else ""
    frames = [encode(commands.Message(text, sender.name, tail, time)) for text in texts]
    return Message(
        cast(Session, _SESSIONS.get(sender, {}).get(device) or Sender(sender, device)),
        Audience(*to),
        [b"\0\0\0\1"] * len(texts),
        [text.encode() for text in texts],
        frames,
        sum(map(len, frames)),
        2 if id_ or len(to) != 1 else 1,
        id_,
    )


def run(sender: User, recipient: User, *texts: str, time: int = 7, id_: int = 0) -> Message:
    return message(sender, *texts, to=(recipient,), time=time, id_=id_)


def commit(
    store: IStore, *messages: Message, positions: dict[PositionKey, int] | None = None
) -> None:
    now(store.commit(Batch([], list(messages), positions or {})))


def position(user: User, offset: int) -> dict[PositionKey, int]:
    """The unnamed device of a user has received everything up to an offset."""
    return {(user.id, 0): offset}


def page(
    store: IStore, user: User, after: int = 0, messages: int = 1000, size: int = 1 << 20
) -> Page:
    asked = Page(user.id, after, messages, size)
    now(store.read([asked]))
    return asked


class Single(NamedTuple):
    """One message of an entry."""

    offset: int
    sender: str
    device: str
    scope: int
    to: tuple[str, ...]
    time: int
    text: str


def singles(entries: Iterable[Entry]) -> list[Single]:
    """Return the messages of entries one by one."""
    return [
        Single(
            offset,
            entry.sender,
            entry.device,
            entry.scope,
            entry.to,
            time_of(frame),
            text_of(frame).decode(),
        )
        for entry in entries
        for offset, frame in enumerate(entry.frames, entry.offset)
    ]


def last_of(asked: Page) -> int:
    """Return the offset of the last message of a page."""
    return asked.entries[-1].end - 1


def texts(asked: Page) -> list[str]:
    return [text_of(frame).decode() for entry in asked.entries for frame in entry.frames]


def look_up(store: IStore, name: str) -> int:
    lookup = Lookup(name)
    now(store.read([lookup]))
    return lookup.user_id


def publication(sender: User, text: str, *to: User, id_: int = 0, time: int = 7) -> Message:
    return message(sender, text, to=to, time=time, id_=id_)


def publish(store: IStore, *publications: Message) -> None:
    commit(store, *publications)


def account(store: IStore, user: User) -> tuple[int, int]:
    asked = Account(user.id)
    now(store.read([asked]))
    return asked.publishing_id, asked.pending


def conversation(
    store: IStore, user: User, other: User | None, before: int = 0, limit: int = 100
) -> list[str]:
    asked = Conversation(user.id, other.id if other else 0, before, limit, 1 << 20)
    now(store.read([asked]))
    offsets = [entry.offset + n for entry in asked.entries for n in range(len(entry.frames))]
    assert offsets == sorted(set(offsets))
    return [text_of(frame).decode() for entry in asked.entries for frame in entry.frames]
