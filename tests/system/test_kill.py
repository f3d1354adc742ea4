"""kill -9 under load: every call that got a final answer has exactly one record, and so has each that was cut off."""

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest

from tests.system.node import ANSWERED, BUSY, CALLER, HANGS_UP, UNBOUND, Node, Stored, until
from tests.system.phones import Call, now_ms

RATE = 80  # calls a second
LIVES = 4  # the switch is killed between two of them
LIFE_SECONDS = (0.4, 1.5)
# What a dead process had sent is read, and told apart from what the next one sends, within this time.
HUSH_SECONDS = 0.3
RECORDERS = 5
RECORDER_SECONDS = (0.1, 0.8)
KINDS: tuple[tuple[str, int], ...] = ((ANSWERED.x, 6), (HANGS_UP.x, 3), (BUSY.x, 2), (UNBOUND, 1))
TALKS = (0.0, 0.1, 0.3, 1.0, 3.0, None)  # None: up until everything is over
FINAL = {ANSWERED.x: 200, HANGS_UP.x: 200, BUSY.x: 486, UNBOUND: 403}


class Life(NamedTuple):
    """From when to when one switch process lived; UTC ms."""

    began_ms: int
    ended_ms: int

    def holds(self, ms: int) -> bool:
        return self.began_ms <= ms <= self.ended_ms


class Load:
    """Calls at a steady rate, of all kinds, from a thread of its own."""

    def __init__(self, node: Node, chance: random.Random) -> None:
        self.calls: list[Call] = []
        self._node = node
        self._chance = chance
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        numbers, weights = zip(*KINDS, strict=True)
        at = time.monotonic()
        while not self._stop.is_set():
            (number,) = self._chance.choices(numbers, weights)
            self.calls.append(self._node.phones.place(number, CALLER, self._chance.choice(TALKS)))
            at += 1 / RATE
            time.sleep(max(0.0, at - time.monotonic()))

    @contextmanager
    def running(self) -> Iterator[None]:
        """Call while the body runs; afterwards let every call come to its end."""
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join()
        until(self._over, "the last call to end")

    def _over(self) -> bool:
        open_calls = [call for call in self.calls if not call.over.is_set()]
        for call in open_calls:
            if call.answered.is_set():
                self._node.phones.hang_up(call)
        return not open_calls


@pytest.fixture
def chance() -> random.Random:
    """Randomness that a failed test names, to be had again."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")  # noqa: T201 (shown with a failure only)
    return random.Random(seed)


def test_a_killed_switch_leaves_one_record_for_every_call(node: Node, chance: random.Random) -> None:
    load, lives = Load(node, chance), list[Life]()
    recorder = node.recorder()
    began = now_ms()
    switch = node.switch()
    with load.running():
        for _ in range(LIVES - 1):
            time.sleep(chance.uniform(*LIFE_SECONDS))
            switch.kill()
            time.sleep(HUSH_SECONDS)
            lives.append(Life(began, now_ms()))
            began = lives[-1].ended_ms + 1
            switch = node.switch()
        time.sleep(chance.uniform(*LIFE_SECONDS))
    assert switch.stop() == 0
    lives.append(Life(began, now_ms()))
    assert recorder.stop() == 0
    check(node, load.calls, lives)
    outcomes = Counter(stored.record.outcome for stored in node.stored())
    assert min(outcomes[name] for name in ("answered", "busy", "refused", "interrupted")) > 0, outcomes


def test_a_killed_recorder_stores_every_record_once(node: Node, chance: random.Random) -> None:
    load = Load(node, chance)
    began = now_ms()
    recorder, switch = node.recorder(), node.switch()
    with load.running():
        for _ in range(RECORDERS):
            time.sleep(chance.uniform(*RECORDER_SECONDS))
            recorder.kill()
            recorder = node.recorder()
    assert switch.stop() == 0
    recorder.kill()
    node.record()
    check(node, load.calls, [Life(began, now_ms())])
    assert {call.final for call in load.calls} == set(FINAL.values())
    assert "interrupted" not in {stored.record.outcome for stored in node.stored()}
    assert len(node.stored()) == len(load.calls)


def test_whichever_child_is_killed_is_started_again_and_no_call_lost(node: Node, chance: random.Random) -> None:
    load = Load(node, chance)
    lives, began = list[Life](), now_ms()
    supervisor = node.start("run").wait_ready()
    with load.running():
        for child in chance.sample(["switch", "recorder"] * 2, 4):
            time.sleep(chance.uniform(*LIFE_SECONDS))
            started = supervisor.events("child_started")
            pid = [entry["pid"] for entry in started if entry["child"] == child][-1]
            assert isinstance(pid, int)
            deaths, ready = len(supervisor.events("child_died")), len(supervisor.events("child_ready"))
            os.kill(pid, signal.SIGKILL)
            until(lambda: len(supervisor.events("child_died")) > deaths, "the supervisor to notice")  # noqa: B023
            if child == "switch":  # the pause before the next one is time enough for what is under way to arrive
                lives.append(Life(began, now_ms()))
                began = lives[-1].ended_ms + 1
            until(lambda: len(supervisor.events("child_ready")) > ready, f"the {child} to be back")  # noqa: B023
        time.sleep(LIFE_SECONDS[0])
    assert supervisor.stop() == 0
    lives.append(Life(began, now_ms()))
    check(node, load.calls, lives)


def check(node: Node, calls: list[Call], lives: list[Life]) -> None:
    """Both phones' memories against the records, life by life."""
    records: dict[tuple[int, str], list[Stored]] = {}
    for stored in node.stored():
        (number,) = [each for each, life in enumerate(lives) if life.holds(stored.record.arrived_ms)]
        records.setdefault((number, stored.parties.ingress_call_id), []).append(stored)
    doubled = {key: found for key, found in records.items() if len(found) > 1}
    assert not doubled
    assert {call_id for _, call_id in records} <= {call.call_id for call in calls}
    for number, life in enumerate(lives):
        of_life = {call_id: found[0].record for (where, call_id), found in records.items() if where == number}
        # nothing lost before it could be told: the switch numbers its attempts
        sequences = sorted(record.sequence for record in of_life.values())
        assert sequences == list(range(1, len(sequences) + 1))
        for call in calls:
            record = of_life.get(call.call_id)
            seen = [taken for taken in node.phones.taken(call) if life.holds(taken.ms)]
            assert len(seen) <= 1
            assert record is not None or not seen, f"the callee was reached by call {call}, which has no record"
            if not (call.final and life.holds(call.final_ms)):
                continue
            assert record is not None, f"no record of {call}"
            assert record.status == call.final == FINAL[call.number], call
            assert not record.partial
            ended = life.holds(call.bye_ms) and call.bye_status == 200
            hung_up = life.holds(call.bye_sent_ms) or life.holds(call.bye_received_ms)
            if ended or call.bye_received_ms or call.final >= 300:
                assert record.outcome != "interrupted", call
            elif not hung_up and number < len(lives) - 1:
                assert record.outcome == "interrupted", call
                assert (record.answered_ms > 0, record.talk_ms, record.ended_by) == (True, 0, "switch")
