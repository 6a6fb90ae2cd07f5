"""The ``chatadmin`` program."""

from __future__ import annotations

import argparse
import getpass
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from enum import IntEnum
from typing import Any

from chat_protocol.cli.admin.options import parser
from chat_protocol.cli.admin.passwords import PasswordFileError, clear_password, set_password
from chat_protocol.cli.text import quoted, visible
from chat_protocol.domain.names import normalise_username
from chat_protocol.errors import InvalidUsername, StoreUnusable, Unavailable, UserNotFound
from chat_protocol.stores.admin import Caretaker, UserRecord
from chat_protocol.stores.registry import caretaker_from_url

__all__ = ["Exit", "main"]


_NICENESS = 10


class Exit(IntEnum):
    """The exit codes."""

    OK = 0
    FAILED = 1
    USAGE = 2
    FAULTS = 3
    FAULT = 70
    INTERRUPTED = 130


class _Failed(Exception):
    """The run ends with this sentence on stderr."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``chatadmin``; returns its exit code.

    Args:
        arguments: the command line without the program's name; by default that of the process.
    """
    options = parser().parse_args(arguments)
    if sys.stdout is not None and hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = _run(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has seen enough; the interpreter would flush once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.OK
    except _Failed as error:
        return _complain(str(error), Exit.FAILED)
    except (StoreUnusable, PasswordFileError) as error:
        return _complain(str(error), Exit.FAILED)
    except (UserNotFound, InvalidUsername, Unavailable) as error:
        return _complain(error.detail, Exit.FAILED)
    except FileExistsError as error:
        return _complain(f"{error} is there already; --force replaces what it holds", Exit.FAILED)
    except OSError as error:
        return _complain(str(error), Exit.FAILED)
    return code


def _complain(sentence: str, code: Exit) -> Exit:
    print(f"chatadmin: {visible(sentence)}", file=sys.stderr)
    return code


def _run(options: argparse.Namespace) -> Exit:
    # A server beside it comes first.
    os.nice(_NICENESS)
    if options.command == "password":
        return _password(options)
    try:
        store = caretaker_from_url(options.store)
    except ValueError as error:
        parser().error(f"--store: {error}")
    command = options.command if options.command != "users" else f"users {options.action}"
    return _COMMANDS[command](store, options)


# The commands.


def _backup(store: Caretaker, options: argparse.Namespace) -> Exit:
    began = time.monotonic()
    size = store.backup(options.file, options.force)
    seconds = time.monotonic() - began
    _say(
        options,
        {"file": options.file, "bytes": size, "seconds": round(seconds, 3)},
        f"{options.file}: {size:,} bytes, in {seconds:.1f} s",
    )
    return Exit.OK


def _restore(store: Caretaker, options: argparse.Namespace) -> Exit:
    store.restore(options.file, options.force)
    print(f"restored from {options.file}; the server can be started")
    return Exit.OK


def _renumber(store: Caretaker, options: argparse.Namespace) -> Exit:
    store.renumber()
    print("new messages have numbers above all that were ever given")
    return Exit.OK


def _check(store: Caretaker, options: argparse.Namespace) -> Exit:
    findings = store.check()
    if options.json:
        print(json.dumps(asdict(findings)))
    else:
        for fault in findings.faults:
            print(f"FAULT: {visible(fault)}")
        verdict = "damaged: restore a backup" if findings.faults else "no fault found"
        print(f"{verdict} (looked at {findings.looked_at})")
    return Exit.FAULTS if findings.faults else Exit.OK


def _stats(store: Caretaker, options: argparse.Namespace) -> Exit:
    statistics = store.statistics()
    record = {**asdict(statistics), "oldest_iso": _iso(statistics.oldest)}
    if options.json:
        print(json.dumps(record))
        return Exit.OK
    for label, value in (
        ("users", f"{statistics.users:,}"),
        ("messages", f"{statistics.messages:,}"),
        ("waiting in mailboxes", f"{statistics.waiting:,}"),
        ("messages are kept since", _iso(statistics.oldest) or "not known"),
        ("bytes", f"{statistics.bytes:,}"),
        ("of these free", f"{statistics.free_bytes:,}"),
        ("schema", str(statistics.schema)),
    ):
        print(f"{label:24}{value:>24}")
    return Exit.OK


def _purge(store: Caretaker, options: argparse.Namespace) -> Exit:
    # Nothing is older than the epoch.
    gone = store.purge(max(0, time.time_ns() - options.older_than * 10**9))
    _say(options, {"messages": gone}, f"{gone:,} messages removed")
    return Exit.OK


def _compact(store: Caretaker, options: argparse.Namespace) -> Exit:
    print(f"{store.compact():,} bytes given back")
    return Exit.OK


def _list_users(store: Caretaker, options: argparse.Namespace) -> Exit:
    for user in store.users():
        if options.json:
            print(json.dumps(_user(user)))
        else:
            print(f"{_column(user.name)}\t{_iso(user.last_login)}\t{user.waiting}")
    return Exit.OK


def _show_user(store: Caretaker, options: argparse.Namespace) -> Exit:
    user, messages = store.user(normalise_username(options.name))
    _say(
        options,
        {**_user(user), "messages": messages},
        f"{quoted(user.name)}: last login {_iso(user.last_login)}, {user.waiting:,} messages wait,"
        f" {messages:,} from or to this user",
    )
    return Exit.OK


def _delete_user(store: Caretaker, options: argparse.Namespace) -> Exit:
    name = normalise_username(options.name)
    gone = store.delete_user(name)
    _say(
        options,
        {"name": name, "messages": gone},
        f"{quoted(name)} is deleted, and {gone:,} messages with it",
    )
    return Exit.OK


_COMMANDS = {
    "backup": _backup,
    "restore": _restore,
    "renumber": _renumber,
    "check": _check,
    "stats": _stats,
    "purge": _purge,
    "compact": _compact,
    "users list": _list_users,
    "users show": _show_user,
    "users delete": _delete_user,
}


def _password(options: argparse.Namespace) -> Exit:
    name = quoted(options.name)
    if options.action == "clear":
        if not clear_password(options.file, options.name):
            raise _Failed(f"{options.file} has no password of {name}")
        print(f"{name} has no password any more")
        return Exit.OK
    if sys.stdin.isatty():
        password = getpass.getpass(f"New password of {name}: ")
        if getpass.getpass("Once more: ") != password:
            raise _Failed("these are not the same; nothing was changed")
    else:
        password = sys.stdin.readline().rstrip("\n")
    had = set_password(options.file, options.name, password)
    print(f"{name} has {'another' if had else 'a'} password, from the next login on")
    return Exit.OK


# Output.


def _say(options: argparse.Namespace, record: dict[str, Any], sentence: str) -> None:
    print(json.dumps(record) if options.json else sentence)


def _user(user: UserRecord) -> dict[str, Any]:
    return {**asdict(user), "last_login_iso": _iso(user.last_login)}


def _iso(nanoseconds: int) -> str | None:
    if not nanoseconds:
        return None
    moment = datetime.fromtimestamp(nanoseconds // 10**9, timezone.utc)
    return moment.isoformat().replace("+00:00", "Z")


def _column(text: str) -> str:
    return visible(text.replace("\\", "\\\\"))
