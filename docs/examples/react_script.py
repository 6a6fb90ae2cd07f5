"""A script with Twisted: send a text to a user, and print who is online.

python react_script.py tcp:localhost:5555 alice bob "hello"
"""

import sys
from typing import Any

from twisted.internet.endpoints import clientFromString
from twisted.internet.task import react

from chat_protocol.client import ChatClient
from chat_protocol.errors import ChatError


async def main(reactor: Any, address: str, name: str, to: str, text: str) -> None:
    client = ChatClient(clientFromString(reactor, address), name, reactor)
    client.startService()
    try:
        await client.when_online(fail_after_failures=1)
        await client.send(to, text)
        async for users in client.user_pages():
            print(*(user.name for user in users if user.online), sep="\n")
    except ChatError as error:
        sys.exit(f"{sys.argv[0]}: {error}")
    finally:
        await client.stopService()


if __name__ == "__main__":
    react(main, sys.argv[1:])
