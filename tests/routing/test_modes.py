"""The four modes, from the store's rows to who reaches whom and sees what."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from routing.binding import Binding, Direction, Mode, keys
from routing.decide import Query, Reason, Refusal, Route, decide
from routing.errors import StoreError
from routing.plan import Block, BlockState, Plan
from routing.store.reader import MEMBER, Reader
from routing.store.sqlite import Store
from routing.trunks import Trunk
from tests.routing.samples import BLOCK, HOUR, NOW, PREFIX, STRANGER, A, B, X, binding, request

Y = f"{PREFIX}0002"
FAR_Y = "700123456790002"
FAR = Block("70012345679", "provider", "shop", BlockState.ACTIVE)
C, D = "+8613700137000", "+8613600136000"
TRUNKS = (Trunk("east", ()),)
AXYB = binding(mode=Mode.AXYB, y=Y)
GXB = binding(mode=Mode.GXB, group="couriers")
GXYB = binding(mode=Mode.GXYB, y=Y, group="couriers")


def ask(
    dialled: str,
    caller: str,
    held: Mapping[tuple[str, str], Binding],
    *,
    blocks: tuple[Block, ...] = (BLOCK,),
    last: str = "",
    now_ms: int = NOW,
) -> Route | Refusal:
    query = Query(1, "east", dialled, caller, False)
    asked: list[str] = []

    def last_caller(identifier: str) -> str:
        asked.append(identifier)
        return last

    answer = decide(
        query, Plan(blocks), lambda *key: held.get(key), TRUNKS, (), now_ms, lambda: 0.0, last_caller=last_caller
    )
    assert set(asked) <= {one.id for one in held.values()}
    return answer


def store_of(one: Binding, *members: str) -> dict[tuple[str, str], Binding]:
    """What `find` gives for each key of a binding: for a member with himself as A."""
    return {key: replace(one, a=key[1]) if key[1] in members else one for key in keys(one, members)}


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (binding(), {(X, A), (X, B)}),
        (AXYB, {(X, A), (Y, B)}),
        (GXB, {(X, A), (X, C), (X, D), (X, B)}),
        (GXYB, {(X, A), (X, C), (X, D), (Y, B)}),
    ],
)
def test_the_keys_of_each_mode(one: Binding, expected: set[tuple[str, str]]) -> None:
    found = keys(one, (A, C, D) if one.group else ())
    assert set(found) == expected
    assert len(found) == len(expected)


def test_with_two_aliases_each_side_sees_the_number_that_it_would_dial() -> None:
    held = store_of(AXYB)
    assert ask(X, A, held) == Route(AXYB, "a", A, B, X, Y, ("east",))
    assert ask(Y, B, held) == Route(AXYB, "b", B, A, Y, X, ("east",))


def test_with_two_aliases_nobody_reaches_anybody_by_the_number_of_the_other() -> None:
    # even if an index said so
    held = {(number, caller): AXYB for number in (X, Y) for caller in (A, B)}
    assert ask(Y, A, held) == Refusal(Reason.CALLER_UNBOUND, A, Y)
    assert ask(X, B, held) == Refusal(Reason.CALLER_UNBOUND, B, X)


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (None, Reason.BLOCK_UNKNOWN),
        (replace(FAR, state=BlockState.FROZEN), Reason.BLOCK_INACTIVE),
        (replace(FAR, state=BlockState.ALLOCATED), Reason.BLOCK_INACTIVE),
        (FAR, None),
    ],
)
def test_a_number_is_shown_only_while_its_block_is_active(block: Block | None, reason: Reason | None) -> None:
    one = binding(mode=Mode.AXYB, y=FAR_Y)
    answer = ask(X, A, store_of(one), blocks=(BLOCK, block) if block else (BLOCK,))
    assert answer == (Refusal(reason, A, X, one) if reason else Route(one, "a", A, B, X, FAR_Y, ("east",)))


@pytest.mark.parametrize("one", [GXB, GXYB], ids=["GXB", "GXYB"])
@pytest.mark.parametrize("member", [A, C, D])
def test_any_member_reaches_b(one: Binding, member: str) -> None:
    answer = ask(X, member, store_of(one, A, C, D))
    shown = one.y or X
    assert answer == Route(replace(one, a=member), "a", member, B, X, shown, ("east",))


@pytest.mark.parametrize("one", [GXB, GXYB], ids=["GXB", "GXYB"])
@pytest.mark.parametrize(
    ("last", "reached"),
    [
        ("", A),
        (A, A),
        (C, C),
        (STRANGER, A),  # a member no more, or never one
        (B, A),
    ],
)
def test_b_reaches_the_member_who_called_last_else_the_default_one(one: Binding, last: str, reached: str) -> None:
    dialled = one.y or X
    answer = ask(dialled, B, store_of(one, A, C, D), last=last)
    assert answer == Route(replace(one, a=reached), "b", B, reached, dialled, X, ("east",))


def test_a_last_caller_whose_key_is_anothers_by_now_is_not_called() -> None:
    held = store_of(GXB, A, C) | {(X, C): binding(id="another", a=C, b=D)}
    answer = ask(X, B, held, last=C)
    assert isinstance(answer, Route)
    assert answer.callee == A


def test_a_store_that_fails_on_the_way_to_the_last_caller_refuses_the_call() -> None:
    def find(dialled: str, caller: str) -> Binding | None:
        if caller == C:
            raise StoreError("binding store: disk I/O error")
        return GXB

    answer = decide(
        Query(1, "east", X, B, False), Plan([BLOCK]), find, TRUNKS, (), NOW, lambda: 0.0, last_caller=lambda _: C
    )
    assert answer == Refusal(Reason.STORE_UNAVAILABLE, B, X, GXB)


def test_where_nobody_remembers_callers_b_reaches_the_default_one() -> None:
    held = store_of(GXB, A, C)
    query = Query(1, "east", X, B, False)
    answer = decide(query, Plan([BLOCK]), lambda *key: held.get(key), TRUNKS, (), NOW, lambda: 0.0)
    assert isinstance(answer, Route)
    assert answer.callee == A


def test_the_directions_of_a_group_are_those_of_its_side() -> None:
    one = replace(GXB, direction=Direction.A_TO_B)
    held = store_of(one, A, C)
    assert isinstance(ask(X, C, held), Route)
    assert ask(X, B, held) == Refusal(Reason.DIRECTION_BARRED, B, X, one)


# --- through the store ---


@pytest.fixture
async def couriers(store: Store) -> str:
    group = await store.groups.add("shop", "couriers", (A, C), NOW, by="test")
    return group.id


def routed(reader: Reader, dialled: str, caller: str, last: str = "") -> tuple[str, str] | Reason:
    """(who is called, what he sees), or why nobody is."""
    answer = decide(
        Query(1, "east", dialled, caller, False),
        reader.plan(),
        reader.find,
        TRUNKS,
        (),
        NOW,
        lambda: 0.0,
        last_caller=lambda _: last,
    )
    return (answer.callee, answer.shown) if isinstance(answer, Route) else answer.reason


async def test_axyb_through_the_store(store: Store, reader: Reader) -> None:
    bound = await store.bindings.bind(request(mode=Mode.AXYB, y=Y), NOW, by="test")
    assert (bound.x, bound.y, bound.mode) == (X, Y, Mode.AXYB)
    assert reader.find(X, A) == reader.find(Y, B) == bound
    assert routed(reader, X, A) == (B, Y)
    assert routed(reader, Y, B) == (A, X)
    assert routed(reader, Y, A) == routed(reader, X, B) == Reason.CALLER_UNBOUND


@pytest.mark.parametrize(("mode", "y"), [(Mode.GXB, ""), (Mode.GXYB, Y)])
async def test_groups_through_the_store(store: Store, reader: Reader, couriers: str, mode: Mode, y: str) -> None:
    bound = await store.bindings.bind(request(mode=mode, y=y, group=couriers), NOW, by="test")
    assert bound.group == couriers
    assert routed(reader, X, A) == routed(reader, X, C) == (B, y or X)
    assert routed(reader, y or X, B) == (A, X)
    assert routed(reader, y or X, B, last=C) == (C, X)
    assert routed(reader, y or X, B, last=STRANGER) == (A, X)
    assert routed(reader, X, STRANGER) == Reason.CALLER_UNBOUND


async def test_a_key_alone_makes_nobody_a_member(store: Store, reader: Reader, path: Path, couriers: str) -> None:
    await store.bindings.bind(request(mode=Mode.GXB, group=couriers), NOW, by="test")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DELETE FROM members WHERE place = 1")
    assert reader.find(X, C) is None
    assert routed(reader, X, C) == Reason.CALLER_UNBOUND


def test_membership_is_one_search_by_primary_key(store: Store, path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        steps = connection.execute(f"EXPLAIN QUERY PLAN {MEMBER}", ("", b"")).fetchall()
    assert [step[3] for step in steps] == ["SEARCH members USING PRIMARY KEY (party_group=? AND member=?)"]


async def test_two_bindings_with_one_y_are_told_apart_by_b(store: Store, reader: Reader) -> None:
    await store.bindings.bind(request(mode=Mode.AXYB, y=Y), NOW, by="test")
    await store.bindings.bind(request(mode=Mode.AXYB, x=f"{PREFIX}0003", y=Y, b=D), NOW, by="test")
    assert routed(reader, Y, B) == (A, X)
    assert routed(reader, Y, D) == (A, f"{PREFIX}0003")


async def test_an_expired_group_binding_says_so_to_its_members(store: Store, reader: Reader, couriers: str) -> None:
    await store.bindings.bind(request(mode=Mode.GXB, group=couriers), NOW - HOUR, by="test")
    found = reader.find(X, C)
    assert found is not None
    assert not found.live(NOW + HOUR)
