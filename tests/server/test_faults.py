"""A fault while one message is handled ends one connection; the others have everything."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from chat_protocol.domain import admission, fan_out
from chat_protocol.domain.delivery import Delivery
from chat_protocol.domain.messages import Batch
from chat_protocol.errors import OutcomeUnknown
from chat_protocol.stores.memory import store as memory
from chat_protocol.stores.memory.store import MemoryStore
from chat_protocol.wire import codec
from tests.server.line import OK, Message, Peer, Response, Server, login, message

NAMES = ("alice", "bob", "carol", "dave")


class Fault(Exception):
    """A fault of the program."""


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def peers(server: Server) -> dict[str, Peer]:
    """Four users who know each other."""
    peers = {name: server.logged_in(name) for name in NAMES}
    for name, peer in peers.items():
        peer.protocol.dataReceived(b"".join(message("hello", name, other) for other in NAMES))
    server.turn()
    for peer in peers.values():
        peer.received()
    return peers


def everybody_writes_to_everybody(server: Server, peers: dict[str, Peer]) -> None:
    """In one turn, so that all messages are in one batch."""
    for name, peer in peers.items():
        data = [message(f"{name} to {other}", name, other, n) for n, other in enumerate(NAMES)]
        peer.protocol.dataReceived(b"".join(data))
    server.turn()


def finish(server: Server, peers: dict[str, Peer], failures: list[Failure], count: int) -> None:
    """The faults are logged with their tracebacks, and nothing is left to do."""
    faults = [one for one in failures if one.check(Fault)]
    assert len(faults) == count
    assert all("in " in one.getTraceback() for one in faults)
    failures.clear()
    assert server.factory.exchange.backlog == 0
    for peer in peers.values():
        if peer.protocol.state.name != "GONE":
            peer.lose()
    server.clock.advance(2)
    server.turn()
    assert server.clock.getDelayedCalls() == []


def waiting(server: Server, name: str) -> list[str]:
    """What a new login of a user finds in the mailbox."""
    answer, *found = server.connect().send(login(name))
    assert answer == Response(1, OK)
    return [one.text for one in found if isinstance(one, Message)]


def assert_only(
    server: Server, peers: dict[str, Peer], ended: str, senders: tuple[str, ...]
) -> None:
    """Only one connection was ended; all others were answered OK and got all messages."""
    gone = {name for name, peer in peers.items() if peer.transport.disconnecting}
    gone |= {name for name, peer in peers.items() if peer.transport.disconnected}
    assert gone == {ended}
    for name in NAMES:
        if name == ended:
            continue
        received = peers[name].received()
        answers = [one for one in received if isinstance(one, Response)]
        assert answers == [Response(n, OK) for n in range(len(NAMES))]
        texts = [one.text for one in received if isinstance(one, Message)]
        assert sorted(texts) == sorted(f"{sender} to {name}" for sender in senders)
        assert peers[name].send(message("still", name, name)) == [
            Message("still", name, name, 5),
            Response(2, OK),
        ]


def test_a_fault_while_a_message_is_admitted(
    server: Server,
    peers: dict[str, Peer],
    monkeypatch: pytest.MonkeyPatch,
    logged_failures: list[Failure],
) -> None:
    admit = admission.admit

    def faulty(one: Any, ledger: Any) -> bool:
        if one.sender.user.name == "bob":
            raise Fault
        return admit(one, ledger)

    monkeypatch.setattr(memory, "admit", faulty)
    everybody_writes_to_everybody(server, peers)
    assert_only(server, peers, "bob", ("alice", "carol", "dave"))
    monkeypatch.undo()
    peers["bob"].lose()
    assert sorted(waiting(server, "bob")) == ["alice to bob", "carol to bob", "dave to bob"]
    finish(server, peers, logged_failures, 4)


def test_a_fault_of_the_store_is_kept_to_the_sender_that_meets_it(
    server: Server,
    peers: dict[str, Peer],
    monkeypatch: pytest.MonkeyPatch,
    logged_failures: list[Failure],
) -> None:
    """As of a store with transactions, which rolls the whole batch back."""
    commit = MemoryStore.commit

    def faulty(self: MemoryStore, batch: Batch) -> Deferred[None]:
        if any(one.sender.user.name == "bob" for one in batch.messages):
            return fail(Fault())
        return commit(self, batch)

    monkeypatch.setattr(MemoryStore, "commit", faulty)
    everybody_writes_to_everybody(server, peers)
    assert_only(server, peers, "bob", ("alice", "carol", "dave"))
    monkeypatch.undo()
    peers["bob"].lose()
    assert sorted(waiting(server, "bob")) == ["alice to bob", "carol to bob", "dave to bob"]
    finish(server, peers, logged_failures, 2)


def test_a_fault_while_a_message_is_delivered(
    server: Server,
    peers: dict[str, Peer],
    monkeypatch: pytest.MonkeyPatch,
    logged_failures: list[Failure],
) -> None:
    deliver = Delivery.deliver
    (bobs,) = server.factory.directory.user("bob").sessions
    assert bobs is not None

    def faulty(self: Delivery, entry: Any, data: bytes) -> bool:
        if self.key == (bobs.user.id, 0):
            raise Fault
        return deliver(self, entry, data)

    monkeypatch.setattr(Delivery, "deliver", faulty)
    everybody_writes_to_everybody(server, peers)
    assert_only(server, peers, "bob", NAMES)
    monkeypatch.undo()
    peers["bob"].lose()
    assert sorted(waiting(server, "bob")) == sorted(f"{name} to bob" for name in NAMES)
    finish(server, peers, logged_failures, 1)


def test_a_fault_while_a_page_is_delivered(
    server: Server,
    peers: dict[str, Peer],
    monkeypatch: pytest.MonkeyPatch,
    logged_failures: list[Failure],
) -> None:
    peers["bob"].lose()
    peers["alice"].send(message("waits", "alice", "bob"))
    page_read = Delivery.page_read

    def faulty(self: Delivery, page: Any) -> None:
        if page.entries:
            raise Fault
        page_read(self, page)

    monkeypatch.setattr(Delivery, "page_read", faulty)
    bob = server.connect()
    assert bob.send(login("bob")) == [Response(1, OK)]
    assert bob.transport.disconnecting or bob.transport.disconnected
    monkeypatch.undo()
    bob.lose()
    assert waiting(server, "bob") == ["waits"]
    assert peers["carol"].send(message("still", "carol", "carol"))[-1] == Response(2, OK)
    finish(server, peers, logged_failures, 1)


def test_a_fault_while_a_message_is_answered(
    server: Server,
    peers: dict[str, Peer],
    monkeypatch: pytest.MonkeyPatch,
    logged_failures: list[Failure],
) -> None:
    encode_answers = codec.encode_answers
    (bobs,) = server.factory.directory.user("bob").sessions

    def faulty(code: Any, ids: Any, version: int = 1, detail: str = "") -> bytes:
        if ids[0] == b"bobs":
            raise Fault
        return encode_answers(code, ids, version, detail)

    assert bobs is not None
    submit = server.factory.exchange.submit

    def submitted(one: Any) -> None:
        if one.sender is bobs:
            one.correlation_ids[0] = b"bobs"
        submit(one)

    monkeypatch.setattr(fan_out, "encode_answers", faulty)
    monkeypatch.setattr(server.factory.exchange, "submit", submitted)
    everybody_writes_to_everybody(server, peers)
    assert_only(server, peers, "bob", NAMES)
    finish(server, peers, logged_failures, len(NAMES))


def test_where_the_store_cannot_tell_the_senders_get_no_answer(server: Server) -> None:
    """A refusal could be wrong: what was refused must never appear later."""
    alice, bob, carol = (server.logged_in(name) for name in ("alice", "bob", "carol"))
    commit = server.store.commit
    server.store.commit = lambda batch: fail(OutcomeUnknown("fsync"))  # type: ignore[method-assign]
    alice.protocol.dataReceived(message("1", "alice", "bob"))
    server.one_turn()
    alice.protocol.dataReceived(message("2", "alice", "bob"))
    server.store.commit = commit  # type: ignore[method-assign]
    server.turn()
    assert alice.received() == []
    assert alice.transport.disconnecting or alice.transport.disconnected
    assert bob.received() == []
    assert carol.send(message("3", "carol", "bob")) == [Response(2, OK)]
    assert bob.received() == [Message("3", "carol", "bob", 5)]
    for peer in (alice, bob, carol):
        peer.lose()
    server.clock.advance(2)
    assert server.clock.getDelayedCalls() == []
