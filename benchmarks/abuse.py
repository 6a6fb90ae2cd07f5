"""``python -m benchmarks.abuse``: the effect of misbehaving clients on other clients.

Most clients are idle, or send one message at a time and measure the latency of the answer. The
abusive clients connect with the PROXY protocol, from their own addresses, and misbehave as fast as
they can: they never read, send one byte per second, log in in a loop, flood, or send garbage. The
same load is measured without abusive clients, with abusive clients on a second server, and with
abusive clients on the measured server. The second figure shows the load on the machine alone.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import re
import resource
import select
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from time import monotonic, sleep

from benchmarks.frames import CheckFailed, login
from benchmarks.loop import Address, log_in
from benchmarks.procfs import read_costs
from benchmarks.servers import free_port
from chat_protocol.wire.codec import encode
from chat_protocol.wire.commands import Message

__all__ = ["KINDS", "Figures", "main", "measure"]

KINDS = ("never read", "one byte per second", "login in a loop", "flood", "garbage")

OPTIONS = (
    "--message-rate=20/100",
    "--message-rate-per-address=50/200",
    "--connection-rate-per-address=5/50",
    "--login-rate-per-address=5/50",
    "--login-seconds=20",
    "--frame-seconds=10",
)
"""Default options of the servers. The timeouts are short, so that the measurement reaches them."""

_HOSTS = 20
"""Number of addresses of the abusive clients."""

_INTERVAL = 0.1
"""Seconds between two messages of a sender."""

_ARRIVING = 5.0
"""Seconds in which the abusive clients use up their bursts; this time is reported separately."""

_TIMEOUT = 30.0


@dataclass(frozen=True)
class Figures:
    """The figures of one measurement. Latencies are in seconds, from a message to its answer."""

    messages: int
    p50: float
    p99: float
    slowest: float
    cpu: float
    """CPUs used by the server."""
    rss: int
    """Maximum resident memory of the server in bytes."""


# Well-behaved clients.


class MeasuredPairs:
    """Pairs of clients in which one sends to the other, with one message in flight."""

    def __init__(self, address: Address, count: int, prefix: str) -> None:
        names = [(f"{prefix}s{n}", f"{prefix}r{n}") for n in range(count)]
        self._receivers = log_in(address, [one for _, one in names])
        self._senders = log_in(address, [one for one, _ in names])
        self._frames = [encode(Message("m" * 64, one, other, 5), 7, 1) for one, other in names]
        self._epoll = select.epoll()
        self._index = {sock.fileno(): n for n, sock in enumerate(self._senders)}
        for sock in self._senders:
            self._epoll.register(sock, select.EPOLLIN)

    def run(self, seconds: float) -> list[float]:
        """Send for ``seconds``; return the latencies in seconds."""
        began = monotonic()
        count = len(self._senders)
        due = [began + _INTERVAL * n / count for n in range(count)]
        sent: list[float | None] = [None] * count
        latencies = []
        following = 0
        order = list(range(count))
        while (now := monotonic()) < began + seconds or any(sent):
            if now > began + seconds + _TIMEOUT:
                raise CheckFailed(f"the server did not answer a message within {_TIMEOUT:.0f} s")
            while now < began + seconds:
                n = order[following % count]
                if due[n] > now or sent[n] is not None:
                    break
                sent[n] = monotonic()
                self._senders[n].send(self._frames[n])
                due[n] += _INTERVAL
                following += 1
            for descriptor, _ in self._epoll.poll(0.001):
                n = self._index[descriptor]
                answer = self._senders[n].recv(4096)
                start = sent[n]
                if not answer or start is None or answer[-1] != 1:
                    raise CheckFailed(f"the server answered a message with {answer.hex()}")
                latencies.append(monotonic() - start)
                sent[n] = None
        for sock in self._receivers:
            with suppress(BlockingIOError):
                while sock.recv(1 << 16):
                    pass
        return latencies


# Abusive clients.


class AbusiveClient:
    """A client that misbehaves in one way, and reconnects whenever its connection ends.

    Args:
        number: selects the kind of misbehavior, the name and the address.
    """

    def __init__(self, number: int, address: Address, epoll: select.epoll) -> None:
        self._kind = KINDS[number % len(KINDS)]
        self._name = f"abusive{number:04d}"
        self._address = address
        self._epoll = epoll
        self._hello = (
            f"PROXY TCP4 198.51.100.{1 + number % _HOSTS} 203.0.113.1 {20000 + number} 5555\r\n"
        ).encode()
        self._random = random.Random(number)
        self._data = b""
        self._at = 0.0
        self.sock: socket.socket | None = None

    def connect(self) -> None:
        """Connect and send the PROXY header with the first bytes."""
        sock = self.sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(self._address)
        self._data = self._hello + self._first()
        self._at = monotonic()
        self._epoll.register(sock, select.EPOLLIN | select.EPOLLOUT)

    def _first(self) -> bytes:
        if self._kind == "garbage":
            return self._random.randbytes(200)
        if self._kind == "one byte per second":
            return b"\0\0\x10"
        return login(self._name)

    def _more(self) -> bytes:
        if self._kind == "never read":
            return encode(Message("n" * 8000, self._name, self._name, 5), 7, 1) * 8
        if self._kind == "flood":
            return encode(Message("f", self._name, self._name, 5), 7, 1) * 500
        return b""

    def ready(self, events: int) -> None:
        """Handle the epoll events of the socket."""
        assert self.sock is not None
        try:
            if events & select.EPOLLIN and self._kind != "never read":
                data = self.sock.recv(1 << 16)
                if not data or self._kind == "login in a loop":
                    self.reconnect()
                    return
            elif events & (select.EPOLLERR | select.EPOLLHUP):
                self.reconnect()
                return
            if events & select.EPOLLOUT:
                self._data = self._data or self._more()
                if self._data:
                    self._data = self._data[self.sock.send(self._data[: 1 << 16]) :]
                if not self._data and not self._more():
                    self._epoll.modify(self.sock, select.EPOLLIN)
        except BlockingIOError:
            pass
        except OSError:
            self.reconnect()

    def tick(self) -> None:
        """Do what is due once per second."""
        if self.sock is None:
            self.connect()
        elif self._kind == "one byte per second":
            with suppress(OSError):
                self.sock.send(b"\0")

    def reconnect(self) -> None:
        """Close the connection and connect again at once."""
        if self.sock is not None:
            self._epoll.unregister(self.sock)
            self.sock.close()
            self.sock = None
        self.connect()


def _misbehave(address: Address, count: int, control: Connection) -> None:
    os.nice(5)
    epoll = select.epoll()
    clients = [AbusiveClient(n, address, epoll) for n in range(count)]
    for n, client in enumerate(clients):
        client.connect()
        if not n % 20:
            sleep(0.01)
    control.send("connected")
    second = monotonic()
    while not control.poll():
        by_descriptor = {one.sock.fileno(): one for one in clients if one.sock is not None}
        for descriptor, events in epoll.poll(0.05):
            found = by_descriptor.get(descriptor)
            if found is not None and found.sock is not None:
                found.ready(events)
        if monotonic() - second >= 1:
            second = monotonic()
            for client in clients:
                client.tick()


# The measurement.


@contextmanager
def _server(directory: Path, options: Sequence[str]) -> Iterator[tuple[int, Address, Address]]:
    """Run a server; yield its pid, its address, and its address for PROXY connections."""
    port, proxy = free_port(), free_port()
    log = (directory / "log").open("wb")
    process = subprocess.Popen(
        [
            str(Path(sys.executable).with_name("twistd")), "-n", "--pidfile=", "chatserver",
            f"--listen=tcp:{port}:interface=127.0.0.1:backlog=1024",
            f"--listen=haproxy:tcp:{proxy}:interface=127.0.0.1:backlog=1024",
            f"--store=sqlite:{directory / 'chat.db'}", *options,
        ],
        stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        deadline = monotonic() + _TIMEOUT
        while True:
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", proxy)).close()
                break
            if monotonic() > deadline or process.poll() is not None:
                output = (directory / "log").read_text()
                raise CheckFailed(f"the server did not start. Its log:\n{output}")
            sleep(0.05)
        yield process.pid, ("127.0.0.1", port), ("127.0.0.1", proxy)
    finally:
        process.terminate()
        try:
            process.wait(_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()


def measure(pairs: MeasuredPairs, pid: int, seconds: float) -> Figures:
    """Run the pairs for ``seconds``; return the figures."""
    before = read_costs(pid)
    latencies = sorted(pairs.run(seconds))
    after = read_costs(pid)
    return Figures(
        len(latencies),
        latencies[len(latencies) // 2],
        latencies[int(len(latencies) * 0.99)],
        latencies[-1],
        (after.cpu - before.cpu) / seconds,
        max(before.rss, after.rss),
    )


@contextmanager
def _abusive_clients(address: Address, count: int) -> Iterator[None]:
    pipe, child_pipe = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(
        target=_misbehave, args=(address, count, child_pipe), daemon=True
    )
    process.start()
    try:
        if not pipe.poll(_TIMEOUT):
            raise CheckFailed(f"the abusive clients did not connect within {_TIMEOUT:.0f} s")
        yield
    finally:
        pipe.send("stop")
        process.join(_TIMEOUT)
        process.terminate()


def _show(title: str, figures: Figures) -> None:
    print(
        f"{title:24} {figures.messages:8,} messages  p50 {figures.p50 * 1e3:7.2f} ms  p99"
        f" {figures.p99 * 1e3:7.2f} ms  slowest {figures.slowest * 1e3:8.1f} ms  server"
        f" {figures.cpu:4.2f} CPUs, {figures.rss / 1e6:6.1f} MB",
        flush=True,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; return 0 if p99 with abusive clients is at most 1.5 times that without, else 1."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.abuse", description=__doc__)
    parser.add_argument(
        "--connections", type=int, default=10_000, help="number of all clients (default: 10000)"
    )
    parser.add_argument(
        "--abusive", type=int, default=1000, help="number of abusive clients (default: 1000)"
    )
    parser.add_argument(
        "--pairs", type=int, default=50, help="number of measured pairs (default: 50)"
    )
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="duration of each measurement (default: 10)"
    )
    parser.add_argument(
        "--repetitions", type=int, default=3, help="repetitions of each measurement (default: 3)"
    )
    parser.add_argument(
        "--option",
        action="append",
        help=f"option of chatserver; can be given several times (default: {' '.join(OPTIONS)})",
    )
    options = parser.parse_args(arguments)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    without: list[Figures] = []
    elsewhere: list[Figures] = []
    with_abuse: list[Figures] = []
    with tempfile.TemporaryDirectory(prefix="abuse-") as folder:
        given = OPTIONS if options.option is None else options.option
        measured, second = Path(folder, "measured"), Path(folder, "second")
        measured.mkdir()
        second.mkdir()
        with (
            _server(second, given) as (_, _, second_proxy),
            _server(measured, given) as (pid, address, proxy),
        ):
            idle = options.connections - options.abusive - 2 * options.pairs
            idle_clients = log_in(address, [f"idle{n}" for n in range(idle)])
            pairs = MeasuredPairs(address, options.pairs, "w")
            pairs.run(1)
            for _ in range(options.repetitions):
                without.append(measure(pairs, pid, options.seconds))
                _show("without abuse", without[-1])
                for target, figures, title in (
                    (second_proxy, elsewhere, "abuse of second server"),
                    (proxy, with_abuse, "with abuse"),
                ):
                    with _abusive_clients(target, options.abusive):
                        _show("while clients connect", measure(pairs, pid, _ARRIVING))
                        figures.append(measure(pairs, pid, options.seconds))
                        _show(title, figures[-1])
                    sleep(2)
            for sock in idle_clients:
                sock.close()
        log = (measured / "log").read_text(errors="replace")
    print("Log of the server:")
    for limit in sorted(set(re.findall(r"\((\w+)\)$", log, re.MULTILINE))):
        lines = [line for line in log.splitlines() if line.endswith(f"({limit})")]
        print(f"  {limit}: {len(lines)} lines, for example {lines[0].partition('] ')[2]}")
    print(f"  total: {len(log.splitlines())} lines, {len(log) / 1e6:.2f} MB")
    before, machine, after = (
        median(one.p99 for one in some) * 1e3 for some in (without, elsewhere, with_abuse)
    )
    print(
        f"p99: {before:.2f} ms without abuse, {machine:.2f} ms with abuse of the second server,"
        f" {after:.2f} ms with abuse (ratios {after / before:.2f} and {after / machine:.2f})"
    )
    return 0 if after <= 1.5 * before else 1


if __name__ == "__main__":
    sys.exit(main())
