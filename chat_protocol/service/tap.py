"""The ``twistd chatserver`` plugin: its options, and the service that they configure."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

from twisted.application.service import IService
from twisted.cred.checkers import FilePasswordDB
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.strcred import AuthOptionMixin
from twisted.internet.threads import deferToThreadPool
from twisted.python import usage

from chat_protocol.domain.durations import parse_duration
from chat_protocol.domain.limits import Limits
from chat_protocol.domain.rates import Rate
from chat_protocol.server.authentication import Authenticator
from chat_protocol.server.trusted_proxies import TrustedProxies
from chat_protocol.service.config import (
    DEFAULT_LISTEN,
    DEFAULT_STORE,
    ServerConfig,
    TLSConfig,
)
from chat_protocol.service.endpoints import parse_endpoint
from chat_protocol.service.log_output import make_log
from chat_protocol.service.parent_process import ParentProcess
from chat_protocol.service.password_checks import PasswordChecks
from chat_protocol.service.password_file import PasswordFile, PasswordFileUnusable
from chat_protocol.service.process import ProcessService
from chat_protocol.stores.registry import STORES, store_from_url

__all__ = ["Options", "makeService"]


def _limit_parser(option: str) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal():
            raise usage.UsageError(
                f"--{option}: {text!r} is not a limit. Give a whole number, or 0 for no limit."
            )
        return int(text)

    return parse


def _rate_parser(option: str) -> Callable[[str], Rate]:
    def parse(text: str) -> Rate:
        steady, _, burst = text.partition("/")
        try:
            found = Rate(float(steady), int(burst or 0))
        except ValueError:
            found = Rate(-1, 0)
        if not 0 <= found.steady < float("inf") or (found.steady and found.burst < 1):
            raise usage.UsageError(
                f"--{option}: {text!r} is not a rate. Give RATE/BURST, such as 50/1000 for 50 per"
                " second and 1000 at once, or 0 for no limit."
            )
        return found

    return parse


def _rate_option(option: str, counted: str) -> list[Any]:
    default: Rate = getattr(Limits, option.replace("-", "_"))
    description = f"Maximum rate of {counted}: RATE per second, BURST at once"
    return [option, None, default, description, _rate_parser(option)]


def _seconds_parser(option: str) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = -1
        if not 0 <= value < float("inf"):
            raise usage.UsageError(
                f"--{option}: {text!r} is not a time. Give a number of seconds, 0 or more."
            )
        return value

    return parse


def _age_parser(option: str) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            return parse_duration(text)
        except ValueError as error:
            raise usage.UsageError(f"--{option}: {error}") from None

    return parse


def _log_format(text: str) -> str:
    if text not in ("text", "json"):
        raise usage.UsageError(f"--log-format: {text!r} is not a log format. Give text or json.")
    return text


class Options(usage.Options, AuthOptionMixin):
    """The options of ``twistd chatserver``."""

    synopsis = "[options]"
    supportedInterfaces = (IUsernamePassword,)
    authOutput = sys.stdout
    longdesc = (
        "A durable Console Chat server. By default it listens on TCP port 5555 and stores users"
        " and messages in chat.db in the current directory. Endpoints are Twisted server endpoint"
        " strings, such as tcp:5555:interface=127.0.0.1, unix:/run/chat.sock or"
        " systemd:domain=INET:index=0. Every endpoint also serves the web page,"
        " http://localhost:5555. With --certificate, every endpoint also accepts TLS. The --status"
        " endpoints have no password: use an address that only operators reach, such as"
        " tcp:9105:interface=127.0.0.1. --trusted-proxy takes an address, a network such as"
        " 192.0.2.0/24, or unix for all clients of UNIX sockets. The server believes the client"
        " addresses in their X-Forwarded-For, and accepts connections on haproxy: endpoints only"
        " from them and from this machine. A limit of 0 means no limit. SIGTERM stops the server."
        " SIGHUP reopens twistd's --logfile, and reads certificates and passwords again. SIGUSR1"
        " rotates the log file."
    )

    optParameters = [
        ["store", "s", DEFAULT_STORE, "URL of the store for users and messages: "
         + " or ".join(kind.usage for kind in STORES.values())],
        ["retention", None, ServerConfig.retention,
         "Delete messages, pending ones included, once they are this old: 90d, 12h, 2y, ...;"
         " 0: keep all", _age_parser("retention")],
        ["mailbox-limit", None, Limits.mailbox,
         "Maximum number of pending messages per user", _limit_parser("mailbox-limit")],
        ["max-connections", None, Limits.connections, "Maximum number of open connections;"
         " never more than the open files of the process allow",
         _limit_parser("max-connections")],
        ["max-connections-per-address", None, Limits.connections_per_address,
         "Maximum number of open connections per client address",
         _limit_parser("max-connections-per-address")],
        _rate_option("connection-rate-per-address", "new connections per client address"),
        _rate_option("login-rate-per-address", "logins per client address"),
        _rate_option("login-rate", "logins per username and client address"),
        _rate_option("message-rate", "messages and other requests per user"),
        _rate_option("message-rate-per-address", "messages and other requests per client address"),
        ["frames-before-login", None, Limits.frames_before_login,
         "Maximum number of frames, HTTP requests or WebSocket messages of a connection without a"
         " login; the next one ends the connection", _limit_parser("frames-before-login")],
        ["bytes-before-login", None, Limits.bytes_before_login,
         "Maximum size in bytes of what a connection without a login may send",
         _limit_parser("bytes-before-login")],
        ["login-seconds", None, Limits.login_seconds,
         "Timeout for the login on a new connection, in seconds", _seconds_parser("login-seconds")],
        ["frame-seconds", None, Limits.frame_seconds,
         "Timeout for the rest of an incomplete frame, in seconds",
         _seconds_parser("frame-seconds")],
        ["forget-devices", None, Limits.device_seconds,
         "Forget devices of users after they have been offline for so long, such as 30d; 0: never",
         _age_parser("forget-devices")],
        ["token-seconds", None, Limits.token_seconds,
         "Seconds after the end of a session in which its token stands for the password, once;"
         " 0: none", _seconds_parser("token-seconds")],
        ["log-format", None, "text", "Format of the log: text, or json for one object per line",
         _log_format],
        ["status-interval", None, ServerConfig.status_interval,
         "Seconds between status lines in the log, which are written only after a change; 0: none",
         _seconds_parser("status-interval")],
        ["certificate", None, None,
         "Accept TLS in addition to plain connections, with the certificate in this PEM file,"
         " followed by its intermediate certificates. A changed file is reloaded"],
        ["private-key", None, None,
         "PEM file with the private key [default: the --certificate file]"],
        ["client-authorities", None, None,
         "Accept client certificates signed by the CAs in this PEM file. The common name becomes"
         " the username, and no password is needed. Without --auth, a login requires such a"
         " certificate"],
    ]  # fmt: skip

    optFlags = [
        ["no-web", None, "Do not serve the web page and the WebSocket"],
        ["require-tls", None, "Close connections without TLS"],
        ["trust-version-1", None,
         "With --auth or --client-authorities: accept version 1 logins, which have no password."
         " Anyone can then use any name that is offline"],
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.checkers: list[Any] = []
        """The credentials checkers of --auth."""
        self["listen"] = []
        self["status"] = []
        self["trusted-proxy"] = []

    def opt_listen(self, endpoint: str) -> None:
        """Listen on this server endpoint; can be given several times. [default: tcp:5555]"""
        self["listen"].append(endpoint)

    opt_l = opt_listen

    def opt_status(self, endpoint: str) -> None:
        """Serve /metrics, /healthz and /readyz on this endpoint; can be given several times."""
        self["status"].append(endpoint)

    def opt_trusted_proxy(self, proxy: str) -> None:
        """Trust client addresses that come from this proxy; can be given several times."""
        try:
            TrustedProxies([proxy])
        except ValueError as error:
            raise usage.UsageError(
                f"--trusted-proxy: {error}. Give an address, a network such as 192.0.2.0/24, or"
                " unix."
            ) from None
        self["trusted-proxy"].append(proxy)

    def parseArgs(self, *arguments: str) -> None:
        if arguments:
            raise usage.UsageError(
                f"unexpected argument {arguments[0]!r}: chatserver accepts options only."
            )

    def postOptions(self) -> None:
        """Check the options without opening or creating anything."""
        from twisted.internet import reactor

        self._read_password_files(reactor)
        if self["trust-version-1"] and not self.checkers and not self["client-authorities"]:
            raise usage.UsageError(
                "--trust-version-1 requires --auth or --client-authorities: without them, no login"
                " needs a password."
            )
        self._check_tls()
        self._check_pid_file()
        self._check_log_file()
        try:
            store_from_url(self["store"], 0, reactor)
        except ValueError as error:
            raise usage.UsageError(f"--store: {error}") from None
        for option in ("listen", "status"):
            for endpoint in self[option]:
                parse_endpoint(reactor, endpoint, option)
        if self["status"] and find_spec("prometheus_client") is None:
            raise usage.UsageError(
                "--status: the extra 'metrics' is not installed. Run pip install"
                " 'chat-protocol[metrics]'."
            )
        if self.daemonizes and self.log == "-":
            raise usage.UsageError("--logfile: a daemon has no stdout. Give a path, or -n.")
        if self["log-format"] == "json" and self._twistd and self.log is None:
            raise usage.UsageError(
                "--log-format json cannot be combined with twistd's --logger or --syslog. Use"
                " --logfile."
            )

    @property
    def _twistd(self) -> Mapping[str, Any]:
        """The options of twistd."""
        return self.parent or {}

    @property
    def log(self) -> str | None:
        """The path of the log, ``-`` for stdout; None: an observer of twistd writes it."""
        twistd = self._twistd
        if not twistd or twistd.get("logger") or twistd.get("syslog"):
            return None
        return twistd.get("logfile") or ("twistd.log" if self.daemonizes else "-")

    @property
    def daemonizes(self) -> bool:
        """Whether twistd forks before it starts the service."""
        return bool(self._twistd) and not self._twistd.get("nodaemon")

    def _check_tls(self) -> None:
        for option in ("certificate", "private-key", "client-authorities"):
            if self[option] == "":
                raise usage.UsageError(f"--{option}: the path is empty. Give the path of a file.")
        if self["certificate"] is None:
            for option in ("private-key", "client-authorities", "require-tls"):
                if self[option]:
                    raise usage.UsageError(f"--{option} requires --certificate, which enables TLS.")
        elif find_spec("OpenSSL") is None:
            raise usage.UsageError(
                "--certificate: the extra 'tls' is not installed. Run pip install"
                " 'chat-protocol[tls]'."
            )

    def _read_password_files(self, reactor: Any) -> None:
        checks = PasswordChecks(
            lambda check: deferToThreadPool(reactor, reactor.getThreadPool(), check)
        )
        for checker in self.get("credCheckers") or []:
            if not isinstance(checker, FilePasswordDB):
                self.checkers.append(checker)
                continue
            path = str(checker.filename)
            try:
                self.checkers.append(PasswordFile(path, checks))
            except PasswordFileUnusable as error:
                raise usage.UsageError(
                    f"--auth: cannot read {path}: {error}. Set passwords with 'chatadmin password"
                    " set --file PATH NAME'."
                ) from None

    def _check_pid_file(self) -> None:
        path = self._twistd.get("pidfile")
        if path and (reason := _why_not_writable(path)):
            raise usage.UsageError(
                f"--pidfile: cannot write {path}: {reason}. Give another --pidfile, or --pidfile="
                " for none."
            )

    def _check_log_file(self) -> None:
        path = self.log
        if path and path != "-" and (reason := _why_not_writable(path)):
            raise usage.UsageError(
                f"--logfile: cannot write {path}: {reason}. Give another --logfile, or --logfile=-"
                " for the standard output."
            )

    @property
    def config(self) -> ServerConfig:
        """The configuration that the options specify."""
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
                frames_before_login=self["frames-before-login"],
                bytes_before_login=self["bytes-before-login"],
                login_seconds=self["login-seconds"],
                frame_seconds=self["frame-seconds"],
                device_seconds=self["forget-devices"],
                token_seconds=self["token-seconds"],
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
            trusted_proxies=tuple(self["trusted-proxy"]),
        )


def makeService(options: Options) -> IService:
    """Return the service that ``options`` describe; it opens nothing before it starts."""
    from twisted.internet import reactor

    config = options.config
    service = ProcessService(
        reactor,
        store_from_url(config.store, config.limits.mailbox, reactor),
        [(one, parse_endpoint(reactor, one)) for one in config.listen],
        config.limits,
        config.status_interval,
        Authenticator(options.checkers, reactor, bool(options["trust-version-1"]))
        if options.checkers or options["client-authorities"]
        else None,
        config.tls,
        config.retention,
        [(one, parse_endpoint(reactor, one, "status")) for one in config.status],
        config.web,
        TrustedProxies(config.trusted_proxies),
    )
    if options.log is not None:
        service.log_writer = make_log(options.log, options["log-format"])
    if options.daemonizes:
        service.parent_process = ParentProcess()
    made: IService = service
    return made


def _why_not_writable(path: str) -> str:
    """Return why a file cannot be written or created; empty if it can."""
    exists = os.path.exists(path)
    written = path if exists else os.path.dirname(os.path.abspath(path))
    if os.path.isdir(path):
        return os.strerror(errno.EISDIR)
    if not os.path.exists(written):
        return os.strerror(errno.ENOENT)
    return "" if os.access(written, os.W_OK) else os.strerror(errno.EACCES)
