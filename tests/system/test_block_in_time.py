"""A block that is issued through the API stops new calls within one second, while 200 calls a second go on (R12)."""

import asyncio
import threading
import time

import httpx

from routing.access import Role
from tests.system.node import ANSWERED, BLOCK, CALLER, Node, binding, until
from tests.system.phones import Call, now_ms

RATE = 200  # calls a second of everybody else
VICTIM_RATE = 25  # of the one who is blocked
SECONDS = 7.0
BLOCK_AT, LIFT_AT = 2.0, 4.5
IN_TIME_MS = 1000
VICTIM = "13800138099"
VICTIM_X = f"{BLOCK}0050"
LIVE_X = f"{BLOCK}0051"


async def _provide(node: Node) -> str:
    async with await node.store() as store:
        for x in (VICTIM_X, LIVE_X):
            await store.bindings.bind(binding(x, ANSWERED.callee, VICTIM), now_ms(), by="test")
        _, secret = await store.keys.add("block", Role.OPERATOR, now_ms=now_ms(), by="test")
        return secret


class Load:
    """Calls at a steady rate from a thread of its own: ``count`` of them, however late it gets."""

    def __init__(self, node: Node, number: str, caller: str, rate: float) -> None:
        self.calls: list[Call] = []
        self._place = lambda: self.calls.append(node.phones.place(number, caller))
        self._rate, self._count = rate, int(rate * SECONDS)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        began = time.monotonic()
        for index in range(self._count):
            time.sleep(max(0.0, began + index / self._rate - time.monotonic()))
            self._place()


def test_a_block_through_the_api_bites_within_a_second_under_load(node: Node) -> None:
    node.write_config({"limits": {"overload_delay_ms": 0}})  # on a busy machine no call is to be turned away for that
    secret = asyncio.run(_provide(node))
    supervisor = node.start("run").wait_ready()
    up = node.phones.place(LIVE_X, VICTIM, None)
    until(up.answered.is_set, "the call that is up")
    headers = {"Authorization": f"Bearer {secret}"}
    with httpx.Client(base_url=f"http://{node.api.host}:{node.api.port}", headers=headers, timeout=10) as client:
        began = time.monotonic()
        others, victims = Load(node, ANSWERED.x, CALLER, RATE), Load(node, VICTIM_X, VICTIM, VICTIM_RATE)
        time.sleep(began + BLOCK_AT - time.monotonic())
        asked_ms = now_ms()
        entry = client.post("/v1/blocklist", json={"kind": "caller", "value": VICTIM, "reason": "case", "cut": True})
        blocked_ms = now_ms()
        assert entry.status_code == 201, entry.text
        time.sleep(max(0.0, began + LIFT_AT - time.monotonic()))
        lift_ms = now_ms()
        lifted = client.post(f"/v1/blocklist/{entry.json()['id']}/lift", json={"reason": "cleared"})
        lifted_ms = now_ms()
        assert lifted.status_code == 200, lifted.text
    for load in (others, victims):
        load.thread.join()
    until(lambda: all(call.over.is_set() for call in (*others.calls, *victims.calls)), "the last call")
    assert {call.final for call in others.calls} == {200}, "somebody else's call failed"
    assert len(others.calls) == RATE * SECONDS
    told = {"before": set[int](), "blocked": set[int](), "after": set[int]()}
    for call in victims.calls:
        sent_ms = call.sent_ms[0]
        if call.final_ms < asked_ms:
            told["before"].add(call.final)
        elif blocked_ms + IN_TIME_MS < sent_ms and call.final_ms < lift_ms:
            told["blocked"].add(call.final)
        elif lifted_ms + IN_TIME_MS < sent_ms:
            told["after"].add(call.final)
    assert told == {"before": {200}, "blocked": {403}, "after": {200}}
    assert 0 < up.bye_received_ms - asked_ms <= blocked_ms - asked_ms + IN_TIME_MS, "the live call went on"
    # from the first 403 to the lift no call came through
    refused = [call.sent_ms[0] for call in victims.calls if call.final == 403]
    let_through = [call.sent_ms[0] for call in victims.calls if call.final == 200]
    assert not [ms for ms in let_through if refused[0] < ms < lift_ms]
    assert supervisor.stop() == 0
    reasons = [stored.record.reason for stored in node.stored() if stored.parties.a == f"+86{VICTIM}"]
    assert reasons.count("caller_blocked") == len(refused)
    assert reasons.count("blocked") == 1
    assert len(node.stored()) == len(others.calls) + len(victims.calls) + 1
