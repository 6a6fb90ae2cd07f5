"""The load of benchmarks/clients.py: one kind of client sends to an offline user.

    python -m benchmarks.client_load KIND HOST PORT SECONDS

It prints the messages per second, sent one at a time and many at a time, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Any

from twisted.internet.defer import gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.task import react

from chat_protocol import aio, sync
from chat_protocol.client import ChatClient

__all__ = ["KINDS", "main"]

GROUP = 1000
"""Messages that are gathered: in one await, or by the threads of the client that blocks."""

THREADS = 16

_TEXT = "x" * 64

Send = Callable[[], Awaitable[Any]]


async def _measure(send: Send, gather: Callable[[], Awaitable[Any]], seconds: float) -> list[float]:
    return [await _rate(send, 1, seconds), await _rate(gather, GROUP, seconds)]


async def _rate(step: Callable[[], Awaitable[Any]], messages: int, seconds: float) -> float:
    await step()
    steps, began = 0, monotonic()
    while (now := monotonic()) < began + seconds:
        await step()
        steps += 1
    return steps * messages / (now - began)


async def _twisted(reactor: Any, host: str, port: int, seconds: float) -> None:
    client = ChatClient(TCP4ClientEndpoint(reactor, host, port), "sender", reactor)
    client.startService()

    async def send() -> None:
        await client.send("reader", _TEXT)

    async def gather() -> None:
        await gatherResults([client.send("reader", _TEXT) for _ in range(GROUP)])

    print(json.dumps(await _measure(send, gather, seconds)))
    await client.stopService()


async def _aio(host: str, port: int, seconds: float) -> None:
    async with aio.connect(f"tcp:{host}:{port}", "sender") as chat:

        async def send() -> None:
            await chat.send("reader", _TEXT)

        async def gather() -> None:
            await asyncio.gather(*[chat.send("reader", _TEXT) for _ in range(GROUP)])

        print(json.dumps(await _measure(send, gather, seconds)))


def _sync(host: str, port: int, seconds: float) -> None:
    with (
        sync.connect(f"tcp:{host}:{port}", "sender") as chat,
        ThreadPoolExecutor(THREADS) as threads,
    ):

        async def send() -> None:
            chat.send("reader", _TEXT)

        async def gather() -> None:
            list(threads.map(lambda _: chat.send("reader", _TEXT), range(GROUP)))

        print(json.dumps(asyncio.run(_measure(send, gather, seconds))))


def _uvloop(host: str, port: int, seconds: float) -> None:
    import uvloop

    uvloop.run(_aio(host, port, seconds))


KINDS: dict[str, Callable[[str, int, float], Any]] = {
    "client": lambda *load: react(lambda reactor: _deferred(reactor, *load)),
    "aio": lambda *load: asyncio.run(_aio(*load)),
    "aio, uvloop": _uvloop,
    "sync": _sync,
}
"""The clients by name; ``client`` is that for Twisted, with which the others are compared."""


def _deferred(reactor: Any, host: str, port: int, seconds: float) -> Any:
    from twisted.internet.defer import Deferred

    return Deferred.fromCoroutine(_twisted(reactor, host, port, seconds))


def main(arguments: list[str]) -> None:
    """Run one load; see the module."""
    kind, host, port, seconds = arguments
    KINDS[kind](host, int(port), float(seconds))


if __name__ == "__main__":
    main(sys.argv[1:])
