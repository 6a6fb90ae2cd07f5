"""What a protocol of Twisted finds below it on an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost, NoProtocol
from twisted.internet.interfaces import IProtocol, IPushProducer, ITransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from chat_protocol.aio.address import Address
from chat_protocol.aio.endpoint import LoopEndpoint
from chat_protocol.aio.protocol import LoopProtocol
from chat_protocol.aio.waiting import result_of

Peer = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Recorder(Protocol):
    """Writes down what it receives."""

    def __init__(self) -> None:
        self.received = b""
        self.data = asyncio.Event()
        self.lost: asyncio.Future[Failure] = asyncio.get_running_loop().create_future()

    @property
    def below(self) -> Any:
        return self.transport

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        self.data.set()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.set_result(reason)


def run(scenario: Callable[[Recorder, Peer], Coroutine[Any, Any, None]]) -> None:
    """Run a coroutine with a connection, and the other end of it."""

    async def main() -> None:
        peers: asyncio.Queue[Peer] = asyncio.Queue()
        accept = lambda *peer: peers.put_nowait(peer)  # noqa: E731
        async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            loop = asyncio.get_running_loop()
            endpoint = LoopEndpoint(loop, Address("127.0.0.1", port), None)
            assert str(port) in repr(endpoint)
            recorder: Any = await result_of(endpoint.connect(Factory.forProtocol(Recorder)))
            assert recorder.below.getPeer().port == port
            peer = await peers.get()
            assert peer[1].get_extra_info("peername")[1] == recorder.below.getHost().port
            await asyncio.wait_for(scenario(recorder, peer), 20)
            peer[1].close()

    asyncio.run(main())


def test_interfaces() -> None:
    async def scenario(recorder: Recorder, peer: Peer) -> None:
        verifyObject(ITransport, recorder.transport)
        verifyObject(IPushProducer, recorder.transport)
        recorder.below.stopProducing()
        assert (await recorder.lost).check(ConnectionDone)

    run(scenario)


def test_what_is_written_in_a_turn_goes_out_at_once_and_in_order() -> None:
    async def scenario(recorder: Recorder, peer: Peer) -> None:
        writes: list[bytes] = []
        transport = recorder.below._transport
        recorder.below._transport = type(
            "Spy",
            (),
            {
                "write": staticmethod(writes.append),
                "is_closing": staticmethod(transport.is_closing),
            },
        )
        recorder.below.write(b"a")
        recorder.below.writeSequence([b"b", b"c"])
        await asyncio.sleep(0.01)
        assert writes == [b"abc"]
        recorder.below._transport = transport
        recorder.below.write(b"d")
        recorder.below.loseConnection()
        assert await peer[0].read() == b"d"
        assert (await recorder.lost).check(ConnectionDone)
        recorder.below.write(b"late")
        recorder.below.pauseProducing()
        recorder.below.resumeProducing()
        await asyncio.sleep(0.01)

    run(scenario)


def test_reading_is_paused() -> None:
    async def scenario(recorder: Recorder, peer: Peer) -> None:
        recorder.below.pauseProducing()
        peer[1].write(b"data")
        await asyncio.sleep(0.05)
        assert recorder.received == b""
        recorder.below.resumeProducing()
        await recorder.data.wait()
        assert recorder.received == b"data"
        recorder.below.loseConnection()

    run(scenario)


def test_an_abort_sends_nothing_more() -> None:
    async def scenario(recorder: Recorder, peer: Peer) -> None:
        recorder.below.write(b"never")
        recorder.below.abortConnection()
        await recorder.lost
        assert await peer[0].read() == b""

    run(scenario)


def test_the_reasons_of_a_loss() -> None:
    async def end(recorder: Recorder, peer: Peer) -> None:
        peer[1].close()
        assert (await recorder.lost).check(ConnectionDone)

    async def reset(recorder: Recorder, peer: Peer) -> None:
        recorder.below.write(b"unread")
        await asyncio.sleep(0.05)
        peer[0]._transport.pause_reading()  # type: ignore[attr-defined]
        recorder.below.write(b"x" * 10_000_000)
        await asyncio.sleep(0.05)
        peer[1].transport.abort()
        reason = await recorder.lost
        assert reason.check(ConnectionLost)
        assert "reset" in reason.getErrorMessage()

    run(end)
    run(reset)


def test_a_factory_without_a_protocol() -> None:
    class Empty(Factory):
        def buildProtocol(self, addr: object) -> None:
            return None

    async def main() -> None:
        ended = asyncio.Event()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()
            ended.set()

        async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            loop = asyncio.get_running_loop()
            endpoint = LoopEndpoint(loop, Address("127.0.0.1", port), None)
            with pytest.raises(NoProtocol):
                await result_of(endpoint.connect(Empty()))
            await asyncio.wait_for(ended.wait(), 20)

    asyncio.run(main())


def test_a_connection_that_comes_after_the_cancellation_is_aborted() -> None:
    class Transport(asyncio.Transport):
        aborted = False

        def abort(self) -> None:
            self.aborted = True

    async def main() -> None:
        connected: Deferred[IProtocol] = Deferred()
        connected.addErrback(lambda failure: None)
        factory = Factory.forProtocol(Recorder)
        protocol = LoopProtocol(factory, connected, asyncio.get_running_loop())
        connected.cancel()
        transport = Transport()
        protocol.connection_made(transport)
        protocol.data_received(b"data")
        protocol.connection_lost(None)
        assert transport.aborted

    asyncio.run(main())
