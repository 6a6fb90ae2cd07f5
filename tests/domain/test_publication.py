"""One Publish to many: what is done once, and what for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chat_protocol.domain.acked import AckedDelivery
from chat_protocol.domain.batch import Page, Publication
from chat_protocol.domain.directory import User
from chat_protocol.domain.limits import Limits
from chat_protocol.domain.session import Session
from chat_protocol.wire.codec import decode
from chat_protocol.wire.commands import Deliver


class Output:
    backlog = 0

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.offsets: list[int] = []

    def write_messages(self, frames: list[bytes], offsets: Sequence[int]) -> None:
        self.frames += frames
        self.offsets += offsets


def live(user: User, output: Any) -> AckedDelivery:
    pages: list[Page] = []
    delivery = AckedDelivery(
        user, output, Limits(), lambda _, page: pages.append(page), lambda *_: None, 10
    )
    delivery.begin()
    delivery.page_read(pages[0])
    return delivery


def test_all_sessions_of_version_2_get_the_same_bytes_encoded_once() -> None:
    nothing: Any = None
    alice = Session(User("alice"), nothing, nothing, nothing, 2)
    users = tuple(User(f"user{n}") for n in range(3))
    publication = Publication(alice, b"\0\0\0\1", 0, b"hi", 0, users, 5)
    outputs = [Output() for _ in users]
    deliveries = [live(*pair) for pair in zip(users, outputs, strict=True)]
    for delivery in deliveries:
        assert delivery.admit(publication.size, 1)
    publication.offset = 9
    for delivery in deliveries:
        delivery.deliver_publication(publication)
    ((frame,), *others) = (output.frames for output in outputs)
    assert all(other[0] is frame for other in others)
    to = tuple(user.name for user in users)
    assert decode(frame[4:])[1] == Deliver(9, "hi", "alice", 0, to, 5)
    assert all(output.offsets == [9] for output in outputs)
