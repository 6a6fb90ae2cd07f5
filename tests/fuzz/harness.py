"""A scenario played on a server in memory, and what must hold whatever the clients did.

The server is the real one: a ChatFactory over the memory store, on a Clock. A :class:`Fault` is
raised where it breaks a promise of docs/protocol.md, logs a failure, or does not come to rest.
"""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock, deferLater
from twisted.python.failure import Failure
from zope.interface import implementer

from chat_protocol.domain.limits import Limits
from chat_protocol.domain.messages import Batch
from chat_protocol.domain.names import normalize_username
from chat_protocol.domain.ports import IStore
from chat_protocol.domain.queries import Page
from chat_protocol.domain.rates import Rate
from chat_protocol.errors import InvalidUsername, Malformed, Unavailable, UnknownCommand
from chat_protocol.server.authentication import Authenticator
from chat_protocol.server.factory import ChatFactory
from chat_protocol.server.first_bytes import FirstBytes
from chat_protocol.stores.memory.store import MemoryStore
from chat_protocol.wire.codec import MIN_FRAME, decode, decode_header, encode
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import (
    Close,
    Deliver,
    LoginAnswer,
    Message,
    Presence,
    Publish,
    Response,
    Response2,
    Scope,
)
from tests.fuzz.scenario import CLIENTS, Act, Option, frames_of, steps
from tests.server.line import Transport

__all__ = ["Fault", "play"]

_SMALL = Limits(
    mailbox=3,
    connections=3,
    send_buffer=300,
    answer_buffer=100,
    session_backlog=300,
    store_backlog=500,
    routes=1,
    correlation_tests=2,
    recipients=3,
    window=3,
    missed_presences=1,
    page_messages=2,
    page_bytes=100,
    pages_at_once=1,
)
_SETTLE_SECONDS = 60


class Fault(AssertionError):
    """The server did what it must not do."""


def expect(holds: bool, what: str) -> None:
    if not holds:
        raise Fault(what)


@implementer(IStore)
class Store(MemoryStore):
    """One that may be slow, or refuse."""

    clock: Clock
    slow = False
    refuses = False

    def commit(self, batch: Batch) -> Deferred[None]:
        if self.refuses:
            return fail(Unavailable("the disk is full"))
        if self.slow:
            return deferLater(self.clock, 0.01, super().commit, batch).addCallback(lambda _: None)
        return super().commit(batch)


class Client:
    """The other end of one connection, and the account of what was sent and came back."""

    def __init__(self, world: World, protocol: FirstBytes) -> None:
        self._world = world
        self.transport = Transport(peerAddress=IPv4Address("TCP", "192.0.2.1", 4000), lenient=True)
        self.transport.protocol = protocol
        self._unread = b""
        self._sent = b""
        self.received: list[tuple[int, object]] = []
        self.gone = False
        self.takes = True
        self.name = ""
        protocol.makeConnection(self.transport)

    @property
    def protocol(self) -> Any:
        """What receives at the server's end."""
        return self.transport.protocol

    @property
    def reads(self) -> bool:
        transport = self.transport
        return transport.producerState == "producing" and not transport.disconnecting

    def send(self, data: bytes) -> None:
        self._unread += data

    def deliver(self, size: int | None = None) -> bool:
        """What waits comes in, unless the server does not read."""
        if self.gone or not self._unread or not self.reads:
            return False
        size = len(self._unread) if size is None else size
        data, self._unread = self._unread[:size], self._unread[size:]
        self._sent += data
        self.protocol.dataReceived(data)
        return True

    def take(self) -> None:
        self.takes = True
        if self.transport.producer is not None and not self.gone:
            self.transport.producer.resumeProducing()

    def stop_taking(self) -> None:
        if self.takes and self.transport.producer is not None and not self.gone:
            self.takes = False
            self.transport.producer.pauseProducing()

    def look(self) -> None:
        """Read what came back; and be gone if the server ended the connection."""
        data = self.transport.value()
        self.transport.clear()
        for frame in frames_of(data):
            self._heard(frame)
        if self.transport.disconnecting and not self.gone:
            self.lose()

    def lose(self) -> None:
        if not self.gone:
            self.gone = True
            self.protocol.connectionLost(Failure(ConnectionDone()))
            self.look()

    def _heard(self, frame: bytes) -> None:
        expect(len(frame) == 4 + int.from_bytes(frame[:4], "big"), "a frame is cut off")
        header, command = decode(frame[4:])
        expect(encode(command, header.correlation_id, header.version) == frame, "not canonical")
        self.received.append((header.correlation_id, command))
        session = self.protocol.session
        if session is not None:
            self.name = session.user.name
        if isinstance(command, (Deliver, Message)):
            expect(header.correlation_id == 0, "a message has a correlationId")
            text = command.message
            self._world.delivered.add((self.name, command.from_, text))
        elif isinstance(command, (Presence, Close)):
            expect(header.version == 2, "version 1 was sent what it does not know")

    def check(self) -> None:
        """What must hold of one connection when everything is at rest."""
        self._check_offsets()
        if self.gone:
            return
        expect(self.protocol.reads, "it neither reads nor ends")
        expect(self.reads, "it is not read from any more")
        expect(self.protocol.session is None or not self.protocol.session.outstanding, "unanswered")
        wanted: Counter[int] = Counter()
        acks: Counter[int] = Counter()
        asked: list[tuple[int, object]] = []
        for frame in frames_of(self._sent):
            if len(frame) < 4 or len(frame) < 4 + int.from_bytes(frame[:4], "big"):
                break
            header = decode_header(frame[4:])
            command = parsed(frame[4:])
            if isinstance(command, (Response, Response2)) or (header.key == 3 and header.version):
                continue
            if header.key == 0x010A and header.version > 1:
                acks[header.correlation_id] += 1
                continue
            wanted[header.correlation_id] += 1
            asked.append((header.correlation_id, command))
        answers = Counter(
            number
            for number, command in self.received
            if not isinstance(command, (Deliver, Presence, Close, Message))
        )
        for number in wanted | answers | acks:
            expect(
                wanted[number] <= answers[number] <= wanted[number] + acks[number],
                f"{answers[number]} answers to {wanted[number]} requests, and {acks[number]} acks",
            )
        self._note_promises(asked, wanted)

    def _check_offsets(self) -> None:
        last = 0
        for _, command in self.received:
            if isinstance(command, Deliver):
                expect(command.offset > last, "a message came twice, or too early")
                last = command.offset

    def _note_promises(self, asked: list[tuple[int, object]], wanted: Counter[int]) -> None:
        """What was answered OK, so far as the answer can be told from others."""
        codes = {
            number: command.code
            for number, command in self.received
            if isinstance(command, (Response, Response2, LoginAnswer))
        }
        for number, command in asked:
            if wanted[number] == 1 and codes.get(number) == Code.OK:
                if isinstance(command, Message):
                    self._world.promised((command.to,), self.name, command.message)
                elif isinstance(command, Publish):
                    if command.publishing_id or command.scope != Scope.USERS:
                        continue
                    self._world.promised(command.to, self.name, command.message)


def parsed(payload: bytes) -> object:
    """The command of a payload, or None; the decoder's own promises are looked at as well."""
    try:
        header, command = decode(payload)
    except (Malformed, UnknownCommand):
        return None
    again = decode(encode(command, header.correlation_id)[4:])[1]
    expect(again == command, "decoded, encoded and decoded it is another")
    return command


class World:
    """A server and its clients."""

    def __init__(self, options: int) -> None:
        self.clock = Clock()
        limits = _SMALL if options & Option.SMALL else Limits()
        if options & Option.RATES:
            limits = Limits(**{**vars(limits), "message_rate": Rate(20, 10)})
        self.store = Store(limits.mailbox)
        self.store.clock = self.clock
        authenticator = None
        if options & Option.PASSWORDS:
            passwords = InMemoryUsernamePasswordDatabaseDontUse(a=b"1", b=b"2", c=b"3")
            authenticator = Authenticator([passwords], self.clock, True)
        self.factory = ChatFactory(
            self.store, self.clock, lambda: 1234, limits, Random(1), authenticator
        )
        self.delivered: set[tuple[str, str, str]] = set()
        self._promises: list[tuple[str, str, str]] = []
        self.clients: dict[int, Client] = {}
        self.everyone: list[Client] = []

    def promised(self, recipients: tuple[str, ...], sender: str, text: str) -> None:
        for name in recipients:
            try:
                name = normalize_username(name)
            except InvalidUsername:
                raise Fault("OK for a name that nobody can have") from None
            self._promises.append((name, sender, text))

    def client(self, number: int) -> Client | None:
        found = self.clients.get(number)
        if found is None or found.gone:
            protocol = self.factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 4000))
            if not isinstance(protocol, FirstBytes):
                return None
            found = self.clients[number] = Client(self, protocol)
            self.everyone.append(found)
        return found

    def pass_time(self, seconds: float, step: float = 0.02) -> None:
        """Let time pass, and what waits come in."""
        end = self.clock.seconds() + seconds
        while True:
            for _ in range(3):
                self.clock.advance(0)
            for client in list(self.clients.values()):
                client.look()
                client.deliver()
            if self.clock.seconds() >= end:
                return
            due = min((call.getTime() for call in self.clock.getDelayedCalls()), default=end)
            self.clock.advance(max(min(due, end) - self.clock.seconds(), step))

    def settle(self) -> None:
        """Everything well again: until nothing happens any more."""
        self.store.slow = self.store.refuses = False
        for client in self.clients.values():
            client.take()
        self.pass_time(_SETTLE_SECONDS)
        for client in self.everyone:
            client.check()

    def end(self) -> None:
        """The server stops: all ends, nothing is left, what was promised is there."""
        stopped = self.factory.shut_down()
        self.pass_time(30)
        expect(stopped.called, "it does not stop")
        for client in self.everyone:
            client.look()
            expect(client.gone, "a connection does not end")
        expect(not self.factory.connections, "connections are left")
        expect(not self.factory.directory.online, "users are left on-line")
        expect(not self.factory.presence.behind, "presences are left")
        left = [call for call in self.clock.getDelayedCalls() if call.active()]
        expect(not left, f"timers are left: {left}")
        for name, sender, text in self._promises:
            if (name, sender, text) not in self.delivered:
                expect(self._is_waiting(name, sender, text), "a message that was OK is lost")

    def _is_waiting(self, name: str, sender: str, text: str) -> bool:
        account = self.store._by_name[name]
        page = Page(account.id, 0, 10**9, 10**9)
        self.store.read([page])
        return any(one.sender == sender and text.encode() in one.texts() for one in page.entries)


def play(data: bytes) -> int:
    """Play a scenario.

    Returns:
        How many frames the server was sent.

    Raises:
        Fault: a promise was broken; or any exception that the server let out.
    """
    world = World(data[0] if data else 0)
    frames = 0
    for act, number, sent in steps(data):
        if act is Act.STORE_SLOW:
            world.store.slow = True
        elif act is Act.STORE_REFUSES:
            world.store.refuses = True
        elif act is Act.STORE_WELL:
            world.store.slow = world.store.refuses = False
        elif act is Act.TURN:
            world.pass_time(0)
        elif act is Act.SECOND:
            world.pass_time(1)
        elif act is Act.LONG:
            world.pass_time(30)
        else:
            frames += _act(world, act, number, sent)
    world.settle()
    world.end()
    return frames


def _act(world: World, act: Act, number: int, sent: bytes) -> int:
    client = world.client(number % CLIENTS)
    if client is None:
        return 0
    if act is Act.LOSE:
        client.lose()
        world.pass_time(0)
    elif act is Act.END_OF_INPUT:
        if client.reads:
            client.protocol.readConnectionLost()
            client.look()
            client.lose()
        world.pass_time(0)
    elif act is Act.STOP_TAKING:
        client.stop_taking()
    elif act is Act.TAKE:
        client.take()
    else:
        client.send(sent)
        if act is Act.SEND_IN_TWO:
            client.deliver(len(sent) // 2)
        elif act is Act.SEND_BYTEWISE:
            for _ in range(min(len(sent), 200)):
                if not client.deliver(1):
                    break
        client.deliver()
        if act is not Act.SEND_IN_ONE_TURN:
            world.pass_time(0)
        found = frames_of(sent)
        for frame in found:
            if len(frame) >= 4 + MIN_FRAME:
                parsed(frame[4:])
        return len(found)
    return 0
