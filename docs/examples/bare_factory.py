"""The ServerFactory alone, over a store that is open."""

import time
from typing import Any

import twisted.internet.reactor

from chat_protocol.domain.limits import Limits
from chat_protocol.server.factory import ChatFactory
from chat_protocol.stores.memory.store import MemoryStore

reactor: Any = twisted.internet.reactor
factory = ChatFactory(MemoryStore(), reactor, time.time_ns, Limits())
reactor.listenTCP(5555, factory, interface="127.0.0.1")
reactor.run()
