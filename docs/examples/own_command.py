"""A command of one's own: the server adds two numbers.

python own_command.py serve tcp:5555:interface=127.0.0.1
python own_command.py ask tcp:localhost:5555 2 40
"""

import sys
from dataclasses import dataclass
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.task import react

from chat_protocol.client import ChatClient
from chat_protocol.domain.limits import Limits
from chat_protocol.errors import ChatError
from chat_protocol.server.dispatcher import Request, Route
from chat_protocol.server.factory import ChatFactory
from chat_protocol.server.peer import Peer
from chat_protocol.service.server import ChatService
from chat_protocol.stores.registry import store_from_url
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import REGISTRY
from chat_protocol.wire.schema import Needs, Registry, Sender
from chat_protocol.wire.types import String, UInt16, UInt64

COMMANDS = Registry(REGISTRY)


@COMMANDS.declare(key=0xF001, versions=(2,), sender=Sender.SERVER)
@dataclass(frozen=True, slots=True)
class SumAnswer:
    """The sum."""

    code: UInt16
    detail: String = ""
    total: UInt64 = 0


@COMMANDS.declare(
    key=0x7001, versions=(2,), sender=Sender.CLIENT, needs=Needs.LOGIN, answer=SumAnswer
)
@dataclass(frozen=True, slots=True)
class Sum:
    """Add two numbers."""

    one: UInt64
    other: UInt64


def handle_sum(peer: Peer, command: Sum, request: Request) -> SumAnswer:
    return SumAnswer(Code.OK, "", command.one + command.other)


async def serve(reactor: Any, listen: str) -> None:
    service = ChatService(
        reactor,
        store_from_url("memory:", 10_000, reactor),
        [(listen, serverFromString(reactor, listen))],
        Limits(),
        factory=partial(ChatFactory, registry=COMMANDS, routes=[Route(Sum, handle_sum)]),
    )
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    service.startService()
    await service.when_serving()
    print("serving", flush=True)
    await Deferred[None]()


async def ask(reactor: Any, address: str, one: str, other: str) -> None:
    endpoint = clientFromString(reactor, address)
    client = ChatClient(endpoint, "calculator", reactor, registry=COMMANDS)
    client.startService()
    try:
        answer = await client.request(Sum(int(one), int(other)))
        print(answer.total)
    except ChatError as error:
        sys.exit(f"{sys.argv[0]}: {error}")
    finally:
        await client.stopService()


if __name__ == "__main__":
    react(serve if sys.argv[1] == "serve" else ask, sys.argv[2:])
