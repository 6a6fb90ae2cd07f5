"""The server as a Twisted service: opens the store, then listens; stops in reverse order."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail, gatherResults, maybeDeferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from chat_protocol.domain.limits import Limits
from chat_protocol.domain.metrics import Meter
from chat_protocol.domain.ports import IStore
from chat_protocol.domain.retention import Retention
from chat_protocol.domain.structural import ServerEndpoint
from chat_protocol.errors import CertificateUnusable, ChatError, StoreUnusable
from chat_protocol.server.authentication import Authenticator
from chat_protocol.server.factory import ChatFactory
from chat_protocol.server.proxy_protocol import ProxiedFactory
from chat_protocol.server.sniffer import IWeb, Sniffer
from chat_protocol.server.trusted_proxies import TrustedProxies
from chat_protocol.service.config import TLSConfig
from chat_protocol.service.exit import exit_with, started_by_twisted

if TYPE_CHECKING:
    from chat_protocol.service.tls import CertificateReloader

__all__ = ["PROXY_PREFIX", "CannotServe", "ChatService"]

PROXY_PREFIX = "haproxy:"
"""Prefix of the strings of endpoints on which a proxy sends the PROXY protocol."""

_STATUS_NAMES = 10
"""Maximum number of users that the status line names."""


class CannotServe(ChatError):
    """The server cannot start; the text tells the operator what to do."""


class ChatService(Service):
    """A server of the protocol, with its store and its endpoints.

    Args:
        reactor: provides IReactorTime and the interfaces that the endpoints and the store need.
        store: a store that is not open; the service opens and closes it.
        endpoints: the endpoints to listen on, each with its endpoint string.
        limits: the limits on the resources that clients can use.
        status_interval: seconds between status lines in the log; 0: no status lines.
        authenticator: checks passwords and certificates; None: a login needs neither.
        tls: TLS on all endpoints; requires the extra ``tls``.
        retention: minimum age in seconds at which messages expire; 0: messages never expire.
        status: the endpoints for /metrics, /healthz and /readyz, each with its endpoint string;
            requires the extra ``metrics``.
        web: whether all endpoints serve the web page and its WebSocket. If the extra ``web`` is
            not installed, the service logs a warning and goes on without them.
        trusted_proxies: see ChatFactory.
        factory: makes the factory of the connections, with the arguments of ChatFactory: a
            subclass, or ``partial(ChatFactory, hooks=..., registry=..., routes=...)``.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        store: IStore | Any,
        endpoints: Sequence[tuple[str, IStreamServerEndpoint | ServerEndpoint]],
        limits: Limits,
        status_interval: float = 0,
        authenticator: Authenticator | None = None,
        tls: TLSConfig | None = None,
        retention: float = 0,
        status: Sequence[tuple[str, IStreamServerEndpoint | ServerEndpoint]] = (),
        web: bool = False,
        trusted_proxies: TrustedProxies | None = None,
        factory: Callable[..., ChatFactory] = ChatFactory,
    ) -> None:
        self._make_factory = factory
        self._web = web
        self._trusted_proxies = trusted_proxies
        self._authenticator = authenticator
        self._tls = tls
        self._certificates: CertificateReloader | None = None
        self._reactor = reactor
        self._store = store
        self._endpoints = endpoints
        self._status_endpoints = status
        self._meter = Meter(reactor.seconds) if status else None
        self._limits = limits
        self._retention = Retention(store, reactor, time.time_ns, retention) if retention else None
        self._status_interval = status_interval
        self._status_lines = LoopingCall(self._log_status)
        self._status_lines.clock = reactor
        self._last_status: object = None
        self._outcome: tuple[Failure | None] | None = None
        """What became of the start; None: it is not known yet."""
        self._waiting: list[Deferred[None]] = []
        """What when_serving() has returned until then."""
        self._is_awaited = False
        """Whether when_serving() was called."""
        self._sentence = ""
        """Why the server cannot start, for stderr."""
        self._serving = False
        self.factory: ChatFactory | None = None
        """The factory of the connections; None while the store is closed."""
        self.ports: list[IListeningPort] = []
        """The listening ports, in the order of the endpoints."""
        self.status_ports: list[IListeningPort] = []
        """The listening ports of the status endpoints, in their order."""

    def startService(self) -> None:
        """Start the server; :meth:`when_serving` tells the result.

        A server that cannot start logs why, as critical. If twistd or twist started it, as part of
        an application, and nobody has called :meth:`when_serving`, the process ends with status 1.
        """
        super().startService()  # type: ignore[no-untyped-call]
        self._outcome = None
        starting = Deferred.fromCoroutine(self._start())
        starting.addErrback(self._start_failed, started_by_twisted())
        starting.addBoth(self._tell)

    def when_serving(self) -> Deferred[None]:
        """Return a Deferred that fires once every endpoint accepts connections.

        It fails with CannotServe if the certificate cannot be used, the store cannot be opened, or
        an endpoint cannot listen. In that case the service has closed everything that it opened.
        """
        self._is_awaited = True
        if self._outcome is None:
            waiting: Deferred[None] = Deferred()
            self._waiting.append(waiting)
            return waiting
        (failure,) = self._outcome
        return succeed(None) if failure is None else fail(failure)

    def _tell(self, failure: Failure | None) -> None:
        """Fire what :meth:`when_serving` has returned."""
        self._outcome = (failure,)
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if failure is None:
                one.callback(None)
            else:
                one.errback(failure)

    def _start_failed(self, failure: Failure, by_twisted: bool) -> Failure:
        error = failure.value
        if isinstance(error, CannotServe):
            self.log.critical("chatserver cannot start: {reason}", reason=str(error))
            self._sentence = f"chatserver: {error}"
        else:
            self.log.failure("chatserver cannot start", failure)
            self._sentence = "chatserver: cannot start; the log has the traceback"
        if by_twisted:
            self._reactor.callLater(0, self._end_program)
        return failure

    def _end_program(self) -> None:
        if not self._is_awaited:
            exit_with(self._reactor, 1, self._sentence)

    async def _start(self) -> None:
        sniffer = self._make_sniffer()
        try:
            await self._listen_for_status()
            await self._open_store()
            await self._serve(sniffer)
        except CannotServe:
            await self._stop()
            raise

    async def _listen_for_status(self) -> None:
        if self._meter is None:
            return
        # Imported here because the extra ``metrics`` is optional.
        from chat_protocol.service.metrics import registry_for
        from chat_protocol.service.status import status_site

        registry = registry_for(self._serving_factory, self._store, self._meter)
        site = status_site(self._serving_factory, registry, self._reactor)
        for description, endpoint in self._status_endpoints:
            self.status_ports.append(await _listen(description, endpoint, site, "--status"))
        self.log.info("Status on {ports}", ports=_join_descriptions(self._status_endpoints))

    def _serving_factory(self) -> ChatFactory | None:
        return self.factory if self._serving else None

    async def _open_store(self) -> None:
        try:
            await self._store.open()
        except StoreUnusable as error:
            await self._store.close()
            raise CannotServe(str(error)) from error

    async def _serve(self, sniffer: Sniffer) -> None:
        factory = self._make_factory(
            self._store,
            self._reactor,
            time.time_ns,
            self._limits,
            authenticator=self._authenticator,
            sniffer=sniffer,
            meter=self._meter,
            trusted_proxies=self._trusted_proxies,
        )
        self.factory = factory
        proxied = ProxiedFactory(factory)
        for description, endpoint in self._endpoints:
            accepting = proxied if description.startswith(PROXY_PREFIX) else factory
            self.ports.append(await _listen(description, endpoint, accepting, "--listen"))
        self._serving = True
        self._warn_if_open()
        if self._certificates is not None:
            self._certificates.start()
        self.log.info("Store {store}", store=self._store.description)
        self.log.info("Serving on {ports}", ports=_join_descriptions(self._endpoints))
        if self._retention is not None:
            self._retention.start()
        if self._status_interval:
            self._status_lines.start(self._status_interval).addErrback(self._status_failed)

    def _warn_if_open(self) -> None:
        if self._authenticator is not None:
            return
        for description, _ in self._endpoints:
            if _has_every_interface(description):
                self.log.warn(
                    "Anybody who reaches {endpoint} can take any name that is offline, because no"
                    " login needs a password. Give --auth, or for this machine only --listen"
                    " {endpoint}:interface=127.0.0.1.",
                    endpoint=description,
                )

    def _make_sniffer(self) -> Sniffer:
        if self._tls is None:
            return Sniffer(web=self._open_web())
        # Imported here because the extra ``tls`` is optional.
        from chat_protocol.service.tls import CertificateReloader

        try:
            self._certificates = CertificateReloader(self._tls, self._reactor, time.time_ns)
        except CertificateUnusable as error:
            raise CannotServe(str(error)) from error
        return Sniffer(self._certificates, self._tls.required, self._open_web())

    def _open_web(self) -> IWeb | None:
        if not self._web:
            return None
        try:
            # Imported here because the extra ``web`` is optional.
            from chat_protocol.web.site import Web
        except ImportError:
            self.log.warn(
                "Cannot serve the web page: the extra 'web' is not installed. Run pip install"
                " 'chat-protocol[web]' or give --no-web."
            )
            return None
        authenticator = self._authenticator
        passwords = authenticator is not None and authenticator.takes_passwords
        return Web(self._reactor, passwords=passwords)

    def reload(self) -> None:
        """Read the certificates and passwords again, although the files look unchanged.

        What cannot be read is reported in the log, and the old one stays in use.
        """
        if self._certificates is not None:
            self._certificates.reload()
        if self._authenticator is not None:
            self._authenticator.reload()

    def stopService(self) -> Deferred[None]:
        """Stop the server.

        The server stops listening, answers the requests that it has accepted, closes the
        connections and then the store. The Deferred fires when the store is closed.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._serving = False
        if self._status_lines.running:
            self._status_lines.stop()
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
        names = sorted(user.name for user in online[:_STATUS_NAMES])
        if (status, names) == self._last_status:
            return
        self._last_status = (status, names)
        more = f" and {len(online) - len(names)} more" if len(online) > len(names) else ""
        self.log.info(
            "Users: {online} online{names}, {offline} offline",
            online=len(online),
            names=f" ({', '.join(map(ascii, names))}{more})" if names else "",
            offline=max(0, self._store.registered - len(online)),
        )

    def _status_failed(self, failure: Any) -> None:
        self.log.failure("The server stopped logging status lines", failure)


def _has_every_interface(description: str) -> bool:
    """Return whether an endpoint string names a port but no interface."""
    kind, *arguments = description.removeprefix(PROXY_PREFIX).split(":")
    is_port = kind in ("tcp", "tcp6", "ssl", "tls")
    return is_port and not any(one.startswith("interface=") for one in arguments)


def _join_descriptions(endpoints: Sequence[tuple[str, object]]) -> str:
    return ", ".join(description for description, _ in endpoints)


async def _listen(
    description: str,
    endpoint: IStreamServerEndpoint | ServerEndpoint,
    factory: Factory[Any],
    option: str,
) -> IListeningPort:
    try:
        port: IListeningPort = await endpoint.listen(factory)
    except CannotListenError as error:
        reason = error.socketError
        reason = getattr(reason, "strerror", None) or reason
        raise CannotServe(
            f"cannot listen on {description}: {reason}. Give another {option} or stop the program"
            " that uses the address."
        ) from error
    except Exception as error:
        # An endpoint of a plugin may raise any exception. Its text is what the operator needs.
        reason = str(error).rstrip(".")
        raise CannotServe(
            f"cannot listen on {description}: {reason}. Give another {option}."
        ) from error
    return port


async def _stop_listening(ports: list[IListeningPort]) -> None:
    stopping = [maybeDeferred(port.stopListening) for port in ports]
    ports.clear()
    await gatherResults(stopping, consumeErrors=True)
