"""Profile §4 item 12 with the real store: what becomes of a binding or a block works on the next call within a second
and leaves the call that is up alone, unless the setting says otherwise."""

import asyncio
import time
from collections.abc import Callable

import pytest

from routing.plan import BlockState
from routing.store.sqlite import Store
from tests.system.node import ANSWERED, BLOCK, CALLER, PATIENCE, RINGS, Node, until
from tests.system.phones import Call, now_ms

Change = Callable[[Store], object]


async def end_binding(store: Store) -> None:
    (found,) = await store.bindings.list(x=ANSWERED.x)
    await store.bindings.end(found.id, now_ms(), by="test")


async def freeze(store: Store) -> None:
    await store.blocks.move(BLOCK, BlockState.FROZEN, now_ms(), by="test", reason="misuse")


async def return_block(store: Store) -> None:
    await freeze(store)
    for found in await store.bindings.list():
        await store.bindings.end(found.id, now_ms(), by="test")
    await store.blocks.move(BLOCK, BlockState.RETURNED, now_ms(), by="test", reason="given up")


def apply(node: Node, change: Callable[[Store], object]) -> None:
    async def work() -> None:
        async with await node.store() as store:
            await change(store)  # type: ignore[misc]

    asyncio.run(work())


def up(node: Node) -> Call:
    call = node.phones.place(ANSWERED.x, CALLER, None)
    assert call.answered.wait(PATIENCE)
    return call


@pytest.mark.parametrize("change", [end_binding, freeze, return_block])
def test_the_next_call_is_refused_within_a_second_and_the_one_that_is_up_goes_on(node: Node, change: Change) -> None:
    node.switch()
    call = up(node)
    apply(node, change)
    time.sleep(1.0)
    again = node.phones.place(ANSWERED.x, CALLER)
    assert again.over.wait(PATIENCE)
    assert again.final == 403
    assert not call.over.is_set()
    node.phones.hang_up(call)
    assert call.over.wait(PATIENCE)
    assert (call.bye_status, call.bye_received_ms) == (200, 0)


@pytest.mark.parametrize("change", [freeze, return_block])
def test_where_the_setting_says_so_a_block_takes_its_calls_with_it(node: Node, change: Change) -> None:
    node.write_config({"routing": {"inactive_block_ends_calls": True}})
    switch = node.switch()
    call = up(node)
    ringing = node.phones.place(RINGS.x, CALLER)
    until(lambda: 180 in ringing.statuses, "the ringing")
    changed_ms = now_ms()
    apply(node, change)
    assert call.over.wait(PATIENCE)
    assert ringing.over.wait(PATIENCE)
    assert call.bye_received_ms
    assert ringing.final == 403
    assert call.bye_received_ms - changed_ms < 1500
    assert switch.stop() == 0
    assert sorted(stored.record.reason for stored in node.record()) == ["block_ended", "block_ended"]


def test_a_binding_that_ends_takes_no_call_with_it_whatever_the_setting(node: Node) -> None:
    node.write_config({"routing": {"inactive_block_ends_calls": True}})
    node.switch()
    call = up(node)
    apply(node, end_binding)
    time.sleep(1.0)
    assert not call.over.is_set()
    node.phones.hang_up(call)
    assert call.over.wait(PATIENCE)
    assert call.bye_status == 200
