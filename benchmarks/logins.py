"""Users who come and go."""

from __future__ import annotations

import errno
import select
import socket
from collections.abc import Sequence
from itertools import cycle
from time import monotonic, process_time

from benchmarks.frames import Failed, login, login_answer
from benchmarks.loads import Control, Plan, Result
from benchmarks.loop import Address, Loop, log_in

__all__ = ["Visitor", "logins"]

_NAMES = 50
"""Names that one visitor has in turn, so that each is long gone when it comes again."""


class Visitor:
    """Connects, logs in, waits for the answer and closes, under one name after the other.

    Args:
        again: whether it comes again by itself.
    """

    def __init__(
        self, loop: Loop, address: Address, names: Sequence[str], again: bool = True
    ) -> None:
        self._loop = loop
        self._address = address
        self._logins = cycle([login(name) for name in names])
        self._again = again
        self._sock: socket.socket | None = None
        self._answer = b""
        self.count = 0
        """Logins that were answered OK."""

    @property
    def done(self) -> bool:
        """Whether it has gone."""
        return self._sock is None

    def stop(self) -> None:
        """Do not come again."""
        self._again = False

    def come(self) -> None:
        """Connect; only if it has gone."""
        sock = self._sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = sock.connect_ex(self._address)
        if code not in (0, errno.EINPROGRESS):
            raise Failed(f"a connection is refused: {errno.errorcode.get(code, code)}")
        self._answer = b""
        self._loop.add(sock, self._ready, select.EPOLLOUT)

    def _ready(self, events: int) -> None:
        sock, wanted = self._sock, login_answer()
        assert sock is not None
        try:
            if events & select.EPOLLOUT:
                sock.send(next(self._logins))
                self._loop.watch(sock, False)
                return
            data = sock.recv(len(wanted) - len(self._answer))
        except OSError as error:
            raise Failed(f"a login is not answered: {error}") from None
        self._answer += data
        if not data or not wanted.startswith(self._answer):
            raise Failed(f"a login is answered {self._answer.hex() or 'by the end'}")
        if self._answer == wanted:
            self.count += 1
            self._loop.remove(sock)
            self._entered(sock)

    def _entered(self, sock: socket.socket) -> None:
        """It is logged in."""
        self._leave(sock)

    def _leave(self, sock: socket.socket) -> None:
        sock.close()
        self._sock = None
        if self._again:
            self.come()


def logins(plan: Plan, control: Control) -> Result:
    """``plan.pairs`` visitors at a time, all users known already."""
    loop = Loop()
    names = [[plan.name(f"v{n:03d}-", m) for m in range(_NAMES)] for n in range(plan.pairs)]
    for group in names:
        for sock in log_in(plan.address, group):
            sock.close()
    visitors = [Visitor(loop, plan.address, group) for group in names]
    control.ready()
    began, cpu = monotonic(), process_time()
    for visitor in visitors:
        visitor.come()
    end = began + plan.seconds
    while (now := monotonic()) < end:
        loop.turn(end - now)
    for visitor in visitors:
        visitor.stop()
    while not all(visitor.done for visitor in visitors):
        loop.turn(1)
        if monotonic() > end + 60:
            raise Failed("a login is not answered")
    seconds = monotonic() - began
    loop.close()
    count = sum(visitor.count for visitor in visitors)
    return Result(count, seconds, seconds, (process_time() - cpu) / seconds)
