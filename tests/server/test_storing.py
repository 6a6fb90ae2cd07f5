"""Between a server and its store: what is answered, held and put back, and when."""

from __future__ import annotations

import struct
from functools import partial
from typing import Any

from chat_protocol.domain.limits import Limits
from tests.server.line import ERROR, OK, Message, Response, Server, SlowStore, frame, login, message


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
    server.one_turn()
    assert (len(alice.writes), len(bob.writes)) == (2, 2)
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
    assert server.clock.getDelayedCalls() == []


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
    """Stored as delivered, then the connection went: OK only when it is in the mailbox."""
    server = SlowStore()
    alice, bob = server.logged_in("alice"), server.logged_in("bob")
    server.hold = True
    alice.send(message("hi", "alice", "bob"))
    bob.lose()
    pending, server.pending = server.pending, []
    pending[0][0].callback(None)
    server.turn()
    assert alice.received() == []
    server.stored()
    assert alice.received() == [Response(2, OK)]
    bob = server.connect()
    assert bob.send(login("bob")) == [Response(1, OK), Message("hi", "alice", "bob", 5)]
    alice.lose()
    bob.lose()


def test_what_a_connection_does_not_take_is_in_the_mailbox_before_the_ok() -> None:
    """A server killed after the OK must find it there."""
    server = SlowStore()
    alice, bob = server.logged_in("alice"), server.logged_in("bob")
    bobs: Any = bob.protocol.output
    bobs.pauseProducing()
    server.hold = True
    alice.send(*(message(str(n), "alice", "bob", n) for n in range(4)))
    ((deferred, _),) = server.pending
    server.pending.clear()
    deferred.callback(None)
    server.turn()
    assert alice.received() == []
    assert [one.message.text for one in server.pending[0][1].returned] == [b"0", b"1", b"2", b"3"]
    server.stored()
    assert alice.received() == [Response(n, OK) for n in range(4)]
    assert len(bob.received()) == 4
    bobs.resumeProducing()
    server.turn()
    bob.lose()
    bob = server.connect()
    assert bob.send(login("bob")) == [Response(1, OK)]
    alice.lose()
    bob.lose()


def test_what_is_to_go_back_to_a_mailbox_comes_before_what_is_there() -> None:
    server = SlowStore()
    alice, bob = server.logged_in("alice"), server.logged_in("bob")
    bobs: Any = bob.protocol.output
    bobs.pauseProducing()
    server.hold = True
    alice.send(message("first", "alice", "bob", 1))
    server.pending.pop()[0].callback(None)
    server.turn()
    server.refuse()
    bob.received()
    bob.lose()
    server.refuse()
    server.hold = False
    alice.send(message("second", "alice", "bob", 2))
    bob = server.connect()
    bob.protocol.dataReceived(login("bob"))
    for _ in range(4):
        server.turn()
        server.clock.advance(1)
    server.turn()
    answer, *rest = bob.received()
    assert answer == Response(1, OK)
    assert rest == [Message("first", "alice", "bob", 5), Message("second", "alice", "bob", 5)]
    alice.lose()
    bob.lose()


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
