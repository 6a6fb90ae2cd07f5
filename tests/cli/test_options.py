from __future__ import annotations

import pytest
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, UNIXClientEndpoint
from twisted.internet.testing import MemoryReactorClock
from twisted.python.usage import UsageError

from chat_protocol.cli.options import (
    DEFAULT_RECONNECT_TIMEOUT,
    Action,
    HistoryAction,
    InteractiveAction,
    ListenAction,
    SendAction,
    UsersAction,
    parse,
)
from chat_protocol.cli.server_address import TLSOptions, parse_server


def test_the_default_is_a_conversation_with_the_default_server() -> None:
    settings = parse([])
    assert settings.server.address == ("localhost", 5555)
    assert settings.user is None
    assert settings.timeout == 10.0
    assert settings.action == InteractiveAction()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--server", "host:1", "--user", "alice", "--timeout", "3", "send", "bob", "hi"],
        ["send", "--server", "host:1", "--user", "alice", "--timeout", "3", "bob", "hi"],
        [
            "-s",
            "other",
            "-u",
            "x",
            "-t",
            "9",
            "send",
            "-s",
            "host:1",
            "-ualice",
            "-t3",
            "bob",
            "hi",
        ],
    ],
)
def test_options_stand_before_or_after_the_command(arguments: list[str]) -> None:
    settings = parse(arguments)
    assert settings.server.address == ("host", 1)
    assert settings.user == "alice"
    assert settings.timeout == 3.0
    assert settings.action == SendAction(("bob",), "hi", whole=False)


def test_text_from_stdin() -> None:
    assert parse(["-u", "a", "send", "bob", "-"]).action == SendAction(("bob",), None, whole=False)
    assert parse(["-u", "a", "send", "-w", "bob", "-"]).action == SendAction(
        ("bob",), None, whole=True
    )


@pytest.mark.parametrize(
    ("arguments", "to"),
    [
        (["--to", "bob", "--to", "carol", "hi"], ("bob", "carol")),
        (["--to", "a, b", "hi"], ("a, b",)),
        (["--all", "hi"], ()),
        (["-a", "hi"], ()),
    ],
)
def test_several_recipients(arguments: list[str], to: tuple[str, ...]) -> None:
    assert parse(["-u", "a", "send", *arguments]).action == SendAction(to, "hi", whole=False)


@pytest.mark.parametrize(
    ("arguments", "action"),
    [
        (["users"], UsersAction(json=False)),
        (["users", "--json"], UsersAction(json=True)),
        (["history"], HistoryAction("", None, json=False)),
        (["history", "bob"], HistoryAction("bob", None, json=False)),
        (["history", "-j", "-n", "3", "bob"], HistoryAction("bob", 3, json=True)),
        (["history", "bob", "--limit", "3", "-j"], HistoryAction("bob", 3, json=True)),
        (["history", "--", "-b"], HistoryAction("-b", None, json=False)),
    ],
)
def test_users_and_history(arguments: list[str], action: Action) -> None:
    assert parse(["-u", "a", *arguments]).action == action


@pytest.mark.parametrize(
    ("arguments", "tls"),
    [
        ([], None),
        (["--tls"], TLSOptions()),
        (["-u", "a", "listen", "--tls"], TLSOptions()),
        (["--ca", "ca.pem"], TLSOptions("ca.pem")),
        (["-u", "a", "users", "--certificate", "me.pem"], TLSOptions(None, "me.pem")),
    ],
)
@pytest.mark.parametrize("server", ["host:1", "[::1]:1", "::1"])
def test_tls(arguments: list[str], tls: TLSOptions | None, server: str) -> None:
    assert parse(["--server", server, *arguments]).server.tls == tls


def test_tls_options_do_not_apply_to_an_endpoint_string() -> None:
    with pytest.raises(UsageError, match="--certificate need HOST or HOST:PORT"):
        parse(["--server", "tcp:host:1", "--tls"])


def test_an_unusable_file_is_named() -> None:
    server = parse(["--server", "host:1", "--ca", "nosuch.pem"]).server
    with pytest.raises(UsageError, match=r"cannot read nosuch\.pem"):
        server.endpoint(MemoryReactorClock())


def test_a_password() -> None:
    environ = {"CHAT_PASSWORD": "of the environment"}
    assert parse([], {}).password is None
    assert parse([], environ).password == "of the environment"
    assert parse([], {"CHAT_PASSWORD": ""}).password is None
    assert parse(["--password", "given"], environ).password == "given"
    assert parse(["-u", "a", "listen", "--password", ""], environ).password == ""
    assert parse(["--ask-password"]).ask_password
    assert parse(["-u", "a", "listen", "--ask-password"]).ask_password
    assert not parse(["-u", "a", "listen"]).ask_password


def test_the_password_is_not_in_the_repr() -> None:
    assert "secret" not in repr(parse(["--password", "secret"]))


@pytest.mark.parametrize(
    ("arguments", "reconnect_timeout"),
    [
        ([], None),
        (["listen"], None),
        (["send", "bob", "hi"], DEFAULT_RECONNECT_TIMEOUT),
        (["users"], DEFAULT_RECONNECT_TIMEOUT),
        (["history"], DEFAULT_RECONNECT_TIMEOUT),
        (["listen", "--patience", "5"], 5),
        (["--patience", "5", "users"], 5),
        (["--no-reconnect", "users"], 0),
        (["listen", "--no-reconnect"], 0),
    ],
)
def test_the_reconnect_timeout(arguments: list[str], reconnect_timeout: float | None) -> None:
    assert parse(["-u", "a", *arguments]).reconnect_timeout == reconnect_timeout


def test_text_that_looks_like_an_option() -> None:
    assert parse(["-u", "a", "send", "--", "-b", "-x"]).action == SendAction(
        ("-b",), "-x", whole=False
    )


def test_listen() -> None:
    assert parse(["-u", "a", "listen"]).action == ListenAction(json=False, count=None, idle=None)
    assert parse(["listen", "-u", "a", "-j", "-n", "3", "-i", "0.5"]).action == ListenAction(
        json=True, count=3, idle=0.5
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--frob"], "frob"),
        (["frob"], "Unknown command: frob"),
        (["send", "bob", "hi"], "give --user NAME"),
        (["listen"], "give --user NAME"),
        (["-u", "a", "send"], "two arguments"),
        (["-u", "a", "send", "bob"], "two arguments"),
        (["-u", "a", "send", "bob", "hi", "there"], "two arguments"),
        (["-u", "a", "send", "-w", "bob", "hi"], "--whole needs text from stdin"),
        (["-u", "a", "send", "", "hi"], "cannot be empty"),
        (["-u", "", "listen"], "cannot be empty"),
        (["-u", "x" * 256, "listen"], "the maximum is 255"),
        (["-u", "a", "send", "bob", "ü" * 32768], "the maximum is 65535"),
        (["-u", "a", "send", "bob", "\udcff"], "not valid UTF-8"),
        (["-u", "\udcff", "listen"], "not valid UTF-8"),
        (["-u", "a", "send", "\udcff", "hi"], "not valid UTF-8"),
        (["-u", "a", "send", "--to", "b", "--to", "\udcff", "hi"], "not valid UTF-8"),
        (["-u", "a", "history", "\udcff"], "not valid UTF-8"),
        (["--server", "tcp:\udcff:1"], "invalid characters"),
        (["-u", "a", "listen", "x"], "only options"),
        (["-u", "a", "users", "x"], "only options"),
        (["-u", "a", "history", "x", "y"], "at most one user"),
        (["-u", "a", "history", ""], "cannot be empty"),
        (["-u", "a", "history", "-n", "0"], "at least 1"),
        (["-u", "a", "send", "--to", "b", "c", "hi"], "one argument"),
        (["-u", "a", "send", "--all"], "one argument"),
        (["-u", "a", "send", "--all", "--to", "b", "hi"], "not both"),
        (["-u", "a", "send", "--to", "", "hi"], "cannot be empty"),
        (["--no-reconnect", "--patience", "3"], "not both"),
        (["--patience", "-3"], "above 0"),
        (["--password", "x" * 65_536], "the maximum is 65535"),
        (["-u", "a", "listen", "-n", "0"], "at least 1"),
        (
            ["-u", "a", "listen", "-n", "x"],
            "^--count must be a whole number of at least 1, not 'x'",
        ),
        (["-u", "a", "-t", "soon", "listen"], "^--timeout must be a number of seconds above 0"),
        (["-u", "a", "listen", "-i", "-1"], "above 0"),
        (["-u", "a", "-t", "nan", "listen"], "above 0"),
        (["-u", "a", "-t", "inf", "listen"], "above 0"),
        (["--server", "a:0"], "port 0 is out of range"),
        (["--server", "a:65536"], "port 65536 is out of range"),
        (["--server", ""], "give HOST"),
        (["--server", "a b"], "give HOST"),
        (["--server", "[::1"], "endpoint"),
        (["--server", "[x]:1"], "must hold an IPv6 address"),
    ],
)
def test_usage_errors_explain_the_problem(arguments: list[str], expected: str) -> None:
    reactor = MemoryReactorClock()
    with pytest.raises(UsageError, match=expected):
        parse(arguments).server.endpoint(reactor)


@pytest.mark.parametrize("arguments", [[], ["send"], ["listen"], ["users"], ["history"]])
def test_help_documents_the_exit_codes(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        parse([*arguments, "--help"])
    assert not caught.value.code
    text = capsys.readouterr().out
    for code in (0, 1, 2, 3, 4, 5, 70, 130, 141, 143):
        assert f"{code:5}  " in text


def test_help_warns_of_passwords_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "Other users of this machine can see a command line" in text
    assert "CHAT_PASSWORD" in text


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--version"])
    assert capsys.readouterr().out.startswith("chatclient ")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("example.org", ("example.org", 5555)),
        ("example.org:99", ("example.org", 99)),
        ("127.0.0.1:1", ("127.0.0.1", 1)),
        ("[::1]:99", ("::1", 99)),
        ("[::1]", ("::1", 5555)),
        ("fe80::1", ("fe80::1", 5555)),
        ("tcp:host:5", None),
        ("unix:/run/chat", None),
    ],
)
def test_server_addresses(text: str, address: tuple[str, int] | None) -> None:
    assert parse_server(text).address == address


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("host", HostnameEndpoint),
        ("[::1]:5", HostnameEndpoint),
        ("tcp:127.0.0.1:5", TCP4ClientEndpoint),
        ("unix:/run/chat", UNIXClientEndpoint),
    ],
)
def test_the_endpoint_of_a_server(text: str, kind: type[object]) -> None:
    endpoint = parse_server(text).endpoint(MemoryReactorClock())
    assert isinstance(endpoint, kind)


@pytest.mark.parametrize("text", ["frob:x", "tcp:host", "tcp:a:b:c:d:e:f:g"])
def test_an_invalid_endpoint(text: str) -> None:
    with pytest.raises(UsageError, match="not a usable endpoint"):
        parse_server(text).endpoint(MemoryReactorClock())
