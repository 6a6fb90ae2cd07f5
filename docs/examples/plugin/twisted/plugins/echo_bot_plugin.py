"""``twistd -n echobot --server tcp:localhost:5555``, with both folders on PYTHONPATH."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.application.service import IServiceMaker
from twisted.plugin import IPlugin
from twisted.python.usage import Options
from zope.interface import implementer

if TYPE_CHECKING:
    from echo_bot import EchoBot


class EchoOptions(Options):
    """The options of the bot."""

    optParameters = [["server", "s", "tcp:localhost:5555", "The address of the server."]]


@implementer(IServiceMaker, IPlugin)
class EchoMaker:
    """Makes the service of the bot."""

    tapname = "echobot"
    description = "A bot that sends every text back."
    options = EchoOptions

    def makeService(self, options: Any) -> EchoBot:
        from echo_bot import make_bot
        from twisted.internet import reactor

        return make_bot(reactor, options["server"])


maker = EchoMaker()
