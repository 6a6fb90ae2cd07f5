"""Output on real sockets and on other transports."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest
from twisted.internet.task import Clock
from twisted.internet.tcp import Connection
from twisted.internet.testing import StringTransport

from chat_protocol.domain.turn import Turn
from chat_protocol.transport.output import BufferedOutput, DirectOutput, output_for


class Owner:
    def __init__(self) -> None:
        self.drained = 0
        self.unread: list[int] = []

    def output_drained(self) -> None:
        self.drained += 1

    def output_unread(self, size: int) -> None:
        self.unread.append(size)


class FakeReactor:
    """As much of a reactor as a Connection's writing needs, driven by hand."""

    def __init__(self) -> None:
        self.writers: set[object] = set()
        self.clock = Clock()
        self.callLater = self.clock.callLater

    def addWriter(self, writer: object) -> None:
        self.writers.add(writer)

    def removeWriter(self, writer: object) -> None:
        self.writers.discard(writer)

    def addReader(self, reader: object) -> None:
        pass

    def removeReader(self, reader: object) -> None:
        pass


class Line:
    """A DirectOutput on one end of a socket pair with small buffers."""

    def __init__(self) -> None:
        ours, self.theirs = socket.socketpair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.theirs.settimeout(0.2)
        self.reactor = FakeReactor()
        self.lost = Lost()
        self.transport = Connection(ours, self.lost, self.reactor)  # type: ignore[arg-type]
        self.transport.connected = 1
        self.owner = Owner()
        self.clock = Clock()
        output = output_for(self.transport, Turn(self.clock), self.owner)
        assert isinstance(output, DirectOutput)
        self.output = output

    def turn(self) -> None:
        self.clock.advance(0)

    def pump(self) -> bytes:
        """Read at the other end until everything is out."""
        data = b""
        while True:
            try:
                data += self.theirs.recv(1 << 16)
            except TimeoutError:
                if not self.reactor.writers:
                    return data
            while self.reactor.writers and self.transport.doWrite() is None:
                try:
                    data += self.theirs.recv(1 << 16, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    break

    def close(self) -> None:
        self.theirs.close()
        if not self.lost.reasons:
            self.transport.socket.close()


class Lost:
    def __init__(self) -> None:
        self.reasons: list[object] = []

    def connectionLost(self, reason: object) -> None:
        self.reasons.append(reason)

    def dataReceived(self, data: bytes) -> None:
        pass


@pytest.fixture
def line() -> Iterator[Line]:
    made = Line()
    yield made
    made.close()


def frames(count: int, size: int) -> list[bytes]:
    return [n.to_bytes(2, "big") * (size // 2) for n in range(count)]


def test_what_is_gathered_leaves_at_once_at_the_end_of_the_turn(line: Line) -> None:
    line.output.write(b"a")
    line.output.write_messages([b"b", b"c"], [1, 2])
    line.output.write(b"d")
    with pytest.raises(TimeoutError):
        line.theirs.recv(10)
    line.turn()
    assert line.theirs.recv(10) == b"abcd"
    assert line.owner.drained == 1
    assert not line.reactor.writers


def test_what_the_socket_does_not_take_waits_and_arrives_in_order(line: Line) -> None:
    sent = frames(400, 500)
    line.output.write_messages(sent, range(1, 401))
    line.turn()
    assert line.owner.drained == 0
    assert 0 < line.output.backlog < 400 * 500
    untaken = line.output.untaken()
    assert [offset for offset, _ in untaken] == list(range(401 - len(untaken), 401))
    assert [frame for _, frame in untaken] == sent[-len(untaken) :]
    line.output.write(b"answer")
    line.turn()
    assert line.owner.unread == [6]
    assert line.pump() == b"".join(sent) + b"answer"
    assert line.owner.drained == 1
    assert line.output.backlog == 0
    assert line.output.empty
    assert line.output.untaken() == []


def test_it_goes_on_after_each_time_it_was_held(line: Line) -> None:
    everything = b""
    for round_ in range(1, 4):
        sent = frames(200, 700)
        line.output.write_messages(sent, range(1, 201))
        line.turn()
        assert line.output.backlog
        everything += line.pump()
        assert line.owner.drained == round_
    assert everything == b"".join(frames(200, 700)) * 3


def test_what_was_not_begun_can_be_withdrawn(line: Line) -> None:
    sent = frames(400, 500)
    line.output.write_messages(sent, range(1, 401))
    line.turn()
    line.output.write(b"answer")
    line.turn()
    line.output.write_messages([b"later"], [401])
    line.output.write(b"gathered")
    withdrawn = line.output.withdraw()
    kept = line.output.untaken()
    assert len(kept) == 1
    offsets = [offset for offset, _ in withdrawn]
    assert offsets == list(range(kept[0][0] + 1, 402))
    assert line.pump() == b"".join(sent[: kept[0][0]]) + b"answer"
    line.turn()
    assert line.pump() == b"gathered"
    assert line.output.empty
    assert line.output.withdraw() == line.output.untaken() == []


def test_what_was_gathered_and_not_written_is_untaken(line: Line) -> None:
    line.output.write_messages([b"m"], [7])
    line.output.write(b"answer")
    assert line.output.untaken() == [(7, b"m")]


def test_of_more_frames_than_offsets_the_first_are_written(line: Line) -> None:
    line.output.write_messages([b"a", b"b", b"c"], range(5, 7))
    line.turn()
    assert line.theirs.recv(10) == b"ab"


def test_a_broken_socket_ends_the_connection_even_when_nobody_reads(line: Line) -> None:
    line.theirs.close()
    line.output.write_messages([b"m" * 100_000], [7])
    line.turn()
    assert line.output.untaken() == [(7, b"m" * 100_000)]
    line.reactor.clock.advance(0)
    assert len(line.lost.reasons) == 1


def test_other_transports_are_written_to_and_may_ask_for_less() -> None:
    transport, owner, clock = StringTransport(), Owner(), Clock()
    output = output_for(transport, Turn(clock), owner)
    assert isinstance(output, BufferedOutput)
    output.write_messages([b"a"], [1])
    assert output.untaken() == [(1, b"a")]
    clock.advance(0)
    assert (transport.value(), owner.drained, output.backlog) == (b"a", 1, 0)
    output.pauseProducing()
    output.write_messages([b"b"], [2])
    clock.advance(0)
    assert (owner.drained, output.backlog, output.empty) == (1, 1, False)
    assert output.untaken() == [(2, b"b")]
    output.resumeProducing()
    assert (owner.drained, output.backlog, output.empty) == (2, 0, True)
    assert output.untaken() == []


def test_a_transport_that_ends_takes_nothing_any_more() -> None:
    transport, owner, clock = StringTransport(), Owner(), Clock()
    output = output_for(transport, Turn(clock), owner)
    transport.loseConnection()
    output.write_messages([b"a"], [1])
    clock.advance(0)
    assert transport.value() == b""
    assert (owner.drained, output.empty, output.untaken()) == (0, False, [(1, b"a")])


def test_a_socket_under_tls_is_not_written_to_directly(line: Line) -> None:
    line.transport.getPeerCertificate = lambda: None  # type: ignore[attr-defined]
    factory: Callable[..., object] = output_for
    assert isinstance(factory(line.transport, Turn(Clock()), Owner()), BufferedOutput)
