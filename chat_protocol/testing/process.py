"""One run of the in-memory server: the real factory, with hooks for faults and for inspection."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from random import Random
from typing import Any, NamedTuple

from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

from chat_protocol.domain.entries import Entry
from chat_protocol.domain.limits import Limits
from chat_protocol.domain.messages import Batch, PositionKey
from chat_protocol.domain.ports import IStore
from chat_protocol.domain.queries import Query
from chat_protocol.errors import Refused
from chat_protocol.server.authentication import Authenticator
from chat_protocol.server.connection import ChatProtocol
from chat_protocol.server.dispatcher import Request, Route
from chat_protocol.server.factory import ChatFactory
from chat_protocol.server.hooks import IHooks
from chat_protocol.server.peer import Peer
from chat_protocol.stores.memory.store import MemoryStore
from chat_protocol.wire.commands import Message, Publish, StoredMessage
from chat_protocol.wire.frames import text_of, time_of
from chat_protocol.wire.schema import Registry

__all__ = ["Additions", "RecordingStore", "ServerProcess", "messages_of"]

_NS = 1_000_000_000

_VERSION_1 = b"\x01"
_VERSION_1_KEYS = {key.to_bytes(2, "big") for key in (0x0001, 0x0002, 0x0003)}
"""The keys of the published protocol. Published servers do not answer commands with other keys."""


def messages_of(entry: Entry) -> list[StoredMessage]:
    """Return the messages of an entry, as the protocol names their parts."""
    sender, scope, to = entry.sender, entry.scope, entry.to
    return [
        StoredMessage(offset, text_of(frame).decode(), sender, scope, to, time_of(frame))
        for offset, frame in enumerate(entry.frames, entry.offset)
    ]


@implementer(IStore)
class RecordingStore:
    """Wraps a store and records its messages."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.messages: list[StoredMessage] = []
        """All committed messages, in the order of their offsets."""

    @property
    def description(self) -> str:
        return str(self._store.description)

    @property
    def registered(self) -> int:
        return int(self._store.registered)

    def open(self) -> Deferred[None]:
        return self._store.open()

    def close(self) -> Deferred[None]:
        return self._store.close()

    def devices(self, user_id: int) -> list[int]:
        return self._store.devices(user_id)

    def read(self, queries: Sequence[Query]) -> Deferred[None]:
        return self._store.read(queries)

    def forget(self, before: int) -> Deferred[bool]:
        return self._store.forget(before)

    def forget_devices(
        self, when: int, absent: int, online: Collection[PositionKey]
    ) -> Deferred[list[PositionKey]]:
        return self._store.forget_devices(when, absent, online)

    def commit(self, batch: Batch) -> Deferred[None]:
        def committed(result: None) -> None:
            for message in batch.messages:
                if message.offset:
                    self.messages += messages_of(message.entry())

        return self._store.commit(batch).addCallback(committed)


@implementer(IReactorTime)
class _CancelableClock:
    """Wraps a clock and can cancel all calls that were scheduled through it."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._calls: list[IDelayedCall] = []

    def seconds(self) -> float:
        return self._clock.seconds()

    def callLater(
        self,
        delay: float,
        callable: Callable[..., object],  # noqa: A002
        *args: object,
        **kw: object,
    ) -> IDelayedCall:
        call = self._clock.callLater(delay, callable, *args, **kw)
        self._calls = [*self.getDelayedCalls(), call]
        return call

    def getDelayedCalls(self) -> list[IDelayedCall]:
        return [one for one in self._calls if one.active()]

    def cancel_all(self) -> None:
        """Cancel all calls that are still scheduled."""
        for call in self.getDelayedCalls():
            call.cancel()


class Additions(NamedTuple):
    """What a server of one's own adds; see ChatFactory."""

    hooks: IHooks | None
    registry: Registry
    routes: tuple[Route, ...]


class _FaultyConnection(ChatProtocol):
    """A connection of the server that can refuse messages and behave as a published server."""

    factory: _FaultyFactory

    def frames_received(self, data: bytes, position: int) -> int:
        """Use the bulk path only if no message is to be refused, since it bypasses the handlers."""
        return position if self.factory.refusals else super().frames_received(data, position)

    def stringReceived(self, string: bytes) -> None:
        """Ignore the version byte and unknown keys if the server emulates a published one."""
        if self.factory.version == 1:
            if string[1:3] not in _VERSION_1_KEYS:
                return
            string = _VERSION_1 + string[1:]
        super().stringReceived(string)


class _FaultyFactory(ChatFactory):
    """The factory of the server, with queued refusals.

    Args:
        refusals: the refusals of the next messages, in order.
        version: the highest version that the server supports, 1 or 2.
        additions: of a server of one's own.
    """

    connection_type = _FaultyConnection

    def __init__(
        self,
        store: IStore,
        clock: IReactorTime,
        limits: Limits,
        authenticator: Authenticator | None,
        refusals: deque[Refused],
        version: int,
        additions: Additions,
    ) -> None:
        super().__init__(
            store,
            clock,
            lambda: int(clock.seconds() * _NS),
            limits,
            Random(0),
            authenticator,
            hooks=additions.hooks,
            registry=additions.registry,
            routes=additions.routes,
        )
        self.refusals = refusals
        self.version = version

    def _refuse(self) -> None:
        if self.refusals:
            raise self.refusals.popleft()

    def handle_message(self, peer: Peer, command: Message, request: Request) -> None:
        """See ChatFactory."""
        self._refuse()
        super().handle_message(peer, command, request)

    def handle_publish(self, peer: Peer, command: Publish, request: Request) -> None:
        """See ChatFactory."""
        self._refuse()
        super().handle_publish(peer, command, request)


def _authenticator(passwords: Mapping[str, str], clock: IReactorTime) -> Authenticator:
    checker = InMemoryUsernamePasswordDatabaseDontUse()
    for name, password in passwords.items():
        checker.addUser(name.encode(), password.encode())
    return Authenticator([checker], clock)


class ServerProcess:
    """A run of the server, from its start until it is stopped or killed.

    Args:
        store: an open store.
        clock: provides the time.
        limits: see ChatFactory.
        passwords: the password of each user; None: a login needs no password.
        refusals, version, additions: see _FaultyFactory.
    """

    def __init__(
        self,
        store: IStore,
        clock: IReactorTime,
        limits: Limits,
        passwords: Mapping[str, str] | None,
        refusals: deque[Refused],
        version: int,
        additions: Additions,
    ) -> None:
        self._clock = _CancelableClock(clock)
        authenticator = None if passwords is None else _authenticator(passwords, self._clock)
        self.factory = _FaultyFactory(
            store, self._clock, limits, authenticator, refusals, version, additions
        )
        self._ended: Deferred[None] = Deferred()
        self.factory.doStart()  # type: ignore[no-untyped-call]

    @property
    def quiet(self) -> bool:
        """Whether no call of the server is due now."""
        now = self._clock.seconds()
        return all(call.getTime() > now for call in self._clock.getDelayedCalls())

    def stop(self) -> Deferred[None]:
        """Shut down; the Deferred fires when all connections are closed, or after a kill()."""
        self.factory.doStop()  # type: ignore[no-untyped-call]
        self.factory.shut_down().addBoth(self._end)
        return self._ended

    def kill(self) -> None:
        """Cancel all calls of the server; the caller must close its connections."""
        self._clock.cancel_all()
        self._end(None)

    def _end(self, result: Any) -> None:
        if not self._ended.called:
            self._ended.callback(result)
