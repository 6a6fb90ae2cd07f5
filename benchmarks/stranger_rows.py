"""The round trip of a user beside hostile connections, and its control."""

from __future__ import annotations

import datetime
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from time import monotonic, process_time, sleep

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from benchmarks.frames import CheckFailed
from benchmarks.loop import Address, log_in
from benchmarks.procfs import machine_time, read_costs
from benchmarks.servers import ProjectServer, Target
from benchmarks.stranger_kinds import TLS
from benchmarks.stranger_load import Flood, Strangers, flooding
from chat_protocol.wire.codec import encode
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import Message, Response

__all__ = ["Measurement", "Outcome", "Row", "measure_row"]

_PAUSE = 0.005
"""Seconds between two messages of the user."""

_ANSWER_SECONDS = 60.0
"""Timeout of a round trip."""

_IDLE_WINDOW = 0.1
"""Seconds over which the CPU time of the server is compared."""

_IDLE_SHARE = 0.1
"""CPUs that an idle server may use."""

_IDLE_TIMEOUT = 60.0


@dataclass(frozen=True)
class Row:
    """A row of the table."""

    strangers: Strangers
    store: str = "memory:"


@dataclass(frozen=True)
class Measurement:
    """The figures of a user beside hostile connections, in seconds."""

    count: int
    p50: float
    p99: float
    slowest: float
    flood: Flood
    others: float
    """CPUs used by other programs."""


@dataclass(frozen=True)
class Outcome:
    """The figures of a row."""

    control: Measurement
    attacked: Measurement
    idle: float
    """Seconds from the end of the hostile load until the server was idle."""


@contextmanager
def _pinned(processor: int) -> Iterator[None]:
    """Pin this process, and the processes that it starts, to a processor."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {processor})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _write_certificate(path: Path) -> None:
    """Write a self-signed certificate for 127.0.0.1, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now, day = datetime.datetime.now(datetime.timezone.utc), datetime.timedelta(days=1)
    alternative = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(alternative, critical=False)
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(
        certificate.public_bytes(Encoding.PEM)
        + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )


class _User:
    """The user who measures."""

    def __init__(self, address: Address) -> None:
        (self._sock,) = log_in(address, ["user"])
        self._sock.settimeout(_ANSWER_SECONDS)
        self._message = encode(Message("m" * 20, "user", "user", 7), 2, 1)
        self._wanted = len(self._message) + len(encode(Response(Code.OK), 2))

    def round_trip(self) -> float:
        """Send a message; return the seconds until its answer and its delivery have arrived."""
        began = monotonic()
        try:
            self._sock.sendall(self._message)
            data = self._sock.recv(self._wanted, socket.MSG_WAITALL)
        except OSError as error:
            raise CheckFailed(f"a message of the user was not answered: {error}") from None
        if len(data) < self._wanted:
            raise CheckFailed("the server closed the connection of the user")
        return monotonic() - began

    def close(self) -> None:
        self._sock.close()


def _measure(
    user: _User, attacked: Address, servers: Sequence[int], strangers: Strangers, seconds: float
) -> Measurement:
    """Measure round trips while hostile connections send."""
    with flooding(attacked, strangers, seconds) as pipe:
        _await_idle(servers)
        user.round_trip()
        before, machine, own = _cpu(servers), machine_time(), process_time()
        began = monotonic()
        pipe.send("go")
        latencies = []
        while not pipe.poll():
            latencies.append(user.round_trip())
            sleep(_PAUSE)
        flood = pipe.recv()
        if isinstance(flood, CheckFailed):
            raise flood
        took = monotonic() - began
        used = _cpu(servers) - before + process_time() - own + flood.cpu
        others = max(0.0, machine_time() - machine - used) / took
    latencies.sort()
    last = len(latencies) - 1
    return Measurement(
        len(latencies), latencies[last // 2], latencies[int(0.99 * last)], latencies[-1], flood,
        others,
    )  # fmt: skip


def _cpu(servers: Sequence[int]) -> float:
    return sum(read_costs(pid).cpu for pid in servers)


def _await_idle(servers: Sequence[int]) -> float:
    """Return the time (``time.monotonic``) since which the servers have been idle."""
    deadline = monotonic() + _IDLE_TIMEOUT
    while monotonic() < deadline:
        began, before = monotonic(), _cpu(servers)
        sleep(_IDLE_WINDOW)
        # The resolution of the CPU time is 10 ms, a tenth of the window.
        if _cpu(servers) - before <= _IDLE_SHARE * _IDLE_WINDOW + 0.001:
            return began
    return monotonic()


def measure_row(
    row: Row, seconds: float, python: Path, processors: tuple[int, int], directory: Path
) -> Outcome:
    """Measure the control of a row, then the row.

    Args:
        python: the interpreter of the installation to measure.
        processors: those of the servers and of the load.
        directory: for the files of the servers.

    Raises:
        CheckFailed: a server or a connection failed, so that there are no figures.
    """
    certificate = directory / "certificate.pem"
    options = []
    if row.strangers.transport == TLS:
        if not certificate.exists():
            _write_certificate(certificate)
        options = [f"--certificate={certificate}"]
    with ExitStack() as stack:
        with _pinned(processors[0]):
            first, second = (
                stack.enter_context(ProjectServer(row.store, directory, options, python).running())
                for _ in range(2)
            )
        stack.enter_context(_pinned(processors[1]))
        pids = [_pid(first), _pid(second)]
        user = _User(first.address)
        stack.callback(user.close)
        control = _measure(user, second.address, pids, row.strangers, seconds)
        _await_idle(pids)
        attacked = _measure(user, first.address, pids, row.strangers, seconds)
        return Outcome(control, attacked, max(0.0, _await_idle(pids) - attacked.flood.left))


def _pid(target: Target) -> int:
    assert target.pid is not None
    return target.pid
