"""`x700 bind` and `x700 group` on a real store."""

import asyncio
import csv
import json
import time
from pathlib import Path

import pytest

from b2bua.app.cli_common import Exit
from b2bua.app.config import Settings
from b2bua.app.storage import binding_store
from routing.plan import Block, BlockState
from routing.store.bindings import Bindings
from tests.app.conftest import Command, parsed

A, B, C, X = "13800138000", "13900139000", "13700137000", "700123456780001"
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
def block(settings: Settings) -> None:
    """A registered business user and its block."""

    async def enrol() -> None:
        async with binding_store(settings) as store:
            await store.registry.enrol("provider-1", "shop-1", "delivery", now_ms=0, by="test")
            await store.blocks.add(Block("70012345678", "provider-1", "shop-1", BlockState.ACTIVE), 0, by="test")

    asyncio.run(enrol())


@pytest.fixture
def bound(x700: Command, block: None) -> str:
    """The id of a binding in the block."""
    return str(one(x700, *BIND)["id"])


@pytest.fixture
def group(x700: Command, block: None) -> str:
    """The id of a group of two."""
    row = one(x700, "group", "add", "--user", "shop-1", "--name", "couriers", "--member", A, "--member", C)
    assert (row["members"], row["name"]) == (["138****8000", "137****7000"], "couriers")
    return str(row["id"])


def rows(x700: Command, *words: str) -> list[dict[str, object]]:
    answer = parsed(x700(*words, "--json"))
    assert isinstance(answer, list)
    return answer


def one(x700: Command, *words: str) -> dict[str, object]:
    result = x700(*words, "--json")
    assert result.exit_code == 0, result.stderr
    answer = parsed(result)
    assert isinstance(answer, dict)
    return answer


def test_what_a_rule_forbids_ends_with_3(x700: Command, block: None) -> None:
    for words, complaint in (
        (("--x", "13800138000"), "refused: x: a middle number is 700 and 12 digits (rule R3)"),
        (("--x", "700999999990001"), "refused: x: the number lies in no assigned block (rule R3)"),
        (("--scenario", "marketing"), "refused: scenario: no such scenario is registered"),
        (("--y", X), "refused: y: mode AXB has no second middle number (rule form)"),
        (("--mode", "GXB"), "refused: group: mode GXB needs a group (rule form)"),
    ):
        result = x700(*BIND, *words)
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
    assert result.stderr == "no such binding\n"


def test_a_list_goes_on_after_an_id_and_can_be_of_one_number(x700: Command, block: None) -> None:
    for number in range(3):
        x700(*BIND[:3], f"70012345678{number:04}", *BIND[4:])
    ids = [row["id"] for row in rows(x700, "bind", "list")]
    assert [row["id"] for row in rows(x700, "bind", "list", "--after", str(ids[0]))] == ids[1:]
    assert [row["id"] for row in rows(x700, "bind", "list", "--x", X)] == ids[1:2]
    assert [row["id"] for row in rows(x700, "bind", "list", "--limit", "2")] == ids[:2]
    assert [row["id"] for row in rows(x700, "bind", "list", "--limit", "0")] == ids
    assert len(rows(x700, "bind", "list", "--order", "order-1", "--user", "shop-1", "--state", "live")) == 3
    assert rows(x700, "bind", "list", "--order", "order-2") == rows(x700, "bind", "list", "--state", "ended") == []


def test_a_number_is_drawn_where_none_is_named(x700: Command, block: None) -> None:
    row = one(x700, *BIND[:2], *BIND[4:], "--mode", "AXYB")
    assert row["x"] != row["y"]
    assert all(str(row[key]).startswith("70012345678") for key in ("x", "y"))


def test_the_same_client_token_is_the_same_binding(x700: Command, block: None) -> None:
    words = (*BIND, "--client-token", "token-1", "--expires", "2026-12-01")
    words = (*words[:-1], time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600)))
    assert one(x700, *words)["id"] == one(x700, *words)["id"]
    assert len(rows(x700, "bind", "list")) == 1
    assert x700(*words, "--most-calls", "3").exit_code == Exit.REFUSED


def test_a_binding_is_shown_changed_and_extended(x700: Command, bound: str) -> None:
    shown = one(x700, "bind", "show", bound)
    assert (shown["real_name"], shown["a"], shown["revision"]) == ("verified-1", "138****8000", 1)
    assert one(x700, "bind", "show", bound, "--reveal")["a"] == f"+86{A}"
    longer = one(x700, "bind", "extend", bound, "--expires", time.strftime("%Y-%m-%d", time.gmtime(time.time() + 3e6)))
    assert int(str(longer["expires_ms"])) > int(str(shown["expires_ms"]))
    changed = one(x700, "bind", "change", bound, "--direction", "a_to_b", "--ring-seconds", "20", "--most-calls", "3")
    assert (changed["direction"], changed["ring_seconds"], changed["most_calls"]) == ("a_to_b", 20, 3)
    other = one(x700, "bind", "change", bound, "--b", C, "--real-name", "verified-2", "--consent", "consent-2")
    assert (other["b"], other["consent"]) == ("137****7000", "consent-2")
    assert x700("bind", "change", bound, "--b", B).exit_code == Exit.REFUSED  # R16


def test_a_change_that_is_half_wrong_changes_nothing(x700: Command, bound: str) -> None:
    words = ("bind", "change", bound, "--direction", "a_to_b", "--b", "95588", "--real-name", "v", "--consent", "c")
    assert x700(*words).exit_code == Exit.REFUSED
    assert one(x700, "bind", "show", bound)["direction"] == "both"


def lines(count: int) -> list[str]:
    return [
        json.dumps(REQUEST | {"x": f"70012345678{number:04}", "order_id": f"order-{number}"}) for number in range(count)
    ]


def test_every_right_line_of_a_file_is_bound_and_each_wrong_one_is_told_of(
    x700: Command, block: None, tmp_path: Path
) -> None:
    wrong = lines(20)
    wrong[3] = json.dumps(REQUEST | {"x": "70099999999000" + "1"})
    wrong[7] = "{}"
    wrong[9] = ""
    wrong[11] = "not JSON"
    wrong[13] = json.dumps(REQUEST | {"number": A})
    file = tmp_path / "bindings.jsonl"
    file.write_text("\n".join(wrong) + "\n")
    result = x700("bind", "import", str(file), "--json")
    assert result.exit_code == Exit.REFUSED
    assert parsed(result) == {"lines": 20, "bound": 15, "refused": 4, "errors": f"{file}.errors"}
    faults = [json.loads(line) for line in Path(f"{file}.errors").read_text().splitlines()]
    assert [(fault["line"], fault["field"], fault["rule"]) for fault in faults] == [
        (4, "x", "R3"),
        (8, "expires_ms", "form"),
        (12, "line", "form"),
        (14, "number", "form"),
    ]
    assert len(rows(x700, "bind", "list", "--limit", "0")) == 15

    file.write_text("\n".join(lines(20)) + "\n")
    again = x700("bind", "import", str(file), "--json")
    assert parsed(again) == {"lines": 20, "bound": 20, "refused": 0, "errors": ""}
    assert len(rows(x700, "bind", "list", "--limit", "0")) == 20
    assert not Path(f"{file}.errors").exists()


def test_a_csv_file_is_exported_and_comes_back_as_the_same_bindings(x700: Command, bound: str, tmp_path: Path) -> None:
    file = tmp_path / "bindings.csv"
    assert x700("bind", "export", str(file), "--reveal").exit_code == 0
    (row,) = csv.DictReader(file.read_text().splitlines())
    assert (row["id"], row["a"], row["x"]) == (bound, f"+86{A}", X)
    assert file.stat().st_mode & 0o777 == 0o600
    x700("bind", "end", bound)
    result = x700("bind", "import", str(file))
    assert result.exit_code == 0, result.stderr
    assert len(rows(x700, "bind", "list")) == 2


def test_what_is_exported_to_a_screen_is_masked(x700: Command, bound: str) -> None:
    (line,) = x700("bind", "export", "--state", "live").stdout.splitlines()
    assert (json.loads(line)["id"], json.loads(line)["b"]) == (bound, "139****9000")
    assert x700("bind", "export", "--order", "none").stdout == ""


def test_standard_input_is_imported_and_its_faults_go_to_standard_error(x700: Command, block: None) -> None:
    result = x700("bind", "import", "-", "--json", stdin="\n".join([*lines(2), json.dumps(REQUEST | {"a": B})]))
    assert result.exit_code == Exit.REFUSED
    assert parsed(result) == {"lines": 3, "bound": 2, "refused": 1, "errors": ""}
    assert result.stderr == "line 3: b: the two parties are the same number (rule key)\n"


def test_a_file_with_a_wrong_header_is_refused_as_a_whole(x700: Command, block: None, tmp_path: Path) -> None:
    file = tmp_path / "bindings.csv"
    file.write_text("a,b,colour\n")
    result = x700("bind", "import", str(file))
    assert result.exit_code == Exit.REFUSED
    assert result.stderr == "refused: header: 'colour' is no field of a binding (rule form)\n"


def test_an_import_that_is_killed_between_two_batches_is_run_again_to_its_end(
    x700: Command, block: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "bindings.jsonl"
    file.write_text("".join(f"{line}\n" for line in lines(1200)))
    bind_many = Bindings.bind_many
    batches = 0

    async def mortal(*arguments: object, **options: object) -> object:
        nonlocal batches
        batches += 1
        if batches == 3:
            raise KeyboardInterrupt
        return await bind_many(*arguments, **options)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Bindings, "bind_many", mortal)
        x700("bind", "import", str(file))
    assert len(rows(x700, "bind", "list", "--limit", "0")) == 1000
    assert one(x700, "bind", "import", str(file)) == {"lines": 1200, "bound": 1200, "refused": 0, "errors": ""}
    assert len(rows(x700, "bind", "list", "--limit", "0")) == 1200


def test_a_group_is_listed_renamed_and_removed(x700: Command, group: str) -> None:
    (row,) = rows(x700, "group", "list", "--user", "shop-1")
    assert (row["id"], row["provider"]) == (group, "provider-1")
    assert one(x700, "group", "rename", group, "drivers")["name"] == "drivers"
    assert one(x700, "group", "show", group, "--reveal")["members"] == [f"+86{A}", f"+86{C}"]
    assert one(x700, "group", "remove", group) == {"id": group, "removed": True}
    assert rows(x700, "group", "list") == []
    result = x700("group", "show", group)
    assert (result.exit_code, result.stderr) == (Exit.FAILED, f"no group {group}\n")


def test_members_come_and_go_while_a_binding_lives(x700: Command, group: str) -> None:
    one(x700, *BIND, "--mode", "GXB", "--group", group)
    add = ("group", "member", "add", group)
    references = ("--real-name", "proof-2", "--consent", "consent-2")
    assert x700(*add, "13600136000").exit_code == Exit.REFUSED
    assert len(one(x700, *add, "13600136000", *references)["members"]) == 3  # type: ignore[arg-type]
    result = x700(*add, B, *references)
    assert result.exit_code == Exit.REFUSED
    assert B not in result.stderr
    assert x700("group", "member", "remove", group, A).exit_code == Exit.REFUSED
    left = one(x700, "group", "member", "remove", group, A, "--successor", C)
    assert left["members"] == ["137****7000", "136****6000"]
    (row,) = rows(x700, "bind", "list", "--group", group)
    assert row["a"] == "137****7000"
    assert x700("group", "remove", group).exit_code == Exit.REFUSED
