"""The client for asyncio, with the methods of ChatClient that the fault program calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

from chat_protocol.aio import Chat, connect
from chat_protocol.client import ReceivedMessage, ResumeState, State

__all__ = ["AioClient"]

T = TypeVar("T")


class AioClient:
    """Logs in with a new chat, which resumes the former one, whenever it is started.

    It needs a reactor over asyncio.

    Args:
        address: of the server.
        name: of the user.
        options: of :func:`chat_protocol.aio.connect`.
    """

    def __init__(self, address: str, name: str, **options: Any) -> None:
        self._address = address
        self._name = name
        self._options = options
        self._resume = ResumeState()
        self._started = asyncio.Event()
        self._online: asyncio.Future[Chat] | None = None
        self._taking: asyncio.Task[None] | None = None

    @property
    def state(self) -> State:
        if self._online is None or not self._online.done():
            return State.CONNECTING
        return self._online.result().state

    def startService(self) -> None:
        connecting = connect(
            self._address, self._name, attempts=None, resume=self._resume, **self._options
        )

        async def open_chat() -> Chat:
            return await connecting

        self._online = asyncio.ensure_future(open_chat())
        self._started.set()

    def send(self, to: str | Sequence[str], text: str) -> Deferred[None]:
        async def send() -> None:
            await (await self._opened()).send(to, text)

        return _deferred(send())

    def send_to_all(self, text: str) -> Deferred[None]:
        async def send() -> None:
            await (await self._opened()).send_to_all(text)

        return _deferred(send())

    def consume(self, callback: Callable[[ReceivedMessage], object]) -> Deferred[None]:
        async def consume() -> None:
            async for message in await self._opened():
                callback(message)

        taking = self._taking = asyncio.ensure_future(consume())
        return Deferred.fromFuture(taking)

    def stopService(self) -> Deferred[None]:
        async def stop() -> None:
            chat = await self._opened()
            await chat.aclose()
            # Until it ends, the loop takes what had arrived.
            if self._taking is not None:
                await asyncio.wait({self._taking})
            self._resume = chat.resume_state

        return _deferred(stop())

    async def _opened(self) -> Chat:
        await self._started.wait()
        assert self._online is not None
        return await asyncio.shield(self._online)


def _deferred(coroutine: Coroutine[Any, Any, T]) -> Deferred[T]:
    return Deferred.fromFuture(asyncio.ensure_future(coroutine))
