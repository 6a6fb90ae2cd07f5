"""A client for Console Chat on Twisted.

::

    client = await connect(clientFromString(reactor, "tcp:localhost:5555"), reactor)
    await client.login("alice")
    await client.send("bob", "hello")
    async for message in client.messages():
        ...
    await client.disconnect()

Every call returns a Deferred; the errors are those of :mod:`chat_protocol.errors`.
"""

from chat_protocol.client.api import Client, connect
from chat_protocol.client.connection import UNREAD_LIMIT
from chat_protocol.client.messages import ReceivedMessage
from chat_protocol.client.requests import DEFAULT_TIMEOUT
from chat_protocol.client.timestamps import moment

__all__ = ["DEFAULT_TIMEOUT", "UNREAD_LIMIT", "Client", "ReceivedMessage", "connect", "moment"]
