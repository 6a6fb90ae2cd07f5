"""Pages about a server for those who run it: /metrics, /healthz, /readyz.

They go to an endpoint of their own, which is not for strangers: they ask for no password.
"""

from __future__ import annotations

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

from chat_protocol.domain.batch import Lookup
from chat_protocol.errors import Unavailable
from chat_protocol.server.factory import ChatFactory

__all__ = ["PROBE_SECONDS", "status_site"]

PROBE_SECONDS = 5.0
"""Seconds that the store has to answer before a server is not ready."""

_PAGES = b"/metrics  figures for Prometheus\n/healthz  alive\n/readyz   serves, the store answers\n"


def status_site(
    factory: Callable[[], ChatFactory | None], registry: CollectorRegistry, clock: IReactorTime
) -> Site:
    """The pages.

    Args:
        factory: the server's; None while it does not serve.
        registry: see metrics.registry_for.
        clock: for time-outs.
    """
    root = _Root()  # type: ignore[no-untyped-call]
    root.putChild(b"", _Text(_PAGES))
    root.putChild(b"metrics", _Metrics(registry))
    root.putChild(b"healthz", _Text(b"alive\n"))
    root.putChild(b"readyz", _Ready(factory, clock))
    site = Site(root, reactor=clock, timeout=30)
    site.noisy = False
    # A line for each scrape would be most of the log.
    site.log = _say_nothing  # type: ignore[method-assign]
    return site


def _say_nothing(request: object) -> None:
    """See Site.log."""


class _Root(Resource):
    def getChild(self, path: bytes, request: Request) -> IResource:
        return notFound()


class _Page(Resource):
    """A page that can be read, and nothing else."""

    isLeaf = True

    def render(self, request: Request) -> bytes | int:
        """See IResource."""
        if request.method not in (b"GET", b"HEAD"):
            request.setHeader("allow", "GET, HEAD")
            return _plain(request, 405, b"there is nothing to change here\n")
        return self.shown(request)

    def shown(self, request: Request) -> bytes | int:
        """The page."""
        raise NotImplementedError


class _Text(_Page):
    def __init__(self, text: bytes) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._text = text

    def shown(self, request: Request) -> bytes:
        return _plain(request, 200, self._text)


class _Metrics(_Page):
    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._registry = registry

    def shown(self, request: Request) -> bytes:
        encoder, content_type = choose_encoder(request.getHeader("accept") or "")
        request.setHeader("content-type", content_type)
        page: bytes = encoder(self._registry)
        return page


class _Ready(_Page):
    def __init__(self, factory: Callable[[], ChatFactory | None], clock: IReactorTime) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._factory = factory
        self._clock = clock

    def shown(self, request: Request) -> bytes | int:
        factory = self._factory()
        if factory is None:
            return _plain(request, 503, b"not serving\n")
        gone = False

        def ended(_: object) -> None:
            nonlocal gone
            gone = True

        request.notifyFinish().addErrback(ended)

        def answer(code: int, text: bytes) -> None:
            if not gone:
                request.write(_plain(request, code, text))
                request.finish()

        def failed(failure: Failure) -> None:
            error = failure.value
            known = error.detail if isinstance(error, Unavailable) else "it does not answer"
            answer(503, f"{known}\n".encode())

        # The store is asked, not the last batch: where it was refused nobody may come any more.
        asked: Deferred[Any] = factory.exchange.query(Lookup(""))
        asked.addTimeout(PROBE_SECONDS, self._clock)
        asked.addCallbacks(lambda _: answer(200, b"ready\n"), failed)
        return NOT_DONE_YET


def _plain(request: Request, code: int, text: bytes) -> bytes:
    request.setResponseCode(code)
    request.setHeader("content-type", "text/plain; charset=utf-8")
    request.setHeader("content-length", str(len(text)))
    return text
