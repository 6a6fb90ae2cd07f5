"""Console Chat for Twisted: a durable server, a client library and a terminal client.

The packages build on each other in one direction only:

    wire <- domain <- stores, transport <- server <- web <- client, service <- aio, cli, testing
      <- sync

``wire`` knows bytes and does not import Twisted. ``domain`` has users, sessions and delivery.
``stores`` keep messages. ``transport`` has framing and output. ``server`` speaks to one connection,
``web`` to browsers. ``service`` runs a server under twistd. ``client`` and ``cli`` are the other
end. ``aio`` and ``sync`` are the client for asyncio and for code that blocks. ``testing`` is a
server in memory for the tests of other programs.
"""

from chat_protocol.version import __version__

__all__ = ["__version__"]
