"""A bot as a service of Twisted: it sends every text back to its sender.

echo_bot.tac and plugin/twisted/plugins/echo_bot_plugin.py run it under twistd.
"""

from typing import Any

from twisted.internet.endpoints import clientFromString

from chat_protocol.client import ChatClient, ReceivedMessage
from chat_protocol.errors import Refused


class EchoBot(ChatClient):
    """Each message is acknowledged behind its answer, so none is answered twice or never."""

    def startService(self) -> None:
        super().startService()
        self.consume(self.echo).addErrback(lambda failure: None)  # the client has logged it

    async def echo(self, message: ReceivedMessage) -> None:
        if not message.own:
            try:
                await message.reply(message.text)
            except Refused as error:
                print(f"{message.sender} gets no answer: {error}")


def make_bot(reactor: Any, address: str) -> EchoBot:
    return EchoBot(clientFromString(reactor, address), "echo", reactor)
