"""Every package that a module imports is declared in pyproject.toml."""

from __future__ import annotations

import ast
import configparser
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

tomllib = pytest.importorskip("tomllib", reason="tomllib requires Python 3.11")

ROOT = Path(__file__).parents[1]

CORE = ""
"""Stands for the dependencies of an installation without extras."""

EXTRAS = {
    "chat_protocol.cli.screen": "terminal",
    "chat_protocol.client.tls": "tls",
    "chat_protocol.service.argon2_hash": "passwords",
    "chat_protocol.service.metrics": "metrics",
    "chat_protocol.service.status": "metrics",
    "chat_protocol.service.tls": "tls",
    "chat_protocol.service.tls_context": "tls",
    "chat_protocol.stores.postgres": "postgres",
    "chat_protocol.transport.pem": "tls",
    "chat_protocol.web": "web",
}
"""The modules and packages that require an extra."""

DISTRIBUTIONS = {"argon2": "argon2-cffi", "OpenSSL": "pyopenssl", "zope": "zope-interface"}
"""The distributions that are not named like the package that they install."""


class Import(NamedTuple):
    """An imported module."""

    name: str
    is_guarded: bool
    """In a ``try`` statement that handles ImportError."""
    is_deferred: bool
    """In a function, or for type checking only: it does not run when its module is imported."""


@cache
def modules() -> dict[str, str]:
    """The source of each module of the package, by its name."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): (
            path.read_text(encoding="utf-8")
        )
        for path in sorted((ROOT / "chat_protocol").rglob("*.py"))
    }


def imports(source: str) -> Iterator[Import]:
    def walk(node: ast.AST, guarded: bool, deferred: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, guarded, deferred)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "the package uses absolute imports"
            base = node.module or ""
            names = (f"{base}.{alias.name}" for alias in node.names)
            for name in sorted({name if name in modules() else base for name in names}):
                yield Import(name, guarded, deferred)
        else:
            guarded |= isinstance(node, ast.Try) and any(
                handler.type is not None and "ImportError" in ast.unparse(handler.type)
                for handler in node.handlers
            )
            deferred |= isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) or (
                isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
            )
            for child in ast.iter_child_nodes(node):
                yield from walk(child, guarded, deferred)

    yield from walk(ast.parse(source), False, False)


def extra_of(module: str) -> str:
    """The extra that a module requires."""
    parts = module.split(".")
    names = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
    return next((EXTRAS[name] for name in names if name in EXTRAS), CORE)


@cache
def declared() -> dict[str, set[str]]:
    """The distributions that pyproject.toml declares, by extra."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        project: dict[str, Any] = tomllib.load(file)["project"]
    requirements = {CORE: project["dependencies"], **project["optional-dependencies"]}
    return {
        extra: {normalized(re.split(r"[\[<>=~!; ]", one)[0]) for one in requirements[extra]}
        for extra in {CORE, *EXTRAS.values()}
    }


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def distribution(name: str) -> str | None:
    """The distribution that an imported module belongs to; None: this package or Python."""
    top = name.split(".")[0]
    if top == "chat_protocol" or top in sys.stdlib_module_names:
        return None
    return DISTRIBUTIONS.get(top, normalized(top))


def faults(module: str, source: str) -> list[str]:
    """The imports that fail although the extra of the module is installed."""
    extra = extra_of(module)
    installed = declared()[CORE] | declared()[extra]
    optional = set[str]().union(*declared().values())
    found = []
    for one in imports(source):
        wanted = distribution(one.name)
        if wanted is not None and wanted not in (optional if one.is_guarded else installed):
            found.append(one.name)
        if not one.is_deferred and extra_of(one.name) not in (CORE, extra):
            found.append(one.name)
    return found


def test_every_import_is_declared() -> None:
    found = {module: faults(module, source) for module, source in modules().items()}
    assert len(found) > 100
    assert {module: names for module, names in found.items() if names} == {}


def test_every_declared_distribution_is_imported() -> None:
    used: dict[str, set[str]] = {extra: set() for extra in declared()}
    for module, source in modules().items():
        found = {distribution(one.name) for one in imports(source)}
        used[extra_of(module)] |= {name for name in found if name is not None}
    assert {extra: names - used[extra] for extra, names in declared().items()} == {
        extra: set() for extra in declared()
    }


def test_every_module_with_an_extra_exists() -> None:
    assert set(EXTRAS) - set(modules()) == set()


GUARDED = "try:\n    import psycopg\nexcept ImportError:\n    pass\n"


@pytest.mark.parametrize(
    ("module", "source", "names"),
    [
        ("chat_protocol.web.http", "import h11", []),
        ("chat_protocol.client.client", "import h11", ["h11"]),
        ("chat_protocol.client.tls", "import h11.events", ["h11.events"]),
        ("chat_protocol.stores.registry", GUARDED, []),
        ("chat_protocol.stores.registry", "import psycopg", ["psycopg"]),
        ("chat_protocol.stores.registry", GUARDED.replace("psycopg", "asyncpg"), ["asyncpg"]),
        ("chat_protocol.web.http", "from chat_protocol.web.site import Web", []),
        (
            "chat_protocol.service.tap",
            "from chat_protocol.web.site import Web",
            ["chat_protocol.web.site"],
        ),
        (
            "chat_protocol.client.client",
            "from chat_protocol.client import tls",
            ["chat_protocol.client.tls"],
        ),
        (
            "chat_protocol.service.tap",
            "def web():\n    from chat_protocol.web.site import Web",
            [],
        ),
    ],
)
def test_faults_are_found(module: str, source: str, names: list[str]) -> None:
    assert faults(module, source) == names


def test_the_lowest_versions_are_those_that_tox_tests() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        project: dict[str, Any] = tomllib.load(file)["project"]
    wanted = [*project["dependencies"]]
    wanted += [one for extra in EXTRAS.values() for one in project["optional-dependencies"][extra]]
    tox = configparser.ConfigParser()
    tox.read(ROOT / "tox.ini")
    pinned = [one for one in tox["testenv:lowest"]["deps"].split() if "==" in one]
    floors = {one.replace(">=", "==") for one in wanted if ">=" in one}
    assert {one.replace("[tls]", "") for one in pinned} == floors
