"""The states of a client and the transitions between them."""

from __future__ import annotations

from enum import Enum, auto

__all__ = ["ENDED_STATES", "TRANSITIONS", "State", "Trigger"]


class State(Enum):
    """The state of a client."""

    NEW = auto()
    CONNECTING = auto()
    ONLINE = auto()
    CLOSING = auto()
    STOPPED = auto()


class Trigger(Enum):
    """What causes a state transition."""

    START = auto()
    LOGGED_IN = auto()
    LOST = auto()
    STOP = auto()
    ENDED = auto()


TRANSITIONS = {
    (State.NEW, Trigger.START): State.CONNECTING,
    (State.STOPPED, Trigger.START): State.CONNECTING,
    (State.CONNECTING, Trigger.LOGGED_IN): State.ONLINE,
    (State.CONNECTING, Trigger.LOST): State.CONNECTING,
    (State.CONNECTING, Trigger.STOP): State.CLOSING,
    (State.ONLINE, Trigger.LOST): State.CONNECTING,
    (State.ONLINE, Trigger.STOP): State.CLOSING,
    (State.CLOSING, Trigger.LOST): State.CLOSING,
    (State.CLOSING, Trigger.ENDED): State.STOPPED,
}

ENDED_STATES = (State.CLOSING, State.STOPPED)
