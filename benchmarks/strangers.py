"""``python -m benchmarks.strangers``: what those who behave notice of those who do not.

Most connections are idle or write now and then, one message at a time, and measure how long the
answer takes. The others come through the PROXY protocol, from addresses of their own, and misbehave
as fast as they can: they never read, send a byte a second, log in in a loop, flood, send garbage.
The same load is measured without them, with them at another server of the same kind, which shows
what they take from the machine, and with them, in turn.
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

from benchmarks.frames import Failed, login
from benchmarks.loop import Address, log_in
from benchmarks.procfs import read_costs
from benchmarks.servers import free_port
from chat_protocol.wire.codec import encode
from chat_protocol.wire.commands import Message

__all__ = ["KINDS", "Figures", "main", "measure"]

KINDS = ("never read", "a byte a second", "login in a loop", "flood", "garbage")

OPTIONS = (
    "--message-rate=20/100",
    "--message-rate-per-address=50/200",
    "--connection-rate-per-address=5/50",
    "--login-rate-per-address=5/50",
    "--login-seconds=20",
    "--frame-seconds=10",
)
"""What a server is given to which strangers come; the times are short so that they are met."""

_HOSTS = 20
"""Addresses that the strangers come from."""

_INTERVAL = 0.1
"""Seconds between two messages of one who writes."""

_ARRIVING = 5.0
"""Seconds in which strangers use up what they have at once; shown, and not compared."""

_PATIENCE = 30.0


@dataclass(frozen=True)
class Figures:
    """What the others saw in one measurement."""

    messages: int
    p50: float
    p99: float
    slowest: float
    """Seconds from a message to its answer."""
    cpu: float
    """Processors that the server had."""
    rss: int
    """Bytes, at most."""


# Those who behave.


class Writers:
    """Pairs; the first of each writes to the second, one message at a time."""

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
        """Write for so long; the latencies."""
        began = monotonic()
        count = len(self._senders)
        due = [began + _INTERVAL * n / count for n in range(count)]
        sent: list[float | None] = [None] * count
        latencies = []
        following = 0
        order = list(range(count))
        while (now := monotonic()) < began + seconds or any(sent):
            if now > began + seconds + _PATIENCE:
                raise Failed("a message was not answered")
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
                    raise Failed(f"a message was answered {answer.hex()}")
                latencies.append(monotonic() - start)
                sent[n] = None
        for sock in self._receivers:
            with suppress(BlockingIOError):
                while sock.recv(1 << 16):
                    pass
        return latencies


# Those who do not.


class Stranger:
    """One connection after the other, each as bad as the first."""

    def __init__(self, number: int, address: Address, epoll: select.epoll) -> None:
        self._kind = KINDS[number % len(KINDS)]
        self._name = f"stranger{number:04d}"
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
        """Come, again."""
        sock = self.sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(self._address)
        self._data = self._hello + self._first()
        self._at = monotonic()
        self._epoll.register(sock, select.EPOLLIN | select.EPOLLOUT)

    def _first(self) -> bytes:
        if self._kind == "garbage":
            return self._random.randbytes(200)
        if self._kind == "a byte a second":
            return b"\0\0\x10"
        return login(self._name)

    def _more(self) -> bytes:
        if self._kind == "never read":
            return encode(Message("n" * 8000, self._name, self._name, 5), 7, 1) * 8
        if self._kind == "flood":
            return encode(Message("f", self._name, self._name, 5), 7, 1) * 500
        return b""

    def ready(self, events: int) -> None:
        """Go on."""
        assert self.sock is not None
        try:
            if events & select.EPOLLIN and self._kind != "never read":
                data = self.sock.recv(1 << 16)
                if not data or self._kind == "login in a loop":
                    self.leave()
                    return
            elif events & (select.EPOLLERR | select.EPOLLHUP):
                self.leave()
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
            self.leave()

    def tick(self) -> None:
        """Called once a second."""
        if self.sock is None:
            self.connect()
        elif self._kind == "a byte a second":
            with suppress(OSError):
                self.sock.send(b"\0")

    def leave(self) -> None:
        """The connection ended; come again, at once if one may."""
        if self.sock is not None:
            self._epoll.unregister(self.sock)
            self.sock.close()
            self.sock = None
        self.connect()


def _misbehave(address: Address, count: int, control: Connection) -> None:
    os.nice(5)
    epoll = select.epoll()
    strangers = [Stranger(n, address, epoll) for n in range(count)]
    for n, stranger in enumerate(strangers):
        stranger.connect()
        if not n % 20:
            sleep(0.01)
    control.send("there")
    second = monotonic()
    while not control.poll():
        by_descriptor = {one.sock.fileno(): one for one in strangers if one.sock is not None}
        for descriptor, events in epoll.poll(0.05):
            found = by_descriptor.get(descriptor)
            if found is not None and found.sock is not None:
                found.ready(events)
        if monotonic() - second >= 1:
            second = monotonic()
            for stranger in strangers:
                stranger.tick()


# The measurement.


@contextmanager
def _server(directory: Path, options: Sequence[str]) -> Iterator[tuple[int, Address, Address]]:
    """Its process, where the others come and where the strangers do."""
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
        deadline = monotonic() + _PATIENCE
        while True:
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", proxy)).close()
                break
            if monotonic() > deadline or process.poll() is not None:
                raise Failed(f"the server does not start:\n{(directory / 'log').read_text()}")
            sleep(0.05)
        yield process.pid, ("127.0.0.1", port), ("127.0.0.1", proxy)
    finally:
        process.terminate()
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()


def measure(writers: Writers, pid: int, seconds: float) -> Figures:
    """What those who write see for so long."""
    before = read_costs(pid)
    latencies = sorted(writers.run(seconds))
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
def _strangers(address: Address, count: int) -> Iterator[None]:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(
        target=_misbehave, args=(address, count, theirs), daemon=True
    )
    process.start()
    try:
        if not ours.poll(_PATIENCE):
            raise Failed("the strangers do not come")
        yield
    finally:
        ours.send("stop")
        process.join(_PATIENCE)
        process.terminate()


def _show(title: str, figures: Figures) -> None:
    print(
        f"{title:20} {figures.messages:8,} messages  p50 {figures.p50 * 1e3:7.2f} ms  p99"
        f" {figures.p99 * 1e3:7.2f} ms  slowest {figures.slowest * 1e3:8.1f} ms  server"
        f" {figures.cpu:4.2f} CPUs, {figures.rss / 1e6:6.1f} MB",
        flush=True,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; 0 if p99 with the strangers is at most 1.5 times that without."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.strangers", description=__doc__)
    parser.add_argument("--connections", type=int, default=10_000, help="all (default: 10000)")
    parser.add_argument("--strangers", type=int, default=1000, help="of them (default: 1000)")
    parser.add_argument("--pairs", type=int, default=50, help="who write (default: 50)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each look (default: 10)")
    parser.add_argument("--looks", type=int, default=3, help="with and without (default: 3)")
    parser.add_argument(
        "--option", action="append", help=f"of chatserver (default: {' '.join(OPTIONS)})"
    )
    options = parser.parse_args(arguments)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    quiet: list[Figures] = []
    elsewhere: list[Figures] = []
    loud: list[Figures] = []
    with tempfile.TemporaryDirectory(prefix="strangers-") as folder:
        given = OPTIONS if options.option is None else options.option
        here, there = Path(folder, "here"), Path(folder, "there")
        here.mkdir()
        there.mkdir()
        with _server(there, given) as (_, _, other), _server(here, given) as (pid, address, proxy):
            idle = options.connections - options.strangers - 2 * options.pairs
            kept = log_in(address, [f"idle{n}" for n in range(idle)])
            writers = Writers(address, options.pairs, "w")
            writers.run(1)
            for _ in range(options.looks):
                quiet.append(measure(writers, pid, options.seconds))
                _show("without strangers", quiet[-1])
                for at, figures, words in (
                    (other, elsewhere, "with them elsewhere"),
                    (proxy, loud, "with strangers"),
                ):
                    with _strangers(at, options.strangers):
                        _show("while they arrive", measure(writers, pid, _ARRIVING))
                        figures.append(measure(writers, pid, options.seconds))
                        _show(words, figures[-1])
                    sleep(2)
            for sock in kept:
                sock.close()
        log = (here / "log").read_text(errors="replace")
    print("In the log:")
    for limit in sorted(set(re.findall(r"\((\w+)\)$", log, re.MULTILINE))):
        lines = [line for line in log.splitlines() if line.endswith(f"({limit})")]
        print(f"  {limit}: {len(lines)} lines, such as {lines[0].partition('] ')[2]}")
    print(f"  {len(log.splitlines())} lines, {len(log) / 1e6:.2f} MB in all")
    before, machine, after = (
        median(one.p99 for one in some) * 1e3 for some in (quiet, elsewhere, loud)
    )
    print(
        f"p99 {before:.2f} ms without, {machine:.2f} ms with strangers elsewhere, {after:.2f} ms"
        f" with strangers: {after / before:.2f} and {after / machine:.2f} times"
    )
    return 0 if after <= 1.5 * before else 1


if __name__ == "__main__":
    sys.exit(main())
