"""Users who are off-line, and messages for them."""

from __future__ import annotations

from collections.abc import Iterable

from tests.blackbox import wire
from tests.blackbox.client import Address, Client, log_in_when_free


def register(address: Address, *names: str) -> None:
    """Make users known and leave them off-line."""
    for name in names:
        with log_in_when_free(address, name) as client:
            # The server ends the connection when it has seen the end of what comes in.
            client.finish_writing()
            client.read_to_end()


def burst(client: Client, to: str, numbers: Iterable[int], padding: str = "") -> list[int]:
    """Send numbered messages at once; the codes of the answers."""
    numbers = list(numbers)
    client.write(b"".join(wire.message(f"{n}{padding}", client.name, to, n, n) for n in numbers))
    return client.answers(numbers)
