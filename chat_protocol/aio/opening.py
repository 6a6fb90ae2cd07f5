"""The way into the client for asyncio."""

from __future__ import annotations

import asyncio
import ssl as tls
from typing import Any

from twisted.internet.interfaces import IStreamClientEndpoint

from chat_protocol.aio.address import Address, parse_address
from chat_protocol.aio.chat import Chat
from chat_protocol.aio.clock import LoopClock
from chat_protocol.aio.connecting import Connecting
from chat_protocol.aio.endpoint import LoopEndpoint
from chat_protocol.aio.waiting import result_of
from chat_protocol.client.backoff import MAX_DELAY
from chat_protocol.client.events import Observer
from chat_protocol.client.messages import ResumeState
from chat_protocol.client.requests import DEFAULT_TIMEOUT
from chat_protocol.client.service import (
    DEFAULT_HEARTBEAT,
    DEFAULT_IN_FLIGHT,
    DEFAULT_WINDOW,
    UNREAD_LIMIT,
    ChatClient,
)
from chat_protocol.domain.structural import ClientEndpoint
from chat_protocol.wire.commands import REGISTRY
from chat_protocol.wire.schema import Registry

__all__ = ["connect"]


def connect(
    address: str | IStreamClientEndpoint | ClientEndpoint,
    username: str,
    *,
    ssl: tls.SSLContext | None = None,
    attempts: int | None = 1,
    observer: Observer | None = None,
    password: str | None = None,
    resume: ResumeState = ResumeState(),  # noqa: B008
    device: str = "",
    receive: bool = True,
    take_over: bool = False,
    acknowledge: bool = True,
    presence: bool = False,
    heartbeat: int = DEFAULT_HEARTBEAT,
    window: int = DEFAULT_WINDOW,
    in_flight: int = DEFAULT_IN_FLIGHT,
    max_unread: int = UNREAD_LIMIT,
    timeout: float = DEFAULT_TIMEOUT,
    max_delay: float = MAX_DELAY,
    registry: Registry = REGISTRY,
) -> Connecting:
    """Connect and log in, in ``async with`` or by ``await``, in the running event loop.

    ::

        async with connect("tcp:localhost:5555", "alice") as chat:
            await chat.send("bob", "hello")
            async for message in chat:
                ...

    At the end of the block the user logs out, and the last message that was taken is acknowledged.
    If the block raises, it is not, and the server delivers it again. With ``chat = await
    connect(...)``, call ``await chat.aclose()``.

    Args:
        address: ``tcp:HOST:PORT``, ``tls:HOST:PORT`` or ``unix:PATH``; or an endpoint.
        username: name to log in with.
        ssl: settings of TLS, as from ``ssl.create_default_context()``. ``tls:`` without them
            verifies the server with the authorities of the system.
        attempts: failed attempts after which connecting fails with the reason of the last; None:
            keep trying. Once logged in, the client always reconnects.
        observer: called with each :data:`chat_protocol.client.Event`, the first login included.

    The other arguments are those of :class:`chat_protocol.client.ChatClient`.

    Raises:
        NotConnected: when entered, the server cannot be reached; NotTrusted: its certificate is
            not valid.
        Refused: when entered, the server refused the login; the subclass tells the code.
        ValueError: the address or another argument is not valid.
    """
    parsed: Any = address
    if not IStreamClientEndpoint.providedBy(address):
        parsed = parse_address(parsed)
    if ssl is not None and not (isinstance(parsed, Address) and parsed.host):
        raise ValueError("ssl needs an address with a host and a port")

    async def open_chat() -> Chat:
        loop = asyncio.get_running_loop()
        client = ChatClient(
            _endpoint(parsed, loop, ssl),
            username,
            LoopClock(loop),
            password=password,
            resume=resume,
            device=device,
            receive=receive,
            take_over=take_over,
            acknowledge=acknowledge,
            presence=presence,
            heartbeat=heartbeat,
            window=window,
            in_flight=in_flight,
            max_unread=max_unread,
            timeout=timeout,
            max_delay=max_delay,
            registry=registry,
        )
        if observer is not None:
            client.add_observer(observer)
        client.startService()
        try:
            await result_of(client.when_online(attempts))
        except BaseException:
            await result_of(client.stopService())
            raise
        return Chat(client, acknowledge)

    return Connecting(open_chat)


def _endpoint(
    address: Any, loop: asyncio.AbstractEventLoop, ssl: tls.SSLContext | None
) -> IStreamClientEndpoint:
    if not isinstance(address, Address):
        endpoint: IStreamClientEndpoint = address
        return endpoint
    if address.tls and ssl is None:
        ssl = tls.create_default_context()
    return LoopEndpoint(loop, address, ssl)
