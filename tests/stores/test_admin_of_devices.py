"""The devices of users, as an operator lists and forgets them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chat_protocol.domain.ports import IStore
from chat_protocol.errors import StoreUnusable, UserNotFound
from chat_protocol.stores.admin import StoreAdmin
from chat_protocol.stores.sqlite.admin.admin import SQLiteAdmin
from tests.stores.conftest import sqlite_store
from tests.stores.helpers import (
    commit,
    last_of,
    log_in,
    message,
    now,
    page,
    position,
    publication,
    register,
    run,
    texts,
)


class Kind:
    """One kind of store, with its administration."""

    def __init__(self, opened: Callable[[], IStore], admin: StoreAdmin) -> None:
        self.opened = opened
        self.admin = admin


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kind]:
    if request.param == "sqlite":
        path = tmp_path / "chat.db"

        def opened() -> IStore:
            store = sqlite_store(path)
            now(store.open())
            return store

        yield Kind(opened, SQLiteAdmin(str(path)))
        return
    from chat_protocol.stores.postgres.admin.admin import PostgresAdmin
    from tests.stores.postgres import stores

    url = request.getfixturevalue("postgres").new_database()
    yield Kind(lambda: stores.opened(url), PostgresAdmin(url))


def make_users(kind: Kind) -> None:
    """Alice with three devices, who has got a message and sent one, and bob with one device."""
    store = kind.opened()
    alice, bob = register(store, "alice", "bob")
    log_in(store, alice, "phone", "laptop")
    commit(store, run(bob, alice, "hi"), message(alice, "copied", to=(bob,), device="phone"))
    now(store.close())


def names(kind: Kind, user: str) -> list[str]:
    return [one.name for one in kind.admin.devices(user)]


def test_devices_are_listed(kind: Kind) -> None:
    make_users(kind)
    assert sorted(names(kind, "alice")) == ["", "laptop", "phone"]
    assert names(kind, "bob") == [""]
    with pytest.raises(UserNotFound):
        kind.admin.devices("nobody")


def test_what_some_device_has_not_received_is_pending(kind: Kind) -> None:
    store = kind.opened()
    alice, bob = register(store, "alice", "bob")
    log_in(store, alice, "phone")
    commit(store, run(bob, alice, "1", "2"), publication(bob, "to all"))
    commit(store, run(alice, bob, "a copy"))
    commit(store, positions=position(alice, last_of(page(store, alice))))
    now(store.close())
    assert {one.name: one.waiting for one in kind.admin.users()} == {"alice": 3, "bob": 1}


def test_the_end_of_an_only_device_is_not_known(kind: Kind) -> None:
    make_users(kind)
    kind.admin.forget_device("alice", "phone")
    kind.admin.forget_device("alice", "")
    assert [one.ended for one in kind.admin.devices("alice")] == [None]


def test_a_device_is_forgotten_but_not_the_last_one(kind: Kind) -> None:
    make_users(kind)
    kind.admin.forget_device("alice", "phone")
    kind.admin.forget_device("alice", "")
    assert names(kind, "alice") == ["laptop"]
    for user, device, sentence in (
        ("alice", "laptop", "'laptop' is the last device of alice"),
        ("alice", "phone", "alice has no device 'phone'; the devices are: 'laptop'"),
        ("bob", "", "the unnamed device is the last device of bob"),
    ):
        with pytest.raises(StoreUnusable, match=sentence):
            kind.admin.forget_device(user, device)
    with pytest.raises(UserNotFound):
        kind.admin.forget_device("nobody", "")
    assert kind.admin.check().faults == []


def test_a_user_is_deleted_with_its_devices_and_copies(kind: Kind) -> None:
    make_users(kind)
    kind.admin.delete_user("bob")
    store = kind.opened()
    (alice,) = register(store, "alice")
    assert texts(page(store, alice)) == []
    now(store.close())
    assert kind.admin.check().faults == []
    kind.admin.delete_user("alice")
    assert list(kind.admin.users()) == []
    assert kind.admin.check().faults == []
