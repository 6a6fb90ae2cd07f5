"""A sample of the cases of tests/fuzz/web.py."""

from __future__ import annotations

from pathlib import Path

from twisted.python.failure import Failure

from chat_protocol.server.sniffer import Sniffer
from chat_protocol.web.site import Web
from tests.fuzz.web import play
from tests.server.line import Server


def test_some_cases(tmp_path: Path, logged_failures: list[Failure]) -> None:
    (tmp_path / "index.html").write_bytes(b"hello")
    server = Server()
    server.factory.sniffer = Sniffer(web=Web(server.clock, tmp_path))
    for seed in range(600):
        play(server, seed)
        assert not logged_failures
