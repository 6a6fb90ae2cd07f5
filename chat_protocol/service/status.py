"""The HTTP endpoint for operators: /metrics, /healthz and /readyz.

It has an endpoint of its own because it does not ask for a password: keep it away from clients.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.web.pages import notFound
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from chat_protocol.domain.queries import Lookup
from chat_protocol.errors import Unavailable
from chat_protocol.server.factory import ChatFactory

__all__ = ["PROBE_SECONDS", "status_site"]

PROBE_SECONDS = 5.0
"""Timeout of the query to the store, in seconds; after it, /readyz answers 503."""

_INDEX = (
    b"/metrics  metrics for Prometheus\n"
    b"/healthz  200 while the process is alive\n"
    b"/readyz   200 while the server accepts connections and the store answers\n"
)


def status_site(
    factory: Callable[[], ChatFactory | None], registry: CollectorRegistry, clock: IReactorTime
) -> Site:
    """Return the site of the status endpoint.

    Args:
        factory: returns the server's factory, or None while it does not accept connections.
        registry: the metrics; see metrics.registry_for.
        clock: for timeouts.
    """
    root = _StatusRoot()  # type: ignore[no-untyped-call]
    root.putChild(b"", _TextResource(_INDEX))
    root.putChild(b"metrics", _MetricsResource(registry))
    root.putChild(b"healthz", _TextResource(b"alive\n"))
    root.putChild(b"readyz", _ReadinessResource(factory, clock))
    site = Site(root, reactor=clock, timeout=30)
    site.noisy = False
    # An access log would add a line for every scrape.
    site.log = _discard  # type: ignore[method-assign]
    return site


def _discard(request: object) -> None:
    """Log no line for the request."""


class _StatusRoot(Resource):
    def getChild(self, path: bytes, request: Request) -> IResource:
        return notFound()


class _ReadOnlyResource(Resource, ABC):
    """A resource that answers GET and HEAD, and refuses all other methods."""

    isLeaf = True

    def render(self, request: Request) -> bytes | int:
        if request.method not in (b"GET", b"HEAD"):
            request.setHeader("allow", "GET, HEAD")
            return _plain(request, 405, b"method not allowed: use GET or HEAD\n")
        return self._content(request)

    @abstractmethod
    def _content(self, request: Request) -> bytes | int:
        """Set the response code and the headers; return the body, or NOT_DONE_YET."""


class _TextResource(_ReadOnlyResource):
    def __init__(self, text: bytes) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._text = text

    def _content(self, request: Request) -> bytes:
        return _plain(request, 200, self._text)


class _MetricsResource(_ReadOnlyResource):
    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._registry = registry

    def _content(self, request: Request) -> bytes:
        encoder, content_type = choose_encoder(request.getHeader("accept") or "")
        request.setHeader("content-type", content_type)
        text: bytes = encoder(self._registry)
        return text


class _ReadinessResource(_ReadOnlyResource):
    def __init__(self, factory: Callable[[], ChatFactory | None], clock: IReactorTime) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._factory = factory
        self._clock = clock

    def _content(self, request: Request) -> bytes | int:
        factory = self._factory()
        if factory is None:
            return _plain(request, 503, b"the server does not accept connections\n")
        disconnected = False

        def lost(_: object) -> None:
            nonlocal disconnected
            disconnected = True

        request.notifyFinish().addErrback(lost)

        def answer(code: int, text: bytes) -> None:
            if not disconnected:
                request.write(_plain(request, code, text))
                request.finish()

        def failed(failure: Failure) -> None:
            error = failure.value
            known = error.detail if isinstance(error, Unavailable) else "the store does not answer"
            answer(503, f"{known}\n".encode())

        # A query, because the result of the last batch may be old: if a balancer has removed the
        # server after a refused batch, no client causes another one.
        query: Deferred[Any] = factory.exchange.query(Lookup(""))
        query.addTimeout(PROBE_SECONDS, self._clock)
        query.addCallbacks(lambda _: answer(200, b"ready\n"), failed)
        return NOT_DONE_YET


def _plain(request: Request, code: int, text: bytes) -> bytes:
    request.setResponseCode(code)
    request.setHeader("content-type", "text/plain; charset=utf-8")
    request.setHeader("content-length", str(len(text)))
    return text
