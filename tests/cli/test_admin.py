"""``chatadmin`` from its user's side: sentences, JSON and exit codes."""

from __future__ import annotations

import io
import json
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from chat_protocol.cli.admin import main as program
from chat_protocol.cli.admin.main import AdminExitCode, main
from chat_protocol.cli.admin.options import EXIT_CODES, build_parser
from chat_protocol.service import password_hash
from chat_protocol.service.password_hash import verify
from tests.stores.conftest import sqlite_store
from tests.stores.helpers import commit, now, publication, publish, register, run


@pytest.fixture
def store(tmp_path: Path) -> str:
    """A stopped server's store with three users and three messages."""
    made = sqlite_store(tmp_path / "chat.db")
    now(made.open())
    alice, bob, _ = register(made, "alice", "bob", "ev\\i l")
    commit(made, run(alice, bob, "1", "2"))
    publish(made, publication(bob, "3"))
    now(made.close())
    return f"sqlite:{tmp_path / 'chat.db'}"


class Ran:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> Any:
        return json.loads(self.out)


ChatAdmin = Callable[..., Ran]


@pytest.fixture
def chatadmin(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> ChatAdmin:
    # Keep the niceness of the test process.
    monkeypatch.setattr(program, "_NICENESS", 0)

    def run_it(*arguments: object) -> Ran:
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as error:
            code = int(error.code or 0)
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return Ran(code, out, err)

    return run_it


def test_the_help_names_every_exit_code(chatadmin: ChatAdmin) -> None:
    shown = chatadmin("--help")
    assert shown.code == 0
    assert EXIT_CODES in shown.out
    listed = {
        int(line.split()[0]) for line in EXIT_CODES.splitlines() if line[:5].strip().isdigit()
    }
    assert listed == set(AdminExitCode)
    assert chatadmin("--version").out.startswith("chatadmin ")


def test_users(chatadmin: ChatAdmin, store: str) -> None:
    listed = chatadmin("--store", store, "users", "list")
    assert listed.code == 0
    assert listed.out.splitlines() == [
        "alice\t1970-01-01T00:00:00Z\t1",
        "bob\t1970-01-01T00:00:00Z\t2",
        "ev\\\\i l\t1970-01-01T00:00:00Z\t1",
    ]
    lines = chatadmin("-s", store, "users", "list", "--json").out.splitlines()
    assert json.loads(lines[1]) == {
        "name": "bob",
        "last_login": 1001,
        "last_login_iso": "1970-01-01T00:00:00Z",
        "waiting": 2,
    }
    shown = chatadmin("-s", store, "users", "show", "bob")
    assert (
        "bob: last login 1970-01-01T00:00:00Z, 2 pending messages, 3 messages sent or" in shown.out
    )
    assert chatadmin("-s", store, "users", "show", "bob", "--json").json["messages"] == 3
    deleted = chatadmin("-s", store, "users", "delete", "bob")
    assert (deleted.code, deleted.out) == (0, "deleted bob and 3 messages\n")
    again = chatadmin("-s", store, "users", "delete", "bob")
    assert (again.code, again.err) == (1, "chatadmin: there is no user bob\n")
    assert chatadmin("-s", store, "users", "show", " x").code == 1


def test_a_user_with_a_name_that_no_new_one_gets(chatadmin: ChatAdmin, tmp_path: Path) -> None:
    made = sqlite_store(tmp_path / "chat.db")
    now(made.open())
    register(made, "bob\u3164")
    now(made.close())
    store = f"sqlite:{tmp_path / 'chat.db'}"
    assert chatadmin("-s", store, "users", "list").out.startswith("bob\\u3164\t")
    assert chatadmin("-s", store, "users", "show", "bob\u3164").out.startswith("bob\\u3164: last")
    assert chatadmin("-s", store, "check").code == 0
    deleted = chatadmin("-s", store, "users", "delete", "bob\u3164")
    assert deleted.out == "deleted bob\\u3164 and 0 messages\n"


def test_backup_restore_check_and_figures(chatadmin: ChatAdmin, store: str, tmp_path: Path) -> None:
    backup = tmp_path / "backup.db"
    made = chatadmin("-s", store, "backup", backup)
    assert made.code == 0
    assert made.out.startswith(f"{backup}: {backup.stat().st_size:,} bytes, in ")
    again = chatadmin("-s", store, "backup", backup)
    assert (again.code, again.err) == (
        1,
        f"chatadmin: {backup} already exists; use --force to replace it\n",
    )
    forced = chatadmin("-s", store, "backup", backup, "--force", "--json")
    assert forced.json["bytes"] == backup.stat().st_size
    refused = chatadmin("-s", store, "restore", backup)
    assert (refused.code, "--force" in refused.err) == (1, True)
    assert chatadmin("-s", store, "restore", "--force", backup).code == 0
    # A file name that is not valid UTF-8.
    elsewhere = f"sqlite:{tmp_path}/else\udcffwhere.db"
    assert chatadmin("-s", elsewhere, "restore", backup).code == 0
    assert chatadmin("-s", elsewhere, "renumber").code == 0
    checked = chatadmin("-s", elsewhere, "check")
    assert checked.code == 0
    assert checked.out.startswith("no fault found (checked 3 users, 3 messages")
    assert chatadmin("-s", elsewhere, "check", "--json").json["faults"] == []
    figures = chatadmin("-s", elsewhere, "stats", "--json").json
    assert (figures["users"], figures["messages"], figures["waiting"]) == (3, 3, 2)
    assert figures["oldest_iso"] is None or figures["oldest_iso"].endswith("Z")
    words = chatadmin("-s", elsewhere, "stats").out
    assert [line.split()[-1] for line in words.splitlines()[:2]] == ["3", "3"]


def test_purge_and_compact(chatadmin: ChatAdmin, store: str) -> None:
    purged = chatadmin("-s", store, "purge", "--older-than", "1d")
    assert (purged.code, purged.out) == (0, "0 messages removed\n")
    assert chatadmin("-s", store, "purge", "--older-than", "1d", "--json").json == {"messages": 0}
    assert "bytes returned to the file system" in chatadmin("-s", store, "compact").out
    for age in ("0", "soon"):
        wrong = chatadmin("-s", store, "purge", "--older-than", age)
        assert (wrong.code, "such as 90d" in wrong.err) == (2, True)


def test_damage_has_its_own_exit_code(chatadmin: ChatAdmin, store: str, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "chat.db")) as connection:
        connection.execute("INSERT INTO inbox VALUES (1, 1, 1)")
        connection.commit()
    checked = chatadmin("-s", store, "check")
    assert checked.code == 3
    assert checked.out.startswith("FAULT: ")
    assert "restore a backup" in checked.out


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--store", "memory:", "stats"], 2, "keeps nothing"),
        (["--store", "redis:x", "stats"], 2, "is no store"),
        (["--store", "postgresql:\udcff", "stats"], 2, "is not UTF-8"),
        (["--store", "sqlite:\udcff.db", "stats"], 1, "there is no file"),
        (["--store", "sqlite:no.db", "stats"], 1, "there is no file"),
        (["--store", "sqlite:no/such.db", "restore", "x"], 1, "directory that exists"),
        (["stats", "extra"], 2, "unrecognized"),
        (["users", "show", "\udcff"], 1, "UTF-8"),
        (["users", "delete", "\udcff"], 1, "UTF-8"),
        (["password", "clear", "--file", "/dev/null", "\udcff"], 1, "UTF-8"),
        ([], 2, "required"),
        (["users"], 2, "required"),
    ],
)
def test_errors_have_an_exit_code_and_a_sentence(
    arguments: list[str],
    code: int,
    sentence: str,
    chatadmin: ChatAdmin,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    done = chatadmin(*arguments)
    assert done.code == code
    assert sentence in done.err


def test_a_backup_replaces_only_backups(chatadmin: ChatAdmin, store: str, tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    (tmp_path / "chat.db-wal").touch()
    (tmp_path / "empty").touch()
    (tmp_path / "folder").mkdir()
    with closing(sqlite3.connect(tmp_path / "other")) as other:
        other.execute("CREATE TABLE mine (x)")
    for name, sentence in (
        ("chat.db", "is the store itself"),
        ("chat.db-lock", "belongs to"),
        ("chat.db-wal", "belongs to"),
        ("notes", "is neither empty nor a database of this program"),
        ("other", "is neither empty nor a database of this program"),
    ):
        before = (tmp_path / name).read_bytes()
        refused = chatadmin("--store", store, "backup", tmp_path / name, "--force")
        assert refused.code == 1
        assert sentence in refused.err
        assert (tmp_path / name).read_bytes() == before
    assert chatadmin("--store", store, "backup", tmp_path / "folder", "--force").code == 1
    for name in ("chat.db-journal", "chat.db-shm"):
        refused = chatadmin("--store", store, "backup", tmp_path / name)
        assert (refused.code, "belongs to" in refused.err) == (1, True)
    for _ in range(2):
        assert chatadmin("--store", store, "backup", tmp_path / "empty", "--force").code == 0
    part = (tmp_path / "chat.db").rename(tmp_path / "x.part")
    refused = chatadmin("--store", f"sqlite:{part}", "backup", tmp_path / "x")
    assert (refused.code, "is the store itself" in refused.err) == (1, True)
    assert part.exists()
    # No lock file and no partial file is left.
    assert not list(tmp_path.glob("empty?*"))


def test_a_backup_does_not_replace_a_store_in_use(
    chatadmin: ChatAdmin, store: str, tmp_path: Path
) -> None:
    served, wal = tmp_path / "served", tmp_path / "served-wal"
    made = sqlite_store(served)
    now(made.open())
    register(made, "zoe")
    for name in ("served", "link"):
        (tmp_path / "link").unlink(missing_ok=True)
        (tmp_path / "link").symlink_to(served)
        refused = chatadmin("--store", store, "backup", tmp_path / name, "--force")
        assert (refused.code, "in use" in refused.err) == (1, True)
    killed = served.read_bytes(), wal.read_bytes()
    now(made.close())
    # As after a SIGKILL: only the write-ahead log identifies the file as a chat store.
    assert b"Chat" not in killed[0][:100]
    served.write_bytes(killed[0])
    wal.write_bytes(killed[1])
    assert chatadmin("--store", store, "backup", served, "--force").code == 0
    assert not wal.exists()
    listed = chatadmin("--store", f"sqlite:{served}", "users", "list", "--json").out
    assert "zoe" not in listed
    assert "alice" in listed


def test_a_restore_replaces_only_stores(chatadmin: ChatAdmin, store: str, tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "chat.db-lock")
    lock = (tmp_path / "chat.db-lock").stat().st_ino
    for name, sentence in (
        ("notes", "is neither empty nor a database of this program"),
        ("chat.db-lock", "belongs to"),
        ("link", "belongs to"),
        ("chat.db-wal", "belongs to"),
    ):
        target = f"sqlite:{tmp_path / name}"
        refused = chatadmin("--store", target, "restore", tmp_path / "chat.db", "--force")
        assert (refused.code, sentence in refused.err) == (1, True)
    assert (tmp_path / "notes").read_text() == "mine"
    assert (tmp_path / "chat.db-lock").stat().st_ino == lock
    (tmp_path / "new.db.restored").write_bytes((tmp_path / "chat.db").read_bytes())
    new = f"sqlite:{tmp_path / 'new.db'}"
    refused = chatadmin("--store", new, "restore", tmp_path / "new.db.restored")
    assert (refused.code, "another" in refused.err) == (1, True)
    nowhere = f"sqlite:{tmp_path / 'nowhere.db'}"
    assert chatadmin("--store", nowhere, "restore", tmp_path / "missing").code == 1
    assert {path.name for path in tmp_path.iterdir()} == {
        "chat.db", "chat.db-lock", "link", "new.db.restored", "notes",
    }  # fmt: skip
    (tmp_path / "new.db").touch()
    assert chatadmin("--store", new, "restore", tmp_path / "chat.db").code == 0


def test_an_empty_file_is_reported(chatadmin: ChatAdmin, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for command in (["stats"], ["renumber"]):
        done = chatadmin("--store", f"sqlite:{tmp_path / 'empty'}", *command)
        assert (done.code, "is empty" in done.err) == (1, True)
    assert not (tmp_path / "empty").stat().st_size


def test_a_purge_age_beyond_the_epoch(chatadmin: ChatAdmin, store: str) -> None:
    done = chatadmin("--store", store, "purge", "--older-than", "9999y")
    assert (done.code, done.out) == (0, "0 messages removed\n")


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        (b"alice:1\nbert\xe4:2\n", "line 2 is not valid UTF-8"),
        (b"# users\n\nalice:1\nsome prose\n", "line 4 is not name:password"),
        (b"a:\0\n", "line 1 is not name:password"),
        (None, "is not a password file"),
    ],
)
def test_a_file_in_another_format_is_not_changed(
    content: bytes | None,
    wrong: str,
    chatadmin: ChatAdmin,
    store: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "chat.db"
    if content is not None:
        file.write_bytes(content)
    before = file.read_bytes()
    for action in ("set", "clear"):
        monkeypatch.setattr(sys, "stdin", io.StringIO("password\n"))
        done = chatadmin("password", action, "--file", file, "alice")
        assert (done.code, wrong in done.err) == (1, True)
    assert file.read_bytes() == before


def test_a_lock_file_is_not_a_password_file(
    chatadmin: ChatAdmin, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, sentence in (
        ("chat.db-lock", "belongs to"),
        (".", f"cannot read {tmp_path}: Is a directory"),
    ):
        monkeypatch.setattr(sys, "stdin", io.StringIO("password\n"))
        done = chatadmin("password", "set", "--file", tmp_path / name, "alice")
        assert (done.code, sentence in done.err) == (1, True)
    assert not (tmp_path / "chat.db-lock").stat().st_size


def test_a_full_disk_keeps_the_password_file(tmp_path: Path) -> None:
    file = tmp_path / "passwords"
    file.write_text("alice:old\n")

    def no_room() -> None:
        # Writes beyond the limit fail as on a full disk; without SIGXFSZ they return an error.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4, 4))

    done = subprocess.run(
        [Path(sys.executable).with_name("chatadmin"), "password", "set", "--file", file, "alice"],
        input=b"new\n",
        capture_output=True,
        preexec_fn=no_room,
    )
    assert done.returncode == 1
    assert f"cannot write {file}: File too large; nothing was changed" in done.stderr.decode()
    assert file.read_text() == "alice:old\n"
    assert [path.name for path in tmp_path.iterdir()] == ["passwords"]


def test_passwords(chatadmin: ChatAdmin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "passwords"

    def put(name: str, password: str) -> Ran:
        monkeypatch.setattr(sys, "stdin", io.StringIO(f"{password}\nnot read\n"))
        return chatadmin("password", "set", "--scheme", "plain", "--file", file, name)

    assert (
        put("alice", "päss word").out
        == "set the password of alice; it applies from the next login\n"
    )
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.write_text(file.read_text() + "# by hand\nbob:1\nalicea:2\nbob:2")
    file.chmod(0o640)
    assert put("bob", "new").out == "changed the password of bob; it applies from the next login\n"
    assert file.read_text() == "alice:päss word\n# by hand\nbob:new\nalicea:2\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert [path.name for path in tmp_path.iterdir()] == ["passwords"]
    for name, password, sentence in (
        ("alice", "a:b", "with a colon"),
        ("alice", " x", "white space"),
        ("alice", "a\x00", "control character"),
        ("alice", "$scrypt$x", "looks like a hash"),
        ("alice", "", "cannot be empty"),
        ("a:b", "x", "a name with a colon"),
        ("", "x", "name"),
    ):
        refused = put(name, password)
        assert refused.code == 1
        assert sentence in refused.err
    cleared = chatadmin("password", "clear", "--file", file, "alice")
    assert (cleared.code, cleared.out) == (0, "removed the password of alice\n")
    assert file.read_text() == "# by hand\nbob:new\nalicea:2\n"
    again = chatadmin("password", "clear", "--file", file, "alice")
    assert (again.code, "has no password for alice" in again.err) == (1, True)
    missing = chatadmin("password", "clear", "--file", tmp_path / "no", "alice")
    assert (missing.code, "does not exist" in missing.err) == (1, True)
    nowhere = chatadmin("password", "set", "--file", tmp_path / "no" / "no", "alice")
    assert nowhere.code == 1


def test_twisteds_checker_reads_the_password_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from twisted.cred.checkers import FilePasswordDB

    monkeypatch.setattr(program, "_NICENESS", 0)
    file = tmp_path / "passwords"
    for name, password in (("ä b", "ö ü"), ("bob", "x")):
        monkeypatch.setattr(sys, "stdin", io.StringIO(f"{password}\n"))
        assert main(["password", "set", "--scheme", "plain", "--file", str(file), name]) == 0
    checker = FilePasswordDB(str(file))
    assert checker.getUser("ä b".encode()) == ("ä b".encode(), "ö ü".encode())
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert main(["password", "set", "--scheme", "plain", "--file", str(file), "bob"]) == 0
    assert checker.getUser(b"bob") == (b"bob", b"y")


@pytest.mark.parametrize(
    ("options", "begins"),
    [
        ([], b"$argon2id$v=19$m=19456,t=2,p=1$"),
        (["--scheme", "argon2id"], b"$argon2id$v=19$m=19456,t=2,p=1$"),
        (["--scheme", "scrypt"], b"$scrypt$ln=14,r=8,p=5$"),
    ],
)
def test_passwords_are_stored_as_hashes(
    options: list[str],
    begins: bytes,
    chatadmin: ChatAdmin,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "passwords"
    monkeypatch.setattr(sys, "stdin", io.StringIO("a:b ü \n"))
    done = chatadmin("password", "set", *options, "--file", file, "alice")
    assert (done.code, done.err) == (0, "")
    name, stored = file.read_bytes().rstrip(b"\n").split(b":")
    assert name == b"alice"
    assert stored.startswith(begins)
    assert verify(stored, "a:b ü ".encode())
    assert not verify(stored, "a:b ü".encode())


def test_without_argon2_scrypt_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(password_hash, "find_spec", lambda name: None)
    options = build_parser().parse_args(["password", "set", "--file", "x", "alice"])
    assert options.scheme == "scrypt"


def test_a_reader_that_closes_the_output(store: str) -> None:
    program = Path(sys.executable).with_name("chatadmin")
    command = f"{program} --store {store} users list | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("alice\t")
    assert done.stderr == ""
