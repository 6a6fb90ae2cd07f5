"""The protocols of a pair: how its clients log in, what they send, and what they must receive."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from benchmarks.dialing import DIALS, Address
from benchmarks.frames import Traffic, messages, publications
from benchmarks.loop import log_in
from benchmarks.peers import Publisher, Sender
from benchmarks.receivers import AckingReceiver, IReceiver, Receiver

__all__ = ["Protocol", "protocol_of"]

LogIn = Callable[[Address, Sequence[str]], list[socket.socket]]


@dataclass(frozen=True)
class Protocol:
    """A protocol. Its functions are those of a module, so that a load process can import them."""

    receive: LogIn
    """Connects recipients; messages to them are delivered from then on."""
    send: LogIn
    """Connects senders."""
    traffic: Callable[[int, str, str, int], Traffic]
    """Makes the traffic of a pair; see frames.messages."""
    sender: type[Sender]
    receiver: Callable[..., IReceiver]


def protocol_of(version: int, transport: str = "tcp") -> Protocol:
    """Return a version of the protocol of this project.

    Args:
        version: 1 or 2.
        transport: a key of dialing.DIALS.
    """
    enter = partial(log_in, version=version, dial=DIALS[transport])
    if version == 1:
        return Protocol(enter, enter, messages, Sender, Receiver)
    return Protocol(enter, enter, publications, Publisher, AckingReceiver)
