"""All that a chat that blocks can do, with a server process."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from chat_protocol.client import Event, Online, PresenceChanged, ResumeState, State
from chat_protocol.errors import NotConnected, UserAlreadyLogged, UserNotFound
from chat_protocol.sync import Chat, connect
from chat_protocol.wire.commands import Users
from tests.blackbox.server import Server


def threads() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name == "chat_protocol.sync"]


def test_a_conversation(url: str) -> None:
    with connect(url, "ann") as ann, connect(url, "ben") as ben:
        assert (ann.username, ann.state, ann.version) == ("ann", State.ONLINE, 2)
        ann.send("ben", "hello")
        for message in ben:
            assert (message.sender, message.text) == ("ann", "hello")
            break
        ben.send(["ann", "ben"], "both")
        ben.send_to_all("all")
        assert [message.text for message in ann.messages(idle=0.5)] == ["both", "all"]
        assert ben.receive(timeout=10).text == "both"
        ben.when_online()
    assert ann.state is State.STOPPED
    assert threads() == []


def test_questions(url: str) -> None:
    with connect(url, "cat") as cat:
        for number in range(3):
            cat.send("cat", str(number))
        assert [message.text for message in cat.history("cat", limit=2)] == ["1", "2"]
        users = cat.users("ca", 1, timeout=10)
        assert [(user.name, user.online) for user in users] == [("cat", True)]
        with pytest.raises(UserNotFound):
            cat.history("nobody")
        with pytest.raises(UserNotFound):
            cat.send("nobody", "hello")
        assert len(list(cat.messages(idle=0.2))) == 3


def test_a_timeout_loses_no_message(url: str) -> None:
    with connect(url, "dan") as dan:
        with pytest.raises(TimeoutError, match=r"0\.05 s"):
            dan.receive(timeout=0.05)
        dan.send("dan", "late")
        assert dan.receive(timeout=10).text == "late"


def test_the_last_message_is_acknowledged_at_the_end(url: str) -> None:
    with connect(url, "eve") as eve:
        for text in ("1", "2", "3"):
            eve.send("eve", text)
        assert eve.receive().text == "1"
    chat = connect(url, "eve")
    assert chat.receive().text == "2"
    chat.close()
    chat.close()
    with pytest.raises(LookupError), connect(url, "eve") as eve:  # noqa: PT012
        assert eve.receive().text == "3"
        raise LookupError
    with connect(url, "eve") as eve:
        assert eve.receive(timeout=10).text == "3"


def test_next(url: str) -> None:
    with connect(url, "fay", acknowledge=False) as fay:
        fay.send("fay", "1")
        fay.send("fay", "2")
        with pytest.raises(LookupError), fay.next() as message:
            raise LookupError
        with fay.next() as again:
            assert again == message
        assert fay.receive().text == "2"
    with connect(url, "fay", acknowledge=False) as fay:
        message = fay.receive(timeout=10)
        assert message.text == "2"
        fay.acknowledge(message)
    with connect(url, "fay") as fay, pytest.raises(TimeoutError):
        fay.receive(timeout=0.1)


def test_events_devices_and_state(url: str) -> None:
    events: list[Event] = []
    seen = threading.Event()

    def observe(event: Event) -> None:
        events.append(event)
        if isinstance(event, PresenceChanged):
            seen.set()

    with connect(url, "gus", observer=events.append, presence=True) as gus:
        assert [type(event) for event in events] == [Online]
        gus.add_observer(observe)
        resume = ResumeState(session=gus.resume_state.session)
        with connect(url, "gus", device="script", resume=resume, receive=False) as script:
            script.send("gus", "from a script")
            script.show(gus.resume_state.session)
        assert gus.receive().own
        connect(url, "hal").close()
        assert seen.wait(10)
        gus.remove_observer(observe)
    assert gus.resume_state.offset > 0


def test_an_observer_that_calls_its_chat_is_told(url: str, logged_failures: list[object]) -> None:
    chats: list[Chat] = []
    with connect(url, "ida") as ida:
        chats.append(ida)
        ida.add_observer(lambda event: chats[0].users())
    (failure,) = logged_failures
    assert "must not wait" in str(failure)
    logged_failures.clear()


def test_connecting_fails(url: str) -> None:
    with pytest.raises(NotConnected, match="Connection refused"):
        connect("tcp:127.0.0.1:1", "alice")
    with connect(url, "jim"), pytest.raises(UserAlreadyLogged):
        connect(url, "jim")
    with pytest.raises(ValueError, match="tcp:HOST:PORT"):
        connect("tcp:5555", "alice")
    assert threads() == []


def test_a_chat_that_is_closed_by_another_thread(url: str) -> None:
    chat = connect(url, "kim")
    closing = threading.Timer(0.1, chat.close)
    closing.start()
    assert list(chat) == []
    closing.join()
    with pytest.raises(NotConnected):
        chat.send("kim", "late")
    with pytest.raises(NotConnected):
        chat.receive()


def test_many_threads_send(url: str) -> None:
    with connect(url, "leo") as leo:

        def send(first: int) -> None:
            for number in range(first, first + 50):
                leo.send("leo", str(number))

        senders = [threading.Thread(target=send, args=(50 * one,)) for one in range(4)]
        for sender in senders:
            sender.start()
        got = [int(leo.receive(timeout=20).text) for _ in range(200)]
        for sender in senders:
            sender.join()
        assert sorted(got) == list(range(200))


def test_a_killed_server_is_found_again(tmp_path: Path) -> None:
    with (
        Server(tmp_path) as server,
        connect(f"tcp:127.0.0.1:{server.address[1]}", "alice", max_delay=0.2) as alice,
    ):
        alice.send("alice", "before")
        server.kill9()
        with pytest.raises(TimeoutError):
            alice.users(timeout=0.1)
        starting = threading.Timer(0.1, server.start)
        starting.start()
        alice.send("alice", "after")
        starting.join()
        assert [alice.receive(timeout=10).text for _ in range(2)] == ["before", "after"]


def test_pages_replies_and_several_messages_in_one_call(url: str) -> None:
    with connect(url, "pat") as pat, connect(url, "pia") as pia:
        outcomes = pat.send_many([("pia", "1"), ("no one", "2"), (["pia", "pat"], "3")])
        assert [type(one) for one in outcomes] == [type(None), UserNotFound, type(None)]
        pia.receive(timeout=10).reply("welcome")
        found = [[one.text for one in page] for page in pia.history_pages("pat", limit=2)]
        assert found == [["3", "welcome"], ["1"]]
        next(pia.history_pages("pat"))[-1].reply("to myself")
        assert [pat.receive(timeout=10).text for _ in range(2)] == ["3", "welcome"]
        pages = list(pat.user_pages(after="pas", limit=1))
        assert [one.name for page in pages for one in page][:2] == ["pat", "pia"]


def test_any_command_can_be_sent(url: str) -> None:
    with connect(url, "quo") as quo:
        assert quo.request(Users("", 1), timeout=10).users
        with pytest.raises(TypeError, match="not declared"):
            quo.request("x")


def test_draining_takes_what_is_there_and_logs_out(url: str) -> None:
    with connect(url, "dan") as dan:
        dan.send_many([("dan", str(number)) for number in range(3)])
        assert dan.receive(timeout=10).text == "0"
        assert [message.text for message in dan.drain()] == ["1", "2"]
        assert dan.state is State.STOPPED
    with connect(url, "dan") as dan:
        assert list(dan.messages(idle=0.5)) == []
