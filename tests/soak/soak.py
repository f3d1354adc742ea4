"""The soak: a node of real processes, people on both sides of it, and what must be true afterwards."""

import asyncio
import os
import random
import select
import socket
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import NamedTuple

from b2bua.app.control import ask
from b2bua.sip.timers import HORIZON
from cdr.seal import Seal, format_keyring, new_keyring
from cdr.store.sqlite import RecordStore
from routing.plan import Block, BlockState
from routing.store.sqlite import Store
from tests.bench.machine import resident_bytes
from tests.soak.clockwork import Clockwork
from tests.soak.phones import Callees, Callers, Line, Manners
from tests.soak.wire import Endpoint, LossyWire
from tests.system.node import BLOCK, BUSINESS, Process, binding
from tests.system.phones import now_ms
from tests.system.wire import free_port

__all__ = ["Plan", "Report", "SoakError", "run"]

LINES = 1000
# Calls this share of the plan are enough to speak of: chance and a busy machine take their part.
ENOUGH = 0.9
# Of all calls so few may come to nothing: a hundredth lost on every way can, very rarely, eat all repetitions.
MOST_FAILED = 0.001
# The longest pause between two looks at the sockets, in seconds, and the most messages taken in one go.
LOOK_SECONDS = 0.01
TURN = 200
RECORD_SECONDS = 30.0


class SoakError(Exception):
    """Nothing can be said about the switch; the text says why."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How long, how many, how bad. `most_growth` is in bytes, between the first and the last quarter after warm-up."""

    seconds: float = 600.0
    held: int = 2000
    rate: float = 200.0
    loss: float = 0.01
    seed: int = 700
    t1: float = 0.5
    most_growth: int = 2 << 20

    @property
    def manners(self) -> Manners:
        """People who talk long enough for so many calls to be up at once."""
        talk = self.held / self.rate
        manners = Manners(talk, t1=self.t1, t2=8 * self.t1)
        answered = 1 - manners.busy_share - manners.give_up_share
        return Manners(talk / answered, t1=self.t1, t2=8 * self.t1)

    @property
    def warm_up(self) -> float:
        """Until as much is let go as is taken: the longest call, after it 64 T1, and what a cancelled timer keeps."""
        return 3 * self.manners.talk_seconds + max(66 * self.t1, HORIZON + 2)


class Sample(NamedTuple):
    """One look at the switch, a second after the one before."""

    at: float
    resident: int
    calls: int


@dataclass(slots=True)
class Report:
    """Figures, and what is wrong: passed when there are no `complaints`."""

    plan: Plan
    attempts: int = 0
    finals: Counter[int] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    records: dict[str, int] = field(default_factory=dict)
    leftovers: dict[str, int] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)
    lost: int = 0
    passed: int = 0
    alarms: list[str] = field(default_factory=list)
    unfinished: int = 0

    @property
    def steady(self) -> Sequence[Sample]:
        """The samples after warm-up."""
        return [sample for sample in self.samples if sample.at >= self.plan.warm_up]

    @property
    def growth(self) -> int:
        """By how much the memory of the switch has grown between the first and the last quarter after warm-up."""
        quarter = max(1, len(self.steady) // 4)
        sizes = [sample.resident for sample in self.steady]
        return int(median(sizes[-quarter:]) - median(sizes[:quarter])) if sizes else 0

    @property
    def held(self) -> float:
        """Calls up at one time, as a rule."""
        return median(sample.calls for sample in self.steady) if self.steady else 0.0

    @property
    def failed(self) -> int:
        """Calls that ended as nobody wanted them to."""
        return sum(count for status, count in self.finals.items() if status not in (200, 486, 487))

    @property
    def complaints(self) -> list[str]:
        """All that is wrong."""
        plan, found = self.plan, [*self.alarms]
        if not self.steady:
            found.append(f"no time is left after a warm-up of {plan.warm_up:.0f} s")
        elif self.held < ENOUGH * plan.held:
            found.append(f"only {self.held:.0f} calls were up")
        if self.attempts < ENOUGH * plan.rate * plan.seconds:
            found.append(f"only {self.attempts} calls were placed")
        if self.growth > plan.most_growth:
            found.append(f"memory grew by {self.growth / 2**20:.1f} MiB, more than {plan.most_growth / 2**20:.1f}")
        if self.leftovers:
            found.append(f"left in tables: {self.leftovers}")
        if sum(self.records.values()) != self.attempts:
            found.append(f"{sum(self.records.values())} records of {self.attempts} attempts")
        if self.failed + self.unfinished + sum(self.faults.values()) > MOST_FAILED * self.attempts:
            found.append(f"{self.failed} calls failed, {self.unfinished} never ended, faults: {dict(self.faults)}")
        if any(name.endswith("number") for name in self.faults):
            found.append("a number crossed")
        return found

    def text(self) -> str:
        """For people."""
        sizes = [sample.resident / 2**20 for sample in self.steady] or [0.0]
        finals = ", ".join(f"{count} × {status}" for status, count in sorted(self.finals.items()))
        share = self.lost / max(1, self.lost + self.passed)
        lines = [
            f"{self.attempts} calls in {self.plan.seconds:.0f} s, {self.held:.0f} up at one time",
            f"{self.lost + self.passed} messages, {share:.2%} of them lost",
            f"final answers: {finals}",
            f"records: {', '.join(f'{count} {name}' for name, count in sorted(self.records.items()))}",
            f"memory after {self.plan.warm_up:.0f} s of warm-up: {min(sizes):.1f} to {max(sizes):.1f} MiB, "
            f"growth {self.growth / 2**20:+.2f} MiB (at most {self.plan.most_growth / 2**20:.1f})",
            f"entries left in tables: {sum(self.leftovers.values())}",
            *(f"FAULT: {name}: {count}" for name, count in self.faults.items()),
            *(f"FAILED: {complaint}" for complaint in self.complaints),
            "failed" if self.complaints else "passed",
        ]
        return "".join(f"{line}\n" for line in lines)


class _Node:
    """Switch and recorder, with a thousand bindings."""

    def __init__(self, plan: Plan, directory: Path, stack: ExitStack) -> None:
        self.data = directory / "data"
        self.data.mkdir()
        chance = random.Random()
        network = f"127.{chance.randint(10, 250)}.{chance.randint(1, 250)}"
        self.switch = _endpoint(f"{network}.1")
        self.callers = _endpoint(f"{network}.2")
        self.callees = _endpoint(f"{network}.3")
        self.lines = [Line(f"{BLOCK}{number:04}", f"138{number:08}", f"139{number:08}") for number in range(LINES)]
        keyring = new_keyring()
        keys = self.data / "keyring"
        keys.touch(mode=0o600)
        keys.write_text(format_keyring(keyring))
        config = directory / "x700.toml"
        milliseconds = int(1000 * plan.t1)
        config.write_text(
            f'[node]\nname = "soak"\ndata_dir = "{self.data}"\n'
            f'[sip]\nlisten = "{self.switch}"\nt1_ms = {milliseconds}\nt2_ms = {8 * milliseconds}\n'
            f't4_ms = {10 * milliseconds}\ndrain_seconds = 1\n[ops]\nlisten = "{network}.1:0"\n'
            f'[[trunk]]\nname = "callers"\npeers = ["{self.callers}"]\nprefixes = ["138"]\n'
            f'[[trunk]]\nname = "callees"\npeers = ["{self.callees}"]\nprefixes = ["139"]\n'
        )
        asyncio.run(self._provide(Seal(keyring)))
        environ = {name: value for name, value in os.environ.items() if not name.startswith("X700_")}
        self.processes = []
        for name in ("switch", "recorder"):
            process = Process([name, "--config", str(config)], environ, 0)
            stack.callback(process.close)
            self.processes.append(process.wait_ready())

    async def _provide(self, seal: Seal) -> None:
        async with await Store.open(self.data / "bindings.db", seal) as store:
            await store.registry.enrol("provider-1", BUSINESS, "delivery", now_ms=now_ms(), by="test")
            await store.blocks.add(Block(BLOCK, "provider-1", BUSINESS, BlockState.ACTIVE), now_ms(), by="test")
            for line in self.lines:
                await store.bindings.bind(binding(line.x, line.callee, line.caller), now_ms(), by="test")

    def tables(self) -> dict[str, int]:
        """The tables of the switch that are not empty."""
        tables = ask(self.data / "control.sock", command="tables")["tables"]
        assert isinstance(tables, dict)
        return {name: count for name, count in tables.items() if count}

    def records(self) -> dict[str, int]:
        """How many records there are, by outcome."""

        async def count() -> dict[str, int]:
            store = RecordStore(self.data / "records")
            try:
                return dict(await store.count())
            finally:
                await store.close()

        return asyncio.run(count())

    def resident(self) -> int:
        """Memory of the switch, in bytes."""
        return resident_bytes(self.processes[0].pid)

    def alarms(self) -> list[str]:
        """What was logged that must not be."""
        found = [line for process in self.processes for line in process.complaints()]
        found += [
            str(entry)
            for process in self.processes
            for entry in process.logged()
            if entry.get("level") in ("error", "critical")
        ]
        return found + [f"the process {process.pid} ended" for process in self.processes if not process.running]


def _endpoint(host: str) -> Endpoint:
    return Endpoint(host, free_port(host, socket.SOCK_DGRAM))


def run(plan: Plan, directory: Path) -> Report:
    """Place calls for as long as planned, let them end, and report. SoakError when the node does not start."""
    report = Report(plan)
    with ExitStack() as stack:
        try:
            node = _Node(plan, directory, stack)
        except (AssertionError, OSError) as error:
            raise SoakError(str(error)) from error
        _Run(plan, node, report, stack).go()
        report.alarms = node.alarms()
    return report


class _Run:
    """The loop of both sides."""

    def __init__(self, plan: Plan, node: _Node, report: Report, stack: ExitStack) -> None:
        chance = random.Random(plan.seed)
        self._plan, self._node, self._report = plan, node, report
        self._chance = chance
        self._clockwork = Clockwork()
        wires = [LossyWire(here, node.switch, plan.loss, chance) for here in (node.callers, node.callees)]
        for wire in wires:
            stack.callback(wire.close)
        self._callers = Callers(wires[0], plan.manners, self._clockwork, chance)
        self._callees = Callees(wires[1], plan.manners, self._clockwork, chance)

    def go(self) -> None:
        """All of it."""
        plan, node, report = self._plan, self._node, self._report
        self._begin = time.monotonic()
        self._clockwork.at(self._begin, self._dial)
        self._clockwork.at(self._begin, self._look)
        self._until(self._begin + plan.seconds)
        self._callers.hang_up_all(time.monotonic())
        # whatever is under way ends in 64 T1; then the transactions of that have as long again
        end = time.monotonic() + 2 * plan.manners.ring_seconds + 150 * plan.t1
        while self._busy() and time.monotonic() < end:
            self._until(time.monotonic() + 0.5)
        report.leftovers = node.tables()
        end = time.monotonic() + RECORD_SECONDS
        while sum(node.records().values()) < self._callers.attempts and time.monotonic() < end:
            time.sleep(0.5)
        report.records = node.records()
        report.attempts = self._callers.attempts
        report.finals = self._callers.ledger.finals
        report.faults = self._callers.ledger.faults + self._callees.ledger.faults
        report.unfinished = len(self._callers.calls)
        for side in (self._callers, self._callees):
            report.lost += side.wire.lost
            report.passed += side.wire.passed

    def _busy(self) -> bool:
        return bool(self._callers.calls or self._node.tables())

    def _dial(self, now: float) -> None:
        """The calls that are due, however late we are; the next one."""
        planned = int((now - self._begin) * self._plan.rate) + 1
        while self._callers.attempts < planned:
            self._callers.dial(self._chance.choice(self._node.lines), str(self._node.switch), now)
        due = self._begin + planned / self._plan.rate
        if due < self._begin + self._plan.seconds:
            self._clockwork.at(due, self._dial)

    def _look(self, now: float) -> None:
        calls = sum(1 for call in self._callers.calls.values() if call.ack)
        self._report.samples.append(Sample(now - self._begin, self._node.resident(), calls))
        if now + 1 < self._begin + self._plan.seconds:
            self._clockwork.at(now + 1, self._look)

    def _until(self, end: float) -> None:
        """Both sides, until then."""
        sides = (self._callers, self._callees)
        sockets = [side.wire.socket for side in sides]
        while (now := time.monotonic()) < end:
            due = self._clockwork.next()
            pause = min(end, now + LOOK_SECONDS, due if due is not None else end) - now
            select.select(sockets, [], [], max(0.0, pause))
            now = time.monotonic()
            for side in sides:
                for _ in range(TURN):
                    if not side.take(now):
                        break
            self._clockwork.turn(now)
