"""Clients that log in and disconnect in a loop."""

from __future__ import annotations

import errno
import select
import socket
from collections.abc import Sequence
from itertools import cycle
from time import monotonic, process_time

from benchmarks.frames import CheckFailed, login, login_answer
from benchmarks.loads import Control, Plan, Result
from benchmarks.loop import Address, Loop, log_in

__all__ = ["LoginClient", "logins"]

_NAMES = 50
"""Number of names that a client uses in turn, so that the server has long freed a name when the
client uses it again."""


class LoginClient:
    """Connects, logs in with the next of its names, waits for the answer and disconnects.

    Args:
        names: the usernames, used in turn.
        repeat: whether to connect again by itself.
    """

    def __init__(
        self, loop: Loop, address: Address, names: Sequence[str], repeat: bool = True
    ) -> None:
        self._loop = loop
        self._address = address
        self._logins = cycle([login(name) for name in names])
        self._repeat = repeat
        self._sock: socket.socket | None = None
        self._answer = b""
        self.count = 0
        """Number of logins answered with OK."""

    @property
    def done(self) -> bool:
        """Whether the client is disconnected."""
        return self._sock is None

    def stop(self) -> None:
        """Do not connect again after the current connection."""
        self._repeat = False

    def connect(self) -> None:
        """Connect; the client must be disconnected."""
        sock = self._sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = sock.connect_ex(self._address)
        if code not in (0, errno.EINPROGRESS):
            raise CheckFailed(f"the server refused a connection: {errno.errorcode.get(code, code)}")
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
            raise CheckFailed(f"the server did not answer a login: {error}") from None
        self._answer += data
        if not data:
            raise CheckFailed("the server closed a connection instead of answering its login")
        if not wanted.startswith(self._answer):
            raise CheckFailed(f"the server answered a login with {self._answer.hex()}")
        if self._answer == wanted:
            self.count += 1
            self._loop.remove(sock)
            self._logged_in(sock)

    def _logged_in(self, sock: socket.socket) -> None:
        """Disconnect after the login."""
        self._disconnect(sock)

    def _disconnect(self, sock: socket.socket) -> None:
        sock.close()
        self._sock = None
        if self._repeat:
            self.connect()


def logins(plan: Plan, control: Control) -> Result:
    """Log in and disconnect, ``plan.pairs`` clients at a time, with registered names."""
    loop = Loop()
    names = [[plan.name(f"v{n:03d}-", m) for m in range(_NAMES)] for n in range(plan.pairs)]
    for group in names:
        for sock in log_in(plan.address, group):
            sock.close()
    clients = [LoginClient(loop, plan.address, group) for group in names]
    control.ready()
    began, cpu = monotonic(), process_time()
    for client in clients:
        client.connect()
    end = began + plan.seconds
    while (now := monotonic()) < end:
        loop.turn(end - now)
    for client in clients:
        client.stop()
    while not all(client.done for client in clients):
        loop.turn(1)
        if monotonic() > end + 60:
            raise CheckFailed("the server did not answer a login within 60 s")
    seconds = monotonic() - began
    loop.close()
    count = sum(client.count for client in clients)
    return Result(count, seconds, seconds, (process_time() - cpu) / seconds)
