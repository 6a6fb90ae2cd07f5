"""Connecting and logging in, with sentences for what goes wrong."""

from __future__ import annotations

from typing import Any

from chat_protocol.cli.options import Settings
from chat_protocol.cli.outcome import failed, login_failed
from chat_protocol.client import Client, connect
from chat_protocol.errors import ChatError

__all__ = ["log_in"]


async def log_in(reactor: Any, settings: Settings, username: str) -> Client:
    """A client that is logged in.

    Raises:
        Failed: it cannot be had; nothing is left connected.
        UsageError: there is no such kind of endpoint.
    """
    server = settings.server
    endpoint = server.endpoint(reactor)
    try:
        client = await connect(endpoint, reactor, timeout=settings.timeout)
    except ChatError as error:
        raise failed(error, server.text) from error
    try:
        await client.login(username)
    except BaseException as error:
        await client.disconnect()
        if isinstance(error, ChatError):
            raise login_failed(error, server.text, username) from error
        raise
    return client
