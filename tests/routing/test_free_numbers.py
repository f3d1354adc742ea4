"""Numbers that the store draws (R18): random, one's own, free, and rested."""

import itertools
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cdr.seal import Seal
from routing.allocation import NUMBERS_OF_A_BLOCK
from routing.binding import Binding, Mode
from routing.errors import BindingError
from routing.plan import Block, BlockState
from routing.store.bindings import Bindings
from routing.store.database import Database
from routing.store.sqlite import Store
from tests.routing.samples import BLOCK, HOUR, NOW, PREFIX, provide, request

DAY = 24 * HOUR
SECOND = "70012345679"


@pytest.fixture
async def rested(path: Path, seal: Seal) -> AsyncIterator[Store]:
    """A store with one block, whose numbers rest for an hour."""
    async with await Store.open(path, seal, quarantine_ms=HOUR) as opened:
        await provide(opened)
        yield opened


async def draw(store: Store, now_ms: int = NOW, **changes: Any) -> Binding:
    return await store.bindings.bind(request(**({"x": ""} | changes)), now_ms, by="test")


def orders(count: int, **changes: Any) -> list[Any]:
    """Requests without a number, whose parties differ."""
    return [
        request(**({"x": "", "a": f"138{number:08d}", "b": f"139{number:08d}"} | changes)) for number in range(count)
    ]


async def bind_all(store: Store, requests: list[Any], now_ms: int = NOW) -> list[Binding]:
    bound: list[Binding] = []
    for start in range(0, len(requests), 1000):
        answers = await store.bindings.bind_many(requests[start : start + 1000], now_ms, by="test")
        for answer in answers:
            assert isinstance(answer, Binding), answer
            bound.append(answer)
    return bound


async def test_a_number_is_drawn_from_ones_own_block(store: Store) -> None:
    drawn = [await draw(store) for _ in range(20)]
    assert all(one.x.startswith(PREFIX) for one in drawn)
    assert len({one.x for one in drawn}) == 20


async def test_two_aliases_are_two_numbers(store: Store) -> None:
    one = await draw(store, mode=Mode.AXYB)
    assert one.x != one.y
    half = await draw(store, mode=Mode.AXYB, y=f"{PREFIX}0007")
    assert half.y == f"{PREFIX}0007" != half.x
    other = await draw(store, mode=Mode.AXYB, x=f"{PREFIX}0008")
    assert other.x == f"{PREFIX}0008" != other.y


async def test_draws_are_spread_over_the_blocks(store: Store) -> None:
    await store.blocks.add(Block(SECOND, "provider", "shop", BlockState.ACTIVE), NOW, by="test")
    shares = Counter(one.x[:11] for one in await bind_all(store, orders(400)))
    assert set(shares) == {PREFIX, SECOND}
    assert min(shares.values()) > 120
    last_digits = Counter(one.x[-1] for one in await store.bindings.list(limit=400))
    assert len(last_digits) == 10


async def test_numbers_of_others_and_of_blocks_that_are_not_active_are_not_drawn(store: Store) -> None:
    await store.registry.enrol("provider", "taxi", "delivery", now_ms=NOW, by="test")
    await store.blocks.add(Block(SECOND, "provider", "taxi", BlockState.ACTIVE), NOW, by="test")
    await store.blocks.add(Block("70012345680", "provider", "shop", BlockState.ALLOCATED), NOW, by="test")
    assert {one.x[:11] for one in await bind_all(store, orders(100))} == {PREFIX}
    await store.blocks.move(PREFIX, BlockState.FROZEN, NOW, by="test", reason="inspection")
    with pytest.raises(BindingError) as caught:
        await draw(store)
    assert (caught.value.field, caught.value.rule) == ("x", "none_free")
    await store.blocks.move(PREFIX, BlockState.ACTIVE, NOW, by="test")
    assert (await draw(store)).x.startswith(PREFIX)


async def test_a_full_block_gives_every_number_once_and_then_none(rested: Store) -> None:
    bound = await bind_all(rested, orders(NUMBERS_OF_A_BLOCK))
    assert len({one.x for one in bound}) == NUMBERS_OF_A_BLOCK
    assert {one.x[:11] for one in bound} == {PREFIX}
    for _ in range(2):  # found out once, remembered then
        (answer,) = await rested.bindings.bind_many([request(x="")], NOW, by="test")
        assert isinstance(answer, BindingError)
        assert (answer.field, answer.rule) == ("x", "none_free")
    # one comes free, rests, and is then the one that is drawn
    await rested.bindings.end(bound[77].id, NOW, by="test")
    with pytest.raises(BindingError):
        await draw(rested, NOW + HOUR - 1)
    assert (await draw(rested, NOW + HOUR, expires_ms=NOW + DAY)).x == bound[77].x
    # all others have expired, and rest
    with pytest.raises(BindingError):
        await draw(rested, NOW + 2 * HOUR - 1, expires_ms=NOW + DAY)
    assert len(await bind_all(rested, orders(1000, expires_ms=NOW + DAY), NOW + 2 * HOUR)) == 1000


async def test_a_batch_gets_what_is_left_and_the_rest_of_it_is_told(rested: Store) -> None:
    await bind_all(rested, orders(NUMBERS_OF_A_BLOCK - 5))
    answers = await rested.bindings.bind_many(orders(8), NOW, by="test")
    assert [isinstance(answer, Binding) for answer in answers] == [True] * 5 + [False] * 3
    answers = await rested.bindings.bind_many(orders(1, mode=Mode.AXYB), NOW, by="test")
    assert isinstance(answers[0], BindingError)


async def test_a_number_given_is_not_drawn_in_the_same_batch(store: Store) -> None:
    given = [request(x=f"{PREFIX}{number:04d}", a=f"138{number:08d}") for number in range(500)]
    answers = await store.bindings.bind_many([*given, *orders(300)], NOW, by="test")
    assert len({answer.x for answer in answers if isinstance(answer, Binding)}) == 800


async def test_a_number_given_need_not_have_rested_and_may_be_shared(rested: Store) -> None:
    first = await rested.bindings.bind(request(), NOW, by="test")
    await rested.bindings.end(first.id, NOW, by="test")
    again = await rested.bindings.bind(request(), NOW, by="test")
    shared = await rested.bindings.bind(request(a="13700137000", b="13600136000"), NOW, by="test")
    assert first.x == again.x == shared.x


async def test_a_number_rests_from_the_end_of_the_last_binding_that_shares_it(path: Path, seal: Seal) -> None:
    """Drawing always picks number 0000 first here, so what is drawn says whether it is free."""
    database = await Database.open(path, seal, iter(map(str, range(100))).__next__)
    try:
        store = Store(database, 90, HOUR)
        await provide(store)
        first_number = Bindings(database, 90, HOUR, lambda: 0.0)
        x = f"{PREFIX}0000"

        async def free(now_ms: int) -> bool:
            asked = request(x="", a="13500135000", b="13400134000", expires_ms=now_ms + 1)
            drawn = await first_number.bind(asked, now_ms, by="test")
            await first_number.end(drawn.id, now_ms, by="test")
            return drawn.x == x

        one = await store.bindings.bind(request(x=x, expires_ms=NOW + DAY), NOW, by="test")
        two = await store.bindings.bind(
            request(x=f"{PREFIX}0009", y=x, mode=Mode.AXYB, a="13700137000", b="13600136000"), NOW, by="test"
        )
        await store.bindings.end(one.id, NOW, by="test")
        assert not await free(NOW + HOUR)  # `two` holds it until then
        assert not await free(NOW + 2 * HOUR - 1)
        await store.bindings.extend(two.id, NOW + HOUR + 5, NOW + 1, by="test")
        assert not await free(NOW + 2 * HOUR)
        assert await free(NOW + 2 * HOUR + 5)
    finally:
        await database.close()


async def test_where_draws_find_nothing_blocks_are_gone_through(path: Path, seal: Seal) -> None:
    """Drawing always picks the same number here."""
    database = await Database.open(path, seal, iter(map(str, range(100))).__next__)
    try:
        store = Store(database, 90, HOUR)
        await provide(store)
        await store.blocks.add(Block(SECOND, "provider", "shop", BlockState.ACTIVE), NOW, by="test")
        same = Bindings(database, 90, HOUR, lambda: 0.0)
        drawn = [(await same.bind(request(x=""), NOW, by="test")).x for _ in range(3)]
        assert drawn == [f"{PREFIX}{number:04d}" for number in range(3)]
    finally:
        await database.close()


def reports(uses: Any) -> tuple[int, int, int]:
    (use,) = uses
    return use.bound, use.quarantined, use.free


async def test_the_report_of_a_block_follows_the_numbers(rested: Store) -> None:
    bound = [await draw(rested, NOW, expires_ms=NOW + HOUR) for _ in range(3)]
    assert reports(await rested.blocks.use(NOW)) == (3, 0, 9997)
    await rested.bindings.end(bound[0].id, NOW, by="test")
    assert reports(await rested.blocks.use(NOW)) == (2, 1, 9997)
    assert reports(await rested.blocks.use(NOW + HOUR)) == (0, 2, 9998)
    assert reports(await rested.blocks.use(NOW + 2 * HOUR)) == (0, 0, 10_000)


async def test_a_user_without_any_block_is_told_there_is_nothing(store: Store) -> None:
    await store.registry.enrol("provider", "taxi", "delivery", now_ms=NOW, by="test")
    with pytest.raises(BindingError) as caught:
        await draw(store, business_user="taxi")
    assert caught.value.rule == "none_free"


async def test_an_unregistered_user_is_told_so_and_not_that_nothing_is_free(store: Store) -> None:
    with pytest.raises(BindingError) as caught:
        await draw(store, business_user="taxi")
    assert (caught.value.field, caught.value.rule) == ("business_user", "R6")


async def test_draws_do_not_follow_a_sequence(path: Path, seal: Seal) -> None:
    async with await Store.open(path, seal) as store:
        await provide(store, BLOCK)
        numbers = [int(one.x[-4:]) for one in await bind_all(store, orders(200))]
    steps = Counter(after - before for before, after in itertools.pairwise(numbers))
    assert max(steps.values()) < 10
