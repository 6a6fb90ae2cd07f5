"""Tests of the echo bot with pytest, without sockets: ``pytest test_with_pytest.py``."""

import pytest
from echo_bot import EchoBot

from chat_protocol.client import ChatClient
from chat_protocol.testing import MemoryServer
from chat_protocol.wire.codes import Code


@pytest.fixture
def server() -> MemoryServer:
    server = MemoryServer()
    EchoBot(server.endpoint(), "echo", server.clock).startService()
    server.flush()
    return server


@pytest.fixture
def alice(server: MemoryServer) -> ChatClient:
    alice = ChatClient(server.endpoint(), "alice", server.clock)
    alice.startService()
    server.run(alice.when_online())
    return alice


def test_a_text_comes_back(server: MemoryServer, alice: ChatClient) -> None:
    server.run(alice.send("echo", "hello"))
    assert server.run(alice.receive()).text == "hello"


def test_the_bot_goes_on_after_a_refusal(
    server: MemoryServer, alice: ChatClient, capsys: pytest.CaptureFixture[str]
) -> None:
    server.stall("echo", to_server=False)
    server.run(alice.send("echo", "hello"))
    server.refuse_next(Code.MAILBOX_FULL, "alice has 10,000 messages")
    server.resume()
    server.flush()
    assert capsys.readouterr().out == "alice gets no answer: alice has 10,000 messages\n"
    server.run(alice.send("echo", "again"))
    assert server.run(alice.receive()).text == "again"
