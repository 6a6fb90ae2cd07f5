"""The options of twistd chatserver."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import pytest_twisted
from twisted.python import usage
from twisted.scripts._twistd_unix import ServerOptions

from chat_protocol.domain.limits import Limits
from chat_protocol.domain.rates import Rate
from chat_protocol.server.authentication import Credentials
from chat_protocol.service import password_file
from chat_protocol.service.config import ServerConfig
from chat_protocol.service.password_hash import hash_password
from chat_protocol.service.tap import Options, makeService


def parse(*arguments: str) -> ServerConfig:
    options = Options()
    options.parseOptions(list(arguments))
    return options.config


def test_without_options_it_is_the_default_server() -> None:
    assert parse() == ServerConfig()
    assert ServerConfig().listen == ("tcp:5555",)
    assert ServerConfig().store == "sqlite:chat.db"
    assert ServerConfig().limits.mailbox == 10_000


def test_every_option_arrives() -> None:
    assert parse(
        "--listen", "tcp:1", "-l", "tcp:2:interface=127.0.0.1", "--store", "memory:",
        "--mailbox-limit", "5", "--max-connections=6", "--max-connections-per-address", "7",
        "--status-interval", "0.5", "--retention", "90d", "--connection-rate-per-address", "1/2",
        "--login-rate-per-address", "3/4", "--login-rate", "0.5/6", "--message-rate", "7/8",
        "--message-rate-per-address", "0", "--login-seconds", "9", "--frame-seconds", "0",
        "--frames-before-login", "10", "--bytes-before-login", "11",
        "--forget-devices", "7d", "--token-seconds", "60",
        "--status", "tcp:3:interface=127.0.0.1",
        "--trusted-proxy", "192.0.2.0/24", "--trusted-proxy", "unix",
    ) == ServerConfig(
        ("tcp:1", "tcp:2:interface=127.0.0.1"),
        "memory:",
        0.5,
        Limits(
            mailbox=5, connections=6, connections_per_address=7,
            connection_rate_per_address=Rate(1, 2), login_rate_per_address=Rate(3, 4),
            login_rate=Rate(0.5, 6), message_rate=Rate(7, 8), message_rate_per_address=Rate(0, 0),
            login_seconds=9, frame_seconds=0, frames_before_login=10, bytes_before_login=11,
            device_seconds=7 * 24 * 3600, token_seconds=60,
        ),
        status=("tcp:3:interface=127.0.0.1",),
        retention=90 * 24 * 3600,
        trusted_proxies=("192.0.2.0/24", "unix"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--mailbox-limit", "-1"], "--mailbox-limit: '-1' is not a limit. Give a whole number"),
        (["--frames-before-login", "x"], "--frames-before-login: 'x' is not a limit. Give a whole"),
        (["--max-connections", "x"], "--max-connections: 'x' is not a limit. Give a whole number"),
        (["--max-connections-per-address", "1.5"], "per-address: '1.5' is not a limit. Give a who"),
        (["--message-rate", "5"], "--message-rate: '5' is not a rate. Give RATE/BURST"),
        (["--message-rate", "5/x"], "--message-rate: '5/x' is not a rate. Give RATE/BURST"),
        (["--login-rate", "-1/5"], "--login-rate: '-1/5' is not a rate. Give RATE/BURST"),
        (["--login-rate", "inf/5"], "--login-rate: 'inf/5' is not a rate. Give RATE/BURST"),
        (["--status-interval", "nan"], "--status-interval: 'nan' is not a time. Give a number of"),
        (["--status-interval", "soon"], "--status-interval: 'soon' is not a time. Give a number"),
        (["--retention", "90"], "--retention: '90' is not a duration. Give a number and"),
        (["--store", "redis:x"], "--store: 'redis:x' is no store"),
        (["--listen", "nonsense:"], "--listen: 'nonsense:' is not a server endpoint: "),
        (["--listen", "tcp:port"], "'tcp:port' is not a server endpoint: an argument, such as the"),
        (["--listen", "tcp"], "'tcp' is not a server endpoint: an argument is missing"),
        (
            ["--listen", "systemd:domain=INET:index=0"],
            "systemd-socket-activate did not pass such a s",
        ),
        (
            ["--listen", "systemd:domain=INET:name=x"],
            "systemd-socket-activate did not pass such a s",
        ),
        (
            ["--listen", "ssl:1:privateKey=/no/such"],
            r": /no/such: No such file or directory\. Give",
        ),
        (["--trusted-proxy", "proxy"], "--trusted-proxy: 'proxy' does not appear to be an IP"),
        (
            ["--trusted-proxy", "192.0.2.1/24"],
            "--trusted-proxy: 192.0.2.1/24 has host bits set",
        ),
        (["--auth", "file:/no/such"], "--auth: cannot read /no/such: No such file or directory"),
        (["--status", "nonsense:"], "--status: 'nonsense:' is not a server endpoint"),
        (["--log-format", "xml"], "--log-format: 'xml' is not a log format. Give text or json"),
        (["--bogus"], "--bogus"),
        (["extra"], "unexpected argument 'extra'"),
    ],
)
def test_a_wrong_option_is_named(arguments: list[str], sentence: str) -> None:
    with pytest.raises(usage.UsageError, match=sentence):
        parse(*arguments)


def test_making_the_service_opens_nothing(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(str(tmp_path))
    options = Options()
    options.parseOptions(["--listen", "tcp:0"])
    makeService(options)
    assert not list(__import__("pathlib").Path(str(tmp_path)).iterdir())


def test_status_without_the_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chat_protocol.service.tap.find_spec", lambda name: None)
    with pytest.raises(usage.UsageError, match=r"pip install 'chat-protocol\[metrics\]'"):
        parse("--status", "tcp:0")
    parse()


@pytest.mark.parametrize(
    "option", [["--syslog"], ["--logger", "twisted.python.log.PythonLoggingObserver"]]
)
def test_json_goes_where_twistd_writes_files(option: list[str]) -> None:
    with pytest.raises(
        usage.UsageError, match="cannot be combined with twistd's --logger or --syslog"
    ):
        ServerOptions().parseOptions([*option, "chatserver", "--log-format", "json"])


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        (["-n", "chatserver"], "-"),
        (["chatserver"], "twistd.log"),
        (["--logfile", "here", "chatserver"], "here"),
        (["--syslog", "chatserver"], None),
        (["--logger", "twisted.python.log.PythonLoggingObserver", "chatserver"], None),
    ],
)
def test_the_log_goes_where_that_of_twistd_would(arguments: list[str], path: str | None) -> None:
    twistd = ServerOptions()
    twistd.parseOptions(arguments)
    assert twistd.subOptions.log == path


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_daemon_cannot_log_to_stdout(log_format: str) -> None:
    with pytest.raises(usage.UsageError, match="--logfile: a daemon has no stdout"):
        ServerOptions().parseOptions(["--logfile=-", "chatserver", "--log-format", log_format])
    ServerOptions().parseOptions(["-n", "--logfile=-", "chatserver", "--log-format", log_format])


@pytest_twisted.ensureDeferred
async def test_hashes_are_checked_in_another_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "passwords"
    path.write_bytes(b"alice:" + hash_password(b"secret", "scrypt"))
    threads: list[threading.Thread] = []

    def verify(stored: bytes, password: bytes) -> bool:
        threads.append(threading.current_thread())
        return True

    monkeypatch.setattr(password_file, "verify", verify)
    options = Options()
    options.parseOptions(["--auth", f"file:{path}"])
    (checker,) = options.checkers
    assert await checker.requestAvatarId(Credentials(b"alice", b"secret", "192.0.2.1")) == b"alice"
    assert len(threads) == 1
    assert threads != [threading.current_thread()]


def test_a_hash_that_cannot_be_checked_is_said_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "passwords"
    path.write_bytes(b"alice:$argon2id$x\n")
    with pytest.raises(usage.UsageError, match=r"cannot read .*passwords: line 1 is not an Argon2"):
        parse("--auth", f"file:{path}")
