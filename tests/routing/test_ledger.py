"""The ledger and the audit: what they tell, to whom, and that nobody changes what they hold (R5, R11)."""

import sqlite3
from collections.abc import Awaitable
from pathlib import Path

import pytest

from routing.errors import BindingError, StoreError
from routing.ledger import Entry, Event, holders
from routing.store import audit, ledger
from routing.store.sqlite import Store
from tests.routing.samples import HOUR, NOW, PREFIX, STRANGER, A, B, X, binding, request

BY = "key:1"


async def refused(work: Awaitable[object]) -> tuple[str, str]:
    with pytest.raises(BindingError) as caught:
        await work
    return caught.value.field, caught.value.rule


def on_disk(directory: Path) -> bytes:
    return b"".join(file.read_bytes() for file in directory.iterdir())


def entry(number: int, at_ms: int, event: Event, name: str, starts_ms: int, until_ms: int) -> Entry:
    return Entry(number, X, at_ms, BY, event, "", name, "p", "u", "s", "o", starts_ms, until_ms, "", b"")


# --- the question of an instant ---


def held(entries: list[Entry], at_ms: int) -> list[tuple[str, int, int, int]]:
    return [(found.binding, found.number, begun, until) for found, begun, until in holders(entries, at_ms)]


def test_a_number_is_held_from_the_start_until_the_end_written_last() -> None:
    story = [
        entry(1, 10, Event.BOUND, "one", 20, 100),
        entry(2, 50, Event.EXTENDED, "one", 20, 200),
        entry(3, 150, Event.ENDED, "one", 20, 150),
        entry(4, 160, Event.BOUND, "two", 0, 300),
    ]
    assert held(story, 19) == []
    assert held(story, 20) == held(story, 49) == [("one", 1, 20, 150)]
    assert held(story, 149) == [("one", 2, 20, 150)]
    assert held(story, 150) == held(story, 159) == []
    assert held(story, 160) == held(story, 299) == [("two", 4, 160, 300)]
    assert held(story, 300) == []


def test_the_parties_are_those_of_the_instant() -> None:
    story = [entry(1, 10, Event.BOUND, "one", 10, 100), entry(2, 50, Event.CHANGED, "one", 10, 100)]
    assert [found.number for at in (10, 49, 50, 99) for found, _, _ in holders(story, at)] == [1, 1, 2, 2]


def test_several_may_hold_a_number_at_once() -> None:
    story = [entry(1, 10, Event.BOUND, "one", 10, 100), entry(2, 20, Event.BOUND, "two", 20, 90)]
    assert [name for name, *_ in held(story, 30)] == ["one", "two"]
    assert [name for name, *_ in held(story, 95)] == ["one"]


# --- the ledger of a store ---


async def test_every_change_of_a_binding_is_in_the_ledger(store: Store) -> None:
    bound = await store.bindings.bind(request(), NOW, by="key:1")
    await store.bindings.extend(bound.id, NOW + 2 * HOUR, NOW + 1, by="key:2")
    await store.bindings.change_party(bound.id, NOW + 2, b=STRANGER, real_name="r", consent="c", by="key:3")
    await store.bindings.end(bound.id, NOW + 3, by="key:4", reason="order cancelled")
    entries = await store.ledger.list(f"+86{X}")
    assert [(one.event, one.by, one.at_ms - NOW, one.until_ms - NOW) for one in reversed(entries)] == [
        (Event.BOUND, "key:1", 0, HOUR),
        (Event.EXTENDED, "key:2", 1, 2 * HOUR),
        (Event.CHANGED, "key:3", 2, 2 * HOUR),
        (Event.ENDED, "key:4", 3, 3),
    ]
    assert entries[0].reason == "order cancelled"
    assert {(one.x, one.binding, one.order_id, one.business_user, one.scenario) for one in entries} == {
        (X, bound.id, "order-1", "shop", "delivery")
    }


async def test_who_held_a_number_is_told_for_a_purpose_and_that_is_noted(store: Store) -> None:
    first = await store.bindings.bind(request(), NOW, by=BY)
    await store.bindings.change_party(first.id, NOW + 10, b=STRANGER, real_name="r", consent="c", by=BY)
    await store.bindings.end(first.id, NOW + 20, by=BY)
    second = await store.bindings.bind(request(order_id="order-2", expires_ms=NOW + HOUR), NOW + 30, by=BY)

    async def at(instant: int) -> list[tuple[str, str, str, str]]:
        found = await store.ledger.holders(X, instant, NOW + HOUR, by="key:9", purpose="case 12")
        return [(one.binding, one.order_id, one.a, one.b) for one in found]

    assert await at(NOW - 1) == await at(NOW + 25) == await at(NOW + HOUR) == []
    assert await at(NOW + 9) == [(first.id, "order-1", A, B)]
    assert await at(NOW + 10) == [(first.id, "order-1", A, STRANGER)]
    assert await at(NOW + 30) == [(second.id, "order-2", A, B)]
    (deed,) = await store.audit.list(limit=1)
    assert (deed.by, deed.action, deed.kind, deed.id, deed.reason) == ("key:9", "trace", "number", X, "case 12")
    assert deed.detail == {"at_ms": NOW + 30, "bindings": [second.id]}


async def test_without_a_purpose_nobody_is_named(store: Store) -> None:
    before = await store.audit.list()
    for purpose, told in ((" ", ("purpose", "R11")), ("a\nb", ("reason", "form"))):
        assert await refused(store.ledger.holders(X, NOW, NOW, by=BY, purpose=purpose)) == told
    assert await refused(store.ledger.holders(X, NOW, NOW, by="", purpose="x")) == ("by", "R18")
    assert await refused(store.ledger.holders("138", NOW, NOW, by=BY, purpose="x")) == ("x", "R3")
    assert await store.audit.list() == before


async def test_a_provider_reads_of_its_own_bindings_only(store: Store) -> None:
    await store.bindings.bind(request(), NOW, by=BY)
    assert len(await store.ledger.list(X, provider="provider")) == 1
    assert await store.ledger.list(X, provider="other") == ()
    assert await store.ledger.holders(X, NOW, NOW, by=BY, purpose="x", provider="other") == ()


async def test_entries_come_in_pages_the_newest_first(store: Store) -> None:
    for number in range(3):
        bound = await store.bindings.bind(request(order_id=f"order-{number}"), NOW + number, by=BY)
        await store.bindings.end(bound.id, NOW + number, by=BY)
    everything = await store.ledger.list(X)
    assert [one.order_id for one in everything] == ["order-2"] * 2 + ["order-1"] * 2 + ["order-0"] * 2
    assert await store.ledger.list(X, limit=2) == everything[:2]
    assert await store.ledger.list(X, str(everything[1].number), 2) == everything[2:4]
    assert await store.ledger.list(X, "9" * 40) == everything
    assert await store.ledger.list(f"{PREFIX}0002") == ()
    for after in ("x", "-1", "٣"):
        assert await refused(store.ledger.list(X, after)) == ("after", "form")
    assert await refused(store.ledger.list(X, limit=0)) == ("limit", "form")


async def test_both_numbers_of_two_aliases_are_written_and_many_at_once(store: Store) -> None:
    y = f"{PREFIX}0002"
    many = [binding(id=f"b{number}", y=y if number % 2 else "") for number in range(401)]
    async with store._database.transaction():
        await ledger.note(store._database, NOW, BY, Event.BOUND, many)
    assert len(await store.ledger.list(X, limit=1000)) == 401
    assert [one.binding for one in await store.ledger.list(y, limit=2)] == ["b399", "b397"]


async def test_sealed_parties_are_taken_as_they_are(store: Store) -> None:
    blob = store._database.seal.seal(f"{A}|{STRANGER}")
    async with store._database.transaction():
        await ledger.note(store._database, NOW, BY, Event.BOUND, [binding()], parties=[blob])
    (found,) = await store.ledger.holders(X, NOW, NOW, by=BY, purpose="x")
    assert (found.a, found.b, found.from_ms, found.until_ms) == (A, STRANGER, NOW, NOW + HOUR)


async def test_no_real_number_is_in_the_open(store: Store, tmp_path: Path) -> None:
    bound = await store.bindings.bind(request(), NOW, by=BY)
    await store.bindings.change_party(bound.id, NOW + 2, b=STRANGER, real_name="r", consent="c", by=BY)
    await store.ledger.holders(X, NOW, NOW, by=BY, purpose="x")
    assert X.encode() in on_disk(tmp_path)
    for number in (A, B, STRANGER):
        assert number[3:].encode() not in on_disk(tmp_path)


# --- the audit ---


async def test_deeds_are_listed_the_newest_first_and_by_what_is_asked(store: Store) -> None:
    async with store._database.transaction():
        for number in range(4):
            by = f"key:{number % 2}"
            await audit.note(
                store._database, NOW, by, "test", "thing", f"t{number}", detail={"n": number}, provider="p"
            )
    everything = await store.audit.list()
    assert [deed.id for deed in everything[:4]] == ["t3", "t2", "t1", "t0"]
    assert everything[0].detail == {"n": 3}
    assert [deed.id for deed in await store.audit.list(by="key:1")] == ["t3", "t1"]
    assert [deed.id for deed in await store.audit.list(kind="thing", identifier="t2")] == ["t2"]
    assert [deed.id for deed in await store.audit.list(provider="p", limit=3)] == ["t3", "t2", "t1"]
    assert await store.audit.list(str(everything[2].number), 2) == everything[3:5]
    for after in ("x", "-1", "٣"):
        assert await refused(store.audit.list(after)) == ("after", "form")
    assert await refused(store.audit.list(limit=0)) == ("limit", "form")


async def test_what_is_done_to_things_elsewhere_is_noted_too(store: Store) -> None:
    await store.audit.note(NOW, BY, "hang up", "call", "c-1", "asked for", provider="p")
    (deed,) = await store.audit.list(limit=1)
    assert (deed.at_ms, deed.by, deed.action, deed.kind, deed.id) == (NOW, BY, "hang up", "call", "c-1")
    assert (deed.reason, deed.provider, deed.detail) == ("asked for", "p", {})


async def test_a_deed_that_is_undone_leaves_no_row(store: Store) -> None:
    async def undone() -> None:
        async with store._database.transaction():
            await audit.note(store._database, NOW, BY, "test", "thing", "t")
            raise RuntimeError

    before = await store.audit.list()
    with pytest.raises(RuntimeError):
        await undone()
    assert await store.audit.list() == before


# --- nobody changes them ---


@pytest.mark.parametrize("table", ["audit", "ledger"])
async def test_rows_are_added_and_never_changed_whoever_tries(store: Store, path: Path, table: str) -> None:
    await store.bindings.bind(request(), NOW, by=BY)
    connection = sqlite3.connect(path, isolation_level=None)
    before = connection.execute(f"SELECT * FROM {table}").fetchall()
    assert before
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    for statement in (
        f"UPDATE {table} SET who = 'nobody'",
        f"UPDATE OR REPLACE {table} SET number = number + 1",
        f"DELETE FROM {table}",
        f"REPLACE INTO {table} SELECT * FROM {table}",
        f"INSERT OR REPLACE INTO {table} ({', '.join(columns)}) SELECT {', '.join(columns)} FROM {table} LIMIT 1",
    ):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(statement)
    assert connection.execute(f"SELECT * FROM {table}").fetchall() == before
    connection.close()


async def test_the_store_itself_cannot_change_them_either(store: Store) -> None:
    with pytest.raises(StoreError, match="append-only"):
        async with store._database.transaction():
            await store._database.rows("DELETE FROM audit")
