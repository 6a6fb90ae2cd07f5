"""Hashed passwords on a real server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chat_protocol.service.password_hash import hash_password
from chat_protocol.wire.codec import decode, encode
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import Login2
from tests.blackbox.client import Address, connect
from tests.blackbox.conftest import StartServer

_GUESSERS = 10


class Guesser:
    """A connection that logs in with a password."""

    def __init__(self, address: Address, name: str, password: str) -> None:
        self._socket = connect(address)
        self._socket.settimeout(30)
        self._socket.sendall(encode(Login2(name, {"password": password}), 1))

    def code(self) -> int:
        with self._socket, self._socket.makefile("rb") as file:
            answer: Any = decode(file.read(int.from_bytes(file.read(4), "big")))[1]
        return int(answer.code)


@pytest.mark.parametrize("scheme", ["argon2id", "scrypt"])
def test_hashes_and_older_lines_let_in_beside_a_crowd_of_guessers(
    start_server: StartServer, tmp_path: Path, scheme: str
) -> None:
    lines = [b"%s:%s\n" % (name, hash_password(b"right", scheme)) for name in (b"alice", b"bob")]
    (tmp_path / "passwords").write_bytes(b"".join(lines) + b"carol:plain\n")
    server = start_server("--auth", "file:passwords")
    address = server.address
    guessers = [Guesser(address, f"guessed {n}", "right") for n in range(_GUESSERS)]
    assert Guesser(address, "alice", "right").code() == Code.OK
    assert Guesser(address, "alice", "wrong").code() == Code.AUTHENTICATION_FAILED
    server.wait_for_log("gave no right password for 'guessed ")
    assert Guesser(address, "carol", "plain").code() == Code.OK
    assert Guesser(address, "carol", "right").code() == Code.AUTHENTICATION_FAILED
    assert Guesser(address, "bob", "right").code() == Code.OK
    assert {guesser.code() for guesser in guessers} == {Code.AUTHENTICATION_FAILED}
