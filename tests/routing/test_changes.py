"""What may become of a binding after it is made: extended, ended, changed, and by whom."""

from dataclasses import replace
from typing import Any

import pytest

from routing.binding import DAY_MS, BindingDetail, BindingState, Direction, Mode
from routing.errors import BindingError, Conflict, NotFound, StaleRevision
from routing.plan import Block, BlockState
from routing.registry import BusinessUser, Provider, Scenario
from routing.store.reader import Reader
from routing.store.sqlite import Store
from routing.terms import LONGEST_RING_SECONDS
from tests.routing.samples import HOUR, NOW, PREFIX, STRANGER, A, B, X, request

Y = f"{PREFIX}0002"
C, D = "+8613700137000", "+8613600136000"
BLOCK_2 = Block("70012345679", "provider", "shop", BlockState.ACTIVE)
NEW: dict[str, Any] = {"real_name": "proof-2", "consent": "consent-2", "by": "test"}


async def refused(work: Any) -> BindingError:
    with pytest.raises(BindingError) as caught:
        await work
    return caught.value


async def bind(store: Store, **changes: Any) -> str:
    return (await store.bindings.bind(request(**changes), NOW, by="test")).id


async def whole(store: Store, identifier: str) -> BindingDetail:
    found = await store.bindings.detail(identifier)
    assert found is not None
    return found


async def test_all_that_was_asked_for_is_kept(store: Store) -> None:
    bound = await bind(store, client_token="token", most_calls=3, starts_ms=NOW + 5)
    kept = await whole(store, bound)
    assert (kept.id, kept.real_name, kept.consent, kept.client_token) == (bound, "proof-1", "consent-1", "token")
    assert (kept.created_ms, kept.ended_reason, kept.revision) == (NOW, "", 1)
    assert (kept.binding.most_calls, kept.binding.starts_ms) == (3, NOW + 5)


# --- extension ---


async def test_an_extended_binding_lives_longer_at_once(store: Store, reader: Reader) -> None:
    bound = await bind(store)
    extended = await store.bindings.extend(bound, NOW + 2 * HOUR, NOW + 5, by="test")
    assert extended.expires_ms == NOW + 2 * HOUR
    assert reader.find(X, A) == extended
    assert (await whole(store, bound)).revision == 2
    error = await refused(store.bindings.bind(request(b=C, expires_ms=NOW + DAY_MS), NOW + HOUR, by="test"))
    assert error.rule == "key"


async def test_the_longest_life_of_a_scenario_counts_from_the_start(store: Store) -> None:
    await store.registry.add(Scenario("shop", "short", longest_days=2), NOW, by="test")
    bound = await bind(store, scenario="short", expires_ms=NOW + DAY_MS)
    error = await refused(store.bindings.extend(bound, NOW + 2 * DAY_MS + 1, NOW + DAY_MS - 1, by="test"))
    assert (error.field, error.rule) == ("expires_ms", "R17")
    assert (await store.bindings.extend(bound, NOW + 2 * DAY_MS, NOW + 5, by="test")).expires_ms == NOW + 2 * DAY_MS
    longest = await bind(store, x=Y, expires_ms=NOW + 89 * DAY_MS)
    error = await refused(store.bindings.extend(longest, NOW + 91 * DAY_MS, NOW + DAY_MS, by="test"))
    assert (error.field, error.rule) == ("expires_ms", "R17")


@pytest.mark.parametrize("expires_ms", [NOW + HOUR, NOW + 5, NOW - 1])
async def test_an_extension_goes_forward(store: Store, expires_ms: int) -> None:
    bound = await bind(store)
    error = await refused(store.bindings.extend(bound, expires_ms, NOW + 10, by="test"))
    assert (error.field, error.rule) == ("expires_ms", "form")


async def test_what_is_dead_stays_dead(store: Store) -> None:
    expired, ended = await bind(store), await bind(store, x=Y)
    await store.bindings.end(ended, NOW, by="test")
    for identifier, word in ((expired, "expired"), (ended, "ended")):
        for work in (
            store.bindings.extend(identifier, NOW + DAY_MS, NOW + HOUR, by="test"),
            store.bindings.change(identifier, NOW + HOUR, direction=Direction.A_TO_B, by="test"),
            store.bindings.change_party(identifier, NOW + HOUR, b=C, **NEW),
        ):
            error = await refused(work)
            assert isinstance(error, Conflict)
            assert (error.field, error.rule) == ("id", "ended")
            assert word in error.message


async def suspend(store: Store, what: str) -> None:
    options: dict[str, Any] = {"by": "test", "reason": "inspection"}
    if what == "provider":
        await store.registry.suspend(Provider, "provider", NOW, **options)
    elif what == "business_user":
        await store.registry.suspend(BusinessUser, "shop", NOW, **options)
    elif what == "scenario":
        await store.registry.suspend(Scenario, "shop/delivery", NOW, **options)
    else:
        await store.blocks.move(PREFIX, BlockState.FROZEN, NOW, **options)


@pytest.mark.parametrize(
    ("what", "field", "rule"),
    [
        ("provider", "provider", "R7"),
        ("business_user", "business_user", "R7"),
        ("scenario", "scenario", "R17"),
        ("block", "x", "R18"),
    ],
)
async def test_whoever_is_suspended_gets_no_new_right_and_keeps_the_old(
    store: Store, reader: Reader, what: str, field: str, rule: str
) -> None:
    bound = await bind(store)
    await suspend(store, what)
    for work in (
        store.bindings.bind(request(x=f"{PREFIX}0009"), NOW, by="test"),
        store.bindings.extend(bound, NOW + DAY_MS, NOW, by="test"),
        store.bindings.change_party(bound, NOW, b=C, **NEW),
    ):
        error = await refused(work)
        assert (error.field, error.rule) == (field, rule)
    found = reader.find(X, A)
    assert found is not None
    assert found.live(NOW)
    # what takes away is allowed
    assert (await store.bindings.change(bound, NOW, direction=Direction.A_TO_B, by="test")).direction == "a_to_b"
    assert (await store.bindings.end(bound, NOW, by="test")).ended_ms == NOW


async def test_the_block_of_the_second_number_counts_for_an_extension_too(store: Store) -> None:
    await store.blocks.add(BLOCK_2, NOW, by="test")
    bound = await bind(store, mode=Mode.AXYB, y="700123456790001")
    await store.blocks.move("70012345679", BlockState.FROZEN, NOW, by="test", reason="inspection")
    error = await refused(store.bindings.extend(bound, NOW + DAY_MS, NOW, by="test"))
    assert (error.field, error.rule) == ("y", "R18")


# --- end ---


async def test_an_end_keeps_its_reason(store: Store) -> None:
    bound = await bind(store)
    await store.bindings.end(bound, NOW + 5, by="test", reason="delivered")
    kept = await whole(store, bound)
    assert (kept.binding.ended_ms, kept.ended_reason, kept.revision) == (NOW + 5, "delivered", 2)
    await store.bindings.end(bound, NOW + 9, by="test", reason="again")
    assert await whole(store, bound) == kept
    assert (await refused(store.bindings.end(bound, NOW, by="test", reason="a\nb"))).field == "reason"


# --- another party ---


async def test_another_party_takes_over_at_once(store: Store, reader: Reader) -> None:
    bound = await bind(store)
    changed = await store.bindings.change_party(bound, NOW + 5, b="13700137000", **NEW)
    assert (changed.a, changed.b) == (A, C)
    assert reader.find(X, A) == reader.find(X, C) == changed
    assert reader.find(X, B) is None
    kept = await whole(store, bound)
    assert (kept.real_name, kept.consent, kept.revision) == ("proof-2", "consent-2", 2)
    # the number is free for the one who left
    await bind(store, a=B, b=D)


async def test_both_parties_may_change_and_may_change_places(store: Store, reader: Reader) -> None:
    bound = await bind(store)
    both = await store.bindings.change_party(bound, NOW, a=C, b=D, **NEW)
    assert (both.a, both.b) == (C, D)
    assert reader.find(X, A) is reader.find(X, B) is None
    swapped = await store.bindings.change_party(bound, NOW, a=D, b=C, **NEW)
    assert reader.find(X, C) == reader.find(X, D) == swapped
    assert (swapped.a, swapped.b) == (D, C)


async def test_with_two_aliases_each_party_has_its_own_number(store: Store, reader: Reader) -> None:
    bound = await bind(store, mode=Mode.AXYB, y=Y)
    changed = await store.bindings.change_party(bound, NOW, b=C, **NEW)
    assert reader.find(Y, C) == reader.find(X, A) == changed
    assert reader.find(Y, B) is reader.find(X, C) is None


async def test_a_party_whose_key_is_held_elsewhere_is_refused_and_nothing_changes(store: Store, reader: Reader) -> None:
    bound = await bind(store)
    other = await bind(store, a=C, b=D)
    before = await whole(store, bound)
    for party in ({"b": C}, {"a": D}, {"a": STRANGER, "b": C}):
        error = await refused(store.bindings.change_party(bound, NOW, **party, **NEW))
        assert isinstance(error, Conflict)
        assert (error.field, error.rule) == ("x", "key")
        assert other in error.message
    assert await whole(store, bound) == before
    assert reader.find(X, B) == before.binding
    assert reader.find(X, STRANGER) is None


@pytest.mark.parametrize(
    ("values", "field", "rule"),
    [
        ({}, "a", "form"),
        ({"a": "13800138000"}, "a", "form"),
        ({"b": A}, "b", "key"),
        ({"b": "95588"}, "b", "R13"),
        ({"a": X}, "a", "R3"),
        ({"b": C, "real_name": ""}, "real_name", "R16"),
        ({"b": C, "consent": " "}, "consent", "R16"),
        ({"b": C, "consent": "c" * 129}, "consent", "form"),
    ],
)
async def test_a_party_that_cannot_be_is_refused(store: Store, values: dict[str, Any], field: str, rule: str) -> None:
    bound = await bind(store)
    error = await refused(store.bindings.change_party(bound, NOW, **(NEW | values)))
    assert (error.field, error.rule) == (field, rule)


async def test_of_a_group_the_default_a_and_b_may_change(store: Store, reader: Reader) -> None:
    group = await store.groups.add("shop", "couriers", (A, C), NOW, by="test")
    bound = await bind(store, mode=Mode.GXB, group=group.id)
    assert (await store.bindings.change_party(bound, NOW, a=C, **NEW)).a == C
    found = reader.find(X, A)
    assert found is not None
    assert found.a == A  # still a member
    await store.bindings.change_party(bound, NOW, b=D, **NEW)
    assert reader.find(X, B) is None
    assert reader.find(X, D) is not None
    for values, field, rule in (({"a": STRANGER}, "a", "member"), ({"b": A}, "b", "key")):
        error = await refused(store.bindings.change_party(bound, NOW, **values, **NEW))
        assert (error.field, error.rule) == (field, rule)


# --- direction and limits ---


async def test_direction_and_limits_change_at_once(store: Store, reader: Reader) -> None:
    bound = await bind(store)
    changed = await store.bindings.change(
        bound, NOW, direction=Direction.B_TO_A, ring_seconds=20, longest_seconds=600, most_calls=3, by="test"
    )
    assert reader.find(X, B) == changed
    assert (changed.direction, changed.ring_seconds, changed.longest_seconds, changed.most_calls) == (
        Direction.B_TO_A,
        20,
        600,
        3,
    )
    same = await store.bindings.change(bound, NOW, most_calls=3, by="test")
    assert same == changed
    assert (await whole(store, bound)).revision == 2
    assert (await store.bindings.change(bound, NOW, most_calls=0, by="test")).most_calls == 0


@pytest.mark.parametrize(
    ("values", "field", "rule"),
    [
        ({"ring_seconds": LONGEST_RING_SECONDS + 1}, "ring_seconds", "form"),
        ({"longest_seconds": -1}, "longest_seconds", "form"),
        ({"most_calls": -1}, "most_calls", "form"),
        ({"direction": Direction.BOTH}, "direction", "R17"),
        ({"ring_seconds": 31}, "ring_seconds", "R17"),
    ],
)
async def test_a_change_keeps_within_the_scenario(store: Store, values: dict[str, Any], field: str, rule: str) -> None:
    await store.registry.add(Scenario("shop", "narrow", direction=Direction.A_TO_B, ring_seconds=30), NOW, by="test")
    bound = await bind(store, scenario="narrow", direction=Direction.A_TO_B)
    error = await refused(store.bindings.change(bound, NOW, by="test", **values))
    assert (error.field, error.rule) == (field, rule)


async def test_a_binding_keeps_within_its_scenario(store: Store) -> None:
    await store.registry.add(Scenario("shop", "narrow", direction=Direction.A_TO_B, longest_days=1), NOW, by="test")
    for values, field in (
        ({}, "direction"),
        ({"direction": Direction.A_TO_B, "expires_ms": NOW + 2 * DAY_MS}, "expires_ms"),
    ):
        error = await refused(bind(store, scenario="narrow", **values))
        assert (error.field, error.rule) == (field, "R17")


# --- whose, and of which revision ---


async def test_what_is_anothers_is_not_there(store: Store) -> None:
    bound = await bind(store)
    assert await store.bindings.get(bound, "another") is None
    assert await store.bindings.detail(bound, "another") is None
    assert (await store.bindings.get(bound, "provider")) is not None
    for work in (
        store.bindings.extend(bound, NOW + DAY_MS, NOW, by="test", provider="another"),
        store.bindings.end(bound, NOW, by="test", provider="another"),
        store.bindings.change(bound, NOW, most_calls=1, by="test", provider="another"),
        store.bindings.change_party(bound, NOW, b=C, provider="another", **NEW),
        store.bindings.end("none", NOW, by="test"),
    ):
        error = await refused(work)
        assert isinstance(error, NotFound)
        assert error.message == "no such binding"


async def test_a_change_made_from_an_old_revision_is_refused(store: Store) -> None:
    bound = await bind(store)
    await store.bindings.change(bound, NOW, most_calls=1, by="test", revision=1)
    for work in (
        store.bindings.extend(bound, NOW + DAY_MS, NOW, by="test", revision=1),
        store.bindings.end(bound, NOW, by="test", revision=1),
        store.bindings.change(bound, NOW, most_calls=2, by="test", revision=3),
        store.bindings.change_party(bound, NOW, b=C, revision=1, **NEW),
    ):
        assert isinstance(await refused(work), StaleRevision)
    await store.bindings.end(bound, NOW, by="test", revision=2, provider="provider")


# --- lists ---


async def test_lists_are_narrowed_by_what_is_asked(store: Store) -> None:
    await store.registry.enrol("provider-2", "taxi", "ride", now_ms=NOW, by="test")
    await store.blocks.add(replace(BLOCK_2, provider="provider-2", business_user="taxi"), NOW, by="test")
    live = await bind(store)
    waiting = await bind(store, x=Y, starts_ms=NOW + HOUR, expires_ms=NOW + 2 * HOUR, order_id="order-2")
    ended = await bind(store, x=f"{PREFIX}0003")
    await store.bindings.end(ended, NOW, by="test")
    expired = await bind(store, x=f"{PREFIX}0004", expires_ms=NOW + 5)
    other = await bind(
        store, x="700123456790001", y="700123456790002", mode=Mode.AXYB, business_user="taxi", scenario="ride"
    )

    async def ids(**values: Any) -> list[str]:
        listed = [one.id for one in await store.bindings.list(**values)]
        assert [one.id for one in await store.bindings.details(**values)] == listed
        return listed

    at = NOW + 5
    assert await ids() == [other, expired, ended, waiting, live]
    assert await ids(state=BindingState.LIVE, now_ms=at) == [other, live]
    assert await ids(state=BindingState.WAITING, now_ms=at) == [waiting]
    assert await ids(state=BindingState.EXPIRED, now_ms=at) == [expired]
    assert await ids(state=BindingState.ENDED, now_ms=at) == [ended]
    assert await ids(order_id="order-2") == [waiting]
    assert await ids(business_user="taxi") == await ids(provider="provider-2") == [other]
    assert await ids(x="700123456790002") == await ids(x="700123456790001") == [other]
    assert await ids(provider="provider", after=expired, limit=2) == [ended, waiting]
    assert await ids(x=X, business_user="taxi") == []
    error = await refused(store.bindings.list(after=other, provider="provider"))
    assert error.field == "after"


# --- the books ---


async def test_ledger_and_audit_tell_the_whole_story(store: Store) -> None:
    bound = await bind(store)
    await store.bindings.extend(bound, NOW + 2 * HOUR, NOW + 1, by="key:1")
    await store.bindings.change_party(bound, NOW + 2, b=C, real_name="p", consent="c", by="key:1")
    await store.bindings.change(bound, NOW + 3, most_calls=3, by="key:1")
    await store.bindings.end(bound, NOW + 4, by="key:2", reason="delivered")
    entries = list(reversed(await store.ledger.list(X)))
    assert [(entry.event, entry.at_ms, entry.until_ms) for entry in entries] == [
        ("bound", NOW, NOW + HOUR),
        ("extended", NOW + 1, NOW + 2 * HOUR),
        ("changed", NOW + 2, NOW + 2 * HOUR),
        ("ended", NOW + 4, NOW + 4),
    ]
    deeds = list(reversed(await store.audit.list(kind="binding", identifier=bound)))
    assert [(deed.action, deed.by, deed.reason, deed.provider) for deed in deeds] == [
        ("bind", "test", "", "provider"),
        ("extend", "key:1", "", "provider"),
        ("change party", "key:1", "", "provider"),
        ("change", "key:1", "", "provider"),
        ("end", "key:2", "delivered", "provider"),
    ]
    text = " ".join(str(deed.detail) for deed in deeds)
    assert not any(digits in text for digits in ("13800138000", "87654321", "13700137000"))
    (holder,) = await store.ledger.holders(X, NOW + 3, NOW + 9, by="auditor", purpose="complaint 7")
    assert (holder.binding, holder.a, holder.b) == (bound, A, C)


async def test_nobody_changes_anything_without_saying_who_he_is(store: Store) -> None:
    bound = await bind(store)
    for work in (
        store.bindings.bind(request(x=Y), NOW, by=""),
        store.bindings.extend(bound, NOW + DAY_MS, NOW, by=" "),
        store.bindings.end(bound, NOW, by=""),
    ):
        assert (await refused(work)).field == "by"
    assert [one.id for one in await store.bindings.list()] == [bound]
    assert (await whole(store, bound)).revision == 1
