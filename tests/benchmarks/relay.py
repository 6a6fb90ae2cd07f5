"""A server that hands messages on, and does it wrong if it is told to."""

from __future__ import annotations

import socket
import threading
from types import TracebackType

from benchmarks.floor import Relay
from benchmarks.loop import Address

_FROM = 300
"""Messages that go by before something is done wrong."""


class WrongRelay(Relay):
    """Spoils one message, the first after _FROM of those that it has seen."""

    def __init__(self, listening: socket.socket, fault: str) -> None:
        super().__init__(listening)
        self._fault = fault
        self._seen = 0

    def spoil(self, answers: bytearray, forwarded: bytearray, size: int) -> None:
        count = len(forwarded) // size
        seen, self._seen = self._seen, self._seen + count
        # In the middle of several, so that what comes behind is in its place again.
        if not seen <= _FROM < seen + count or count < 4:
            self._seen = min(self._seen, _FROM)
            return
        one, two = slice(size, 2 * size), slice(2 * size, 3 * size)
        answer, next_answer = slice(13, 26), slice(26, 39)
        if self._fault == "drop":
            del forwarded[one]
        elif self._fault == "drop the last":
            del forwarded[-size:]
        elif self._fault == "double":
            forwarded[two.start : two.start] = forwarded[one]
        elif self._fault == "reorder":
            forwarded[one], forwarded[two] = forwarded[two], forwarded[one]
        elif self._fault == "alter":
            forwarded[2 * size - 20] ^= 1
        elif self._fault == "refuse":
            answers[answer.stop - 1] = 2
        elif self._fault == "answer twice":
            answers[answer.stop : answer.stop] = answers[answer]
        elif self._fault == "answer out of order":
            answers[answer], answers[next_answer] = answers[next_answer], answers[answer]
        elif self._fault == "do not answer":
            del answers[answer]
        else:
            assert not self._fault


class RunningRelay:
    """In a thread, as long as the context lasts."""

    def __init__(self, fault: str = "") -> None:
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._relay = WrongRelay(self._listening, fault)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    @property
    def address(self) -> Address:
        host, port = self._listening.getsockname()
        return host, port

    def _serve(self) -> None:
        while not self._ending.is_set():
            self._relay.turn(0.05)

    def __enter__(self) -> RunningRelay:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ending.set()
        self._thread.join()
        self._relay.close()
        self._listening.close()
