"""Short words for what is said to a store."""

from __future__ import annotations

from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from chat_protocol.domain.batch import (
    Account,
    Batch,
    Conversation,
    Lookup,
    Page,
    Publication,
    Registration,
    Run,
)
from chat_protocol.domain.directory import User
from chat_protocol.domain.session import Session
from chat_protocol.domain.stored import Waiting
from chat_protocol.interfaces import IStore
from chat_protocol.wire.codec import encode
from chat_protocol.wire.commands import Message

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

    def __init__(self, user: User) -> None:
        self.user = user
        self.number = _NUMBERS.get(user, 0)


_NUMBERS: WeakKeyDictionary[User, int] = WeakKeyDictionary()
"""Of the sessions that were registered."""


def register(store: IStore, *names: str) -> list[User]:
    registrations = [Registration(name, 1_000 + index) for index, name in enumerate(names)]
    now(store.commit(Batch(registrations, [], [], {})))
    users = []
    for registration in registrations:
        user = User(registration.name)
        user.id = registration.user_id
        _NUMBERS[user] = registration.number
        users.append(user)
    return users


def run(
    sender: User, recipient: User, *texts: str, time: int = 7, live: bool = False, id_: int = 0
) -> Run:
    frames = [encode(Message(text, sender.name, recipient.name, time)) for text in texts]
    session = cast(Session, Sender(sender))
    made = Run(
        session,
        recipient,
        [b"\0\0\0\1"] * len(texts),
        [text.encode() for text in texts],
        frames,
        sum(map(len, frames)),
        2 if id_ else 1,
        id_,
    )
    if live:
        made.live = session
        made.waits = False
    return made


def commit(
    store: IStore,
    *runs: Run,
    returned: list[Waiting] | None = None,
    taken: dict[int, int] | None = None,
) -> None:
    now(store.commit(Batch([], list(runs), returned or [], taken or {})))


def page(
    store: IStore, user: User, after: int = 0, messages: int = 1000, size: int = 1 << 20
) -> Page:
    asked = Page(user.id, after, messages, size)
    now(store.read([asked]))
    return asked


def texts(asked: Page) -> list[str]:
    return [message.text.decode() for message in asked.messages]


def look_up(store: IStore, name: str) -> int:
    lookup = Lookup(name)
    now(store.read([lookup]))
    return lookup.user_id


def publication(sender: User, text: str, *to: User, id_: int = 0, time: int = 7) -> Publication:
    session = cast(Session, Sender(sender))
    scope = 0 if to else 1
    return Publication(session, b"\0\0\0\1", id_, text.encode(), scope, to, time)


def publish(store: IStore, *publications: Publication) -> None:
    now(store.commit(Batch([], list(publications), [], {})))


def account(store: IStore, user: User) -> tuple[int, int]:
    asked = Account(user.id)
    now(store.read([asked]))
    return asked.publishing_id, asked.pending


def conversation(
    store: IStore, user: User, other: User | None, before: int = 0, limit: int = 100
) -> list[str]:
    asked = Conversation(user.id, other.id if other else 0, before, limit, 1 << 20)
    now(store.read([asked]))
    offsets = [message.offset for message in asked.messages]
    assert offsets == sorted(set(offsets))
    return [message.text.decode() for message in asked.messages]
