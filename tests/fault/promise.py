"""The promise under real faults: each message once, in order, whatever dies.

Users send at random, to one, to several and to everyone, through a proxy
that cuts, stalls and half-closes connections, to a server that is killed with SIGKILL again and
again. In the end every message must have reached each recipient once, each sender's in order::

    python -m tests.fault.promise --kills 50
    python -m tests.fault.promise --store memory --kills 0 --harms 200
    python -m tests.fault.promise --store postgresql --nodes 3 --database-kills 10
    python -m tests.fault.promise --store postgresql --nodes 3 --standby --kills 15 --harms 15 \
        --database-kills 5 --standby-faults 15
    python -m tests.fault.promise --devices 4                   # of one user to four devices
    python -m tests.fault.promise --client aio                  # the client for asyncio
    python -m tests.fault.promise --without-deduplication       # has to fail

With ``--standby`` PostgreSQL has a synchronous standby. It stalls, and server processes that wait
for it are terminated or canceled. In the end the primary is killed and the standby is promoted.

With ``--devices`` users have one, two and more devices. Each device gets what its user sends from
the others as well. All but the first of a user are absent now and then.

With ``--version-1`` some users receive with version 1, past the proxy: each message at least once.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet import asyncioreactor
from twisted.internet.defer import Deferred, DeferredSemaphore, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.error import ConnectError
from twisted.internet.protocol import connectionDone
from twisted.internet.task import deferLater, react
from twisted.internet.threads import deferToThread
from twisted.protocols.basic import Int32StringReceiver
from twisted.python.failure import Failure

from chat_protocol.client import ChatClient, ReceivedMessage, State
from chat_protocol.errors import OutOfOrder, Unavailable
from chat_protocol.wire.codec import decode, encode
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import Login, Message
from tests.blackbox.server import free_port
from tests.fault.aio_client import AioClient
from tests.fault.proxy import ChaosProxy
from tests.stores.postgres.server import PostgresServer
from tests.stores.postgres.standby import INTERRUPTIONS, Standby

HOST = "127.0.0.1"
PASSWORD = "secret"
CLIENTS = ("twisted", "aio")
STORES = {"sqlite": "sqlite:chat.db", "memory": "memory:"}
IN_FLIGHT = 20
HEARTBEAT = 2
WINDOW = 50
MAX_DELAY = 1
SETTLE_SECONDS = 90


class Server:
    """A chat server in a process of its own."""

    def __init__(self, folder: str, store: str, number: int, options: Sequence[str]) -> None:
        self.port = free_port()
        self._options = options
        self._folder = folder
        self._store = store
        self._log = Path(folder, f"log{number}")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    str(Path(sys.executable).with_name("twistd")),
                    *("-n", "--pidfile=", "chatserver", "--store", self._store),
                    *("--listen", f"tcp:{self.port}:interface={HOST}", "--mailbox-limit", "0"),
                    *self._options,
                ],
                cwd=self._folder,
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    @property
    def log(self) -> str:
        return self._log.read_text()


class User:
    """A device of a user: sends at random and writes down what it gets."""

    def __init__(
        self,
        name: str,
        device: str,
        names: list[str],
        reactor: Any,
        port: int,
        random: Random,
        client: str = "twisted",
    ) -> None:
        self.name = name
        self.device = device
        self.label = f"{name}/{device}" if device else name
        self.is_away = False
        self._reactor = reactor
        self._others = [other for other in names if other != name]
        self._random = random
        self._slots = DeferredSemaphore(IN_FLIGHT)
        self.sent: list[tuple[int, frozenset[str]]] = []
        self.got: list[tuple[str, int]] = []
        self.refused: list[str] = []
        self.stored: set[int] = set()
        """What the server has answered OK."""
        self.unavailable: set[int] = set()
        """What the server said that it has not stored."""
        self.unanswered: set[Deferred[None]] = set()
        options: dict[str, Any] = {
            "heartbeat": HEARTBEAT,
            "window": WINDOW,
            "max_delay": MAX_DELAY,
            "device": device,
            "password": PASSWORD,
        }
        self.service: Any
        if client == "aio":
            self.service = AioClient(f"tcp:{HOST}:{port}", name, **options)
        else:
            endpoint = TCP4ClientEndpoint(reactor, HOST, port, timeout=5)
            self.service = ChatClient(endpoint, name, reactor, random=random, **options)
        self.taking = self.service.consume(self._take)

    async def go(self) -> None:
        """Log out when everything is answered."""
        self.is_away = True
        while self.unanswered:
            await deferLater(self._reactor, 0.05)
        await self.service.stopService()

    def come_back(self) -> None:
        self.service.startService()
        self.taking = self.service.consume(self._take)
        self.is_away = False

    def _take(self, message: ReceivedMessage) -> None:
        sender, _, number = message.text.partition(":")
        if number != "hello":
            self.got.append((sender, int(number)))

    async def send_one(self) -> None:
        await self._slots.acquire()
        number = len(self.sent)
        text = f"{self.label}:{number}"
        what = self._random.random()
        if what < 0.15:
            recipients = list(self._others)
            sending = self.service.send_to_all(text)
        elif what < 0.4:
            recipients = self._random.sample(self._others, self._random.randint(2, 3))
            sending = self.service.send(recipients, text)
        else:
            recipients = [self._random.choice(self._others)]
            sending = self.service.send(recipients[0], text)
        self.sent.append((number, frozenset(recipients)))
        self.unanswered.add(sending)
        sending.addCallbacks(self._stored, self._refused, (number,), errbackArgs=(number,))
        sending.addBoth(self._answered, sending)

    def _stored(self, _: None, number: int) -> None:
        self.stored.add(number)

    def _refused(self, failure: Failure, number: int) -> None:
        if failure.check(Unavailable, OutOfOrder):
            self.unavailable.add(number)
        else:
            self.refused.append(failure.getErrorMessage())

    def _answered(self, _: object, sending: Deferred[None]) -> None:
        self.unanswered.discard(sending)
        self._slots.release()


class OldUser(Int32StringReceiver):
    """A connection of a user of version 1, who only receives."""

    def __init__(self, name: str, got: list[tuple[str, int]]) -> None:
        self._name = name
        self._got = got
        self.lost: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        self.sendString(encode(Login(self._name), 1)[4:])

    def stringReceived(self, string: bytes) -> None:
        _, command = decode(string)
        if isinstance(command, Message):
            sender, _, number = command.message.partition(":")
            if number != "hello":
                self._got.append((sender, int(number)))
        elif command.code != Code.OK:
            # The server has not noticed yet that the former session is over.
            self.leave()

    def leave(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.callback(None)


class OldUsers:
    """Users of version 1, who connect again and again."""

    def __init__(self, reactor: Any, servers: Sequence[Server], count: int, random: Random) -> None:
        self._reactor = reactor
        self._servers = servers
        self._random = random
        self._connections: dict[str, OldUser] = {}
        self._runs = True
        self.got: dict[str, list[tuple[str, int]]] = {f"old{n}": [] for n in range(count)}
        self._staying = [Deferred.fromCoroutine(self._stay(name)) for name in self.got]

    async def _stay(self, name: str) -> None:
        while self._runs:
            port = self._random.choice(self._servers).port
            protocol = self._connections[name] = OldUser(name, self.got[name])
            with suppress(ConnectError):
                await connectProtocol(TCP4ClientEndpoint(self._reactor, HOST, port), protocol)
                await protocol.lost
            await deferLater(self._reactor, 0.1)

    @property
    def are_online(self) -> bool:
        return all(name in self._connections for name in self.got)

    async def stop(self) -> None:
        self._runs = False
        for connection in self._connections.values():
            connection.leave()
        await gatherResults(self._staying)

    def verdict(self, users: list[User]) -> list[str]:
        """What is wrong: something is missing, or was first received out of order."""
        faults = []
        for name, got in self.got.items():
            for sender in users:
                expected = [
                    number
                    for number, to in sender.sent
                    if name in to and number not in sender.unavailable
                ]
                found = dict.fromkeys(number for label, number in got if label == sender.label)
                if list(found) != expected:
                    lost = sorted(set(expected) - set(found))[:5]
                    faults.append(f"{sender.label} -> {name}: lost {lost}, or not in order")
        return faults


def is_copied(sender: User, recipient: User) -> bool:
    """Whether what one device sends comes to the other one because both are of the same user."""
    return sender.name == recipient.name and sender is not recipient


def verdict(users: list[User]) -> list[str]:
    """What is wrong; nothing where the promise was kept."""
    faults = []
    for recipient in users:
        for sender in users:
            expected = [
                number
                for number, to in sender.sent
                if number not in sender.unavailable
                and (recipient.name in to or is_copied(sender, recipient))
            ]
            got = [number for label, number in recipient.got if label == sender.label]
            if got == expected:
                continue
            lost = sorted(set(expected) - set(got))
            doubled = sorted(number for number, count in Counter(got).items() if count > 1)
            faults.append(
                f"{sender.label} -> {recipient.label}: {len(expected)} sent, lost {lost[:5]},"
                f" doubled {doubled[:5]}, in order: {got == sorted(got)}"
            )
        faults += [f"{recipient.label} was refused: {one}" for one in recipient.refused[:3]]
    return faults


def ask_for_passwords(folder: str, names: list[str]) -> Sequence[str]:
    """Return the options of a server that does, so that further devices may log in."""
    Path(folder, "passwords").write_text("".join(f"{name}:{PASSWORD}\n" for name in names))
    return "--auth", "file:passwords", "--trust-version-1"


async def run(reactor: Any, options: argparse.Namespace) -> None:
    random = Random(options.seed)
    folder = tempfile.mkdtemp(prefix="promise-")
    database = PostgresServer(options.standby) if options.store == "postgresql" else None
    store = database.new_database() if database is not None else STORES[options.store]
    standby = Standby(database) if database is not None and options.standby else None
    if standby is not None:
        store = standby.both(store)
    names = [f"user{number}" for number in range(options.users)]
    auth = ask_for_passwords(folder, names) if options.devices > 1 else ()
    servers = [Server(folder, store, number, auth) for number in range(options.nodes)]
    for server in servers:
        server.start()
    endpoints = [TCP4ClientEndpoint(reactor, HOST, server.port) for server in servers]
    proxy = ChaosProxy(reactor, endpoints, random, options.no_ids)
    port: Any = await TCP4ServerEndpoint(reactor, 0, interface=HOST).listen(proxy)
    old = OldUsers(reactor, servers, options.version_1, random)
    while not old.are_online:
        await deferLater(reactor, 0.05)
    await deferLater(reactor, 0.5 if old.got else 0)
    users = [
        User(
            name,
            f"device{device}" if device else "",
            [*names, *old.got],
            reactor,
            port.getHost().port,
            random,
            options.client,
        )
        for number, name in enumerate(names)
        for device in range(1 + number % options.devices)
    ]
    for user in users:
        user.service.startService()
    await gatherResults([user.service.send(user.name, f"{user.label}:hello") for user in users])
    print(
        f"seed {options.seed}, {options.users} users of {options.client}, store {options.store},"
        f" {options.nodes} nodes, in {folder}"
    )

    started = time.monotonic()
    chaos = True

    async def keep_sending(user: User) -> None:
        while chaos:
            if not user.is_away:
                await user.send_one()
            await deferLater(reactor, random.expovariate(options.rate))

    async def come_and_go(user: User) -> None:
        while chaos:
            await deferLater(reactor, random.uniform(0.5, 5))
            await user.go()
            await deferLater(reactor, random.uniform(0.1, 6))
            user.come_back()

    async def somebody_is_online() -> None:
        while not any(user.service.state is State.ONLINE for user in users):
            await deferLater(reactor, 0.05)

    sending = [Deferred.fromCoroutine(keep_sending(user)) for user in users]
    sending += [Deferred.fromCoroutine(come_and_go(user)) for user in users if user.device]
    faults = ["kill"] * options.kills + ["harm"] * options.harms
    faults += ["database"] * options.database_kills + ["standby"] * options.standby_faults
    interrupted = 0
    random.shuffle(faults)
    for fault in faults:
        if options.no_ids and any(len(set(user.got)) < len(user.got) for user in users):
            # The run has failed as expected.
            break
        await deferLater(reactor, random.uniform(0.05, 0.5))
        if fault == "harm" or random.random() < 0.7:
            await somebody_is_online()
        if fault == "kill":
            server = random.choice(servers)
            server.kill()
            await deferLater(reactor, random.uniform(0, 0.3))
            server.start()
        elif fault == "database":
            assert database is not None
            database.kill()
            await deferLater(reactor, random.uniform(0, 0.5))
            await deferToThread(database.start)
        elif fault == "standby":
            assert standby is not None
            function = random.choice(["", *INTERRUPTIONS])
            seconds = random.uniform(0.1, 1.5)
            interrupted += await deferToThread(standby.stall, seconds, function)
        else:
            proxy.do_harm()
    if standby is not None:
        interrupted += await deferToThread(standby.take_over, random)
        await deferLater(reactor, 1)
    chaos = False
    await gatherResults(sending)
    settled = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < settled and (
        any(user.unanswered for user in users)
        or ((verdict(users) or old.verdict(users)) and not options.no_ids)
    ):
        await deferLater(reactor, 0.2)
    await deferLater(reactor, 1)

    total = sum(len(user.sent) for user in users)
    arrived = sum(len(user.got) for user in users)
    wrong = verdict(users) + old.verdict(users)
    wrong += [
        f"{user.label}: {len(user.unanswered)} unanswered" for user in users if user.unanswered
    ]
    print(
        f"{options.kills} kills, {options.database_kills} of the database, {proxy.harm}:"
        f" {total} messages sent, {sum(len(user.unavailable) for user in users)} of them refused"
        f" as the database was away, {arrived} arrivals in {time.monotonic() - started:.0f} s"
        + (f"; {interrupted} waits for the standby interrupted" if standby is not None else "")
    )
    await old.stop()
    await gatherResults([user.service.stopService() for user in users], consumeErrors=True)
    await port.stopListening()
    proxy.stop()
    for server in servers:
        server.kill()
        if "Traceback" in server.log or "Unhandled" in server.log:
            wrong.append(f"a server's log has a traceback: {folder}")
    if standby is not None:
        there = standby.texts(store)
        for user in users:
            missing = sorted(n for n in user.stored if f"{user.label}:{n}" not in there)
            if missing:
                wrong.append(f"{user.label}: answered OK and not on the standby: {missing[:9]}")
        standby.stop()
    if database is not None:
        database.stop()
    for fault in wrong[:20]:
        print("FAULT", fault)
    print("PASS: each message once, in order" if not wrong else "FAIL")
    sys.stdout.flush()
    if wrong:
        raise SystemExit(1)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fault.promise", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--kills", type=int, default=50, help="SIGKILLs of the server [50]")
    parser.add_argument("--harms", type=int, default=100, help="acts of the proxy [100]")
    parser.add_argument("--users", type=int, default=6, help="users that send and receive [6]")
    parser.add_argument("--devices", type=int, default=1, help="devices of a user, at most [1]")
    parser.add_argument(
        "--client", choices=CLIENTS, default="twisted", help="what the users run [twisted]"
    )
    parser.add_argument("--version-1", type=int, default=0, help="users of version 1 [0]")
    parser.add_argument("--rate", type=float, default=40, help="messages a second of each [40]")
    parser.add_argument("--store", choices=(*STORES, "postgresql"), default="sqlite")
    parser.add_argument("--nodes", type=int, default=1, help="servers over one postgresql [1]")
    parser.add_argument("--database-kills", type=int, default=0, help="SIGKILLs of PostgreSQL [0]")
    parser.add_argument("--standby", action="store_true", help="PostgreSQL has a standby")
    parser.add_argument("--standby-faults", type=int, default=0, help="stalls of the standby [0]")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    parser.add_argument(
        "--without-deduplication",
        dest="no_ids",
        action="store_true",
        help="take the publishing ids out on the way: the run has to fail",
    )
    options = parser.parse_args(arguments)
    if options.store == "memory" and options.kills:
        parser.error("a memory store forgets when it is killed: give --kills 0")
    if options.store != "postgresql" and (options.nodes > 1 or options.database_kills):
        parser.error("--nodes and --database-kills are for --store postgresql")
    if options.standby and options.store != "postgresql":
        parser.error("--standby is for --store postgresql")
    if options.standby_faults and not options.standby:
        parser.error("--standby-faults is for --standby")
    return options


def main(reactor: Any, *arguments: str) -> Deferred[None]:
    return Deferred.fromCoroutine(run(reactor, parse(list(arguments))))


if __name__ == "__main__":
    if parse(sys.argv[1:]).client == "aio":
        # The proxy and the users share an event loop.
        asyncioreactor.install(asyncio.new_event_loop())
    react(main, sys.argv[1:])
