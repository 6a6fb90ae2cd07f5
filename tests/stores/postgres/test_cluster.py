"""Several nodes over one database: what their users see."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import (
    Close,
    Deliver,
    History,
    Login2,
    Message,
    Presence,
    Response,
    Response2,
    Users,
)
from tests.stores.postgres.nodes import Client, Node, nodes, wait_for
from tests.stores.postgres.server import PostgresServer

pytestmark = pytest.mark.postgresql


@pytest.fixture(scope="module")
def two(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Node]]:
    with nodes(tmp_path_factory.mktemp("two"), postgres.new_database(), 2) as made:
        yield made


def read_with_presence_of(client: Client, name: str) -> Any:
    """Read the next command, without the presence of other users: some are still logging out."""
    while isinstance(command := client.read(), Presence) and command.username != name:
        pass
    return command


def is_over(client: Client) -> bool:
    """Whether the client has no session any more."""
    try:
        client.send(History("", 0, 10))
        answer = client.read()
    except (BrokenPipeError, ConnectionResetError):
        return True
    return answer is None or answer.code in (Code.REPLACED, Code.NOT_LOGGED_IN)


def test_a_message_of_each_version_crosses_and_keeps_its_order(two: list[Node]) -> None:
    alice, bob = Client(two[0]), Client(two[1])
    assert alice.log_in("alice").code == Code.OK
    assert bob.log_in_1("bob") == Code.OK
    for number in range(20):
        assert alice.publish(number + 1, str(number), "bob") == Code.OK
    got = [bob.read() for _ in range(20)]
    assert got == [Message(str(number), "alice", "bob", 7) for number in range(20)]
    bob.send(Message("back", "bob", "alice", 8))
    assert bob.read() == Response(Code.OK)
    delivered = alice.read()
    assert isinstance(delivered, Deliver)
    assert (delivered.message, delivered.from_, delivered.time) == ("back", "bob", 8)
    alice.close()
    bob.close()


def test_everyone_history_and_users_are_those_of_all_nodes(two: list[Node]) -> None:
    carol, dave = Client(two[0]), Client(two[1])
    carol.log_in("carol", presence="1")
    dave.log_in("dave")
    presence = read_with_presence_of(carol, "dave")
    assert isinstance(presence, Presence)
    assert (presence.username, presence.online) == ("dave", 1)
    assert dave.publish(1, "to all") == Code.OK
    assert read_with_presence_of(carol, "dave").message == "to all"
    listed = {user.username: user.online for user in carol.ask(Users("", 0)).users}
    assert listed["carol"] == listed["dave"] == 1
    history = carol.ask(History("dave", 0, 0)).messages
    assert [message.message for message in history] == ["to all"]
    assert dave.ask(Close(1, "")) == Response2(Code.OK)
    presence = read_with_presence_of(carol, "dave")
    assert (presence.username, presence.online) == ("dave", 0)
    listed = {user.username: user.online for user in carol.ask(Users("", 0)).users}
    assert listed["dave"] == 0
    carol.close()


def test_a_user_has_one_session_in_all(two: list[Node]) -> None:
    first, second = Client(two[0]), Client(two[1])
    token = first.log_in("erin").properties["session"]
    assert second.log_in("erin").code == Code.USER_ALREADY_LOGGED
    assert second.log_in("erin", session="wrong").code == Code.USER_ALREADY_LOGGED
    assert second.log_in("erin", session=token).code == Code.OK
    closed = first.read()
    assert isinstance(closed, Close)
    assert closed.code == Code.REPLACED
    assert first.read() is None
    # The name is free before the answer to a logout goes out.
    assert second.ask(Close(1, "")) == Response2(Code.OK)
    third = Client(two[0])
    assert third.log_in("erin").code == Code.OK
    third.close()


def test_devices_of_one_user_at_two_nodes(two: list[Node]) -> None:
    laptop, phone, script, other = (Client(two[n]) for n in (0, 1, 1, 0))
    watcher = Client(two[1])
    assert watcher.log_in("wanda", presence="1").code == Code.OK
    token = laptop.log_in("petra", device="laptop").properties["session"]
    assert read_with_presence_of(watcher, "petra").online
    # The rules of login hold whatever the node.
    for asked in ({"device": "phone"}, {"receive": "0"}, {}):
        assert phone.log_in("petra", **asked).code == Code.USER_ALREADY_LOGGED
    assert phone.log_in_1("petra") == Code.USER_ALREADY_LOGGED
    assert phone.log_in("petra", device="phone", session=token).code == Code.OK
    assert script.log_in("petra", receive="0", device="s", session=token).code == Code.OK
    # Each gets what the user sends elsewhere, and what others send.
    assert phone.publish(1, "from the phone", "wanda") == Code.OK
    assert script.publish(1, "from a script", "wanda") == Code.OK
    expected = ["from the phone", "from a script", "to petra"]
    assert [read_with_presence_of(watcher, "petra").message for _ in range(2)] == expected[:2]
    assert watcher.publish(1, "to petra", "petra") == Code.OK
    assert [laptop.read().message for _ in range(3)] == expected
    assert [phone.read().message for _ in range(2)] == expected[1:]
    # A take-over at another node tells nobody; the last device that leaves tells all.
    assert other.log_in("petra", device="phone", session=token).code == Code.USER_ALREADY_LOGGED
    taken = Client(two[1])
    assert taken.log_in("petra", device="laptop", session=token).code == Code.OK
    closed = laptop.read()
    assert (type(closed), closed.code) == (Close, Code.REPLACED)
    assert phone.ask(Close(1, "")) == Response2(Code.OK)
    assert taken.ask(Close(1, "")) == Response2(Code.OK)
    assert not read_with_presence_of(watcher, "petra").online
    for client in (script, other, watcher):
        client.close()


def test_who_came_without_proof_is_ended_at_any_node(two: list[Node]) -> None:
    intruder, owner = Client(two[0]), Client(two[1])
    token = intruder.log_in("quinn", receive="0").properties["session"]
    assert owner.log_in("quinn", device="laptop").code == Code.OK
    closed = intruder.read()
    assert (type(closed), closed.code) == (Close, Code.REPLACED)
    late = Client(two[0])
    assert late.log_in("quinn", device="x", session=token).code == Code.USER_ALREADY_LOGGED
    for client in (intruder, owner, late):
        client.close()


@pytest.mark.parametrize("other", [0, 1])
def test_who_comes_without_proof_at_the_same_time_is_ended_too(two: list[Node], other: int) -> None:
    for number in range(20):
        name = f"rosa{other}{number}"
        intruder, owner = Client(two[0]), Client(two[other])
        intruder.send(Login2(name, {"receive": "0"}))
        owner.send(Login2(name, {"device": "laptop"}))
        answer = owner.read()
        if answer.code == Code.OK:
            assert intruder.read().code in (Code.OK, Code.USER_ALREADY_LOGGED)
            # The other node hears of it a moment later.
            wait_for(partial(is_over, intruder))
        intruder.close()
        owner.close()


def test_what_is_not_acknowledged_comes_again_at_the_other_node(two: list[Node]) -> None:
    sender, first = Client(two[0]), Client(two[0])
    sender.log_in("frank")
    first.log_in("gina")
    assert sender.publish(1, "once", "gina") == Code.OK
    delivered = first.read()
    first.ask(Close(1, ""))
    second = Client(two[1])
    assert second.log_in("gina").properties["pending"] == "1"
    assert second.read() == delivered
    # Sent again, by way of the other node: known.
    sender.ask(Close(1, ""))
    again = Client(two[1])
    assert again.log_in("frank").properties["publishing-id"] == "1"
    assert again.publish(1, "once", "gina") == Code.OK
    assert again.publish(2, "twice", "gina") == Code.OK
    assert second.read().message == "twice"
    second.close()
    again.close()


def test_of_two_logins_at_once_one_wins(two: list[Node]) -> None:
    for round_ in range(60):
        clients = [Client(node) for node in two]
        codes: list[int] = [0, 0]
        start = threading.Barrier(2)

        def log_in(
            index: int,
            clients: list[Client] = clients,
            codes: list[int] = codes,
            start: threading.Barrier = start,
            name: str = f"racer{round_ % 7}",
        ) -> None:
            start.wait()
            codes[index] = clients[index].log_in(name).code

        threads = [threading.Thread(target=log_in, args=(index,)) for index in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(codes) == [Code.OK, Code.USER_ALREADY_LOGGED]
        for client in clients:
            client.ask(Close(1, ""))
            client.close()


def test_nodes_that_start_at_once_make_one_schema(postgres: PostgresServer, tmp_path: Path) -> None:
    with nodes(tmp_path, postgres.new_database(), 4) as made:
        for index, node in enumerate(made):
            assert Client(node).log_in(f"user{index}").code == Code.OK
