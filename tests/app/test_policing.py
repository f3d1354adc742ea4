"""What the shell does for the policy: cuts in parts, fan-outs told and acted on, counts written down."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from b2bua.app import enforcer as enforcer_module
from b2bua.app import policing as module
from b2bua.app.config import Settings
from b2bua.app.enforcer import Enforcer, Order
from b2bua.app.policing import Policing
from b2bua.call.switch import Now
from cdr.journal import Position
from cdr.seal import Seal, new_keyring
from routing.blocklist import BlockEntry, BlockKind
from routing.counters import Alert, Counters
from routing.last_callers import LastCallers
from routing.policy import NO_POLICY, Policy, PolicySettings
from routing.store.sqlite import Store
from tests.call.world import BINDING, NUMBER_A, NUMBER_B

NOW = 1_800_000_000_000
SEAL = Seal(new_keyring())
ALERT = Alert("+8613800138000", 101, "shop", "delivery")


class Rig:
    """Policing on a switch of nothing but names of calls."""

    def __init__(self, settings: Settings, calls: int = 0) -> None:
        self.told: list[tuple[str, dict[str, object]]] = []
        self.soon: list[Callable[[], None]] = []
        self.seen: list[int] = []
        self.calls = list(range(calls))
        self.messages_cut = 0
        self.switch = SimpleNamespace(
            counters=Counters(),
            last_callers=LastCallers(),
            undecided=list,
            live_handles=lambda: list(self.calls),
            cut=self._cut,
            cut_messages=self._cut_messages,
        )
        self.policing = Policing(
            settings,
            SEAL,
            self.switch,  # type: ignore[arg-type]
            lambda event, **fields: self.told.append((event, fields)),
            self._enter,
            self.soon.append,
        )

    def _enter(self, entry: Callable[[Now], object]) -> None:
        entry(Now(0.0, NOW))

    def _cut(self, handles: list[int], ends: Callable[[Any, int], bool], now: Now) -> int:
        self.seen += handles
        call = SimpleNamespace(binding=BINDING, caller_number=NUMBER_A, callee_number=NUMBER_B)
        assert not ends(SimpleNamespace(binding=None), now.utc_ms)
        return sum(ends(call, now.utc_ms) for _ in handles)

    def _cut_messages(self, ends: Callable[..., bool], now: Now) -> int:
        self.messages_cut += 1
        return 0

    def events(self) -> list[str]:
        return [event for event, _ in self.told]


def cutting(provider: str) -> Policy:
    until = NOW + 1
    fresh = (BlockEntry(BlockKind.PROVIDER, provider, until, True),)
    return Policy(PolicySettings(), {BlockKind.PROVIDER: {provider: until}}, fresh_cuts=fresh)


def test_live_calls_are_gone_through_in_parts_with_others_turns_in_between(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CUT_AT_ONCE", 4)
    rig = Rig(settings, 10)
    rig.policing.take(cutting("provider"))
    assert rig.seen == [0, 1, 2, 3]
    assert rig.messages_cut == 1
    while rig.soon:
        rig.soon.pop(0)()
    assert rig.seen == list(range(10))
    assert rig.policing.cut_calls == 10
    rig.policing.take(cutting("another"))
    assert rig.policing.cut_calls == 10


def test_a_policy_without_new_cuts_looks_at_no_call(settings: Settings) -> None:
    rig = Rig(settings, 10)
    rig.policing.take(NO_POLICY)
    assert (rig.seen, rig.messages_cut) == ([], 0)


def test_a_fan_out_is_logged_masked_and_handed_on_once(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    orders: list[Order] = []
    monkeypatch.setattr(Enforcer, "put", lambda self, order: orders.append(order))
    rig = Rig(settings)
    rig.switch.counters.alerts.append(ALERT)
    rig.policing.heed(NOW)
    rig.policing.heed(NOW)
    assert rig.told == [
        ("fan_out", {"caller": "138****8000", "numbers": 101, "business_user": "shop", "scenario": "delivery"})
    ]
    assert orders == [Order(ALERT, 0, NOW)]


def test_nothing_is_written_down_before_the_start_nor_while_the_last_is_being_written(settings: Settings) -> None:
    rig = Rig(settings)
    rig.policing.remember(Position(1, 1), NOW)
    rig.policing.start(NO_POLICY, NOW)
    memory = rig.policing.memory
    assert memory is not None
    memory._batch = SimpleNamespace()  # type: ignore[assignment]
    rig.switch.last_callers.note("b", "+8613800138000")
    rig.policing.remember(Position(1, 1), NOW)
    memory._batch = None
    assert rig.switch.last_callers.changes() == [("b", "+8613800138000")]
    memory.lost = True
    rig.policing.remember(Position(1, 1), NOW)
    end = time.monotonic() + 5.0
    while memory.busy:
        assert time.monotonic() < end
        time.sleep(0.002)
    assert memory.last_caller("b") == "+8613800138000"
    assert not memory.lost
    rig.policing.close()


# the enforcer


async def store_of(path: Path) -> Store:
    store = await Store.open(path, SEAL)
    await store.registry.enrol("provider", "shop", "delivery", now_ms=NOW, by="test")
    return store


def enforce(path: Path, *orders: Order) -> list[str]:
    """Have orders carried out; what was logged."""
    told: list[str] = []
    enforcer = Enforcer(path, SEAL, lambda event, **fields: told.append(event))
    for order in orders:
        enforcer.put(order)
    enforcer.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "enforcer"]
    return told


async def test_a_fan_out_goes_into_the_credit_file_and_blocks_once(tmp_path: Path) -> None:
    path = tmp_path / "bindings.db"
    async with await store_of(path) as store:
        told = enforce(path, Order(ALERT, 0, NOW), Order(ALERT, 60, NOW), Order(ALERT, 60, NOW + 1))
        assert told == ["fan_out_blocked"]
        (entry,) = await store.blocklist.list()
        assert (entry.kind, entry.value, entry.by, entry.expires_ms) == (
            BlockKind.CALLER,
            ALERT.caller,
            "switch",
            NOW + 60_000,
        )
        assert (await store.credit.file("shop")).totals == {"fan_out": 3, "blocked": 1}


async def test_a_business_user_that_is_not_registered_is_told_and_tried_no_more(tmp_path: Path) -> None:
    path = tmp_path / "bindings.db"
    async with await Store.open(path, SEAL):
        assert enforce(path, Order(ALERT, 60, NOW)) == ["fan_out_not_recorded"]


def test_a_store_that_cannot_be_written_is_tried_again_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enforcer_module, "RETRY_SECONDS", 0.001)
    told: list[str] = []
    enforcer = Enforcer(tmp_path / "absent" / "bindings.db", SEAL, lambda event, **fields: told.append(event))
    enforcer.put(Order(ALERT, 60, NOW))
    end = time.monotonic() + 5.0
    while not told:
        assert time.monotonic() < end
        time.sleep(0.002)
    enforcer.close()
    assert told == ["fan_out_not_recorded"]


def test_orders_beyond_the_queue_are_told_and_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enforcer_module, "MOST_WAITING", 1)
    monkeypatch.setattr(Enforcer, "_run", lambda self: None)
    told: list[str] = []
    enforcer = Enforcer(tmp_path / "bindings.db", SEAL, lambda event, **fields: told.append(event))
    for _ in range(2):
        enforcer.put(Order(ALERT, 60, NOW))
    assert told == ["fan_out_not_recorded"]
    enforcer.close()


def test_an_enforcer_that_had_nothing_to_do_has_no_thread(tmp_path: Path) -> None:
    assert enforce(tmp_path / "bindings.db") == []
