"""`x700 provider`, `user`, `contract`, `scenario`, `block`, `ledger`, `audit` and `report` on a real store."""

import asyncio
import os
import pwd
import time
from pathlib import Path

import pytest

from b2bua.app import cli_common
from b2bua.app.cli_common import Exit, now_ms, who
from b2bua.app.cli_registry import cap_values
from b2bua.app.config import Settings
from b2bua.app.storage import binding_store
from routing.errors import BindingError
from routing.plan import Block, BlockState
from routing.registry import BusinessUser, Contract, Provider, Scenario
from tests.app.conftest import Command, parsed

A, B, X = "13800138000", "13900139000", "700123456780001"
PREFIX = "70012345678"
START = (
    ("provider", "add", "platform-1"),
    ("user", "add", "shop-1", "--provider", "platform-1", "--contract", "C-1"),
    ("scenario", "add", "shop-1", "delivery"),
    ("block", "add", PREFIX, "--user", "shop-1"),
)
BIND = (
    *("bind", "add", "--x", X, "--a", A, "--b", B, "--user", "shop-1", "--order", "order-1"),
    *("--scenario", "delivery", "--real-name", "verified-1", "--consent", "consent-1"),
)
ME = f"cli:{pwd.getpwuid(os.getuid()).pw_name}"


@pytest.fixture(autouse=True)
def me(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests, under the name of the account."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def begun(x700: Command, settings: Settings) -> Command:
    """A block of a registered user, as START makes it but without the time that commands take."""

    async def work() -> None:
        async with binding_store(settings) as store:
            for value in (
                Provider("platform-1", "platform-1"),
                BusinessUser("shop-1", "platform-1", "shop-1"),
                Contract("shop-1.1", "platform-1", "shop-1", "C-1"),
                Scenario("shop-1", "delivery"),
            ):
                await store.registry.add(value, now_ms(), by=ME)
            await store.blocks.add(Block(PREFIX, "", "shop-1", BlockState.ACTIVE), now_ms(), by=ME)

    asyncio.run(work())
    return x700


def one(x700: Command, *words: str) -> dict[str, object]:
    result = x700(*words, "--json")
    assert result.exit_code == 0, result.stderr
    answer = parsed(result)
    assert isinstance(answer, dict)
    return answer


def rows(x700: Command, *words: str) -> list[dict[str, object]]:
    result = x700(*words, "--json")
    assert result.exit_code == 0, result.stderr
    answer = parsed(result)
    assert isinstance(answer, list)
    return answer


# --- the first minutes ---


def test_four_commands_lead_to_a_binding(x700: Command) -> None:
    for words in (*START, BIND):
        result = x700(*words)
        assert result.exit_code == 0, result.stderr
    (contract,) = rows(x700, "contract", "list")
    assert (contract["id"], contract["reference"], contract["business_user"]) == ("shop-1.1", "C-1", "shop-1")
    (block,) = rows(x700, "block", "list")
    assert (block["provider"], block["business_user"], block["state"]) == ("platform-1", "shop-1", "active")


@pytest.mark.parametrize("missing", range(len(START)))
def test_without_any_of_them_it_is_refused_with_the_rule(x700: Command, missing: int) -> None:
    for number, words in enumerate(START):
        if number != missing:
            x700(*words)
    result = x700(*BIND)
    assert result.exit_code == Exit.REFUSED
    assert result.stderr.startswith("refused: ")


# --- each noun ---

PROVIDER = {"id": "platform-2", "name": "Two", "licence": "B2-2", "state": "active", "reason": "signed", "revision": 1}
USER = {
    "id": "taxi-1",
    "provider": "platform-1",
    "name": "Taxi",
    "credit_code": "91350100M000100Y43",
    "caps": {"per_minute": 60},
    "state": "active",
    "reason": "",
    "revision": 1,
}
CONTRACT = {
    "id": "c-2",
    "provider": "platform-1",
    "business_user": "shop-1",
    "reference": "C-2",
    "starts_ms": 1_767_225_600_000,
    "ends_ms": 1_798_761_600_000,
    "state": "active",
    "reason": "",
    "revision": 1,
}
SCENARIO = {
    "id": "shop-1/returns",
    "business_user": "shop-1",
    "name": "returns",
    "title": "Returned parcels",
    "longest_days": 7,
    "direction": "a_to_b",
    "windows": ["mon-fri 08:00-22:00", "sat 10:00-14:00"],
    "messages": False,
    "verify": True,
    "ring_seconds": 30,
    "longest_seconds": 600,
    "caps": {"caller": {"per_hour": 20, "distinct_x": 5}, "total": {"concurrent": 9}},
    "state": "active",
    "reason": "",
    "revision": 1,
}
NOUNS = [
    pytest.param(
        ("provider", "add", "platform-2", "--name", "Two", "--licence", "B2-2", "--reason", "signed"),
        PROVIDER,
        ("--name", "Deux", "--licence", ""),
        {"name": "Deux", "licence": ""},
        id="provider",
    ),
    pytest.param(
        (
            *("user", "add", "taxi-1", "--provider", "platform-1", "--name", "Taxi"),
            *("--credit-code", "91350100M000100Y43", "--cap", "per_minute=60"),
        ),
        USER,
        ("--name", "Cab", "--credit-code", "", "--cap", "per_minute=0", "--cap", "per_day=9"),
        {"name": "Cab", "credit_code": "", "caps": {"per_day": 9}},
        id="user",
    ),
    pytest.param(
        (
            *("contract", "add", "c-2", "--provider", "platform-1", "--user", "shop-1", "--reference", "C-2"),
            *("--starts", "2026-01-01", "--ends", "2027-01-01"),
        ),
        CONTRACT,
        ("--reference", "C-3", "--starts", "", "--ends", "2028-01-01"),
        {"reference": "C-3", "starts_ms": 0, "ends_ms": 1_830_297_600_000},
        id="contract",
    ),
    pytest.param(
        (
            *("scenario", "add", "shop-1", "returns", "--title", "Returned parcels", "--days", "7"),
            *("--direction", "a_to_b", "--window", "mon-fri 08:00-22:00", "--window", "sat 10:00-14:00"),
            *("--no-messages", "--verify", "--ring-seconds", "30", "--longest-seconds", "600"),
            *("--cap", "caller.per_hour=20", "--cap", "caller.distinct_x=5", "--cap", "total.concurrent=9"),
        ),
        SCENARIO,
        ("--window", "always", "--messages", "--cap", "caller.per_hour=0", "--cap", "number.per_day=3"),
        {
            "windows": [],
            "messages": True,
            "caps": {"caller": {"distinct_x": 5}, "number": {"per_day": 3}, "total": {"concurrent": 9}},
        },
        id="scenario",
    ),
]


@pytest.mark.parametrize(("add", "expected", "changes", "changed"), NOUNS)
def test_everything_is_added_shown_changed_and_moved_with_the_same_words(
    begun: Command,
    add: tuple[str, ...],
    expected: dict[str, object],
    changes: tuple[str, ...],
    changed: dict[str, object],
) -> None:
    noun, identifier = add[0], str(expected["id"])
    added = one(begun, *add)
    since = added.pop("since_ms")
    assert since == pytest.approx(time.time() * 1000, abs=60_000)
    assert added == expected
    assert one(begun, noun, "show", identifier) == expected | {"since_ms": since}
    assert identifier in [row["id"] for row in rows(begun, noun, "list", "--state", "active")]
    assert identifier in begun(noun, "list").stdout
    altered = expected | changed | {"since_ms": since, "revision": 2}
    assert one(begun, noun, "change", identifier, *changes) == altered
    assert one(begun, noun, "change", identifier) == altered
    for word, state, revision in (
        ("suspend", "suspended", 3),
        ("resume", "active", 4),
        ("terminate", "terminated", 5),
    ):
        moved = one(begun, noun, word, identifier, "--reason", f"to {word}")
        assert (moved["state"], moved["reason"], moved["revision"]) == (state, f"to {word}", revision)
    again = begun(noun, "resume", identifier, "--reason", "x")
    assert again.exit_code == Exit.REFUSED
    assert again.stderr.startswith("refused: state: ")
    assert [row["id"] for row in rows(begun, noun, "list", "--state", "terminated")] == [identifier]
    deeds = rows(begun, "audit", "list", "--id", identifier)
    assert [deed["action"] for deed in deeds] == ["terminate", "resume", "suspend", "change", "add"]
    assert {deed["by"] for deed in deeds} == {ME}


@pytest.mark.parametrize("noun", ["provider", "user", "contract", "scenario"])
def test_what_is_not_there_ends_with_1(x700: Command, noun: str) -> None:
    for word in ("show", "change"):
        result = x700(noun, word, "nobody")
        assert (result.exit_code, result.stderr) == (Exit.FAILED, "nobody is not registered\n")
    result = x700(noun, "suspend", "nobody", "--reason", "x")
    assert result.exit_code == Exit.FAILED
    assert result.stderr.startswith("no such ")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("provider", "add", "Platform"), "refused: id: must be 1 to 64 of a-z"),
        (("provider", "add", "platform-1"), "refused: id: this provider is already registered (rule R6)"),
        (("provider", "suspend", "platform-1"), "refused: reason: must be given"),
        (("user", "add", "u", "--provider", "p"), "refused: provider: no such provider is registered (rule R6)"),
        (("user", "add", "u" * 63, "--provider", "platform-1", "--contract", "C"), "refused: id: must be 1 to 64"),
        (("user", "add", "u", "--provider", "platform-1", "--cap", "often"), "refused: cap: 'often' is not a cap"),
        (("user", "add", "u", "--provider", "platform-1", "--cap", "x=1"), "refused: caps.x: there is no such cap"),
        (("scenario", "add", "shop-1", "s", "--cap", "per_day=1"), "refused: cap: 'per_day' does not say whose"),
        (("scenario", "add", "shop-1", "s", "--window", "noon"), "refused: windows[0]: "),
        (("scenario", "add", "shop-1", "s", "--days", "91"), "refused: longest_days: must be from 1 to 90 (rule R17)"),
        (("scenario", "add", "nobody", "s"), "refused: business_user: no such business user is registered"),
        (("contract", "add", "c", "--provider", "p", "--user", "shop-1"), "refused: provider: business user shop-1"),
        (("block", "add", "7001", "--user", "shop-1"), "refused: prefix: a block is 700 and 8 digits (rule R3)"),
        (("block", "add", PREFIX, "--user", "shop-1"), "refused: prefix: block 70012345678 is already registered"),
        (("block", "add", "70000000000", "--user", "nobody"), "refused: business_user: no such business user"),
        (("block", "freeze", PREFIX), "refused: reason: must be given"),
        (("block", "activate", PREFIX), "refused: state: block 70012345678 is active, not allocated (rule R18)"),
        (("block", "thaw", PREFIX), "refused: state: block 70012345678 is active, not frozen (rule R18)"),
        (("ledger", "show", "138"), "refused: x: a middle number is 700 and 12 digits (rule R3)"),
        (("ledger", "show", X, "--at", "2026-01-01"), "refused: purpose: must be given"),
        (("audit", "list", "--limit", "0"), "refused: limit: must be from 1 to 1000"),
    ],
)
def test_what_a_rule_forbids_ends_with_3(begun: Command, words: tuple[str, ...], complaint: str) -> None:
    result = begun(*words)
    assert result.exit_code == Exit.REFUSED
    assert result.stderr.startswith(complaint)
    assert result.stdout == ""


def test_a_user_and_its_contract_are_registered_both_or_none(begun: Command) -> None:
    assert begun("user", "add", "u-1", "--provider", "platform-1", "--contract", "\t").exit_code == Exit.REFUSED
    assert begun("user", "show", "u-1").exit_code == Exit.FAILED


def test_lists_can_be_of_one_provider_or_user(begun: Command) -> None:
    begun("provider", "add", "platform-2")
    begun("user", "add", "taxi-1", "--provider", "platform-2", "--contract", "C-2")
    begun("scenario", "add", "taxi-1", "ride")
    for noun, ids in (("user", ["taxi-1"]), ("contract", ["taxi-1.1"]), ("scenario", ["taxi-1/ride"])):
        assert [row["id"] for row in rows(begun, noun, "list", "--provider", "platform-2")] == ids
    for noun, ids in (("contract", ["taxi-1.1"]), ("scenario", ["taxi-1/ride"])):
        assert [row["id"] for row in rows(begun, noun, "list", "--user", "taxi-1")] == ids
    assert rows(begun, "block", "list", "--user", "taxi-1") == []
    assert rows(begun, "block", "list", "--provider", "platform-2", "--state", "active") == []
    assert begun("provider", "list", "--user", "shop-1").exit_code == Exit.USAGE


def test_a_table_shows_caps_as_they_are_written(begun: Command) -> None:
    begun("scenario", "change", "shop-1/delivery", "--cap", "caller.per_hour=20", "--cap", "total.concurrent=9")
    assert "caller.per_hour=20 total.concurrent=9" in begun("scenario", "show", "shop-1/delivery").stdout


# --- blocks ---


def test_a_block_lives_through_its_states(begun: Command) -> None:
    prefix = "70012345679"
    words = ("block", "add", prefix, "--user", "shop-1", "--provider", "platform-1", "--state", "allocated")
    added = one(begun, *words, "--allocated", "2026-11-02T10:00+08:00", "--reason", "notice 7")
    assert (added["state"], added["reason"], added["allocated_ms"]) == ("allocated", "notice 7", 1_793_584_800_000)
    assert added["due_ms"] == 1_794_240_000_000  # the end of Monday, 9 November, in China
    for word, state in (("activate", "active"), ("freeze", "frozen"), ("thaw", "active"), ("freeze", "frozen")):
        assert one(begun, "block", word, prefix, "--reason", "x")["state"] == state
    assert one(begun, "block", "return", prefix, "--reason", "given up")["state"] == "returned"
    shown = one(begun, "block", "show", prefix)
    assert (shown["state"], shown["revision"], shown["reason"]) == ("returned", 6, "given up")
    assert (shown["bound"], shown["quarantined"], shown["free"]) == (0, 0, 10_000)
    assert all(isinstance(shown[name], int) and shown[name] for name in ("activated_ms", "returned_ms"))
    assert [row["prefix"] for row in rows(begun, "block", "list", "--state", "returned")] == [prefix]
    assert prefix in begun("block", "list").stdout


def test_a_block_that_is_not_there_ends_with_1(x700: Command) -> None:
    for words in (("show",), ("freeze", "--reason", "x")):
        result = x700("block", words[0], "70099999999", *words[1:])
        assert (result.exit_code, result.stderr) == (Exit.FAILED, "no such block is registered\n")


def test_the_report_says_what_is_bound_and_which_block_is_late(begun: Command) -> None:
    begun(*BIND)
    late = ("block", "add", "70012345679", "--user", "shop-1", "--state", "allocated")
    begun(*late, "--allocated", "2026-01-05")
    report = rows(begun, "report", "numbers")
    assert [(row["prefix"], row["bound"], row["free"], row["overdue"]) for row in report] == [
        (PREFIX, 1, 9999, False),
        ("70012345679", 0, 10_000, True),
    ]
    assert [row["prefix"] for row in rows(begun, "report", "numbers", "--overdue")] == ["70012345679"]
    assert [row["prefix"] for row in rows(begun, "report", "numbers", "--state", "active")] == [PREFIX]
    assert rows(begun, "report", "numbers", "--user", "nobody", "--provider", "nobody") == []
    assert "9999" in begun("report", "numbers").stdout


# --- ledger and audit ---


def test_the_ledger_tells_what_happened_to_a_number(begun: Command) -> None:
    bound = one(begun, *BIND)
    begun("bind", "end", str(bound["id"]), "--reason", "cancelled")
    entries = rows(begun, "ledger", "show", X)
    assert [(entry["event"], entry["by"], entry["reason"]) for entry in entries] == [
        ("ended", ME, "cancelled"),
        ("bound", ME, ""),
    ]
    assert {(entry["binding"], entry["order_id"]) for entry in entries} == {(bound["id"], "order-1")}
    assert "parties" not in entries[0]
    assert "order-1" in begun("ledger", "show", X).stdout


def test_who_was_behind_a_number_is_shown_for_a_purpose_and_masked(begun: Command) -> None:
    begun(*BIND)
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 60))
    question = ("ledger", "show", X, "--at", now, "--purpose", "case 12")
    (found,) = rows(begun, *question)
    assert (found["order_id"], found["a"], found["b"]) == ("order-1", "138****8000", "139****9000")
    (found,) = rows(begun, *question, "--reveal")
    assert (found["a"], found["b"]) == (f"+86{A}", f"+86{B}")
    table = begun(*question).stdout
    assert "138****8000" in table
    assert A not in table
    assert rows(begun, "ledger", "show", X, "--at", "2026-01-01", "--purpose", "case 12") == []
    deeds = rows(begun, "audit", "list", "--kind", "number")
    assert [(deed["by"], deed["action"], deed["id"], deed["reason"]) for deed in deeds] == [
        (ME, "trace", X, "case 12")
    ] * 4


def test_the_audit_is_listed_in_pages(begun: Command) -> None:
    deeds = rows(begun, "audit", "list")
    assert [deed["kind"] for deed in deeds] == ["block", "scenario", "contract", "business_user", "provider"]
    assert rows(begun, "audit", "list", "--limit", "2") == deeds[:2]
    assert rows(begun, "audit", "list", "--after", str(deeds[1]["number"]), "--limit", "2") == deeds[2:4]
    assert rows(begun, "audit", "list", "--by", "nobody") == []
    assert rows(begun, "audit", "list", "--provider", "platform-1") == deeds
    assert "platform-1" in begun("audit", "list").stdout


def test_a_user_without_an_account_is_named_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    assert who() == ME

    def nobody() -> str:
        raise KeyError

    monkeypatch.setattr(cli_common.getpass, "getuser", nobody)
    assert who() == f"cli:{os.getuid()}"


@pytest.mark.parametrize("word", ["per_day", "per_day=", "per_day=x", "per_day=-1", "per_day=٣", "per_day=99999999999"])
def test_a_cap_is_a_name_and_a_number(word: str) -> None:
    with pytest.raises(BindingError, match="is not a cap such as"):
        cap_values([word])


def test_a_store_of_other_keys_is_told_plainly(begun: Command, config: Path) -> None:
    keyring = config.parent / "keyring"
    keyring.unlink()
    begun("keygen", str(keyring))
    result = begun("block", "list")
    assert result.exit_code == Exit.FAILED
    assert "was written with other keys" in result.stderr
    assert result.stderr.count("\n") == 1
