"""Policy on a node of real processes: counts that outlive a kill, blocks that bite in time, fan-outs that block."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from routing.blocklist import Blocked, BlockKind, BlockRequest
from routing.credit import Violation
from routing.store.sqlite import Store
from tests.system.node import ANSWERED, BUSINESS, BUSY, CALLER, HANGS_UP, Node, until
from tests.system.phones import Call, now_ms

T = TypeVar("T")
IN_TIME = 1.0  # seconds within which a block works (R12)


def do(node: Node, work: Callable[[Store], Awaitable[T]]) -> T:
    """Something in the store, while the switch runs."""

    async def run() -> T:
        async with await node.store() as store:
            return await work(store)

    return asyncio.run(run())


def block(node: Node, kind: BlockKind, value: str, *, cut: bool = False) -> Blocked:
    request = BlockRequest(kind, value, "complaints", cut=cut)
    return do(node, lambda store: store.blocklist.add(request, now_ms(), by="test"))


def final(node: Node, number: str) -> int:
    """The final status of a call that is hung up as soon as it is answered."""
    call = node.phones.place(number, CALLER, 0.0)
    until(call.over.is_set, "the call to end")
    return call.final


def test_a_killed_switch_forgets_no_attempt_that_counts(node: Node) -> None:
    """A cap of 20 a day lets 20 through, however often the process dies in between."""
    node.write_config({"policy": {"binding_per_day": 20}})
    calls: list[Call] = []
    for life in range(4):
        switch = node.switch()
        for _ in range(8):
            calls.append(node.phones.place(ANSWERED.x, CALLER, 0.0))
            time.sleep(0.02)
        if life % 2:
            time.sleep(1.2)  # written down meanwhile
        switch.kill()
    switch = node.switch()
    assert switch.events("counts_restored")
    for _ in range(10):
        calls.append(node.phones.place(ANSWERED.x, CALLER, 0.0))
        until(calls[-1].over.is_set, "the call to end")
    assert switch.stop() == 0
    until(lambda: all(call.over.is_set() for call in calls), "the last call to end")
    reasons = [stored.record.reason for stored in node.record()]
    assert len(reasons) - reasons.count("binding_cap") == 20
    assert calls[-1].final == 403


def test_a_block_refuses_and_cuts_within_a_second_and_a_lift_admits_again(node: Node) -> None:
    node.switch()
    call = node.phones.place(ANSWERED.x, CALLER, None)
    until(call.answered.is_set, "the answer")
    entry = block(node, BlockKind.CALLER, CALLER, cut=True)
    until(lambda: call.bye_received_ms, "the call to be cut", IN_TIME)
    assert final(node, HANGS_UP.x) == 403
    assert node.count("x700_blocklist_entries", kind="caller") == 1
    assert node.count("x700_cut_calls") == 1
    assert node.count("x700_refusals", reason="caller_blocked") == 1
    do(node, lambda store: store.blocklist.lift(entry.id, now_ms(), by="test", reason="over"))
    until(lambda: final(node, BUSY.x) == 486, "the lift to work", IN_TIME)
    node.phones.hang_up(call)
    reasons = [stored.record.reason for stored in node.record()]
    assert reasons[0] == "blocked"
    assert reasons.count("caller_blocked") >= 1


def test_a_fan_out_is_told_kept_and_blocked_by_the_switch_itself(node: Node) -> None:
    node.write_config({"policy": {"fan_out_numbers": 1, "fan_out_block_seconds": 600}})
    switch = node.switch()
    assert final(node, HANGS_UP.x) == 200
    assert final(node, BUSY.x) == 486
    (told,) = until(lambda: switch.events("fan_out"), "the fan-out to be told")
    assert (told["caller"], told["numbers"], told["business_user"]) == ("138****8000", 2, BUSINESS)
    until(lambda: final(node, BUSY.x) == 403, "the caller to be blocked")
    (entry,) = do(node, lambda store: store.blocklist.list())
    assert (entry.kind, entry.value, entry.by, entry.business_user) == (
        BlockKind.CALLER,
        f"+86{CALLER}",
        "switch",
        BUSINESS,
    )
    assert 590_000 < entry.expires_ms - entry.created_ms <= 600_000
    violations = {each.violation for each in do(node, lambda store: store.credit.list(BUSINESS))}
    assert violations == {Violation.FAN_OUT, Violation.BLOCKED}
    assert node.count("x700_fan_out") == 1


def test_a_reload_changes_caps_while_calls_go_on(node: Node) -> None:
    node.switch()
    assert final(node, BUSY.x) == 486
    node.write_config({"policy": {"caller_per_day": 1}})
    answer = node.ask(command="reload")
    assert answer["changed"] == ["policy.caller_per_day"]
    assert [final(node, BUSY.x) for _ in range(2)] == [486, 403]
    node.write_config({"policy": {"deny": ["138"]}})
    node.ask(command="reload")
    assert final(node, BUSY.x) == 403
    node.write_config({})
    node.ask(command="reload")
    assert final(node, BUSY.x) == 486
