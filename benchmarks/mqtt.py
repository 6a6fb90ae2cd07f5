"""A client of MQTT 3.1.1 with QoS 1: a PUBACK for each message, from the broker and to it."""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence

from benchmarks.dialing import dial_tcp
from benchmarks.frames import CYCLE, CheckFailed, Expected, Stream, Traffic, stream_of, text_of
from benchmarks.loop import DELIVERIES, Address, Loop, exactly
from benchmarks.peers import Sender
from benchmarks.protocols import Protocol
from benchmarks.receivers import FrameReceiver

__all__ = ["MQTT"]

_SUBACK = b"\x90\x03\0\x01\x01"
_CONNACK = b"\x20\x02\0\0"


def _string(text: str) -> bytes:
    return struct.pack(">H", len(text)) + text.encode()


def _packet(kind: int, body: bytes) -> bytes:
    assert len(body) < 128, "a remaining length of one byte"
    return bytes([kind, len(body)]) + body


def _open(address: Address, name: str, request: bytes, wanted: bytes) -> socket.socket:
    sock = dial_tcp(address)
    sock.sendall(_packet(0x10, _string("MQTT") + b"\x04\x02\0\0" + _string(name)) + request)
    try:
        answer = exactly(sock, len(wanted))
    except OSError as error:
        raise CheckFailed(f"the broker did not answer {name}: {error}") from None
    if answer != wanted:
        raise CheckFailed(f"the broker answered the connection of {name} with {answer.hex()}")
    sock.setblocking(False)
    return sock


def _send(address: Address, names: Sequence[str]) -> list[socket.socket]:
    return [_open(address, name, b"", _CONNACK) for name in names]


def _receive(address: Address, names: Sequence[str]) -> list[socket.socket]:
    return [
        _open(
            address,
            name,
            _packet(0x82, b"\0\x01" + _string(name) + b"\x01"),
            _CONNACK + _SUBACK,
        )
        for name in names
    ]


def _publish(recipient: str, number: int, text: str) -> bytes:
    return _packet(0x32, _string(recipient) + struct.pack(">H", number) + text.encode())


def _traffic(index: int, sender: str, recipient: str, size: int) -> Traffic:
    texts = [text_of(index, n, size) for n in range(CYCLE)]
    return Traffic(
        stream_of([_publish(recipient, n + 1, text) for n, text in enumerate(texts)]),
        stream_of([struct.pack(">BBH", 0x40, 2, n + 1) for n in range(CYCLE)]),
        stream_of([_publish(recipient, 0, text) for text in texts]),
    )


class _Subscriber(FrameReceiver):
    """Receives and checks the messages of one sender, and sends a PUBACK for each."""

    def __init__(
        self, loop: Loop, sock: socket.socket, stream: Stream, label: str, record: bool = False
    ) -> None:
        super().__init__(loop, sock, stream.size, label, record)
        self._expected = Expected(stream, f"deliveries to {label}", DELIVERIES)
        self._at = 4 + stream.cycle[3]
        """Position of the packet identifier, behind a topic shorter than 256 bytes."""

    def _take(self, frames: memoryview, count: int) -> None:
        answers = bytearray(b"\x40\x02\0\0" * count)
        for place in (0, 1):
            at = self._at + place
            answers[2 + place :: 4] = frames[at :: self._size]
            frames[at :: self._size] = bytes(count)
        self._expected.take(frames)
        self.answer(answers)


MQTT = Protocol(_receive, _send, _traffic, Sender, _Subscriber)
