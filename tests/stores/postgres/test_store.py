"""What only the PostgreSQL store does: offsets, publishing ids and devices in its tables."""

from __future__ import annotations

from threading import Barrier, Thread

import pytest

from chat_protocol.domain.queries import Page
from chat_protocol.stores.postgres import known, retention
from chat_protocol.stores.postgres.admin.admin import PostgresAdmin
from chat_protocol.wire.codes import Code
from chat_protocol.wire.frames import names_of
from tests.stores.conftest import WallClock
from tests.stores.helpers import (
    account,
    commit,
    conversation,
    log_in,
    message,
    now,
    page,
    position,
    publication,
    register,
    run,
    singles,
    texts,
)
from tests.stores.postgres.marking import MarkingStore
from tests.stores.postgres.server import PostgresServer
from tests.stores.postgres.stores import connected, opened, rows

pytestmark = pytest.mark.postgresql

PUBLISHING = "SELECT first, last FROM publishing ORDER BY first"


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.new_database()


@pytest.mark.parametrize("purpose", ["batches", "lease"])
def test_no_statement_is_compiled(url: str, purpose: str) -> None:
    store = opened(url)
    assert store._connections.get(purpose).execute("SHOW jit").fetchone() == ("off",)
    now(store.close())


def test_pages_whose_messages_follow_each_other_stay_apart(url: str) -> None:
    store = opened(url)
    alice, bob = register(store, "alice", "bob")
    commit(store, run(alice, bob, "one", "two", "three"))
    first, second, _ = (one.offset for one in singles(page(store, bob).entries))
    # The store reads one message more than there is room for.
    pages = Page(bob.id, first - 1, 1, 1 << 20), Page(bob.id, second, 1, 1 << 20)
    now(store.read(pages))
    assert [texts(one) for one in pages] == [["one"], ["three"]]
    now(store.close())


# Offsets.


def test_offsets_of_two_nodes_never_meet_however_long_a_message_is(url: str) -> None:
    stores = [opened(url), opened(url)]
    users = [register(store, f"user{n}", f"peer{n}") for n, store in enumerate(stores)]
    sent = [
        [run(one, other, *["x"] * count) for count in (1, 3000, 2, 5000) * 3]
        for one, other in users
    ]
    start = Barrier(2)

    def work(index: int) -> None:
        start.wait()
        for one in sent[index]:
            commit(stores[index], one)

    threads = [Thread(target=work, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ranges = [range(one.offset, one.offset + one.accepted) for both in sent for one in both]
    assert len({offset for one in ranges for offset in one}) == 2 * 3 * 8003
    for store in stores:
        now(store.close())
    assert PostgresAdmin(url).check().faults == []


def test_a_batch_draws_no_more_offsets_than_it_has_messages(url: str) -> None:
    store = opened(url)
    alice, bob = register(store, "alice", "bob")
    offsets = []
    for _ in range(3):
        sent = run(alice, bob, "1", "2")
        commit(store, sent, publication(bob, "3", alice, bob))
        offsets.append(sent.offset)
    assert offsets == [offsets[0], offsets[0] + 3, offsets[0] + 6]
    now(store.close())


SLOW_PEERS = """
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_sleep(0.02);
    RETURN new;
END $$;
CREATE TRIGGER slow BEFORE INSERT ON peer FOR EACH ROW EXECUTE FUNCTION slow();
"""


def test_two_nodes_do_not_wait_for_each_other_when_users_meet(url: str) -> None:
    stores = [opened(url), opened(url)]
    users = [register(store, *(f"{n}.{m}" for m in range(10))) for n, store in enumerate(stores)]
    with connected(url) as connection:
        connection.execute(SLOW_PEERS)
    start = Barrier(2)
    batches = [
        [run(one, other, "hi") for one, other in zip(users[n], users[1 - n], strict=True)]
        for n in range(2)
    ]

    def work(index: int) -> None:
        start.wait()
        # What the one does first, the other does last.
        commit(stores[index], *batches[index][:: 1 - 2 * index])

    threads = [Thread(target=work, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.accepted for batch in batches for one in batch] == [1] * 20
    for store in stores:
        now(store.close())


# Publishing ids.


def test_ids_that_follow_each_other_are_one_row(url: str) -> None:
    store = opened(url)
    alice, bob = register(store, "alice", "bob")
    for first in (5, 8, 11):
        commit(store, run(alice, bob, "a", "b", "c", id_=first))
    assert rows(url, PUBLISHING) == [(5, 13)]
    commit(store, run(alice, bob, "d", id_=20), run(alice, bob, "e", id_=21))
    assert rows(url, PUBLISHING) == [(5, 13), (20, 21)]
    now(store.close())


def test_ids_are_cut_in_memory_and_go_on_in_the_same_row(url: str) -> None:
    store = opened(url)
    alice, bob = register(store, "alice", "bob")
    for first in range(1, 4501, 500):
        commit(store, run(alice, bob, *["x"] * 500, id_=first))
    assert rows(url, PUBLISHING) == [(1, 4500)]
    commit(store, run(alice, bob, "x", id_=4501))
    assert rows(url, PUBLISHING) == [(1, 4501)]
    now(store.close())
    store = opened(url)
    (alice,) = register(store, "alice")
    commit(store, run(alice, bob, "x", id_=4502))
    assert rows(url, PUBLISHING) == [(1, 4502)]
    now(store.close())


def test_rows_of_ids_that_are_looked_back_on_no_more_are_deleted(url: str) -> None:
    store = opened(url)
    alice, bob = register(store, "alice", "bob")
    for first in range(0, 9000, 1000):
        commit(store, *[run(alice, bob, "x", id_=first + n) for n in range(1, 1000, 2)])
    found = rows(url, PUBLISHING)
    assert 1000 <= len(found) <= 2000
    assert found[-1] == (8999, 8999)
    # It is the same after a restart, and what is looked back on is exact.
    now(store.close())
    store = opened(url)
    (alice,) = register(store, "alice")
    stored, hole, old = (run(alice, bob, "again", id_=id_) for id_ in (8001, 8002, 1))
    commit(store, stored, hole, old)
    assert (stored.accepted, stored.offset) == (1, 0)
    assert (hole.refusal, hole.detail) == (
        Code.OUT_OF_ORDER,
        "publishingId 8002 was not stored, but 8999 was",
    )
    assert old.refusal is Code.OUT_OF_ORDER
    assert "is not known" in old.detail
    now(store.close())


def test_what_is_kept_in_memory_may_be_less_than_a_batch_needs(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known, "_PUBLISHERS_KEPT", 2)
    monkeypatch.setattr(known, "_PEERS_KEPT", 2)
    store = opened(url)
    users = register(store, *(f"user{n}" for n in range(9)))
    for user in users:
        log_in(store, user, f"d{user.id % 4}")
    for id_ in (1, 2):
        for _ in range(2):
            commit(
                store,
                *(
                    message(user, str(id_), to=(users[0],), id_=id_, device=f"d{user.id % 4}")
                    for user in users
                ),
            )
    assert page(store, users[0]).count == 18
    assert rows(url, "SELECT DISTINCT first, last FROM publishing") == [(1, 2)]
    assert rows(url, "SELECT count(*) FROM device WHERE id > 0") == [9]
    assert [conversation(store, users[0], user) for user in users[1:]] == [["1", "2"]] * 8
    now(store.close())


def test_a_session_that_was_taken_over_forgets_the_ids(url: str) -> None:
    first, second = opened(url), opened(url)
    alice, bob = register(first, "alice", "bob")
    commit(first, run(alice, bob, "1", id_=1))
    with connected(url) as connection:
        connection.execute("DELETE FROM session")
    (other,) = register(second, "alice")
    lost = run(alice, bob, "2", id_=2)
    commit(first, lost)
    assert lost.refusal is Code.UNAVAILABLE
    commit(second, run(other, bob, "3", id_=3))
    with connected(url) as connection:
        connection.execute("DELETE FROM session")
    (alice,) = register(first, "alice")
    again = run(alice, bob, "2", id_=2)
    commit(first, again)
    assert again.refusal is Code.OUT_OF_ORDER
    for store in (first, second):
        now(store.close())


# Entries.


def test_many_bytes_become_several_rows(url: str) -> None:
    store = opened(url)
    alice, bob = register(store, "alice", "bob")
    sent = ["1" * 40_000, "2" * 30_000, "3" * 30_000, "4" * 65_500, "5"]
    commit(store, run(alice, bob, *sent))
    counts = "SELECT count FROM {} ORDER BY last"
    for table in ("message", "inbox", "conversation"):
        assert rows(url, counts.format(table)) == [1, 2, 1, 1]
    assert texts(page(store, bob)) == sent
    assert texts(page(store, bob, messages=2)) == sent[:2]
    assert conversation(store, bob, alice) == sent
    now(store.close())


def test_a_position_within_a_row(url: str) -> None:
    store = opened(url)
    alice, bob = register(store, "alice", "bob")
    commit(store, run(alice, bob, *"123"), run(alice, bob, *"456"))
    first = page(store, bob).entries[0].offset
    for received, waiting in ((2, "3456"), (4, "56"), (6, "")):
        commit(store, positions=position(bob, first + received - 1))
        assert texts(page(store, bob)) == list(waiting)
        assert account(store, bob) == (0, len(waiting))
        assert rows(url, "SELECT waiting FROM account WHERE name = 'bob'") == [len(waiting)]
        assert PostgresAdmin(url).statistics().waiting == len(waiting)
    assert rows(url, "SELECT count(*) FROM inbox") == [0]
    now(store.close())


def test_history_begins_and_ends_within_a_row(url: str) -> None:
    store = opened(url)
    alice, bob = register(store, "alice", "bob")
    commit(store, run(alice, bob, *"123"), message(bob, *"ABC"), run(bob, alice, *"456"))
    first = page(store, bob).entries[0].offset
    everything = "123ABC456"
    for before in range(1, 10):
        for other in (alice, None):
            for limit in (2, 100):
                found = conversation(store, bob, other, first + before, limit)
                assert found == list(everything[:before][-limit:])
    now(store.close())


def test_the_last_recipient_who_is_left_is_named_in_the_frame(url: str) -> None:
    store = opened(url)
    alice, bob, _ = users = register(store, "alice", "bob", "carol")
    commit(store, message(alice, "x", to=tuple(users[1:])))
    now(store.close())
    PostgresAdmin(url).delete_user("carol")
    store = opened(url)
    (entry,) = page(store, bob).entries
    assert (entry.to, list(map(names_of, entry.frames))) == (("bob",), [("alice", "bob")])
    now(store.close())


# Devices.


def test_a_user_with_one_device_has_no_row_for_it(url: str) -> None:
    store = opened(url)
    alice, bob = register(store, "alice", "bob")
    commit(store, run(alice, bob, "1", "2", id_=1))
    commit(store, positions=position(bob, page(store, bob).entries[0].offset))
    assert rows(url, "SELECT count(*) FROM device") == [0]
    assert rows(url, "SELECT DISTINCT device FROM message") == [None]
    now(store.close())


def test_a_message_names_its_device_even_to_another_node(url: str) -> None:
    store = opened(url)
    alice, bob = register(store, "alice", "bob")
    log_in(store, alice, "phone", "tablet")
    for device in ("phone", "", "phone", "tablet"):
        commit(store, message(alice, device, to=(bob,), device=device))
    now(store.close())
    store = opened(url)
    assert [one.device for one in singles(page(store, bob).entries)] == [
        *("phone", "", "phone", "tablet")
    ]
    assert rows(url, "SELECT name FROM device ORDER BY id") == ["", "phone", "tablet"]
    with connected(url) as connection:
        connection.execute("DELETE FROM device WHERE name = 'phone'")
    now(store.close())
    store = opened(url)
    # Not the name of any other device.
    assert [one.device for one in singles(page(store, bob).entries)] == [" ", "", " ", "tablet"]
    now(store.close())


# Retention.


def test_all_that_is_expired_is_hidden_with_the_first_step(
    url: str, wall_clock: WallClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "ENTRIES", 2)
    worker_store = opened(url)
    store = MarkingStore.opened(url, wall_clock)
    alice, bob = register(store, "alice", "bob")
    commit(store, run(alice, bob, *"1234"), publication(alice, "5"))
    wall_clock.pass_(24 * 3600)
    commit(store, run(alice, bob, "6"), publication(alice, "7"))
    assert now(store.forget(wall_clock.now - 3600 * 10**9)), "no work is left"
    for one in (store, worker_store):
        assert texts(page(one, bob)) == ["6", "7"]
        assert conversation(one, bob, None) == ["6", "7"]
        assert account(one, bob) == (0, 2)
    while now(store.forget(wall_clock.now - 3600 * 10**9)):
        pass
    assert rows(url, "SELECT count(*) FROM message") == [2]
    assert account(store, bob) == (0, 2)
    for one in (store, worker_store):
        now(one.close())
    assert PostgresAdmin(url).check().faults == []
