"""`x700 calls`, against a socket that answers as the switch does."""

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from b2bua.app import control
from b2bua.app.cli_common import Exit
from b2bua.app.config import Settings
from tests.app.conftest import Command, parsed

CALL = {
    "id": "7",
    "state": "up",
    "x": "700123456780001",
    "ingress": "carrier-a",
    "egress": "carrier-b",
    "caller": "138****8000",
    "callee": "139****9000",
    "since_ms": 1_795_288_800_000,
    "answered_ms": 0,
}


class Switch:
    """Answers one request with what the test put into `answer`, and remembers it."""

    def __init__(self, path: Path) -> None:
        self.answer = b""
        self.requests: list[object] = []
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            peer, _ = self._socket.accept()
            with peer, peer.makefile("rb") as lines:
                line = lines.readline()
                if not line:
                    return
                self.requests.append(json.loads(line))
                for start in range(0, len(self.answer), 50):
                    peer.sendall(self.answer[start : start + 50])

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX) as last:
            last.connect(self._socket.getsockname())
        self._thread.join()
        self._socket.close()


@pytest.fixture
def switch(settings: Settings) -> Iterator[Switch]:
    switch = Switch(settings.ops.control_socket)
    yield switch
    switch.close()


def test_live_calls_are_listed(x700: Command, switch: Switch) -> None:
    switch.answer = json.dumps({"calls": [CALL]}).encode() + b"\n"
    assert parsed(x700("calls", "list", "--json")) == [CALL]
    table = x700("calls", "list").stdout
    assert "138****8000" in table
    assert "2026-11-21 19:20:00.000Z" in table
    assert switch.requests == [{"command": "calls"}] * 2


def test_a_call_is_hung_up(x700: Command, switch: Switch) -> None:
    switch.answer = b'{"ok":true}\n'
    assert parsed(x700("calls", "hangup", "7", "--json")) == {"id": "7", "ok": True}
    assert switch.requests == [{"command": "hangup", "id": "7"}]


def test_a_call_that_is_not_there_ends_with_1(x700: Command, switch: Switch) -> None:
    switch.answer = b'{"error":"no such call"}\n'
    result = x700("calls", "hangup", "8")
    assert result.exit_code == Exit.FAILED
    assert result.stderr == "no such call\n"


def test_the_tables_are_shown(x700: Command, switch: Switch) -> None:
    switch.answer = b'{"calls":0,"dialogs":2}\n'
    assert parsed(x700("calls", "tables", "--json")) == {"calls": 0, "dialogs": 2}


def test_without_a_switch_it_ends_with_4(x700: Command, settings: Settings) -> None:
    for words in (("calls", "list"), ("calls", "hangup", "7"), ("calls", "tables")):
        result = x700(*words)
        assert result.exit_code == Exit.NO_SWITCH
        reason = "(No such file or directory); start one with: x700 run"
        assert result.stderr == f"no switch answers on {settings.ops.control_socket} {reason}\n"


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400\n", b"[]\n"])
def test_something_else_on_the_socket_is_no_switch(x700: Command, switch: Switch, answer: bytes) -> None:
    switch.answer = answer
    result = x700("calls", "list")
    assert result.exit_code == Exit.NO_SWITCH
    assert "is no switch" in result.stderr


def test_a_switch_that_does_not_answer_is_not_waited_for(
    x700: Command, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "PATIENCE", 0.05)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(settings.ops.control_socket))
        silent.listen()
        result = x700("calls", "list")
    assert result.exit_code == Exit.NO_SWITCH
    assert "(no answer)" in result.stderr
