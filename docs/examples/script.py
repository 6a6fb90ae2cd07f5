"""A script that blocks: send a text to a user, and print the answers of the next seconds.

python script.py tcp:localhost:5555 alice bob "are you there?"
"""

import sys

from chat_protocol.errors import ChatError
from chat_protocol.sync import connect

ANSWER_SECONDS = 2.0


def main(address: str, name: str, to: str, text: str) -> None:
    with connect(address, name) as chat:
        chat.send(to, text, timeout=10)
        for message in chat.messages(idle=ANSWER_SECONDS):
            print(f"{message.sender}: {message.text}")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (ChatError, TimeoutError) as error:
        sys.exit(f"{sys.argv[0]}: {error}")
