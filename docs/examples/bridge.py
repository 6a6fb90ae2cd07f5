"""A bridge: what its user gets on one server goes to a user of another one, each message once.

    python bridge.py tcp:one:5555 tcp:two:5555 alice bridge.json

It may be killed anywhere. A message is acknowledged on the first server when the second one has
stored it. What is sent again has the same publishing id, so the second server stores it once.
"""

import asyncio
import json
import sys
from contextlib import suppress
from pathlib import Path

from chat_protocol.aio import connect
from chat_protocol.client import ResumeState


def number_before(first: int, path: Path) -> int:
    """Return the offset that publishing ids are counted from: the same in all runs."""
    if not path.exists():
        part = path.with_suffix(".part")
        part.write_text(json.dumps(first - 1))
        part.replace(path)
    return int(json.loads(path.read_text()))


async def main(source: str, target: str, to: str, path: str) -> None:
    async with (
        connect(source, "bridge", attempts=None) as here,
        connect(target, "bridge", attempts=None, resume=ResumeState(publishing_id=1)) as there,
    ):
        while True:
            async with here.next() as message:
                zero = number_before(message.offset, Path(path))
                text = f"{message.sender}: {message.text}"
                await there.send(to, text, publishing_id=message.offset - zero)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:]))
