"""Stop and start under load: nobody is refused, nothing is lost or doubled.

The listening socket is held here, as systemd does for a socket-activated service, and given to
each process of the server (sd_listen_fds(3)); it says that it serves as it tells systemd
(sd_notify(3)), and is stopped with SIGTERM. Users of the library send all the time, and in between
somebody connects again and again::

    python -m tests.fault.restart --restarts 10 --users 20
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from threading import Event as Flag
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater, react
from twisted.internet.threads import deferToThread

from chat_protocol.client import State
from chat_protocol.client.backoff import SPREAD
from chat_protocol.client.events import Event, Offline
from chat_protocol.wire.codec import encode
from chat_protocol.wire.commands import Login
from tests.fault.promise import HOST, User, verdict

START_SECONDS = 30
STOP_SECONDS = 30
SETTLE_SECONDS = 60

_EXEC = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="chat.socket")
os.execv(sys.argv[2], sys.argv[2:])
"""


class ActivatedServer:
    """A server whose socket and notifications are systemd's affair."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self.listener = socket.create_server((HOST, 0), backlog=4096)
        self.port = self.listener.getsockname()[1]
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(f"{folder}/notify")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it serves."""
        fd = self.listener.fileno()
        with Path(self._folder, "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-c", _EXEC, str(fd)),
                    str(Path(sys.executable).with_name("twistd")),
                    *("-n", "--pidfile=", "chatserver", "--store", "sqlite:chat.db"),
                    *("--listen", "systemd:domain=INET:index=0", "--mailbox-limit", "0"),
                ],
                cwd=self._folder,
                env=os.environ | {"NOTIFY_SOCKET": f"{self._folder}/notify"},
                stdout=log,
                stderr=log,
                pass_fds=[fd],
            )
        self._wait_for(b"READY=1", START_SECONDS)

    def stop(self) -> None:
        """SIGTERM; returns when it is gone, as asked."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        self._wait_for(b"STOPPING=1", STOP_SECONDS)
        code = self._process.wait(STOP_SECONDS)
        if code:
            raise RuntimeError(f"the server ended with {code}: {self._folder}/log")

    def kill(self) -> None:
        """However it is."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self.listener.close()
        self._notify.close()

    def _wait_for(self, word: bytes, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            came = select.select([self._notify], [], [], 0.1)[0]
            if came and word in self._notify.recv(4096).split(b"\n"):
                return
        raise RuntimeError(f"no {word.decode()} in {seconds} s: {self._folder}/log")

    @property
    def log(self) -> str:
        return Path(self._folder, "log").read_text()


class Stranger:
    """Connects and logs in, again and again, as a client of version 1."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._stop = Flag()
        self.outcomes: Counter[str] = Counter()
        self.longest = 0.0
        """Seconds from connecting to the answer."""

    def work(self) -> None:
        while not self._stop.wait(0.02):
            began = time.monotonic()
            self.outcomes[self._visit()] += 1
            self.longest = max(self.longest, time.monotonic() - began)

    def _visit(self) -> str:
        try:
            visit = socket.create_connection((HOST, self._port), timeout=30)
        except OSError as error:
            return f"cannot connect: {error.strerror}"
        with visit:
            try:
                visit.sendall(encode(Login("stranger"), 1))
                answer = visit.recv(64)
            except OSError:
                return "connected and was cut off"
        if not answer:
            return "connected and was sent away"
        return "logged in" if answer[-1] == 1 else "connected and was answered"

    def stop(self) -> None:
        self._stop.set()


def spread_of(users: list[User]) -> tuple[list[float], list[str]]:
    """Fill the lists: the waits after a GoingAway, and what else went wrong with connections."""
    waits: list[float] = []
    faults: list[str] = []

    def observer(user: User) -> Callable[[Event], None]:
        def observe(event: Event) -> None:
            if isinstance(event, Offline):
                if "shutting down" in str(event.reason):
                    waits.append(event.retry_in)
                else:
                    faults.append(f"{user.name} off-line: {event.reason}")

        return observe

    for user in users:
        user.service.add_observer(observer(user))
    return waits, faults


async def run(reactor: Any, options: argparse.Namespace) -> None:
    random = Random(options.seed)
    folder = tempfile.mkdtemp(prefix="restart-")
    server = ActivatedServer(folder)
    await deferToThread(server.start)
    names = [f"user{number}" for number in range(options.users)]
    users = [User(name, "", names, reactor, server.port, random) for name in names]
    waits, wrong = spread_of(users)
    for user in users:
        user.service.startService()
    await gatherResults([user.service.send(user.name, f"{user.name}:hello") for user in users])
    print(f"seed {options.seed}, {options.users} users, in {folder}")
    stranger = Stranger(server.port)
    strangers = deferToThread(stranger.work)
    load = True

    async def keep_sending(user: User) -> None:
        while load:
            await user.send_one()
            await deferLater(reactor, random.expovariate(options.rate))

    sending = [Deferred.fromCoroutine(keep_sending(user)) for user in users]
    away = 0.0
    for _ in range(options.restarts):
        while not all(user.service.state is State.ONLINE for user in users):
            await deferLater(reactor, 0.05)
        await deferLater(reactor, random.uniform(0.2, 1))
        began = time.monotonic()
        await deferToThread(server.stop)
        await deferToThread(server.start)
        away = max(away, time.monotonic() - began)
    load = False
    await gatherResults(sending)
    settled = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < settled and (any(user.unanswered for user in users) or verdict(users)):
        await deferLater(reactor, 0.2)
    await deferLater(reactor, 1)
    stranger.stop()
    await strangers

    wrong += verdict(users)
    wrong += [f"{user.name}: unanswered" for user in users if user.unanswered]
    wrong += [f"stranger {what}" for what in stranger.outcomes if what.startswith("cannot")]
    expected = options.restarts * options.users
    if len(waits) != expected:
        wrong.append(f"{len(waits)} of {expected} times a user was told that the server goes away")
    if waits and (max(waits) > SPREAD or max(waits) - min(waits) < SPREAD / 2):
        wrong.append(f"they come back within {min(waits):.2f} to {max(waits):.2f} s")
    await gatherResults([user.service.stopService() for user in users], consumeErrors=True)
    await deferToThread(server.stop)
    if "Traceback" in server.log or "Unhandled" in server.log:
        wrong.append(f"the server's log has a traceback: {folder}/log")
    server.kill()
    print(
        f"{options.restarts} restarts, at most {away:.1f} s without a server:"
        f" {sum(len(user.sent) for user in users)} messages sent,"
        f" {sum(len(user.got) for user in users)} arrivals;"
        f" users came back after {min(waits, default=0):.2f} to {max(waits, default=0):.2f} s"
    )
    print(
        f"strangers: {dict(stranger.outcomes)}, the longest took {stranger.longest:.1f} s",
        flush=True,
    )
    for fault in wrong[:20]:
        print("FAULT", fault)
    print("PASS: each message once, in order, nobody refused" if not wrong else "FAIL", flush=True)
    if wrong:
        raise SystemExit(1)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fault.restart", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--restarts", type=int, default=10, help="by SIGTERM [10]")
    parser.add_argument("--users", type=int, default=20, help="that send and receive [20]")
    parser.add_argument("--rate", type=float, default=20, help="messages a second of each [20]")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    return parser.parse_args(arguments)


def main(reactor: Any, *arguments: str) -> Deferred[None]:
    return Deferred.fromCoroutine(run(reactor, parse(list(arguments))))


if __name__ == "__main__":
    react(main, sys.argv[1:])
