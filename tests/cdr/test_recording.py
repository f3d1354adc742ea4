"""The recorder process at work: from the journal into records, whatever happens between."""

import asyncio
import contextlib
import errno
import os
import signal
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from b2bua.app.recorder import Recorder, run, run_recorder
from cdr.journal import Position, frame
from cdr.record import Event, Parties, reveal
from cdr.retention import RetentionError
from cdr.seal import Seal
from cdr.store.segments import JournalError, Reader, Writer
from cdr.store.sqlite import RecordStore, StoreError, read_position, read_status
from cdr.store.state import RecorderState
from tests.cdr.story import (
    CALL_ID,
    CALLEE,
    CALLER,
    NOVEMBER,
    answered,
    attempted,
    boot,
    ended,
    kill,
    line,
    new_seal,
    segment_files,
)

SEGMENT = 4096
CALL = ("attempted", "answered", "ended")


class Node:
    """A journal with its writer, a records directory, and recorders that come and go."""

    def __init__(self, directory: Path) -> None:
        self.seal = new_seal()
        self.journal = directory / "journal"
        self.records = directory / "records"
        self.writer = Writer(self.journal, SEGMENT, 50)
        self.store = RecordStore(self.records)
        self.stop = asyncio.Event()
        self.now_ms = NOVEMBER

    def tell(self, *events: Event) -> None:
        self.writer.append([line(event, self.seal) for event in events])
        self.writer.sync()

    def call(self, record_id: str) -> None:
        self.tell(attempted(record_id), answered(record_id))
        self.tell(ended(record_id))

    def restart(self, instance: str) -> None:
        kill(self.writer)
        self.writer = Writer(self.journal, SEGMENT, 50)
        self.tell(boot(instance))

    @contextlib.asynccontextmanager
    async def recorder(self, **settings: int) -> AsyncIterator[Recorder]:
        recorder = await Recorder.open(
            self.journal, self.records, self.seal, self.stop, now_ms=lambda: self.now_ms, **settings
        )
        try:
            yield recorder
        finally:
            await recorder.close()

    async def record(self) -> None:
        async with self.recorder() as recorder:
            assert await recorder.catch_up()

    async def outcomes(self) -> dict[str, str]:
        page = await self.store.list(limit=1000)
        found = {record.record_id: record.outcome for record in page.records}
        assert len(found) == len(page.records)
        return found


async def until(true: Callable[[], bool]) -> None:
    for _ in range(500):
        if true():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it did not happen")


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    node = Node(tmp_path)
    yield node
    node.writer.close()


async def test_a_call_becomes_a_record(node: Node) -> None:
    node.tell(boot())
    node.call("r-1")
    await node.record()
    record = await node.store.show("r-1")
    assert record is not None
    assert record.outcome == "answered"
    assert reveal(record, node.seal) == Parties(CALLER, CALLEE, "", CALL_ID)
    assert read_position(node.records) == node.writer.position
    assert node.writer.backlog(read_position(node.records)) == 0


async def test_segments_that_are_stored_are_removed(node: Node) -> None:
    for number in range(40):
        node.call(f"r-{number}")
    assert len(segment_files(node.journal)) > 3
    await node.record()
    assert len(segment_files(node.journal)) == 1
    assert len(await node.outcomes()) == 40


async def test_a_call_may_stretch_over_many_recorders_and_segments(node: Node) -> None:
    node.tell(attempted("long"))
    await node.record()
    for number in range(20):
        node.call(f"r-{number}")
    await node.record()
    node.tell(answered("long"))
    await node.record()
    node.tell(ended("long", outcome="long"))
    await node.record()
    record = await node.store.show("long")
    assert record is not None
    assert (record.outcome, record.answered_ms, record.partial) == ("long", NOVEMBER + 5000, False)


async def test_a_switch_that_was_killed_leaves_interrupted_calls(node: Node) -> None:
    node.tell(boot("first"), attempted("r-1"), attempted("r-2"), ended("r-2"))
    await node.record()
    node.restart("second")
    node.tell(attempted("r-3"))
    await node.record()
    assert await node.outcomes() == {"r-1": "interrupted", "r-2": "answered"}


async def test_damage_costs_its_line_and_is_said(node: Node) -> None:
    for number in range(3):
        node.call(f"r-{number}")
    path = node.journal / "journal-0000000001.log"
    data = bytearray(path.read_bytes())
    data[data.index(b'"r-1"') + 1] ^= 1
    path.write_bytes(data)
    node.tell(boot())
    node.restart("second")
    async with node.recorder() as recorder:
        await recorder.catch_up()
        assert (recorder.status.damaged, recorder.status.partial) == (1, 1)
    record = await node.store.show("r-1")
    assert record is not None
    assert (record.partial, record.outcome, record.x) == (True, "answered", "")
    assert (node.journal / "journal-0000000001.damaged").read_bytes()[:500] == data[:500]
    assert len(await node.outcomes()) == 3


async def test_a_line_that_this_version_does_not_know_is_kept_for_one_that_does(node: Node) -> None:
    node.writer.append([frame(b'["transferred","r-1"]')])
    node.call("r-1")
    async with node.recorder() as recorder:
        await recorder.catch_up()
        assert recorder.status.damaged == 1
    assert (node.journal / "journal-0000000001.damaged").exists()
    assert await node.outcomes() == {"r-1": "answered"}


async def test_a_torn_end_is_counted_apart_from_damage(node: Node) -> None:
    node.call("r-1")
    os.pwrite(node.writer._segment, b"0123", node.writer.position.offset)
    node.restart("second")
    async with node.recorder() as recorder:
        await recorder.catch_up()
        assert (recorder.status.torn, recorder.status.damaged) == (1, 0)


async def test_a_journal_that_was_replaced_is_read_from_its_start(node: Node, tmp_path: Path) -> None:
    for number in range(40):
        node.call(f"r-{number}")
    await node.record()
    node.writer.close()
    for path in node.journal.iterdir():
        path.unlink()
    node.writer = Writer(node.journal, SEGMENT, 50)
    node.call("r-new")
    await node.record()
    assert len(await node.outcomes()) == 41


# --- dying between two steps ---


@pytest.mark.parametrize(("owner", "name"), [(RecordStore, "add"), (RecorderState, "save")])
@pytest.mark.parametrize("after", [False, True])
async def test_a_recorder_that_dies_at_any_step_repeats_without_harm(
    node: Node, monkeypatch: pytest.MonkeyPatch, owner: type, name: str, after: bool
) -> None:
    class Death(BaseException):
        pass

    real = getattr(owner, name)

    async def dies(*arguments: object) -> object:
        if after:
            await real(*arguments)
        raise Death

    node.tell(boot("first"), attempted("r-1"), attempted("r-2"), answered("r-1"), ended("r-1"))
    monkeypatch.setattr(owner, name, dies)
    with pytest.raises(Death):
        await node.record()
    monkeypatch.undo()
    node.tell(ended("r-2"))
    await node.record()
    assert await node.outcomes() == {"r-1": "answered", "r-2": "answered"}
    record = await node.store.show("r-1")
    assert record is not None
    assert record.answered_ms == NOVEMBER + 5000


async def test_a_recorder_that_dies_before_removing_segments_removes_them_later(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_arguments: object) -> None:
        raise KeyError

    for number in range(20):
        node.call(f"r-{number}")
    monkeypatch.setattr(Reader, "remove_before", dies)
    with pytest.raises(KeyError):
        await node.record()
    monkeypatch.undo()
    await node.record()
    assert len(segment_files(node.journal)) == 1
    assert len(await node.outcomes()) == 20


# --- a disk that fails ---


async def test_a_store_that_refuses_is_tried_again_until_it_takes(node: Node) -> None:
    node.call("r-0")
    await node.record()
    path = node.records / "records-2026-11.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TRIGGER full BEFORE INSERT ON records BEGIN SELECT RAISE(ABORT, 'full'); END")
    node.call("r-1")
    async with node.recorder() as recorder:
        working = asyncio.create_task(recorder.catch_up())
        await until(lambda: "full" in read_status(node.records).error)
        before = read_position(node.records)
        assert node.writer.backlog(before) > 0
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("DROP TRIGGER full")
        assert await asyncio.wait_for(working, 5)
        assert recorder.status.error == ""
    assert await node.outcomes() == {"r-0": "answered", "r-1": "answered"}


async def test_a_recorder_that_is_stopped_while_the_store_refuses_leaves_the_journal_as_it_is(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuses(*_arguments: object) -> int:
        node.stop.set()
        raise StoreError("no")

    node.call("r-1")
    monkeypatch.setattr(RecordStore, "add", refuses)
    await asyncio.wait_for(run(node.journal, node.records, node.seal, stop=node.stop), 5)
    monkeypatch.undo()
    assert await node.outcomes() == {}
    await node.record()
    assert await node.outcomes() == {"r-1": "answered"}


async def test_a_journal_that_cannot_be_read_is_said_and_read_later(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_arguments: object) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    node.call("r-1")
    async with node.recorder() as recorder:
        monkeypatch.setattr(os, "pread", fails)
        assert await recorder.catch_up()
        assert "cannot follow the journal" in recorder.status.error
        monkeypatch.undo()
        assert await recorder.catch_up()
        assert recorder.status.error == ""
    assert await node.outcomes() == {"r-1": "answered"}


async def test_a_status_that_cannot_be_written_stops_nothing(node: Node) -> None:
    node.records.mkdir()
    (node.records / "recorder-status.draft").mkdir()
    node.call("r-1")
    await node.record()
    assert await node.outcomes() == {"r-1": "answered"}


# --- by the clock ---


async def test_a_call_whose_end_was_lost_is_given_up(node: Node) -> None:
    node.tell(attempted("r-1"))
    async with node.recorder(longest_open_ms=3_600_000) as recorder:
        await recorder.catch_up()
        assert await recorder.tend()
        assert await node.outcomes() == {}
        node.now_ms += 3_660_001
        assert await recorder.tend()
        assert recorder.status.open == 0
    record = await node.store.show("r-1")
    assert record is not None
    assert (record.outcome, record.reason, record.ended_by) == ("interrupted", "end_missing", "switch")
    node.tell(ended("r-1"))
    await node.record()
    assert await node.outcomes() == {"r-1": "interrupted"}


async def test_no_call_is_given_up_while_its_end_may_stand_in_a_part_of_the_journal_that_cannot_be_read(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_arguments: object) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    node.tell(attempted("r-1"))
    async with node.recorder(longest_open_ms=1000) as recorder:
        await recorder.catch_up()
        node.tell(ended("r-1"))
        node.now_ms += 1_000_000
        monkeypatch.setattr(os, "pread", fails)
        await recorder.catch_up()
        await recorder.tend()
        monkeypatch.undo()
        await recorder.catch_up()
        await recorder.tend()
    assert await node.outcomes() == {"r-1": "answered"}


async def test_giving_up_a_call_also_waits_for_the_store(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuses(*_arguments: object) -> int:
        node.stop.set()
        raise StoreError("no")

    node.tell(attempted("r-1"))
    async with node.recorder(longest_open_ms=1000) as recorder:
        await recorder.catch_up()
        node.now_ms += 1_000_000
        monkeypatch.setattr(RecordStore, "add", refuses)
        assert not await recorder.tend()


async def test_months_past_retention_go(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []

    async def drops(_store: RecordStore, now_ms: int, days: int) -> tuple[str, ...]:
        asked.append((now_ms, days))
        return ("2024-09",) if len(asked) == 2 else ()

    monkeypatch.setattr(RecordStore, "drop_expired", drops)
    async with node.recorder(retention_days=800) as recorder:
        for _ in range(3):
            await recorder.tend()
        node.now_ms += 3_600_000
        await recorder.tend()
    assert asked == [(NOVEMBER, 800), (NOVEMBER + 3_600_000, 800)]


async def test_a_month_that_cannot_be_deleted_is_said(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    async def drops(*_arguments: object) -> tuple[str, ...]:
        raise StoreError("cannot delete")

    monkeypatch.setattr(RecordStore, "drop_expired", drops)
    async with node.recorder() as recorder:
        assert await recorder.tend()
        assert recorder.status.error == "cannot delete"


async def test_a_sign_of_life_is_given_even_when_nothing_happens(node: Node) -> None:
    async with node.recorder() as recorder:
        await recorder.tend()
        assert read_status(node.records).at_ms == NOVEMBER
        node.now_ms += 4000
        await recorder.tend()
        assert read_status(node.records).at_ms == NOVEMBER
        node.now_ms += 1000
        await recorder.tend()
        assert read_status(node.records).at_ms == NOVEMBER + 5000


# --- the process ---


async def test_it_records_while_it_runs_and_once_more_when_it_stops(node: Node) -> None:
    started = asyncio.Event()
    running = asyncio.create_task(
        run(
            node.journal,
            node.records,
            node.seal,
            stop=node.stop,
            poll_seconds=0.01,
            now_ms=lambda: NOVEMBER,
            started=lambda recorder: started.set(),
        )
    )
    await asyncio.wait_for(started.wait(), 5)
    node.call("r-1")
    await until(lambda: read_status(node.records).stored == 1)
    assert await node.outcomes() == {"r-1": "answered"}
    node.call("r-2")
    node.stop.set()
    await asyncio.wait_for(running, 5)
    assert await node.outcomes() == {"r-1": "answered", "r-2": "answered"}


async def test_a_second_recorder_is_told_so(node: Node, tmp_path: Path) -> None:
    async with node.recorder():
        with pytest.raises(JournalError, match="another recorder"):
            await run(node.journal, tmp_path / "elsewhere", node.seal, stop=node.stop)
        with pytest.raises(JournalError, match="another recorder"):
            await run(tmp_path / "elsewhere", node.records, node.seal, stop=node.stop)
    await node.record()


async def test_settings_and_keys_that_do_not_fit_are_refused_and_locks_let_go(node: Node) -> None:
    await node.record()
    with pytest.raises(RetentionError):
        await run(node.journal, node.records, node.seal, stop=node.stop, retention_days=30)
    with pytest.raises(StoreError, match="keyring"):
        await run(node.journal, node.records, new_seal(9), stop=node.stop)
    with contextlib.closing(sqlite3.connect(node.records / "recorder-state.db")) as connection:
        connection.execute("INSERT INTO attempts VALUES ('r', 'rubbish')")
        connection.commit()
        with pytest.raises(StoreError, match="cannot read the recorder's state"):
            await run(node.journal, node.records, node.seal, stop=node.stop)
        connection.execute("DELETE FROM attempts")
        connection.commit()
    await node.record()


def settings_for(directory: Path, seal: Seal) -> SimpleNamespace:
    return SimpleNamespace(
        journal=SimpleNamespace(directory=directory / "journal"),
        routing=SimpleNamespace(store=directory / "bindings.db"),
        records=SimpleNamespace(directory=directory / "records", retention_days=731),
        seal=lambda: seal,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_process_ends_in_order_on_a_signal(tmp_path: Path, seal: Seal, number: signal.Signals) -> None:
    (tmp_path / "journal").mkdir()
    (tmp_path / "journal" / "journal-0000000001.log").write_bytes(line(attempted(), seal) + line(ended(), seal))
    timer = threading.Timer(0.4, os.kill, (os.getpid(), number))
    timer.start()
    assert run_recorder(settings_for(tmp_path, seal), lambda: settings_for(tmp_path, seal)) == 0
    timer.join()
    assert read_position(tmp_path / "records").segment == 1


def test_the_process_says_when_it_cannot_start(tmp_path: Path, seal: Seal) -> None:
    reader = Reader(tmp_path / "journal")
    assert run_recorder(settings_for(tmp_path, seal), lambda: settings_for(tmp_path, seal)) == 1
    reader.close()
    assert read_position(tmp_path / "records") == Position()
