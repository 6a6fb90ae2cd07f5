"""Passwords in a file: read when it changes and when it is asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
from twisted.cred.credentials import UsernamePassword
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.python.failure import Failure

from chat_protocol.server.authentication import Authenticator
from chat_protocol.service import argon2_hash, password_file, password_hash
from chat_protocol.service.password_checks import PasswordChecks
from chat_protocol.service.password_file import PasswordFile, PasswordFileUnusable


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


def at_once(check: Callable[[], bool]) -> Deferred[bool]:
    return succeed(check())


def accepts(checker: PasswordFile, name: str, password: str) -> bool:
    results: list[object] = []
    asked = checker.requestAvatarId(UsernamePassword(name.encode(), password.encode()))
    asked.addBoth(results.append)
    return not isinstance(results[0], Failure)


def test_lines_are_read_as_twisted_reads_them(path: Path) -> None:
    checker = PasswordFile(str(path), PasswordChecks(at_once))
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
    checker = PasswordFile(str(path), PasswordChecks(at_once))
    path.write_text("alice:changed\n")
    assert accepts(checker, "alice", "changed")
    assert not accepts(checker, "bob", "pass")


def test_the_old_passwords_stay_if_the_file_cannot_be_read(path: Path, log: list[str]) -> None:
    checker = PasswordFile(str(path), PasswordChecks(at_once))
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
    with pytest.raises(PasswordFileUnusable, match="No such file"):
        PasswordFile(str(tmp_path / "nosuch"), PasswordChecks(at_once))


# Hashes.


class Counting:
    """Runs checks at once, and counts them."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, check: Callable[[], bool]) -> Deferred[bool]:
        self.count += 1
        return succeed(check())


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make hashes that cost next to nothing."""
    monkeypatch.setattr(password_hash, "_SCRYPT_LOG_N", 4)
    monkeypatch.setattr(argon2_hash, "_KIB", 8)


@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize("scheme", ["scrypt", "argon2id"])
def test_hashed_and_plain_passwords_stand_side_by_side(tmp_path: Path, scheme: str) -> None:
    path = tmp_path / "passwords"
    hashed = password_hash.hash_password("p:ä".encode(), scheme)
    path.write_bytes(b"bob:plain\nalice:" + hashed + b"\n")
    checker = PasswordFile(str(path), PasswordChecks(at_once))
    assert accepts(checker, "alice", "p:ä")
    assert accepts(checker, "bob", "plain")
    for name, password in (
        ("alice", "p"),
        ("alice", ""),
        ("alice", hashed.decode()),
        ("bob", "p:ä"),
        ("carol", "p:ä"),
    ):
        assert not accepts(checker, name, password)


@pytest.mark.usefixtures("cheap")
def test_a_name_without_a_password_costs_as_much_as_one_with(tmp_path: Path) -> None:
    path = tmp_path / "passwords"
    path.write_bytes(b"bob:plain\nalice:" + password_hash.hash_password(b"x", "scrypt"))
    counting = Counting()
    checker = PasswordFile(str(path), PasswordChecks(counting))
    with patch.object(password_file, "verify", side_effect=password_hash.verify) as verify:
        for number, name in enumerate(("alice", "bob", "nobody"), 1):
            assert not accepts(checker, name, "wrong")
            assert (counting.count, verify.call_count) == (number, number)


@pytest.mark.usefixtures("cheap")
def test_a_right_password_costs_nothing_the_next_time(tmp_path: Path) -> None:
    path = tmp_path / "passwords"
    path.write_bytes(b"alice:" + password_hash.hash_password(b"x", "scrypt"))
    counting = Counting()
    checker = PasswordFile(str(path), PasswordChecks(counting))
    assert accepts(checker, "alice", "x")
    assert accepts(checker, "alice", "x")
    assert counting.count == 1
    assert not accepts(checker, "alice", "y")
    assert counting.count == 2
    path.write_bytes(b"alice:" + password_hash.hash_password(b"new", "scrypt"))
    assert not accepts(checker, "alice", "x")
    assert accepts(checker, "alice", "new")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"$scrypt$", "line 2 is not a scrypt hash"),
        (b"$scrypt$ln=4,r=8,p=1$a$a", "line 2 is not a scrypt hash"),
        (b"$scrypt$ln=0,r=8,p=1$c2FsdHNhbHQ$c2FsdHNhbHQ", "costs are 0"),
        (b"$scrypt$ln=22,r=8,p=1$c2FsdHNhbHQ$c2FsdHNhbHQ", "more than 256 MiB"),
        (b"$argon2id$v=16$m=8,t=1,p=1$c2FsdHNhbHQ$c2FsdHNhbHQ", "line 2 is not an Argon2 hash"),
    ],
)
def test_a_hash_that_cannot_be_checked_is_named(tmp_path: Path, line: bytes, why: str) -> None:
    path = tmp_path / "passwords"
    path.write_bytes(b"bob:plain\nalice:" + line + b"\n")
    with pytest.raises(PasswordFileUnusable, match=re.escape(why)):
        PasswordFile(str(path), PasswordChecks(at_once))


def test_a_file_of_something_else_is_no_password_file(path: Path) -> None:
    path.write_bytes(b"# users\n\nalice:secret\n-----BEGIN CERTIFICATE-----\n")
    with pytest.raises(PasswordFileUnusable, match="line 4 is not name:password"):
        PasswordFile(str(path), PasswordChecks(at_once))


def test_argon2_hashes_need_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "passwords"
    path.write_bytes(b"alice:" + password_hash.hash_password(b"x", "argon2id"))
    monkeypatch.setattr(password_hash, "find_spec", lambda name: None)
    with pytest.raises(PasswordFileUnusable, match=r"line 1 needs the extra 'passwords'"):
        PasswordFile(str(path), PasswordChecks(at_once))


def test_a_reload_with_a_bad_hash_keeps_the_old_passwords(path: Path, log: list[str]) -> None:
    checker = PasswordFile(str(path), PasswordChecks(at_once))
    path.write_bytes(b"alice:$scrypt$\n")
    assert accepts(checker, "alice", "secret")
    assert log == [
        f"Cannot read the passwords in {path}: line 1 is not a scrypt hash. The old ones stay"
        " valid."
    ]
