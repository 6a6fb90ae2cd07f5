"""One round of tests.fault.order: messages, their outcomes, and a store that refuses some."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any, Protocol

from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from chat_protocol.client import ChatClient, ReceivedMessage
from tests.blackbox import wire
from tests.blackbox.client import PATIENCE, Address, connect
from tests.fault import frames
from tests.fault.history import number_of
from tests.fault.proxy import ChaosProxy

__all__ = ["HOST", "Refusal", "Round"]

HOST = "127.0.0.1"

_MOST_MESSAGES = 20
_OUTCOMES = {wire.OK: "OK", frames.OUT_OF_ORDER: "OutOfOrder"}


class Refusal(Protocol):
    """Makes a store refuse batches; the methods block."""

    def begin(self) -> None:
        """Let the store refuse the next batch, or all."""

    def end(self) -> None:
        """Return when the store takes batches again, after it has refused one."""


class _RawClient:
    """A blocking version 2 client that acknowledges nothing."""

    def __init__(self, address: Address, name: str) -> None:
        self._sock = connect(address)
        self._buffer = bytearray()
        self.codes: dict[int, int] = {}
        """The answers, by publishing id."""
        self.received: list[int] = []
        """The numbers of the messages received."""
        while True:
            self._sock.sendall(frames.login(name, 2, {"window": "10000"}))
            self.wait_for(lambda: 0 in self.codes)
            if self.codes.pop(0) == wire.OK:
                break
            # The session of the last connection has not ended yet.
            time.sleep(0.05)

    def wait_for(self, condition: Callable[[], object]) -> None:
        """Read until a condition is true."""
        while not condition():
            data = self._sock.recv(65536)
            if not data:
                raise EOFError("the server has closed the connection")
            self._buffer += data
            for frame in frames.frames_of(self._buffer):
                arrival = frames.arrival(frame)
                if arrival is not None:
                    self.received.append(number_of(arrival.text))
                elif frames.is_answer(frame):
                    self.codes[frame.correlation_id] = frames.code_of(frame)

    def publish(self, to: str, *numbers: int) -> None:
        """Send messages at once, and wait for the answers."""
        data = b"".join(frames.publish(number, f"{number}:", (to,)) for number in numbers)
        self._sock.sendall(data)
        self.wait_for(lambda: self.codes.keys() >= set(numbers))

    def close(self) -> None:
        self._sock.close()


class Round:
    """A sender and a recipient that no other round uses.

    Args:
        name: the two names begin with it.
        random: chooses how many messages are sent.
    """

    def __init__(self, name: str, random: Random) -> None:
        self._sender = f"{name}-sender"
        self._recipient = f"{name}-recipient"
        self._random = random
        self._last = 0
        self.outcomes: Counter[str] = Counter()
        self.faults: list[str] = []

    def _next(self, count: int = 0) -> list[int]:
        """Return the numbers of the next messages, of a random count by default."""
        begin = self._last + 1
        self._last += count or self._random.randint(1, _MOST_MESSAGES)
        return list(range(begin, self._last + 1))

    def play_raw(self, address: Address, refusal: Refusal) -> None:
        """Play with raw sockets; the sender ignores the answers on its first connection."""
        recipient = _RawClient(address, self._recipient)
        sender = _RawClient(address, self._sender)
        sender.publish(self._recipient, *self._next())
        refusal.begin()
        sender.publish(self._recipient, *self._next())
        refusal.end()
        while sender.codes[self._last] != wire.OK:
            sender.publish(self._recipient, *self._next(1))
        sender.publish(self._recipient, *self._next())
        sender.close()
        sender = _RawClient(address, self._sender)
        sender.publish(self._recipient, *range(1, self._last + 1))
        sender.publish(self._recipient, *self._next(1))
        recipient.wait_for(lambda: self._last in recipient.received)
        outcomes = {n: _OUTCOMES.get(code, hex(code)) for n, code in sender.codes.items()}
        self._judge(recipient.received, outcomes)
        sender.close()
        recipient.close()

    async def play_library(self, reactor: Any, address: Address, refusal: Refusal) -> None:
        """Play with the client library; a proxy drops the answers, and then the connection."""
        server = TCP4ClientEndpoint(reactor, address[0], int(address[1]))
        proxy = ChaosProxy(reactor, [server], self._random)
        port: Any = await TCP4ServerEndpoint(reactor, 0, interface=HOST).listen(proxy)
        through_proxy = TCP4ClientEndpoint(reactor, HOST, port.getHost().port)
        sender = ChatClient(through_proxy, self._sender, reactor, heartbeat=0)
        recipient = ChatClient(server, self._recipient, reactor)
        received: list[int] = []
        outcomes: dict[int, str] = {}

        def take(message: ReceivedMessage) -> None:
            received.append(number_of(message.text))

        def send(numbers: list[int]) -> None:
            for number in numbers:
                sender.send(self._recipient, f"{number}:").addCallbacks(
                    lambda _, number=number: outcomes.setdefault(number, "OK"),
                    lambda failure, number=number: outcomes.setdefault(
                        number, failure.type.__name__
                    ),
                )

        async def wait_for(condition: Callable[[], object], seconds: float = PATIENCE) -> bool:
            deadline = time.monotonic() + seconds
            while not condition() and time.monotonic() < deadline:
                await deferLater(reactor, 0.01)
            return bool(condition())

        consuming = recipient.consume(take)
        for client in (recipient, sender):
            client.startService()
            await client.when_online()
        send(self._next())
        await wait_for(lambda: len(outcomes) == self._last)
        proxy.swallowing = True
        await deferToThread(refusal.begin)
        send(self._next())
        await wait_for(lambda: proxy.swallowed)
        await deferToThread(refusal.end)
        # Until the store takes messages again.
        send(self._next(1))
        while not await wait_for(lambda: self._last in received, 0.5):
            send(self._next(1))
        send(self._next())
        await wait_for(lambda: self._last in received)
        proxy.swallowing = False
        proxy.stop()
        send(self._next(1))
        if not await wait_for(lambda: len(outcomes) == self._last and self._last in received):
            self.faults.append(f"{self._sender}: {self._last - len(outcomes)} without an outcome")
        for client in (sender, recipient):
            await client.stopService()
        consuming.addErrback(lambda _: None)
        await port.stopListening()
        proxy.stop()
        self._judge(received, outcomes)

    def _judge(self, received: list[int], outcomes: dict[int, str]) -> None:
        """Compare the messages received with the outcomes that the sender has learned."""
        self.outcomes = Counter(outcomes.values())
        stored = {number for number, outcome in outcomes.items() if outcome == "OK"}
        if received != sorted(set(received)):
            self._fault("received out of order or twice", received)
        if lost := stored - set(received):
            self._fault("answered OK, but lost", sorted(lost))
        if refused := set(received) - stored:
            self._fault("refused, but received", sorted(refused))
        if others := self.outcomes.keys() - _OUTCOMES.values():
            self.faults.append(f"{self._sender}: unexpected outcomes {others}")
        if not self.outcomes["OutOfOrder"]:
            self.faults.append(f"{self._sender}: no message was answered OutOfOrder")

    def _fault(self, what: str, numbers: list[int]) -> None:
        self.faults.append(f"{self._sender} -> {self._recipient}: {what}: {numbers}")
