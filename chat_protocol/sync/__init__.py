"""Console Chat client library for scripts, notebooks and the interactive interpreter.

>>> from chat_protocol.sync import connect
>>> chat = connect("tcp:localhost:5555", "alice")
>>> chat.send("bob", "hello")
>>> chat.receive(timeout=10).text
'hello yourself'
>>> chat.close()

It is the client of :mod:`chat_protocol.aio` in a thread of its own. The errors are those of
:mod:`chat_protocol.errors`.
"""

from chat_protocol.sync.chat import Chat
from chat_protocol.sync.opening import connect

__all__ = ["Chat", "connect"]
