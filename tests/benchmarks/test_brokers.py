"""The brokers beside this project's server, each for a moment."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from benchmarks import loads
from benchmarks.frames import CheckFailed
from benchmarks.loads import Plan
from benchmarks.loop import Loop
from benchmarks.mqtt import MQTT
from benchmarks.nats import NATS
from benchmarks.protocols import Protocol
from benchmarks.servers import BROKERS, Broker
from benchmarks.workers import run

# What the broker sends before the text of a delivery, for the recipient "bob".
HEADS = {
    MQTT: lambda n: b"\x32\x47\0\x03bob" + n.to_bytes(2, "big"),
    NATS: lambda n: b"MSG m.bob 1 $JS.ACK.bench.bob.1.%d.%d.170.0 64\r\n" % (n, n),
}
TAILS = {MQTT: b"", NATS: b"\r\n"}
ACKS = {
    MQTT: b"\x40\x02\0\x01",
    NATS: b"PUB $JS.ACK.bench.bob.1.1.1.170.0 4\r\n+ACK\r\n",
}


@pytest.mark.parametrize("broker", BROKERS, ids=lambda broker: broker.program)
@pytest.mark.parametrize("window", [1, 8])
def test_a_broker_delivers_every_message(broker: Broker, window: int, tmp_path: Path) -> None:
    if missing := broker.missing():
        pytest.skip(missing)
    broker.directory = tmp_path
    with broker.running() as target:
        plan = Plan(
            target.address, "t", 0.2, pairs=4, window=window, record=True, protocol=broker.protocol
        )
        if window > 1:
            plan = Plan(target.address, "t", 0.2, pairs=4, window=8, protocol=broker.protocol)
        result, phases = run(loads.pairs, [plan], target.costs)
    assert result.messages > 4
    assert phases[0].cpu is not None
    assert len(result.delivery_latencies) == (result.messages if window == 1 else 0)


def test_a_broker_that_is_missing_or_old_is_skipped() -> None:
    assert "not on PATH" in Broker("x", "no-such-program", MQTT, (), "").missing()
    assert "999.0 is needed" in Broker("x", "python3", MQTT, (), "", (999, 0)).missing()
    assert Broker("x", "python3", MQTT, (), "", (3, 0)).missing() == ""


def _texts(protocol: Protocol) -> list[bytes]:
    stream = protocol.traffic(0, "alice", "bob", 64).deliveries
    frames = [stream.cycle[n * stream.size : (n + 1) * stream.size] for n in range(3)]
    return [frame.removesuffix(b"\r\n")[-64:] for frame in frames]


@pytest.mark.parametrize("protocol", [MQTT, NATS], ids=["mqtt", "nats"])
@pytest.mark.parametrize("order", [[0, 1, 2], [0, 2, 1], [0, 0], [1]])
def test_deliveries_are_checked_and_acknowledged(protocol: Protocol, order: list[int]) -> None:
    ours, broker = socket.socketpair()
    loop = Loop()
    with broker, ours:
        receiver = protocol.receiver(
            loop, ours, protocol.traffic(0, "alice", "bob", 64).deliveries, "bob"
        )
        texts = _texts(protocol)
        data = b"".join(
            HEADS[protocol](n) + texts[which] + TAILS[protocol] for n, which in enumerate(order, 1)
        )
        if order != [0, 1, 2]:
            broker.sendall(data)
            with pytest.raises(CheckFailed):
                loop.turn(1)
            return
        broker.sendall(data[:-1])
        loop.turn(1)
        assert (receiver.count, receiver.has_partial_frame) == (2, True)
        broker.sendall(data[-1:])
        loop.turn(1)
        assert (receiver.count, receiver.has_partial_frame) == (3, False)
        assert broker.recv(1000).startswith(ACKS[protocol])


@pytest.mark.parametrize(
    ("protocol", "answer"),
    [
        (MQTT, b"\x40\x02\0\x02"),
        (NATS, b'MSG a.alice.001 1 28\r\n{"stream":"bench", "seq":1}\r\n'),
        (NATS, b'MSG a.alice.000 1 28\r\n{"error":{"code":503}}\r\n'),
        (NATS, b"-ERR 'Authorization Violation'\r\n"),
    ],
)
def test_wrong_answers_are_found(protocol: Protocol, answer: bytes) -> None:
    ours, broker = socket.socketpair()
    loop = Loop()
    with broker, ours:
        traffic = protocol.traffic(0, "alice", "bob", 64)
        protocol.sender(loop, ours, traffic, "alice", 1).start()
        broker.sendall(answer)
        with pytest.raises(CheckFailed):
            loop.turn(1)
