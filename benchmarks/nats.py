"""A client of NATS JetStream: a PubAck for each message, and an acknowledgement of each delivery.

The numbers of the broker have no fixed size. Therefore each message is reduced to the part that
the sender determined, which is compared with the expected stream.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Sequence
from functools import cached_property

from benchmarks.dialing import dial_tcp
from benchmarks.frames import CYCLE, CheckFailed, Traffic, stream_of, text_of
from benchmarks.loop import Address, read
from benchmarks.peers import Sender
from benchmarks.protocols import Protocol
from benchmarks.receivers import Receiver

__all__ = ["NATS"]

_HELLO = b'CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true}\r\n'
_ANSWER = re.compile(rb'MSG a\.\S+(\.\d{3}) 1 \d+\r\n\{"stream":"bench", ?"seq":\d+\}\r\n|PING\r\n')
_DELIVERY = re.compile(
    rb"MSG (m\.\S+) 1 (\$JS\.ACK\.bench\.[^ .]+\.1\.\S+) \d+\r\n([^\r]*\r\n)|PING\r\n"
)


def _exchange(sock: socket.socket, data: bytes, until: bytes) -> bytes:
    """Send data; return all that the broker sends up to a line that begins with ``until``."""
    received = b""
    try:
        sock.sendall(data)
        while not re.search(rb"^" + until + rb".*\r\n\Z", received, re.MULTILINE | re.DOTALL):
            piece = sock.recv(4096)
            if not piece:
                raise ConnectionError("the broker closed the connection")
            received += piece
    except OSError as error:
        raise CheckFailed(f"the broker did not answer: {error}: {received!r}") from None
    if b"-ERR" in received or b'"error"' in received or b"HMSG" in received:
        raise CheckFailed(f"the broker answered {received!r}")
    return received


def _open(address: Address, subject: str) -> socket.socket:
    sock = dial_tcp(address)
    _exchange(sock, _HELLO + f"SUB {subject} 1\r\nPING\r\n".encode(), b"PONG")
    sock.setblocking(False)
    return sock


def _send(address: Address, names: Sequence[str]) -> list[socket.socket]:
    return [_open(address, f"a.{name}.*") for name in names]


def _receive(address: Address, names: Sequence[str]) -> list[socket.socket]:
    with dial_tcp(address) as sock:
        _exchange(sock, _HELLO + b"SUB api 1\r\nPING\r\n", b"PONG")
        _create(sock, "STREAM.CREATE.bench", {"name": "bench", "subjects": ["m.*"]})
        sockets = []
        for name in names:
            sockets.append(_open(address, f"d.{name}"))
            config = {
                "durable_name": name,
                "deliver_subject": f"d.{name}",
                "filter_subject": f"m.{name}",
                "ack_policy": "explicit",
                "deliver_policy": "all",
            }
            body = {"stream_name": "bench", "config": config}
            _create(sock, f"CONSUMER.DURABLE.CREATE.bench.{name}", body)
    return sockets


def _create(sock: socket.socket, subject: str, body: object) -> None:
    text = json.dumps(body)
    _exchange(
        sock, f"PUB $JS.API.{subject} api {len(text)}\r\n{text}\r\n".encode(), b"H?MSG .*\r\n"
    )


def _traffic(index: int, sender: str, recipient: str, size: int) -> Traffic:
    texts = [text_of(index, n, size) for n in range(CYCLE)]
    return Traffic(
        stream_of(
            [
                f"PUB m.{recipient} a.{sender}.{n:03d} {size}\r\n{text}\r\n".encode()
                for n, text in enumerate(texts)
            ]
        ),
        stream_of([f".{n:03d}".encode() for n in range(CYCLE)]),
        stream_of([f"m.{recipient}{text}\r\n".encode() for text in texts]),
    )


class _Reader:
    """Finds the whole messages in what a connection receives; answers the broker's PING."""

    def __init__(self, sock: socket.socket, pattern: re.Pattern[bytes], label: str) -> None:
        self._sock = sock
        self._pattern = pattern
        self._label = label
        self.rest = b""

    def read(self, view: memoryview) -> list[tuple[bytes, ...]]:
        """Return the groups of each message."""
        data = self.rest + bytes(view[: read(self._sock, view, self._label)])
        found, end = [], 0
        while match := self._pattern.match(data, end):
            end = match.end()
            if match[1] is None:
                self._sock.send(b"PONG\r\n")
            else:
                found.append(match.groups())
        self.rest = data[end:]
        # An incomplete message has one line end at most.
        if self.rest.count(b"\r\n") > 1 or self.rest.startswith(b"-ERR"):
            raise CheckFailed(f"{self._label}: the broker sent {self.rest!r}")
        return found


class _Publisher(Sender):
    """Publishes messages and checks the PubAcks."""

    @cached_property
    def _reader(self) -> _Reader:
        return _Reader(self.sock, _ANSWER, f"answers to {self._label}")

    def _read(self) -> memoryview:
        return memoryview(b"".join(n for (n,) in self._reader.read(self._loop.answers)))


class _Consumer(Receiver):
    """Receives, checks and acknowledges the messages of one sender."""

    @cached_property
    def _reader(self) -> _Reader:
        return _Reader(self.sock, _DELIVERY, f"deliveries to {self._label}")

    @property
    def has_partial_frame(self) -> bool:
        return bool(self._reader.rest)

    def _read(self) -> memoryview:
        found = self._reader.read(self._view)
        acks = b"".join(b"PUB %b 4\r\n+ACK\r\n" % reply for _, reply, _ in found)
        if acks:
            self.sock.send(acks)
        return memoryview(b"".join(subject + text for subject, _, text in found))


NATS = Protocol(_receive, _send, _traffic, _Publisher, _Consumer)
