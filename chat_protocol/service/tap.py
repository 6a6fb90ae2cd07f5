"""``twistd chatserver``: the options, and the service they make."""

from __future__ import annotations

import gc
import os
import resource
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.util import find_spec
from typing import Any

from twisted.application.service import IService
from twisted.cred.checkers import FilePasswordDB
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.strcred import AuthOptionMixin
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.logger import ILogObserver, Logger
from twisted.python import usage
from twisted.python.failure import Failure

from chat_protocol.domain.durations import parse_duration
from chat_protocol.domain.limits import Limits
from chat_protocol.domain.rates import Rate
from chat_protocol.server.authentication import Authenticator
from chat_protocol.service.config import (
    DEFAULT_LISTEN,
    DEFAULT_STORE,
    ServerConfig,
    TLSConfig,
)
from chat_protocol.service.exit import exit_with, stop_on_sigterm
from chat_protocol.service.json_log import json_observer
from chat_protocol.service.server import CannotServe, ChatService
from chat_protocol.service.systemd import Notifier
from chat_protocol.stores.registry import STORES, store_from_url

__all__ = ["Options", "makeService"]

_SWITCH_INTERVAL = 0.0005
"""Seconds after which the reactor's thread gives the GIL to the store's. The default of 5 ms
would add that much to every commit on a busy server."""

_GC_THRESHOLDS = (5_000, 5, 10)
"""What is allocated between two collections is mostly messages on their way, and no garbage."""


def _limit(option: str) -> Callable[[str], int]:
    def limit(text: str) -> int:
        if not text.isdecimal():
            raise usage.UsageError(f"--{option} wants a whole number, 0 for no limit, not {text!r}")
        return int(text)

    return limit


def _rate(option: str) -> Callable[[str], Rate]:
    def rate(text: str) -> Rate:
        steady, _, burst = text.partition("/")
        try:
            found = Rate(float(steady), int(burst or 0))
        except ValueError:
            found = Rate(-1, 0)
        if not 0 <= found.steady < float("inf") or (found.steady and found.burst < 1):
            raise usage.UsageError(
                f"--{option} wants a number a second and one at once, such as 50/1000, or 0 for no"
                f" limit, not {text!r}"
            )
        return found

    return rate


def _rate_option(option: str, what: str) -> list[Any]:
    default: Rate = getattr(Limits, option.replace("-", "_"))
    return [option, None, default, f"{what}, RATE/BURST: a second and at once", _rate(option)]


def _seconds(option: str) -> Callable[[str], float]:
    def seconds(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = -1
        if not 0 <= value < float("inf"):
            raise usage.UsageError(f"--{option} wants a number of seconds, not {text!r}")
        return value

    return seconds


def _age(option: str) -> Callable[[str], float]:
    def age(text: str) -> float:
        try:
            return parse_duration(text)
        except ValueError as error:
            raise usage.UsageError(f"--{option}: {error}") from None

    return age


def _log_format(text: str) -> str:
    if text not in ("text", "json"):
        raise usage.UsageError(f"--log-format is text or json, not {text!r}")
    return text


class Options(usage.Options, AuthOptionMixin):
    """The options of ``twistd chatserver``."""

    synopsis = "[options]"
    supportedInterfaces = (IUsernamePassword,)
    authOutput = sys.stdout
    longdesc = (
        "A durable Console Chat server. Without options it listens on port 5555 and keeps users"
        " and messages in chat.db in the current directory. Endpoints are strings as Twisted has"
        " them: tcp:5555:interface=127.0.0.1, unix:/run/chat.sock,"
        " systemd:domain=INET:index=0. With --certificate, each of them takes TLS as well; each"
        " has the page for browsers, http://localhost:5555. For limits, 0 means none."
    )

    optParameters = [
        ["store", "s", DEFAULT_STORE, "Where users and messages are kept: "
         + " or ".join(kind.usage for kind in STORES.values())],
        ["retention", None, ServerConfig.retention,
         "Forget messages that are older, also those that wait: 90d, 12h, 2y, ...; 0: none",
         _age("retention")],
        ["mailbox-limit", None, Limits.mailbox,
         "Messages that may wait for one user", _limit("mailbox-limit")],
        ["max-connections", None, Limits.connections, "Connections at a time",
         _limit("max-connections")],
        ["max-connections-per-address", None, Limits.connections_per_address,
         "Connections from one address at a time", _limit("max-connections-per-address")],
        _rate_option("connection-rate-per-address", "New connections from one address"),
        _rate_option("login-rate-per-address", "Logins from one address"),
        _rate_option("login-rate", "Logins with one name from one address"),
        _rate_option("message-rate", "Messages and other requests of one user"),
        _rate_option("message-rate-per-address", "The same of all at one address"),
        ["login-seconds", None, Limits.login_seconds,
         "Seconds that a connection may be without a login", _seconds("login-seconds")],
        ["frame-seconds", None, Limits.frame_seconds, "Seconds that a frame may take to arrive",
         _seconds("frame-seconds")],
        ["log-format", None, "text", "text, or json: an object a line, for programs that read"
         " logs", _log_format],
        ["status-interval", None, ServerConfig.status_interval,
         "Seconds between status lines in the log, written when something changed; 0: none",
         _seconds("status-interval")],
        ["certificate", None, None,
         "Take TLS as well, with the certificate in that file, PEM, those between it and the root"
         " behind it; read again when it changes"],
        ["private-key", None, None, "Its key, PEM [default: in the same file]"],
        ["client-authorities", None, None,
         "Let who shows a certificate of one of those in that file, PEM, log in under its common"
         " name without a password; without --auth nobody else"],
    ]  # fmt: skip

    optFlags = [
        ["no-web", None, "Have no page and no WebSocket on the endpoints"],
        ["require-tls", None, "Close connections without TLS"],
        ["trust-version-1", None,
         "With --auth or --client-authorities: let version 1 clients, which have no passwords, log"
         " in without. Anybody can then use any name that is free"],
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self["listen"] = []
        self["status"] = []

    def opt_listen(self, endpoint: str) -> None:
        """Listen on that server endpoint; may be given several times. [default: tcp:5555]"""
        self["listen"].append(endpoint)

    opt_l = opt_listen

    def opt_status(self, endpoint: str) -> None:
        """Show /metrics for Prometheus, /healthz and /readyz on that server endpoint, such as
        tcp:9105:interface=127.0.0.1; no password is asked for. May be given several times."""
        self["status"].append(endpoint)

    def parseArgs(self, *arguments: str) -> None:
        """Take no arguments."""
        if arguments:
            raise usage.UsageError(f"chatserver takes options only, not {arguments[0]!r}")

    def postOptions(self) -> None:
        """Check what can be checked without touching anything."""
        from twisted.internet import reactor

        if self["trust-version-1"] and not self.checkers and not self["client-authorities"]:
            raise usage.UsageError(
                "--trust-version-1 goes with --auth or --client-authorities; without them nobody"
                " needs a password anyway"
            )
        self._check_tls()
        self._check_password_files()
        try:
            store_from_url(self["store"], 0, reactor)
        except ValueError as error:
            raise usage.UsageError(f"--store: {error}") from None
        for option in ("listen", "status"):
            for endpoint in self[option]:
                _endpoint(reactor, endpoint, option)
        if self["status"] and find_spec("prometheus_client") is None:
            raise usage.UsageError(
                "--status needs what is not installed: pip install 'chat-protocol[metrics]'"
            )
        twistd: Mapping[str, Any] = self.parent or {}
        if self["log-format"] == "json" and (twistd.get("logger") or twistd.get("syslog")):
            raise usage.UsageError(
                "--log-format json goes with twistd's --logfile, not with --logger or --syslog"
            )

    @property
    def json_log(self) -> str | None:
        """Where the log goes as JSON, ``-`` for stdout; None: twistd's own way."""
        if self["log-format"] != "json":
            return None
        twistd: Mapping[str, Any] = self.parent or {}
        return twistd.get("logfile") or ("-" if twistd.get("nodaemon") else "twistd.log")

    def _check_tls(self) -> None:
        for option in ("certificate", "private-key", "client-authorities"):
            if self[option] == "":
                raise usage.UsageError(f"--{option} wants the path of a file")
        if self["certificate"] is None:
            for option in ("private-key", "client-authorities", "require-tls"):
                if self[option]:
                    raise usage.UsageError(
                        f"--{option} goes with --certificate; without it there is no TLS"
                    )
        elif find_spec("OpenSSL") is None:
            raise usage.UsageError(
                "--certificate needs what is not installed: pip install 'chat-protocol[tls]'"
            )

    def _check_password_files(self) -> None:
        for checker in self.checkers:
            if isinstance(checker, FilePasswordDB):
                path = str(checker.filename)
                try:
                    with open(path, "rb"):
                        pass
                except OSError as error:
                    raise usage.UsageError(
                        f"--auth: {path} cannot be read: {error.strerror}; 'chatadmin password"
                        " set --file PATH NAME' makes such a file"
                    ) from None

    @property
    def checkers(self) -> list[Any]:
        """What --auth gave."""
        return list(self.get("credCheckers") or [])

    @property
    def config(self) -> ServerConfig:
        """What the options say."""
        return ServerConfig(
            listen=tuple(self["listen"]) or (DEFAULT_LISTEN,),
            store=self["store"],
            status_interval=self["status-interval"],
            limits=Limits(
                mailbox=self["mailbox-limit"],
                connections=self["max-connections"],
                connections_per_address=self["max-connections-per-address"],
                connection_rate_per_address=self["connection-rate-per-address"],
                login_rate_per_address=self["login-rate-per-address"],
                login_rate=self["login-rate"],
                message_rate=self["message-rate"],
                message_rate_per_address=self["message-rate-per-address"],
                login_seconds=self["login-seconds"],
                frame_seconds=self["frame-seconds"],
            ),
            tls=None
            if self["certificate"] is None
            else TLSConfig(
                self["certificate"],
                self["private-key"],
                self["client-authorities"],
                bool(self["require-tls"]),
            ),
            status=tuple(self["status"]),
            retention=self["retention"],
            web=not self["no-web"],
        )


def _endpoint(reactor: Any, description: str, option: str = "listen") -> Any:
    try:
        return serverFromString(reactor, description)  # type: ignore[no-untyped-call]
    except Exception as error:
        raise usage.UsageError(
            f"--{option}: {description!r} is no server endpoint ({_why(error)});"
            " give one such as tcp:5555 or tcp:5555:interface=127.0.0.1"
        ) from None


def _why(error: Exception) -> str:
    """What is wrong with an endpoint; a plugin's parser may raise anything."""
    if isinstance(error, LookupError):
        return "no such socket was passed on; systemd does that, or systemd-socket-activate"
    if isinstance(error, TypeError):
        return "something is missing in it, or too much"
    if isinstance(error, ValueError) and "int()" in str(error):
        return "it has something else where a number belongs, such as that of the port"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    # What it says is what the user needs.
    return str(error) or type(error).__name__


def makeService(options: Options) -> IService:
    """The service that ``options`` describe; nothing is opened before it starts."""
    from twisted.internet import reactor

    config = options.config
    service = _Served(
        reactor,
        store_from_url(config.store, config.limits.mailbox, reactor),
        [(words, _endpoint(reactor, words)) for words in config.listen],
        config.limits,
        config.status_interval,
        Authenticator(options.checkers, reactor, bool(options["trust-version-1"]))
        if options.checkers or options["client-authorities"]
        else None,
        config.tls,
        config.retention,
        [(words, _endpoint(reactor, words, "status")) for words in config.status],
        config.web,
    )
    service.json_log = options.json_log
    made: IService = service
    return made


class _Served(ChatService):
    """A ChatService that has the process to itself."""

    log = Logger(namespace="chat_protocol.service")
    json_log: str | None = None

    def setServiceParent(self, parent: Any) -> None:
        """See IService: twistd's application, which can say how it is to log."""
        super().setServiceParent(parent)  # type: ignore[no-untyped-call]
        if self.json_log is not None:
            parent.setComponent(ILogObserver, json_observer(self.json_log))

    def startService(self) -> None:
        """Start, or end the process with a sentence."""
        sys.setswitchinterval(_SWITCH_INTERVAL)
        _raise_file_limit()
        stop_on_sigterm(self._reactor)
        self._notifier = Notifier(os.environ, self._reactor)
        super().startService()
        self.when_serving().addCallbacks(self._serving, self._not_serving)

    def _serving(self, _: None) -> None:
        # What was made until now stays: the collector need not look at it again, and what a
        # message is made of is gone by itself when it is delivered.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_GC_THRESHOLDS)
        self._notifier.ready("Serving on " + ", ".join(words for words, _ in self._endpoints))

    def stopService(self) -> Deferred[None]:
        """See ChatService; systemd is told."""
        self._notifier.stopping()
        return super().stopService().addBoth(self._stopped)

    def _stopped(self, result: Any) -> Any:
        self._notifier.stopped()
        return result

    def _not_serving(self, failure: Failure) -> None:
        error = failure.value
        if isinstance(error, CannotServe):
            self.log.critical("chatserver cannot start: {reason}", reason=str(error))
            message = f"chatserver: {error}"
        else:
            self.log.failure("chatserver cannot start", failure)
            message = "chatserver: cannot start, the log says why"
        exit_with(self._reactor, 1, message)


def _raise_file_limit() -> None:
    """Have as many files open as the system allows: each connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
