"""Between a server and its store: what is answered, held and put back, and when."""

from __future__ import annotations

import struct
from functools import partial
from typing import Any

from chat_protocol.domain.exchange import POSITION_SECONDS
from chat_protocol.domain.limits import Limits
from chat_protocol.domain.queries import Lookup, Page
from tests.server.line import ERROR, OK, Message, Response, Server, SlowStore, frame, login, message


def mailbox(server: Server, name: str) -> list[str]:
    """The texts that wait for a user, as the store knows it."""
    lookup = Lookup(name)
    server.store.read([lookup])
    page = Page(lookup.user_id, 0, 1000, 1 << 20)
    server.store.read([page])
    return [text.decode() for entry in page.entries for text in entry.texts()]


def test_one_write_a_turn(server: Server) -> None:
    alice, bob = server.logged_in("alice"), server.logged_in("bob")
    alice.writes.clear()
    bob.writes.clear()
    alice.send(*(message(str(n), "alice", "bob", n) for n in range(100)), login("x"))
    assert len(alice.writes) == 1
    assert len(bob.writes) == 1


def test_who_sends_and_receives_in_one_turn_is_written_to_once_in_it() -> None:
    server = Server()
    alice, bob = server.logged_in("alice"), server.logged_in("bob")
    for peer, other in ((alice, "bob"), (bob, "alice")):
        peer.writes.clear()
        peer.protocol.dataReceived(message("hi", "x", other))
    server.one_turn()
    assert (len(alice.writes), len(bob.writes)) == (1, 1)
    for peer, other in ((alice, "bob"), (bob, "alice")):
        me = "alice" if other == "bob" else "bob"
        assert peer.received() == [Message("hi", other, me, 5), Response(2, OK)]
        peer.lose()


def test_one_turn_is_all_that_a_message_takes(server: Server) -> None:
    alice, bob = server.logged_in("alice"), server.logged_in("bob")
    alice.protocol.dataReceived(message("hi", "alice", "bob"))
    server.one_turn()
    assert bob.received() == [Message("hi", "alice", "bob", 5)]
    assert alice.received() == [Response(2, OK)]
    (call,) = server.clock.getDelayedCalls()
    assert call.getTime() == POSITION_SECONDS


def test_delivery_is_written_before_the_ok(server: Server) -> None:
    """A server that dies between the two has told nobody OK."""
    alice, bob = server.logged_in("alice"), server.logged_in("bob")
    order: list[str] = []
    for name, peer in (("alice", alice), ("bob", bob)):
        peer.transport.write = partial(_note, order, name)  # type: ignore[method-assign]
    alice.send(message("hi", "alice", "bob"))
    assert order == ["bob", "alice"]


def _note(order: list[str], name: str, data: bytes) -> None:
    order.append(name)


def test_a_mailbox_has_a_limit() -> None:
    server = Server(limits=Limits(mailbox=3))
    alice, bob = server.logged_in("alice"), server.logged_in("bob")
    bob.lose()
    answers = alice.send(*(message(str(n), "alice", "bob", n) for n in range(5)))
    assert sorted(answers) == [Response(n, OK if n < 3 else ERROR) for n in range(5)]
    bob = server.connect()
    assert len(bob.send(login("bob"))) == 4
    assert alice.send(message("again", "alice", "bob")) == [Response(2, OK)]
    alice.lose()
    bob.lose()


def test_the_limit_holds_for_what_waits_not_for_what_is_taken_at_once() -> None:
    server = Server(limits=Limits(mailbox=3))
    alice, bob = server.logged_in("alice"), server.logged_in("bob")
    sent = [message(str(n), "alice", "bob", n) for n in range(10)]
    for _ in range(2):
        assert alice.send(*sent) == [Response(n, OK) for n in range(10)]
        assert len(bob.received()) == 10
    bob.protocol.output.pauseProducing()  # type: ignore[attr-defined]
    codes = [alice.send(one)[0].code for one in sent]  # type: ignore[union-attr]
    assert codes == [OK] * 3 + [ERROR] * 7
    alice.lose()
    bob.lose()


def test_nothing_is_answered_or_delivered_before_it_is_stored() -> None:
    server = SlowStore()
    alice, bob = server.logged_in("alice"), server.logged_in("bob")
    server.hold = True
    assert alice.send(message("hi", "alice", "bob")) == []
    assert bob.received() == []
    server.stored()
    assert alice.received() == [Response(2, OK)]
    assert bob.received() == [Message("hi", "alice", "bob", 5)]
    alice.lose()
    bob.lose()


def test_what_the_store_refuses_is_refused_and_not_delivered() -> None:
    server = SlowStore()
    alice, bob = server.logged_in("alice"), server.logged_in("bob")
    server.hold = True
    alice.send(message("hi", "alice", "bob"))
    server.refuse()
    assert alice.received() == [Response(2, ERROR)]
    assert bob.received() == []
    server.hold = False
    assert alice.send(message("again", "alice", "bob")) == [Response(2, OK)]
    assert bob.received() == [Message("again", "alice", "bob", 5)]
    for peer in (alice, bob):
        peer.lose()
    server.clock.advance(1)
    server.turn()
    assert server.clock.getDelayedCalls() == []


def test_while_the_store_refuses_known_users_read_and_new_ones_wait() -> None:
    server = SlowStore()
    alice, bob = server.logged_in("alice"), server.logged_in("bob")
    bob.lose()
    alice.send(message("hi", "alice", "bob"))
    server.hold = True
    bob, carol = server.connect(), server.connect()
    bob.protocol.dataReceived(login("bob"))
    carol.protocol.dataReceived(login("carol"))
    server.turn()
    server.refuse()
    assert carol.received() == [Response(1, ERROR)]
    assert bob.received() == [Response(1, OK), Message("hi", "alice", "bob", 5)]
    server.refuse()
    server.hold = False
    server.clock.advance(2)
    server.turn()
    for peer in (alice, bob, carol):
        peer.lose()
    assert server.connect().send(login("bob")) == [Response(1, OK)]


def test_a_receiver_lost_while_its_message_is_stored_gets_it_later() -> None:
    server = SlowStore()
    alice, bob = server.logged_in("alice"), server.logged_in("bob")
    server.hold = True
    alice.send(message("hi", "alice", "bob"))
    bob.lose()
    server.stored()
    assert alice.received() == [Response(2, OK)]
    bob = server.connect()
    assert bob.send(login("bob")) == [Response(1, OK), Message("hi", "alice", "bob", 5)]
    alice.lose()
    bob.lose()


def test_what_a_connection_does_not_take_is_in_the_mailbox() -> None:
    """A server killed after the OK must find it there."""
    server = Server()
    alice, bob = server.logged_in("alice"), server.logged_in("bob")
    bobs: Any = bob.protocol.output
    bobs.pauseProducing()
    sent = [Message(str(n), "alice", "bob", 5) for n in range(4)]
    answers = alice.send(*(message(one.text, "alice", "bob", n) for n, one in enumerate(sent)))
    assert answers == [Response(n, OK) for n in range(4)]
    assert mailbox(server, "bob") == ["0", "1", "2", "3"]
    server.clock.advance(1)
    assert mailbox(server, "bob") == ["0", "1", "2", "3"]
    assert bob.received() == sent
    bobs.resumeProducing()
    server.turn()
    server.clock.advance(POSITION_SECONDS)
    assert mailbox(server, "bob") == []
    bob.lose()
    bob = server.connect()
    assert bob.send(login("bob")) == [Response(1, OK)]
    alice.lose()
    bob.lose()


def test_a_position_is_stored_with_the_next_batch_or_in_a_tenth_of_a_second() -> None:
    server = Server()
    alice, bob = server.logged_in("alice"), server.logged_in("bob")
    alice.send(message("1", "alice", "bob"))
    assert mailbox(server, "bob") == ["1"]
    alice.send(message("2", "alice", "alice"))
    assert mailbox(server, "bob") == []
    alice.send(message("3", "alice", "bob"))
    assert mailbox(server, "bob") == ["3"]
    server.clock.advance(POSITION_SECONDS)
    assert mailbox(server, "bob") == []
    alice.lose()
    bob.lose()


def test_a_position_that_is_not_stored_yet_counts_at_the_next_login() -> None:
    server = SlowStore()
    alice, bob = server.logged_in("alice"), server.logged_in("bob")
    alice.send(message("1", "alice", "bob"))
    server.hold = True
    bob.received()
    bob.lose()
    server.refuse()
    bob = server.connect()
    bob.protocol.dataReceived(login("bob"))
    server.turn()
    server.refuse()
    assert bob.received() == [Response(1, OK)]
    server.hold = False
    alice.lose()
    bob.lose()
    server.clock.advance(2)


def test_a_stop_leaves_no_position_behind() -> None:
    server = Server()
    alice, bob = server.logged_in("alice"), server.logged_in("bob")
    alice.send(message("1", "alice", "bob"))
    bob.received()
    stopped = server.factory.shut_down()
    for peer in (alice, bob):
        peer.lose()
    assert stopped.called
    assert mailbox(server, "bob") == []
    assert server.clock.getDelayedCalls() == []


def test_a_sender_faster_than_the_store_is_not_read() -> None:
    server = SlowStore(Limits(session_backlog=1000))
    alice, bob = server.logged_in("alice"), server.logged_in("bob")
    server.hold = True
    alice.send(*(message("x" * 100, "alice", "bob", n) for n in range(5)))
    assert alice.reading
    alice.send(*(message("x" * 100, "alice", "bob", n) for n in range(5, 10)))
    assert not alice.reading
    assert bob.reading
    server.stored()
    assert alice.reading
    answers = [one for one in alice.received() if isinstance(one, Response)]
    assert [one.correlation_id for one in answers] == list(range(10))
    alice.lose()
    bob.lose()


def test_all_senders_together_are_bounded() -> None:
    server = SlowStore(Limits(store_backlog=1000))
    peers = [server.logged_in(name) for name in ("alice", "bob", "carol")]
    server.hold = True
    for peer in peers:
        peer.send(*(message("x" * 100, "x", "bob", n) for n in range(5)))
    assert [peer.reading for peer in peers] == [True, False, False]
    server.stored()
    assert all(peer.reading for peer in peers)
    for peer in peers:
        peer.lose()


def test_who_leaves_answers_untaken_is_not_read() -> None:
    server = Server(limits=Limits(answer_buffer=1000))
    peer = server.logged_in("alice")
    peer.protocol.output.pauseProducing()  # type: ignore[attr-defined]
    for _ in range(3):
        peer.send(*(frame(0x0004, struct.pack(">I", n)) for n in range(100)))
    assert not peer.reading
    assert server.factory.counters.limits == {"answer_buffer": 1}
    peer.protocol.output.resumeProducing()  # type: ignore[attr-defined]
    server.turn()
    assert peer.reading
    peer.lose()


def test_a_receiver_that_does_not_read_is_held_and_catches_up() -> None:
    server = Server(limits=Limits(send_buffer=1000, page_messages=10))
    alice, bob = server.logged_in("alice"), server.logged_in("bob")
    bob.protocol.output.pauseProducing()  # type: ignore[attr-defined]
    for n in range(100):
        assert alice.send(message(f"{n:03}", "alice", "bob", n)) == [Response(n, OK)]
    early = bob.received()
    assert 0 < len(early) < 40
    assert len(server.factory.directory.online) == 2
    bob.protocol.output.resumeProducing()  # type: ignore[attr-defined]
    server.turn()
    server.turn()
    alice.send(message("last", "alice", "bob"))
    texts = [one.text for one in (*early, *bob.received()) if isinstance(one, Message)]
    assert texts == [f"{n:03}" for n in range(100)] + ["last"]
    alice.lose()
    bob.lose()
    assert server.connect().send(login("bob")) == [Response(1, OK)]


def test_a_run_that_waits_is_read_page_by_page() -> None:
    server = Server(limits=Limits(page_messages=3))
    alice, bob = server.logged_in("alice"), server.logged_in("bob")
    # A recipient is known from the first message on.
    alice.send(message("first", "alice", "bob"))
    bob.lose()
    alice.send(*(message(str(n), "alice", "bob") for n in range(10)))
    bob = server.connect()
    assert bob.send(login("bob"))[1:] == [Message(str(n), "alice", "bob", 5) for n in range(10)]
    alice.lose()
    bob.lose()


def test_a_receiver_lost_while_it_is_written_to_gets_it_later() -> None:
    server = Server()
    alice, bob = server.logged_in("alice"), server.logged_in("bob")
    bob.transport.write = lambda data: bob.lose()  # type: ignore[method-assign]
    assert alice.send(message("hi", "alice", "bob")) == [Response(2, OK)]
    bob = server.connect()
    assert bob.send(login("bob")) == [Response(1, OK), Message("hi", "alice", "bob", 5)]
    alice.lose()
    bob.lose()
