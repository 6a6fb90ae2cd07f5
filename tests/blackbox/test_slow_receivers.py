"""A peer that does not take what it is sent costs little and delays nobody."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from tests.blackbox import wire
from tests.blackbox.client import Address, Client
from tests.blackbox.conftest import StartServer
from tests.blackbox.figures import report
from tests.blackbox.mailbox import burst, register

MB = 1_000_000


class _Pair:
    """Two users who talk to each other, one message at a time, and measure how long it takes."""

    def __init__(self, address: Address, name: str) -> None:
        self._address = address
        self._name = name
        self._running = True
        self._thread = threading.Thread(target=self._run)
        self.seconds: list[float] = []
        self.error: BaseException | None = None

    def _run(self) -> None:
        names = f"{self._name}-1", f"{self._name}-2"
        try:
            with Client(self._address, names[0]) as one, Client(self._address, names[1]) as two:
                while self._running:
                    start = time.monotonic()
                    assert one.send("ping", names[1]) == wire.OK
                    assert two.receive().text == "ping"
                    self.seconds.append(time.monotonic() - start)
                    time.sleep(0.002)
        except BaseException as error:
            self.error = error

    def stop(self) -> None:
        self._running = False
        self._thread.join()

    def start(self) -> None:
        self._thread.start()

    def take(self) -> str:
        """The figures since the last time."""
        seconds, self.seconds = sorted(self.seconds), []
        if not seconds:
            return "none"
        middle, last = seconds[len(seconds) // 2], seconds[int(len(seconds) * 0.99)]
        return (
            f"{len(seconds)} exchanges, median {middle * 1e3:.2f} ms, 99 % {last * 1e3:.2f} ms,"
            f" slowest {seconds[-1] * 1e3:.1f} ms"
        )


@contextmanager
def talking_pair(address: Address) -> Iterator[_Pair]:
    """A pair that talks all the time; it must have got on, and not be stuck."""
    pair = _Pair(address, "pair")
    pair.start()
    time.sleep(0.5)
    report(f"the pair alone: {pair.take()}")
    try:
        yield pair
    finally:
        pair.stop()
    assert pair.error is None, pair.error
    assert pair.seconds, "the other pair stood still"
    assert max(pair.seconds) < 5
    report(f"the pair meanwhile: {pair.take()}")


@pytest.mark.parametrize("senders", [1, 2])
def test_4000_messages_of_8_kb_to_a_receiver_that_does_not_read(
    start_server: StartServer, senders: int
) -> None:
    """The server grows by less than 20 MB, another pair goes on, then all arrive in order."""
    server = start_server()
    padding = ":" + "x" * 8000
    each = 4000 // senders
    codes: dict[str, list[int]] = {}

    def send(name: str) -> None:
        with Client(server.address, name) as sender:
            codes[name] = []
            for start in range(0, each, 50):
                codes[name] += burst(sender, "slow", range(start, start + 50), padding)

    with Client(server.address, "slow") as slow:
        before = server.rss()
        server.forget_peak()
        with talking_pair(server.address):
            names = [f"sender{n}" for n in range(senders)]
            threads = [threading.Thread(target=send, args=(name,)) for name in names]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        growth, peak = server.rss() - before, server.peak() - before
        report(f"{senders} senders: memory {growth / MB:+.1f} MB, at most {peak / MB:+.1f} MB")
        for name in names:
            assert codes[name] == [wire.OK] * each
        got: dict[str, list[int]] = {name: [] for name in names}
        for _ in range(4000):
            message = slow.receive()
            number, _, rest = message.text.partition(":")
            assert len(rest) == 8000
            got[message.sender].append(int(number))
        for name in names:
            assert got[name] == list(range(each))
        report(f"after all was read {(server.rss() - before) / MB:+.1f} MB")
    assert peak < 20 * MB


def test_a_receiver_that_begins_to_read_while_others_go_on_sending(
    start_server: StartServer,
) -> None:
    """From mailbox to live and back many times: order kept, nothing lost, nothing twice."""
    server = start_server("--mailbox-limit", "0")
    count = 6000

    def send(name: str) -> None:
        with Client(server.address, name) as sender:
            for start in range(0, count, 20):
                numbers = range(start, start + 20)
                codes = burst(sender, "slow", numbers, ":" + "x" * 2000)
                assert set(codes) == {wire.OK}

    got: dict[str, list[int]] = {"one": [], "two": []}
    with Client(server.address, "slow", receive_buffer=4096) as slow:
        threads = [threading.Thread(target=send, args=(name,)) for name in got]
        for thread in threads:
            thread.start()
        for n in range(2 * count):
            message = slow.receive()
            got[message.sender].append(int(message.text.partition(":")[0]))
            if n % 1000 == 0:
                time.sleep(0.2)
        for thread in threads:
            thread.join()
        assert slow.send("fence", "slow") == wire.OK
        assert slow.receive().text == "fence"
    for numbers in got.values():
        assert numbers == list(range(count))


def _write_until_blocked(client: Client, data: bytes, most: int) -> int:
    """Write it again and again until nothing is taken for a while; how many bytes it was."""
    written = 0
    client.sock.settimeout(1.0)
    try:
        view = memoryview(data)
        while written < most:
            written += client.sock.send(view[written % len(data) :])
    except TimeoutError:
        pass
    return written


@pytest.mark.parametrize("what", ["unknown commands", "correlation tests", "messages"])
def test_a_client_that_never_reads_its_answers(start_server: StartServer, what: str) -> None:
    """It is no longer read from: memory stays bounded, and the others do not notice."""
    server = start_server("--mailbox-limit", "0")
    register(server.address, "bob")
    with Client(server.address, "rude", receive_buffer=4096) as rude:
        one = {
            "unknown commands": wire.unknown(1),
            "correlation tests": wire.correlation_test(1),
            "messages": wire.message("", "rude", "bob", 0, 1),
        }[what]
        before = server.rss()
        server.forget_peak()
        with talking_pair(server.address):
            most = 48 * MB
            written = _write_until_blocked(rude, one * (1_000_000 // len(one)), most)
        growth = server.peak() - before
        report(f"{what}: {written / MB:.1f} MB written, memory at most {growth / MB:+.1f} MB")
        assert written < most, "it is read from for ever"
        assert growth < 20 * MB
        # The connection is intact: what was asked is answered once it reads.
        rude.sock.settimeout(30)
        for _ in range(1000):
            assert rude.next_frame().correlation_id in (0, 1)


def test_senders_that_are_faster_than_the_store(start_server: StartServer) -> None:
    """Another program holds the database for two seconds: what comes in meanwhile is bounded."""
    server = start_server("--mailbox-limit", "0")
    register(server.address, "bob")
    senders = [Client(server.address, f"sender{n}") for n in range(10)]
    before = server.rss()
    server.forget_peak()
    total = 60 * MB
    count = total // len(senders) // 1040
    codes: list[int] = []

    def write(client: Client) -> None:
        client.write(
            b"".join(wire.message("x" * 1000, client.name, "bob", n, n) for n in range(count))
        )

    def read(client: Client) -> None:
        codes.extend(client.answers(range(count)))

    with closing(sqlite3.connect(server.directory / "chat.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        threads = [
            threading.Thread(target=work, args=(client,))
            for client in senders
            for work in (write, read)
        ]
        for thread in threads:
            thread.start()
        time.sleep(2)
        assert not codes
        held = server.peak() - before
        other.execute("ROLLBACK")
    for thread in threads:
        thread.join()
    growth = server.peak() - before
    report(
        f"{len(codes)} messages of 1 kB: memory {held / MB:+.1f} MB while the store stood,"
        f" at most {growth / MB:+.1f} MB"
    )
    for client in senders:
        client.close()
    assert len(codes) == count * len(senders)
    assert set(codes) == {wire.OK}
    assert growth < 40 * MB
    with Client(server.address, "bob") as bob:
        received = [bob.receive() for _ in range(count * len(senders))]
    for client in senders:
        times = [one.time for one in received if one.sender == client.name]
        assert times == list(range(count))


def test_a_store_that_stands_still_for_long_refuses_and_recovers(
    start_server: StartServer,
) -> None:
    """Held for longer than the server waits: code 2, nothing stored, then on as before."""
    server = start_server()
    with Client(server.address, "alice") as alice, Client(server.address, "bob") as bob:
        with closing(sqlite3.connect(server.directory / "chat.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert alice.send("refused", "bob") == wire.ERROR
            other.execute("ROLLBACK")
        assert alice.send("taken", "bob") == wire.OK
        assert bob.receive().text == "taken"
