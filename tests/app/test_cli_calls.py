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
    switch.answer = json.dumps({"ok": True, "calls": [CALL | {"provider": "platform-1"}]}).encode() + b"\n"
    assert parsed(x700("calls", "hangup", "7", "--json")) == {"id": "7", "ok": True}
    assert switch.requests == [{"command": "calls", "id": "7", "limit": 1}, {"command": "hangup", "id": "7"}]
    deeds = parsed(x700("audit", "list", "--kind", "call", "--json"))
    assert [(deed["action"], deed["id"], deed["provider"]) for deed in deeds] == [
        ("hung-up", "7", "platform-1"),
        ("hang-up", "7", "platform-1"),
    ]


def test_a_message_is_given_up_and_the_audit_says_so(x700: Command, switch: Switch) -> None:
    switch.answer = json.dumps({"ok": True, "messages": [{"id": "9", "provider": "platform-1"}]}).encode() + b"\n"
    assert parsed(x700("messages", "discard", "9", "--json")) == {"id": "9", "ok": True}
    deeds = parsed(x700("audit", "list", "--kind", "message", "--json"))
    assert [(deed["action"], deed["provider"]) for deed in deeds] == [
        ("discarded", "platform-1"),
        ("discard", "platform-1"),
    ]


def test_a_call_that_is_not_there_ends_with_1(x700: Command, switch: Switch) -> None:
    switch.answer = b'{"calls":[]}\n'
    result = x700("calls", "hangup", "8")
    assert result.exit_code == Exit.FAILED
    assert result.stderr == "no call 8\n"
    assert parsed(x700("audit", "list", "--kind", "call", "--json")) == []


def test_a_call_that_ends_meanwhile_is_told_of_and_noted(x700: Command, switch: Switch) -> None:
    switch.answer = json.dumps({"error": "no live call has this id", "calls": [CALL]}).encode() + b"\n"
    result = x700("calls", "hangup", "7")
    assert (result.exit_code, result.stderr) == (Exit.FAILED, "no live call has this id\n")
    deeds = parsed(x700("audit", "list", "--kind", "call", "--json"))
    assert [deed["action"] for deed in deeds] == ["not-hung-up", "hang-up"]


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
