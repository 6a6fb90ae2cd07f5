"""An in-memory server for the tests of Console Chat clients, without sockets and without delays.

The server is the real one, and the transports are Twisted's. The bytes move in memory, and the test
decides which faults occur and when. Pass ``server.endpoint()`` and ``server.clock`` to any code
that takes an endpoint and a reactor. This example uses a protocol that prints what it receives:

>>> from twisted.internet.endpoints import connectProtocol
>>> from chat_protocol.transport.framing import FrameReceiver
>>> from chat_protocol.testing import MemoryServer
>>> from chat_protocol.wire.codec import decode, encode
>>> from chat_protocol.wire.commands import Login, Message

>>> class Printer(FrameReceiver):
...     def stringReceived(self, payload):
...         print(decode(payload)[1])
...     def connectionLost(self, reason):
...         print(reason.type.__name__)

>>> server = MemoryServer()
>>> alice = server.run(connectProtocol(server.endpoint(), Printer()))
>>> alice.transport.write(encode(Login("alice"), 1))
>>> server.flush()
Response(code=1)
>>> server.users
{'alice': True}

The server stores a message, but the connection is lost before the answer arrives:

>>> server.stall(to_server=False)
>>> alice.transport.write(encode(Message("hello", "alice", "alice", 0), 2))
>>> server.flush()
>>> [message.message for message in server.received]
['hello']
>>> server.cut()
>>> server.flush()
ConnectionLost
>>> server.users
{'alice': False}
"""

from chat_protocol.testing.server import MemoryServer

__all__ = ["MemoryServer"]
