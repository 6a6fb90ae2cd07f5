"""A bot for asyncio beside a web server: what is posted to it becomes a message.

python web_bot.py tcp:localhost:5555 8080
curl -d 'the build is broken' http://localhost:8080/to/alice
"""

import asyncio
import sys
from contextlib import suppress

from aiohttp import web

from chat_protocol.aio import connect
from chat_protocol.errors import ChatError, UserNotFound


async def main(address: str, port: str) -> None:
    async with connect(address, "builds", attempts=None) as chat:

        async def post(request: web.Request) -> web.Response:
            try:
                # The answer says that the message is stored.
                await asyncio.wait_for(
                    chat.send(request.match_info["name"], await request.text()), timeout=10
                )
            except UserNotFound as error:
                return web.Response(status=404, text=f"{error}\n")
            except (ChatError, ValueError, TimeoutError) as error:
                return web.Response(status=503, text=f"{error}\n")
            return web.Response(text="stored\n")

        app = web.Application()
        app.router.add_post("/to/{name}", post)
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", int(port)).start()
            print("ready", flush=True)
            async for message in chat:
                print(f"{message.sender}: {message.text}", flush=True)
        finally:
            await runner.cleanup()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:]))
