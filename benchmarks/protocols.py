"""The protocols of a pair: how its clients log in, what they send, and what they must receive."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.frames import Traffic, messages, publications
from benchmarks.loop import Address, log_in
from benchmarks.peers import Publisher, Sender
from benchmarks.receivers import AckingReceiver, IReceiver, Receiver

__all__ = ["VERSIONS", "Protocol"]

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


def _log_in_2(address: Address, names: Sequence[str]) -> list[socket.socket]:
    return log_in(address, names, 2)


VERSIONS = {
    1: Protocol(log_in, log_in, messages, Sender, Receiver),
    2: Protocol(_log_in_2, _log_in_2, publications, Publisher, AckingReceiver),
}
"""The versions of the protocol of this project."""
