"""A server with hooks: a word is not allowed, and a web hook is told of each message.

python own_server.py tcp:5555:interface=127.0.0.1 http://localhost:8080/hook
"""

import json
import sys
import urllib.request
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.task import react
from twisted.internet.threads import deferToThread

from chat_protocol.domain.limits import Limits
from chat_protocol.errors import Malformed
from chat_protocol.server.factory import ChatFactory
from chat_protocol.server.hooks import Hooks, MessageInfo
from chat_protocol.service.server import ChatService
from chat_protocol.stores.registry import store_from_url


class Moderation(Hooks):
    """Refuses a word, and posts what is stored. What the web hook does not take is logged.

    Posts may arrive in another order than that of the offsets, since threads make them. While
    1,000 messages have not reached it, new messages wait: see IHooks.stored().
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def admit(self, message: MessageInfo) -> None:
        if "swordfish" in message.text.casefold():
            raise Malformed("this word is not allowed here")

    def stored(self, message: MessageInfo) -> Deferred[None]:
        return deferToThread(self.post, message)

    def post(self, message: MessageInfo) -> None:
        fields = {"offset": message.offset, "from": message.sender, "text": message.text}
        body = json.dumps({**fields, "to": message.recipients}).encode()
        headers = {"content-type": "application/json"}
        asked = urllib.request.Request(self.url, body, headers)
        urllib.request.urlopen(asked, timeout=10).close()


async def main(reactor: Any, listen: str, url: str) -> None:
    service = ChatService(
        reactor,
        store_from_url("memory:", 10_000, reactor),
        [(listen, serverFromString(reactor, listen))],
        Limits(),
        factory=partial(ChatFactory, hooks=Moderation(url)),
    )
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    service.startService()
    await service.when_serving()
    print("serving", flush=True)
    await Deferred[None]()


if __name__ == "__main__":
    react(main, sys.argv[1:])
