"""Users of the load program, over a pair of sockets."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from twisted.internet.task import Clock

from benchmarks.frames import CYCLE, OFFSET, CheckFailed, Stream, messages, publications
from benchmarks.loop import Loop
from benchmarks.peers import Publisher, Sender
from benchmarks.receivers import AckingReceiver, SharedReceiver
from benchmarks.schedule import Schedule
from chat_protocol.wire.codec import decode
from chat_protocol.wire.commands import Ack, Publish

Ends = tuple[Loop, socket.socket, socket.socket]


@pytest.fixture
def ends() -> Iterator[Ends]:
    loop = Loop()
    user, server = socket.socketpair()
    user.setblocking(False)
    yield loop, user, server
    loop.close()
    user.close()
    server.close()


def _frames(data: bytes) -> Iterator[bytes]:
    while data:
        size = 4 + int.from_bytes(data[:4], "big")
        yield data[4:size]
        data = data[size:]


def _deliver(stream: Stream, numbers_and_offsets: list[tuple[int, int]]) -> bytes:
    made = b""
    for number, offset in numbers_and_offsets:
        frame = bytearray(stream.cycle[number * stream.size : (number + 1) * stream.size])
        frame[OFFSET] = offset.to_bytes(8, "big")
        made += frame
    return made


STREAM = publications(0, "alice", "bob", 64).deliveries


def test_publishing_ids_grow_beyond_a_cycle(ends: Ends) -> None:
    loop, user, server = ends
    sender = Publisher(loop, user, publications(0, "alice", "bob", 64), "alice")
    data = b""
    count = 2 * CYCLE + 10
    for _ in range(count):
        sender.allow(1)
        data += server.recv(1 << 16)
    ids = []
    for payload in _frames(data):
        _, command = decode(payload)
        assert isinstance(command, Publish)
        ids.append(command.publishing_id)
    assert ids == list(range(CYCLE, CYCLE + count))


def test_what_the_kernel_does_not_take_is_sent_later(ends: Ends) -> None:
    loop, user, server = ends
    traffic = messages(0, "alice", "bob", 60_000)
    sender = Sender(loop, user, traffic, "alice")
    sender.allow(20)
    data = b""
    server.settimeout(5)
    while len(data) < 20 * traffic.requests.size:
        data += server.recv(1 << 20)
        loop.turn(0)
    assert data == traffic.requests.cycle[: len(data)]
    # It asks no more whether there is room.
    server.sendall(traffic.answers.cycle[: 20 * traffic.answers.size])
    loop.turn(1)
    assert sender.outstanding == 0


def test_deliveries_are_acknowledged(ends: Ends) -> None:
    loop, user, server = ends
    receiver = AckingReceiver(loop, user, STREAM, "bob")
    data = _deliver(STREAM, [(0, 7), (1, 8), (2, 1000)])
    server.sendall(data[:-1])
    loop.turn(1)
    assert (receiver.count, receiver.has_partial_frame) == (2, True)
    server.sendall(data[-1:])
    loop.turn(1)
    assert (receiver.count, receiver.has_partial_frame) == (3, False)
    assert [decode(payload)[1] for payload in _frames(server.recv(1000))] == [Ack(8), Ack(1000)]


@pytest.mark.parametrize(
    "wrong",
    [
        [(0, 7), (1, 7)],
        [(0, 7), (1, 6), (2, 8)],
        [(0, 0)],
        [(0, 7), (2, 8)],
        [(1, 7)],
    ],
)
def test_wrong_deliveries_of_version_2_are_found(ends: Ends, wrong: list[tuple[int, int]]) -> None:
    loop, user, server = ends
    AckingReceiver(loop, user, STREAM, "bob")
    server.sendall(_deliver(STREAM, wrong))
    with pytest.raises(CheckFailed):
        loop.turn(1)


def test_the_order_of_each_sender_counts(ends: Ends) -> None:
    loop, user, server = ends
    streams = [messages(n, f"user{n}", "bob", 64).deliveries for n in range(3)]
    receiver = SharedReceiver(loop, user, {s.cycle[13:14]: s for s in streams}, "bob")
    places = [0, 0, 0]

    def frame(sender: int) -> bytes:
        place, places[sender] = places[sender], places[sender] + 1
        return streams[sender].cycle[place * streams[sender].size :][: streams[sender].size]

    server.sendall(b"".join(map(frame, [0, 0, 1, 2, 0, 1, 1])))
    loop.turn(1)
    assert receiver.count == 7
    places[1] += 1
    server.sendall(frame(0) + frame(1))
    with pytest.raises(CheckFailed, match="frame 3 is"):
        loop.turn(1)


def test_what_is_due_is_sent_by_turns(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    loop, user, _ = ends
    traffic = messages(0, "alice", "bob", 64)
    others = [user.dup() for _ in range(3)]
    senders = [Sender(loop, sock, traffic, "alice") for sock in others]
    clock = Clock()
    clock.advance(100)
    monkeypatch.setattr("benchmarks.schedule.monotonic", clock.seconds)
    schedule = Schedule(senders, rate=10, began=100)
    for seconds, allowed in ((0.0, [1, 0, 0]), (0.45, [2, 2, 1]), (0.01, [2, 2, 1])):
        clock.advance(seconds)
        schedule.send_due()
        assert [sender.allowed for sender in senders] == allowed
    assert schedule.next == 100.5
    assert list(schedule.lateness()) == pytest.approx([0, 0.35, 0.25, 0.15, 0.05])
    # The second message of the first sender is the fourth of all.
    assert list(schedule.latencies(0, [(101.0, 2)])) == pytest.approx([1.0, 0.7])
