"""What a client is doing, and what changes that."""

from __future__ import annotations

from enum import Enum, auto

__all__ = ["NEXT", "OVER", "Happening", "State"]


class State(Enum):
    """What a client is doing."""

    NEW = auto()
    CONNECTING = auto()
    ONLINE = auto()
    CLOSING = auto()
    STOPPED = auto()


class Happening(Enum):
    """What changes it."""

    START = auto()
    LOGGED_IN = auto()
    LOST = auto()
    STOP = auto()
    ENDED = auto()


NEXT = {
    (State.NEW, Happening.START): State.CONNECTING,
    (State.STOPPED, Happening.START): State.CONNECTING,
    (State.CONNECTING, Happening.LOGGED_IN): State.ONLINE,
    (State.CONNECTING, Happening.LOST): State.CONNECTING,
    (State.CONNECTING, Happening.STOP): State.CLOSING,
    (State.ONLINE, Happening.LOST): State.CONNECTING,
    (State.ONLINE, Happening.STOP): State.CLOSING,
    (State.CLOSING, Happening.LOST): State.CLOSING,
    (State.CLOSING, Happening.ENDED): State.STOPPED,
}

OVER = (State.CLOSING, State.STOPPED)
