"""The protocol that each connection begins with: by the first bytes it chooses the next one."""

from __future__ import annotations

from chat_protocol.server.connection import ChatProtocol
from chat_protocol.server.sessionless import Acceptor, SessionlessConnection
from chat_protocol.server.sniffer import NotServed, Sniffer, Spoken
from chat_protocol.transport.sockets import is_tls
from chat_protocol.wire.codec import MAX_FRAME_BEFORE_LOGIN

__all__ = ["FirstBytes"]


class FirstBytes(SessionlessConnection):
    """A connection that has not spoken yet.

    When the first bytes have arrived, it hands the connection over: to a ChatProtocol, to HTTP, or
    to TLS with another FirstBytes inside. It closes connections that speak anything else.

    Args:
        acceptor: the factory.
        sniffer: tells what the first bytes begin.
        is_new: whether the connection is new; False: it was handed over from another protocol.
    """

    _data = b""

    def __init__(self, acceptor: Acceptor, sniffer: Sniffer, is_new: bool = True) -> None:
        super().__init__(acceptor)
        self._sniffer = sniffer
        self._is_new = is_new

    @property
    def unfinished(self) -> object | None:
        return self if self._data else None

    def connectionMade(self) -> None:
        if self._is_new:
            self.announce()

    def received(self, data: bytes) -> None:
        """Hand the connection over, with what has arrived, or close it."""
        data = self._data + data
        self._data = b""
        sniffer = self._sniffer
        try:
            spoken = sniffer.spoken(data, is_tls(self.transport))
        except NotServed as error:
            self.acceptor.log_limiter.about(
                self, "first_bytes", "Closing {peer}: {why}", why=str(error)
            )
            self.close()
            return
        if spoken is Spoken.CHAT:
            self._go_on(self.acceptor.chat_protocol(), data)
        elif spoken is Spoken.TLS:
            self._begin_tls(data)
        elif spoken is Spoken.HTTP:
            assert sniffer.web is not None
            self._go_on(sniffer.web.http_connection(self.acceptor), data)
        elif spoken is Spoken.UNDECIDED:
            self._data = data
        else:
            length = int.from_bytes(data[:4], "big")
            self.acceptor.length_out_of_bounds(self, length, MAX_FRAME_BEFORE_LOGIN)
            self.close()

    def _go_on(self, after: SessionlessConnection | ChatProtocol, data: bytes) -> None:
        self.hand_over(after)
        after.dataReceived(data)

    def _begin_tls(self, data: bytes) -> None:
        assert self._sniffer.tls is not None
        after = FirstBytes(self.acceptor, self._sniffer, is_new=False)
        tls = self._sniffer.tls.wrap(after)
        self.hand_over(after, tls)
        after.is_secured = True
        tls.dataReceived(data)  # type: ignore[no-untyped-call]
