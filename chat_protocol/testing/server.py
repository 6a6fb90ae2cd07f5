"""A server in the memory of a test."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, ensureDeferred, succeed
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.task import Clock, deferLater
from twisted.python.failure import Failure

from chat_protocol.domain.batch import Lookup, Page, UserList
from chat_protocol.domain.limits import Limits
from chat_protocol.errors import Refused, refusal
from chat_protocol.server.connection import ChatProtocol
from chat_protocol.stores.memory.store import MemoryStore
from chat_protocol.testing.endpoint import Endpoint
from chat_protocol.testing.link import Link
from chat_protocol.testing.network import Network
from chat_protocol.testing.process import Process, RecordingStore, message_of
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import StoredMessage

__all__ = ["MemoryServer"]

T = TypeVar("T")

CONNECT_SECONDS = 30.0
"""What an attempt to connect may take, as with Twisted's endpoints."""


class MemoryServer:
    """The real server over the store in memory, reached without a socket; it runs when made.

    With a Clock nothing happens but in :meth:`flush`, :meth:`advance` and :meth:`run`, and the
    same happens each time. With a reactor it goes by itself; then end a test with :meth:`stop`,
    and wait for :meth:`when_quiet` to look at what has become of something.

    What goes wrong goes wrong at once; that a connection is lost its ends learn when the clock
    comes round to it. Where users are named, it concerns their connections of this moment, and
    LookupError comes for one who is not on-line; otherwise it concerns every connection.

    Args:
        clock: the time; None: a Clock of its own.
        version: 2, or 1: as a published server, which takes no notice of the version byte and of
            what stands behind the fields it knows, and does not answer but to the keys 1 to 3.
        limits: of the server.
        passwords: of the users, who then need one to log in; None: nobody does.
        fragment: see :attr:`fragment`.
    """

    clock: IReactorTime
    """For the clients, too."""

    def __init__(
        self,
        clock: IReactorTime | None = None,
        *,
        version: int = 2,
        limits: Limits = Limits(),  # noqa: B008
        passwords: Mapping[str, str] | None = None,
        fragment: int = 0,
    ) -> None:
        if version not in (1, 2):
            raise ValueError(f"there is no version {version}")
        self.clock = Clock() if clock is None else clock
        self._version = version
        self._limits = limits
        self._passwords = passwords
        self._network = Network(self.clock)
        self._store = RecordingStore(MemoryStore(limits.mailbox))
        self._refusals: deque[Refused] = deque()
        self._process: Process | None = None
        self.fragment = fragment
        self.start()

    # Connecting, and time.

    def endpoint(self, timeout: float = CONNECT_SECONDS) -> IStreamClientEndpoint:
        """An endpoint that connects to this server, whether it runs or not.

        Args:
            timeout: seconds until an attempt fails with TimeoutError.
        """
        return Endpoint(self._network, timeout)

    def flush(self) -> None:
        """Let everything happen that happens without the time going on."""
        self.advance(0)

    def advance(self, seconds: float) -> None:
        """Let the time go on, and everything happen at its own time.

        Raises:
            TypeError: the clock is none of twisted.internet.task.
        """
        clock = self._settable_clock()
        end = clock.seconds() + seconds
        while self._step(clock, end):
            pass

    def run(self, what: Deferred[T] | Coroutine[Deferred[Any], Any, T], within: float = 0.0) -> T:
        """What a Deferred or a coroutine comes to, after a flush.

        The time goes on only as far as needed.

        Args:
            within: seconds that it may take.

        Raises:
            AssertionError: it has not come to an end in that time.
            TypeError: see :meth:`advance`.
        """
        clock = self._settable_clock()
        end = clock.seconds() + within
        results: list[T | Failure] = []
        ensureDeferred(what).addBoth(results.append)
        clock.advance(0)
        while not results and self._step(clock, end):
            pass
        if not results:
            raise AssertionError(f"it has not ended within {within} s")
        (result,) = results
        if isinstance(result, Failure):
            result.raiseException()
        return result

    def when_quiet(self) -> Deferred[None]:
        """Fires when no bytes move and the server has nothing to do but to wait for time."""
        return Deferred.fromCoroutine(self._when_quiet())

    async def _when_quiet(self) -> None:
        quiet = 0
        # Twice: what has just arrived may set something off at the end of this turn.
        while quiet < 2:
            await deferLater(self.clock, 0)
            process = self._process
            quiet += 1
            if not self._network.quiet or (process is not None and not process.quiet):
                quiet = 0

    def _settable_clock(self) -> Clock:
        if not isinstance(self.clock, Clock):
            raise TypeError(f"{self.clock!r} goes by itself: wait for when_quiet() instead")
        return self.clock

    def _step(self, clock: Clock, end: float) -> bool:
        """Go on to the next event; whether there may be more until ``end``."""
        due = min((call.getTime() for call in clock.getDelayedCalls()), default=end)
        clock.advance(max(0.0, min(due, end) - clock.seconds()))
        return due < end

    # What can be seen.

    @property
    def running(self) -> bool:
        """Whether it takes connections."""
        return self._network.listener is not None

    @property
    def connections(self) -> int:
        """How many connections it has, with and without a user."""
        return len(self._process.factory.connections) if self._process is not None else 0

    @property
    def users(self) -> dict[str, bool]:
        """Everybody who has ever logged in, in the order of the names, and who is on-line."""
        everybody = UserList("", sys.maxsize)
        self._store.read([everybody])
        return {name: self._session_of(name) is not None for name, _ in everybody.users}

    @property
    def received(self) -> list[StoredMessage]:
        """The messages that are stored, in their order; each once, however often it came."""
        return list(self._store.messages)

    def mailbox(self, user: str) -> list[StoredMessage]:
        """What waits for a user: not delivered, or not acknowledged where that is called for.

        Raises:
            LookupError: there is no such user.
        """
        lookup = Lookup(user)
        self._store.read([lookup])
        if not lookup.user_id:
            raise LookupError(f"there is no user {user}")
        page = Page(lookup.user_id, 0, sys.maxsize, sys.maxsize)
        self._store.read([page])
        return [message_of(one) for one in page.messages]

    # The network.

    @property
    def fragment(self) -> int:
        """Bytes that come in one piece at most, at both ends; 0: as they are sent."""
        return self._network.wire.fragment

    @fragment.setter
    def fragment(self, size: int) -> None:
        self._network.wire.fragment = size

    def cut(self, *users: str) -> None:
        """Break connections: both ends lose them, and the bytes on their way are lost."""
        for link in self._links(users):
            link.cut()

    def stall(self, *users: str, to_server: bool = True, to_clients: bool = True) -> None:
        """Let no more bytes through, until :meth:`resume`; both ends believe all is well.

        Without names attempts to connect hang, too. After 60 s without a way back a connection
        is lost, as a vanished peer is found by TCP (clause S9).

        Args:
            to_server: in this direction; without it requests arrive.
            to_clients: in this direction; without it answers arrive.
        """
        if users:
            for link in self._links(users):
                link.stall(to_server, to_clients)
        else:
            self._network.stall(to_server, to_clients)

    def resume(self) -> None:
        """Let everything through again; what was held up arrives."""
        self._network.resume()

    def refuse_connections(self, count: int = 1) -> None:
        """Refuse the next attempts to connect, with ConnectionRefusedError.

        Args:
            count: how many, those that are to be refused already included.
        """
        self._network.refusals = count

    # The server.

    def refuse_next(self, code: Code, detail: str = "", count: int = 1) -> None:
        """Refuse the next messages, Publish or Message, of whomever; they are not stored.

        Args:
            code: the answer; version 1 is told what stands for it there.
            detail: for people.
            count: how many, behind those that are to be refused already.

        Raises:
            ValueError: that code is no refusal.
        """
        error = refusal(code, detail)
        if error.code != code:
            raise ValueError(f"{code!r} is not what a request is refused with")
        self._refusals.extend([error] * count)

    def close_clients(self, code: Code = Code.GOING_AWAY, reason: str = "", *users: str) -> None:
        """End connections as the server does; sessions of version 2 are told why by a Close."""
        for connection in self._connections(users):
            connection.end(code, reason)

    def stop(self) -> Deferred[None]:
        """Stop as on SIGTERM: refuse connections, answer what was accepted, close with GoingAway.

        Fires when all connections are gone, a few seconds later at the latest.
        """
        process = self._process
        if process is None:
            return succeed(None)
        self._network.listener = None

        return Deferred.fromCoroutine(self._stop(process))

    async def _stop(self, process: Process) -> None:
        await process.stop()
        self._process = None

    def kill(self) -> None:
        """Stop as on SIGKILL: nothing more is done or said, and connections are refused."""
        process, self._process = self._process, None
        self._network.listener = None
        if process is not None:
            process.kill()
            for link in list(self._network.links):
                link.end_of_process()

    def start(self, *, empty: bool = False) -> None:
        """Run again after :meth:`stop` or :meth:`kill`.

        Args:
            empty: without the users and messages that there were.

        Raises:
            RuntimeError: it runs, or has not yet stopped.
        """
        if self._process is not None:
            raise RuntimeError("the server runs, or has not stopped yet")
        if empty:
            self._store = RecordingStore(MemoryStore(self._limits.mailbox))
        self._process = Process(
            self._store, self.clock, self._limits, self._passwords, self._refusals, self._version
        )
        self._network.listener = self._process.factory

    def _session_of(self, user: str) -> Any:
        process = self._process
        return None if process is None else process.factory.directory.session_of(user)

    def _connections(self, users: Iterable[str]) -> list[ChatProtocol]:
        if not users:
            return list(self._process.factory.connections) if self._process is not None else []
        found = []
        for user in users:
            session = self._session_of(user)
            if session is None:
                raise LookupError(f"{user} is not on-line")
            found.append(session.connection)
        return found

    def _links(self, users: Iterable[str]) -> list[Link]:
        if not users:
            return list(self._network.links)
        connections = self._connections(users)
        return [link for link in self._network.links if link.protocol in connections]
