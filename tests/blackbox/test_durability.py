"""What was answered OK is there, once and in order, however the server ends.

``CHAT_KILLS`` says how often it is killed in each test (5), ``CHAT_SEED`` when exactly.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter

import pytest

from tests.blackbox import wire
from tests.blackbox.client import PATIENCE, Client
from tests.blackbox.conftest import StartServer
from tests.blackbox.figures import report
from tests.blackbox.load import Load, Result, Role
from tests.blackbox.mailbox import burst, register

KILLS = int(os.environ.get("CHAT_KILLS", "5"))
SEED = int(os.environ.get("CHAT_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)

pytestmark = pytest.mark.timeout(120 + 10 * KILLS)

SEPARATE = [
    *(Role(f"sender{n}", [f"receiver{n}"]) for n in range(3)),
    *(Role(f"receiver{n}") for n in range(3)),
    Role("writer", ["away0", "away1", "receiver0"]),
    Role("writer2", ["away0"]),
    Role("away0", online=False),
    Role("away1", online=False),
]
"""Nobody both sends and receives: three pairs, and two users who are not there."""

BOTH = [
    *(Role(f"both{n}", [f"both{(n + 1) % 4}"]) for n in range(4)),
    Role("self", ["self", "away"]),
    Role("away", online=False),
]
"""Everybody sends and receives at once: a ring, and one who writes to itself."""

MIXED = [
    *SEPARATE,
    *(Role(f"both{n}", [f"both{(n + 1) % 2}", "receiver0", "away1"]) for n in range(2)),
]


def _check(result: Result) -> None:
    assert not result.altered
    assert not result.refused
    assert not result.lost
    assert not result.disordered
    assert not result.doubled


@pytest.mark.parametrize(
    ("roles", "size"),
    [(SEPARATE, 50), (BOTH, 50), (MIXED, 50), (MIXED, 2000)],
    ids=["separate", "both", "mixed", "mixed-2kB"],
)
def test_sigkill_in_the_middle_of_pipelined_load(
    start_server: StartServer, roles: list[Role], size: int
) -> None:
    """Nothing answered OK is lost, each sender's order is kept.

    Version 1 cannot acknowledge: the last moments before a kill may come again on the next
    connection (S20; tests/fault/kills_version_1.py measures how long they are).
    """
    chance = random.Random(SEED)
    server = start_server("--mailbox-limit", "0")
    load = Load(server.address, roles, size=size)
    load.start()
    for _ in range(KILLS):
        load.wait_for(500)
        time.sleep(chance.uniform(0, 0.4))
        server.kill9()
        server.start()
    load.wait_for(500)
    result = load.finish()
    report(f"seed {SEED}, {KILLS} x SIGKILL: {result}")
    _check(result)


@pytest.mark.parametrize(
    ("roles", "size"),
    [(SEPARATE, 50), (BOTH, 50), (MIXED, 50), (MIXED, 2000)],
    ids=["separate", "both", "mixed", "mixed-2kB"],
)
def test_sigterm_in_the_middle_of_pipelined_load(
    start_server: StartServer, roles: list[Role], size: int
) -> None:
    """As with SIGKILL; and what was accepted is answered too, and the exit code is 0."""
    chance = random.Random(SEED)
    server = start_server("--mailbox-limit", "0")
    load = Load(server.address, roles, size=size)
    load.start()
    codes = []
    slowest = 0.0
    for _ in range(KILLS):
        load.wait_for(500)
        time.sleep(chance.uniform(0, 0.4))
        start = time.monotonic()
        codes.append(server.terminate())
        slowest = max(slowest, time.monotonic() - start)
        server.start()
    load.wait_for(500)
    result = load.finish()
    report(f"seed {SEED}, {KILLS} x SIGTERM, slowest {slowest:.2f} s: {result}")
    _check(result)
    assert not result.repeated
    assert codes == [0] * KILLS
    assert not result.unanswered


@pytest.mark.parametrize("size", [10, 4000])
def test_sigkill_while_a_mailbox_is_read(start_server: StartServer, size: int) -> None:
    """Nothing is lost and the order kept.

    Version 1 cannot acknowledge: what the server wrote in its last moments comes again. That is
    nothing from before the last connection, whose positions are stored at its end.
    """
    chance = random.Random(SEED)
    server = start_server("--mailbox-limit", "0")
    register(server.address, "bob")
    got: list[int] = []
    sent = 0
    repeated = []
    on_last_connection = 0

    def take(text: wire.Text) -> None:
        got.append(int(text.text.partition(":")[0]))

    def send() -> None:
        nonlocal sent
        with Client(server.address, "alice") as alice:
            for _ in range(6):
                numbers = range(sent, sent + 500)
                assert set(burst(alice, "bob", numbers, ":" + "x" * size)) == {wire.OK}
                sent += 500

    for _ in range(KILLS):
        send()
        with Client(server.address, "bob", receive_buffer=4096) as bob:
            before = len(got)
            for _ in range(chance.randrange(1, 500)):
                take(bob.receive())
            server.kill9()
            bob.read_to_end()
            for text in bob.inbox:
                take(text)
        if before:
            repeated.append(got[before - 1] + 1 - got[before])
            assert 0 <= repeated[-1] <= on_last_connection, "lost, or from an earlier connection"
        on_last_connection = len(got) - before
        assert got[before:] == list(range(got[before], got[-1] + 1))
        server.start()
    with Client(server.address, "alice") as alice, Client(server.address, "bob") as bob:
        assert alice.send("fence", "bob") == wire.OK
        while (text := bob.receive()).text != "fence":
            take(text)
    report(f"seed {SEED}: {sent} sent, {len(got)} received, repeated after a kill {repeated}")
    assert list(dict.fromkeys(got)) == list(range(sent)), "lost or out of order"


@pytest.mark.parametrize("source", ["mailbox", "live"])
def test_sigkill_while_a_receiver_does_not_read(start_server: StartServer, source: str) -> None:
    """What was answered OK and had no room in the kernel's buffer comes at the next login."""
    server = start_server()
    count = 1000
    register(server.address, "bob")
    with Client(server.address, "alice") as alice:
        if source == "live":
            bob = Client(server.address, "bob", receive_buffer=4096)
        for start in range(0, count, 100):
            codes = burst(alice, "bob", range(start, start + 100), ":" + "x" * 8000)
            assert set(codes) == {wire.OK}
        if source == "mailbox":
            bob = Client(server.address, "bob", receive_buffer=4096)
        with bob:
            bob.inbox.append(bob.receive())
            server.kill9()
            bob.read_to_end()
            first = [int(text.text.partition(":")[0]) for text in bob.inbox]
    server.start()
    second = []
    with Client(server.address, "alice") as alice, Client(server.address, "bob") as bob:
        assert alice.send("fence", "bob") == wire.OK
        while (text := bob.receive().text) != "fence":
            second.append(int(text.partition(":")[0]))
    assert first == list(range(len(first)))
    assert second == list(range(second[0], count))
    assert second[0] <= len(first), "lost"
    report(f"{len(first)} before the end, {len(second)} after the start, of {count}")


@pytest.mark.parametrize("source", ["mailbox", "live"])
def test_sigterm_while_a_receiver_does_not_read(start_server: StartServer, source: str) -> None:
    """What the receiver still gets before the end does not come again after the start."""
    server = start_server()
    count = 1000
    register(server.address, "bob")
    with Client(server.address, "alice") as alice:
        if source == "live":
            bob = Client(server.address, "bob", receive_buffer=4096)
        for start in range(0, count, 100):
            codes = burst(alice, "bob", range(start, start + 100), ":" + "x" * 8000)
            assert set(codes) == {wire.OK}
        if source == "mailbox":
            bob = Client(server.address, "bob", receive_buffer=4096)
        with bob:
            bob.inbox.append(bob.receive())
            server.begin_to_stop()
            bob.read_to_end()
            got = [int(text.text.partition(":")[0]) for text in bob.inbox]
        assert server.wait() == 0
    server.start()
    with Client(server.address, "alice") as alice, Client(server.address, "bob") as bob:
        assert alice.send("fence", "bob") == wire.OK
        while (text := bob.receive().text) != "fence":
            got.append(int(text.partition(":")[0]))
    assert sorted(set(got)) == list(range(count)), "lost"
    assert len(got) == count, f"doubled: {len(got) - count}"
    assert got == list(range(count)), "order"


def test_sigterm_while_a_receiver_never_reads_ends_all_the_same(
    start_server: StartServer,
) -> None:
    """Cut off, it loses what the kernel had taken for it, and nothing else."""
    server = start_server()
    count = 2000
    with (
        Client(server.address, "bob", receive_buffer=4096) as bob,
        Client(server.address, "alice") as alice,
    ):
        for start in range(0, count, 100):
            codes = burst(alice, "bob", range(start, start + 100), ":" + "x" * 8000)
            assert set(codes) == {wire.OK}
        assert server.terminate() == 0
        bob.read_to_end()
        early = [int(text.text.partition(":")[0]) for text in bob.inbox]
    server.start()
    got = []
    with Client(server.address, "alice") as alice, Client(server.address, "bob") as bob:
        assert alice.send("fence", "bob") == wire.OK
        while (text := bob.receive().text) != "fence":
            got.append(int(text.partition(":")[0]))
    report(f"{len(early)} before the end, {count - got[0]} after the start, of {count}")
    assert got == list(range(got[0], count))
    # net.ipv4.tcp_wmem: 4 MB at most, unless somebody changed it.
    assert got[0] < 600


def test_sigterm_answers_what_was_accepted_even_to_those_who_go_on_writing(
    start_server: StartServer,
) -> None:
    """Every message that is stored was answered, although more came in behind it unread."""
    server = start_server("--mailbox-limit", "0")
    register(server.address, "bob")
    clients = [Client(server.address, f"alice{n}") for n in range(4)]
    try:
        for client in clients:
            frames = [
                wire.message(f"{n}:" + "x" * 500, client.name, "bob", n, n) for n in range(20_000)
            ]
            client.sock.setblocking(False)
            client.sock.send(b"".join(frames))
            client.sock.settimeout(PATIENCE)
        server.begin_to_stop()
        for client in clients:
            client.read_to_end()
            assert set(client.codes.values()) <= {wire.OK}
            # In order, and no hole.
            assert list(client.codes) == list(range(len(client.codes)))
        assert server.wait() == 0
    finally:
        for client in clients:
            client.close()
    server.start()
    got: Counter[str] = Counter()
    with Client(server.address, "alice0") as alice, Client(server.address, "bob") as bob:
        assert alice.send("fence", "bob") == wire.OK
        while (message := bob.receive()).text != "fence":
            got[message.sender] += 1
    answered = {client.name: len(client.codes) for client in clients if client.codes}
    report(f"answered before the end: {answered}")
    assert got == answered


def test_a_second_sigterm_ends_a_server_that_still_waits(start_server: StartServer) -> None:
    server = start_server()
    with Client(server.address, "bob", receive_buffer=4096), Client(server.address, "a") as alice:
        for start in range(0, 1000, 100):
            burst(alice, "bob", range(start, start + 100), ":" + "x" * 8000)
        server.begin_to_stop()
        server.wait_for_log("Stopping")
        server.begin_to_stop()
        assert server.wait() in (0, -15)
