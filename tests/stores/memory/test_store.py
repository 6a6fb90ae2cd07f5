"""What only the store in memory does."""

from __future__ import annotations

import pytest

from chat_protocol.stores.memory import store as store_module
from chat_protocol.stores.memory.store import MemoryStore
from tests.stores.helpers import commit, conversation, register, run


def test_history_is_looked_for_among_the_newest_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "HISTORY_LOOKS", 3)
    store = MemoryStore()
    alice, bob, carol = register(store, "alice", "bob", "carol")
    for text in ("old", "1", "2"):
        commit(store, run(alice, bob, text))
    assert conversation(store, alice, bob) == ["old", "1", "2"]
    commit(store, run(carol, alice, "x"))
    assert conversation(store, alice, bob) == ["1", "2"]
