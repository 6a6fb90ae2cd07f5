"""A bot for asyncio: it answers "count" with the number of messages that it has had from a user.

    python asyncio_bot.py tcp:localhost:5555

It runs until Ctrl-C. It survives restarts of the server, and answers each message once.
"""

import asyncio
import sys
from collections import Counter
from contextlib import suppress

from chat_protocol.aio import Chat, connect
from chat_protocol.client import Event, Offline, Online
from chat_protocol.errors import Refused


def report(event: Event) -> None:
    if isinstance(event, Online):
        print("online", flush=True)
    elif isinstance(event, Offline):
        print(f"offline: {event.reason}; next attempt in {event.retry_in:.1f} s", flush=True)


async def answer(chat: Chat) -> None:
    counts: Counter[str] = Counter()
    while True:
        # Acknowledged at the end of the block: if it fails, the message comes again.
        async with chat.next() as message:
            counts[message.sender] += 1
            if message.text == "count":
                with suppress(Refused):
                    await chat.send(message.sender, str(counts[message.sender]))


async def tell_the_time(chat: Chat, every: float) -> None:
    while True:
        await asyncio.sleep(every)
        await chat.send_to_all("another hour has passed")


async def main(address: str) -> None:
    async with connect(address, "counter", attempts=None, observer=report) as chat:
        await asyncio.gather(answer(chat), tell_the_time(chat, 3600))


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main(sys.argv[1]))
