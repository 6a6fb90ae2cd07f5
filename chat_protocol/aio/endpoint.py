"""A client endpoint over an asyncio event loop."""

from __future__ import annotations

import asyncio
import os
import socket
from ssl import SSLCertVerificationError, SSLContext, SSLError

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from zope.interface import implementer

from chat_protocol.aio.address import Address
from chat_protocol.aio.protocol import LoopProtocol
from chat_protocol.errors import NotConnected, NotTrusted

__all__ = ["CONNECT_SECONDS", "LoopEndpoint"]

CONNECT_SECONDS = 30.0
"""Seconds after which an attempt to connect fails, as those of Twisted's endpoints."""


@implementer(IStreamClientEndpoint)
class LoopEndpoint:
    """Connect to an address with the event loop's own sockets.

    Args:
        loop: makes the connections.
        address: of the server.
        ssl: settings of TLS; None: no TLS.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, address: Address, ssl: SSLContext | None
    ) -> None:
        self._loop = loop
        self._address = address
        self._ssl = ssl

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect; the Deferred fires with the protocol, or fails with NotConnected."""
        connected: Deferred[IProtocol] = Deferred(lambda _: cancel())
        protocol = LoopProtocol(protocolFactory, connected, self._loop)
        task = self._loop.create_task(self._connect(protocol))

        def cancel() -> None:
            task.cancel()

        def done(task: asyncio.Task[None]) -> None:
            # A protocol that was built has fired the Deferred already.
            if connected.called:
                return
            if task.cancelled():
                connected.errback(NotConnected("cannot connect: the event loop is closing"))
            elif (error := task.exception()) is not None:
                connected.errback(error)

        task.add_done_callback(done)
        return connected

    async def _connect(self, protocol: LoopProtocol) -> None:
        try:
            await asyncio.wait_for(self._open(protocol), CONNECT_SECONDS)
        except SSLCertVerificationError as error:
            raise NotTrusted(
                f"the server's certificate is not valid: {error.verify_message}"
            ) from error
        except SSLError as error:
            raise self._error(f"TLS: {error.reason}") from error
        except (asyncio.TimeoutError, TimeoutError) as error:
            raise self._error(f"no connection within {CONNECT_SECONDS:g} s") from error
        except socket.gaierror as error:
            raise self._error(str(error.strerror)) from error
        except OSError as error:
            ended = "the server closed the connection"
            text = os.strerror(error.errno) if error.errno else str(error) or ended
            raise self._error(f"TLS: {text}" if text == ended else text) from error

    async def _open(self, protocol: LoopProtocol) -> None:
        address = self._address
        if address.path:
            await self._loop.create_unix_connection(lambda: protocol, address.path)
        else:
            await self._loop.create_connection(
                lambda: protocol, address.host, address.port, ssl=self._ssl
            )

    def _error(self, reason: str) -> NotConnected:
        return NotConnected(f"cannot connect to {self._address}: {reason}")

    def __repr__(self) -> str:
        return f"<LoopEndpoint {self._address}>"
