"""A client of version 1 in a few lines: it prints what comes, and says what is typed.

python version_1_client.py tcp:localhost:5555 alice bob
"""

import sys
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import clientFromString, connectProtocol
from twisted.internet.protocol import connectionDone
from twisted.internet.stdio import StandardIO
from twisted.internet.task import react
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from chat_protocol.client import ReceivedMessage
from chat_protocol.client.version_1 import Version1Client
from chat_protocol.errors import ChatError


class Printer(Version1Client):
    """Prints what comes."""

    def message_received(self, message: ReceivedMessage) -> None:
        print(f"{message.sender}: {message.text}", flush=True)


class Keyboard(LineOnlyReceiver):
    """Says what is typed."""

    delimiter = b"\n"

    def __init__(self, client: Version1Client, to: str, ended: Deferred[None]) -> None:
        self.client, self.to, self.ended = client, to, ended
        self.said: list[Deferred[None]] = []

    def lineReceived(self, line: bytes) -> None:  # noqa: N802
        said = self.client.say(self.to, line.decode())
        said.addErrback(lambda failure: print(failure.getErrorMessage(), flush=True))
        self.said.append(said)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        gatherResults(self.said).addCallback(lambda _: self.ended.callback(None))


async def main(reactor: Any, address: str, name: str, to: str) -> None:
    client = await connectProtocol(clientFromString(reactor, address), Printer(reactor))
    try:
        await client.join(name)
    except ChatError as error:
        sys.exit(f"{sys.argv[0]}: {error}")
    ended: Deferred[None] = Deferred()
    keyboard: Any = Keyboard(client, to, ended)
    StandardIO(keyboard)
    await ended
    await client.close()


if __name__ == "__main__":
    react(main, sys.argv[1:])
