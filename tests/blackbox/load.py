"""Users that send and receive as fast as the server lets them, while it is killed.

All of them live in one thread with one selector. Each message is numbered by its sender and
sent once; a message whose answer never came counts as neither accepted nor lost.
"""

from __future__ import annotations

import selectors
import socket
import struct
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tests.blackbox import wire
from tests.blackbox.client import Address, Client, log_in_when_free

_TURN = 0.05


class Role(NamedTuple):
    """What a user does during the load."""

    name: str
    sends_to: Sequence[str] = ()
    """Recipients, in turn."""
    online: bool = True
    """False: it is written to only; it logs in when the load is over."""


class Result(NamedTuple):
    """What became of the messages; each is named by sender, recipient and number."""

    sent: int
    accepted: int
    refused: Counter[int]
    received: int
    lost: list[tuple[str, str, int]]
    """Answered OK, and never there."""
    doubled: list[tuple[str, str, int]]
    """Arrived twice on one connection."""
    repeated: list[tuple[str, str, int]]
    """Arrived again on a later connection."""
    disordered: list[tuple[str, str, int]]
    unanswered: list[tuple[str, str, int]]
    """Arrived although the answer never came."""
    altered: list[str]

    def __str__(self) -> str:
        return (
            f"{self.sent} sent, {self.accepted} answered OK, refused {dict(self.refused)},"
            f" {self.received} received; {len(self.lost)} lost, {len(self.doubled)} doubled,"
            f" {len(self.repeated)} repeated,"
            f" {len(self.disordered)} out of order, {len(self.unanswered)} arrived unanswered"
        )


_NEW_CONNECTION = -1


class _User:
    """One user on its connection, and on the next, and on the next."""

    def __init__(self, load: Load, role: Role) -> None:
        self._load = load
        self.role = role
        self.number = 0
        self.accepted: dict[str, list[int]] = defaultdict(list)
        self.refused: Counter[int] = Counter()
        self.received: dict[str, list[int]] = defaultdict(list)
        """Numbers of messages by sender; _NEW_CONNECTION where another connection begins."""
        self.altered: list[str] = []
        self._sock: socket.socket | None = None
        self._try_at = 0.0
        self._logged_in = False
        self._in = bytearray()
        self._out = bytearray()
        self.outstanding: dict[int, str] = {}

    @property
    def idle(self) -> bool:
        return not self.outstanding and self._logged_in

    def mark_connection(self) -> None:
        """Note that another connection begins."""
        for numbers in self.received.values():
            numbers.append(_NEW_CONNECTION)

    def connect(self, now: float) -> None:
        """Try to, if it is time."""
        if self._sock is not None or now < self._try_at:
            return
        self._try_at = now + 0.02
        sock = socket.socket()
        try:
            sock.settimeout(5)
            sock.connect(self._load.address)
        except OSError:
            sock.close()
            return
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self.mark_connection()
        self._in.clear()
        self._out = bytearray(wire.login(self.role.name, 0))
        self.outstanding.clear()
        self._logged_in = False
        self._load.selector.register(sock, selectors.EVENT_READ | selectors.EVENT_WRITE, self)

    def close(self) -> None:
        if self._sock is not None:
            self._load.selector.unregister(self._sock)
            self._sock.close()
            self._sock = None
            self._logged_in = False

    def ready(self, events: int) -> None:
        """Read first: what the server said before it died counts."""
        if events & selectors.EVENT_READ and not self._read():
            return
        self._fill()
        if self._out:
            self._write()
        self._watch()

    def _watch(self) -> None:
        if self._sock is not None:
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._out else 0)
            self._load.selector.modify(self._sock, wanted, self)

    def _read(self) -> bool:
        assert self._sock is not None
        try:
            data = self._sock.recv(262144)
        except BlockingIOError:
            return True
        except OSError:
            data = b""
        if not data:
            self.close()
            return False
        self._in += data
        position = 0
        while len(self._in) - position >= 4:
            (size,) = struct.unpack_from(">I", self._in, position)
            if len(self._in) - position - 4 < size:
                break
            self._handle(wire.parse(bytes(self._in[position + 4 : position + 4 + size])))
            position += 4 + size
        del self._in[:position]
        return True

    def _write(self) -> None:
        assert self._sock is not None
        try:
            del self._out[: self._sock.send(self._out)]
        except BlockingIOError:
            pass
        except OSError:
            # Dead: what is still to be read shows its end.
            self._out.clear()

    def _handle(self, frame: wire.Frame) -> None:
        if frame.key == wire.MESSAGE:
            message = frame.message
            number, _, rest = message.text.partition(":")
            if rest != self._load.padding or message.time != int(number):
                self.altered.append(str(message))
            if message.to != self.role.name:
                self.altered.append(str(message))
            self.received[message.sender].append(int(number))
        elif not self._logged_in:
            if frame.code == wire.OK:
                self._logged_in = True
            else:
                self._out += wire.login(self.role.name, 0)
        else:
            to = self.outstanding.pop(frame.correlation_id)
            if frame.code == wire.OK:
                self.accepted[to].append(frame.correlation_id)
                self._load.accepted += 1
            else:
                self.refused[frame.code] += 1

    def _fill(self) -> None:
        role = self.role
        if not (role.sends_to and self._logged_in and self._load.sending):
            return
        while len(self.outstanding) < self._load.window:
            self.number += 1
            number = self.number
            to = role.sends_to[number // 10 % len(role.sends_to)]
            text = f"{number}:{self._load.padding}"
            self._out += wire.message(text, role.name, to, number, number)
            self.outstanding[number] = to

    def poke(self) -> None:
        """Go on after an answer that left nothing to wait for."""
        if self._sock is not None:
            self._fill()
            self._watch()


class Load:
    """Start it, kill the server as often as you like, end it, look at the result.

    Args:
        address: of the server.
        roles: every user that is written to must be among them.
        window: unanswered messages of one sender.
        size: bytes of padding in each text.
    """

    def __init__(
        self, address: Address, roles: Iterable[Role], window: int = 200, size: int = 50
    ) -> None:
        self.address = address
        self.window = window
        self.padding = "p" * size
        self.selector = selectors.DefaultSelector()
        self.sending = True
        self.accepted = 0
        self._running = True
        self._users = [_User(self, role) for role in roles]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._error: BaseException | None = None

    def start(self) -> None:
        for user in self._users:
            with log_in_when_free(self.address, user.role.name) as client:
                client.finish_writing()
                client.read_to_end()
        self._thread.start()

    def _run(self) -> None:
        try:
            while self._running:
                now = time.monotonic()
                for user in self._users:
                    if user.role.online:
                        user.connect(now)
                        user.poke()
                for key, events in self.selector.select(_TURN):
                    if key.data.ready(events) is None:
                        continue
        except BaseException as error:
            self._error = error
        finally:
            for user in self._users:
                user.close()
            self.selector.close()

    def wait_for(self, count: int, seconds: float = 30) -> None:
        """Until so many more messages were answered OK."""
        target = self.accepted + count
        deadline = time.monotonic() + seconds
        while self.accepted < target:
            assert self._error is None, self._error
            assert time.monotonic() < deadline, "the load does not go on"
            time.sleep(0.005)

    def finish(self) -> Result:
        """Send no more, wait for the answers, have everybody log in once more and read all."""
        self.sending = False
        deadline = time.monotonic() + 60
        while not all(user.idle for user in self._users if user.role.online):
            assert self._error is None, self._error
            assert time.monotonic() < deadline, "answers are missing"
            time.sleep(0.01)
        # A connection closed before all is read takes with it what is on its way. If something
        # is lost this never becomes true; the result says it better.
        deadline = time.monotonic() + 10
        while not self._arrived() and time.monotonic() < deadline:
            time.sleep(0.01)
        self._running = False
        self._thread.join()
        assert self._error is None, self._error
        self._drain()
        # Once more: nothing may be left.
        self._drain()
        return self._result()

    def _arrived(self) -> bool:
        """Whether everybody who is on-line has the last message of each sender."""
        for sender in self._users:
            for to, accepted in list(sender.accepted.items()):
                receiver = self._user(to)
                got = receiver.received[sender.role.name]
                if receiver.role.online and max(accepted) > max(got, default=0):
                    return False
        return True

    def _drain(self) -> None:
        """Every sender sends a last message to each of its recipients, who read up to it."""
        senders_of: dict[str, set[str]] = defaultdict(set)
        for user in self._users:
            for to in user.role.sends_to:
                senders_of[to].add(user.role.name)
        for receiver in self._users:
            name = receiver.role.name
            fences = senders_of[name]
            with log_in_when_free(self.address, name) as client:
                receiver.mark_connection()
                for sender in sorted(fences - {name}):
                    with log_in_when_free(self.address, sender) as other:
                        assert other.send("fence", name) == wire.OK
                        other.finish_writing()
                        other.read_to_end()
                        # It may have had a mailbox of its own.
                        self._note(self._user(sender), other)
                if name in fences:
                    assert client.send("fence", name) == wire.OK
                missing = set(fences)
                while missing:
                    text = client.receive()
                    if text.text == "fence":
                        missing.discard(text.sender)
                    else:
                        receiver.received[text.sender].append(int(text.text.partition(":")[0]))
                client.finish_writing()
                client.read_to_end()
                self._note(receiver, client)

    def _user(self, name: str) -> _User:
        (user,) = (one for one in self._users if one.role.name == name)
        return user

    @staticmethod
    def _note(user: _User, client: Client) -> None:
        user.mark_connection()
        for text in client.inbox:
            if text.text != "fence":
                user.received[text.sender].append(int(text.text.partition(":")[0]))

    def _result(self) -> Result:
        lost, doubled, repeated, disordered, unanswered = [], [], [], [], []
        for sender in self._users:
            for to in set(sender.role.sends_to):
                ends = (sender.role.name, to)
                connections = _connections(self._user(to).received[sender.role.name])
                got = [number for numbers in connections for number in numbers]
                count = Counter(got)
                accepted = set(sender.accepted[to])
                lost += [(*ends, n) for n in sorted(accepted - set(count))]
                for numbers in connections:
                    doubled += [(*ends, n) for n, times in Counter(numbers).items() if times > 1]
                repeated += [(*ends, n) for n, times in count.items() if times > 1]
                unanswered += [(*ends, n) for n in sorted(set(count) - accepted)]
                firsts = list(dict.fromkeys(got))
                highest = 0
                for number in firsts:
                    if number < highest:
                        disordered.append((*ends, number))
                    highest = max(highest, number)
        return Result(
            sum(user.number for user in self._users),
            self.accepted,
            sum((user.refused for user in self._users), Counter()),
            sum(
                number != _NEW_CONNECTION
                for user in self._users
                for numbers in user.received.values()
                for number in numbers
            ),
            lost,
            doubled,
            repeated,
            disordered,
            unanswered,
            [text for user in self._users for text in user.altered],
        )


def _connections(received: list[int]) -> list[list[int]]:
    """Return the numbers that came on each connection."""
    found: list[list[int]] = [[]]
    for number in received:
        if number == _NEW_CONNECTION:
            found.append([])
        else:
            found[-1].append(number)
    return found
