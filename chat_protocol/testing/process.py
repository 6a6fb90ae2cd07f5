"""One run of the server: the real factory, with what tests want to see of it and to break."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

from chat_protocol.domain.batch import Batch, Publication, Query, Run
from chat_protocol.domain.limits import Limits
from chat_protocol.domain.stored import Stored
from chat_protocol.errors import Refused
from chat_protocol.interfaces import IStore
from chat_protocol.server.authentication import Authenticator
from chat_protocol.server.connection import ChatProtocol
from chat_protocol.server.dispatcher import Request, handles
from chat_protocol.server.factory import ChatFactory
from chat_protocol.wire.commands import Message, Publish, StoredMessage

__all__ = ["Process", "RecordingStore", "message_of"]

_NS = 1_000_000_000

_VERSION_1 = b"\x01"
_VERSION_1_KEYS = {key.to_bytes(2, "big") for key in (0x0001, 0x0002, 0x0003)}
"""Of the published text; servers in use leave any other command without an answer."""


def message_of(stored: Stored) -> StoredMessage:
    """A message of a store, as the protocol names its parts."""
    offset, sender, time, text, scope, to = stored
    return StoredMessage(offset, text.decode(), sender, scope, to, time)


@implementer(IStore)
class RecordingStore:
    """Remembers what was stored in another store."""

    def __init__(self, store: IStore) -> None:
        self._store = store
        self.messages: list[StoredMessage] = []
        """In the order of their offsets."""

    @property
    def description(self) -> str:
        """See IStore."""
        return str(self._store.description)

    @property
    def registered(self) -> int:
        """See IStore."""
        return int(self._store.registered)

    def open(self) -> Deferred[None]:
        """See IStore."""
        return self._store.open()

    def close(self) -> Deferred[None]:
        """See IStore."""
        return self._store.close()

    def read(self, queries: Sequence[Query]) -> Deferred[None]:
        """See IStore."""
        return self._store.read(queries)

    def forget(self, before: int) -> Deferred[bool]:
        """See IStore."""
        return self._store.forget(before)

    def commit(self, batch: Batch) -> Deferred[None]:
        """See IStore."""

        def committed(result: None) -> None:
            for message in batch.messages:
                self.messages += map(message_of, _stored(message))

        return self._store.commit(batch).addCallback(committed)


def _stored(message: Run | Publication) -> list[Stored]:
    if isinstance(message, Run):
        return message.stored().messages() if message.accepted else []
    return [message.stored()] if message.offset else []


@implementer(IReactorTime)
class _Clock:
    """Another clock, of which a process can be robbed."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._calls: list[IDelayedCall] = []

    def seconds(self) -> float:
        """See IReactorTime."""
        return self._clock.seconds()

    def callLater(
        self,
        delay: float,
        callable: Callable[..., object],  # noqa: A002
        *args: object,
        **kw: object,
    ) -> IDelayedCall:
        """See IReactorTime."""
        call = self._clock.callLater(delay, callable, *args, **kw)
        self._calls = [*self.getDelayedCalls(), call]
        return call

    def getDelayedCalls(self) -> list[IDelayedCall]:
        """See IReactorTime."""
        return [one for one in self._calls if one.active()]

    def cancel_all(self) -> None:
        """None of the calls comes."""
        for call in self.getDelayedCalls():
            call.cancel()


class _Connection(ChatProtocol):
    """The server's side of a connection, as an old server's where that is wanted."""

    factory: _Factory

    def frames_received(self, data: bytes, position: int) -> int:
        """Many at a time only while none is to be refused."""
        return position if self.factory.refusals else super().frames_received(data, position)

    def stringReceived(self, string: bytes) -> None:
        """A published server looks at no version, and knows few keys."""
        if self.factory.version == 1:
            if string[1:3] not in _VERSION_1_KEYS:
                return
            string = _VERSION_1 + string[1:]
        super().stringReceived(string)


class _Factory(ChatFactory):
    """The server, and what it is told to refuse.

    Args:
        refusals: for the next messages, in their order.
        version: the highest that it speaks.
    """

    connection_type = _Connection

    def __init__(
        self,
        store: IStore,
        clock: IReactorTime,
        limits: Limits,
        authenticator: Authenticator | None,
        refusals: deque[Refused],
        version: int,
    ) -> None:
        super().__init__(
            store, clock, lambda: int(clock.seconds() * _NS), limits, Random(0), authenticator
        )
        self.refusals = refusals
        self.version = version

    def _refuse(self) -> None:
        if self.refusals:
            raise self.refusals.popleft()

    @handles(Message)
    def handle_message(self, connection: ChatProtocol, command: Message, request: Request) -> None:
        """See ChatFactory."""
        self._refuse()
        super().handle_message(connection, command, request)

    @handles(Publish)
    def handle_publish(self, connection: ChatProtocol, command: Publish, request: Request) -> None:
        """See Version2Handlers."""
        self._refuse()
        super().handle_publish(connection, command, request)


def _authenticator(passwords: Mapping[str, str], clock: IReactorTime) -> Authenticator:
    checker = InMemoryUsernamePasswordDatabaseDontUse()
    for name, password in passwords.items():
        checker.addUser(name.encode(), password.encode())
    return Authenticator([checker], clock)


class Process:
    """A server that runs until it is stopped, or killed.

    Args:
        store: an open one.
        clock: the time.
        limits: see ChatFactory.
        passwords: of each user; None: nobody needs any.
        refusals, version: see _Factory.
    """

    def __init__(
        self,
        store: IStore,
        clock: IReactorTime,
        limits: Limits,
        passwords: Mapping[str, str] | None,
        refusals: deque[Refused],
        version: int,
    ) -> None:
        self._clock = _Clock(clock)
        authenticator = None if passwords is None else _authenticator(passwords, self._clock)
        self.factory = _Factory(store, self._clock, limits, authenticator, refusals, version)
        self._ended: Deferred[None] = Deferred()
        self.factory.doStart()  # type: ignore[no-untyped-call]

    @property
    def quiet(self) -> bool:
        """Whether nothing is to be done at this moment."""
        now = self._clock.seconds()
        return all(call.getTime() > now for call in self._clock.getDelayedCalls())

    def stop(self) -> Deferred[None]:
        """End in good order; fires when every connection is gone, or it was killed meanwhile."""
        self.factory.doStop()  # type: ignore[no-untyped-call]
        self.factory.shut_down().addBoth(self._end)
        return self._ended

    def kill(self) -> None:
        """None of its code runs any more; its connections are to be seen to."""
        self._clock.cancel_all()
        self._end(None)

    def _end(self, result: Any) -> None:
        if not self._ended.called:
            self._ended.callback(result)
