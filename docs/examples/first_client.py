"""A client with Twisted: send a text, and wait for one."""

from typing import Any

from twisted.internet.endpoints import clientFromString
from twisted.internet.task import react

from chat_protocol.client import ChatClient
from chat_protocol.errors import UserNotFound


async def main(reactor: Any) -> None:
    client = ChatClient(clientFromString(reactor, "tcp:localhost:5555"), "alice", reactor)
    client.startService()  # connects, and reconnects whenever the connection is lost
    try:
        await client.send("bob", "hello")  # returns when the server has stored it
    except UserNotFound:
        print("nobody has logged in as bob yet")
    async with client.next() as message:  # acknowledged at the end of the block
        print(message.sender, message.text)
    await client.stopService()


react(main)
