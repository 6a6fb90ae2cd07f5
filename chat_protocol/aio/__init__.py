"""Console Chat client library for asyncio.

::

    import asyncio

    from chat_protocol.aio import connect

    async def main():
        async with connect("tcp:localhost:5555", "alice") as chat:
            await chat.send("bob", "hello")
            async for message in chat:
                print(message.sender, message.text)

    asyncio.run(main())

It is the client of :mod:`chat_protocol.client` on the running event loop, whichever that is. No
reactor of Twisted is installed. The errors are those of :mod:`chat_protocol.errors`.
"""

from chat_protocol.aio.chat import Chat
from chat_protocol.aio.clock import loop_clock
from chat_protocol.aio.opening import connect

__all__ = ["Chat", "connect", "loop_clock"]
