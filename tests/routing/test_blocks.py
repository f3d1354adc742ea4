"""Blocks: who may hold one, the states of its life with their instants, and the reports (R3, R5, R6, R7, R18)."""

from collections.abc import Awaitable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from itertools import product
from pathlib import Path

import pytest

from cdr.seal import Seal
from routing.allocation import BlockLife, activation_due
from routing.errors import BindingError, Conflict, NotFound, StaleRevision
from routing.plan import MOVES, Block, BlockState
from routing.registry import BusinessUser, Contract, Provider, State
from routing.store.blocks import block_at
from routing.store.reader import Reader
from routing.store.sqlite import Store
from tests.routing.samples import BLOCK, HOUR, NOW, PREFIX, X, provide, request

BY = "test"
OTHER = "70020000000"
LIFE = BlockLife(PREFIX, "provider", "shop", BlockState.ACTIVE, "", 0, 0, 0, 0, 1)
DAY = 24 * HOUR


async def refused(work: Awaitable[object], error: type[BindingError] = BindingError) -> tuple[str, str]:
    with pytest.raises(BindingError) as caught:
        await work
    assert type(caught.value) is error
    return caught.value.field, caught.value.rule


async def states(store: Store) -> dict[str, BlockState]:
    return {life.prefix: life.state for life in await store.blocks.list()}


# --- who may hold one ---


@pytest.mark.parametrize(
    ("block", "field", "rule", "kind"),
    [
        (replace(BLOCK, prefix="70012345"), "prefix", "R3", BindingError),
        (replace(BLOCK, prefix="40012345678"), "prefix", "R3", BindingError),
        (replace(BLOCK, prefix=BLOCK.prefix.replace("1", "１")), "prefix", "R3", BindingError),
        (BLOCK, "prefix", "R5", Conflict),
        (replace(BLOCK, business_user="taxi"), "prefix", "R5", Conflict),
        (replace(BLOCK, prefix=OTHER, state=BlockState.FROZEN), "state", "R18", BindingError),
        (replace(BLOCK, prefix=OTHER, state=BlockState.RETURNED), "state", "R18", BindingError),
        (replace(BLOCK, prefix=OTHER, provider="other"), "business_user", "R6", BindingError),
        (replace(BLOCK, prefix=OTHER, provider="a\nb"), "provider", "form", BindingError),
        (replace(BLOCK, prefix=OTHER, business_user=" "), "business_user", "R6", BindingError),
        (replace(BLOCK, prefix=OTHER, business_user="taxi"), "business_user", "R6", BindingError),
        (replace(BLOCK, prefix=OTHER, business_user="a\nb"), "business_user", "form", BindingError),
    ],
)
async def test_a_block_that_breaks_a_rule_is_refused(
    store: Store, block: Block, field: str, rule: str, kind: type[BindingError]
) -> None:
    assert await refused(store.blocks.add(block, NOW, by=BY), kind) == (field, rule)
    assert await states(store) == {PREFIX: BlockState.ACTIVE}


@pytest.mark.parametrize("allocated_ms", [-1, NOW + 1])
async def test_an_allocation_lies_in_the_past(store: Store, allocated_ms: int) -> None:
    work = store.blocks.add(replace(BLOCK, prefix=OTHER), NOW, by=BY, allocated_ms=allocated_ms)
    assert await refused(work) == ("allocated_ms", "R18")


@pytest.mark.parametrize(
    ("kind", "identifier", "state", "field", "rule"),
    [
        (Provider, "provider", State.SUSPENDED, "provider", "R7"),
        (Provider, "provider", State.TERMINATED, "provider", "R7"),
        (BusinessUser, "shop", State.SUSPENDED, "business_user", "R7"),
        (BusinessUser, "shop", State.TERMINATED, "business_user", "R7"),
        (Contract, "shop.enrolled", State.SUSPENDED, "business_user", "R6"),
    ],
)
async def test_who_is_not_in_good_standing_gets_no_block(
    store: Store, kind: type[Provider], identifier: str, state: State, field: str, rule: str
) -> None:
    await store.registry.move(kind, identifier, state, NOW, by=BY, reason="x")
    assert await refused(store.blocks.add(replace(BLOCK, prefix=OTHER), NOW, by=BY)) == (field, rule)


async def test_the_provider_of_a_block_is_the_one_of_its_user(store: Store) -> None:
    life = await store.blocks.add(replace(BLOCK, prefix=OTHER, provider=""), NOW, by=BY)
    assert life.provider == "provider"


async def test_a_provider_registers_and_moves_its_own_blocks_only(store: Store) -> None:
    block = replace(BLOCK, prefix=OTHER)
    assert await refused(store.blocks.add(block, NOW, by=BY, provider="other")) == ("provider", "R6")
    assert await store.blocks.get(PREFIX, provider="other") is None
    assert await store.blocks.list(provider="other") == ()
    frozen = store.blocks.move(PREFIX, BlockState.FROZEN, NOW, by=BY, reason="x", provider="other")
    assert await refused(frozen, NotFound) == ("prefix", "R3")
    await store.blocks.add(block, NOW, by=BY, provider="provider")
    await store.blocks.move(PREFIX, BlockState.FROZEN, NOW, by=BY, reason="x", provider="provider")
    assert await store.blocks.get(OTHER, provider="provider") == await store.blocks.get(OTHER)


async def test_a_block_is_found_within_a_turn_by_its_prefix(store: Store) -> None:
    async with store._database.reading():
        assert await block_at(store._database, PREFIX) == BLOCK
        assert await block_at(store._database, OTHER) is None


# --- lists ---


async def test_blocks_are_listed_in_pages_by_prefix(store: Store) -> None:
    others = [f"7002000000{number}" for number in range(3)]
    for prefix in reversed(others):
        await provide(store, Block(prefix, "provider-2", "taxi", BlockState.ALLOCATED), NOW)
    prefixes = [PREFIX, *others]
    assert [life.prefix for life in await store.blocks.list()] == prefixes
    assert [life.prefix for life in await store.blocks.list(limit=2)] == prefixes[:2]
    assert [life.prefix for life in await store.blocks.list(after=others[0], limit=2)] == others[1:]
    for choice in ({"provider": "provider-2"}, {"business_user": "taxi"}, {"state": BlockState.ALLOCATED}):
        assert [life.prefix for life in await store.blocks.list(**choice)] == others  # type: ignore[arg-type]
    assert await refused(store.blocks.list(limit=0)) == ("limit", "form")
    assert await refused(store.blocks.use(NOW, limit=1001)) == ("limit", "form")


# --- life ---


async def test_every_step_of_a_life_has_its_instant_reason_and_deed(store: Store) -> None:
    blocks = store.blocks
    block = replace(BLOCK, prefix=OTHER, state=BlockState.ALLOCATED)
    life = await blocks.add(block, NOW, by="key:1", reason="order 7", allocated_ms=NOW - DAY)
    expected = replace(
        LIFE, prefix=OTHER, state=BlockState.ALLOCATED, reason="order 7", allocated_ms=NOW - DAY, activated_ms=0
    )
    assert life == expected
    life = await blocks.move(OTHER, BlockState.ACTIVE, NOW + 1, by="key:1")
    expected = replace(expected, state=BlockState.ACTIVE, reason="", activated_ms=NOW + 1, revision=2)
    assert life == expected
    life = await blocks.move(OTHER, BlockState.FROZEN, NOW + 2, by="key:2", reason="misuse", revision=2)
    expected = replace(expected, state=BlockState.FROZEN, reason="misuse", frozen_ms=NOW + 2, revision=3)
    assert life == expected
    life = await blocks.move(OTHER, BlockState.ACTIVE, NOW + 3, by="key:2", was=BlockState.FROZEN)
    assert life == replace(expected, state=BlockState.ACTIVE, reason="", frozen_ms=0, revision=4)
    await blocks.move(OTHER, BlockState.FROZEN, NOW + 4, by="key:2", reason="over")
    life = await blocks.move(OTHER, BlockState.RETURNED, NOW + 5, by="key:2", reason="given up")
    assert (life.state, life.returned_ms, life.frozen_ms, life.activated_ms) == ("returned", NOW + 5, 0, NOW + 1)
    assert await blocks.get(OTHER) == life
    deeds = await store.audit.list(kind="block", identifier=OTHER)
    assert [(deed.action, deed.by, deed.reason, deed.at_ms - NOW) for deed in reversed(deeds)] == [
        ("add", "key:1", "order 7", 0),
        ("activate", "key:1", "", 1),
        ("freeze", "key:2", "misuse", 2),
        ("thaw", "key:2", "", 3),
        ("freeze", "key:2", "over", 4),
        ("return", "key:2", "given up", 5),
    ]


PATHS = {
    BlockState.ALLOCATED: (),
    BlockState.ACTIVE: (BlockState.ACTIVE,),
    BlockState.FROZEN: (BlockState.ACTIVE, BlockState.FROZEN),
    BlockState.RETURNED: (BlockState.RETURNED,),
}


@pytest.mark.parametrize(("was", "becomes"), list(product(BlockState, BlockState)))
async def test_a_block_moves_only_along_its_life(store: Store, was: BlockState, becomes: BlockState) -> None:
    await store.blocks.add(replace(BLOCK, prefix=OTHER, state=BlockState.ALLOCATED), NOW, by=BY)
    for state in PATHS[was]:
        await store.blocks.move(OTHER, state, NOW, by=BY, reason="x")
    work = store.blocks.move(OTHER, becomes, NOW, by=BY, reason="x")
    if becomes in MOVES[was]:
        assert (await work).state is becomes
    else:
        assert await refused(work, Conflict) == ("state", "R18")
        assert (await states(store))[OTHER] is was


async def test_a_move_is_refused_when_it_is_not_what_was_meant(store: Store) -> None:
    blocks = store.blocks
    for work, error, told in (
        (blocks.move("70099999999", BlockState.FROZEN, NOW, by=BY, reason="x"), NotFound, ("prefix", "R3")),
        (blocks.move(PREFIX, BlockState.FROZEN, NOW, by=BY), BindingError, ("reason", "R18")),
        (blocks.move(PREFIX, BlockState.RETURNED, NOW, by=BY), BindingError, ("reason", "R18")),
        (blocks.move(PREFIX, BlockState.FROZEN, NOW, by=BY, reason="\n"), BindingError, ("reason", "R18")),
        (blocks.move(PREFIX, BlockState.FROZEN, NOW, by="", reason="x"), BindingError, ("by", "R18")),
        (
            blocks.move(PREFIX, BlockState.FROZEN, NOW, by=BY, reason="x", revision=2),
            StaleRevision,
            ("revision", "form"),
        ),
        (
            blocks.move(PREFIX, BlockState.FROZEN, NOW, by=BY, reason="x", was=BlockState.ALLOCATED),
            Conflict,
            ("state", "R18"),
        ),
    ):
        assert await refused(work, error) == told
    assert await store.blocks.get(PREFIX) == LIFE


async def test_a_frozen_block_takes_no_binding_until_it_is_thawed(store: Store) -> None:
    await store.blocks.move(PREFIX, BlockState.FROZEN, NOW, by=BY, reason="misuse")
    assert await refused(store.bindings.bind(request(), NOW, by=BY)) == ("x", "R18")
    await store.blocks.move(PREFIX, BlockState.ACTIVE, NOW, by=BY)
    await store.bindings.bind(request(), NOW, by=BY)


async def test_a_block_is_not_returned_while_an_order_needs_it(store: Store) -> None:
    """R7: what is bound keeps working until it ends, also what has yet to start."""
    live = await store.bindings.bind(request(expires_ms=NOW + HOUR), NOW, by=BY)
    await store.bindings.bind(request(x=f"{PREFIX}0002", starts_ms=NOW + HOUR, expires_ms=NOW + 2 * HOUR), NOW, by=BY)
    await store.blocks.move(PREFIX, BlockState.FROZEN, NOW, by=BY, reason="over")
    await store.bindings.end(live.id, NOW + 1, by=BY)
    work = store.blocks.move(PREFIX, BlockState.RETURNED, NOW + 2, by=BY, reason="over")
    assert await refused(work, Conflict) == ("state", "R7")
    await store.blocks.move(PREFIX, BlockState.RETURNED, NOW + 2 * HOUR, by=BY, reason="over")


async def test_a_returned_block_may_be_allocated_again_to_somebody_else(store: Store) -> None:
    await store.blocks.move(PREFIX, BlockState.FROZEN, NOW, by=BY, reason="over")
    await store.blocks.move(PREFIX, BlockState.RETURNED, NOW, by=BY, reason="over")
    await provide(store, replace(BLOCK, provider="provider-2", business_user="taxi"), NOW + 1)
    life = await store.blocks.get(PREFIX)
    assert life == BlockLife(PREFIX, "provider-2", "taxi", BlockState.ACTIVE, "", NOW + 1, NOW + 1, 0, 0, 4)
    assert [deed.provider for deed in await store.audit.list(kind="block")] == ["provider-2", *["provider"] * 3]


# --- the switch ---


async def test_the_reader_notices_every_change_of_a_block_and_only_those(store: Store, reader: Reader) -> None:
    before = reader.changes()
    await store.bindings.bind(request(), NOW, by=BY)
    assert reader.changes() == before
    await store.blocks.move(PREFIX, BlockState.FROZEN, NOW, by=BY, reason="misuse")
    after = reader.changes()
    assert after != before
    assert reader.plan().block_of(X) == replace(BLOCK, state=BlockState.FROZEN)
    await store.blocks.add(replace(BLOCK, prefix=OTHER), NOW, by=BY)
    assert reader.changes() != after
    assert len(reader.plan()) == 2


# --- reports ---


async def test_the_report_counts_bound_quarantined_and_free_numbers(path: Path, seal: Seal) -> None:
    async with await Store.open(path, seal, quarantine_ms=HOUR) as store:
        await provide(store)
        await provide(store, replace(BLOCK, prefix=OTHER), NOW)
        for number in range(3):
            await store.bindings.bind(request(x=f"{PREFIX}{number:04d}", expires_ms=NOW + HOUR), NOW, by=BY)
        last = await store.bindings.bind(request(x=f"{PREFIX}9999", expires_ms=NOW + 9 * HOUR), NOW, by=BY)

        async def counts(now_ms: int) -> list[tuple[str, int, int, int]]:
            uses = await store.blocks.use(now_ms)
            return [(use.block.prefix, use.bound, use.quarantined, use.free) for use in uses]

        assert await counts(NOW) == [(PREFIX, 4, 0, 9996), (OTHER, 0, 0, 10_000)]
        assert (await counts(NOW + HOUR))[0] == (PREFIX, 1, 3, 9996)
        assert (await counts(NOW + 2 * HOUR))[0] == (PREFIX, 1, 0, 9999)
        await store.bindings.end(last.id, NOW + 2 * HOUR, by=BY)
        assert (await counts(NOW + 2 * HOUR))[0] == (PREFIX, 0, 1, 9999)
        assert (await counts(NOW + 3 * HOUR))[0] == (PREFIX, 0, 0, 10_000)


CHINA = timezone(timedelta(hours=8))


@pytest.mark.parametrize(
    ("allocated", "due"),
    [
        ("2026-11-16T00:00", "2026-11-24"),  # a Monday: Tuesday is the first day after
        ("2026-11-16T23:59", "2026-11-24"),
        ("2026-11-17T09:00", "2026-11-25"),
        ("2026-11-20T09:00", "2026-11-28"),  # a Friday: the term ends with the Friday after
        ("2026-11-21T09:00", "2026-11-28"),
        ("2026-11-22T23:59", "2026-11-28"),
        ("2026-11-23T00:00", "2026-12-01"),
    ],
)
def test_the_term_of_activation_is_five_working_days_of_china(allocated: str, due: str) -> None:
    instant = datetime.fromisoformat(allocated).replace(tzinfo=CHINA)
    end = datetime.fromisoformat(due).replace(tzinfo=CHINA)
    assert activation_due(int(instant.timestamp() * 1000)) == int(end.timestamp() * 1000)


async def test_a_block_that_waits_too_long_for_its_activation_is_overdue(store: Store) -> None:
    await store.blocks.add(replace(BLOCK, prefix=OTHER, state=BlockState.ALLOCATED), NOW, by=BY)
    life = await store.blocks.get(OTHER)
    assert life is not None
    assert life.due_ms - NOW > 5 * DAY

    async def overdue(now_ms: int) -> list[str]:
        return [use.block.prefix for use in await store.blocks.use(now_ms) if use.overdue]

    assert await overdue(life.due_ms - 1) == []
    assert await overdue(life.due_ms) == [OTHER]
    await store.blocks.move(OTHER, BlockState.ACTIVE, life.due_ms, by=BY)
    assert await overdue(life.due_ms) == []
