"""Several tabs, browsers and programs of one person."""

from __future__ import annotations

import os
import signal
import socket
from typing import Any

import pytest

from chat_protocol.wire import codec
from chat_protocol.wire.commands import Login2, Publish
from tests.blackbox import wire
from tests.blackbox.client import Client, connect
from tests.web.people import People, log_in, person, say, shows, stored, texts, use_here, wait_for

pytestmark = pytest.mark.timeout(180)


def test_tabs_of_one_person_do_not_fight(people: People) -> None:
    context = people.context()
    first = people.page(context)
    log_in(first, "alice")
    with Client(people.server.address, "bob") as bob:
        second = people.page(context)
        second.wait_for_selector("#chat:not([hidden])")
        first.wait_for_selector("#banner.replaced")
        person(second, "bob")
        say(second, "from the second")
        assert bob.receive().text == "from the second"
        first.wait_for_timeout(1500)
        assert second.locator("#banner:not([hidden])").count() == 0
        use_here(first)
        second.wait_for_selector("#banner.replaced")
        person(first, "bob")
        shows(first, "from the second")
        say(first, "from the first")
        assert bob.receive().text == "from the first"


def test_what_one_tab_has_to_send_the_other_sends_once(people: People) -> None:
    context = people.context()
    first = people.page(context)
    log_in(first, "alice")
    with Client(people.server.address, "bob"):
        person(first, "bob")
        second = people.page(context)
        first.wait_for_selector("#banner.replaced")
        person(second, "bob")
    people.server.kill9()
    say(second, "one")
    use_here(first)
    second.wait_for_selector("#banner.replaced")
    shows(first, "one")
    say(first, "two")
    use_here(second)
    first.wait_for_selector("#banner.replaced")
    shows(second, "one", "two")
    people.server.start()
    stored(second, 2)
    use_here(first)
    shows(first, "one", "two")
    stored(first, 2)
    with Client(people.server.address, "bob") as bob:
        say(first, "three")
        assert [bob.receive().text for _ in range(3)] == ["one", "two", "three"]


def test_another_program_of_the_same_user_takes_no_id_away(people: People) -> None:
    context = people.context()
    page = people.page(context)
    log_in(page, "alice")
    with Client(people.server.address, "bob"):
        person(page, "bob")
        say(page, "before")
        stored(page, 1)
    # What is on its way gets an id, and no answer.
    os.kill(people.server.pid, signal.SIGSTOP)
    say(page, "on its way")
    page.wait_for_function("""localStorage["console-chat:outbox:alice"].match(/"id":"[1-9]/)""")
    page.close()
    people.server.kill9()
    people.server.start()
    with connect(people.server.address) as other:
        other.sendall(codec.encode(Login2("alice", {}), 1))
        granted = codec.decode(read_frame(other))[1].properties
        following = int(granted["publishing-id"]) + 1
        for number in range(following, following + 100):
            other.sendall(
                codec.encode(Publish(number, "of another", 0, ("bob",), 0), number % 1000)
            )
            assert codec.decode(read_frame(other))[1].code == wire.OK
    page = people.page(context)
    page.wait_for_selector("#chat:not([hidden])")
    wait_for(lambda: "on its way" in texts(page))
    wait_for(lambda: page.locator("#scroller .mine.waiting").count() == 0, "it is stored")
    with Client(people.server.address, "bob") as bob:
        received = []
        while "on its way" not in received:
            received.append(bob.receive().text)
        # The first may come again, for the server was killed.
        assert [text for text in received if text != "before"][:-1] == ["of another"] * 100


def read_frame(sock: socket.socket) -> bytes:
    """The payload of the next frame."""
    with sock.makefile("rb", buffering=0) as file:
        size = int.from_bytes(read_exactly(file, 4), "big")
        return read_exactly(file, size)


def read_exactly(file: Any, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += file.read(size - len(data)) or pytest.fail("the server has closed")
    return data
