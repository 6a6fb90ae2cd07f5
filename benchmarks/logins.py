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
        names: they have logged in before, or not, as it is to be measured.
    """

    def __init__(self, loop: Loop, address: Address, names: Sequence[str]) -> None:
        self._loop = loop
        self._address = address
        self._logins = cycle([login(name) for name in names])
        self._going = True
        self._sock: socket.socket | None = None
        self._answer = b""
        self.count = 0
        """Logins that were answered OK."""

    @property
    def done(self) -> bool:
        """Whether it has stopped."""
        return self._sock is None

    def start(self) -> None:
        """Come for the first time."""
        self._connect()

    def stop(self) -> None:
        """Do not come again."""
        self._going = False

    def _connect(self) -> None:
        sock = self._sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = sock.connect_ex(self._address)
        if code not in (0, errno.EINPROGRESS):
            raise Failed(f"a connection is refused: {errno.errorcode.get(code, code)}")
        self._answer = b""
        self._loop.add(sock, self._ready, select.EPOLLOUT)

    def _ready(self, events: int) -> None:
        sock = self._sock
        assert sock is not None
        try:
            if events & select.EPOLLOUT:
                sock.send(next(self._logins))
                self._loop.watch(sock, False)
                return
            data = sock.recv(64)
        except OSError as error:
            raise Failed(f"a login is not answered: {error}") from None
        self._answer += data
        if not data or not login_answer().startswith(self._answer):
            raise Failed(f"a login is answered {self._answer.hex() or 'by the end'}")
        if self._answer == login_answer():
            self.count += 1
            self._loop.remove(sock)
            sock.close()
            self._sock = None
            if self._going:
                self._connect()


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
        visitor.start()
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
    cpu = process_time() - cpu
    return Result(count, seconds, seconds, cpu / seconds, cpu)
