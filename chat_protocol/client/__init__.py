"""Console Chat client library for Twisted.

::

    client = ChatClient(clientFromString(reactor, "tcp:localhost:5555"), "alice", reactor)
    client.startService()
    await client.send("bob", "hello")
    async for message in client.messages():
        ...
    await client.stopService()

Every call returns a Deferred. It fails with the errors of :mod:`chat_protocol.errors`.
"""

from chat_protocol.client.events import Ended, Event, Observer, Offline, Online, PresenceChanged
from chat_protocol.client.messages import ReceivedMessage, ResumeState, UserInfo
from chat_protocol.client.requests import DEFAULT_TIMEOUT
from chat_protocol.client.service import UNREAD_LIMIT, ChatClient
from chat_protocol.client.state import State
from chat_protocol.client.timestamps import moment

__all__ = [
    "DEFAULT_TIMEOUT",
    "UNREAD_LIMIT",
    "ChatClient",
    "Ended",
    "Event",
    "Observer",
    "Offline",
    "Online",
    "PresenceChanged",
    "ReceivedMessage",
    "ResumeState",
    "State",
    "UserInfo",
    "moment",
]
