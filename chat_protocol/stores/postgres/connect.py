"""Connecting to PostgreSQL."""

from __future__ import annotations

import logging
import re
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from chat_protocol.errors import Unavailable
from chat_protocol.stores.postgres.bigints import Bigints, BigintsDumper

__all__ = ["SCHEMA", "bad_url", "connect", "place", "reason", "unavailable"]

SCHEMA = "chat"
"""The schema (namespace) of the database that holds everything."""

CONNECT_TIMEOUT = 3
"""Seconds that an attempt to connect may take."""

_LOST_MILLISECONDS = 5000
"""How long data that was sent may be unacknowledged by the peer."""

# Settings that not every version of PostgreSQL knows, and one that is changed only if OK would not
# mean that a message is on the disk. Without jit, because PostgreSQL estimates many short mailboxes
# far too high, and compiles a statement for 20 ms that then runs for 3.
_SET = """
SELECT set_config(name, CASE name WHEN 'synchronous_commit' THEN 'on' ELSE '0' END, false)
FROM pg_settings
WHERE name IN ('idle_session_timeout', 'transaction_timeout', 'jit') AND setting <> '0'
OR name = 'synchronous_commit' AND setting = 'off'
"""

# Every error of a connection is handled; psycopg's own warnings would go to stderr.
logging.getLogger("psycopg").addHandler(logging.NullHandler())


def connect(conninfo: str, application: str, **settings: str) -> psycopg.Connection[Any]:
    """Return a connection in autocommit mode. It blocks.

    Each side notices within seconds that the other is lost, as far as its kernel can notice it.

    Args:
        conninfo: in the form of libpq.
        application: what ``pg_stat_activity`` shows.
        settings: of the database session.

    Raises:
        psycopg.Error: the connection cannot be made.
    """
    keepalive: dict[str, Any] = {
        "keepalives_idle": 2,
        "keepalives_interval": 1,
        "keepalives_count": 3,
    }
    options = {
        "search_path": SCHEMA,
        "client_encoding": "UTF8",
        # A role or a database may have other defaults.
        "default_transaction_isolation": "read\\ committed",
        "default_transaction_read_only": "off",
        "default_transaction_deferrable": "off",
        "statement_timeout": "0",
        "lock_timeout": "0",
        **{f"tcp_{name}": value for name, value in keepalive.items()},
        "tcp_user_timeout": _LOST_MILLISECONDS,
        **settings,
    }
    connection = psycopg.connect(
        conninfo,
        autocommit=True,
        connect_timeout=CONNECT_TIMEOUT,
        application_name=f"chat-protocol {application}",
        **keepalive,
        tcp_user_timeout=_LOST_MILLISECONDS,
        options=" ".join(f"-c {name}={value}" for name, value in options.items()),
    )
    connection.adapters.register_dumper(Bigints, BigintsDumper)
    connection.execute(_SET)
    return connection


def reason(error: BaseException) -> str:
    """Return the text of an error in one line."""
    return " ".join(str(error).split()) or type(error).__name__


def unavailable(error: psycopg.Error) -> Unavailable:
    """Return what a caller of the store is told of a database error."""
    return Unavailable(f"PostgreSQL: {reason(error)}")


def place(conninfo: str) -> str:
    """Return where a database is, for the log and for errors: without user and password.

    Raises:
        psycopg.Error: it cannot be parsed.
    """
    parts = conninfo_to_dict(conninfo)
    port = f":{parts['port']}" if parts.get("port") else ""
    return f"postgresql://{parts.get('host', 'local')}{port}/{parts.get('dbname', '')}"


def bad_url(url: str, error: psycopg.Error) -> ValueError:
    """Return the error of a URL that cannot be parsed, without its password."""
    shown = re.sub(r":[^:@]*@", ":***@", url)
    return ValueError(f"{shown!r}: {reason(error)}")
