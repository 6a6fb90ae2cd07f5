"""A server with a bot in the same process: the bot is a user, and nothing listens for it.

python bot_in_server.py tcp:5555:interface=127.0.0.1
"""

import sys
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.task import react

from chat_protocol.client import ChatClient, ReceivedMessage
from chat_protocol.domain.limits import Limits
from chat_protocol.service.local_endpoint import LocalEndpoint
from chat_protocol.service.server import ChatService
from chat_protocol.stores.registry import store_from_url


async def answer(message: ReceivedMessage) -> None:
    if not message.own:
        await message.reply(f"There are {len(message.text)} characters in it.")


async def main(reactor: Any, listen: str) -> None:
    store = store_from_url("sqlite:bots.db", 10_000, reactor)
    endpoint = serverFromString(reactor, listen)
    server = ChatService(reactor, store, [(listen, endpoint)], Limits())
    bot = ChatClient(LocalEndpoint(server, reactor), "counter", reactor)
    application = MultiService()
    for service in (bot, server):  # stopped in the reverse order: the bot leaves first
        service.setServiceParent(application)
    reactor.addSystemEventTrigger("before", "shutdown", application.stopService)
    application.startService()
    await server.when_serving()
    await bot.when_online()
    print("serving", flush=True)
    bot.consume(answer).addErrback(lambda failure: None)  # the client has logged it
    await Deferred[None]()


if __name__ == "__main__":
    react(main, sys.argv[1:])
