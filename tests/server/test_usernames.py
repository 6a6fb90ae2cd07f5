"""Which names users may have: rules for new ones do not concern registered ones."""

from __future__ import annotations

import pytest

from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import History, Login2
from tests.server import line
from tests.server.line2 import Server2, publish
from tests.stores.helpers import register

OLD_NAMES = ["a\u3164", " a", "a\u202eb", "a\ufe0f", "a\u0378"]


@pytest.fixture
def server() -> Server2:
    return Server2()


@pytest.mark.parametrize("name", OLD_NAMES)
def test_a_new_user_cannot_have_it(server: Server2, name: str) -> None:
    (answer,) = server.connect().say(Login2(name, {}))
    assert answer.code == Code.INVALID_USERNAME
    assert answer.detail.startswith("a username cannot")
    assert server.connect().send(line.login(name)) == [line.Response(1, line.NOT_FOUND)]
    assert server.factory.directory.online == []


@pytest.mark.parametrize("name", OLD_NAMES)
def test_who_is_registered_logs_in_and_is_reached(server: Server2, name: str) -> None:
    register(server.store, name)
    old, alice = server.on(name), server.on("alice")
    (answer,) = alice.say(publish("hi", name))
    assert answer.code == Code.OK
    assert [one.message for one in old.heard()] == ["hi"]
    (answer,) = alice.say(History(name, 0, 0))
    assert [one.message for one in answer.messages] == ["hi"]
    (again,) = server.connect().say(Login2(name, {}))
    assert again.code == Code.USER_ALREADY_LOGGED


@pytest.mark.parametrize("name", OLD_NAMES)
def test_nobody_of_such_a_name_is_not_found(server: Server2, name: str) -> None:
    alice = server.on("alice")
    for command in (publish("hi", name), History(name, 0, 0)):
        (answer,) = alice.say(command)
        assert answer.code == Code.USER_NOT_FOUND


def test_a_connection_that_is_lost_while_its_name_is_looked_up_leaves_nothing(
    server: Server2,
) -> None:
    register(server.store, " a")
    peer = server.connect()
    peer.protocol.dataReceived(line.login(" a"))
    peer.lose()
    server.turn()
    assert server.factory.directory.online == []
    server.on(" a")
