"""A mailbox of runs against a plain dictionary."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from chat_protocol.domain.stored import Stored, StoredRun
from chat_protocol.stores.memory.mailbox import Mailbox
from chat_protocol.wire.codec import encode
from chat_protocol.wire.commands import Message, Scope

CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("run"), st.integers(1, 5)),
        st.tuples(st.just("one"), st.just(1)),
        st.tuples(st.just("skip"), st.integers(1, 3)),
        st.tuples(st.just("take"), st.integers(0, 30)),
        st.tuples(st.just("give back"), st.integers(1, 30)),
    ),
    max_size=25,
)


def stored(offset: int) -> Stored:
    return Stored(offset, "alice", offset, b"%d" % offset, Scope.USERS, ("bob",))


def run(offset: int, count: int) -> StoredRun:
    frames = [encode(Message(str(n), "alice", "bob", n)) for n in range(offset, offset + count)]
    return StoredRun(offset, "alice", "bob", frames)


def behind(mailbox: Mailbox, offset: int) -> list[Stored]:
    return [message for part in mailbox.behind(offset) for message in part.messages()]


@example([("run", 5), ("take", 3), ("take", 1)], 0)
@given(CHANGES, st.integers(0, 40))
def test_it_is_what_waits(changes: list[tuple[str, int]], after: int) -> None:
    mailbox, plain, last = Mailbox(), dict[int, Stored](), 0
    for change, number in changes:
        if change == "run":
            mailbox.append(run(last + 1, number))
            plain.update((n, stored(n)) for n in range(last + 1, last + 1 + number))
            last += number
        elif change == "one":
            mailbox.append(stored(last + 1))
            plain[last + 1] = stored(last + 1)
            last += 1
        elif change == "skip":
            # Somebody else's.
            last += number
        elif change == "take":
            mailbox.take(min(number, last))
            plain = {offset: one for offset, one in plain.items() if offset > min(number, last)}
        elif number <= last:
            mailbox.give_back(stored(number))
            plain[number] = stored(number)
        assert behind(mailbox, 0) == [plain[offset] for offset in sorted(plain)]
        assert len(mailbox) == len(plain)
    assert behind(mailbox, after) == [plain[offset] for offset in sorted(plain) if offset > after]
