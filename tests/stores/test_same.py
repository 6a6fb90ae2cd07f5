"""The SQLite store against the one in memory: whatever happens, both say the same."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from chat_protocol.domain.batch import (
    Account,
    Batch,
    Conversation,
    Page,
    Publication,
    Registration,
    Run,
    UserList,
)
from chat_protocol.domain.directory import User
from chat_protocol.domain.stored import Waiting
from chat_protocol.interfaces import IStore
from chat_protocol.stores.memory.store import MemoryStore
from chat_protocol.stores.sqlite import database, memtable, segments
from chat_protocol.stores.sqlite.store import SQLiteStore
from tests.stores.conftest import WallClock, sqlite_store
from tests.stores.helpers import now, publication, run

NAMES = ["a", "b", "c", "d", "e", "f"]
LIMIT = 12


class Side:
    """One of the stores, and the offsets that it gave: they may differ."""

    def __init__(self, store: IStore) -> None:
        self.store = store
        self.users: dict[str, User] = {}
        self.offsets: dict[str, int] = {}
        """By the text of a message, which is unique."""
        self.live: list[Run] = []

    def answer(self, query: Any) -> Any:
        now(self.store.read([query]))
        return query

    def register(self, name: str, when: int) -> int:
        registration = Registration(name, when)
        now(self.store.commit(Batch([registration], [], [], {})))
        self.users.setdefault(name, User(name)).id = registration.user_id
        return registration.user_id

    def commit(self, messages: list[Any], returned: list[str], taken: dict[str, str]) -> list[Any]:
        made: list[Run | Publication] = []
        for kind, sender, to, numbers, detail in messages:
            users = [self.users.get(name, User(name)) for name in to]
            if kind == "run":
                live, id_ = detail
                made.append(run(self.users[sender], users[0], *numbers, live=live, id_=id_))
            else:
                made.append(publication(self.users[sender], numbers[0], *users, id_=detail))
        back = []
        for text in returned:
            for one in self.live:
                for stored in one.stored().messages():
                    if stored.text.decode() == text:
                        back.append(Waiting(one.recipient_id, stored))
        marks = {self.users[name].id: self.offsets.get(text, 0) for name, text in taken.items()}
        now(self.store.commit(Batch([], made, back, marks)))
        outcomes: list[Any] = []
        for message in made:
            if isinstance(message, Run):
                for stored in message.stored().messages():
                    self.offsets[stored.text.decode()] = stored.offset
                outcomes.append((message.accepted, message.refusal))
                if message.live is not None and message.accepted:
                    self.live.append(message)
            else:
                if message.offset:
                    self.offsets[message.text.decode()] = message.offset
                outcomes.append((bool(message.offset), message.refusal, message.detail))
        return outcomes

    def state(self, rnd: random.Random) -> list[Any]:
        """All that can be asked, with texts instead of offsets."""
        state: list[Any] = [self.store.registered]
        texts = {offset: text for text, offset in self.offsets.items()}
        for user in self.users.values():
            account = self.answer(Account(user.id))
            state.append((user.name, account.publishing_id, account.pending))
            after = 0
            while True:
                page = self.answer(
                    Page(user.id, after, rnd.randint(1, 7), rnd.choice([90, 10_000]))
                )
                state.append([message[1:] for message in page.messages])
                assert [texts[m.offset] for m in page.messages] == [
                    m.text.decode() for m in page.messages
                ]
                if page.complete:
                    break
                after = page.messages[-1].offset
            for other in [0, *(one.id for one in self.users.values())]:
                before, limit = 0, rnd.randint(1, 20)
                size = rnd.choice([150, 100_000])
                for _ in range(3):
                    asked = self.answer(Conversation(user.id, other, before, limit, size))
                    offsets = [message.offset for message in asked.messages]
                    assert offsets == sorted(set(offsets))
                    state.append([message[1:] for message in asked.messages])
                    if not offsets:
                        break
                    before = offsets[0]
        asked = self.answer(UserList(rnd.choice(["", *NAMES]), rnd.randint(1, 7)))
        return [*state, asked.users]


def forget(sides: Sequence[Side], wall_clock: WallClock, rnd: random.Random) -> None:
    """As much in both, and then perhaps leave the rest of the work for later."""
    age = rnd.choice([100, 300, 2000])
    for side in sides:
        while now(side.store.forget(0)):
            pass
        for _ in range(rnd.randint(1, 9)):
            now(side.store.forget(wall_clock.now - age * 10**9))


def reopened(
    store: SQLiteStore, path: Path, rnd: random.Random, wall_clock: WallClock
) -> SQLiteStore:
    how = rnd.random()
    if how < 0.1:
        now(store.close())
        store = sqlite_store(path, LIMIT, wall_clock)
        now(store.open())
    elif how < 0.3:
        # As after a kill: nothing is known but what the file says.
        store._open_database()._stale = True
    return store


@pytest.mark.parametrize("seed", range(12))
def test_both_say_the_same(
    seed: int, sqlite_path: Path, wall_clock: WallClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    rnd = random.Random(seed)
    monkeypatch.setattr(memtable, "ENTRIES", rnd.choice([3, 10, 50]))
    monkeypatch.setattr(database, "_SWEEP_SECONDS", rnd.choice([0, 0.002]))
    monkeypatch.setattr(segments, "CHUNK_BYTES", rnd.choice([1, 200, 3500]))
    store = sqlite_store(sqlite_path, LIMIT, wall_clock)
    now(store.open())
    sides = Side(MemoryStore(LIMIT, wall_clock=wall_clock)), Side(store)
    number = 0
    for step in range(60):
        sides[1].store = store = reopened(store, sqlite_path, rnd, wall_clock)
        wall_clock.pass_(rnd.choice([0, 0, 61]))
        if rnd.random() < 0.1:
            forget(sides, wall_clock, rnd)
        known = list(sides[0].users)
        if len(known) < 2 or rnd.random() < 0.1:
            name = rnd.choice(NAMES)
            assert sides[0].register(name, step) == sides[1].register(name, step)
            continue
        messages: list[Any] = []
        for _ in range(rnd.randint(0, 4)):
            sender = rnd.choice(known)
            if rnd.random() < 0.6:
                count = rnd.randint(1, 5)
                texts = [str(number + n) for n in range(count)]
                id_ = rnd.choice([0, 1000 + number])
                number += count
                to = rnd.choice(NAMES)
                live = to in known and rnd.random() < 0.5
                messages.append(("run", sender, [to], texts, (live, id_)))
            else:
                several = rnd.sample(known, rnd.choice([0, 1, 1, min(3, len(known))]))
                id_ = rnd.choice([0, rnd.randint(1, 20), 2**64 - rnd.randint(1, 9)])
                messages.append(("publication", sender, several, [str(number)], id_))
                number += 1
        past = [stored.text.decode() for one in sides[0].live for stored in one.stored().messages()]
        returned = rnd.sample(past, min(len(past), rnd.choice([0, 0, 0, 2])))
        taken = {}
        for name in rnd.sample(known, rnd.choice([0, 0, 1, 2])):
            page = sides[0].answer(Page(sides[0].users[name].id, 0, 100, 100_000))
            if page.messages:
                taken[name] = rnd.choice(page.messages).text.decode()
        one, other = (side.commit(messages, returned, taken) for side in sides)
        assert one == other
        look = rnd.random()
        one, other = (side.state(random.Random(look)) for side in sides)
        assert one == other
    now(store.close())
