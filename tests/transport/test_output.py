"""Output on real sockets and on other transports."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.tcp import Connection
from twisted.internet.testing import StringTransport
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure

from chat_protocol.domain.turn import Turn
from chat_protocol.transport.output import BufferedOutput, DirectOutput, Output, output_for


class Owner:
    def __init__(self) -> None:
        self.told = 0
        self.unread: list[int] = []

    def output_taken(self) -> None:
        self.told += 1

    def output_unread(self, size: int) -> None:
        self.unread.append(size)


class FakeReactor:
    """As much of a reactor as a Connection needs, driven by hand."""

    def __init__(self) -> None:
        self.readers: set[object] = set()
        self.writers: set[object] = set()
        self.clock = Clock()
        self.callLater = self.clock.callLater

    def addWriter(self, writer: object) -> None:
        self.writers.add(writer)

    def removeWriter(self, writer: object) -> None:
        self.writers.discard(writer)

    def addReader(self, reader: object) -> None:
        self.readers.add(reader)

    def removeReader(self, reader: object) -> None:
        self.readers.discard(reader)


def flushing(clock: Clock) -> Turn:
    """A turn at whose end everything is flushed."""
    turn = Turn(clock)
    turn.end = turn.flush
    return turn


class Line:
    """An output on one end of a socket pair with small buffers."""

    def __init__(self, wrapped: bool = False) -> None:
        ours, self.theirs = socket.socketpair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.theirs.settimeout(0.2)
        self.reactor = FakeReactor()
        self.lost = Lost()
        self.transport = Connection(ours, self.lost, self.reactor)  # type: ignore[arg-type]
        self.transport.connected = 1
        self.owner = Owner()
        self.clock = Clock()
        above: Any = self.transport
        self.wrapper: ProtocolWrapper | None = None
        if wrapped:
            self.wrapper = above = ProtocolWrapper(WrappingFactory(None), Protocol())
            above.makeConnection(self.transport)
        self.output = output_for(above, flushing(self.clock), self.owner)

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
    assert isinstance(made.output, DirectOutput)
    yield made
    made.close()


@pytest.fixture(params=[False, True], ids=["socket", "wrapper"])
def either(request: pytest.FixtureRequest) -> Iterator[Line]:
    """An output to a socket, and one to a wrapper of a socket."""
    made = Line(wrapped=request.param)
    assert isinstance(made.output, BufferedOutput) is request.param
    yield made
    made.close()


def counts(output: Output) -> tuple[int, int, int]:
    return output.written, output.taken, output.backlog


FRAMES = b"".join(n.to_bytes(2, "big") * 250 for n in range(400))


def test_what_is_gathered_leaves_at_once_at_the_end_of_the_turn(either: Line) -> None:
    output = either.output
    output.write(b"a")
    output.deliver(b"bc")
    output.write(b"d")
    with pytest.raises(TimeoutError):
        either.theirs.recv(10)
    assert counts(output) == (4, 0, 0)
    assert not output.empty
    either.turn()
    assert either.theirs.recv(10) == b"abcd"
    assert either.owner.told == 1
    assert counts(output) == (4, 4, 0)
    assert output.empty
    assert not either.reactor.writers


def test_what_the_socket_does_not_take_waits_and_arrives_in_order(line: Line) -> None:
    output = line.output
    output.deliver(FRAMES)
    line.turn()
    assert 0 < output.backlog < len(FRAMES)
    # It is known how many bytes the kernel has.
    assert counts(output) == (len(FRAMES), len(FRAMES) - output.backlog, output.backlog)
    assert line.owner.told == 0
    output.write(b"answer")
    line.turn()
    assert line.owner.unread == [6]
    assert line.pump() == FRAMES + b"answer"
    assert line.owner.told > 1, "each time that some of it is taken"
    assert counts(output) == (len(FRAMES) + 6, len(FRAMES) + 6, 0)
    assert output.empty


def test_what_a_wrapper_buffers_counts_as_not_taken() -> None:
    line = Line(wrapped=True)
    output = line.output
    assert isinstance(output, BufferedOutput)
    output.deliver(FRAMES)
    line.turn()
    assert output.full
    # The kernel has some of it, and it is not known how much.
    assert counts(output) == (len(FRAMES), 0, len(FRAMES))
    output.write(b"answer")
    line.turn()
    assert line.owner.unread == [6]
    assert line.pump() == FRAMES + b"answer"
    assert counts(output) == (len(FRAMES) + 6, len(FRAMES) + 6, 0)
    assert not output.full
    line.close()


def test_it_goes_on_after_each_time_it_was_held(either: Line) -> None:
    everything = b""
    for _ in range(3):
        told = either.owner.told
        either.output.deliver(FRAMES)
        either.turn()
        assert either.output.backlog
        assert either.owner.told == told
        everything += either.pump()
        assert either.owner.told > told
        assert not either.output.backlog
    assert everything == FRAMES * 3


def test_what_is_gathered_while_something_waits_is_not_taken(line: Line) -> None:
    line.output.deliver(FRAMES)
    line.turn()
    written, taken, backlog = counts(line.output)
    line.output.deliver(b"later")
    line.output.write(b"answer")
    assert counts(line.output) == (written + 11, taken, backlog)
    assert not line.output.empty
    line.turn()
    assert line.output.backlog == backlog + 11
    assert line.pump() == FRAMES + b"lateranswer"


def test_a_broken_socket_ends_the_connection_even_when_nobody_reads(line: Line) -> None:
    line.theirs.close()
    line.output.deliver(FRAMES)
    line.turn()
    assert counts(line.output) == (len(FRAMES), 0, len(FRAMES))
    line.reactor.clock.advance(0)
    assert len(line.lost.reasons) == 1


@pytest.mark.parametrize("waiting", [b"", FRAMES], ids=["empty", "full"])
def test_of_a_connection_that_is_gone_nothing_is_written_or_told(
    either: Line, waiting: bytes
) -> None:
    output = either.output
    output.deliver(waiting)
    either.turn()
    output.write(b"answer")
    told, unread = either.owner.told, list(either.owner.unread)
    either.transport.connectionLost(Failure(ConnectionDone()))  # type: ignore[no-untyped-call]
    output.disown()
    either.turn()
    output.write(b"late")
    either.turn()
    assert (either.owner.told, either.owner.unread) == (told, unread)


def test_other_transports_are_written_to_and_may_ask_for_less() -> None:
    transport, owner, clock = StringTransport(), Owner(), Clock()
    output = output_for(transport, flushing(clock), owner)
    assert isinstance(output, BufferedOutput)
    output.deliver(b"a")
    clock.advance(0)
    assert (transport.value(), owner.told, counts(output)) == (b"a", 1, (1, 1, 0))
    output.pauseProducing()
    output.deliver(b"b")
    clock.advance(0)
    assert (owner.told, counts(output), output.empty) == (1, (2, 1, 1), False)
    output.resumeProducing()
    assert (owner.told, counts(output), output.empty) == (2, (2, 2, 0), True)


def test_a_transport_that_ends_takes_nothing_any_more() -> None:
    transport, owner, clock = StringTransport(), Owner(), Clock()
    output = output_for(transport, flushing(clock), owner)
    transport.loseConnection()
    output.deliver(b"a")
    clock.advance(0)
    assert transport.value() == b""
    assert (owner.told, output.empty, counts(output)) == (0, False, (1, 0, 1))


@pytest.mark.parametrize("when", ["before", "while full", "in a write"])
def test_what_is_written_when_what_is_below_closes_counts_as_not_taken(when: str) -> None:
    """As it does when TLS has failed, which then drops what is written."""
    line = Line(wrapped=True)
    wrapper, output = line.wrapper, line.output
    assert wrapper is not None
    if when == "in a write":
        wrapper.write = lambda data: line.transport.loseConnection()  # type: ignore[method-assign]
    elif when == "while full":
        output.deliver(FRAMES)
        line.turn()
    if when != "in a write":
        line.transport.loseConnection()
    output.deliver(b"dropped")
    line.turn()
    line.pump()
    assert output.taken == 0
    assert line.owner.told == 0
    # The end of the socket does not wait for the output.
    assert line.lost.reasons or line.transport.doWrite() is not None
    line.close()


def test_in_the_end_a_transport_has_no_producer_any_more() -> None:
    transport = StringTransport()
    output = output_for(transport, Turn(Clock()), Owner())
    assert transport.producer is output
    output.finish()
    assert transport.producer is None


@pytest.mark.parametrize("wrapped", [False, True])
def test_after_it_is_discarded_nothing_more_is_written_or_counts_as_taken(wrapped: bool) -> None:
    line = Line(wrapped)
    line.output.deliver(b"one")
    line.output.discard()
    line.output.write(b"two")
    line.turn()
    line.output.deliver(b"three")
    line.turn()
    assert line.pump() == b""
    assert (line.output.taken, line.owner.told) == (0, 0)
    line.close()
