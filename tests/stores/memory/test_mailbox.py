"""A mailbox of entries against a plain dictionary."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from chat_protocol.domain.entries import Entry
from chat_protocol.stores.memory.mailbox import Mailbox
from chat_protocol.wire.codec import encode
from chat_protocol.wire.commands import Message, Scope
from tests.stores.helpers import Single, singles

CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 5)),
        st.tuples(st.just("skip"), st.integers(1, 3)),
        st.tuples(st.just("take"), st.integers(0, 30)),
    ),
    max_size=25,
)


def entry(offset: int, count: int) -> Entry:
    frames = [encode(Message(str(n), "alice", "bob", n)) for n in range(offset, offset + count)]
    return Entry(offset, "alice", "", Scope.USERS, ("bob",), frames)


@example([("append", 5), ("take", 3), ("take", 1)], 0)
@given(CHANGES, st.integers(0, 40))
def test_it_is_what_waits(changes: list[tuple[str, int]], after: int) -> None:
    mailbox, plain, last, taken = Mailbox(), dict[int, Single](), 0, 0
    for change, number in changes:
        if change == "append":
            added = entry(last + 1, number)
            mailbox.append(added)
            plain.update((one.offset, one) for one in singles([added]))
            last += number
        elif change == "skip":
            # Messages to other users.
            last += number
        else:
            taken = max(taken, min(number, last))
            mailbox.take(taken)
            plain = {offset: one for offset, one in plain.items() if offset > taken}
        assert singles(mailbox.behind(taken)) == [plain[offset] for offset in sorted(plain)]
        assert mailbox.count == len(plain)
    behind = [plain[offset] for offset in sorted(plain) if offset > after]
    assert singles(mailbox.behind(max(after, taken))) == behind
