"""The command line of ``chatadmin``."""

from __future__ import annotations

import argparse
from importlib.metadata import version

from chat_protocol.domain.durations import parse_duration
from chat_protocol.service.config import DEFAULT_STORE
from chat_protocol.stores.registry import STORES

__all__ = ["EXIT_CODES", "parser"]

EXIT_CODES = """\
Commands that change a sqlite: store (restore, renumber, purge, compact, users delete) want the
server stopped, and say so if it runs; the others, backup too, work beside it. With postgresql: all
work beside the servers, but backup, restore and compact are for PostgreSQL's own tools. Run
chatadmin as the user that the server runs as.

exit codes:
    0  done; check found no fault
    1  it cannot be done: no such user, the store is in use or cannot be read, no room, ...
    2  the command line is not usable
    3  check found faults
   70  a fault of chatadmin itself
  130  interrupted with Ctrl-C
"""


def _age(text: str) -> int:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if not seconds:
        raise argparse.ArgumentTypeError("give a length of time such as 90d")
    return seconds


def parser() -> argparse.ArgumentParser:
    """The parser; what it gives has ``command``, and ``action`` of users and password."""
    usages = ", ".join(kind.usage for kind in STORES.values() if kind.scheme != "memory")
    top = argparse.ArgumentParser(
        prog="chatadmin",
        description="Look after the data of a chat server.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"chatadmin {version('chat-protocol')}")
    top.add_argument(
        "--store",
        "-s",
        default=DEFAULT_STORE,
        metavar="STORE",
        help=f"as the server has it: {usages} [{DEFAULT_STORE}]",
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    backup = commands.add_parser(
        "backup",
        help="copy all that is stored to a file, while the server runs or not",
        description="Copy all that is stored to FILE. The server may run, and goes on meanwhile:"
        " every message that it has answered OK before is in the copy. FILE is one file, whole and"
        " synced when it has its name.",
    )
    backup.add_argument("file", metavar="FILE")
    backup.add_argument("--force", action="store_true", help="write over FILE if it is there")

    restore = commands.add_parser(
        "restore",
        help="have what a backup holds",
        description="Have what the backup FILE holds in the store, and nothing else. Messages are"
        " numbered above all that were ever numbered, so clients take the new ones for new.",
    )
    restore.add_argument("file", metavar="FILE")
    restore.add_argument(
        "--force", action="store_true", help="replace users and messages that are there"
    )

    commands.add_parser(
        "renumber",
        help="after a restore by other means, such as pg_restore: have new messages taken for new",
        description="Number messages from now on above all that can ever have been given. restore"
        " does that; a store that was put back by other means needs it, before the server starts.",
    )

    check = commands.add_parser("check", help="look for damage and contradictions")
    stats = commands.add_parser("stats", help="say how much there is")

    purge = commands.add_parser(
        "purge",
        help="remove old messages",
        description="Remove messages that were stored longer ago than AGE, those that still wait"
        " for somebody too. (A server with --retention does that by itself.) The space is used"
        " again; compact gives it back.",
    )
    purge.add_argument(
        "--older-than", type=_age, required=True, metavar="AGE", help="90d, 12h, 2y, ..."
    )
    commands.add_parser("compact", help="give space that is free back to the system")

    users = commands.add_parser("users", help="list, show and delete users")
    actions = users.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="all users: name, last login, messages that wait")
    show = actions.add_parser("show", help="one user")
    show.add_argument("name", metavar="NAME")
    delete = actions.add_parser(
        "delete",
        help="a user and all its messages",
        description="Remove a user, all that it sent, and what only it was sent. A message to"
        " several stays with the others, without this name. Nothing of it is left in the file;"
        " backups have it still. The name is free then.",
    )
    delete.add_argument("name", metavar="NAME")

    password = commands.add_parser(
        "password",
        help="set and clear passwords in the file of --auth file:PATH",
        description="Set and clear passwords in the file that a server reads with --auth"
        " file:PATH, at each login. It holds them as they are: keep it from others.",
    )
    actions = password.add_subparsers(dest="action", required=True, metavar="ACTION")
    setting = actions.add_parser(
        "set", help="the password is asked for, or read from a line of stdin"
    )
    clear = actions.add_parser("clear", help="the user has no password any more, so no way in")
    for one in (setting, clear):
        one.add_argument("--file", required=True, metavar="PATH", help="of the file")
        one.add_argument("name", metavar="NAME")

    for one in (backup, check, stats, purge, listing, show, delete):
        one.add_argument("--json", action="store_true", help="print JSON, an object a line")
    return top
