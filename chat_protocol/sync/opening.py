"""The way into the client for code that blocks."""

from __future__ import annotations

import ssl as tls

from chat_protocol import aio
from chat_protocol.client.backoff import MAX_DELAY
from chat_protocol.client.events import Observer
from chat_protocol.client.messages import ResumeState
from chat_protocol.client.requests import DEFAULT_TIMEOUT
from chat_protocol.client.service import (
    DEFAULT_HEARTBEAT,
    DEFAULT_IN_FLIGHT,
    DEFAULT_WINDOW,
    UNREAD_LIMIT,
)
from chat_protocol.sync.chat import Chat
from chat_protocol.sync.loop_thread import LoopThread
from chat_protocol.wire.commands import REGISTRY
from chat_protocol.wire.schema import Registry

__all__ = ["connect"]


def connect(
    address: str,
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
) -> Chat:
    """Connect and log in; return when that is done.

    ::

        with connect("tcp:localhost:5555", "alice") as chat:
            chat.send("bob", "hello")
            for message in chat:
                ...

    At the end of the block the user logs out, and the last message that was taken is acknowledged.
    If the block raises, it is not, and the server delivers it again. Without ``with``, call
    ``chat.close()``. A process that ends without it closes the connection as well.

    The arguments and errors are those of :func:`chat_protocol.aio.connect`. The observer is called
    in the chat's own thread. It must not block, and must not call the chat.
    """
    connecting = aio.connect(
        address,
        username,
        ssl=ssl,
        attempts=attempts,
        observer=observer,
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

    async def open_chat() -> aio.Chat:
        return await connecting

    thread = LoopThread()
    try:
        return Chat(thread, thread.run(open_chat))
    except BaseException:
        thread.close()
        raise
