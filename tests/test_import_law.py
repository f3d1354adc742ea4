"""Who may import whom, walked by the syntax tree: the law that keeps input and output in one place.

``b2bua.sip`` knows nothing of ours. ``b2bua.call`` knows it, and plain values of ``routing`` and ``cdr``. Those two
know neither each other nor the rest. Only ``store`` packages, ``b2bua.app`` and ``b2bua.api`` do input and output;
of the last two neither knows the other, but for the command line, which puts the processes together.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
OURS = ("b2bua", "routing", "cdr")

# modules that touch files, sockets, clocks, threads or chance
OUTSIDE = frozenset(
    (
        "asyncio", "concurrent", "ctypes", "datetime", "faulthandler", "fcntl", "glob", "http", "io", "logging",
        "mmap", "multiprocessing", "os", "pathlib", "random", "resource", "sched", "secrets", "select", "selectors",
        "shelve", "shutil", "signal", "socket", "socketserver", "sqlite3", "ssl", "subprocess", "sys", "syslog",
        "tempfile", "threading", "time", "urllib.request", "uuid", "warnings", "wsgiref",
    )
)  # fmt: skip
# calls that do the same without an import
OUTSIDE_CALLS = frozenset(("print", "open", "input", "exec", "eval", "compile", "__import__", "breakpoint"))


# the modules that may hand the application to what serves it
COMMAND_LINE = "b2bua.app.cli"


class Law(NamedTuple):
    """What a package may import: of ours, of others besides the standard library, and what of that is excused."""

    ours: tuple[str, ...]
    others: tuple[str, ...] = ()
    excused: tuple[str, ...] = ()


# longest prefix first
LAWS: dict[str, Law] = {
    "b2bua.sip": Law(("b2bua.sip",)),
    "b2bua.call": Law(
        (
            "b2bua.call", "b2bua.sip",
            # values, and pure functions on them
            "cdr.record", "routing.binding", "routing.content", "routing.decide", "routing.numbers", "routing.targets",
            "routing.trunks",
            # what calls are counted in, given back when they are over
            "routing.counters", "routing.last_callers",
        )
    ),
    "routing": Law(("routing",)),
    # how long records are kept is counted in days of the calendar; it is told the time
    "cdr.retention": Law(("cdr",), excused=("datetime",)),
    # keys come of the operating system's chance, handed in where it matters
    "cdr.seal": Law(("cdr",), others=("cryptography",), excused=("os",)),
    "cdr": Law(("cdr",), others=("msgspec",)),
}  # fmt: skip


class Module(NamedTuple):
    name: str
    tree: ast.Module


def modules() -> Iterator[Module]:
    """Every module of ours."""
    for package in OURS:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            yield Module(name, ast.parse(path.read_text(encoding="utf-8"), str(path)))


MODULES = list(modules())
NAMES = frozenset(module.name for module in MODULES)


def does_io(name: str) -> bool:
    """Whether this is one of the places for input and output."""
    return name.split(".")[:2] in (["b2bua", "app"], ["b2bua", "api"]) or "store" in name.split(".")


PURE = [module for module in MODULES if not does_io(module.name)]


def imported(tree: ast.AST) -> set[str]:
    """Full names of all that is imported anywhere in a module, inside functions too."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module is not None
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.add(whole if whole in NAMES else node.module)
    return found


def within(name: str, packages: tuple[str, ...] | frozenset[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def law_of(name: str) -> Law:
    """The law of the longest package name that fits."""
    fitting = [package for package in LAWS if within(name, (package,))]
    assert fitting or name == "b2bua", f"no law for {name}"
    return LAWS[max(fitting, key=len)] if fitting else Law(())


def breaches(module: Module) -> list[str]:
    """What a pure module imports or calls against the law."""
    law = law_of(module.name)
    found = []
    for name in sorted(imported(module.tree)):
        root = name.partition(".")[0]
        if root in OURS:
            if not within(name, law.ours):
                found.append(f"imports {name}")
        elif root in sys.stdlib_module_names:
            if within(name, OUTSIDE) and not within(name, law.excused):
                found.append(f"imports {name}")
        elif not within(name, law.others):
            found.append(f"imports {name}")
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in OUTSIDE_CALLS:
            found.append(f"calls {node.func.id}")
    return found


@pytest.mark.parametrize("module", PURE, ids=[module.name for module in PURE])
def test_pure_packages_keep_the_law(module: Module) -> None:
    assert breaches(module) == []


@pytest.mark.parametrize("module", MODULES, ids=[module.name for module in MODULES])
def test_packages_keep_to_themselves(module: Module) -> None:
    """routing and cdr know neither each other nor the rest, their stores included; nobody below app and api knows
    either."""
    root = module.name.partition(".")[0]
    for name in imported(module.tree):
        other = name.partition(".")[0]
        if root in ("routing", "cdr") and other in OURS:
            assert other == root, f"{module.name} imports {name}"
        if not within(module.name, ("b2bua.app",)):
            assert not within(name, ("b2bua.app",)), f"{module.name} imports {name}"
        if not within(module.name, ("b2bua.api",)) and not module.name.startswith(COMMAND_LINE):
            assert not within(name, ("b2bua.api",)), f"{module.name} imports {name}"
        if not does_io(module.name):
            assert not does_io(name), f"{module.name} imports {name}"


def test_only_the_command_line_prints() -> None:
    """And even that through its console."""
    for module in MODULES:
        calls = [node for node in ast.walk(module.tree) if isinstance(node, ast.Call)]
        assert not [node for node in calls if isinstance(node.func, ast.Name) and node.func.id == "print"], module.name


def test_every_package_is_there() -> None:
    """The test above would be content with nothing."""
    assert {"b2bua.sip.endpoint", "b2bua.call.switch", "routing.decide", "cdr.journal"} <= {m.name for m in PURE}
    assert {"b2bua.app.shell", "routing.store.sqlite", "cdr.store.segments"} <= NAMES - {m.name for m in PURE}


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("b2bua.sip.x", "import asyncio", ["imports asyncio"]),
        ("b2bua.sip.x", "def f():\n    from time import monotonic", ["imports time"]),
        ("b2bua.sip.x", "from b2bua.call.leg import Leg", ["imports b2bua.call.leg"]),
        ("b2bua.sip.x", "from b2bua.call import leg", ["imports b2bua.call.leg"]),
        ("b2bua.sip.x", "import os.path as p", ["imports os.path"]),
        ("b2bua.sip.x", "import msgspec", ["imports msgspec"]),
        ("b2bua.sip.x", "print('x')", ["calls print"]),
        ("b2bua.call.x", "from routing.plan import Plan", ["imports routing.plan"]),
        ("b2bua.call.x", "from routing.store import sqlite", ["imports routing.store.sqlite"]),
        ("b2bua.call.x", "import random\nopen('x')", ["imports random", "calls open"]),
        ("b2bua.call.x", "from b2bua.sip.uri import parse_uri\nfrom cdr import record\nimport re", []),
        ("routing.x", "from cdr import record", ["imports cdr.record"]),
        ("cdr.x", "import routing.plan", ["imports routing.plan"]),
        ("cdr.retention", "from datetime import UTC", []),
        ("cdr.journal", "from datetime import UTC", ["imports datetime"]),
    ],
)
def test_the_law_sees_breaches(name: str, text: str, expected: list[str]) -> None:
    assert breaches(Module(name, ast.parse(text))) == expected
