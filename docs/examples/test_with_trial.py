"""Tests of the echo bot with trial, without sockets: ``PYTHONPATH=. trial test_with_trial``."""

from echo_bot import EchoBot
from twisted.trial.unittest import SynchronousTestCase

from chat_protocol.client import ChatClient
from chat_protocol.testing import MemoryServer


class EchoTests(SynchronousTestCase):
    """Each test has a server, the bot and a user of its own."""

    def setUp(self) -> None:
        self.server = MemoryServer()
        self.bot = EchoBot(self.server.endpoint(), "echo", self.server.clock)
        self.alice = ChatClient(self.server.endpoint(), "alice", self.server.clock)
        for client in (self.bot, self.alice):
            client.startService()
            self.server.run(client.when_online())

    def test_a_text_comes_back(self) -> None:
        self.server.run(self.alice.send("echo", "hello"))
        self.assertEqual(self.server.run(self.alice.receive()).text, "hello")

    def test_a_lost_connection_loses_nothing(self) -> None:
        self.server.cut("echo")
        self.server.run(self.alice.send("echo", "hello"))
        self.assertEqual(self.server.run(self.alice.receive(), within=60).text, "hello")
