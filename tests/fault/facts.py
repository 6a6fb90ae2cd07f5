"""What a server has read from its clients and written to them, up to some record of a trace.

A frame from the server counts once the kernel has taken it. A frame from a client counts once the
server has read it.
"""

from __future__ import annotations

from tests.blackbox import wire
from tests.fault import frames
from tests.fault.history import History, Sent
from tests.fault.shim import Kind, Record

__all__ = ["Facts"]


class _Connection:
    """One connection: the bytes of incomplete frames, and the messages without an answer."""

    def __init__(self) -> None:
        self.incoming = bytearray()
        self.outgoing = bytearray()
        self.name = ""
        self.version = 0
        self.user: History | None = None
        """None until the login is answered OK."""
        self.outstanding: dict[int, Sent] = {}


class Facts:
    """The histories of all users, as far as the trace was followed."""

    def __init__(self) -> None:
        self.users: dict[str, History] = {}
        self._connections: dict[int, _Connection] = {}

    def follow(self, record: Record) -> None:
        """Apply a record of a trace."""
        if record.kind is Kind.ACCEPT:
            self._connections[record.id] = _Connection()
        elif record.kind is Kind.RECEIVED:
            connection = self._connections[record.id]
            connection.incoming += record.data
            for frame in frames.frames_of(connection.incoming):
                self._received(connection, frame)
        elif record.kind is Kind.SENT:
            connection = self._connections[record.id]
            connection.outgoing += record.data
            for frame in frames.frames_of(connection.outgoing):
                self._sent(connection, frame)

    def copy(self) -> list[History]:
        """Return copies of the histories."""
        return [one.copy() for one in self.users.values()]

    def _received(self, connection: _Connection, frame: wire.Frame) -> None:
        if frame.key == wire.LOGIN:
            connection.name, _ = frames.string(frame.body, 0)
            connection.version = frame.version
            return
        user = connection.user
        if user is None:
            raise ValueError(f"a client has sent {frame} before it was logged in")
        if frame.key == frames.ACK:
            user.acknowledged = max(user.acknowledged, int.from_bytes(frame.body[:8], "big"))
            return
        publication = frames.publication(frame)
        if publication is None:
            raise ValueError(f"a client has sent {frame}")
        number, text, to = publication
        required = frozenset(to or self.users.keys() - {user.name})
        sent = user.sent.setdefault(number, Sent(number, text, to, required))
        connection.outstanding[frame.correlation_id] = sent

    def _sent(self, connection: _Connection, frame: wire.Frame) -> None:
        arrival = frames.arrival(frame)
        if arrival is not None:
            assert connection.user is not None
            connection.user.arrive(arrival)
        elif not frames.is_answer(frame):
            return
        elif connection.user is not None:
            sent = connection.outstanding.pop(frame.correlation_id)
            sent.code = frames.code_of(frame)
        elif frames.code_of(frame) == wire.OK:
            name = connection.name
            connection.user = self.users.setdefault(name, History(name, connection.version))
