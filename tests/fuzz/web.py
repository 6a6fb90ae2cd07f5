"""Requests of HTTP and frames of WebSockets, changed at random, on a server in memory::

    python -m tests.fuzz.web --seconds 1800
    python -m tests.fuzz.web --seed 4711 --cases 1        # plays one case again

After each case the connection is lost, and nothing of it may be left. Nothing may log a failure.
Now and then the page is asked for, and the memory of the process is looked at.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from twisted.logger import ILogObserver, LogEvent, globalLogBeginner
from twisted.python.failure import Failure
from zope.interface import provider

from chat_protocol.server.sniffer import Sniffer
from chat_protocol.web.site import Web
from chat_protocol.wire.codec import encode
from chat_protocol.wire.commands import Ack, Heartbeat, History, Login2, Publish, Users
from tests.server.line import Server, login, message
from tests.web.browser import Browser, answers, frame, get, upgrade

__all__ = ["Fault", "play"]

_LOOK_EVERY = 2000
_WARM = 10_000
_GROWTH = 32 * 1024
"""KiB by which the process may grow after it is warm."""

_PIECES = [
    b"GET ", b"HEAD ", b"POST ", b"OPTIONS ", b"get ", b"/", b"/ws", b"*", b"http://x/", b"//",
    b"/%00", b"/../", b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", b" HTTP/9.9\r\n", b"Host: a\r\n",
    b"Host: b\r\n", b"Host:\r\n", b"Content-Length: 5\r\n", b"Content-Length: -1\r\n",
    b"Content-Length: 5, 6\r\n",
    b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\n\r\n", b"Connection: Upgrade\r\n",
    b"Connection: close\r\n", b"Upgrade: websocket\r\n", b"Sec-WebSocket-Version: 13\r\n",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b"Sec-WebSocket-Key: x\r\n",
    b"Origin: http://a\r\n", b"Origin: null\r\n", b"Expect: 100-continue\r\n",
    b"Range: bytes=0-1\r\n", b"If-None-Match: *\r\n", b"Accept-Encoding: gzip\r\n",
    b"X: " + b"y" * 5000 + b"\r\n", b": \r\n", b" folded\r\n",
    b"\r\n", b"\n", b"\0", b"\xff", b"\x16\x03\x01", b"PROXY UNKNOWN\r\n",
]  # fmt: skip


class Fault(Exception):
    """Something broke a promise."""


_failures: list[Failure] = []


@provider(ILogObserver)
def _observe(event: LogEvent) -> None:
    if event.get("log_failure") is not None:
        _failures.append(event["log_failure"])


def _requests(random: Random) -> bytes:
    """Return one or several requests, whole or in pieces."""
    if random.random() < 0.3:
        return get(random.choice(["/", "/index.html", "/nothing", "/ws"])) * random.randint(1, 80)
    return b"".join(random.choice(_PIECES) for _ in range(random.randint(1, 25)))


def _frames(random: Random) -> bytes:
    """Return messages on a WebSocket."""
    said = [
        login("alice"),
        encode(Login2("bob", {"presence": "1"})),
        message("hi", "alice", random.choice(["alice", "bob", "nobody"])),
        encode(Publish(random.choice([0, 1, 2**63]), "x", random.choice([0, 1, 9]), ("alice",), 1)),
        encode(Ack(random.getrandbits(40))),
        encode(History("", 0, 10)),
        encode(Users("", 10)),
        encode(Heartbeat()),
    ]
    found = []
    for _ in range(random.randint(1, 30)):
        data = random.choice([b"", *said])
        opcode = random.choice([2, 2, 2, 2, 0, 1, 8, 9, 10, random.randrange(16)])
        if opcode > 7:
            data = data[:125]
        found.append(frame(data, opcode))
    return b"".join(found)


def _changed(data: bytes, random: Random) -> bytes:
    """Return data with a few bytes changed, removed or doubled."""
    changed = bytearray(data)
    for _ in range(random.choice([0, 0, 0, 1, 1, 3])):
        place = random.randrange(len(changed)) if changed else 0
        what = random.random()
        if what < 0.4 and changed:
            changed[place] = random.randrange(256)
        elif what < 0.7:
            del changed[place : place + random.randint(1, 9)]
        else:
            changed[place:place] = changed[place : place + random.randint(1, 99)]
    return bytes(changed)


def play(server: Server, seed: int) -> None:
    """Play one case; raise Fault if it breaks a promise."""
    random = Random(seed)
    browser = Browser(server=server)
    data = _changed(_requests(random), random)
    if random.random() < 0.6:
        data = _changed(upgrade(), random) if random.random() < 0.2 else upgrade()
        data += _changed(_frames(random), random)
    place = 0
    while place < len(data):
        size = random.choice([1, 7, 100, 4096, len(data)])
        browser.peer.protocol.dataReceived(data[place : place + size])
        place += size
        if random.random() < 0.3:
            server.turn()
    if random.random() < 0.5:
        browser.peer.protocol.readConnectionLost()
    server.turn()
    browser.peer.lose()
    server.turn()
    server.clock.advance(5)
    if server.factory.connections:
        raise Fault("the connection is still there")
    if _failures:
        raise Fault(_failures.pop().getTraceback())


def _look(server: Server, warm: int) -> int:
    """Check that the server still serves; return its size in KiB, and check its growth."""
    browser = Browser(server=server)
    (answer,) = answers(browser.raw(get()))
    browser.peer.lose()
    if answer.code != 200:
        raise Fault(f"the page is answered {answer.code}")
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    size = pages * resource.getpagesize() // 1024
    if warm and size > warm + _GROWTH:
        raise Fault(f"the process has grown from {warm} to {size} KiB")
    return size


def main() -> None:
    """Play cases until the time is up."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.web")
    parser.add_argument("--seconds", type=float, default=60, help="how long [60]")
    parser.add_argument("--cases", type=int, default=1 << 60, help="how many cases at most")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    options = parser.parse_args()
    globalLogBeginner.beginLoggingTo([_observe], discardBuffer=True, redirectStandardIO=False)
    with TemporaryDirectory() as folder:
        Path(folder, "index.html").write_bytes(b"hello")
        server = Server()
        server.factory.sniffer = Sniffer(web=Web(server.clock, Path(folder)))
        end = time.monotonic() + options.seconds
        warm = size = case = 0
        while time.monotonic() < end and case < options.cases:
            try:
                play(server, options.seed + case)
            except Exception:
                print(f"FAULT in the case --seed {options.seed + case}")
                raise
            case += 1
            if case % _LOOK_EVERY == 0:
                size = _look(server, warm)
                warm = warm or (size if case >= _WARM else 0)
    print(
        f"{case:,} cases from seed {options.seed}, no fault; {warm:,} KiB warm, {size:,} at the end"
    )


if __name__ == "__main__":
    main()
