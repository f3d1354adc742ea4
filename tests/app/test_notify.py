"""Readiness datagrams, against a real socket on both sides."""

import socket
from pathlib import Path

from b2bua.app.notify import Listener, notify


def test_without_a_manager_nothing_is_sent() -> None:
    assert notify("READY=1", {}) is False


def test_a_manager_that_has_gone_is_no_error(tmp_path: Path) -> None:
    assert notify("READY=1", {"NOTIFY_SOCKET": str(tmp_path / "gone")}) is False


def test_states_arrive_line_by_line_and_once() -> None:
    with Listener() as manager:
        assert manager.states() == []
        assert notify("READY=1\nSTATUS=up", manager.environ)
        assert notify("STOPPING=1", manager.environ)
        assert manager.states() == ["READY=1", "STATUS=up", "STOPPING=1"]
        assert manager.states() == []


def test_the_socket_is_removed_with_its_directory() -> None:
    with Listener() as manager:
        path = Path(manager.environ["NOTIFY_SOCKET"])
        assert path.parent.stat().st_mode & 0o077 == 0
    assert not path.parent.exists()


def test_the_abstract_namespace_is_reached() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0x700-test-notify")
        assert notify("READY=1", {"NOTIFY_SOCKET": "@x700-test-notify"})
        assert manager.recv(100) == b"READY=1"
