"""Each store, for the suite that all of them pass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from twisted.internet.defer import Deferred, maybeDeferred, succeed

from chat_protocol.interfaces import IStore
from chat_protocol.stores.memory import MemoryStore
from chat_protocol.stores.sqlite import SQLiteStore

T = TypeVar("T")

MakeStore = Callable[[int], IStore]


class ImmediateWorker:
    """Runs everything at once, in the test's own thread."""

    def run(self, function: Callable[[], T]) -> Deferred[T]:
        return maybeDeferred(function)

    def stop(self) -> Deferred[None]:
        return succeed(None)


@pytest.fixture(params=["memory", "sqlite"])
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> MakeStore:
    """Makes a store with a mailbox limit; what it is depends on the parameter."""

    def make(mailbox_limit: int) -> IStore:
        if request.param == "memory":
            return MemoryStore(mailbox_limit)
        return SQLiteStore(str(tmp_path / "chat.db"), mailbox_limit, ImmediateWorker())

    return make


@pytest.fixture
def sqlite_path(tmp_path: Path) -> Path:
    return tmp_path / "chat.db"


def sqlite_store(path: Path, mailbox_limit: int = 0) -> SQLiteStore:
    return SQLiteStore(str(path), mailbox_limit, ImmediateWorker())
