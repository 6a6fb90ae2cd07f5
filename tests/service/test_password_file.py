"""Passwords in a file: read when it changes and when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.cred.credentials import UsernamePassword
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.python.failure import Failure

from chat_protocol.server.authentication import Authenticator
from chat_protocol.service.password_file import PasswordFile


@pytest.fixture
def log() -> Iterator[list[str]]:
    lines: list[str] = []

    def observe(event: LogEvent) -> None:
        lines.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)  # type: ignore[arg-type]
    yield lines
    globalLogPublisher.removeObserver(observe)  # type: ignore[arg-type]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "passwords"
    path.write_text("# users\n\nalice:secret\nalice:second\nbob:pass:more\n")
    return path


def accepts(checker: PasswordFile, name: str, password: str) -> bool:
    results: list[object] = []
    asked = checker.requestAvatarId(UsernamePassword(name.encode(), password.encode()))
    asked.addBoth(results.append)
    return not isinstance(results[0], Failure)


def test_lines_are_read_as_twisted_reads_them(path: Path) -> None:
    checker = PasswordFile(str(path))
    assert accepts(checker, "alice", "secret")
    assert accepts(checker, "bob", "pass")
    for name, password in (
        ("alice", "second"),
        ("alice", ""),
        ("carol", "secret"),
        ("# users", ""),
    ):
        assert not accepts(checker, name, password)


def test_a_changed_file_is_read_at_the_next_login(path: Path) -> None:
    checker = PasswordFile(str(path))
    path.write_text("alice:changed\n")
    assert accepts(checker, "alice", "changed")
    assert not accepts(checker, "bob", "pass")


def test_the_old_passwords_stay_if_the_file_cannot_be_read(path: Path, log: list[str]) -> None:
    checker = PasswordFile(str(path))
    path.unlink()
    for _ in range(3):
        assert accepts(checker, "alice", "secret")
    sentence = (
        f"Cannot read the passwords in {path}: No such file or directory. The old ones stay valid."
    )
    assert log == [sentence]
    # When it is asked for, it is said again.
    Authenticator([checker], Clock()).reload()
    assert log == [sentence] * 2
    path.write_text("alice:new\n")
    assert accepts(checker, "alice", "new")


def test_there_must_be_a_file_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        PasswordFile(str(tmp_path / "nosuch"))
