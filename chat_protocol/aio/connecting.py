"""Connecting, for ``async with`` and ``await``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from types import TracebackType
from typing import Any

from chat_protocol.aio.chat import Chat

__all__ = ["Connecting"]


class Connecting:
    """What :func:`chat_protocol.aio.connect` returns: enter it or await it, once.

    Args:
        open_chat: connects and logs in.
    """

    def __init__(self, open_chat: Callable[[], Awaitable[Chat]]) -> None:
        self._open = open_chat
        self._chat: Chat | None = None

    def __await__(self) -> Generator[Any, None, Chat]:
        return self._open().__await__()

    async def __aenter__(self) -> Chat:
        self._chat = await self._open()
        return self._chat

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._chat is not None
        if kind is None:
            await self._chat.aclose()
        else:
            await self._chat.abandon()
