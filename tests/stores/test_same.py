"""The SQLite store against the one in memory: whatever happens, both say the same."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from chat_protocol.domain.messages import Batch, Registration
from chat_protocol.domain.ports import IStore
from chat_protocol.domain.queries import Account, Conversation, Page, UserList
from chat_protocol.domain.users import User
from chat_protocol.stores.memory.store import MemoryStore
from chat_protocol.stores.sqlite import database, memtable, segments
from chat_protocol.stores.sqlite.store import SQLiteStore
from tests.stores.conftest import WallClock, sqlite_store
from tests.stores.helpers import message, now, singles

NAMES = ["a", "b", "c", "d", "e", "f"]
LIMIT = 12


class Sending(NamedTuple):
    """A message by names."""

    sender: str
    device: str
    to: list[str]
    """Empty: everyone."""
    texts: list[str]
    id_: int


class Side:
    """One of the stores, and the offsets that it gave: they may differ."""

    def __init__(self, store: IStore) -> None:
        self.store = store
        self.users: dict[str, User] = {}
        self.offsets: dict[str, int] = {}
        """By the text of a message, which is unique."""

    def answer(self, query: Any) -> Any:
        now(self.store.read([query]))
        return query

    def register(self, name: str, when: int) -> int:
        registration = Registration(name, when)
        now(self.store.commit(Batch([registration], [], {})))
        self.users.setdefault(name, User(name)).id = registration.user_id
        return registration.user_id

    def commit(self, sent: list[Sending], positions: dict[str, str]) -> list[Any]:
        made = []
        for sender, device, to, texts, id_ in sent:
            users = tuple(self.users.get(name, User(name)) for name in to)
            one = message(self.users[sender], *texts, to=users, id_=id_, device=device)
            made.append(one)
        keys = {(self.users[name].id, 0): self.offsets[text] for name, text in positions.items()}
        now(self.store.commit(Batch([], list(made), keys)))
        for one in made:
            if one.offset:
                found = singles([one.entry()])
                self.offsets.update((single.text, single.offset) for single in found)
        return [(one.accepted, bool(one.offset), one.refusal, one.detail) for one in made]

    def state(self, rnd: random.Random) -> list[Any]:
        """Everything that can be asked, with texts instead of offsets."""
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
                found = singles(page.entries)
                state.append([one[1:] for one in found])
                assert [texts[one.offset] for one in found] == [one.text for one in found]
                if page.complete:
                    break
                after = found[-1].offset
            for other in [0, *(one.id for one in self.users.values())]:
                before, limit = 0, rnd.randint(1, 20)
                size = rnd.choice([150, 100_000])
                for _ in range(3):
                    asked = self.answer(Conversation(user.id, other, before, limit, size))
                    found = singles(asked.entries)
                    offsets = [one.offset for one in found]
                    assert offsets == sorted(set(offsets))
                    state.append([one[1:] for one in found])
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


class Traffic:
    """Makes messages with unique texts, as sessions would send them."""

    def __init__(self, rnd: random.Random) -> None:
        self._rnd = rnd
        self._texts = 0
        self._highest: dict[tuple[str, str], int] = {}
        """Publishing ids that were sent, by user and device."""

    def sending(self, known: list[str]) -> Sending:
        rnd = self._rnd
        sender, device = rnd.choice(known), rnd.choice(["", "", "", "phone", "laptop"])
        count = rnd.randint(1, 5)
        kind = rnd.random()
        if kind < 0.6:
            to = [rnd.choice(NAMES)]
        elif kind < 0.9:
            to = rnd.sample(NAMES, rnd.randint(1, 3))
        else:
            to = []
        highest = self._highest.get((sender, device), 0)
        id_ = rnd.choice([0, 0, highest + 1, highest + rnd.randint(1, 9), rnd.randint(1, 20)])
        if 0 < id_ <= highest:
            # What may be stored already comes one by one.
            count = 1
        elif id_ and rnd.random() < 0.05:
            id_ = 2**64 - rnd.randint(5, 9)
        elif id_:
            self._highest[sender, device] = id_ + count - 1
        first = self._texts
        self._texts += count
        return Sending(sender, device, to, [str(first + n) for n in range(count)], id_)


@pytest.mark.parametrize("seed", range(12))
def test_both_say_the_same(
    seed: int, sqlite_path: Path, wall_clock: WallClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    rnd = random.Random(seed)
    monkeypatch.setattr(memtable, "ENTRIES", rnd.choice([3, 10, 50]))
    monkeypatch.setattr(database, "_PURGE_SECONDS", rnd.choice([0, 0.002]))
    monkeypatch.setattr(segments, "SEGMENT_BYTES", rnd.choice([1, 200, 3500]))
    store = sqlite_store(sqlite_path, LIMIT, wall_clock)
    now(store.open())
    sides = Side(MemoryStore(LIMIT, wall_clock=wall_clock)), Side(store)
    traffic = Traffic(rnd)
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
        sent = [traffic.sending(known) for _ in range(rnd.randint(0, 4))]
        positions = {}
        for name in rnd.sample(known, rnd.choice([0, 0, 1, 2])):
            page = sides[0].answer(Page(sides[0].users[name].id, 0, 100, 100_000))
            if page.entries:
                positions[name] = rnd.choice(singles(page.entries)).text
            elif sides[0].offsets:
                # An old one: a position never moves back.
                positions[name] = rnd.choice(list(sides[0].offsets))
        one, other = (side.commit(sent, positions) for side in sides)
        assert one == other
        look = rnd.random()
        one, other = (side.state(random.Random(look)) for side in sides)
        assert one == other
    now(store.close())
