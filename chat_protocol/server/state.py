"""The life of a connection. Rule 1: everything that changes the state is in the table.

In ENDING nothing more is read and the user is off-line; what was accepted is still answered. In
LINGERING all of it is sent, and the end of the peer is waited for.
"""

from __future__ import annotations

from enum import Enum, auto

__all__ = ["NEXT", "Event", "State"]


class State(Enum):
    """The life of a connection."""

    CONNECTED = auto()
    LOGGING_IN = auto()
    LOGGED_IN = auto()
    ENDING = auto()
    LINGERING = auto()
    GONE = auto()


class Event(Enum):
    """What changes it."""

    LOGIN = auto()
    LOGIN_OK = auto()
    LOGIN_REFUSED = auto()
    END = auto()
    ANSWERED = auto()
    LOST = auto()


NEXT = {
    (State.CONNECTED, Event.LOGIN): State.LOGGING_IN,
    (State.CONNECTED, Event.END): State.ENDING,
    (State.CONNECTED, Event.LOST): State.GONE,
    (State.LOGGING_IN, Event.LOGIN_OK): State.LOGGED_IN,
    (State.LOGGING_IN, Event.LOGIN_REFUSED): State.CONNECTED,
    (State.LOGGING_IN, Event.END): State.ENDING,
    (State.LOGGING_IN, Event.LOST): State.GONE,
    (State.LOGGED_IN, Event.END): State.ENDING,
    (State.LOGGED_IN, Event.LOST): State.GONE,
    (State.ENDING, Event.ANSWERED): State.LINGERING,
    (State.ENDING, Event.LOST): State.GONE,
    (State.LINGERING, Event.LOST): State.GONE,
}
