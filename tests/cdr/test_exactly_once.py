"""Whatever is killed, and whenever: exactly one record for every attempt, and it says what happened."""

import asyncio
import contextlib
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from b2bua.app.recorder import Recorder
from cdr.record import Event
from cdr.store.segments import Reader, Writer
from cdr.store.sqlite import RecordStore
from cdr.store.state import RecorderState
from tests.cdr.story import answered, attempted, boot, ended, kill, line, new_seal

MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


class Death(BaseException):
    """Stands for kill -9: nothing of ours may catch it."""


class World:
    """A switch and a recorder over one journal, both of which die when told."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.seal = new_seal()
        self.outcomes: dict[str, str] = {}
        self.up: list[str] = []
        self.instances = 0
        self.start_switch()

    def start_switch(self) -> None:
        self.writer = Writer(self.directory / "journal", 2048, 50)
        self.instances += 1
        for record_id in self.up:
            self.outcomes[record_id] = "interrupted"
        self.up = []
        self.tell(boot(f"instance-{self.instances}"))

    def tell(self, *events: Event) -> None:
        self.writer.append([line(event, self.seal) for event in events])

    def begin(self) -> None:
        record_id = f"r-{len(self.outcomes)}"
        self.outcomes[record_id] = ""
        self.up.append(record_id)
        self.tell(attempted(record_id))

    def answer(self, which: int) -> None:
        if self.up:
            self.tell(answered(self.up[which % len(self.up)]))

    def end(self, which: int) -> None:
        if self.up:
            record_id = self.up.pop(which % len(self.up))
            self.outcomes[record_id] = f"ended-{which}"
            self.tell(ended(record_id, outcome=f"ended-{which}"))

    def crash_switch(self, torn: int) -> None:
        rest = line(attempted("r-never"), self.seal)[:-1][: torn * 10]
        os.pwrite(self.writer._segment, rest, self.writer.position.offset)
        kill(self.writer)
        self.start_switch()

    def sync_fails(self) -> None:
        """The writer says all that is not synced a second time."""
        self.writer._suspect = True
        self.writer.sync()

    def record(self, dies_at: str = "") -> None:
        """Let a recorder catch up, or die before or after one of its steps."""

        async def work() -> None:
            recorder = await Recorder.open(
                self.directory / "journal", self.directory / "records", self.seal, asyncio.Event()
            )
            try:
                await recorder.catch_up()
            finally:
                await recorder.close()

        with deadly(dies_at), contextlib.suppress(Death):
            asyncio.run(work())

    def found(self) -> dict[str, str]:
        records = asyncio.run(RecordStore(self.directory / "records").list(limit=1000)).records
        found = {record.record_id: record.outcome for record in records}
        assert len(found) == len(records), "a record came twice"
        assert not any(record.partial for record in records)
        return found


@contextlib.contextmanager
def deadly(step: str) -> "contextlib.ExitStack[None]":  # type: ignore[misc]
    """Patch a step so that the process dies before or after it."""
    if not step:
        yield
        return
    when, name = step.split(" ")
    owner: type = {"add": RecordStore, "save": RecorderState, "remove_before": Reader}[name]
    real = getattr(owner, name)

    async def dies(*arguments: object) -> None:
        if when == "after":
            await real(*arguments)
        raise Death

    def dies_at_once(*arguments: object) -> None:
        if when == "after":
            real(*arguments)
        raise Death

    setattr(owner, name, dies_at_once if owner is Reader else dies)
    try:
        yield
    finally:
        setattr(owner, name, real)


STEPS = [f"{when} {name}" for when in ("before", "after") for name in ("add", "save", "remove_before")]
ACTIONS = st.one_of(
    st.tuples(st.just("begin")),
    st.tuples(st.just("begin")),
    st.tuples(st.just("answer"), st.integers(0, 5)),
    st.tuples(st.just("end"), st.integers(0, 5)),
    st.tuples(st.just("end"), st.integers(0, 5)),
    st.tuples(st.just("sync")),
    st.tuples(st.just("sync_fails")),
    st.tuples(st.just("crash_switch"), st.integers(0, 50)),
    st.tuples(st.just("record"), st.sampled_from(["", *STEPS])),
)


@given(st.lists(ACTIONS, max_size=40))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_exactly_one_record_for_every_attempt(actions: list[tuple[str] | tuple[str, int | str]]) -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY) as directory:
        world = World(Path(directory))
        for name, *arguments in actions:
            if name == "sync":
                world.writer.sync()
            else:
                getattr(world, name)(*arguments)
        world.crash_switch(0)
        world.record()
        kill(world.writer)
        assert world.found() == world.outcomes


# --- real processes, real kill -9 ---

SWITCH = """
import sys, time
from cdr.store.segments import Writer
from tests.cdr.story import attempted, answered, ended, boot, line, new_seal
directory, instance = sys.argv[1:]
writer, seal = Writer(directory, 20_000, 5), new_seal()
writer.append([line(boot(instance), seal)])
up = []
for number in range(1_000_000):
    record_id = f"{instance}-{number}"
    writer.append([line(attempted(record_id), seal)])
    print("begun", record_id, flush=True)
    up.append(record_id)
    if len(up) > 20:
        record_id = up.pop(number % 20)
        writer.append([line(answered(record_id), seal), line(ended(record_id), seal)])
        print("ended", record_id, flush=True)
    if number % 10 == 0:
        writer.sync()
        time.sleep(0.002)
"""
RECORDER = """
import asyncio, sys
from b2bua.app.recorder import run
from tests.cdr.story import NOVEMBER, new_seal
say = lambda recorder: print("at work", flush=True)
settings = {"poll_seconds": 0.005, "now_ms": lambda: NOVEMBER, "started": say}
asyncio.run(run(sys.argv[1], sys.argv[2], new_seal(), stop=asyncio.Event(), **settings))
"""
ROOT = Path(__file__).parents[2]


class Process:
    """A program that is killed some time after it has said something."""

    def __init__(self, program: str, *arguments: str) -> None:
        self._output = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-c", program, *arguments], cwd=ROOT, stdout=self._output, stderr=subprocess.STDOUT
        )

    def wait_until_at_work(self) -> None:
        for _ in range(1000):
            if os.fstat(self._output.fileno()).st_size or self._process.poll() is not None:
                return
            time.sleep(0.01)

    def kill(self) -> list[str]:
        """Kill it at once; the lines it has said, without one that the kill tore."""
        assert self._process.poll() is None, "it ended by itself"
        self._process.kill()
        self._process.wait()
        self._output.seek(0)
        said = self._output.read().decode().rpartition("\n")[0].splitlines()
        self._output.close()
        return said


@pytest.mark.parametrize("seed", [1, 2])
def test_kill_minus_nine_of_both_processes_under_load_loses_and_doubles_nothing(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    journal, records = str(tmp_path / "journal"), str(tmp_path / "records")
    lines: list[list[str]] = []
    for life in range(3):
        switch = Process(SWITCH, journal, f"life{life}")
        for _ in range(2):
            recorder = Process(RECORDER, journal, records)
            recorder.wait_until_at_work()
            time.sleep(chance.random() * 0.3)
            recorder.kill()
        lines += [text.split() for text in switch.kill()]
    begun = {words[1] for words in lines if words[0] == "begun"}
    over = {words[1] for words in lines if words[0] == "ended"}
    assert len(over) > 200
    writer = Writer(journal, 20_000, 5)
    writer.append([line(boot("last"), new_seal())])

    async def finish() -> dict[str, str]:
        recorder = await Recorder.open(journal, records, new_seal(), asyncio.Event())
        assert await recorder.catch_up()
        await recorder.close()
        found: dict[str, str] = {}
        cursor = ""
        while True:
            page = await RecordStore(records).list(limit=1000, cursor=cursor)
            for record in page.records:
                assert record.record_id not in found
                assert not record.partial
                found[record.record_id] = record.outcome
            cursor = page.cursor
            if not cursor:
                return found

    found = asyncio.run(finish())
    writer.close()
    # At each kill one event may have been written that nobody came to hear of.
    assert begun <= set(found)
    assert len(set(found) - begun) <= 3
    assert all(found[record_id] == "answered" for record_id in over)
    assert sum(outcome == "answered" for record_id, outcome in found.items() if record_id not in over) <= 3
    assert set(found.values()) == {"answered", "interrupted"}
