"""Watching over the peers: those that vanished, and those that promised to be heard."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

from chat_protocol.server.connection import ChatProtocol
from chat_protocol.server.state import State
from chat_protocol.transport.keepalive import ROUND_SECONDS, has_vanished

__all__ = ["Heartbeats", "PeerWatch", "Watch"]


class Watch:
    """Looks again and again while it runs."""

    interval = 1.0
    """Seconds between two looks."""

    def __init__(self, clock: IReactorTime) -> None:
        self._loop = LoopingCall(self.look)
        self._loop.clock = clock

    def start(self) -> Deferred[LoopingCall]:
        """Begin; fires when stopped, fails when a look fails."""
        return self._loop.start(self.interval, now=False)

    def stop(self) -> None:
        """Look no more."""
        if self._loop.running:
            self._loop.stop()

    def look(self) -> None:
        """Override: one look."""
        raise NotImplementedError


class PeerWatch(Watch):
    """Looks at some of the connections at a time, at each within ROUND_SECONDS.

    Args:
        connections: gives those there are.
        gone: called with each whose peer is gone.
        look_at: called with each that is there.
        clock: times the looks.
    """

    interval = 0.1

    def __init__(
        self,
        connections: Callable[[], Iterable[ChatProtocol]],
        gone: Callable[[ChatProtocol], None],
        look_at: Callable[[ChatProtocol], None],
        clock: IReactorTime,
    ) -> None:
        self._connections = connections
        self._gone = gone
        self._look_at = look_at
        self._round: list[ChatProtocol] = []
        self._share = 0
        super().__init__(clock)

    def look(self) -> None:
        """Look at the next few."""
        if not self._round:
            self._round = list(self._connections())
            self._share = 1 + int(len(self._round) * self.interval / ROUND_SECONDS)
        now, self._round = self._round[: self._share], self._round[self._share :]
        for connection in now:
            # One that ended since the round began has no socket any more.
            if connection.state is State.GONE:
                continue
            if has_vanished(connection.transport):
                self._gone(connection)
            else:
                self._look_at(connection)


class Heartbeats(Watch):
    """Ends the connections that promised a sign of life and gave none for twice as long.

    Looks once a second, so silence is measured to a second.

    Args:
        missed: called with each.
        clock: times the looks.
    """

    def __init__(self, missed: Callable[[ChatProtocol], None], clock: IReactorTime) -> None:
        self._missed = missed
        self._clock = clock
        self._silent: dict[ChatProtocol, tuple[int, float]] = {}
        """The seconds promised, and since when nothing was heard."""
        super().__init__(clock)

    def expect(self, connection: ChatProtocol, seconds: int) -> None:
        """The connection promises something every so often."""
        self._silent[connection] = seconds, self._clock.seconds()

    def forget(self, connection: ChatProtocol) -> None:
        """It promises nothing any more."""
        self._silent.pop(connection, None)

    def look(self) -> None:
        """Look at all of them."""
        now = self._clock.seconds()
        for connection, (seconds, since) in list(self._silent.items()):
            # What is not read from cannot be heard.
            if connection.heard or connection.paused:
                connection.heard = False
                self._silent[connection] = seconds, now
            elif now - since >= 2 * seconds:
                del self._silent[connection]
                self._missed(connection)
