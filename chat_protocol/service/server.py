"""The server as a service: opens the store, then listens; stops in the opposite order."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from chat_protocol.domain.limits import Limits
from chat_protocol.domain.meter import Meter
from chat_protocol.domain.retention import Retention
from chat_protocol.errors import CertificateUnusable, ChatError, StoreUnusable
from chat_protocol.interfaces import IStore
from chat_protocol.server.authentication import Authenticator
from chat_protocol.server.factory import ChatFactory
from chat_protocol.server.proxy_protocol import ProxiedFactory
from chat_protocol.server.sniffer import IWeb, Opening
from chat_protocol.service.config import TLSConfig

if TYPE_CHECKING:
    from chat_protocol.service.tls import Certificates

__all__ = ["CannotServe", "ChatService"]

_PROXIED = "haproxy:"
"""What the words of an endpoint begin with behind which there is a proxy."""

_NAMES_SHOWN = 10
"""Users that the status line names."""


class CannotServe(ChatError):
    """The server cannot start; the text is a sentence for the operator."""


class ChatService(Service):
    """One server of the protocol.

    Args:
        reactor: provides IReactorTime and what the endpoints and the store need.
        store: not opened yet; opened and closed here.
        endpoints: where to listen, each with the words that name it.
        limits: on everything a peer can make grow.
        status_interval: seconds between two looks at who is on-line; 0: none.
        authenticator: checks passwords and certificates; without one nobody needs any.
        tls: on every endpoint; needs what the extra ``tls`` installs.
        retention: seconds for which messages are kept, at least; 0: for ever.
        status: where to show /metrics, /healthz and /readyz, each with the words that name it;
            needs what the extra ``metrics`` installs.
        web: whether each endpoint has the page and its WebSocket; without what the extra ``web``
            installs the log says that it has not.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        store: IStore,
        endpoints: Sequence[tuple[str, IStreamServerEndpoint]],
        limits: Limits,
        status_interval: float = 0,
        authenticator: Authenticator | None = None,
        tls: TLSConfig | None = None,
        retention: float = 0,
        status: Sequence[tuple[str, IStreamServerEndpoint]] = (),
        web: bool = False,
    ) -> None:
        self._web = web
        self._authenticator = authenticator
        self._tls = tls
        self._certificates: Certificates | None = None
        self._reactor = reactor
        self._store = store
        self._endpoints = endpoints
        self._pages = status
        self._meter = Meter(reactor.seconds) if status else None
        self._limits = limits
        self._retention = Retention(store, reactor, time.time_ns, retention) if retention else None
        self._status_interval = status_interval
        self._status = LoopingCall(self._log_status)
        self._status.clock = reactor
        self._last_status: object = None
        self._starting: Deferred[None] | None = None
        self._serves = False
        self.factory: ChatFactory | None = None
        """There while the store is open."""
        self.ports: list[IListeningPort] = []
        """Where it listens, in the order of the endpoints."""
        self.status_ports: list[IListeningPort] = []
        """The same for the pages about it."""

    def startService(self) -> None:
        """Begin to start; :meth:`when_serving` says how that ends."""
        super().startService()  # type: ignore[no-untyped-call]
        self._starting = Deferred.fromCoroutine(self._start())

    def when_serving(self) -> Deferred[None]:
        """Fires once every endpoint accepts connections.

        Fails with CannotServe, whose text is for the operator, when the certificate cannot be
        used, the store not be opened or an endpoint not be listened on; nothing is left open
        then. To be called once.
        """
        assert self._starting is not None
        return self._starting

    async def _start(self) -> None:
        opening = self._open_tls()
        try:
            await self._show_status()
            await self._open_store()
            await self._serve(opening)
        except CannotServe:
            await self._stop()
            raise

    async def _show_status(self) -> None:
        if self._meter is None:
            return
        # Here, for the extra that it needs may not be installed.
        from chat_protocol.service.metrics import registry_for
        from chat_protocol.service.status import status_site

        registry = registry_for(self._serving_factory, self._store, self._meter)
        site = status_site(self._serving_factory, registry, self._reactor)
        for words, endpoint in self._pages:
            self.status_ports.append(await _listen(words, endpoint, site, "--status"))
        self.log.info("Status on {ports}", ports=", ".join(words for words, _ in self._pages))

    def _serving_factory(self) -> ChatFactory | None:
        return self.factory if self._serves else None

    async def _open_store(self) -> None:
        try:
            await self._store.open()
        except StoreUnusable as error:
            await self._store.close()
            raise CannotServe(str(error)) from error

    async def _serve(self, opening: Opening) -> None:
        factory = ChatFactory(
            self._store,
            self._reactor,
            time.time_ns,
            self._limits,
            authenticator=self._authenticator,
            opening=opening,
            meter=self._meter,
        )
        self.factory = factory
        proxied = ProxiedFactory(factory, self._reactor)
        for words, endpoint in self._endpoints:
            for_it = proxied if words.startswith(_PROXIED) else factory
            self.ports.append(await _listen(words, endpoint, for_it, "--listen"))
        self._serves = True
        if self._certificates is not None:
            self._certificates.start()
        self.log.info("Store {store}", store=self._store.description)
        self.log.info("Serving on {ports}", ports=", ".join(words for words, _ in self._endpoints))
        if self._retention is not None:
            self._retention.start()
        if self._status_interval:
            self._status.start(self._status_interval).addErrback(self._status_failed)

    def _open_tls(self) -> Opening:
        if self._tls is None:
            return Opening(web=self._open_web())
        # Here, for the extra that it needs may not be installed.
        from chat_protocol.service.tls import Certificates

        try:
            self._certificates = Certificates(self._tls, self._reactor, time.time_ns)
        except CertificateUnusable as error:
            raise CannotServe(str(error)) from error
        return Opening(self._certificates, self._tls.required, self._open_web())

    def _open_web(self) -> IWeb | None:
        if not self._web:
            return None
        try:
            # Here, for the extra that it needs may not be installed.
            from chat_protocol.web.site import Web
        except ImportError:
            self.log.warn(
                "There is no page: it needs what is not installed; pip install"
                " 'chat-protocol[web]', or give --no-web"
            )
            return None
        return Web(self._reactor)

    def stopService(self) -> Deferred[None]:
        """Stop accepting, answer what was accepted, close; fires when the store is closed."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._serves = False
        if self._status.running:
            self._status.stop()
        if self._certificates is not None:
            self._certificates.stop()
        await _stop_listening(self.ports)
        factory, self.factory = self.factory, None
        if factory is not None:
            await factory.shut_down()
            if self._retention is not None:
                await self._retention.stop()
            await self._store.close()
            self.log.info("Stopped")
        await _stop_listening(self.status_ports)

    def _log_status(self) -> None:
        factory = self.factory
        if factory is None:
            return
        online = factory.directory.online
        status = (len(online), self._store.registered)
        names = sorted(user.name for user in online[:_NAMES_SHOWN])
        if (status, names) == self._last_status:
            return
        self._last_status = (status, names)
        more = f" and {len(online) - len(names)} more" if len(online) > len(names) else ""
        self.log.info(
            "Users: {online} on-line{names}, {offline} off-line",
            online=len(online),
            names=f" ({', '.join(map(ascii, names))}{more})" if names else "",
            offline=max(0, self._store.registered - len(online)),
        )

    def _status_failed(self, failure: Any) -> None:
        self.log.failure("The status line failed", failure)


async def _listen(
    words: str, endpoint: IStreamServerEndpoint, factory: Factory[Any], option: str
) -> IListeningPort:
    try:
        port: IListeningPort = await endpoint.listen(factory)
    except CannotListenError as error:
        reason = error.socketError
        reason = getattr(reason, "strerror", None) or reason
        raise CannotServe(
            f"cannot listen on {words}: {reason}; give another {option}, or stop what is there"
        ) from error
    except Exception as error:
        # An endpoint may fail in any way; what it says is what the operator needs.
        raise CannotServe(f"cannot listen on {words}: {error}; give another {option}") from error
    return port


async def _stop_listening(ports: list[IListeningPort]) -> None:
    stopping = [maybeDeferred(port.stopListening) for port in ports]
    ports.clear()
    await gatherResults(stopping, consumeErrors=True)
