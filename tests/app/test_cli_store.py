"""`x700 block` and `x700 bind` on a real store."""

import json
import time
from pathlib import Path

import pytest

from b2bua.app.cli_common import Exit
from tests.app.conftest import Command, parsed

A, B, X = "13800138000", "13900139000", "700123456780001"
BLOCK = ("block", "add", "70012345678", "--provider", "provider-1", "--user", "shop-1")
BIND = (
    *("bind", "add", "--x", X, "--a", A, "--b", B, "--user", "shop-1", "--order", "order-1"),
    *("--scenario", "delivery", "--real-name", "verified-1", "--consent", "consent-1"),
)
REQUEST = {
    "x": X,
    "a": A,
    "b": B,
    "business_user": "shop-1",
    "scenario": "delivery",
    "order_id": "order-1",
    "real_name": "verified-1",
    "consent": "consent-1",
    "expires_ms": int(time.time() * 1000) + 3_600_000,
}


@pytest.fixture
def bound(x700: Command) -> str:
    """The id of a binding in a block."""
    assert x700(*BLOCK).exit_code == 0
    result = x700(*BIND, "--json")
    assert result.exit_code == 0, result.stderr
    answer = parsed(result)
    assert isinstance(answer, dict)
    return str(answer["id"])


def rows(x700: Command, *words: str) -> list[dict[str, object]]:
    answer = parsed(x700(*words, "--json"))
    assert isinstance(answer, list)
    return answer


def test_a_block_is_added_frozen_and_activated(x700: Command) -> None:
    row = {"prefix": "70012345678", "state": "active", "provider": "provider-1", "business_user": "shop-1"}
    assert parsed(x700(*BLOCK, "--json")) == row
    assert rows(x700, "block", "list") == [row]
    assert parsed(x700("block", "freeze", "70012345678", "--json")) == row | {"state": "frozen"}
    assert rows(x700, "block", "list") == [row | {"state": "frozen"}]
    assert parsed(x700("block", "activate", "70012345678", "--json")) == row
    assert "70012345678" in x700("block", "list").stdout


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("block", "add", "7001", "--provider", "p", "--user", "u"), "refused: prefix: a block is 700 and 8 digits"),
        (("block", "freeze", "70099999999"), "refused: prefix: no such block"),
        (("bind", "add", "--x", "13800138000"), "refused: x: a middle number is 700 and 12 digits (rule R3)"),
        (BIND, "refused: x: the number lies in no assigned block (rule R3)"),
    ],
)
def test_what_a_rule_forbids_ends_with_3(x700: Command, words: tuple[str, ...], complaint: str) -> None:
    result = x700(*words)
    assert result.exit_code == Exit.REFUSED
    assert result.stderr.startswith(complaint)
    assert result.stdout == ""


def test_a_binding_is_listed_with_its_numbers_masked(x700: Command, bound: str) -> None:
    (row,) = rows(x700, "bind", "list")
    assert (row["id"], row["state"], row["x"], row["a"], row["b"]) == (bound, "live", X, "138****8000", "139****9000")
    table = x700("bind", "list").stdout
    assert bound in table
    assert A not in table
    (row,) = rows(x700, "bind", "list", "--reveal")
    assert (row["a"], row["b"]) == (f"+86{A}", f"+86{B}")


def test_a_binding_lives_for_a_day_unless_told_otherwise(x700: Command, bound: str) -> None:
    (row,) = rows(x700, "bind", "list")
    assert int(str(row["expires_ms"])) - int(str(row["starts_ms"])) == pytest.approx(86_400_000, abs=5_000)


def test_a_binding_can_wait_and_end_at_times_given(x700: Command, bound: str) -> None:
    times = ("--starts", "2999-01-01T00:00Z", "--expires", "2999-01-02T00:00Z")
    result = x700(*BIND, *times)
    assert result.exit_code == Exit.REFUSED
    x700("bind", "end", bound)
    answer = parsed(x700(*BIND, "--hours", "1", "--direction", "a_to_b", "--ring-seconds", "20", "--json"))
    assert isinstance(answer, dict)
    assert answer["expires_ms"] - answer["starts_ms"] == pytest.approx(3_600_000, abs=5_000)
    assert (answer["direction"], answer["ring_seconds"]) == ("a_to_b", 20)


def test_a_key_in_use_is_refused(x700: Command, bound: str) -> None:
    result = x700(*BIND)
    assert result.exit_code == Exit.REFUSED
    assert bound in result.stderr


def test_a_binding_is_ended_once_and_shown_so(x700: Command, bound: str) -> None:
    answer = parsed(x700("bind", "end", bound, "--json"))
    assert isinstance(answer, dict)
    assert answer["state"] == "ended"
    assert [row["state"] for row in rows(x700, "bind", "list")] == ["ended"]
    assert rows(x700, "bind", "list", "--live") == []
    assert x700("bind", "end", bound).exit_code == 0


def test_what_is_not_there_ends_with_1(x700: Command, bound: str) -> None:
    result = x700("bind", "end", "nothing")
    assert result.exit_code == Exit.FAILED
    assert result.stderr == "no binding nothing\n"


def test_many_are_bound_from_a_file_and_each_wrong_line_is_named(x700: Command, tmp_path: Path) -> None:
    x700(*BLOCK)
    lines = [
        json.dumps(REQUEST | {"x": f"70012345678{number:04}", "order_id": f"order-{number}"}) for number in range(20)
    ]
    lines[3] = json.dumps(REQUEST | {"x": "70099999999000" + "1"})
    lines[7] = "{}"
    lines[9] = ""
    lines[11] = "not JSON"
    file = tmp_path / "bindings.jsonl"
    file.write_text("\n".join(lines) + "\n")
    result = x700("bind", "add", "--file", str(file), "--json")
    answer = parsed(result)
    assert isinstance(answer, dict)
    assert result.exit_code == Exit.REFUSED
    assert len(answer["bound"]) == 16
    assert [refused["line"] for refused in answer["refused"]] == [4, 8, 12]
    assert "line 8: Object missing required field" in result.stderr
    assert A not in result.stderr
    assert len(rows(x700, "bind", "list", "--limit", "5")) == 5
    assert len(rows(x700, "bind", "list", "--limit", "0")) == 16


def test_many_are_bound_from_standard_input(x700: Command) -> None:
    x700(*BLOCK)
    result = x700("bind", "add", "--file", "-", stdin=json.dumps(REQUEST) + "\n")
    assert result.exit_code == 0
    assert result.stderr == "1 bound, 0 refused\n"
    (row,) = rows(x700, "bind", "list")
    assert result.stdout.strip() == row["id"]


def test_a_list_goes_on_after_an_id_and_can_be_of_one_number(x700: Command) -> None:
    x700(*BLOCK)
    for number in range(3):
        x700(*BIND[:3], f"70012345678{number:04}", *BIND[4:])
    ids = [row["id"] for row in rows(x700, "bind", "list")]
    assert [row["id"] for row in rows(x700, "bind", "list", "--after", str(ids[0]))] == ids[1:]
    assert [row["id"] for row in rows(x700, "bind", "list", "--x", X)] == ids[1:2]


def test_a_store_of_other_keys_is_told_plainly(x700: Command, bound: str, config: Path) -> None:
    keyring = config.parent / "keyring"
    keyring.unlink()
    x700("keygen", str(keyring))
    result = x700("bind", "list")
    assert result.exit_code == Exit.FAILED
    assert "was written with other keys" in result.stderr
    assert result.stderr.count("\n") == 1
