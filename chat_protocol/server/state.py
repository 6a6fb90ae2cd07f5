"""The states of a connection. Every change of state is in the table NEXT.

In ENDING the server reads nothing more and the user is offline. Accepted requests are still
answered. In LINGERING all answers are sent, and the server waits for the peer to close its side. A
protocol that has handed its connection over to another one is GONE; the other one is CONNECTED.
"""

from __future__ import annotations

from enum import Enum, auto

__all__ = ["NEXT", "ConnectionEvent", "ConnectionState"]


class ConnectionState(Enum):
    """The state of a connection."""

    CONNECTED = auto()
    LOGGING_IN = auto()
    LOGGED_IN = auto()
    ENDING = auto()
    LINGERING = auto()
    GONE = auto()


class ConnectionEvent(Enum):
    """What changes the state of a connection."""

    LOGIN = auto()
    LOGIN_OK = auto()
    LOGIN_REFUSED = auto()
    END = auto()
    ANSWERED = auto()
    HANDED_OVER = auto()
    LOST = auto()


NEXT = {
    (ConnectionState.CONNECTED, ConnectionEvent.LOGIN): ConnectionState.LOGGING_IN,
    (ConnectionState.CONNECTED, ConnectionEvent.END): ConnectionState.ENDING,
    (ConnectionState.CONNECTED, ConnectionEvent.HANDED_OVER): ConnectionState.GONE,
    (ConnectionState.CONNECTED, ConnectionEvent.LOST): ConnectionState.GONE,
    (ConnectionState.LOGGING_IN, ConnectionEvent.LOGIN_OK): ConnectionState.LOGGED_IN,
    (ConnectionState.LOGGING_IN, ConnectionEvent.LOGIN_REFUSED): ConnectionState.CONNECTED,
    (ConnectionState.LOGGING_IN, ConnectionEvent.END): ConnectionState.ENDING,
    (ConnectionState.LOGGING_IN, ConnectionEvent.LOST): ConnectionState.GONE,
    (ConnectionState.LOGGED_IN, ConnectionEvent.END): ConnectionState.ENDING,
    (ConnectionState.LOGGED_IN, ConnectionEvent.LOST): ConnectionState.GONE,
    (ConnectionState.ENDING, ConnectionEvent.ANSWERED): ConnectionState.LINGERING,
    (ConnectionState.ENDING, ConnectionEvent.LOST): ConnectionState.GONE,
    (ConnectionState.LINGERING, ConnectionEvent.LOST): ConnectionState.GONE,
}
