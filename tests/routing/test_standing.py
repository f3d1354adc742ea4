"""Who may make and extend bindings now, and that those who no longer may keep the ones they have (R6, R7, R17)."""

from collections.abc import Awaitable
from dataclasses import replace

import pytest

from routing.errors import BindingError
from routing.plan import BlockState
from routing.registry import BusinessUser, Contract, Provider, Scenario, State
from routing.store.reader import Reader
from routing.store.sqlite import Store
from routing.store.standing import check_holder, standing
from routing.terms import Direction
from tests.routing.samples import BLOCK, HOUR, NOW, A, B, X, request

BY = "test"
CONTRACT = "shop.enrolled"


async def refused(work: Awaitable[object]) -> tuple[str, str]:
    with pytest.raises(BindingError) as caught:
        await work
    return caught.value.field, caught.value.rule


async def ask(
    store: Store, provider: str = "", user: str = "shop", scenario: str = "delivery", now: int = NOW
) -> Scenario:
    async with store._database.reading():
        return await standing(store._database, provider, user, scenario, now)


async def test_whoever_is_registered_and_active_may_bind(store: Store) -> None:
    scenario = await store.registry.get(Scenario, "shop/delivery")
    assert await ask(store) == await ask(store, "provider") == scenario
    async with store._database.reading():
        assert await check_holder(store._database, "", "shop", NOW) == "provider"


@pytest.mark.parametrize(
    ("provider", "user", "scenario", "field", "rule"),
    [
        ("", "nobody", "delivery", "business_user", "R6"),
        ("other", "shop", "delivery", "provider", "R6"),
        ("", "shop", "returns", "scenario", "R17"),
        ("", "shop", "", "scenario", "R17"),
    ],
)
async def test_who_is_not_registered_may_not(
    store: Store, provider: str, user: str, scenario: str, field: str, rule: str
) -> None:
    assert await refused(ask(store, provider, user, scenario)) == (field, rule)
    asked = request(provider=provider, business_user=user, scenario=scenario)
    assert await refused(store.bindings.bind(asked, NOW, by=BY)) == (field, rule)


async def test_a_scenario_is_its_users_own(store: Store) -> None:
    await store.registry.enrol("provider", "taxi", "ride", now_ms=NOW, by=BY)
    assert (await ask(store, user="taxi", scenario="ride")).id == "taxi/ride"
    assert await refused(ask(store, scenario="ride")) == ("scenario", "R17")


@pytest.mark.parametrize("state", [State.SUSPENDED, State.TERMINATED])
@pytest.mark.parametrize(
    ("kind", "identifier", "field", "rule"),
    [
        (Provider, "provider", "provider", "R7"),
        (BusinessUser, "shop", "business_user", "R7"),
        (Contract, CONTRACT, "business_user", "R6"),
        (Scenario, "shop/delivery", "scenario", "R17"),
    ],
)
async def test_who_is_suspended_or_terminated_binds_and_extends_nothing_and_keeps_what_lives(
    store: Store,
    reader: Reader,
    kind: type[Provider],
    identifier: str,
    field: str,
    rule: str,
    state: State,
) -> None:
    bound = await store.bindings.bind(request(), NOW, by=BY)
    await store.registry.move(kind, identifier, state, NOW, by=BY, reason="misuse")
    another = request(x=f"{BLOCK.prefix}0002")
    assert await refused(store.bindings.bind(another, NOW + 1, by=BY)) == (field, rule)
    assert await refused(store.bindings.extend(bound.id, NOW + 2 * HOUR, NOW + 1, by=BY)) == (field, rule)
    assert reader.find(X, A) == reader.find(X, B) == bound
    assert bound.live(NOW + HOUR - 1)
    block = reader.plan().block_of(X)
    assert block is not None
    assert block.state is BlockState.ACTIVE
    ended = await store.bindings.end(bound.id, NOW + 2, by=BY)
    assert not ended.live(NOW + 2)
    if state is State.SUSPENDED:
        await store.registry.resume(kind, identifier, NOW, by=BY, reason="settled")
        await store.bindings.bind(another, NOW + 3, by=BY)


async def test_bindings_are_made_while_a_contract_is_in_force(store: Store) -> None:
    contract = await store.registry.get(Contract, CONTRACT)
    assert contract is not None
    await store.registry.change(replace(contract, starts_ms=NOW, ends_ms=NOW + HOUR), NOW, by=BY)
    for now, covered in ((NOW - 1, False), (NOW, True), (NOW + HOUR - 1, True), (NOW + HOUR, False)):
        if covered:
            await ask(store, now=now)
        else:
            assert await refused(ask(store, now=now)) == ("business_user", "R6")
    await store.registry.add(Contract("later", "provider", "shop", "C-2", NOW + HOUR), NOW, by=BY)
    await ask(store, now=NOW + HOUR)


async def test_a_binding_keeps_to_the_limits_of_its_scenario(store: Store) -> None:
    strict = Scenario("shop", "strict", "", 1, Direction.A_TO_B, ring_seconds=30, longest_seconds=60)
    await store.registry.add(strict, NOW, by=BY)
    fine = request(scenario="strict", direction=Direction.A_TO_B, ring_seconds=30, longest_seconds=60)
    for field, asked in (
        ("direction", replace(fine, direction=Direction.BOTH)),
        ("ring_seconds", replace(fine, ring_seconds=31)),
        ("longest_seconds", replace(fine, longest_seconds=61)),
        ("expires_ms", replace(fine, expires_ms=NOW + 24 * HOUR + 1)),
    ):
        assert await refused(store.bindings.bind(asked, NOW, by=BY)) == (field, "R17")
    bound = await store.bindings.bind(fine, NOW, by=BY)
    assert await refused(store.bindings.extend(bound.id, NOW + 25 * HOUR, NOW, by=BY)) == ("expires_ms", "R17")
    await store.bindings.extend(bound.id, NOW + 24 * HOUR, NOW, by=BY)
