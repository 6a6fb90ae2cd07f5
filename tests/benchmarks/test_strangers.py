"""Hostile connections: what they send, the rows, the verdict, and a short run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.stranger_kinds import KINDS, PLAIN, TLS, WEBSOCKET, in_websocket
from benchmarks.stranger_load import Flood, Strangers
from benchmarks.stranger_rows import Measurement, Outcome, Row
from benchmarks.strangers import faults, main, rows
from chat_protocol.errors import Malformed
from chat_protocol.wire.codec import decode, decode_header


@pytest.mark.parametrize("name", sorted(set(KINDS) - {"http", "empty-ws"}))
def test_a_load_is_whole_frames_that_the_server_reads(name: str) -> None:
    kind = KINDS[name]
    data, most = kind.data, 256 * 1024 if kind.logs_in else 66 * 1024
    while data:
        length = int.from_bytes(data[:4], "big")
        assert 7 <= length <= most
        assert len(data) >= 4 + length
        assert decode_header(data[4 : 4 + length]).correlation_id == 1
        data = data[4 + length :]


@pytest.mark.parametrize(
    ("name", "count"), [("bad-login", "16000 pairs"), ("in-130000", "130000 items")]
)
def test_a_large_frame_is_malformed_for_its_count_only(name: str, count: str) -> None:
    with pytest.raises(Malformed, match=count):
        decode(KINDS[name].data[4:])


def test_bytes_in_websocket_messages() -> None:
    assert in_websocket(b"ab") == b"\x82\x82\0\0\0\0ab"
    data = bytes(range(250)) * 20
    first, second = data[:4096], data[4096:]
    assert in_websocket(data) == (
        b"\x82\xfe\x10\0\0\0\0\0" + first + b"\x82\xfe\x03\x88\0\0\0\0" + second
    )


def test_the_rows() -> None:
    quick, full = rows(list(KINDS), False), rows(list(KINDS), True)
    assert [row.strangers.kind for row in quick] == list(KINDS)
    assert quick == full[: len(quick)]
    shapes = [(r.strangers.transport, r.strangers.connections, r.store) for r in full]
    assert shapes.count((TLS, 64, "memory:")) == shapes.count((WEBSOCKET, 64, "memory:")) == 3
    assert shapes.count((PLAIN, 8, "sqlite:")) == 3
    assert rows(["http"], True) == [Row(Strangers("http", PLAIN, n)) for n in (8, 512)]


CALM = Measurement(500, 0.001, 0.009, 0.02, Flood(0.0, 1, 0, 0.0), 0.0)


@pytest.mark.parametrize(
    ("control", "attacked", "idle", "expected"),
    [
        (CALM, CALM, 1.0, []),
        (CALM, replace(CALM, p99=0.0269), 0.0, []),
        (CALM, replace(CALM, p99=0.0271), 0.0, ["p99"]),
        (replace(CALM, p99=0.001), replace(CALM, p99=0.010), 0.0, []),
        (CALM, replace(CALM, slowest=0.1), 0.0, ["max"]),
        (replace(CALM, slowest=0.1), replace(CALM, slowest=0.2), 0.0, []),
        (CALM, CALM, 1.1, ["idle"]),
    ],
)
def test_the_verdict(
    control: Measurement, attacked: Measurement, idle: float, expected: list[str]
) -> None:
    assert faults(Outcome(control, attacked, idle)) == expected


def test_a_short_run(capsys: pytest.CaptureFixture[str]) -> None:
    # Whether such a short row passes is chance; that it has figures is not.
    assert main(["--kinds", "unknown,in-nobody", "--rows", "quick", "--seconds", "0.2"]) in (0, 1)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    head, _, *cells = ([cell.strip() for cell in line.split("|")[1:-1]] for line in lines)
    table = [dict(zip(head, row, strict=True)) for row in cells]
    assert [row["load"] for row in table] == ["unknown", "in-nobody"]
    for row in table:
        assert float(row["p50 ms"]) > 0
        assert float(row["control p50 ms"]) > 0
        assert float(row["sent MB"]) > 0
    # The limits on connections without a login close those, and not those of users.
    assert int(table[0]["reconnects"]) > 0
    assert int(table[1]["reconnects"]) == 0


@pytest.mark.parametrize("transport", [TLS, WEBSOCKET])
def test_users_on_other_transports(
    transport: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = Row(Strangers("in-nobody", transport, 2))
    monkeypatch.setattr("benchmarks.strangers.rows", lambda kinds, full: [row])
    assert main(["--seconds", "0.2"]) in (0, 1)
    printed = capsys.readouterr()
    assert f"| in-nobody | {transport}" in printed.out
    assert "FAILED" not in printed.err


def test_a_kind_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--kinds", "nothing"])
    assert "unknown kind nothing" in capsys.readouterr().err
