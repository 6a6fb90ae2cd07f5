"""Connections to the server in memory that end, and the server itself."""

from __future__ import annotations

import pytest
from twisted.internet.error import ConnectionDone, ConnectionLost

from chat_protocol.testing import MemoryServer
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import (
    Ack,
    Close,
    CorrelationIdTest,
    Login,
    Login2,
    Response,
)
from tests.testing.user import OK, connecting, delivered, log_in


def test_clients_are_told_why_they_are_closed(server: MemoryServer) -> None:
    alice, bob = log_in(server, "alice"), log_in(server, "bob")
    old = server.run(connecting(server))
    old.send(Login("old"))
    server.close_clients(Code.REPLACED, "elsewhere", "bob")
    server.flush()
    assert bob.take() == [Close(Code.REPLACED, "elsewhere")]
    assert bob.lost is not None
    assert alice.lost is None
    server.close_clients(Code.GOING_AWAY)
    server.flush()
    assert alice.take() == [Close(Code.GOING_AWAY, "")]
    assert old.take() == [Response(Code.OK)]
    assert isinstance(old.lost and old.lost.value, ConnectionDone)
    assert server.connections == 0
    assert server.running


def test_a_server_that_stops_refuses_and_starts_again_with_what_it_had(
    server: MemoryServer,
) -> None:
    alice = log_in(server, "alice")
    alice.publish("kept", "alice", id_=1)
    server.flush()
    alice.take()
    with pytest.raises(RuntimeError):
        server.start()
    server.run(server.stop())
    assert alice.take() == [Close(Code.GOING_AWAY, "the server is shutting down")]
    assert isinstance(alice.lost and alice.lost.value, ConnectionDone)
    assert not server.running
    assert server.users == {"alice": False}
    refused = connecting(server)
    with pytest.raises(Exception, match="refused"):
        server.run(refused)
    server.start()
    assert log_in(server, "alice").take() == [delivered(1, "kept", to="alice")]
    server.run(server.stop())
    server.start(empty=True)
    assert server.users == {}
    assert server.received == []
    server.run(server.stop())
    server.run(server.stop())


def test_a_client_that_does_not_let_go_delays_the_stop(server: MemoryServer) -> None:
    log_in(server, "alice")
    server.stall()
    stopped = [server.stop(), server.stop()]
    server.advance(0.5)
    assert not stopped[0].called
    with pytest.raises(RuntimeError):
        server.start()
    for one in stopped:
        server.run(one, within=2)
    server.start()


def test_a_killed_server_says_and_does_nothing_more(server: MemoryServer) -> None:
    bob, alice = log_in(server, "bob"), log_in(server, "alice")
    alice.publish("stored", "bob", id_=1)
    server.flush()
    alice.take()
    bob.take()
    alice.publish("on its way", "bob", id_=2)
    alice.send(CorrelationIdTest())
    server.kill()
    server.advance(10)
    assert alice.lost is not None
    assert bob.lost is not None
    assert alice.take() == bob.take() == []
    assert server.users == {"alice": False, "bob": False}
    assert [message.message for message in server.received] == ["stored"]
    assert server.connections == 0
    with pytest.raises(Exception, match="refused"):
        server.run(connecting(server))
    assert [call for call in server.clock.getDelayedCalls() if call.active()] == []
    server.start()
    assert log_in(server, "bob").take() == [delivered(1, "stored")]


@pytest.mark.parametrize("turns", range(8))
def test_whenever_a_server_is_killed_it_stores_nothing_afterwards(
    server: MemoryServer, turns: int
) -> None:
    alice = log_in(server, "alice")
    then: list[int] = []

    def count_down(left: int) -> None:
        if left:
            server.clock.callLater(0, count_down, left - 1)
        else:
            server.kill()
            then.append(len(server.received))

    alice.publish("hello", "alice")
    count_down(turns)
    server.advance(10)
    assert [len(server.received)] == then
    assert len(alice.take()) <= 2 * then[0]
    assert alice.lost is not None


def test_a_stop_that_hangs_is_over_with_a_kill(server: MemoryServer) -> None:
    log_in(server, "alice")
    server.stall()
    stopped = server.stop()
    server.kill()
    server.run(stopped)
    server.start()
    assert server.running


def test_cut_loses_what_is_on_its_way_and_the_connection_at_both_ends(
    server: MemoryServer,
) -> None:
    alice, bob = log_in(server, "alice"), log_in(server, "bob")
    alice.publish("lost", "bob")
    server.cut()
    server.flush()
    assert isinstance(alice.lost and alice.lost.value, ConnectionLost)
    assert isinstance(bob.lost and bob.lost.value, ConnectionLost)
    assert server.users == {"alice": False, "bob": False}
    assert server.received == []


def test_cut_concerns_those_who_are_named(server: MemoryServer) -> None:
    alice, bob = log_in(server, "alice"), log_in(server, "bob")
    server.cut("bob")
    server.flush()
    assert bob.lost is not None
    assert alice.lost is None
    with pytest.raises(LookupError, match="bob"):
        server.cut("bob")


def test_what_was_not_acknowledged_comes_again_under_its_number(server: MemoryServer) -> None:
    bob, alice = log_in(server, "bob"), log_in(server, "alice")
    alice.publish("one", "bob")
    alice.publish("two", "bob")
    server.flush()
    assert bob.take() == [delivered(1, "one"), delivered(2, "two")]
    bob.send(Ack(1))
    server.flush()
    bob.send(Ack(2))
    server.cut("bob")
    server.flush()
    assert log_in(server, "bob").take() == [delivered(2, "two")]


def test_an_answer_that_is_lost_and_the_message_sent_again(server: MemoryServer) -> None:
    alice = log_in(server, "alice")
    server.stall(to_server=False)
    alice.publish("once", "alice", id_=1)
    server.flush()
    assert alice.take() == []
    assert len(server.received) == 1
    server.cut()
    server.resume()
    again = log_in(server, "alice")
    again.publish("once", "alice", id_=1)
    server.flush()
    assert again.take() == [delivered(1, "once", to="alice"), OK]
    assert len(server.received) == 1


def test_a_session_is_taken_over_from_a_connection_that_hangs(server: MemoryServer) -> None:
    alice = server.run(connecting(server))
    alice.send(Login2("alice"))
    server.flush()
    token = alice.take()[0].properties["session"]
    server.stall("alice")
    alice.transport.loseConnection()
    server.flush()
    assert server.users == {"alice": True}
    other = server.run(connecting(server))
    other.send(Login2("alice"))
    server.flush()
    assert other.take()[0].code == Code.USER_ALREADY_LOGGED
    log_in(server, "alice", session=token)
    server.advance(60)
    assert server.connections == 2
