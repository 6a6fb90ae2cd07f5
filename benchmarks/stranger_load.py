"""Hostile connections that send at full speed, and the process that runs them."""

from __future__ import annotations

import errno
import multiprocessing
import os
import resource
import select
import socket
import ssl
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from time import monotonic, process_time
from typing import NamedTuple

from benchmarks.frames import CheckFailed
from benchmarks.loop import Address
from benchmarks.stranger_kinds import (
    KINDS,
    LOGGED_IN,
    TLS,
    UPGRADE,
    WEBSOCKET,
    Kind,
    in_websocket,
)

__all__ = ["Flood", "Strangers", "flooding"]

_CONNECT_SECONDS = 30.0
_READ = 1 << 16
_IN, _OUT = select.EPOLLIN, select.EPOLLOUT


class Strangers(NamedTuple):
    """The hostile load of a row."""

    kind: str
    transport: str
    connections: int


class Flood(NamedTuple):
    """What the hostile connections did."""

    left: float
    """The time (``time.monotonic``) at which they closed."""
    sent: int
    """Number of bytes."""
    reconnects: int
    cpu: float
    """CPU time of their process during the flood, in seconds."""


class Stranger:
    """A connection that sends the same data again and again, and that reconnects when it ends."""

    def __init__(
        self, flood: _Flooding, kind: Kind, transport: str, name: str, tls: ssl.SSLContext
    ) -> None:
        self._flood = flood
        self._tls = tls if transport == TLS else None
        first, data = kind.first(name), kind.data
        if transport == WEBSOCKET:
            first = UPGRADE + in_websocket(first)
            # The kind that has no other transport is encoded as WebSocket messages.
            data = data if kind.transport == WEBSOCKET else in_websocket(data)
        self._first, self._data = memoryview(first), memoryview(data)
        self._answer = LOGGED_IN if kind.logs_in else b"101 " if transport == WEBSOCKET else b""
        self.ready = False
        """Whether the connection has been established, and its login answered, once."""
        self.connect()

    def connect(self) -> None:
        """Connect, and send the login or the request for a WebSocket."""
        self.sock = socket.socket()
        self.sock.setblocking(False)
        code = self.sock.connect_ex(self._flood.address)
        if code not in (0, errno.EINPROGRESS):
            raise CheckFailed(f"cannot connect to the server: {errno.errorcode.get(code, code)}")
        self._received = b""
        self._connected = False
        self._rest = self._first
        self._flood.watch(self, _OUT)

    def begin(self) -> None:
        """Send data from now on."""
        self._flood.change(self, _IN | _OUT)

    def happened(self, events: int) -> None:
        """Handle the epoll events of the socket."""
        try:
            if not self._connected:
                self._establish()
                return
            if events & ~_OUT:
                self._read()
            if events & _OUT:
                self._write()
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except OSError:
            self._flood.forget(self)
            self.sock.close()
            self._flood.reconnects += 1
            self.connect()

    def _establish(self) -> None:
        if self._tls is not None:
            if not isinstance(self.sock, ssl.SSLSocket):
                self._flood.forget(self)
                self.sock = self._tls.wrap_socket(self.sock, do_handshake_on_connect=False)
                self._flood.watch(self, _IN)
            assert isinstance(self.sock, ssl.SSLSocket)
            self.sock.do_handshake()
        elif code := self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(code, "connect")
        self._connected = True
        self.ready |= not self._answer
        events = _IN | _OUT if self._flood.running or self._rest else _IN
        self._flood.change(self, events)

    def _read(self) -> None:
        data = self.sock.recv(_READ)
        if not data:
            raise ConnectionError("the server closed the connection")
        if not self.ready:
            self._received += data
            self.ready = self._answer in self._received

    def _write(self) -> None:
        if not self._rest:
            if not self._flood.running:
                self._flood.change(self, _IN)
                return
            self._rest = self._data
        count = self.sock.send(self._rest)
        self._rest = self._rest[count:]
        self._flood.sent += count


class _Flooding:
    """The hostile connections of a process, and the epoll object that they share."""

    def __init__(self, address: Address, strangers: Strangers) -> None:
        self.address = address
        self.running = False
        self.sent = 0
        self.reconnects = 0
        self._epoll = select.epoll()
        self._by_descriptor: dict[int, Stranger] = {}
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
        kind = KINDS[strangers.kind]
        self._strangers = []
        deadline = monotonic() + _CONNECT_SECONDS
        for n in range(strangers.connections):
            one = Stranger(self, kind, strangers.transport, f"stranger{n}", tls)
            self._strangers.append(one)
            # The backlog of the server is limited, therefore they connect one after the other.
            while not one.ready:
                self._turn()
                if monotonic() > deadline:
                    raise CheckFailed(
                        f"{strangers.connections} connections did not connect within"
                        f" {_CONNECT_SECONDS:.0f} s"
                    )

    def watch(self, one: Stranger, events: int) -> None:
        self._by_descriptor[one.sock.fileno()] = one
        self._epoll.register(one.sock, events)

    def change(self, one: Stranger, events: int) -> None:
        self._epoll.modify(one.sock, events)

    def forget(self, one: Stranger) -> None:
        del self._by_descriptor[one.sock.fileno()]
        self._epoll.unregister(one.sock)

    def _turn(self) -> None:
        for descriptor, events in self._epoll.poll(0.05):
            self._by_descriptor[descriptor].happened(events)

    def run(self, seconds: float) -> Flood:
        """Send for ``seconds``, then close all connections."""
        self.reconnects = self.sent = 0
        self.running = True
        cpu, end = process_time(), monotonic() + seconds
        for one in self._strangers:
            one.begin()
        while monotonic() < end:
            self._turn()
        for one in self._strangers:
            one.sock.close()
        self._epoll.close()
        return Flood(monotonic(), self.sent, self.reconnects, process_time() - cpu)


def _run(pipe: Connection, address: Address, strangers: Strangers, seconds: float) -> None:
    # The client that measures latencies shares the processor, and must not wait for this process.
    os.nice(5)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        flooding = _Flooding(address, strangers)
        pipe.send("ready")
        pipe.recv()
        pipe.send(flooding.run(seconds))
    except CheckFailed as failure:
        pipe.send(failure)
    except Exception:
        pipe.send(CheckFailed(traceback.format_exc()))


@contextmanager
def flooding(address: Address, strangers: Strangers, seconds: float) -> Iterator[Connection]:
    """Run hostile connections in a process of their own.

    They are connected and, if their kind logs in, logged in when the context begins. They send for
    ``seconds`` after the first item is sent to the yielded pipe, which then gets a :class:`Flood`,
    or a :class:`CheckFailed`.
    """
    context = multiprocessing.get_context("fork")
    pipe, child_pipe = context.Pipe()
    process = context.Process(
        target=_run, args=(child_pipe, address, strangers, seconds), daemon=True
    )
    process.start()
    try:
        started = pipe.recv() if pipe.poll(2 * _CONNECT_SECONDS) else CheckFailed("no start")
        if isinstance(started, CheckFailed):
            raise started
        yield pipe
    finally:
        process.kill()
        process.join()
        pipe.close()
        child_pipe.close()
