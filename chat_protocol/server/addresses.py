"""How many connections come from each address."""

from __future__ import annotations

from collections import Counter

from chat_protocol.server.peer import Connection, Observer
from chat_protocol.transport.addresses import address_of

__all__ = ["Addresses"]


class Addresses(Observer):
    """Counts the connections of each address.

    The addresses of one /64 count as one. The machine's own addresses count each for itself. A
    connection through a proxy counts for the empty address until its PROXY header has arrived.
    """

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._address_of: dict[Connection, str] = {}

    def __getitem__(self, host: str) -> int:
        return self._counts[_counted(host)]

    def connected(self, connection: Connection) -> None:
        host = self._address_of[connection] = _counted(connection.host)
        self._counts[host] += 1

    def handed_over(self, before: Connection, after: Connection) -> None:
        self.disconnected(before)
        self.connected(after)

    def disconnected(self, connection: Connection) -> None:
        host = self._address_of.pop(connection)
        self._counts[host] -= 1
        if not self._counts[host]:
            del self._counts[host]


def _counted(host: str) -> str:
    return address_of(host) or host
