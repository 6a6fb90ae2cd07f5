"""The real server in this process, on its own port."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint

from chat_protocol.client import ChatClient
from chat_protocol.domain.limits import Limits
from chat_protocol.service.server import ChatService
from chat_protocol.stores.registry import store_from_url
from tests.blackbox.server import free_port

HOST = "127.0.0.1"


class RealServer:
    """A server that can be stopped and restarted on the same port.

    Args:
        url: of its store.
        options: further arguments of ChatService.
    """

    def __init__(self, url: str = "memory:", **options: Any) -> None:
        self._url = url
        self._options = options
        self._service: ChatService | None = None
        self._clients: list[ChatClient] = []
        self.port = free_port()

    async def start(self) -> None:
        from twisted.internet import reactor

        endpoint = TCP4ServerEndpoint(reactor, self.port, interface=HOST)
        store = store_from_url(self._url, 0, reactor)
        service = ChatService(reactor, store, [("tcp", endpoint)], Limits(), **self._options)
        service.startService()
        await service.when_serving()
        self._service = service

    async def stop(self) -> None:
        assert self._service is not None
        service, self._service = self._service, None
        await service.stopService()

    async def client(self, name: str, **options: Any) -> ChatClient:
        """Return a client that is online."""
        from twisted.internet import reactor

        endpoint = TCP4ClientEndpoint(reactor, HOST, self.port, timeout=5)
        client = ChatClient(endpoint, name, reactor, **options)
        self._clients.append(client)
        client.startService()
        await client.when_online(fail_after_failures=1)
        return client

    async def stop_all(self) -> None:
        for client in self._clients:
            await client.stopService()
        if self._service is not None:
            await self.stop()


@asynccontextmanager
async def serving(url: str = "memory:", **options: Any) -> AsyncIterator[RealServer]:
    """Run a server and stop it, with its clients, at the end."""
    server = RealServer(url, **options)
    await server.start()
    try:
        yield server
    finally:
        await server.stop_all()
