"""`x700 trunks`, against a socket that answers as the switch does."""

import json
from collections.abc import Iterator

import pytest

from b2bua.app.config import Settings
from tests.app.conftest import Command, parsed
from tests.app.test_cli_calls import Switch

TARGET = {
    "trunk": "carrier-a",
    "target": "udp:192.0.2.7:5060 (example.net)",
    "transport": "UDP",
    "state": "parked",
    "parked_seconds": 21,
    "probe_ms": 12.5,
    "probe_answer": "200",
    "probes": 40,
    "probes_failed": 2,
    "silent": 0,
}


@pytest.fixture
def switch(settings: Settings) -> Iterator[Switch]:
    switch = Switch(settings.ops.control_socket)
    yield switch
    switch.close()


def test_the_targets_of_all_trunks_are_listed(x700: Command, switch: Switch) -> None:
    switch.answer = json.dumps({"trunks": [TARGET]}).encode() + b"\n"
    assert parsed(x700("trunks", "--json")) == [TARGET]
    table = x700("trunks").stdout
    assert "carrier-a" in table
    assert "parked" in table
    assert switch.requests == [{"command": "trunks"}] * 2


def test_something_else_on_the_socket_is_told_from_a_switch(x700: Command, switch: Switch) -> None:
    switch.answer = b'{"error":"unknown command"}\n'
    result = x700("trunks")
    assert result.exit_code == 4
    assert "knows no trunks" in result.stderr
