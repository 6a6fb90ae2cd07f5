"""Paging through long answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed

from chat_protocol.cli.queries import _PAGE_SIZE, page_messages, page_users
from chat_protocol.client import ReceivedMessage, UserInfo
from tests.cli.sessions import result


class Archive:
    """A client whose server has ``size`` messages and users, and returns at most ``page`` at a
    time."""

    def __init__(self, size: int, page: int = _PAGE_SIZE) -> None:
        self.messages = [
            ReceivedMessage("bob", str(number), 0, ("alice",), offset=number)
            for number in range(1, size + 1)
        ]
        self.users_known = [UserInfo(f"{number:04}", False, 0) for number in range(size)]
        self.page = page
        self.asked: list[tuple[int, int]] = []
        self.shown: list[int] = []
        self.pages: list[int] = []

    def history(self, with_: str, before: int, limit: int) -> Deferred[list[ReceivedMessage]]:
        assert with_ == "bob"
        self.asked.append((before, limit))
        found = [one for one in self.messages if not before or one.offset < before]
        return succeed(found[-min(limit, self.page) :])

    def users(self, after: str, limit: int) -> Deferred[list[UserInfo]]:
        found = [one for one in self.users_known if one.name > after]
        return succeed(found[: min(limit, self.page)])

    def show(self, page: Sequence[Any]) -> Deferred[None]:
        self.pages.append(len(page))
        self.shown += [int(one.text) if isinstance(one, ReceivedMessage) else int(one.name)
                       for one in page]  # fmt: skip
        return succeed(None)

    def read(self, limit: int | None) -> int:
        client: Any = self
        return result(Deferred.fromCoroutine(page_messages(client, "bob", limit, self.show)))


@pytest.mark.parametrize("size", [0, 1, 9, 10, 11, 20, 25])
def test_all_messages_are_shown_once_oldest_first(size: int) -> None:
    archive = Archive(size, page=10)
    assert archive.read(None) == size
    assert archive.shown == list(range(1, size + 1))
    assert all(page <= 10 for page in archive.pages)


@pytest.mark.parametrize("limit", [1, 9, 10, 11, 24, 25, 26])
def test_the_newest_messages_are_shown_oldest_first(limit: int) -> None:
    archive = Archive(25, page=10)
    assert archive.read(limit) == min(limit, 25)
    assert archive.shown == list(range(1, 26))[-limit:]


def test_a_single_page_is_requested_once() -> None:
    archive = Archive(25)
    archive.read(20)
    assert archive.asked == [(0, 20)]


def test_a_message_received_meanwhile_changes_nothing() -> None:
    """The pages are bounded by the offsets of the first pass."""
    archive = Archive(25, page=10)
    show = archive.show

    def show_and_receive(page: Sequence[Any]) -> Deferred[None]:
        archive.messages.append(ReceivedMessage("bob", "99", 0, ("alice",), offset=99))
        return show(page)

    archive.show = show_and_receive  # type: ignore[method-assign]
    archive.read(None)
    assert archive.shown == list(range(1, 26))


@pytest.mark.parametrize("size", [0, 1, 10, 25])
def test_all_users(size: int) -> None:
    archive = Archive(size, page=10)
    client: Any = archive
    result(Deferred.fromCoroutine(page_users(client, archive.show)))
    assert archive.shown == list(range(size))
