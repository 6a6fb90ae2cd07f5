"""The SQLite store against the one in memory: whatever happens, both say the same."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest

from chat_protocol.domain.login_rules import LoginRequest, is_device, sender_name
from chat_protocol.domain.messages import Batch, PositionKey, Registration
from chat_protocol.domain.ports import IStore
from chat_protocol.domain.queries import Account, Conversation, Page, UserList
from chat_protocol.domain.users import Session, User
from chat_protocol.stores.memory import store as memory_store
from chat_protocol.stores.memory.store import MemoryStore
from chat_protocol.stores.sqlite import database, memtable, segments
from chat_protocol.stores.sqlite.store import SQLiteStore
from tests.stores.conftest import WallClock, sqlite_store
from tests.stores.helpers import Sender, message, now, singles

NAMES = ["a", "b", "c", "d", "e", "f"]
DEVICES = ["", "", "", "phone", "laptop", sender_name("script")]
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
        self.sessions: dict[tuple[str, str], Sender] = {}
        """By user and device; all of them stay online."""
        self.offsets: dict[str, int] = {}
        """By the text of a message, which is unique."""

    def answer(self, query: Any) -> Any:
        now(self.store.read([query]))
        return query

    def log_in(self, name: str, device: str, when: int) -> tuple[int, bool, bool]:
        here = [one for (user, _), one in self.sessions.items() if user == name]
        registration = Registration(
            name,
            when,
            LoginRequest(device, 2, takes_over=True, verified=True),
            "token",
            frozenset(one.device_id for one in here),
        )
        now(self.store.commit(Batch([registration], [], {})))
        user = self.users.setdefault(name, User(name))
        user.id, user.has_devices = registration.user_id, registration.has_devices
        session = self.sessions[name, device] = Sender(user, device, registration.device_id)
        session.number = registration.number
        return registration.user_id, registration.known, bool(registration.refused)

    def commit(self, sent: list[Sending], positions: dict[tuple[str, str], str]) -> list[Any]:
        made = []
        for sender, device, to, texts, id_ in sent:
            users = tuple(self.users.get(name, User(name)) for name in to)
            one = message(self.users[sender], *texts, to=users, id_=id_)
            one.sender = cast(Session, self.sessions[sender, device])
            made.append(one)
        keys = {self._key(*one): self.offsets[text] for one, text in positions.items()}
        now(self.store.commit(Batch([], list(made), keys)))
        for one in made:
            if one.offset:
                found = singles([one.entry()])
                self.offsets.update((single.text, single.offset) for single in found)
        return [(one.accepted, bool(one.offset), one.refusal, one.detail) for one in made]

    def _key(self, name: str, device: str) -> PositionKey:
        session = self.sessions[name, device]
        return session.user.id, session.device_id

    def page(self, name: str, device: str, after: int, most: int, size: int) -> Page:
        user_id, device_id = self._key(name, device)
        asked: Page = self.answer(Page(user_id, after, most, size, device_id))
        return asked

    def forget_devices(self, when: int) -> list[str]:
        """Have devices forgotten; all are online, so they are only reported."""
        keys = {self._key(*one): one for one in self.sessions}
        found = now(self.store.forget_devices(when, 10**9, set(keys)))
        return sorted("/".join(keys[one]) for one in found)

    def state(self, rnd: random.Random) -> list[Any]:
        """Everything that can be asked, with texts instead of offsets."""
        state: list[Any] = [self.store.registered]
        texts = {offset: text for text, offset in self.offsets.items()}
        for (name, device), session in self.sessions.items():
            account = self.answer(Account(session.user.id, session.device_id))
            state.append((name, device, account.publishing_id, account.pending))
            after = 0
            while True:
                page = self.page(name, device, after, rnd.randint(1, 7), rnd.choice([90, 10_000]))
                found = singles(page.entries)
                state.append([one[1:] for one in found])
                assert [texts[one.offset] for one in found] == [one.text for one in found]
                if page.complete:
                    break
                after = found[-1].offset
        for user in self.users.values():
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


def login(known: list[tuple[str, str]], rnd: random.Random) -> tuple[str, str]:
    """Return who logs in. Only a device takes its own session over."""
    while True:
        one = rnd.choice(NAMES), rnd.choice(DEVICES)
        if one not in known or is_device(one[1]):
            return one


def moves(
    side: Side, known: list[tuple[str, str]], rnd: random.Random
) -> dict[tuple[str, str], str]:
    """Return texts up to which some devices have received everything."""
    positions = {}
    receiving = [one for one in known if is_device(one[1])]
    for one in rnd.sample(receiving, min(len(receiving), rnd.choice([0, 0, 1, 2]))):
        page = side.page(*one, 0, 100, 100_000)
        if page.entries:
            positions[one] = rnd.choice(singles(page.entries)).text
        elif side.offsets:
            # An old one: a position never moves back.
            positions[one] = rnd.choice(list(side.offsets))
    return positions


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

    def sending(self, known: list[tuple[str, str]]) -> Sending:
        rnd = self._rnd
        sender, device = rnd.choice(known)
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
    # A step looks at all users, however slow the machine is.
    for module in (database, memory_store):
        monkeypatch.setattr(module, "_FORGET_SECONDS", 60)
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
        known = list(sides[0].sessions)
        if len(known) < 2 or rnd.random() < 0.1:
            name, device = login(known, rnd)
            assert sides[0].log_in(name, device, step) == sides[1].log_in(name, device, step)
            continue
        if rnd.random() < 0.1:
            assert sides[0].forget_devices(step) == sides[1].forget_devices(step)
        sent = [traffic.sending(known) for _ in range(rnd.randint(0, 4))]
        positions = moves(sides[0], known, rnd)
        answers, others = (side.commit(sent, positions) for side in sides)
        assert answers == others
        look = rnd.random()
        state, other = (side.state(random.Random(look)) for side in sides)
        assert state == other
    now(store.close())
