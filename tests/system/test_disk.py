"""No room for the journal: new calls are refused, live ones end, and with the room everything comes back by itself.

The disk is filled for real where this user may mount a small file system. A limit on the size of files does the same
to the processes for everybody, and more: not even room that was reserved can be written to.
"""

import errno
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from io import RawIOBase
from pathlib import Path
from typing import Protocol

import pytest

from tests.system.conftest import MAY_MOUNT
from tests.system.node import ANSWERED, CALLER, PATIENCE, UNBOUND, Node, Process, limit_files, until
from tests.system.phones import Call, Phones

DISK_MIB = 10
SEGMENT = 1 << 20
# A record holds its Call-ID: so long a one uses up a segment within some two hundred calls.
PADDING = 5000
BATCH = 20
MOST_CALLS = 2000


class Disk(Protocol):
    """What the node's data lie on."""

    def fill(self, processes: list[Process]) -> None: ...
    def free(self, processes: list[Process]) -> None: ...


class SmallFileSystem:
    """A file system of its own, filled up by a file that nobody needs."""

    def __init__(self, directory: Path) -> None:
        self._ballast = directory / "ballast"

    def fill(self, processes: list[Process]) -> None:
        with self._ballast.open("ab", buffering=0) as file:
            for size in (65_536, 4096, 1):
                while _written(file, size):
                    pass

    def free(self, processes: list[Process]) -> None:
        self._ballast.unlink()


def _written(file: RawIOBase, size: int) -> bool:
    """Whether there was room for so many bytes more."""
    try:
        return bool(file.write(b"x" * size))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return False


class FileSizeLimit:
    """A limit under which the segment in use goes on, but no other can be reserved."""

    def fill(self, processes: list[Process]) -> None:
        for process in processes:
            limit_files(process.pid, SEGMENT - 1)

    def free(self, processes: list[Process]) -> None:
        for process in processes:
            limit_files(process.pid, None)


@pytest.fixture(params=["file size limit", *(["small file system"] if MAY_MOUNT else [])])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    if request.param == "file size limit":
        yield FileSizeLimit()
        return
    data = tmp_path / "data"
    data.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", data], check=True)
    try:
        yield SmallFileSystem(data)
    finally:
        subprocess.run(["umount", "--lazy", data], check=True)


def place(phones: Phones, number: str = ANSWERED.x, talk_seconds: float | None = 0.0, padding: int = 0) -> Call:
    return phones.place(number, CALLER, talk_seconds, padding=padding)


def whole(call: Call) -> Call:
    """The call, when it is over."""
    assert call.over.wait(PATIENCE)
    return call


def refuses(node: Node) -> Call:
    """A call that is refused for want of a journal, after a look at what the operator is told."""
    call = whole(place(node.phones))
    assert call.answer is not None
    assert call.final == 503
    assert int(call.answer.value("retry-after")) > 0
    assert not node.phones.taken(call)
    for page in ("health", "ready"):
        status, text = node.page(page)
        assert status == 503
        assert "journal: " in text
    assert node.count("x700_journal_failed") == 1
    return call


def recovers(node: Node) -> Call:
    """The first call that is carried once the switch says that it is well again."""
    until(lambda: node.page("health")[0] == 200, "a healthy switch")
    assert node.page("ready")[0] == 200
    assert node.count("x700_journal_failed") == 0
    assert node.count("x700_journal_lost_lines") == 0
    call = whole(place(node.phones))
    assert (call.final, call.bye_status) == (200, 200)
    return call


def test_a_full_disk_refuses_new_calls_and_lets_live_ones_end(disk: Disk, phones: Phones, tmp_path: Path) -> None:
    node = Node(tmp_path, phones).provide()
    try:
        switch = node.switch()
        live = [place(phones, talk_seconds=None) for _ in range(3)]
        assert all(call.answered.wait(PATIENCE) for call in live)
        used = list[Call]()

        def full() -> bool:
            disk.fill([switch])  # again and again: what has been reserved and is not needed comes back
            used.extend(whole_batch(lambda: place(phones, UNBOUND, padding=PADDING)))
            assert len(used) < MOST_CALLS
            return node.count("x700_journal_failed") == 1

        until(full, "the journal to have no room")
        refused = [refuses(node) for _ in range(3)]
        by_caller, by_operator, later = live
        phones.hang_up(by_caller)
        assert whole(by_caller).bye_status == 200
        (x,) = {entry["x"] for entry in live_calls(node)}
        assert x == ANSWERED.x
        identifier = live_calls(node)[0]["id"]
        assert node.ask(command="hangup", id=identifier) == {"ok": True}
        until(lambda: by_operator.over.is_set() or later.over.is_set(), "the operator's hang-up")
        assert node.count("x700_active_calls") == 1
        assert node.count("x700_journal_failed") == 1

        disk.free([switch])
        carried = recovers(node)
        for call in (by_operator, later):
            phones.hang_up(call)
            whole(call)
        assert switch.stop() == 0
        everything = [*live, *used, *refused, carried]
        records = {stored.parties.ingress_call_id: stored.record for stored in node.record()}
        assert len(node.stored()) == len(records)
        assert set(records) == {call.call_id for call in everything}
        for call in everything:
            assert records[call.call_id].status == call.final
        assert {records[call.call_id].outcome for call in live} == {"answered"}
        assert all(records[call.call_id].talk_ms > 0 for call in live)
        assert Counter(records[call.call_id].reason for call in live) == {"": 2, "hung_up": 1}
        assert {records[call.call_id].reason for call in refused} == {"journal_failed"}
        assert switch.events("journal_failed")
        assert switch.events("journal_recovered")
    finally:
        node.close()


def whole_batch(begin: Callable[[], Call]) -> list[Call]:
    """Some calls at once, when all are over."""
    return [whole(call) for call in [begin() for _ in range(BATCH)]]


def live_calls(node: Node) -> list[dict[str, object]]:
    calls = node.ask(command="calls")["calls"]
    assert isinstance(calls, list)
    return calls


def test_what_a_disk_does_not_take_waits_in_memory(node: Node, phones: Phones) -> None:
    switch = node.switch()
    live = place(phones, talk_seconds=None)
    assert live.answered.wait(PATIENCE)
    limit_files(switch.pid, 0)
    tried = [whole(place(phones))]  # it may be the one by which the switch finds out
    refused = [refuses(node) for _ in range(3)]
    phones.hang_up(live)
    assert whole(live).bye_status == 200
    assert node.count("x700_journal_queued") > 0
    limit_files(switch.pid, None)
    carried = recovers(node)
    assert node.count("x700_journal_queued") == 0
    assert switch.stop() == 0
    everything = [live, *tried, *refused, carried]
    found = [(stored.parties.ingress_call_id, stored.record.status) for stored in node.record()]
    assert sorted(found) == sorted((call.call_id, call.final) for call in everything)


def test_a_switch_that_starts_without_room_waits_for_it(node: Node, phones: Phones) -> None:
    switch = node.start("switch", largest_file=SEGMENT - 1).wait_ready()
    refused = [refuses(node) for _ in range(2)]
    limit_files(switch.pid, None)
    carried = recovers(node)
    assert switch.stop() == 0
    found = [stored.parties.ingress_call_id for stored in node.record()]
    assert sorted(found) == sorted(call.call_id for call in [*refused, carried])


def test_a_recorder_without_room_says_so_and_stores_later(node: Node, phones: Phones) -> None:
    recorder, switch = node.recorder(), node.switch()
    limit_files(recorder.pid, 0)
    calls = [whole(place(phones)) for _ in range(3)]
    until(lambda: recorder.events("recorder_cannot_store"), "the recorder to find out")
    until(lambda: node.count("x700_journal_lag_bytes") > 0, "the journal to fall behind")
    assert whole(place(phones)).final == 200  # the switch goes on: its journal has room
    limit_files(recorder.pid, None)
    until(lambda: len(node.stored()) == len(calls) + 1, "the records")
    until(lambda: node.count("x700_journal_lag_bytes") == 0, "the journal to be read")
    assert (switch.stop(), recorder.stop()) == (0, 0)
    assert len({stored.parties.ingress_call_id for stored in node.stored()}) == len(calls) + 1
