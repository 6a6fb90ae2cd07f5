"""A session without a network; the test plays the server."""

from __future__ import annotations

from random import Random
from typing import Any, TypeVar, cast

from twisted.internet import error
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from chat_protocol.cli.line_mode import LineMode
from chat_protocol.cli.options import InteractiveAction, Settings
from chat_protocol.cli.server_address import ServerAddress
from chat_protocol.cli.session import ClientSession
from chat_protocol.wire.codec import decode, encode
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import (
    Deliver,
    LoginAnswer,
    Message,
    Response,
    Response2,
    Scope,
)

T = TypeVar("T")

NOON = 1_699_963_200 * 10**9


@implementer(IStreamClientEndpoint)
class FakeNetwork:
    """An endpoint and the server's side of its connections."""

    def __init__(self, version: int = 2) -> None:
        self.version = version
        self.down = False
        self.refusal = Code.OK
        self.protocol: Any = None
        self.transport = StringTransport()
        self.login: Any = None
        """The last login."""

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        if self.down:
            return fail(error.ConnectionRefusedError())
        self.transport = StringTransport()
        self.protocol = factory.buildProtocol(self.transport.getPeer())
        self.protocol.makeConnection(self.transport)
        return succeed(self.protocol)

    def answer_login(self) -> None:
        ((correlation_id, self.login),) = self.sent()
        answer = Response(self.refusal) if self.version == 1 else LoginAnswer(self.refusal)
        self.push(answer, correlation_id)

    def sent(self) -> list[tuple[int, Any]]:
        """Return correlation id and command of each frame written since the last call."""
        data: bytes = self.transport.value()
        self.transport.clear()
        found = []
        while data:
            size = 4 + int.from_bytes(data[:4], "big")
            header, command = decode(data[4:size])
            found.append((header.correlation_id, command))
            data = data[size:]
        return found

    def push(self, command: Any, correlation_id: int = 0) -> None:
        """Send a command from the server."""
        self.protocol.dataReceived(encode(command, correlation_id))

    def answer(self, correlation_id: int, code: Code = Code.OK, detail: str = "") -> None:
        known = Response(code.version_1) if self.version == 1 else Response2(code, detail)
        self.push(known, correlation_id)

    def deliver(
        self,
        text: str,
        sender: str = "bob",
        to: tuple[str, ...] = ("alice",),
        offset: int = 1,
        everyone: bool = False,
    ) -> None:
        if self.version == 1:
            self.push(Message(text, sender, to[0], NOON))
        else:
            scope = Scope.EVERYONE if everyone else Scope.USERS
            self.push(Deliver(offset, text, sender, scope, to, NOON))

    def lose(self) -> None:
        """End the connection."""
        protocol, self.protocol = self.protocol, None
        protocol.connectionLost(Failure(error.ConnectionDone()))


class FakeAddress:
    """Stands in for a ServerAddress."""

    text = key = "example:5555"

    def __init__(self, network: FakeNetwork) -> None:
        self.network = network

    def endpoint(self, _: object) -> IStreamClientEndpoint:
        return self.network


class OpenedSession:
    """A session that can be logged in.

    Args:
        version: of the server.
        reconnect_timeout: see Settings.
        password: see Settings.
    """

    def __init__(
        self, version: int = 2, reconnect_timeout: float | None = None, password: str | None = None
    ) -> None:
        self.clock = Clock()
        self.network = FakeNetwork(version)
        self.notices: list[str] = []
        self.settings = Settings(
            server=cast(ServerAddress, FakeAddress(self.network)),
            user="alice",
            password=password,
            ask_password=False,
            timeout=10.0,
            reconnect_timeout=reconnect_timeout,
            action=InteractiveAction(),
        )
        self.session = ClientSession(
            self.clock, self.settings, "alice", self.notices.append, random=Random(1)
        )

    def open(self) -> None:
        opening = Deferred.fromCoroutine(self.session.open())
        self.network.answer_login()
        result(opening)

    def turn(self) -> None:
        """Run the calls scheduled for the next turn of the reactor."""
        self.clock.advance(0)

    def reconnect(self) -> None:
        """Let the next attempt succeed."""
        self.network.down = False
        self.clock.advance(30)
        self.network.answer_login()


class LineModeHarness(OpenedSession):
    """A line mode for alice that records its output."""

    def __init__(self, version: int = 2) -> None:
        super().__init__(version)
        self.shown: list[str] = []
        self.prompts: list[str] = []
        self.blocked: list[Deferred[None]] | None = None
        """If set to a list, it collects the Deferreds of shown lines instead of firing them."""
        self.open()
        self.line_mode = LineMode(self.session, self, self.clock)

    async def read(self, _: object) -> str | None:
        raise NotImplementedError

    def refresh(self) -> None:
        self.prompts.append(self.line_mode.prompt)

    def show(self, line: str) -> Deferred[None]:
        self.shown.append(line)
        if self.blocked is None:
            return succeed(None)
        shown: Deferred[None] = Deferred()
        self.blocked.append(shown)
        return shown

    def type_line(self, text: str) -> Deferred[None]:
        return Deferred.fromCoroutine(self.line_mode.handle(text))

    def send_line(self, text: str, code: Code = Code.OK, detail: str = "") -> tuple[Any, str]:
        """Type a line that sends a message and answer it; return recipients and text."""
        handled = self.type_line(text)
        ((correlation_id, command),) = self.network.sent()
        self.network.answer(correlation_id, code, detail)
        result(handled)
        return command.to, command.message


def result(deferred: Deferred[T]) -> T:
    """Return the result of a fired Deferred, or raise its error."""
    found: list[T | Failure] = []
    deferred.addBoth(found.append)
    assert found, "the Deferred has not fired"
    value = found[0]
    if isinstance(value, Failure):
        value.raiseException()
    return value
