"""A server in a program of one's own."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.task import react

from chat_protocol.domain.limits import Limits
from chat_protocol.service.server import ChatService
from chat_protocol.stores.registry import store_from_url


async def main(reactor: Any) -> None:
    listen = "tcp:5555:interface=127.0.0.1"
    store = store_from_url("sqlite:chat.db", 10_000, reactor)
    service = ChatService(reactor, store, [(listen, serverFromString(reactor, listen))], Limits())
    service.startService()
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    await service.when_serving()
    await Deferred[None]()  # until Ctrl-C


react(main)
