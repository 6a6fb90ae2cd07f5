"""Messages on their way to the store, and the batches that they are stored in."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from chat_protocol.domain.entries import Entry
from chat_protocol.domain.login_rules import LoginRequest
from chat_protocol.domain.users import Audience, Claim, Session
from chat_protocol.errors import Refused
from chat_protocol.wire.codes import Code

__all__ = ["Batch", "Message", "PositionKey", "Registration", "by_user"]

PositionKey: TypeAlias = "tuple[int, int]"
"""The key of a position in a mailbox: the ids of the user and of the device. The unnamed device has
the id 0."""


def by_user(keys: Iterable[PositionKey]) -> dict[int, set[int]]:
    """Return the ids of devices by the ids of their users."""
    found: dict[int, set[int]] = {}
    for user_id, device_id in keys:
        found.setdefault(user_id, set()).add(device_id)
    return found


class Message:
    """One or more consecutive messages from one session to one audience.

    A handler makes it; ``offset``, ``accepted``, ``refusal``, ``detail`` and ``recipient_ids``
    are filled in by admission (domain/admission.py), ``copied`` by the store.

    Args:
        sender: the session that the messages came from.
        audience: the users that they go to.
        correlation_ids: of the requests, four bytes each.
        texts: of the messages, in UTF-8.
        frames: see Entry.
        size: bytes for which the messages count in the backlog, about those that were received.
        version: of the requests, and so of the answers.
        publishing_id: of the first message; the others have the next ones. 0: they have none.
    """

    __slots__ = (
        "_entry",
        "accepted",
        "audience",
        "copied",
        "correlation_ids",
        "detail",
        "frames",
        "offset",
        "publishing_id",
        "recipient_ids",
        "refusal",
        "sender",
        "size",
        "texts",
        "version",
    )

    def __init__(
        self,
        sender: Session,
        audience: Audience,
        correlation_ids: list[bytes],
        texts: list[bytes],
        frames: list[bytes],
        size: int,
        version: int = 1,
        publishing_id: int = 0,
    ) -> None:
        self.sender = sender
        self.audience = audience
        self.correlation_ids = correlation_ids
        self.texts = texts
        self.frames = frames
        self.size = size
        self.version = version
        self.publishing_id = publishing_id
        self.recipient_ids: tuple[int, ...] = ()
        """Ids of the recipients, in the order of the audience."""
        self.offset = 0
        """Of the first accepted message; the others have the next ones. 0: nothing is to be stored,
        because everything was refused, or was stored before under its publishing id."""
        self.accepted = 0
        """How many messages from the front are answered OK. The others are answered ``refusal``."""
        self.refusal = Code.OK
        self.detail = ""
        self.copied = False
        """Whether the store keeps it for the sender's other devices as well."""
        self._entry: Entry | None = None

    def reset(self) -> None:
        """Take back what admission has decided: nothing is stored."""
        self.refuse(Code.OK, "")

    def refuse(self, code: Code, detail: str, accepted: int = 0) -> None:
        """Refuse all messages but the first ``accepted`` ones."""
        self.accepted = accepted
        self.refusal = code
        self.detail = detail
        self.offset = 0

    def accept(self, recipient_ids: tuple[int, ...], accepted: int, offset: int) -> None:
        """Accept the first ``accepted`` messages, to be stored from an offset on."""
        self.recipient_ids = recipient_ids
        self.accepted = accepted
        self.offset = offset
        self._entry = None

    def entry(self) -> Entry:
        """Return the accepted messages as a store keeps them. ``offset`` must not be 0."""
        entry = self._entry
        if entry is None:
            sender, audience, frames = self.sender, self.audience, self.frames
            if self.accepted < len(frames):
                frames = frames[: self.accepted]
            entry = self._entry = Entry(
                self.offset, sender.user.name, sender.device, audience.scope, audience.to, frames
            )
        return entry

    def delivers(self) -> bytes:
        """Return the Deliver frames of the accepted messages; see :meth:`Entry.delivers`."""
        route = self.sender.encoded_name + self.audience.address
        return self.entry().delivers(self.texts, route)


class Registration:
    """A login. The store registers the user if it is new, and keeps the time of the login.

    The store fills in the answer, from ``user_id`` on.

    Args:
        name: of the user.
        when: nanoseconds since the epoch.
        login: what it asks for.
        token: of the session that begins; empty: no login can show it.
        online: for a store that is not shared, the ids of the user's devices that are online.
    """

    __slots__ = (
        "came_online",
        "device_id",
        "ends",
        "has_devices",
        "known",
        "login",
        "name",
        "number",
        "online",
        "refused",
        "token",
        "trusted",
        "user_id",
        "verified",
        "when",
    )

    def __init__(
        self,
        name: str,
        when: int,
        login: LoginRequest = LoginRequest(),  # noqa: B008
        token: str = "",
        online: frozenset[int] = frozenset(),
    ) -> None:
        self.name = name
        self.when = when
        self.login = login
        self.token = token
        self.online = online
        self.user_id = 0
        self.device_id = 0
        """Of the device, or of the name of a session that only asks and sends. The unnamed device
        has the id 0."""
        self.known = False
        """Whether the store knew the device, or the publishing ids of that name."""
        self.has_devices = False
        """Whether the user has several devices, so that the store keeps a position for each."""
        # By a store that nodes share. Others leave these as they are.
        self.number = 0
        """Of the session, unique in the store. 0: the login is refused."""
        self.refused: Refused | None = None
        """Why."""
        self.verified = self.trusted = False
        """See login_rules.Decision."""
        self.ends: tuple[int, ...] = ()
        """The numbers of the sessions at this node that it ends."""
        self.came_online = False
        """Whether the user was offline at all nodes."""


class Batch:
    """Changes that are stored together or not at all."""

    __slots__ = ("messages", "nobody_waits", "positions", "registrations", "released")

    def __init__(
        self,
        registrations: list[Registration],
        messages: list[Message],
        positions: dict[PositionKey, int],
        released: list[Session | Claim] | None = None,
    ) -> None:
        self.registrations = registrations
        self.messages = messages
        self.positions = positions
        """For each device, the offset of the last message that it has received. A position never
        moves back. A message that all devices of the user have received leaves the mailbox."""
        self.nobody_waits: Callable[[], bool] = _unknown
        """Tells whether nobody else waits for the reactor. Then a store may block for a moment."""
        self.released = released or []
        """Sessions that have ended, and logins that were given up. A store that is not shared gets
        those only whose device it knows by name, or whose user has several devices."""


def _unknown() -> bool:
    return False
