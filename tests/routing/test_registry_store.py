"""The registry in the store: what is registered, changed and moved, by whom, and who sees it."""

from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cdr.seal import Seal
from routing.caps import Caps, CapSet
from routing.errors import BindingError, Conflict, NotFound, StaleRevision
from routing.registry import BusinessUser, Contract, Provider, Resource, Scenario, State
from routing.store.database import Database, Value
from routing.store.reader import Reader
from routing.store.registry_rows import SHAPES
from routing.store.sqlite import Store
from routing.terms import Direction
from routing.windows import parse_windows

NOW = 1_800_000_000_000
BY = "key:operator"

PROVIDER = Provider("platform-1", "Platform One", "B2-20260001")
USER = BusinessUser("shop-1", "platform-1", "Shop One", "91350100M000100Y43", Caps(per_minute=600))
CONTRACT = Contract("c-1", "platform-1", "shop-1", "C-1", 5, NOW * 2)
SCENARIO = Scenario(
    "shop-1",
    "delivery",
    "Delivery",
    7,
    Direction.A_TO_B,
    parse_windows(["mon-fri 08:00-22:00", "22:00-06:00"]),
    False,
    True,
    60,
    600,
    CapSet(caller=Caps(per_hour=20, distinct_x=5), total=Caps(concurrent=9)),
)
ALL = (PROVIDER, USER, CONTRACT, SCENARIO)


@pytest.fixture
async def empty(path: Path, seal: Seal) -> AsyncIterator[Store]:
    async with await Store.open(path, seal) as opened:
        yield opened


@pytest.fixture
async def filled(empty: Store) -> Store:
    """One of each, and another provider with a user of its own."""
    for value in (*ALL, Provider("platform-2", "Two"), BusinessUser("taxi-1", "platform-2", "Taxi")):
        await empty.registry.add(value, NOW, by=BY)
    return empty


async def refused(work: Awaitable[object], error: type[BindingError] = BindingError) -> tuple[str, str]:
    with pytest.raises(BindingError) as caught:
        await work
    assert type(caught.value) is error
    assert caught.value.message
    return caught.value.field, caught.value.rule


# --- adding and reading ---


async def test_what_is_added_is_read_as_it_was_given(empty: Store) -> None:
    for value in ALL:
        added = await empty.registry.add(value, NOW, by=BY, reason="signed")
        assert added == replace(value, reason="signed", since_ms=NOW, revision=1)
        assert await empty.registry.get(type(value), value.id) == added
        assert await empty.registry.list(type(value)) == (added,)


async def test_a_state_cannot_be_brought_along(empty: Store) -> None:
    value = replace(PROVIDER, state=State.TERMINATED, reason="old", since_ms=3, revision=9)
    assert await empty.registry.add(value, NOW, by=BY) == replace(PROVIDER, since_ms=NOW, revision=1)


async def test_what_is_not_there_is_none(filled: Store) -> None:
    for kind in SHAPES:
        assert await filled.registry.get(kind, "nobody") is None
        assert await filled.registry.get(kind, "nobody/nothing") is None


@pytest.mark.parametrize("value", ALL)
async def test_an_id_is_taken_once(filled: Store, value: Resource) -> None:
    field = "name" if isinstance(value, Scenario) else "id"
    assert await refused(filled.registry.add(value, NOW, by=BY), Conflict) == (field, "R6")


@pytest.mark.parametrize(
    ("value", "field", "rule"),
    [
        (Provider("A", "x"), "id", "form"),
        (BusinessUser("shop-2", "nobody", "x"), "provider", "R6"),
        (Contract("c-2", "platform-1", "nobody", "x"), "business_user", "R6"),
        (Contract("c-2", "platform-2", "shop-1", "x"), "provider", "R6"),
        (Scenario("nobody", "delivery"), "business_user", "R6"),
    ],
)
async def test_what_belongs_to_nobody_registered_is_refused(
    filled: Store, value: Resource, field: str, rule: str
) -> None:
    assert await refused(filled.registry.add(value, NOW, by=BY)) == (field, rule)
    assert await filled.registry.get(type(value), value.id) is None


async def test_nothing_is_added_under_who_is_terminated(filled: Store) -> None:
    registry = filled.registry
    await registry.terminate(BusinessUser, "taxi-1", NOW, by=BY, reason="closed")
    assert await refused(registry.add(Scenario("taxi-1", "ride"), NOW, by=BY)) == ("business_user", "R7")
    assert await refused(registry.add(Contract("c-2", "platform-2", "taxi-1", "C"), NOW, by=BY)) == (
        "business_user",
        "R7",
    )
    await registry.terminate(Provider, "platform-2", NOW, by=BY, reason="closed")
    assert await refused(registry.add(BusinessUser("taxi-2", "platform-2", "x"), NOW, by=BY)) == ("provider", "R7")


async def test_lists_come_in_pages_by_id(filled: Store) -> None:
    names = ("a", "b", "c")
    for name in names:
        await filled.registry.add(Scenario("taxi-1", name), NOW, by=BY)
    ids = ["shop-1/delivery", *(f"taxi-1/{name}" for name in names)]
    assert [value.id for value in await filled.registry.list(Scenario)] == ids
    assert [value.id for value in await filled.registry.list(Scenario, limit=2)] == ids[:2]
    assert [value.id for value in await filled.registry.list(Scenario, ids[1], 2)] == ids[2:]
    assert [value.id for value in await filled.registry.list(Provider, "platform-1")] == ["platform-2"]
    assert await refused(filled.registry.list(Provider, limit=0)) == ("limit", "form")


async def test_lists_are_of_a_user_or_a_state(filled: Store) -> None:
    await filled.registry.suspend(BusinessUser, "taxi-1", NOW, by=BY, reason="unpaid")
    assert [value.id for value in await filled.registry.list(BusinessUser, state=State.SUSPENDED)] == ["taxi-1"]
    assert [value.id for value in await filled.registry.list(Contract, business_user="shop-1")] == ["c-1"]
    assert await filled.registry.list(Scenario, business_user="taxi-1") == ()
    assert await refused(filled.registry.list(Provider, business_user="shop-1")) == ("business_user", "form")


# --- whose it is ---


async def test_a_provider_sees_its_own_and_nothing_else(filled: Store) -> None:
    registry = filled.registry
    for value in ALL:
        kind = type(value)
        assert await registry.get(kind, value.id, provider="platform-1") is not None
        assert await registry.get(kind, value.id, provider="platform-2") is None
        assert [found.id for found in await registry.list(kind, provider="platform-1")] == [value.id]
        assert value.id not in [found.id for found in await registry.list(kind, provider="platform-2")]


async def test_another_providers_things_look_as_if_they_were_not_there(filled: Store) -> None:
    for value in ALL:
        changed = replace(value, revision=1)
        for work in (
            filled.registry.change(changed, NOW, by=BY, provider="platform-2"),
            filled.registry.suspend(type(value), value.id, NOW, by=BY, reason="x", provider="platform-2"),
        ):
            assert await refused(work, NotFound) == ("id", "R6")
        work = filled.registry.suspend(type(value), "nobody/nobody", NOW, by=BY, reason="x")
        assert await refused(work, NotFound) == ("id", "R6")


@pytest.mark.parametrize(
    "value",
    [
        Provider("platform-3", "x"),
        BusinessUser("shop-2", "platform-1", "x"),
        Contract("c-2", "platform-1", "shop-1", "x"),
        Scenario("shop-1", "returns"),
    ],
)
async def test_a_provider_registers_nothing_for_another(filled: Store, value: Resource) -> None:
    field = "business_user" if isinstance(value, Scenario) else "provider"
    assert await refused(filled.registry.add(value, NOW, by=BY, provider="platform-2")) == (field, "R6")
    await filled.registry.add(value, NOW, by=BY, provider="platform-3" if value.id == "platform-3" else "platform-1")


# --- changing ---


async def test_a_change_is_stored_and_counted(filled: Store) -> None:
    for value, changes in (
        (PROVIDER, {"name": "Other", "licence": ""}),
        (USER, {"name": "Other", "credit_code": "", "caps": Caps(per_day=3)}),
        (CONTRACT, {"reference": "C-2", "starts_ms": 1, "ends_ms": 0}),
        (
            SCENARIO,
            {
                "title": "Other",
                "longest_days": 8,
                "direction": Direction.BOTH,
                "windows": (),
                "messages": True,
                "verify": False,
                "ring_seconds": 0,
                "longest_seconds": 0,
                "caps": CapSet(),
            },
        ),
    ):
        wanted = replace(value, revision=1, **changes)  # type: ignore[arg-type]
        changed = await filled.registry.change(wanted, NOW + 1, by=BY, reason="asked for")
        assert changed == replace(wanted, since_ms=NOW, revision=2)
        assert await filled.registry.get(type(value), value.id) == changed
        (deed,) = await filled.audit.list(limit=1)
        assert (deed.action, deed.id, deed.by, deed.reason, deed.at_ms) == (
            "change",
            value.id,
            BY,
            "asked for",
            NOW + 1,
        )
        assert set(deed.detail) == set(changes)
        assert deed.provider == "platform-1"


@pytest.mark.parametrize("state", [State.SUSPENDED, State.TERMINATED])
async def test_a_provider_does_not_undo_by_a_contract_of_its_own_what_the_operator_did(
    filled: Store, state: State
) -> None:
    registry, another = filled.registry, replace(CONTRACT, id="c-2", starts_ms=0, ends_ms=NOW - 1)
    spare = await registry.add(another, NOW, by=BY, provider="platform-1")
    await registry.move(Contract, "c-1", state, NOW, by=BY, reason="misuse")
    fresh = replace(CONTRACT, id="c-3")
    added = registry.add(fresh, NOW, by=BY, provider="platform-1")
    assert await refused(added, Conflict) == ("business_user", "R7")
    longer = registry.change(replace(spare, ends_ms=0), NOW, by=BY, provider="platform-1")
    assert await refused(longer, Conflict) == ("business_user", "R7")
    await registry.change(replace(spare, reference="C-2b"), NOW, by=BY, provider="platform-1")
    await registry.add(fresh, NOW, by=BY)


async def test_a_provider_does_not_find_out_whose_a_business_user_is(filled: Store) -> None:
    said = set()
    for user in ("taxi-1", "nobody"):
        for value in (
            Contract("c-9", "platform-1", user, "C-9"),
            Contract("c-9", "platform-2", user, "C-9"),
            Scenario(user, "delivery"),
        ):
            with pytest.raises(BindingError) as caught:
                await filled.registry.add(value, NOW, by=BY, provider="platform-1")
            said.add((type(value), getattr(value, "provider", ""), str(caught.value)))
    assert len(said) == 3


@pytest.mark.parametrize("provider", ["", "platform-1"])
@pytest.mark.parametrize("kind", ["", "contract"])
@pytest.mark.parametrize("identifier", ["", "c-1"])
@pytest.mark.parametrize("by", ["", BY])
async def test_the_audit_is_searched_and_never_scanned_nor_sorted(
    filled: Store, monkeypatch: pytest.MonkeyPatch, provider: str, kind: str, identifier: str, by: str
) -> None:
    asked: list[tuple[str, Sequence[Value]]] = []
    real = Database.rows

    async def rows(database: Database, sql: str, values: Sequence[Value] = ()) -> list[Any]:
        asked.append((sql, values))
        return await real(database, sql, values)

    monkeypatch.setattr(Database, "rows", rows)
    assert await filled.audit.list("99", 5, provider=provider, kind=kind, identifier=identifier, by=by)
    ((sql, values),) = asked
    async with filled._database.reading():
        (step,) = await real(filled._database, f"EXPLAIN QUERY PLAN {sql}", values)
    index = next((name for name, value in (("of", identifier), ("of_provider", provider), ("by", by)) if value), "")
    assert step[3].startswith("SEARCH audit USING")
    assert f"audit_{index or 'of_kind'} (" in step[3] or not (index or kind)


async def test_a_change_of_nothing_is_none(filled: Store) -> None:
    before = await filled.registry.get(Provider, "platform-1")
    assert before is not None
    assert await filled.registry.change(before, NOW + 1, by=BY) == before
    assert (await filled.audit.list(limit=1))[0].action == "add"


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (replace(USER, provider="platform-2"), "provider"),
        (replace(CONTRACT, provider="platform-2"), "provider"),
        (replace(CONTRACT, business_user="taxi-1"), "business_user"),
    ],
)
async def test_whose_it_is_never_changes(filled: Store, value: Resource, field: str) -> None:
    assert await refused(filled.registry.change(replace(value, revision=1), NOW, by=BY)) == (field, "R5")


async def test_a_change_from_an_old_reading_is_refused(filled: Store) -> None:
    for value in ALL:
        await filled.registry.suspend(type(value), value.id, NOW, by=BY, reason="x", revision=1)
        stale = filled.registry.change(replace(value, revision=1), NOW, by=BY)
        assert await refused(stale, StaleRevision) == ("revision", "form")
        moved = filled.registry.resume(type(value), value.id, NOW, by=BY, reason="x", revision=1)
        assert await refused(moved, StaleRevision) == ("revision", "form")
        await filled.registry.resume(type(value), value.id, NOW, by=BY, reason="x", revision=2)


async def test_what_is_wrong_is_not_stored(filled: Store) -> None:
    assert await refused(filled.registry.change(replace(PROVIDER, name="", revision=1), NOW, by=BY)) == ("name", "R6")
    assert await filled.registry.get(Provider, "platform-1") == replace(PROVIDER, since_ms=NOW, revision=1)


# --- states ---


@pytest.mark.parametrize("value", ALL)
async def test_states_are_moved_through_with_their_reasons(filled: Store, value: Resource) -> None:
    registry, kind = filled.registry, type(value)
    suspended = await registry.suspend(kind, value.id, NOW + 1, by=BY, reason="unpaid")
    assert suspended == replace(value, state=State.SUSPENDED, reason="unpaid", since_ms=NOW + 1, revision=2)
    again = registry.suspend(kind, value.id, NOW + 2, by=BY, reason="unpaid")
    assert await refused(again, Conflict) == ("state", "R7")
    resumed = await registry.resume(kind, value.id, NOW + 2, by=BY, reason="paid")
    assert resumed == replace(value, reason="paid", since_ms=NOW + 2, revision=3)
    ended = await registry.terminate(kind, value.id, NOW + 3, by=BY, reason="closed")
    assert ended == replace(value, state=State.TERMINATED, reason="closed", since_ms=NOW + 3, revision=4)
    for work in (
        registry.resume(kind, value.id, NOW + 4, by=BY, reason="x"),
        registry.change(replace(ended), NOW + 4, by=BY),
    ):
        assert await refused(work, Conflict) == ("state", "R7")
    deeds = await filled.audit.list(identifier=value.id, kind=SHAPES[kind].kind)
    assert [deed.action for deed in deeds] == ["terminate", "resume", "suspend", "add"]
    assert deeds[0].detail == {"state": ["active", "terminated"]}
    assert {deed.provider for deed in deeds} == {"platform-1"}


async def test_a_move_needs_a_reason_and_somebody_who_does_it(filled: Store) -> None:
    registry = filled.registry
    for reason, rule in ((" ", "R18"), ("a\nb", "form")):
        work = registry.suspend(Provider, "platform-1", NOW, by=BY, reason=reason)
        assert await refused(work) == ("reason", rule)
    for by, rule in (("", "R18"), ("a\nb", "form")):
        work = registry.suspend(Provider, "platform-1", NOW, by=by, reason="x")
        assert await refused(work) == ("by", rule)
    assert await registry.get(Provider, "platform-1") == replace(PROVIDER, since_ms=NOW, revision=1)


# --- the switch ---


async def test_the_switch_notices_changes_of_users_and_scenarios(filled: Store, reader: Reader) -> None:
    seen = reader.changes()
    for kind, identifier in ((BusinessUser, "shop-1"), (Scenario, "shop-1/delivery")):
        await filled.registry.suspend(kind, identifier, NOW, by=BY, reason="x")  # type: ignore[type-var]
        assert reader.changes() != seen
        seen = reader.changes()
    await filled.registry.add(Scenario("shop-1", "returns"), NOW, by=BY)
    assert reader.changes() != seen


# --- enrolment ---


async def test_enrolment_registers_what_is_missing_and_leaves_the_rest(filled: Store) -> None:
    for _ in range(2):
        await filled.registry.enrol("platform-1", "shop-1", "returns", now_ms=NOW, by=BY)
        await filled.registry.enrol("platform-3", "bank-1", "calls", now_ms=NOW, by=BY)
    assert await filled.registry.get(Provider, "platform-1") == replace(PROVIDER, since_ms=NOW, revision=1)
    assert [value.id for value in await filled.registry.list(Scenario)] == [
        "bank-1/calls",
        "shop-1/delivery",
        "shop-1/returns",
    ]
    assert [value.business_user for value in await filled.registry.list(Contract)] == ["bank-1", "shop-1", "shop-1"]
