"""The block list, caller ranges and credit files in the store, and the policy that the switch reads out of it."""

import json
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cdr.seal import Seal
from routing.blocklist import FOR_EVER_MS, Blocked, BlockEntry, BlockKind, BlockRequest
from routing.caps import Caps, CapSet
from routing.credit import CreditEntry, Source, Violation, china_day, day_start_ms
from routing.errors import BindingError, Conflict, NotFound, StoreError
from routing.policy import Policy, PolicySettings, Rule
from routing.registry import BusinessUser, Scenario
from routing.store.reader import Reader
from routing.store.sqlite import Store
from routing.terms import Direction
from routing.windows import parse_windows
from tests.routing.samples import HOUR, NOW, PREFIX, REQUEST, STRANGER, A, B, X

WHY = "complaints"
SETTINGS = PolicySettings()
DAY = china_day(NOW)


def order(kind: BlockKind = BlockKind.CALLER, value: str = A, **changes: Any) -> BlockRequest:
    return replace(BlockRequest(kind, value, WHY), **changes)


def policy_of(reader: Reader, now_ms: int = NOW) -> Policy:
    return reader.policy(SETTINGS, now_ms)


async def refused(error: type[BindingError], field: str, doing: Any) -> BindingError:
    with pytest.raises(error) as caught:
        await doing
    assert caught.value.field == field
    for number in (A, B, STRANGER):
        assert number[3:] not in str(caught.value)
    return caught.value


# entries


@pytest.mark.parametrize(
    ("kind", "given", "kept", "user"),
    [
        (BlockKind.CALLER, "138 0013 8000", A, ""),
        (BlockKind.CALLEE, "010-8765-4321", B, ""),
        (BlockKind.NUMBER, "86" + A[3:], A, ""),
        (BlockKind.X, f"+86{X}", X, "shop"),
        (BlockKind.BLOCK, PREFIX, PREFIX, "shop"),
        (BlockKind.BUSINESS_USER, " shop ", "shop", "shop"),
        (BlockKind.PROVIDER, "provider", "provider", ""),
        (BlockKind.BINDING, "no-such-binding", "no-such-binding", ""),
    ],
)
async def test_an_entry_says_what_it_blocks_why_by_whom_and_how_long(
    store: Store, kind: BlockKind, given: str, kept: str, user: str
) -> None:
    made = await store.blocklist.add(order(kind, given, expires_ms=NOW + HOUR, cut=True), NOW, by="key:1")
    assert made == Blocked(made.id, kind, kept, WHY, "key:1", True, user, NOW, NOW + HOUR)
    assert await store.blocklist.get(made.id) == made
    assert await store.blocklist.list(kind=kind, value=given) == (made,)
    (deed,) = await store.audit.list(kind="blocklist")
    assert (deed.by, deed.action, deed.id, deed.reason) == ("key:1", "block", str(made.id), WHY)
    assert A[3:] not in json.dumps(deed.detail)
    assert B[3:] not in json.dumps(deed.detail)


async def test_a_block_of_a_binding_goes_into_the_credit_file_of_its_business_user(store: Store) -> None:
    bound = await store.bindings.bind(REQUEST, NOW, by="test")
    made = await store.blocklist.add(order(BlockKind.BINDING, bound.id), NOW, by="cli:root")
    assert made.business_user == "shop"
    (entry,) = await store.credit.list("shop")
    assert (entry.violation, entry.source, entry.times, entry.day) == (Violation.BLOCKED, Source.BLOCK, 1, DAY)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (order(value="+14155550123"), "value"),
        (order(value=X), "value"),
        (order(BlockKind.X, A), "value"),
        (order(BlockKind.BLOCK, X), "value"),
        (order(BlockKind.PROVIDER, " "), "value"),
        (order(BlockKind.BINDING, "a\nb"), "value"),
        (order(reason=" "), "reason"),
        (order(reason="x" * 501), "reason"),
        (order(reason="a\x00b"), "reason"),
        (order(expires_ms=NOW), "expires_ms"),
        (order(business_user="x" * 129), "business_user"),
    ],
)
async def test_a_wrong_order_is_told_its_field_and_changes_nothing(
    store: Store, wrong: BlockRequest, field: str
) -> None:
    await refused(BindingError, field, store.blocklist.add(wrong, NOW, by="key:1"))
    assert await store.blocklist.list() == ()


async def test_the_same_is_blocked_once_at_a_time(store: Store) -> None:
    first = await store.blocklist.add(order(expires_ms=NOW + HOUR), NOW, by="key:1")
    error = await refused(Conflict, "value", store.blocklist.add(order(), NOW + HOUR - 1, by="key:1"))
    assert f"entry {first.id}" in error.message
    await store.blocklist.add(order(BlockKind.NUMBER), NOW, by="key:1")  # another kind
    again = await store.blocklist.add(order(), NOW + HOUR, by="key:1")
    assert again.id > first.id


async def test_an_entry_is_lifted_once_and_says_by_whom(store: Store) -> None:
    made = await store.blocklist.add(order(), NOW, by="key:1")
    lifted = await store.blocklist.lift(made.id, NOW + 5, by="key:2", reason="a mistake")
    assert lifted == replace(made, lifted_ms=NOW + 5, lifted_by="key:2", lifted_reason="a mistake")
    assert (made.live(NOW + 9), lifted.live(NOW + 9)) == (True, False)
    await refused(Conflict, "id", store.blocklist.lift(made.id, NOW + 6, by="key:2", reason="again"))
    await refused(NotFound, "id", store.blocklist.lift(99, NOW, by="key:2", reason="what"))
    await refused(BindingError, "reason", store.blocklist.lift(made.id, NOW, by="key:2", reason=""))
    expiring = await store.blocklist.add(order(expires_ms=NOW + 10), NOW + 7, by="key:1")
    error = await refused(Conflict, "id", store.blocklist.lift(expiring.id, NOW + 10, by="key:2", reason="late"))
    assert "expired" in error.message
    assert await store.blocklist.get(99) is None


async def test_lists_come_newest_first_in_pages_and_by_what_is_asked(store: Store) -> None:
    numbers = [A, B, STRANGER]
    made = [await store.blocklist.add(order(value=number), NOW, by="key:1") for number in numbers]
    shop = await store.blocklist.add(order(BlockKind.BUSINESS_USER, "shop", expires_ms=NOW + 1), NOW, by="key:1")
    assert await store.blocklist.list() == (shop, *reversed(made))
    assert await store.blocklist.list(limit=2) == (shop, made[2])
    assert await store.blocklist.list(str(made[2].id), 2) == (made[1], made[0])
    assert await store.blocklist.list(kind="business_user") == (shop,)
    assert await store.blocklist.list(live_at_ms=NOW + 1) == tuple(reversed(made))
    assert await store.blocklist.list(kind="callee", value=A) == ()
    await refused(BindingError, "kind", store.blocklist.list(kind="everybody"))
    await refused(BindingError, "value", store.blocklist.list(value=A))
    await refused(BindingError, "after", store.blocklist.list("x"))
    await refused(BindingError, "limit", store.blocklist.list(limit=0))


async def test_no_real_number_lies_in_the_file(store: Store, path: Path) -> None:
    await store.blocklist.add(order(), NOW, by="key:1")
    await store.blocklist.add(order(BlockKind.NUMBER, B, business_user="shop"), NOW, by="key:1")
    for file in path.parent.iterdir():
        data = file.read_bytes()
        for number in (A, B):
            assert number[1:].encode() not in data
            assert number[3:].encode() not in data


# caller ranges (R13)


async def test_a_range_is_set_changed_and_dropped(store: Store, reader: Reader) -> None:
    await store.blocklist.set_range("170", False, NOW, by="key:1", reason="virtual operators")
    await store.blocklist.set_range("1705", True, NOW, by="key:1", reason="ours")
    assert policy_of(reader).ranges == {"170": False, "1705": True}
    changed = await store.blocklist.set_range("170", True, NOW + 1, by="key:2", reason="over")
    assert (changed.allowed, changed.by, changed.created_ms) == (True, "key:2", NOW + 1)
    assert [each.prefix for each in await store.blocklist.ranges()] == ["170", "1705"]
    await store.blocklist.drop_range("1705", NOW, by="key:1", reason="over")
    assert policy_of(reader).ranges == {"170": True}
    assert [deed.action for deed in await store.audit.list(kind="caller_range")] == ["drop", "allow", "allow", "deny"]
    await refused(NotFound, "prefix", store.blocklist.drop_range("1705", NOW, by="key:1", reason="again"))
    await refused(BindingError, "reason", store.blocklist.set_range("138", True, NOW, by="key:1", reason=""))
    for wrong in ("", "8", "+86", "x", "138001380001"):
        await refused(BindingError, "prefix", store.blocklist.set_range(wrong, True, NOW, by="key:1", reason=WHY))


# what the switch reads


def blocked(policy: Policy) -> dict[str, dict[str | bytes, int]]:
    return {kind.value: dict(table) for kind, table in policy.blocked.items() if table}


async def test_the_switch_reads_what_is_live_with_hashes_in_the_place_of_numbers(
    store: Store, reader: Reader, seal: Seal
) -> None:
    await store.blocklist.add(order(expires_ms=NOW + HOUR), NOW, by="key:1")
    await store.blocklist.add(order(BlockKind.X, X), NOW, by="key:1")
    await store.blocklist.add(order(BlockKind.CALLEE, B, expires_ms=NOW + 1), NOW, by="key:1")
    gone = await store.blocklist.add(order(BlockKind.PROVIDER, "provider"), NOW, by="key:1")
    await store.blocklist.lift(gone.id, NOW, by="key:1", reason="over")
    policy = policy_of(reader, NOW + 1)
    assert blocked(policy) == {"caller": {seal.hash(A): NOW + HOUR}, "x": {X: FOR_EVER_MS}}
    assert policy.hash_of(A) == seal.hash(A)
    assert policy.active


async def test_each_later_reading_takes_what_has_changed_and_leaves_the_snapshot_before_alone(
    store: Store, reader: Reader, seal: Seal
) -> None:
    await store.blocklist.add(order(BlockKind.X, X), NOW, by="key:1")
    mine = await store.blocklist.add(order(), NOW, by="key:1")
    first = policy_of(reader)
    version = reader.changes()
    await store.blocklist.add(order(value=B), NOW, by="key:1")
    assert reader.changes() != version
    await store.blocklist.lift(mine.id, NOW, by="key:1", reason="over")
    second = policy_of(reader)
    assert blocked(first)["caller"] == {seal.hash(A): FOR_EVER_MS}
    assert blocked(second)["caller"] == {seal.hash(B): FOR_EVER_MS}
    assert second.blocked[BlockKind.X] is first.blocked[BlockKind.X]  # was not read again


async def test_entries_that_cut_are_fresh_once(store: Store, reader: Reader) -> None:
    await store.blocklist.add(order(BlockKind.X, X), NOW, by="key:1")
    assert policy_of(reader).fresh_cuts == ()
    await store.blocklist.add(order(BlockKind.PROVIDER, "provider", cut=True, expires_ms=NOW + 9), NOW, by="key:1")
    entry = BlockEntry(BlockKind.PROVIDER, "provider", NOW + 9, True)
    assert policy_of(reader).fresh_cuts == (entry,)
    assert policy_of(reader).fresh_cuts == ()
    assert policy_of(Reader(reader._path, store._database.seal)).fresh_cuts == (entry,)  # of a file just opened: all


async def test_what_has_expired_is_forgotten_within_the_hour(store: Store, reader: Reader) -> None:
    await store.blocklist.add(order(expires_ms=NOW + 1), NOW, by="key:1")
    assert blocked(policy_of(reader)) != {}
    assert blocked(policy_of(reader, NOW + HOUR)) == {}


async def test_an_entry_that_ends_leaves_one_that_a_clock_set_back_has_let_in(store: Store, reader: Reader) -> None:
    first = await store.blocklist.add(order(BlockKind.X, X, expires_ms=NOW + 10), NOW, by="key:1")
    await store.blocklist.add(order(BlockKind.X, X), NOW + 10, by="key:1")
    assert blocked(policy_of(reader)) == {"x": {X: FOR_EVER_MS}}
    await store.blocklist.lift(first.id, NOW + 5, by="key:1", reason="over")
    assert blocked(policy_of(reader)) == {"x": {X: FOR_EVER_MS}}


async def test_scenarios_and_business_users_that_restrict_something_become_rules(store: Store, reader: Reader) -> None:
    assert not policy_of(reader).active
    caps = CapSet(caller=Caps(per_hour=3))
    for scenario in (
        Scenario("shop", "plain"),
        Scenario("shop", "one-way", direction=Direction.A_TO_B),
        Scenario("shop", "by-day", windows=parse_windows(["08:00-20:00"])),
        Scenario("shop", "calls", messages=False),
        Scenario("shop", "asked", verify=True),
        Scenario("shop", "capped", caps=caps),
    ):
        await store.registry.add(scenario, NOW, by="test")
    policy = policy_of(reader)
    assert policy.rules == {
        ("shop", "one-way"): Rule(direction=Direction.A_TO_B),
        ("shop", "by-day"): Rule(windows=parse_windows(["08:00-20:00"])),
        ("shop", "calls"): Rule(messages=False),
        ("shop", "asked"): Rule(verify=True),
        ("shop", "capped"): Rule(caps=caps),
    }
    user = await store.registry.get(BusinessUser, "shop")
    assert isinstance(user, BusinessUser)
    await store.registry.change(replace(user, caps=Caps(per_day=7)), NOW, by="test")
    again = policy_of(reader)
    assert again.users == {"shop": Caps(per_day=7)}
    assert policy_of(reader).rules is again.rules


def test_a_row_that_no_writer_made_is_the_stores_fault(store: Store, path: Path, reader: Reader) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE business_users SET caps = '{\"per_week\": 1}', revision = revision + 1")
    with pytest.raises(StoreError, match="per_week"):
        policy_of(reader)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE business_users SET caps = '[]', revision = revision + 1")
    with pytest.raises(StoreError):
        policy_of(reader)


def test_no_store_no_policy(path: Path, seal: Seal) -> None:
    with pytest.raises(StoreError, match="does not exist"):
        policy_of(Reader(path, seal))


# credit files (R19)


async def test_what_people_note_stands_and_is_summed(store: Store) -> None:
    note = store.credit.note
    first = await note("shop", Violation.COMPLAINT, "called at night", NOW, by="key:1", times=3)
    await note("shop", Violation.MARKETING, "sold insurance", NOW, by="key:1", day="2026-11-20")
    await note("shop", Violation.COMPLAINT, "two were about another shop", NOW, by="key:2", times=-2)
    file = await store.credit.file("shop")
    assert file.totals == {"complaint": 1, "marketing": 1}
    assert [entry.times for entry in file.entries] == [-2, 1, 3]
    assert first == CreditEntry(
        first.number, "shop", DAY, Violation.COMPLAINT, 3, Source.MANUAL, "called at night", "key:1", NOW
    )
    assert (await store.credit.file("shop", until_day="2026-11-20")).totals == {"marketing": 1}
    assert (await store.credit.file("shop", since_day="2026-11-21")).totals == {"complaint": 1}
    assert len(await store.credit.list("shop", str(file.entries[0].number), 1)) == 1
    assert await store.credit.list("other") == ()
    assert await store.credit.list() == file.entries
    assert len(await store.credit.list("shop", since_day="2026-11-20", until_day="2026-11-20")) == 1
    assert len(await store.audit.list(kind="business_user", identifier="shop")) >= 3


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"why": ""}, "note"),
        ({"why": "x" * 601}, "note"),
        ({"why": "a\x07"}, "note"),
        ({"times": 0}, "times"),
        ({"times": 10**10}, "times"),
        ({"day": "22.11.2026"}, "day"),
        ({"day": "2026-02-29"}, "day"),
        ({"business_user": "nobody"}, "business_user"),
    ],
)
async def test_a_wrong_note_is_told_its_field(store: Store, change: dict[str, Any], field: str) -> None:
    values: dict[str, Any] = {"business_user": "shop", "violation": Violation.OTHER, "why": "so", "now_ms": NOW}
    await refused(BindingError, field, store.credit.note(**(values | change), by="key:1"))


async def test_lists_and_files_that_cannot_be_are_refused(store: Store) -> None:
    await refused(BindingError, "after", store.credit.list("shop", "x"))
    await refused(BindingError, "since_day", store.credit.list("shop", since_day="today"))
    await refused(NotFound, "business_user", store.credit.file("nobody"))
    await refused(BindingError, "limit", store.credit.list(limit=1001))


async def test_the_records_of_a_day_are_counted_in_once_and_when_it_is_over(store: Store) -> None:
    refusals = {
        ("shop", "caller_cap"): 5,
        ("shop", "binding_cap"): 2,
        ("shop", "caller_unbound"): 9,
        ("shop", "keyword"): 1,
        ("", "caller_blocked"): 4,
        ("other", "outside_hours"): 0,
    }
    end_ms = day_start_ms(DAY) + 24 * HOUR
    await refused(BindingError, "day", store.credit.settle(DAY, refusals, end_ms - 1, by="recorder"))
    assert not await store.credit.settled(DAY)
    entries = await store.credit.settle(DAY, refusals, end_ms, by="recorder")
    assert {(entry.business_user, entry.violation, entry.times) for entry in entries} == {
        ("shop", Violation.CAP, 7),
        ("shop", Violation.CONTENT, 1),
    }
    assert await store.credit.settled(DAY)
    assert await store.credit.settle(DAY, refusals, end_ms, by="recorder") == ()
    assert (await store.credit.file("shop")).totals == {"cap": 7, "content": 1}


@pytest.mark.parametrize("statement", ["UPDATE credit SET times = 0", "DELETE FROM credit"])
async def test_a_credit_file_is_never_rewritten(store: Store, path: Path, statement: str) -> None:
    await store.credit.note("shop", Violation.OTHER, "so", NOW, by="key:1")
    with sqlite3.connect(path) as connection, pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(statement)


@pytest.mark.parametrize(
    ("at_ms", "day"),
    [
        (0, "1970-01-01"),
        (16 * HOUR - 1, "1970-01-01"),
        (16 * HOUR, "1970-01-02"),
        (-9 * HOUR, "1969-12-31"),
        (day_start_ms("2028-02-29"), "2028-02-29"),
        (day_start_ms("2028-03-01") - 1, "2028-02-29"),
        (day_start_ms("2100-03-01") - 1, "2100-02-28"),
    ],
)
def test_days_are_those_of_china(at_ms: int, day: str) -> None:
    assert china_day(at_ms) == day
