"""The packages build on each other in one direction only."""

from __future__ import annotations

import ast
import pkgutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

import chat_protocol
import chat_protocol.wire

PACKAGE = Path(chat_protocol.__file__).parent
NAME = "chat_protocol"

RANKS = {
    "wire": 0,
    "domain": 1,
    "stores": 2,
    "transport": 2,
    "server": 3,
    "web": 4,
    "client": 5,
    "service": 5,
    "aio": 6,
    "cli": 6,
    "testing": 6,
    "sync": 7,
}

# The modules beside the packages: what each may import, and who may import it.
ERRORS = f"{NAME}.errors"
VERSION = f"{NAME}.version"
ERRORS_MAY = {f"{NAME}.wire.codes"}

REACTOR = "twisted.internet.reactor"
REACTOR_USERS = {f"{NAME}.service.tap"}


class Import(NamedTuple):
    """One module imported by another."""

    target: str
    line: int
    in_function: bool


@cache
def modules() -> dict[str, str]:
    """The source of every module of the package, by its dotted name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text()
    return found


def imports(module: str, source: str) -> Iterator[Import]:
    """What a module imports, wherever in it; ``from package import module`` names the module."""
    package = module if _is_package(module) else module.rpartition(".")[0]

    def walk(node: ast.AST, function: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, function)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            for alias in node.names:
                full = f"{base}.{alias.name}"
                target = full if full in modules() or full == REACTOR else base
                yield Import(target, node.lineno, function)
        else:
            inner = function or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
            for child in ast.iter_child_nodes(node):
                yield from walk(child, inner)

    yield from walk(ast.parse(source), False)


def _is_package(module: str) -> bool:
    return (PACKAGE.parent / Path(*module.split("."))).is_dir()


def _layer(module: str) -> str:
    """The package right below the root, or the module that stands there; empty for the root."""
    return module.split(".")[1] if "." in module else ""


def _folder(module: str) -> str:
    """Return the package directly below the layer that contains the module, or nothing."""
    below = ".".join(module.split(".")[:3])
    return below if module.count(".") >= 2 and _is_package(below) else ""


def allowed(module: str, target: str) -> bool:
    """Whether a module of this project may import another one of it."""
    mine, other = _layer(module), _layer(target)
    if mine == other and mine in RANKS:
        # The packages of one layer, such as the stores, must not import each other.
        return "" in (_folder(module), _folder(target)) or _folder(module) == _folder(target)
    if module == ERRORS:
        return target in ERRORS_MAY
    if target in (ERRORS, VERSION):
        return True
    return mine in RANKS and other in RANKS and RANKS[other] < RANKS[mine]


def wrong_imports(module: str, source: str) -> list[str]:
    """An import under TYPE_CHECKING counts: it may help inside a layer, not across."""
    return [
        f"{module}:{one.line} imports {one.target}"
        for one in imports(module, source)
        if one.target.split(".")[0] == NAME and not allowed(module, one.target)
    ]


def reactor_uses(module: str, source: str) -> list[str]:
    """Where the global reactor is imported or reached."""
    lines = [one.line for one in imports(module, source) if one.target == REACTOR]
    lines += [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute) and ast.unparse(node).endswith("internet.reactor")
    ]
    if module in REACTOR_USERS or _layer(module) == "cli":
        return []
    return [f"{module}:{line}" for line in sorted(set(lines))]


def cycle(graph: dict[str, set[str]]) -> list[str]:
    """Modules that import each other, or nothing."""
    done: set[str] = set()

    def visit(module: str, above: list[str]) -> list[str]:
        if module in above:
            return [*above[above.index(module) :], module]
        if module in done:
            return []
        for target in sorted(graph.get(module, ())):
            found = visit(target, [*above, module])
            if found:
                return found
        done.add(module)
        return []

    for module in sorted(graph):
        found = visit(module, [])
        if found:
            return found
    return []


def imported_graph(sources: Mapping[str, str]) -> dict[str, set[str]]:
    """Which module imports which, be it for types only; imports in functions do not count."""
    return {
        module: {
            one.target
            for one in imports(module, source)
            if one.target in sources and not one.in_function
        }
        for module, source in sources.items()
    }


def loaded_by(*names: str) -> set[str]:
    """The modules that a fresh interpreter has after it imported these."""
    code = f"import sys, {', '.join(names)}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


# The project.


def test_every_package_has_its_place() -> None:
    below = {_layer(module) for module in modules()} - {"", "errors", "version"}
    assert below == set(RANKS)


def test_imports_go_in_one_direction() -> None:
    wrong = [line for module, source in modules().items() for line in wrong_imports(module, source)]
    assert wrong == []


def test_no_module_imports_itself_by_way_of_others() -> None:
    assert cycle(imported_graph(modules())) == []


def test_the_reactor_is_imported_where_a_program_starts_only() -> None:
    uses = [line for module, source in modules().items() for line in reactor_uses(module, source)]
    assert uses == []


def test_wire_brings_nothing_of_twisted() -> None:
    wire = [one.name for one in pkgutil.iter_modules(chat_protocol.wire.__path__, f"{NAME}.wire.")]
    assert len(wire) > 3
    loaded = loaded_by(*wire)
    assert set(wire) <= loaded
    assert [name for name in loaded if name.split(".")[0] == "twisted"] == []


def test_the_library_installs_no_reactor() -> None:
    libraries = ("aio", "client", "server.factory", "service.server", "sync", "testing")
    loaded = loaded_by(*(f"{NAME}.{library}" for library in libraries))
    assert "twisted.internet.defer" in loaded
    assert REACTOR not in loaded


# The rules, each broken once.


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("wire.codec", "import chat_protocol.domain.names"),
        ("wire.codec", "from chat_protocol.domain.ports import IStore"),
        ("domain.names", "from chat_protocol.stores import memory"),
        ("domain.names", "from chat_protocol.transport.output import Output"),
        ("domain.names", "from ..protocol import output"),
        ("stores.memory", "from chat_protocol.transport.output import Output"),
        ("transport.output", "def f():\n    from chat_protocol.stores import memory"),
        ("transport.output", "import chat_protocol.client.api"),
        ("client.api", "from chat_protocol.service import server"),
        ("server.sniffer", "from chat_protocol.web.site import Web"),
        ("web.http", "from chat_protocol.service.server import ChatService"),
        ("service.server", "from chat_protocol import client"),
        ("service.server", "import chat_protocol.cli.main"),
        ("client.api", "from chat_protocol.testing import MemoryServer"),
        ("client.api", "from chat_protocol.aio import connect"),
        ("aio.chat", "from chat_protocol.sync.chat import Chat"),
        ("cli.main", "from chat_protocol.testing import MemoryServer"),
        (
            "domain.session",
            "from typing import TYPE_CHECKING\n"
            "if TYPE_CHECKING:\n    from chat_protocol.transport.output import Output",
        ),
        ("errors", "from chat_protocol.wire.codec import encode"),
        ("errors", "from chat_protocol.domain.limits import Limits"),
        ("domain.ports", "from chat_protocol.server.session import Session"),
        ("wire.codec", "from chat_protocol import __doc__"),
        ("stores.sqlite.store", "from chat_protocol.stores.postgres.queries import page"),
        ("stores.sqlite.admin.admin", "from chat_protocol.stores.memory import store"),
        ("stores.memory.store", "from .. import postgres"),
        ("stores.postgres", "import chat_protocol.stores.sqlite"),
    ],
)
def test_a_wrong_import_is_found(module: str, source: str) -> None:
    assert len(wrong_imports(f"{NAME}.{module}", source)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("domain.names", "from chat_protocol.wire import codec"),
        ("domain.names", "from chat_protocol.domain import limits"),
        ("wire.codec", "from chat_protocol.errors import Malformed"),
        ("errors", "from chat_protocol.wire.codes import Code"),
        ("stores.memory", "from chat_protocol.domain.ports import IStore"),
        ("stores.sqlite.admin.admin", "from chat_protocol.stores.sqlite import database"),
        ("stores.sqlite.store", "from chat_protocol.stores.thread_worker import ThreadWorker"),
        ("stores.registry", "from chat_protocol.stores.sqlite.store import SQLiteStore"),
        ("cli.main", "from chat_protocol.client.api import connect"),
        ("testing.server", "from chat_protocol.client.api import connect"),
        ("client.api", "from chat_protocol.transport.framing import FrameReceiver"),
        ("wire.codec", "import struct"),
    ],
)
def test_a_right_import_is_none_of_them(module: str, source: str) -> None:
    assert wrong_imports(f"{NAME}.{module}", source) == []


@pytest.mark.parametrize(
    "source",
    [
        "from twisted.internet import reactor",
        "from twisted.internet import defer, reactor as clock",
        "import twisted.internet.reactor",
        "from twisted.internet.reactor import callLater",
        "import twisted.internet\ntwisted.internet.reactor.run()",
        "from twisted import internet\ninternet.reactor.run()",
        "def f():\n    from twisted.internet import reactor",
    ],
)
def test_a_use_of_the_reactor_is_found(source: str) -> None:
    assert len(reactor_uses(f"{NAME}.domain.turn", source)) == 1
    assert reactor_uses(f"{NAME}.service.tap", source) == []
    assert reactor_uses(f"{NAME}.cli.main", source) == []


def test_a_cycle_is_found() -> None:
    assert cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert cycle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_types_make_a_cycle_and_late_imports_make_none() -> None:
    types = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import b"
    late = "def f():\n    import b"
    assert cycle(imported_graph({"a": types, "b": "import a"})) == ["a", "b", "a"]
    assert cycle(imported_graph({"a": late, "b": "import a"})) == []


def test_where_an_import_stands_is_known() -> None:
    source = (
        "import typing\nif typing.TYPE_CHECKING:\n    import a\nelse:\n    import b\n"
        "def f():\n    import c\n"
    )
    found = {one.target: one.in_function for one in imports(f"{NAME}.domain.turn", source)}
    assert found == {"typing": False, "a": False, "b": False, "c": True}


def test_twisted_would_be_noticed() -> None:
    assert "twisted.internet.defer" in loaded_by(f"{NAME}.transport.framing")
