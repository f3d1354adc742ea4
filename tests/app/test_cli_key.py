"""`x700 key`: keys of the API by the command line, with the words of the API."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from b2bua.app.cli import app
from routing.access import parse_key


@pytest.fixture
def node(config: Path) -> Path:
    run(config, "provider", "add", "platform-1")
    return config


def run(config: Path, *words: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, [*words, "--config", str(config)])
    assert result.exit_code == code, result.output
    return result.stdout if code == 0 else result.stderr


def made(config: Path, *words: str) -> dict[str, object]:
    row = json.loads(run(config, "key", *words, "--json"))
    assert isinstance(row, dict)
    return row


def test_a_key_is_made_and_its_secret_printed_once(node: Path) -> None:
    key = made(node, "add", "--name", "orders", "--role", "provider", "--provider", "platform-1")
    parts = parse_key(str(key["secret"]))
    assert parts is not None
    assert parts[0] == key["id"]
    assert (key["role"], key["provider"], key["state"]) == ("provider", "platform-1", "valid")
    listed = run(node, "key", "list", "--json")
    assert [row["id"] for row in json.loads(listed)] == [key["id"]]
    assert parts[1] not in listed
    assert parts[1] not in run(node, "key", "list")


def test_a_key_may_have_an_end(node: Path) -> None:
    key = made(node, "add", "--name", "old", "--role", "auditor", "--expires", "2100-01-01")
    assert key["expires_ms"] == 4_102_444_800_000
    assert "must be in the future" in run(
        node, "key", "add", "--name", "o", "--role", "auditor", "--expires", "2020-01-01", code=3
    )


def test_a_key_of_a_provider_names_one_that_is_registered(node: Path) -> None:
    assert "provider" in run(node, "key", "add", "--name", "o", "--role", "provider", code=3)
    words = ("key", "add", "--name", "o", "--role", "provider", "--provider", "nobody")
    assert "R6" in run(node, *words, code=3)


def test_keys_are_rotated_and_revoked(node: Path) -> None:
    first = made(node, "add", "--name", "ops", "--role", "operator")
    second = made(node, "rotate", str(first["id"]), "--hours", "2")
    assert second["replaces"] == first["id"]
    revoked = made(node, "revoke", str(second["id"]), "--reason", "lost")
    assert (revoked["state"], revoked["reason"]) == ("revoked", "lost")
    rows = {row["id"]: row for row in json.loads(run(node, "key", "list", "--json"))}
    assert rows[first["id"]]["state"] == "valid"
    assert rows[first["id"]]["expires_ms"] > 0
    gone = made(node, "rotate", str(first["id"]), "--hours", "0")
    rows = {row["id"]: row for row in json.loads(run(node, "key", "list", "--json"))}
    assert rows[first["id"]]["state"] == "expired"
    assert rows[gone["id"]]["state"] == "valid"


def test_a_revocation_says_why_and_of_what(node: Path) -> None:
    key = made(node, "add", "--name", "ops", "--role", "operator")
    assert "reason" in run(node, "key", "revoke", str(key["id"]), code=3)
    assert "no such key" in run(node, "key", "revoke", "0" * 12, "--reason", "x", code=1)


def test_keys_are_listed_by_provider(node: Path) -> None:
    made(node, "add", "--name", "ops", "--role", "operator")
    own = made(node, "add", "--name", "orders", "--role", "provider", "--provider", "platform-1")
    rows = json.loads(run(node, "key", "list", "--provider", "platform-1", "--json"))
    assert [row["id"] for row in rows] == [own["id"]]
