"""What happens to messages for users who are off-line."""

from __future__ import annotations

import threading

import pytest

from tests.blackbox import wire
from tests.blackbox.client import Address, Client, log_in_when_free
from tests.blackbox.conftest import StartServer, UserNames
from tests.blackbox.mailbox import burst, register


@pytest.mark.parametrize("count", [1, 3, 1000, 1001, 2500])
def test_the_answer_to_a_login_comes_before_the_mailbox_and_all_of_it_in_order(
    address: Address, user: UserNames, count: int
) -> None:
    with Client(address, user("alice")) as alice:
        register(address, user("bob"))
        assert burst(alice, user("bob"), range(count)) == [wire.OK] * count
        with Client(address) as bob:
            bob.write(wire.login(user("bob"), 7))
            assert bob.next_frame() == wire.parse(wire.answer(wire.OK, 7)[4:])
            assert bob.texts(count) == [str(n) for n in range(count)]
            assert alice.send("fence", user("bob")) == wire.OK
            assert bob.receive().text == "fence"


def test_a_delivered_mailbox_is_empty_at_the_next_login(address: Address, user: UserNames) -> None:
    with Client(address, user("alice")) as alice:
        register(address, user("bob"))
        assert burst(alice, user("bob"), range(20)) == [wire.OK] * 20
        with Client(address, user("bob")) as bob:
            bob.texts(20)
        with log_in_when_free(address, user("bob")) as bob:
            assert alice.send("fence", user("bob")) == wire.OK
            assert bob.receive().text == "fence"


def test_what_arrived_live_is_not_in_the_mailbox_at_the_next_login(
    address: Address, user: UserNames
) -> None:
    with Client(address, user("alice")) as alice:
        with Client(address, user("bob")) as bob:
            assert burst(alice, user("bob"), range(20)) == [wire.OK] * 20
            bob.texts(20)
        with log_in_when_free(address, user("bob")) as bob:
            assert alice.send("fence", user("bob")) == wire.OK
            assert bob.receive().text == "fence"


def test_the_mailbox_of_several_senders_keeps_each_ones_order(
    address: Address, user: UserNames
) -> None:
    register(address, user("bob"))
    senders = [Client(address, user(f"s{n}")) for n in range(4)]
    try:
        for _ in range(50):
            for sender in senders:
                sender.write(
                    wire.message(str(sender.new_id()), sender.name, user("bob"), 0, sender.new_id())
                )
        for sender in senders:
            while len(sender.codes) < 50:
                frame = sender.next_frame()
                sender.codes[frame.correlation_id] = frame.code
            assert set(sender.codes.values()) == {wire.OK}
        with Client(address, user("bob")) as bob:
            got: dict[str, list[int]] = {sender.name: [] for sender in senders}
            for _ in range(200):
                text = bob.receive()
                got[text.sender].append(int(text.text))
        for numbers in got.values():
            assert len(numbers) == 50
            assert numbers == sorted(set(numbers))
    finally:
        for sender in senders:
            sender.close()


def test_order_is_kept_from_the_mailbox_to_live_messages(address: Address, user: UserNames) -> None:
    """A sender that goes on while the receiver logs in, reads, leaves and comes again."""
    total = 20_000
    name = user("bob")
    register(address, name)
    done = threading.Event()

    def send() -> None:
        with Client(address, user("alice")) as alice:
            for start in range(0, total, 100):
                assert set(burst(alice, name, range(start, start + 100))) == {wire.OK}
        done.set()

    thread = threading.Thread(target=send)
    thread.start()
    got: list[int] = []
    visits = 0
    try:
        while len(got) < total:
            with log_in_when_free(address, name) as bob:
                visits += 1
                for _ in range(min(3000, total - len(got))):
                    got.append(int(bob.receive().text))
                # Leave in good order: what the server has written is read to the end.
                bob.finish_writing()
                bob.read_to_end()
                got += [int(text.text) for text in bob.inbox]
    finally:
        thread.join()
    assert done.is_set()
    assert visits > 1
    assert sorted(set(got)) == list(range(total)), "lost"
    assert len(got) == total, "doubled"
    assert got == list(range(total)), "order"


@pytest.mark.parametrize("source", ["mailbox", "live"])
def test_a_receiver_that_finishes_while_messages_wait_gets_each_once(
    address: Address, user: UserNames, source: str
) -> None:
    """On the connection that it half-closed or on the next, not on both."""
    count = 1000
    name = user("bob")
    with Client(address, user("alice")) as alice:
        register(address, name)
        if source == "live":
            bob = Client(address, name, receive_buffer=4096)
        for start in range(0, count, 100):
            codes = burst(alice, name, range(start, start + 100), ":" + "x" * 8000)
            assert set(codes) == {wire.OK}
        if source == "mailbox":
            bob = Client(address, name, receive_buffer=4096)
        with bob:
            bob.inbox.append(bob.receive())
            bob.finish_writing()
            bob.read_to_end()
            got = [int(text.text.partition(":")[0]) for text in bob.inbox]
        with log_in_when_free(address, name) as bob:
            assert alice.send("fence", name) == wire.OK
            while (text := bob.receive().text) != "fence":
                got.append(int(text.partition(":")[0]))
    assert sorted(set(got)) == list(range(count)), "lost"
    assert len(got) == count, f"doubled: {len(got) - count}"
    assert got == list(range(count)), "order"


def test_messages_to_an_off_line_user_survive_kill_9(start_server: StartServer) -> None:
    server = start_server()
    register(server.address, "bob")
    with Client(server.address, "alice") as alice:
        assert burst(alice, "bob", range(300)) == [wire.OK] * 300
        server.kill9()
    server.start()
    with Client(server.address, "bob") as bob, Client(server.address, "alice") as alice:
        assert alice.send("fence", "bob", 2**64 - 1) == wire.OK
        got = [bob.receive() for _ in range(301)]
        assert got[:300] == [wire.Text(str(n), "alice", "bob", n) for n in range(300)]
        assert got[300] == wire.Text("fence", "alice", "bob", 2**64 - 1)


def test_users_survive_kill_9(start_server: StartServer) -> None:
    server = start_server()
    register(server.address, "bob")
    server.restart()
    with Client(server.address, "alice") as alice:
        assert alice.send("x", "bob") == wire.OK
        assert alice.send("x", "carol") == wire.USER_NOT_FOUND


def test_the_memory_store_forgets(start_server: StartServer) -> None:
    server = start_server("--store", "memory:")
    register(server.address, "bob")
    with Client(server.address, "alice") as alice:
        assert burst(alice, "bob", range(5)) == [wire.OK] * 5
        with Client(server.address, "bob") as bob:
            assert bob.texts(5) == [str(n) for n in range(5)]
    server.restart()
    with Client(server.address, "alice") as alice:
        assert alice.send("x", "bob") == wire.USER_NOT_FOUND


@pytest.mark.parametrize("store", ["sqlite:chat.db", "memory:"])
class TestLimit:
    def test_the_message_after_the_last_that_fits_is_2_until_the_mailbox_is_read(
        self, start_server: StartServer, store: str
    ) -> None:
        server = start_server("--mailbox-limit", "5", "--store", store)
        register(server.address, "bob", "carol")
        with Client(server.address, "alice") as alice:
            codes = [alice.send(str(n), "bob") for n in range(8)]
            assert codes == [wire.OK] * 5 + [wire.ERROR] * 3
            # Another's mailbox has nothing to do with it.
            assert alice.send("x", "carol") == wire.OK
            with Client(server.address, "bob") as bob:
                assert bob.texts(5) == [str(n) for n in range(5)]
                assert alice.send("live", "bob") == wire.OK
                assert bob.receive().text == "live"
            register(server.address, "bob")
            codes = [alice.send(f"again {n}", "bob") for n in range(6)]
            assert codes == [wire.OK] * 5 + [wire.ERROR]
            with log_in_when_free(server.address, "bob") as bob:
                assert bob.texts(5) == [f"again {n}" for n in range(5)]

    def test_holds_within_one_pipelined_burst(self, start_server: StartServer, store: str) -> None:
        server = start_server("--mailbox-limit", "5", "--store", store)
        register(server.address, "bob", "carol")
        with Client(server.address, "alice") as alice:
            numbers = range(40)
            alice.write(
                b"".join(
                    wire.message(str(n), "alice", "bob" if n % 2 else "carol", 0, n)
                    for n in numbers
                )
            )
            codes = alice.answers(numbers)
            assert [n for n in numbers if codes[n] == wire.OK] == list(range(10))
            assert set(codes[10:]) == {wire.ERROR}
            # And once the server has met them: in one run.
            assert set(burst(alice, "bob", range(100, 120))) == {wire.ERROR}
            for name, first in (("bob", 1), ("carol", 0)):
                with Client(server.address, name) as client:
                    assert client.texts(5) == [str(n) for n in range(first, 10, 2)]
                    assert alice.send("fence", name) == wire.OK
                    assert client.receive().text == "fence"
                register(server.address, name)
            codes = burst(alice, "bob", range(200, 210))
            assert codes == [wire.OK] * 5 + [wire.ERROR] * 5

    def test_0_is_none(self, start_server: StartServer, store: str) -> None:
        server = start_server("--mailbox-limit", "0", "--store", store)
        register(server.address, "bob")
        with Client(server.address, "alice") as alice:
            for start in range(0, 12_000, 2000):
                codes = burst(alice, "bob", range(start, start + 2000))
                assert set(codes) == {wire.OK}
            with Client(server.address, "bob") as bob:
                assert bob.texts(12_000) == [str(n) for n in range(12_000)]


def test_the_limit_holds_after_a_restart(start_server: StartServer) -> None:
    server = start_server("--mailbox-limit", "5")
    register(server.address, "bob")
    with Client(server.address, "alice") as alice:
        assert burst(alice, "bob", range(4)) == [wire.OK] * 4
    server.restart()
    with Client(server.address, "alice") as alice:
        assert burst(alice, "bob", range(4, 7)) == [wire.OK] + [wire.ERROR] * 2


def test_by_default_10000_messages_may_wait(start_server: StartServer) -> None:
    server = start_server()
    register(server.address, "bob")
    with Client(server.address, "alice") as alice:
        codes: list[int] = []
        for start in range(0, 11_000, 1000):
            codes += burst(alice, "bob", range(start, start + 1000))
        assert codes == [wire.OK] * 10_000 + [wire.ERROR] * 1000
