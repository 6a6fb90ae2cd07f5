"""Starting and stopping in any state, and the events that observers get."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.application.service import MultiService
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IProtocol, IProtocolFactory
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.python.failure import Failure

import chat_protocol.client
from chat_protocol.client import ChatClient, Ended, Event, Offline, Online, PresenceChanged, State
from chat_protocol.client.connection import CLOSE_TIMEOUT
from chat_protocol.errors import NotConnected, Replaced
from chat_protocol.testing import MemoryServer
from tests.client import frames
from tests.client.line import Endpoint, Line, result, silence


def test_every_public_name_exists() -> None:
    for name in chat_protocol.client.__all__:
        assert getattr(chat_protocol.client, name) is not None


# Events.


def test_events_for_observers() -> None:
    line = Line(granted={"pending": "7"})
    line.push(frames.presence("bob", 1, 17), frames.presence("bob", 0, 18))
    line.reconnect(1)
    line.stop()
    online, came, went, offline, again, ended = line.events
    assert online == Online(2, 7)
    assert came == PresenceChanged("bob", True, 17)
    assert went == PresenceChanged("bob", False, 18)
    assert isinstance(offline, Offline)
    assert offline.retry_in == 0.5
    assert again == Online(1, 0)
    assert ended == Ended(None)
    assert line.client.stopped_by_application


def test_an_exception_in_an_observer_is_logged_and_contained(
    logged_failures: list[Failure],
) -> None:
    line = Line(None)
    seen: list[Event] = []

    def bad(event: Event) -> None:
        raise ZeroDivisionError

    line.client.add_observer(bad)
    line.client.add_observer(seen.append)
    waiting = line.client.when_online()
    line.connect()
    line.log_in()
    line.push(frames.presence("bob", 1))
    line.lose()
    line.stop()
    assert result(waiting) is None
    assert [type(event) for event in seen] == [Online, PresenceChanged, Offline, Ended]
    assert [failure.type for failure in logged_failures] == [ZeroDivisionError] * 4
    logged_failures.clear()


def test_a_removed_observer_gets_no_more_events() -> None:
    line = Line(None)
    seen: list[Event] = []

    def once(event: Event) -> None:
        seen.append(event)
        line.client.remove_observer(once)

    line.client.add_observer(once)
    line.client.add_observer(seen.append)
    line.connect()
    line.log_in()
    line.push(frames.presence("bob", 1))
    assert [type(event) for event in seen] == [Online, Online, PresenceChanged]


def test_online_is_reported_before_messages() -> None:
    line = Line(None)
    order: list[object] = []
    line.client.add_observer(lambda event: order.append(type(event)))
    silence(line.client.receive().addCallback(lambda message: order.append(message.text)))
    line.connect()
    (frame,) = line.sent()
    line.push(frames.login_answer(frame.correlation_id), frames.deliver(1, "a"))
    assert order == [Online, "a"]


# Stopping.


def stop_and_check(line: Line) -> None:
    stopping = line.client.stopService()
    assert result(stopping) is None
    assert line.client.state is State.STOPPED
    assert line.events[-1] == Ended(None)
    assert not line.client.running
    assert line.idle


def test_stop_while_connecting() -> None:
    line = Line(None)
    stop_and_check(line)
    assert line.endpoint.cancelled == 1
    assert [type(event) for event in line.events] == [Ended]


def test_stop_during_the_delay_before_an_attempt() -> None:
    line = Line(None)
    line.endpoint.refuse()
    line.turn()
    stop_and_check(line)


def test_stop_during_the_login() -> None:
    line = Line(None)
    waiting = line.client.when_online()
    line.connect()
    stopping = line.client.stopService()
    assert line.transport.disconnecting
    (frame,) = line.sent()
    line.push(frames.login_answer(frame.correlation_id))
    assert line.client.state is State.CLOSING
    line.lose()
    assert result(stopping) is None
    with pytest.raises(NotConnected):
        result(waiting)
    assert line.events == [Ended(None)]
    assert line.idle


def test_stop_while_the_server_closes_the_connection() -> None:
    line = Line()
    line.push(frames.close(frames.GOING_AWAY))
    stopping = line.client.stopService()
    assert line.sent() == []
    line.lose()
    assert result(stopping) is None
    assert line.events[1:] == [Ended(None)]
    assert line.idle


def test_stop_while_a_connection_is_being_aborted() -> None:
    line = Line()
    line.push(b"HTTP/1.1")
    stopping = line.client.stopService()
    assert not stopping.called
    line.lose(ConnectionLost())
    assert result(stopping) is None
    assert line.idle


def test_stop_while_a_refused_client_is_stopping() -> None:
    line = Line(None)
    line.connect()
    line.refuse_login(frames.WRONG_PASSWORD)
    stopping = line.client.stopService()
    line.lose()
    assert result(stopping) is None
    (ended,) = line.events
    assert isinstance(ended, Ended)
    assert ended.reason is not None, "the first reason is kept"
    assert line.idle


def test_stopping_twice_fires_both_deferreds() -> None:
    line = Line()
    first, second = line.client.stopService(), line.client.stopService()
    states: list[State] = []
    for one in (first, second):
        one.addCallback(lambda _: states.append(line.client.state))
    assert [frame.key for frame in line.sent()] == [frames.CLOSE]
    assert not line.transport.disconnecting, "the client waits for the server's answer"
    line.lose()
    assert states == [State.STOPPED, State.STOPPED]
    assert line.events[1:] == [Ended(None)]
    assert result(line.client.stopService()) is None
    assert line.idle


def test_stop_before_start() -> None:
    line = Line(None)
    line.stop()
    client = ChatClient(line.endpoint, "alice", line.clock)
    assert result(client.stopService()) is None
    client.startService()
    assert client.state is State.CONNECTING
    assert result(client.stopService()) is None


def test_canceling_the_stop_only_stops_the_waiting() -> None:
    line = Line()
    sent = line.client.send("bob", "text")
    stopping = line.client.stopService()
    stopping.cancel()
    with pytest.raises(CancelledError):
        result(stopping)
    line.clock.advance(CLOSE_TIMEOUT)
    assert line.transport.disconnected
    line.lose(ConnectionLost())
    assert line.client.state is State.STOPPED
    with pytest.raises(NotConnected):
        result(sent)
    assert line.idle


# Starting.


def test_starting_twice_connects_once() -> None:
    line = Line(None)
    line.client.startService()
    assert len(line.endpoint.attempts) == 1
    line.connect()
    line.client.startService()
    line.log_in()
    line.client.startService()
    assert line.idle


def test_start_again_after_a_stop() -> None:
    line = Line(granted={"session": "first"})
    line.stop()
    line.client.startService()
    assert line.client.state is State.CONNECTING
    receiving, sent = line.client.receive(), line.client.send("bob", "text")
    line.connect()
    line.log_in()
    line.push(frames.deliver(1, "hi"))
    assert result(receiving).text == "hi"
    line.answer_all()
    assert result(sent) is None
    line.stop()
    assert [type(event) for event in line.events] == [Online, Ended, Online, Ended]


def test_start_during_a_stop_does_nothing() -> None:
    line = Line()
    stopping = line.client.stopService()
    line.client.startService()
    line.lose()
    assert result(stopping) is None
    assert line.client.state is State.STOPPED
    assert line.idle


@pytest.mark.parametrize("who", ["stop", "observer", "receive", "send", "when_online"])
def test_callbacks_of_the_end_may_restart_the_client(who: str) -> None:
    line = Line()
    line.lose()

    def start(result: object) -> None:
        line.client.startService()

    if who == "observer":
        line.client.add_observer(
            lambda event: line.client.startService() if isinstance(event, Ended) else None
        )
    elif who != "stop":
        told: dict[str, Callable[[], Deferred[Any]]] = {
            "receive": line.client.receive,
            "send": lambda: line.client.send("bob", "text"),
            "when_online": line.client.when_online,
        }
        told[who]().addErrback(start)
    stopping = line.client.stopService()
    if who == "stop":
        stopping.addCallback(start)
    assert result(stopping) is None
    assert line.client.state is State.CONNECTING
    online, receiving = line.client.when_online(), line.client.receive()
    line.connect()
    line.log_in()
    assert result(online) is None
    line.push(frames.deliver(1, "hi"))
    assert result(receiving).text == "hi"


@pytest.mark.parametrize("event", [Online, Offline, PresenceChanged])
def test_an_observer_may_stop_the_client(event: type[Event]) -> None:
    line = Line(None)
    stopping: list[Deferred[None]] = []
    line.client.add_observer(
        lambda told: stopping.append(line.client.stopService()) if type(told) is event else None
    )
    line.connect()
    line.log_in()
    line.push(frames.presence("bob", 1))
    line.lose()
    assert result(stopping[0]) is None
    assert line.events[-1] == Ended(None)
    assert line.idle


def test_the_errback_of_a_message_may_stop_the_client() -> None:
    """In version 1 the errback runs while the connection is ending."""
    line = Line(1)
    stopping: list[Deferred[None]] = []
    sent = line.client.send("bob", "text")
    sent.addErrback(lambda _: stopping.append(line.client.stopService()))
    line.lose(ConnectionLost())
    assert result(stopping[0]) is None
    assert line.client.state is State.STOPPED
    assert [type(event) for event in line.events] == [Online, Ended]
    assert line.idle


def test_the_client_works_as_a_child_service() -> None:
    line = Line(None)
    line.stop()
    parent = MultiService()
    line.client.setServiceParent(parent)
    parent.startService()
    line.connect()
    line.log_in()
    stopping = parent.stopService()
    assert not stopping.called
    line.lose()
    result(stopping)
    assert line.client.state is State.STOPPED


def test_a_client_that_gave_up_is_not_running() -> None:
    line = Line()
    line.push(frames.close(frames.REPLACED))
    line.lose()
    assert not line.client.running
    assert not line.client.stopped_by_application
    with pytest.raises(Replaced):
        result(line.client.receive())
    assert result(line.client.stopService()) is None


@pytest.mark.parametrize("version", [None, 1, 2])
def test_an_observer_of_the_end_may_restart_and_stop_the_client(version: int | None) -> None:
    line = Line(version)
    again: list[Deferred[None]] = []

    def restart(event: Event) -> None:
        if isinstance(event, Ended) and line.events.count(event) == 1:
            line.client.startService()
            again.append(line.client.stopService())
            again.append(line.client.stopService())

    line.client.add_observer(restart)
    line.stop()
    assert [result(one) for one in again] == [None, None]
    assert line.client.state is State.STOPPED
    assert line.events[-2:] == [Ended(None), Ended(None)]


def test_stop_while_an_attempt_is_slow_to_cancel() -> None:
    """ClientService reports this end during a state change."""
    cleaned: Deferred[None] = Deferred()

    class Slow(Endpoint):
        def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
            async def connecting() -> IProtocol:
                try:
                    return await Endpoint.connect(self, factory)
                finally:
                    await cleaned

            return Deferred.fromCoroutine(connecting())

    line = Line(None)
    line.stop()
    client = ChatClient(Slow(), "alice", line.clock)
    again: list[Deferred[None]] = []
    ended: list[Event] = []

    def restart(event: Event) -> None:
        ended.append(event)
        if len(ended) == 1:
            client.startService()
            again.append(client.stopService())

    client.add_observer(restart)
    client.startService()
    stopping = client.stopService()
    assert not stopping.called
    cleaned.callback(None)
    line.turn()
    assert result(stopping) is None
    assert result(again[0]) is None
    assert ended == [Ended(None), Ended(None)]
    assert line.idle


def test_the_name_is_the_normal_one_once_the_user_is_online() -> None:
    server = MemoryServer()
    client = ChatClient(server.endpoint(), "e\u0301va", server.clock)
    client.startService()
    server.run(client.when_online())
    assert client.username == "\u00e9va"
    assert list(server.users) == ["\u00e9va"]
    server.run(client.stopService(), within=9)
    server.run(server.stop(), within=9)


def test_what_becomes_of_the_client_is_logged() -> None:
    with capturedLogs() as log:
        line = Line(granted={"pending": "3"})
        line.lose(ConnectionLost())
        line.connect()
        line.log_in()
        line.stop()
        gone = Line(None)
        gone.connect()
        gone.refuse_login(frames.WRONG_PASSWORD)
        gone.lose()
    told = [formatEvent(one) for one in log if one["log_level"] is LogLevel.info]
    assert [text for text in told if "alice" in text] == [
        "'alice' is online in version 2; 3 messages wait",
        "'alice' is offline: the connection was lost: Connection to the other side was lost in a"
        " non-clean fashion.; trying again in 0.5 s",
        "'alice' is online in version 2; 0 messages wait",
        "the client of 'alice' has stopped",
        "the client of 'alice' gave up: The password is wrong or missing.",
    ]
