"""What the switch counted survives: a stop, a kill at any moment, a file that is damaged, full disks and lost keys."""

import itertools
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from b2bua.app import memory as module
from b2bua.app.memory import NAME, Batch, Memory, replay
from cdr.journal import Position, encode_event, frame
from cdr.record import Answered, Attempted, Boot, Ended
from cdr.seal import Seal, new_keyring
from cdr.store.segments import Writer
from routing.binding import Mode
from routing.blocklist import BlockKind
from routing.caps import Caps, CapSet
from routing.counters import Changes, Counted, Counters
from routing.last_callers import LastCallers
from routing.policy import Policy, PolicySettings
from routing.reason import Reason

NOW = 1_800_000_000_000
HOUR_MS = 3_600_000
X, Y = "700123456780001", "700123456790001"
A, B = "+8613800138000", "+861087654321"
SEAL = Seal(new_keyring())
CAPS = Caps(per_hour=1000, per_day=1000, distinct_x=1000)
POLICY = Policy(
    PolicySettings(caps=CapSet(CAPS, Caps(per_day=1000)), fan_out_numbers=1000), {BlockKind.X: {}}, hash_of=SEAL.hash
)
NOTHING = Changes([], [], [])


class Log:
    def __init__(self) -> None:
        self.events: list[str] = []

    def __call__(self, event: str, **fields: object) -> None:
        assert A[3:] not in str(fields)
        self.events.append(event)


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    journal = Writer(tmp_path / "journal", 1 << 20, 20)
    yield journal
    journal.close()


class Node:
    """The part of a switch that counts: attempts are counted, then written to the journal, then written down."""

    _handles = itertools.count(1)

    def __init__(self, path: Path, log: Log, now_ms: int = NOW, seal: Seal = SEAL) -> None:
        self.memory = Memory(path / NAME, seal, log, now_ms)
        self.counters = Counters(self.memory.total)
        self.last_callers = LastCallers(self.memory.last_caller)
        self.done = self.memory.restore(self.counters, self.last_callers, POLICY, path / "journal", now_ms)

    def attempt(
        self,
        writer: Writer | None,
        reason: str = "",
        *,
        calling: str = "a",
        kind: str = "call",
        mode: Mode = Mode.AXB,
        at_ms: int = NOW,
        binding: str = "b",
    ) -> str:
        """Count an attempt as ``decide`` would, and write its line; its record id."""
        record_id = f"record{next(self._handles):08d}"
        if not reason:
            caller, dialled = (A, X) if calling == "a" else (B, Y if mode is Mode.AXYB else X)
            claim = POLICY.claim_of(kind, "shop", "delivery", binding, int(kind == "call"), caller, b"", dialled)
            assert claim is not None
            self.counters.count(0, claim, caller, "shop", "delivery", at_ms)
            if mode is Mode.GXB and calling == "a" and kind == "call":
                self.last_callers.note(binding, A)
        if writer is not None:
            lines(writer, record_id, reason, calling, kind, mode, at_ms, binding)
        return record_id

    def save(self, position: Position, ahead: tuple[str, ...] = (), now_ms: int = NOW) -> None:
        """Write down, and wait until it is."""
        self.memory.save(Batch(self.counters.changes(), self.last_callers.changes(), position, ahead, now_ms))
        wait(lambda: not self.memory.busy)
        self.counters.written()
        self.last_callers.written()

    def figures(self) -> dict[str, Any]:
        """All that is to survive."""
        self.counters.touch()
        changes = self.counters.changes()
        self.counters.touch()  # so that the next writing says it all
        return {
            "counts": sorted(changes.counts),
            "dialled": sorted(changes.dialled),
            "calls": self.counters.total("b"),
            "last": self.last_callers.get("b"),
        }


def wait(done: Callable[[], bool]) -> None:
    end = time.monotonic() + 5.0
    while not done():
        assert time.monotonic() < end
        time.sleep(0.002)


def lines(
    writer: Writer, record_id: str, reason: str, calling: str, kind: str, mode: Mode, at_ms: int, binding: str
) -> None:
    caller, callee = (A, B) if calling == "a" else (B, A)
    events: list[Any] = [
        Attempted(
            record_id=record_id,
            node="n",
            sequence=1,
            kind=kind,
            arrived_ms=at_ms,
            caller=caller,
            callee=callee,
            calling=calling,
            x=X,
            y=Y if mode is Mode.AXYB else "",
            provider="provider",
            business_user="shop",
            scenario="delivery",
            binding_id=binding,
            order_id="o",
            industrial_id="",
            mode=mode,
            ingress="east",
            ingress_call_id="c",
        )
    ]
    if reason:
        events.append(Ended(record_id, at_ms, 0, "", "", (), 403, 21, "refused", "switch", reason, "", "", 1, 0))
    else:
        events.append(Answered(record_id, at_ms, at_ms, "east", "d", 5))
    assert writer.append([frame(encode_event(event, SEAL)) for event in events])


def unbound(writer: Writer) -> None:
    """An attempt without a binding: never counted."""
    attempt = Attempted("none", "n", 9, "call", NOW, A, "", "", X, "", "", "", "", "", "", "", "", "east", "c")
    writer.append([frame(encode_event(attempt, SEAL)), frame(encode_event(Boot("n", "i", NOW), SEAL))])


# over a restart


def test_a_stop_keeps_every_count_and_the_last_callers(tmp_path: Path, writer: Writer, log: Log) -> None:
    node = Node(tmp_path, log)
    for calling, mode in (("a", Mode.AXB), ("b", Mode.AXB), ("b", Mode.AXYB), ("a", Mode.GXB)):
        node.attempt(writer, calling=calling, mode=mode)
    node.save(writer.position)
    before = node.figures()
    node.memory.close()
    again = Node(tmp_path, log)
    assert again.done == (0, 0)
    assert again.figures() == before
    assert before["calls"] == 4
    assert before["last"] == A
    assert log.events == []
    again.memory.close()


@pytest.mark.parametrize("saved", range(9))
def test_a_kill_after_any_line_loses_no_count(saved: int, tmp_path: Path, writer: Writer, log: Log) -> None:
    """What is written down ends anywhere before the kill; the rest is in the journal."""
    node = Node(tmp_path, log)
    steps: list[dict[str, Any]] = [
        {},
        {"calling": "b"},
        {"reason": Reason.BINDING_CAP},
        {"kind": "message"},
        {"mode": Mode.GXB},
        {"mode": Mode.AXYB, "calling": "b"},
        {"reason": Reason.CALLER_BLOCKED, "calling": "b"},
        {"calling": "b", "mode": Mode.GXB},
        {},
    ]
    for index, step in enumerate(steps):
        node.attempt(writer, **step)
        unbound(writer)
        if index == saved:
            node.save(writer.position)
    before = node.figures()  # and now nobody closes anything
    again = Node(tmp_path, log)
    assert again.figures() == before
    assert again.done.attempts == sum(not step.get("reason") for step in steps[saved + 1 :])
    assert again.counters.alerts == []
    node.memory.close()
    again.memory.close()


def test_without_any_file_the_journal_alone_is_counted(tmp_path: Path, writer: Writer, log: Log) -> None:
    node = Node(tmp_path, log)
    for _ in range(5):
        node.attempt(writer, mode=Mode.GXB)
    before = node.figures()
    node.memory.close()
    (tmp_path / NAME).unlink()
    again = Node(tmp_path, log)
    assert again.figures() == before
    again.memory.close()


def test_an_attempt_that_was_counted_before_its_line_is_not_counted_twice(
    tmp_path: Path, writer: Writer, log: Log
) -> None:
    """The verification hook has it while the counts are written down."""
    node = Node(tmp_path, log)
    waiting = node.attempt(None)
    node.save(writer.position, (waiting,))
    lines(writer, waiting, "", "a", "call", Mode.AXB, NOW, "b")
    node.attempt(writer)
    before = node.figures()
    again = Node(tmp_path, log)
    assert again.figures() == before
    assert before["calls"] == 2
    node.memory.close()
    again.memory.close()


@pytest.mark.parametrize(("reason", "calls"), [(Reason.VERIFICATION_REFUSED, 1), (Reason.USER_CAP, 0)])
def test_a_refusal_by_the_hook_was_counted_one_by_routing_was_not(
    reason: Reason, calls: int, tmp_path: Path, writer: Writer, log: Log
) -> None:
    lines(writer, "r", reason, "a", "call", Mode.AXB, NOW, "b")
    node = Node(tmp_path, log)
    assert node.counters.total("b") == calls
    node.memory.close()


def test_windows_that_are_over_are_not_taken_up_again(tmp_path: Path, writer: Writer, log: Log) -> None:
    node = Node(tmp_path, log)
    node.attempt(writer)
    node.save(writer.position)
    later = Node(tmp_path, log, NOW + HOUR_MS)
    spans = {row.span_ms for row in later.figures()["counts"]}
    assert spans == {24 * HOUR_MS}
    later.attempt(None, at_ms=NOW + HOUR_MS)
    later.save(writer.position, now_ms=NOW + HOUR_MS)
    with sqlite3.connect(tmp_path / NAME) as connection:
        numbers = connection.execute("SELECT count(DISTINCT number) FROM counts WHERE span_ms = ?", (HOUR_MS,))
        assert numbers.fetchone() == (1,)  # and they are removed
    node.memory.close()
    later.memory.close()


def test_damage_in_the_journal_costs_its_own_lines_alone(tmp_path: Path, log: Log) -> None:
    writer = Writer(tmp_path / "journal", 1 << 20, 20)
    node = Node(tmp_path, log)
    for _ in range(3):
        node.attempt(writer)
    writer.append([b"00000000 [not a line]\n", frame(b'["unknown",1]')])
    node.attempt(writer)
    writer.close()
    before = node.figures()
    node.memory.close()
    (tmp_path / NAME).unlink()
    Writer(tmp_path / "journal", 1 << 20, 20).close()  # the next process has begun its segment
    again = Node(tmp_path, log)
    assert again.figures() == before
    again.memory.close()


def test_a_long_journal_without_a_file_is_counted_from_its_last_segments(
    tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SEGMENTS_WITHOUT_FILE", 2)
    writer = Writer(tmp_path / "journal", 4096, 0)
    node = Node(tmp_path, log)
    for _ in range(40):
        node.attempt(writer)
    writer.close()
    node.memory.close()
    (tmp_path / NAME).unlink()
    again = Node(tmp_path, log)
    assert 0 < again.done.attempts < 40
    again.memory.close()


def test_no_journal_nothing_to_count(tmp_path: Path) -> None:
    done = replay(tmp_path / "none", Position(), (), POLICY, Counters(), LastCallers(), SEAL)
    assert done == (0, 0)


# the file


@pytest.mark.parametrize("damage", ["garbage", "another program", "newer", "torn table"])
def test_a_damaged_file_is_set_aside_and_begun_anew(damage: str, tmp_path: Path, writer: Writer, log: Log) -> None:
    node = Node(tmp_path, log)
    for _ in range(50):
        node.attempt(writer, mode=Mode.GXB)
    node.save(writer.position)
    before = node.figures()
    node.memory.close()
    path = tmp_path / NAME
    if damage == "garbage":
        path.write_bytes(b"not a database" * 1000)
    elif damage == "torn table":
        data = path.read_bytes()
        path.write_bytes(data[:4096] + b"\xff" * (len(data) - 4096))
    else:
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA user_version = 9" if damage == "newer" else "PRAGMA application_id = 9")
    again = Node(tmp_path, log)
    assert log.events == ["memory_replaced"]
    assert (tmp_path / "switch-memory.damaged").exists()
    assert again.figures() == before  # all of it was still in the journal
    again.save(writer.position)
    again.memory.close()
    assert Node(tmp_path, log).figures() == before


def test_a_file_that_goes_bad_in_use_is_begun_anew_and_told_everything(
    tmp_path: Path, writer: Writer, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = Node(tmp_path, log)
    node.attempt(writer)
    write, calls = module._write, itertools.count()

    def bad(*given: Any) -> None:
        if next(calls) == 0:
            raise sqlite3.DatabaseError("database disk image is malformed")
        write(*given)

    monkeypatch.setattr(module, "_write", bad)
    node.save(writer.position)
    assert node.memory.lost
    assert log.events == ["memory_replaced"]
    node.counters.touch()
    node.save(writer.position)
    before = node.figures()
    node.memory.close()
    again = Node(tmp_path, log)
    assert again.figures() == before
    again.memory.close()


def test_a_full_disk_is_told_once_and_tried_again(
    tmp_path: Path, writer: Writer, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    node = Node(tmp_path, log)
    node.attempt(writer)
    write, calls = module._write, itertools.count()

    def full(*given: Any) -> None:
        if next(calls) < 3:
            raise sqlite3.OperationalError("database or disk is full")
        write(*given)

    monkeypatch.setattr(module, "_write", full)
    node.save(writer.position)
    assert log.events == ["memory_failed", "memory_recovered"]
    assert node.memory.failure == ""
    node.memory.close()
    assert Node(tmp_path, log).done.attempts == 0


def test_a_close_does_not_wait_for_a_disk_that_stays_full(
    tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(module, "_write", full)
    node = Node(tmp_path, log)
    node.memory.save(Batch(NOTHING, [], Position(1, 2), (), NOW))
    began = time.monotonic()
    node.memory.close()
    assert time.monotonic() - began < 3.0


def test_a_place_that_cannot_be_written_stops_nothing(tmp_path: Path, log: Log) -> None:
    node = Node(tmp_path / "absent", log)
    assert log.events == ["memory_failed"]
    assert node.counters.total("b") == 0
    assert node.last_callers.get("b") == ""
    node.memory.close()


def test_what_cannot_be_read_for_a_moment_is_not_taken_for_nothing(
    tmp_path: Path, writer: Writer, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Node(tmp_path, log)
    first.attempt(writer, mode=Mode.GXB)
    first.save(writer.position)
    first.memory.close()
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.0)
    node = Node(tmp_path, log)
    holder = sqlite3.connect(tmp_path / NAME, isolation_level=None)
    holder.execute("ALTER TABLE totals RENAME TO away")
    holder.execute("ALTER TABLE last_callers RENAME TO away_too")
    assert node.last_callers.get("b") == ""
    assert node.counters.total("b") == 0
    assert node.memory.failure
    assert log.events[0] == "memory_failed"
    node.attempt(writer)
    assert node.counters.total("b") == 1
    holder.execute("ALTER TABLE away RENAME TO totals")
    holder.execute("ALTER TABLE away_too RENAME TO last_callers")
    holder.close()
    assert node.last_callers.get("b") == A
    node.save(writer.position)
    assert node.memory.total("b") == node.counters.total("b") == 2
    node.memory.close()


def test_who_has_written_is_not_the_last_caller_after_a_restart(tmp_path: Path, writer: Writer, log: Log) -> None:
    node = Node(tmp_path, log)
    node.attempt(writer, mode=Mode.GXB, kind="message")
    node.memory.close()
    again = Node(tmp_path, log)
    assert (again.done.attempts, again.last_callers.get("b")) == (1, "")
    again.memory.close()


def test_a_file_that_cannot_be_read_is_not_tried_at_each_call(tmp_path: Path, writer: Writer, log: Log) -> None:
    node = Node(tmp_path, log)
    node.attempt(writer)
    node.save(writer.position)
    holder = sqlite3.connect(tmp_path / NAME, isolation_level=None)
    holder.execute("ALTER TABLE totals RENAME TO away")
    assert node.memory.total("b") is None
    holder.execute("ALTER TABLE away RENAME TO totals")
    holder.close()
    assert node.memory.total("b") is None
    node.memory._read_again = time.monotonic()
    assert node.memory.total("b") == 1
    node.memory.close()


def test_no_number_stands_in_the_file_and_other_keys_do_not_open_it(tmp_path: Path, writer: Writer, log: Log) -> None:
    node = Node(tmp_path, log)
    node.attempt(writer, mode=Mode.GXB)
    node.save(writer.position)
    node.memory.close()
    for file in tmp_path.glob("switch-memory*"):
        assert A[3:].encode() not in file.read_bytes()
    other = Node(tmp_path, log, seal=Seal(new_keyring()))
    assert other.last_callers.get("b") == ""
    other.memory.close()


def test_totals_of_bindings_that_are_long_over_are_forgotten(tmp_path: Path, writer: Writer, log: Log) -> None:
    node = Node(tmp_path, log)
    node.attempt(writer)
    node.save(writer.position)
    node.memory.save(Batch(NOTHING, [], writer.position, (), NOW + 401 * 24 * HOUR_MS))
    wait(lambda: not node.memory.busy)
    assert node.memory.total("b") == 0
    node.memory.close()


def test_a_journal_sealed_with_a_lost_key_still_gives_its_counts(tmp_path: Path, writer: Writer) -> None:
    counters, last_callers = Counters(), LastCallers()
    lines(writer, "r", "", "a", "call", Mode.GXB, NOW, "b")
    done = replay(tmp_path / "journal", Position(), (), POLICY, counters, last_callers, Seal(new_keyring()))
    assert done.attempts == 1
    assert counters.total("b") == 1
    assert last_callers.get("b") == ""


def test_rows_of_past_windows_go_bit_by_bit(tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMOVED_AT_ONCE", 2)
    node = Node(tmp_path, log)
    old = [Counted(HOUR_MS, 1, b"%d" % index, 1) for index in range(5)]
    left = []
    for minutes in range(3):
        changes = Changes(old if not minutes else [], [], [])
        node.memory.save(Batch(changes, [], Position(1, 1), (), NOW + minutes * 60_000))
        wait(lambda: not node.memory.busy)
        with sqlite3.connect(tmp_path / NAME) as connection:
            left.append(connection.execute("SELECT count(*) FROM counts").fetchone()[0])
    assert left == [3, 1, 0]
    node.memory.close()
