"""The fan-out: stored messages are written to recipients who are online, and answered."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from chat_protocol.domain.entries import Entry
from chat_protocol.domain.faults import end_session
from chat_protocol.domain.limits import Limits
from chat_protocol.domain.messages import Message
from chat_protocol.domain.metrics import Meter
from chat_protocol.domain.unanswered import Unanswered
from chat_protocol.domain.users import User
from chat_protocol.wire.codec import encode_answers
from chat_protocol.wire.codes import Code

__all__ = ["FanOut"]


class FanOut:
    """Delivers messages whose outcome is known, and answers their senders.

    Args:
        shared: whether the store notifies the nodes of the recipients, this one included.
        limits: ``routes`` is used.
        online: returns the users that are online.
        unanswered: no longer counts a message that is answered.
        meter: counts deliveries.
    """

    def __init__(
        self,
        shared: bool,
        limits: Limits,
        online: Callable[[], Iterable[User]],
        unanswered: Unanswered,
        meter: Meter | None,
    ) -> None:
        self._shared = shared
        self._limits = limits
        self._online = online
        self._unanswered = unanswered
        self._meter = meter

    def deliver(self, messages: list[Message]) -> None:
        """Write messages to recipients who are online. Others get them from the mailbox later."""
        count = 0
        for message in messages:
            if message.offset:
                try:
                    count += self._deliver_message(message)
                except Exception:
                    end_session(message.sender, "A message of {peer} met a fault")
        if count and self._meter is not None:
            self._meter.delivered(count)

    def _deliver_message(self, message: Message) -> int:
        """Return how many deliveries were written: sessions times messages."""
        entry, recipients = message.entry(), message.audience.recipients
        delivers = b""
        count = 0
        for user in recipients or self._everyone_but(message.sender.user):
            if not user.id:
                self._learn(message)
            if self._shared:
                continue
            for session in user.sessions:
                try:
                    if session.version == 1:
                        frames = entry.messages_for(user.name)
                        data = frames[0] if len(frames) == 1 else b"".join(frames)
                    else:
                        data = delivers = delivers or message.delivers()
                    count += session.delivery.deliver(entry, data)
                except Exception:
                    end_session(session, "A delivery to {peer} met a fault")
        if message.copied and not self._shared:
            count += self._deliver_copies(message, entry, delivers)
        return count * message.accepted

    def _deliver_copies(self, message: Message, entry: Entry, delivers: bytes) -> int:
        """Write a message to the other devices of its sender."""
        count = 0
        for session in message.sender.user.sessions:
            if session.device == message.sender.device:
                continue
            try:
                if session.version == 1:
                    session.delivery.pass_over(entry)
                else:
                    delivers = delivers or message.delivers()
                    count += session.delivery.deliver(entry, delivers)
            except Exception:
                end_session(session, "A delivery to {peer} met a fault")
        return count

    def _everyone_but(self, sender: User) -> list[User]:
        return [user for user in self._online() if user is not sender]

    def _learn(self, message: Message) -> None:
        """Keep the ids of the recipients, and keep the audience at hand."""
        audience = message.audience
        for user, user_id in zip(audience.recipients, message.recipient_ids, strict=True):
            user.id = user_id
        message.sender.remember(audience, self._limits)

    def answer(self, messages: list[Message]) -> None:
        """Answer messages, and let senders go on that have few enough unanswered ones."""
        for message in messages:
            self._answer_message(message)
        self._unanswered.resume()

    def _answer_message(self, message: Message) -> None:
        sender, ids, accepted = message.sender, message.correlation_ids, message.accepted
        self._unanswered.remove(message)
        try:
            if accepted == len(ids):
                sender.output.write(encode_answers(Code.OK, ids, message.version))
                return
            if accepted:
                sender.output.write(encode_answers(Code.OK, ids[:accepted], message.version))
            code, detail = message.refusal, message.detail
            if code is Code.ERROR:
                # The store has logged a fault, and it is not known whether it stored the message.
                sender.connection.abort()
                return
            answers = encode_answers(code, ids[accepted:], message.version, detail)
            sender.output.write(answers)
            sender.connection.refused(code, len(ids) - accepted, detail)
        except Exception:
            end_session(sender, "An answer to {peer} met a fault")
