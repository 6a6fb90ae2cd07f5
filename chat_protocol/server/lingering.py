"""Closing a connection so that its peer receives everything that was sent to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IHalfCloseableDescriptor, IReactorTime

from chat_protocol.domain.limits import Limits
from chat_protocol.transport.sockets import close_below_tls, close_socket, is_tls

__all__ = ["LingeringClose"]


class LingeringClose:
    """Closes a connection in two steps: what is owed goes out, then the peer closes its side.

    A socket that is closed while bytes arrive makes the kernel reset the connection, and the peer
    loses the last answers (RFC 9112, section 9.6). So the server closes its sending side only, and
    reads on until the peer has closed its own. TLS does the same by close_notify.

    It begins when it is made. A peer that takes too long for the first step, ``close_seconds``, or
    for the second, ``linger_seconds``, is cut off.

    Args:
        transport: of the connection.
        limits: names the seconds.
        clock: measures them.
        peer_done: whether the peer has closed its side already.
        reads_on: whether the server reads, and drops, what arrives in the second step. False: the
            peer sends too much. Then it is cut off at the end of ``linger_seconds``.
    """

    __slots__ = (
        "_clock",
        "_deadline",
        "_limits",
        "_lingers",
        "_peer_done",
        "_reads_on",
        "_transport",
    )

    def __init__(
        self,
        transport: Any,
        limits: Limits,
        clock: IReactorTime,
        peer_done: bool = False,
        reads_on: bool = True,
    ) -> None:
        self._transport = transport
        self._limits = limits
        self._clock = clock
        self._peer_done = peer_done
        self._reads_on = reads_on
        self._lingers = False
        self._deadline: IDelayedCall | None = None
        self._set_deadline(limits.close_seconds, self.cut_off)

    def linger(self) -> None:
        """Go on with the second step: the transport has taken everything."""
        self._lingers = True
        transport = self._transport
        if not self._reads_on and not self._peer_done:
            self._set_deadline(self._limits.linger_seconds, self.cut_off)
            transport.pauseProducing()
            if self._half_closes:
                transport.loseWriteConnection()
            else:
                transport.loseConnection()
        elif is_tls(transport):
            # Read on: the peer answers close_notify with its own.
            self._set_deadline(self._limits.linger_seconds, self.cut_off)
            transport.loseConnection()
            transport.resumeProducing()
        elif self._peer_done or not self._half_closes:
            transport.loseConnection()
        else:
            self._set_deadline(self._limits.linger_seconds, self.cut_off)
            transport.loseWriteConnection()
            transport.resumeProducing()

    def peer_closed(self) -> None:
        """Note that the peer has closed its side."""
        self._peer_done = True
        if self._lingers:
            self._transport.loseConnection()

    def cut_off(self) -> None:
        """Close the connection now.

        Bytes that the kernel has not taken are lost. So are those that the peer has not taken,
        unless all of them are with the kernel.
        """
        transport = self._transport
        if self._lingers and is_tls(transport):
            # What was written before close_notify still goes out, if the peer takes it in time.
            close_below_tls(transport)
            self._set_deadline(self._limits.close_seconds, transport.abortConnection)
        elif self._lingers and self._half_closes:
            # A moment later: the transport may be what calls.
            self._set_deadline(0, lambda: close_socket(transport))
        else:
            transport.abortConnection()

    def cancel(self) -> None:
        """Cut nobody off: the connection is gone."""
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()

    @property
    def _half_closes(self) -> bool:
        return IHalfCloseableDescriptor.providedBy(self._transport)

    def _set_deadline(self, seconds: float, call: Callable[[], object]) -> None:
        self.cancel()
        self._deadline = self._clock.callLater(seconds, call)
