"""Devices that users have no more: the store forgets them, a few at a time."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from chat_protocol.domain.directory import Directory
from chat_protocol.domain.messages import PositionKey
from chat_protocol.domain.ports import IStore
from chat_protocol.domain.users import Session
from chat_protocol.errors import Unavailable
from chat_protocol.server.watch import Watch
from chat_protocol.wire.codes import Code

__all__ = ["AbsentDevices"]


_NEVER = 2**62
"""Nanoseconds: longer than the time since the epoch."""


class AbsentDevices(Watch):
    """Has the store forget devices; see IStore.forget_devices.

    A device that is online and too far behind is disconnected first, with a Close MailboxFull.

    Args:
        store: an open store.
        directory: knows the users that are online.
        seconds: after which an absent device is forgotten; 0: never.
        clock: times the checks.
        wall_clock: returns nanoseconds since the epoch.
    """

    log = Logger()
    interval = 10.0

    def __init__(
        self,
        store: IStore,
        directory: Directory,
        seconds: float,
        clock: IReactorTime,
        wall_clock: Callable[[], int],
    ) -> None:
        super().__init__(clock)
        self._store = store
        self._directory = directory
        self._absent = int(seconds * 10**9) or _NEVER
        self._wall_clock = wall_clock
        self._refused = False

    def check(self) -> Deferred[None]:
        """Have the store work for one step."""
        return Deferred.fromCoroutine(self._step())

    async def _step(self) -> None:
        sessions = {
            (user.id, session.device_id): session
            for user in self._directory.online
            if user.has_devices
            for session in user.sessions
        }
        try:
            overrun = await self._store.forget_devices(
                self._wall_clock(), self._absent, set(sessions)
            )
        except Unavailable as error:
            if not self._refused:
                self.log.warn(
                    "Cannot forget absent devices: {reason}. The server retries every"
                    " {interval:.0f} s",
                    reason=error.detail,
                    interval=self.interval,
                )
            self._refused = True
            return
        self._refused = False
        for key in overrun:
            session = sessions.get(key) or self._session_of(key)
            if session is not None:
                session.connection.end(
                    Code.MAILBOX_FULL, "this device is further behind than a mailbox may hold"
                )

    def _session_of(self, key: PositionKey) -> Session | None:
        """Return a session whose user has got another device at another node."""
        for user in self._directory.online:
            for session in user.sessions:
                if (user.id, session.device_id) == key:
                    return session
        return None
