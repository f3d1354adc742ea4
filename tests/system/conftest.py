"""Each test has a node of its own, not started, and a pair of phones."""

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.node import LINES, Node
from tests.system.phones import Phones


def _may_mount() -> bool:
    with tempfile.TemporaryDirectory() as place:
        try:
            mounted = subprocess.run(
                ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", place], capture_output=True, check=False
            )
        except OSError:
            return False
        if mounted.returncode:
            return False
        subprocess.run(["umount", place], check=True)
        return True


MAY_MOUNT = _may_mount()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not MAY_MOUNT:
        terminalreporter.write_line(
            "full disk: this user may not mount a file system, so it was played by a limit on file sizes alone"
        )


@pytest.fixture
def phones() -> Iterator[Phones]:
    with Phones({line.callee: line.manner for line in LINES}) as phones:
        yield phones


@pytest.fixture
def node(tmp_path: Path, phones: Phones) -> Iterator[Node]:
    node = Node(tmp_path, phones).provide()
    yield node
    node.close()
