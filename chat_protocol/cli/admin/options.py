"""The command line of ``chatadmin``."""

from __future__ import annotations

import argparse

from chat_protocol.domain.durations import parse_duration
from chat_protocol.service.config import DEFAULT_STORE
from chat_protocol.service.password_hash import default_scheme
from chat_protocol.stores.registry import STORES
from chat_protocol.version import __version__

__all__ = ["EXIT_CODES", "build_parser"]

EXIT_CODES = """\
With a sqlite: store, stop the server before restore, renumber, purge, compact, users forget and
users delete; chatadmin refuses them while the server runs. The other commands, including backup,
work while it runs. With a postgresql: store, all commands work while servers run, but use
PostgreSQL's own tools for backup, restore and compact. Run chatadmin as the user that the server
runs as.

exit codes:
    0  success; check found no fault
    1  the command failed: unknown user, store in use or not readable, disk full, ...
    2  invalid command line
    3  check found faults
   70  internal error in chatadmin
  130  interrupted with Ctrl-C
"""


def _parse_age(text: str) -> int:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if not seconds:
        raise argparse.ArgumentTypeError("give a duration above 0, such as 90d")
    return seconds


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; its result has ``command``, and ``action`` for users and password."""
    usages = ", ".join(kind.usage for kind in STORES.values() if kind.scheme != "memory")
    parser = argparse.ArgumentParser(
        prog="chatadmin",
        description="Maintain the data of a chat server.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"chatadmin {__version__}")
    parser.add_argument(
        "--store",
        "-s",
        default=DEFAULT_STORE,
        metavar="STORE",
        help=f"the server's store: {usages} [default: {DEFAULT_STORE}]",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    backup = commands.add_parser(
        "backup",
        help="back up the store to a file, even while the server runs",
        description="Back up the store to FILE. The server can keep running: every message that it"
        " answered with OK before the command started is in the backup. FILE appears under its name"
        " only when it is complete and synced to disk.",
    )
    backup.add_argument("file", metavar="FILE")
    backup.add_argument("--force", action="store_true", help="replace FILE if it exists")

    restore = commands.add_parser(
        "restore",
        help="restore the store from a backup",
        description="Replace the contents of the store with the backup FILE. New messages get"
        " higher numbers than all earlier ones, so that clients do not take them for duplicates.",
    )
    restore.add_argument("file", metavar="FILE")
    restore.add_argument("--force", action="store_true", help="replace existing users and messages")

    commands.add_parser(
        "renumber",
        help="raise message numbers after a restore by other means, such as pg_restore",
        description="Give new messages higher numbers than all earlier ones, so that clients do not"
        " take them for duplicates. restore does this itself. After a restore by other means, run"
        " renumber before you start the server.",
    )

    check = commands.add_parser("check", help="check the store for damage and inconsistencies")
    stats = commands.add_parser("stats", help="show statistics")

    purge = commands.add_parser(
        "purge",
        help="remove old messages",
        description="Remove messages stored longer ago than AGE, including pending ones. A server"
        " with --retention does this by itself. The store reuses the space; compact returns it to"
        " the file system.",
    )
    purge.add_argument(
        "--older-than", type=_parse_age, required=True, metavar="AGE", help="90d, 12h, 2y, ..."
    )
    commands.add_parser("compact", help="return free space to the file system")

    users = commands.add_parser("users", help="list, show and delete users")
    actions = users.add_subparsers(dest="action", required=True, metavar="ACTION")
    list_command = actions.add_parser(
        "list", help="list all users: name, last login, pending messages"
    )
    show_command = actions.add_parser("show", help="show a user and its devices")
    show_command.add_argument("name", metavar="NAME")
    forget_command = actions.add_parser(
        "forget",
        help="forget a device of a user",
        description="Forget a device of a user, which is offline and not the last one. What waits"
        " for it alone is removed. Its next login is that of a new device.",
    )
    forget_command.add_argument("name", metavar="NAME")
    forget_command.add_argument(
        "device", metavar="DEVICE", help="as users show names it; '' is the unnamed one"
    )
    delete_command = actions.add_parser(
        "delete",
        help="delete a user and all its messages",
        description="Delete a user, all messages the user sent, and all messages sent to this user"
        " alone. A message to several users stays for the others, without this name. The data is"
        " erased from the file, but not from backups. The name becomes available.",
    )
    delete_command.add_argument("name", metavar="NAME")

    password = commands.add_parser(
        "password",
        help="set and clear passwords in the file of --auth file:PATH",
        description="Set and clear passwords in the file that a server with --auth file:PATH reads"
        " at each login. The file holds a hash of each password.",
    )
    actions = password.add_subparsers(dest="action", required=True, metavar="ACTION")
    set_command = actions.add_parser(
        "set", help="set a password; it is prompted for, or read from a line of stdin"
    )
    set_command.add_argument(
        "--scheme",
        choices=("argon2id", "scrypt", "plain"),
        default=default_scheme(),
        help="how the password is stored; argon2id needs the extra 'passwords', and plain stores"
        " the password itself [default: argon2id if installed, else scrypt]",
    )
    clear_command = actions.add_parser(
        "clear", help="remove a password, so that the user cannot log in"
    )
    for command in (set_command, clear_command):
        command.add_argument(
            "--file", required=True, metavar="PATH", help="path of the password file"
        )
        command.add_argument("name", metavar="NAME")

    for command in (
        *(backup, check, stats, purge),
        *(list_command, show_command, forget_command, delete_command),
    ):
        command.add_argument("--json", action="store_true", help="print JSON, one object per line")
    return parser
