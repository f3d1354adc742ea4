"""Who may make and extend bindings now, and that those who no longer may keep the ones they have (R6, R7, R17)."""

from collections.abc import Awaitable
from dataclasses import replace

import pytest

from routing.binding import Mode
from routing.errors import BindingError
from routing.plan import BlockState
from routing.registry import BusinessUser, Contract, Provider, Scenario, State
from routing.store.reader import Reader
from routing.store.sqlite import Store
from routing.store.standing import check_holder, standing
from routing.terms import Direction
from tests.routing.samples import BLOCK, HOUR, NOW, STRANGER, A, B, X, request

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
        ("other", "shop", "delivery", "business_user", "R6"),
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


async def test_whether_another_provider_has_a_business_user_is_not_to_be_found_out(store: Store) -> None:
    messages = set()
    for user in ("shop", "nobody"):
        works = (ask(store, "other", user), store.groups.add(user, "g", (), NOW, by=BY, provider="other"))
        for place, work in enumerate(works):
            with pytest.raises(BindingError) as caught:
                await work
            messages.add((place, str(caught.value)))
    assert len(messages) == 2


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


@pytest.mark.parametrize(
    ("kind", "identifier", "field", "rule"),
    [
        (Provider, "provider", "provider", "R7"),
        (BusinessUser, "shop", "business_user", "R7"),
        (Contract, CONTRACT, "business_user", "R6"),
        (Scenario, "shop/delivery", "scenario", "R17"),
    ],
)
async def test_who_is_suspended_may_narrow_a_binding_and_not_widen_it(
    store: Store, kind: type[Provider], identifier: str, field: str, rule: str
) -> None:
    asked = request(direction=Direction.A_TO_B, ring_seconds=30, longest_seconds=60, most_calls=5)
    bound = await store.bindings.bind(asked, NOW, by=BY)
    await store.registry.move(kind, identifier, State.SUSPENDED, NOW, by=BY, reason="misuse")
    change = store.bindings.change
    for wider in (
        change(bound.id, NOW + 1, direction=Direction.BOTH, by=BY),
        change(bound.id, NOW + 1, direction=Direction.B_TO_A, by=BY),
        change(bound.id, NOW + 1, most_calls=6, by=BY),
        change(bound.id, NOW + 1, most_calls=0, by=BY),
        change(bound.id, NOW + 1, most_calls=4, ring_seconds=31, by=BY),
        change(bound.id, NOW + 1, ring_seconds=0, by=BY),
        change(bound.id, NOW + 1, longest_seconds=61, by=BY),
        change(bound.id, NOW + 1, longest_seconds=0, by=BY),
    ):
        assert await refused(wider) == (field, rule)
    assert await store.bindings.get(bound.id) == bound
    narrower = await change(bound.id, NOW + 1, ring_seconds=29, longest_seconds=59, most_calls=4, by=BY)
    assert (narrower.ring_seconds, narrower.longest_seconds, narrower.most_calls) == (29, 59, 4)


async def test_a_suspended_user_narrows_an_unlimited_binding(store: Store) -> None:
    bound = await store.bindings.bind(request(), NOW, by=BY)
    await store.registry.move(BusinessUser, "shop", State.SUSPENDED, NOW, by=BY, reason="misuse")
    # 0 is as the switch is set, and that may be less
    change = store.bindings.change
    assert await refused(change(bound.id, NOW + 1, longest_seconds=60, by=BY)) == ("business_user", "R7")
    narrower = await change(bound.id, NOW + 1, direction=Direction.A_TO_B, most_calls=1, by=BY)
    assert (narrower.direction, narrower.most_calls) == (Direction.A_TO_B, 1)


async def test_the_terms_of_a_suspended_scenario_hold(store: Store) -> None:
    await store.registry.add(Scenario("shop", "strict", direction=Direction.A_TO_B), NOW, by=BY)
    asked = request(scenario="strict", direction=Direction.A_TO_B, most_calls=2)
    bound = await store.bindings.bind(asked, NOW, by=BY)
    strict = await store.registry.get(Scenario, "shop/strict")
    assert strict is not None
    await store.registry.change(replace(strict, direction=Direction.B_TO_A), NOW, by=BY)
    await store.registry.move(Scenario, "shop/strict", State.SUSPENDED, NOW, by=BY, reason="misuse")
    assert await refused(store.bindings.change(bound.id, NOW, most_calls=1, by=BY)) == ("direction", "R17")


@pytest.mark.parametrize(
    ("kind", "identifier", "field", "rule"),
    [
        (Provider, "provider", "provider", "R7"),
        (BusinessUser, "shop", "business_user", "R7"),
        (Contract, CONTRACT, "business_user", "R6"),
    ],
)
async def test_who_is_suspended_gives_no_new_member_a_right(
    store: Store, reader: Reader, kind: type[Provider], identifier: str, field: str, rule: str
) -> None:
    group = await store.groups.add("shop", "couriers", (A,), NOW, by=BY)
    bound = await store.bindings.bind(request(mode=Mode.GXB, group=group.id), NOW, by=BY)
    await store.registry.move(kind, identifier, State.SUSPENDED, NOW, by=BY, reason="misuse")
    assert await refused(store.groups.add_members(group.id, (STRANGER,), NOW + 1, by=BY)) == (field, rule)
    assert await store.groups.get(group.id) == group
    assert reader.find(X, STRANGER) is None
    assert reader.find(X, A) is not None
    # where it gives no right yet, a group may still be put in order
    await store.bindings.end(bound.id, NOW + 2, by=BY)
    grown = await store.groups.add_members(group.id, (STRANGER,), NOW + 2, by=BY)
    assert grown.members == (A, STRANGER)


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
