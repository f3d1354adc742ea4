"""Bindings found among many: right whatever is asked, by an index, and never long at a stretch."""

import itertools
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from routing.binding import Binding, BindingState, Mode
from routing.plan import Block, BlockState
from routing.store import binding_search, groups
from routing.store.binding_search import Wanted, search
from routing.store.database import Database
from routing.store.sqlite import Store
from tests.routing.samples import HOUR, NOW, PREFIX, A, request

CONDITIONS: dict[str, tuple[Any, Callable[[Binding], bool]]] = {
    "x": (f"{PREFIX}0005", lambda one: f"{PREFIX}0005" in (one.x, one.y)),
    "order_id": ("order-2", lambda one: one.order_id == "order-2"),
    "group": ("", lambda one: bool(one.group)),
    "business_user": ("shop", lambda one: one.business_user == "shop"),
    "provider": ("provider-2", lambda one: one.provider == "provider-2"),
    "state": (BindingState.ENDED, lambda one: one.ended_ms != 0),
}


@pytest.fixture
async def many(store: Store) -> list[Binding]:
    """Bindings of every kind, the newest first."""
    await store.registry.enrol("provider-2", "taxi", "delivery", now_ms=NOW, by="test")
    await store.blocks.add(Block("70012345679", "provider-2", "taxi", BlockState.ACTIVE), NOW, by="test")
    group = await store.groups.add("shop", "couriers", (A,), NOW, by="test")
    requests = []
    for number in range(60):
        one = request(
            x=f"{PREFIX}{number:04d}",
            order_id=f"order-{number % 3}",
            expires_ms=NOW + (HOUR if number % 4 else 5),
            starts_ms=NOW + 1 if number % 5 == 0 else 0,
        )
        if number % 6 == 0:
            one = replace(one, mode=Mode.GXB, group=group.id)
        elif number % 6 == 1:
            one = replace(one, mode=Mode.AXYB, x=f"{PREFIX}1{number:03d}", y=f"{PREFIX}0005")
            one = replace(one, b=f"139{number:08d}")
        elif number % 6 == 2:
            one = replace(one, x=f"70012345679{number:04d}", business_user="taxi")
        requests.append(one)
    answers = await store.bindings.bind_many(requests, NOW, by="test")
    bound = [answer for answer in answers if isinstance(answer, Binding)]
    assert len(bound) == 60
    for one in bound[::7]:
        await store.bindings.end(one.id, NOW, by="test")
    return list(await store.bindings.list(limit=100))


@pytest.mark.parametrize("rows_at_once", [1, 7, 5000])
async def test_any_mixture_of_conditions_finds_just_what_fits_in_pages(
    store: Store, many: list[Binding], monkeypatch: pytest.MonkeyPatch, rows_at_once: int
) -> None:
    monkeypatch.setattr(binding_search, "ROWS_AT_ONCE", rows_at_once)
    group = next(one.group for one in many if one.group)
    for names in itertools.chain.from_iterable(itertools.combinations(CONDITIONS, count) for count in range(7)):
        values = {name: group if name == "group" else CONDITIONS[name][0] for name in names}
        expected = [one.id for one in many if all(CONDITIONS[name][1](one) for name in names)]
        found: list[str] = []
        while page := await store.bindings.list(found[-1] if found else "", 7, now_ms=NOW, **values):
            found += [one.id for one in page]
        assert found == expected, names


@pytest.mark.parametrize("state", BindingState)
async def test_every_state_is_found(store: Store, many: list[Binding], state: BindingState) -> None:
    found = await store.bindings.list(state=state, now_ms=NOW + 5)
    assert found == tuple(one for one in many if one.state(NOW + 5) is state)


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (Wanted(order_id="o", provider="p", business_user="u"), "bindings_of_order"),
        (Wanted(party_group="g", provider="p", business_user="u"), "bindings_of_group"),
        (Wanted(business_user="u", provider="p"), "bindings_of_user"),
        (Wanted(provider="p"), "bindings_of_provider"),
        (Wanted(provider="p", state=BindingState.LIVE), "bindings_of_provider"),
        (Wanted(x=f"{PREFIX}0001", provider="p", order_id="o"), "bindings_of_number"),
        (Wanted(x=f"{PREFIX}0001", provider="p", order_id="o"), "bindings_of_alias"),
    ],
)
async def test_the_narrowest_condition_leads_by_its_index(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch, wanted: Wanted, index: str
) -> None:
    asked: list[tuple[str, Any]] = []
    rows = Database.rows

    async def watched(database: Database, sql: str, values: Any = ()) -> list[Any]:
        asked.append((sql, values))
        return await rows(database, sql, values)

    monkeypatch.setattr(Database, "rows", watched)
    await search(store.bindings._database, wanted, 2**63 - 1, 10)
    with closing(sqlite3.connect(path)) as connection:
        for sql, values in asked:
            steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
            assert any(f"INDEX {index} " in step for step in steps), steps
            assert not any(step.startswith("SCAN bindings") for step in steps)
    assert asked


def test_the_bindings_that_hold_a_groups_keys_are_found_past_all_dead_ones(store: Store, path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        steps = connection.execute(f"EXPLAIN QUERY PLAN SELECT id {groups._HELD}", ("g", NOW)).fetchall()
    assert [step[3] for step in steps] == [
        "SEARCH bindings USING INDEX bindings_held_by_group (party_group=? AND expires_ms>?)"
    ]
