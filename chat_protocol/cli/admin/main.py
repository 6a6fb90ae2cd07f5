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

from chat_protocol.cli.admin.options import build_parser
from chat_protocol.cli.admin.passwords import PasswordFileError, clear_password, set_password
from chat_protocol.cli.text import name_column, quoted, visible
from chat_protocol.domain.names import canonical_username
from chat_protocol.errors import InvalidUsername, StoreUnusable, Unavailable, UserNotFound
from chat_protocol.stores.admin import StoreAdmin, UserRecord
from chat_protocol.stores.registry import admin_from_url

__all__ = ["AdminExitCode", "main"]


_NICENESS = 10


class AdminExitCode(IntEnum):
    """Exit codes of ``chatadmin``."""

    OK = 0
    FAILED = 1
    USAGE = 2
    FAULTS = 3
    FAULT = 70
    INTERRUPTED = 130


class _AdminFailed(Exception):
    """Ends the run with this sentence on stderr."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``chatadmin`` and return its exit code.

    Args:
        arguments: the command line without the program's name; by default that of the process.
    """
    options = build_parser().parse_args(arguments)
    if sys.stdout is not None and hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = _run(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return AdminExitCode.INTERRUPTED
    except BrokenPipeError:
        # The reader closed the output; redirect stdout, because the interpreter flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return AdminExitCode.OK
    except _AdminFailed as error:
        return _print_error(str(error), AdminExitCode.FAILED)
    except (StoreUnusable, PasswordFileError) as error:
        return _print_error(str(error), AdminExitCode.FAILED)
    except (UserNotFound, InvalidUsername, Unavailable) as error:
        return _print_error(error.detail, AdminExitCode.FAILED)
    except FileExistsError as error:
        return _print_error(
            f"{error} already exists; use --force to replace it", AdminExitCode.FAILED
        )
    except OSError as error:
        return _print_error(str(error), AdminExitCode.FAILED)
    return code


def _print_error(sentence: str, code: AdminExitCode) -> AdminExitCode:
    print(f"chatadmin: {visible(sentence)}", file=sys.stderr)
    return code


def _run(options: argparse.Namespace) -> AdminExitCode:
    # A running server has priority.
    os.nice(_NICENESS)
    if options.command == "password":
        return _password(options)
    try:
        store = admin_from_url(options.store)
    except ValueError as error:
        build_parser().error(f"--store: {error}")
    command = options.command if options.command != "users" else f"users {options.action}"
    return _COMMANDS[command](store, options)


# The commands.


def _backup(store: StoreAdmin, options: argparse.Namespace) -> AdminExitCode:
    began = time.monotonic()
    size = store.backup(options.file, options.force)
    seconds = time.monotonic() - began
    _print_result(
        options,
        {"file": options.file, "bytes": size, "seconds": round(seconds, 3)},
        f"{options.file}: {size:,} bytes, in {seconds:.1f} s",
    )
    return AdminExitCode.OK


def _restore(store: StoreAdmin, options: argparse.Namespace) -> AdminExitCode:
    store.restore(options.file, options.force)
    print(f"restored from {options.file}; you can start the server now")
    return AdminExitCode.OK


def _renumber(store: StoreAdmin, options: argparse.Namespace) -> AdminExitCode:
    store.renumber()
    print("new messages will get higher numbers than all earlier messages")
    return AdminExitCode.OK


def _check(store: StoreAdmin, options: argparse.Namespace) -> AdminExitCode:
    findings = store.check()
    if options.json:
        print(json.dumps(asdict(findings)))
    else:
        for fault in findings.faults:
            print(f"FAULT: {visible(fault)}")
        verdict = "the store is damaged: restore a backup" if findings.faults else "no fault found"
        print(f"{verdict} (checked {findings.looked_at})")
    return AdminExitCode.FAULTS if findings.faults else AdminExitCode.OK


def _stats(store: StoreAdmin, options: argparse.Namespace) -> AdminExitCode:
    statistics = store.statistics()
    record = {**asdict(statistics), "oldest_iso": _format_iso(statistics.oldest)}
    if options.json:
        print(json.dumps(record))
        return AdminExitCode.OK
    for label, value in (
        ("users", f"{statistics.users:,}"),
        ("messages", f"{statistics.messages:,}"),
        ("pending in mailboxes", f"{statistics.waiting:,}"),
        ("messages kept since", _format_iso(statistics.oldest) or "unknown"),
        ("bytes", f"{statistics.bytes:,}"),
        ("free bytes", f"{statistics.free_bytes:,}"),
        ("schema", str(statistics.schema)),
    ):
        print(f"{label:24}{value:>24}")
    return AdminExitCode.OK


def _purge(store: StoreAdmin, options: argparse.Namespace) -> AdminExitCode:
    # No message is older than the epoch.
    removed = store.purge(max(0, time.time_ns() - options.older_than * 10**9))
    _print_result(options, {"messages": removed}, f"{removed:,} messages removed")
    return AdminExitCode.OK


def _compact(store: StoreAdmin, options: argparse.Namespace) -> AdminExitCode:
    print(f"{store.compact():,} bytes returned to the file system")
    return AdminExitCode.OK


def _list_users(store: StoreAdmin, options: argparse.Namespace) -> AdminExitCode:
    for user in store.users():
        if options.json:
            print(json.dumps(_user_record(user)))
        else:
            print(f"{name_column(user.name)}\t{_format_iso(user.last_login)}\t{user.waiting}")
    return AdminExitCode.OK


def _show_user(store: StoreAdmin, options: argparse.Namespace) -> AdminExitCode:
    name = canonical_username(options.name)
    user, messages = store.user(name)
    devices = store.devices(name)
    lines = [
        f"{quoted(user.name)}: last login {_format_iso(user.last_login)},"
        f" {user.waiting:,} pending messages, {messages:,} messages sent or received"
    ]
    for device in devices:
        ended = f", offline since {_format_iso(device.ended)}" if device.ended else ""
        lines.append(f"  {device.name or 'the unnamed device'}{ended}")
    record = {
        **_user_record(user),
        "messages": messages,
        "devices": [
            {**asdict(device), "ended_iso": _format_iso(device.ended or 0)} for device in devices
        ],
    }
    _print_result(options, record, "\n".join(lines))
    return AdminExitCode.OK


def _forget_device(store: StoreAdmin, options: argparse.Namespace) -> AdminExitCode:
    name = canonical_username(options.name)
    store.forget_device(name, options.device)
    device = options.device or "the unnamed device"
    _print_result(
        options, {"name": name, "device": options.device}, f"forgot {device} of {quoted(name)}"
    )
    return AdminExitCode.OK


def _delete_user(store: StoreAdmin, options: argparse.Namespace) -> AdminExitCode:
    name = canonical_username(options.name)
    removed = store.delete_user(name)
    _print_result(
        options,
        {"name": name, "messages": removed},
        f"deleted {quoted(name)} and {removed:,} messages",
    )
    return AdminExitCode.OK


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
    "users forget": _forget_device,
    "users delete": _delete_user,
}


def _password(options: argparse.Namespace) -> AdminExitCode:
    name = quoted(options.name)
    if options.action == "clear":
        if not clear_password(options.file, options.name):
            raise _AdminFailed(f"{options.file} has no password for {name}")
        print(f"removed the password of {name}")
        return AdminExitCode.OK
    if sys.stdin.isatty():
        password = getpass.getpass(f"New password for {name}: ")
        if getpass.getpass("Repeat the password: ") != password:
            raise _AdminFailed("the passwords do not match; nothing was changed")
    else:
        password = sys.stdin.readline().rstrip("\n")
    replaced = set_password(options.file, options.name, password, options.scheme)
    done = "changed" if replaced else "set"
    print(f"{done} the password of {name}; it applies from the next login")
    return AdminExitCode.OK


# Output.


def _print_result(options: argparse.Namespace, record: dict[str, Any], sentence: str) -> None:
    print(json.dumps(record) if options.json else sentence)


def _user_record(user: UserRecord) -> dict[str, Any]:
    return {**asdict(user), "last_login_iso": _format_iso(user.last_login)}


def _format_iso(nanoseconds: int) -> str | None:
    if not nanoseconds:
        return None
    moment = datetime.fromtimestamp(nanoseconds // 10**9, timezone.utc)
    return moment.isoformat().replace("+00:00", "Z")
