import pytest

from routing.plan import BINDABLE, CALLABLE, MOVES, Block, BlockState, Plan, parse_prefix

FIRST = Block("70012345678", "provider", "shop", BlockState.ACTIVE)
SECOND = Block("70012345679", "provider", "taxi", BlockState.FROZEN)


def test_a_number_lies_in_the_block_of_its_first_eleven_digits() -> None:
    plan = Plan([FIRST, SECOND])
    assert plan.block_of("700123456780000") is FIRST
    assert plan.block_of("700123456789999") is FIRST
    assert plan.block_of("700123456790000") is SECOND
    assert plan.block_of("700123456770000") is None
    assert len(plan) == 2


def test_an_empty_plan_knows_no_number() -> None:
    assert Plan([]).block_of("700123456780000") is None


def test_a_block_cannot_belong_to_two_business_users() -> None:
    with pytest.raises(ValueError, match="70012345678 is listed twice"):
        Plan([FIRST, Block(FIRST.prefix, "provider", "taxi", BlockState.ACTIVE)])


def test_a_plan_keeps_nothing_of_the_list_it_was_built_from() -> None:
    blocks = [FIRST]
    plan = Plan(blocks)
    blocks.append(SECOND)
    assert plan.block_of("700123456790000") is None


@pytest.mark.parametrize(
    ("text", "prefix"),
    [
        ("70012345678", "70012345678"),
        ("7001234567", None),
        ("700123456789", None),
        ("70112345678", None),
        ("7001234567a", None),
        ("７００12345678", None),
        ("70012345678\n", None),
        ("", None),
    ],
)
def test_a_prefix_is_700_and_eight_digits(text: str, prefix: str | None) -> None:
    assert parse_prefix(text) == prefix


def test_calls_need_an_active_block_and_bindings_one_that_is_not_frozen_or_returned() -> None:
    assert {BlockState.ACTIVE} == CALLABLE
    assert {BlockState.ALLOCATED, BlockState.ACTIVE} == BINDABLE


def test_a_block_lives_from_allocated_to_returned_and_never_comes_back() -> None:
    assert set(MOVES) == set(BlockState)
    assert MOVES[BlockState.RETURNED] == frozenset()
    for state in BlockState:
        reached, fresh = {state}, {state}
        while fresh:
            fresh = {after for before in fresh for after in MOVES[before]} - reached
            reached |= fresh
        assert BlockState.RETURNED in reached
        assert state is BlockState.ALLOCATED or BlockState.ALLOCATED not in reached
    # What serves calls is frozen first: nothing is returned from under live calls.
    assert BlockState.RETURNED not in MOVES[BlockState.ACTIVE]
