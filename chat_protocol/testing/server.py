"""The in-memory server for tests."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any, TypeVar, cast

from twisted.internet.defer import Deferred, ensureDeferred, succeed
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.task import Clock, deferLater
from twisted.python.failure import Failure

from chat_protocol.domain.limits import Limits
from chat_protocol.domain.queries import Lookup, Page, UserList
from chat_protocol.domain.structural import ReactorTime
from chat_protocol.domain.users import Session
from chat_protocol.errors import Refused, refusal
from chat_protocol.server.dispatcher import Route
from chat_protocol.server.hooks import Hooks, IHooks
from chat_protocol.server.peer import Connection
from chat_protocol.stores.memory.store import MemoryStore
from chat_protocol.testing.endpoint import Endpoint
from chat_protocol.testing.link import Link
from chat_protocol.testing.network import Network
from chat_protocol.testing.process import (
    Additions,
    RecordingStore,
    ServerProcess,
    messages_of,
)
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import REGISTRY, StoredMessage
from chat_protocol.wire.schema import Registry

__all__ = ["MemoryServer"]

T = TypeVar("T")

CONNECT_SECONDS = 30.0
"""Default timeout of a connection attempt in seconds, the same as in Twisted's endpoints."""


class MemoryServer:
    """The real server with an in-memory store, reached without sockets; it starts when created.

    With a Clock, the server runs only inside :meth:`flush`, :meth:`advance` and :meth:`run`, and
    every run of a test is the same. With a reactor, the server runs by itself. In that case await
    :meth:`when_quiet` before you inspect the server, and end the test with :meth:`stop`.

    The methods that cause faults take effect at once, but the ends of a connection learn of its
    loss in the next turn of the clock. These methods apply to the current connections of the users
    that are named, and raise LookupError for a user who is offline. Without names they apply to all
    connections.

    Args:
        clock: the clock or reactor; None: a new Clock.
        version: 2, or 1 to emulate a published server. That one ignores the version byte and bytes
            after the fields it knows, and does not answer keys other than 1 to 3.
        limits: the limits of the server.
        passwords: the password of each user; None: a login needs no password.
        fragment: see :attr:`fragment`.
        hooks, registry, routes: of a server of one's own; see ChatFactory.
    """

    clock: IReactorTime
    """The clock of the server; pass it to the clients, too."""

    def __init__(
        self,
        clock: IReactorTime | ReactorTime | None = None,
        *,
        version: int = 2,
        limits: Limits = Limits(),  # noqa: B008
        passwords: Mapping[str, str] | None = None,
        fragment: int = 0,
        hooks: IHooks | Hooks | None = None,
        registry: Registry = REGISTRY,
        routes: Iterable[Route] = (),
    ) -> None:
        self._additions = Additions(cast("IHooks | None", hooks), registry, tuple(routes))
        if version not in (1, 2):
            raise ValueError(f"version {version} does not exist; give 1 or 2")
        self.clock = Clock() if clock is None else cast(IReactorTime, clock)
        self._version = version
        self._limits = limits
        self._passwords = passwords
        self._network = Network(self.clock)
        self._store = RecordingStore(MemoryStore(limits.mailbox))
        self._refusals: deque[Refused] = deque()
        self._process: ServerProcess | None = None
        self.fragment = fragment
        self.start()

    # Connections and time.

    def endpoint(self, timeout: float = CONNECT_SECONDS) -> IStreamClientEndpoint:
        """Return an endpoint that connects to this server; it is valid across restarts.

        Args:
            timeout: seconds after which an attempt fails with TimeoutError.
        """
        return Endpoint(self._network, timeout)

    def flush(self) -> None:
        """Run everything that is due now, without advancing the clock."""
        self.advance(0)

    def advance(self, seconds: float) -> None:
        """Advance the clock, and run each call at its own time.

        Raises:
            TypeError: the clock is not a Clock of twisted.internet.task.
        """
        clock = self._settable_clock()
        end = clock.seconds() + seconds
        while self._step(clock, end):
            pass

    def run(self, what: Deferred[T] | Coroutine[Deferred[Any], Any, T], within: float = 0.0) -> T:
        """Flush, then return the result of a Deferred or a coroutine, or raise its exception.

        The clock advances only as far as necessary.

        Args:
            within: maximum number of seconds by which the clock advances.

        Raises:
            AssertionError: there is no result after that time.
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
            raise AssertionError(f"no result within {within} s; give a larger within=")
        (result,) = results
        if isinstance(result, Failure):
            result.raiseException()
        return result

    def when_quiet(self) -> Deferred[None]:
        """Return a Deferred that fires once no bytes move and no call of the server is due."""
        return Deferred.fromCoroutine(self._when_quiet())

    async def _when_quiet(self) -> None:
        quiet = 0
        # Two quiet turns, because bytes that have just arrived can schedule a call in this turn.
        while quiet < 2:
            await deferLater(self.clock, 0)
            process = self._process
            quiet += 1
            if not self._network.quiet or (process is not None and not process.quiet):
                quiet = 0

    def _settable_clock(self) -> Clock:
        if not isinstance(self.clock, Clock):
            raise TypeError(f"{self.clock!r} advances by itself; await when_quiet() instead")
        return self.clock

    def _step(self, clock: Clock, end: float) -> bool:
        """Advance to the next call; return whether there can be another one before ``end``."""
        due = min((call.getTime() for call in clock.getDelayedCalls()), default=end)
        clock.advance(max(0.0, min(due, end) - clock.seconds()))
        return due < end

    # Inspection.

    @property
    def running(self) -> bool:
        """Whether the server accepts connections."""
        return self._network.listener is not None

    @property
    def connections(self) -> int:
        """The number of connections, with and without a session."""
        return len(self._process.factory.connections) if self._process is not None else 0

    @property
    def users(self) -> dict[str, bool]:
        """All registered users in the order of their names, with whether each is online."""
        registered = UserList("", sys.maxsize)
        self._store.read([registered])
        return {name: bool(self._sessions_of(name)) for name, _ in registered.users}

    @property
    def received(self) -> list[StoredMessage]:
        """The stored messages in the order of their offsets, without duplicates."""
        return list(self._store.messages)

    def mailbox(self, user: str) -> list[StoredMessage]:
        """Return the pending messages of a user.

        A message is pending until it is delivered to version 1, or acknowledged by version 2, on
        each device of the user.

        Raises:
            LookupError: the user is not registered.
        """
        lookup = Lookup(user)
        self._store.read([lookup])
        if not lookup.user_id:
            raise LookupError(f"{user} is not registered")
        pending: dict[int, StoredMessage] = {}
        for device_id in self._store.devices(lookup.user_id):
            after = 0
            if self._process is not None:
                key = lookup.user_id, device_id
                after = self._process.factory.exchange.unstored_position(key)
            page = Page(lookup.user_id, after, sys.maxsize, sys.maxsize, device_id)
            self._store.read([page])
            found = [message for entry in page.entries for message in messages_of(entry)]
            pending.update((message.offset, message) for message in found)
        return [pending[offset] for offset in sorted(pending)]

    # Faults of the network.

    @property
    def fragment(self) -> int:
        """Maximum number of bytes that either end reads at once; 0: no maximum."""
        return self._network.pipe_settings.fragment

    @fragment.setter
    def fragment(self, size: int) -> None:
        self._network.pipe_settings.fragment = size

    def cut(self, *users: str) -> None:
        """Break connections; both ends get ConnectionLost, and the bytes in flight are lost."""
        for link in self._links(users):
            link.cut()

    def stall(self, *users: str, to_server: bool = True, to_clients: bool = True) -> None:
        """Stop transferring bytes until :meth:`resume`; the ends do not notice it.

        Without names, connection attempts hang as well. A connection that is stalled for 60 s is
        lost, as by TCP keep-alive (clause S9).

        Args:
            to_server: whether to stall requests.
            to_clients: whether to stall answers and deliveries.
        """
        if users:
            for link in self._links(users):
                link.stall(to_server, to_clients)
        else:
            self._network.stall(to_server, to_clients)

    def resume(self) -> None:
        """End all stalls; the bytes that were held up arrive."""
        self._network.resume()

    def refuse_connections(self, count: int = 1) -> None:
        """Refuse the next connection attempts with ConnectionRefusedError.

        Args:
            count: the number of attempts; it replaces the number of an earlier call.
        """
        self._network.refusals = count

    # Faults of the server.

    def refuse_next(self, code: Code, detail: str = "", count: int = 1) -> None:
        """Refuse the next messages (Publish or Message) of any user without storing them.

        Args:
            code: the code of the answer; to version 1 the server sends :attr:`Code.version_1`.
            detail: text for people.
            count: the number of messages, in addition to those of earlier calls.

        Raises:
            ValueError: the code is not the code of a refusal.
        """
        error = refusal(code, detail)
        if error.code != code:
            raise ValueError(f"{code!r} is not the code of a refusal")
        self._refusals.extend([error] * count)

    def close_clients(self, code: Code = Code.GOING_AWAY, reason: str = "", *users: str) -> None:
        """Close connections from the server's side; version 2 sessions get a Close first."""
        for connection in self._connections(users):
            connection.end(code, reason)

    def stop(self) -> Deferred[None]:
        """Stop as on SIGTERM.

        The server refuses new connections, answers the requests that it has accepted, and closes
        its connections with GoingAway. The Deferred fires when all connections are closed, after a
        few seconds at the latest.
        """
        process = self._process
        if process is None:
            return succeed(None)
        self._network.listener = None

        return Deferred.fromCoroutine(self._stop(process))

    async def _stop(self, process: ServerProcess) -> None:
        await process.stop()
        self._process = None

    def kill(self) -> None:
        """Stop as on SIGKILL: the server sends and does nothing more; connections are refused."""
        process, self._process = self._process, None
        self._network.listener = None
        if process is not None:
            process.kill()
            for link in list(self._network.links):
                link.end_of_process()

    def start(self, *, empty: bool = False) -> None:
        """Start the server again after :meth:`stop` or :meth:`kill`.

        Args:
            empty: whether to begin with an empty store instead of the old one.

        Raises:
            RuntimeError: the server is running or still stopping.
        """
        if self._process is not None:
            raise RuntimeError("the server is running or still stopping; wait for stop() first")
        if empty:
            self._store = RecordingStore(MemoryStore(self._limits.mailbox))
        self._process = ServerProcess(
            self._store,
            self.clock,
            self._limits,
            self._passwords,
            self._refusals,
            self._version,
            self._additions,
        )
        self._network.listener = self._process.factory

    def _sessions_of(self, user: str) -> tuple[Session, ...]:
        process = self._process
        return () if process is None else process.factory.directory.user(user).sessions

    def _connections(self, users: Iterable[str]) -> list[Connection]:
        if not users:
            return list(self._process.factory.connections) if self._process is not None else []
        found: list[Any] = []
        for user in users:
            sessions = self._sessions_of(user)
            if not sessions:
                raise LookupError(f"{user} is offline")
            found += [session.connection for session in sessions]
        return found

    def _links(self, users: Iterable[str]) -> list[Link]:
        if not users:
            return list(self._network.links)
        transports = [connection.transport for connection in self._connections(users)]
        return [link for link in self._network.links if link.server in transports]
