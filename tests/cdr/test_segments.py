"""The journal's writer: what is on disk after an append, a kill, a full disk, a disk that fails."""

import errno
import itertools
import os
import threading
from functools import cache
from pathlib import Path

import pytest

from cdr.journal import Position, Verdict, scan
from cdr.store.segments import JournalError, Reader, Writer
from tests.cdr.story import (
    answered,
    attempted,
    ended,
    files_no_longer_than,
    kill,
    line,
    new_seal,
    segment_files,
    ticking,
)

SEGMENT = 16 * 1024
LINE = line(attempted("r-000000"), new_seal())
START = Position()
PER_SEGMENT = SEGMENT // len(LINE)


def open_writer(directory: Path, window_ms: int = 50, **settings: int) -> Writer:
    clock = ticking()
    return Writer(directory, SEGMENT, window_ms, clock=lambda: next(clock), **settings)


def numbered(count: int, start: int = 0) -> list[bytes]:
    return [numbered_line(number) for number in range(start, start + count)]


@cache
def numbered_line(number: int) -> bytes:
    return line(attempted(f"r-{number:06d}"), new_seal())


def payloads(lines: list[bytes]) -> list[bytes]:
    return [each[9:-1] for each in lines]


def read_all(directory: Path, position: Position = START) -> list[bytes]:
    reader = Reader(directory, shared=True)
    return [payload for batch in reader.follow(position) for payload in batch.payloads]


def contents(directory: Path) -> list[bytes]:
    """The payloads of each segment in turn, which must all be without damage."""
    found: list[bytes] = []
    for name in segment_files(directory):
        result = scan((directory / name).read_bytes())
        assert result.verdict in (Verdict.END, Verdict.PADDING)
        found += result.payloads
    return found


class Disk:
    """Makes calls of the operating system fail on demand."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch

    def breaks(self, call: str, number: int = errno.EIO) -> None:
        def fail(*_arguments: object) -> None:
            raise OSError(number, os.strerror(number))

        self._patch.setattr(os, call, fail)

    def writes_only(self, size: int, number: int = errno.ENOSPC) -> None:
        """Room for `size` bytes more in all."""
        room = size
        real = os.pwrite

        def pwrite(descriptor: int, data: bytes, offset: int) -> int:
            nonlocal room
            if not room:
                raise OSError(number, os.strerror(number))
            done = real(descriptor, data[:room], offset)
            room -= done
            return done

        self._patch.setattr(os, "pwrite", pwrite)

    def works(self) -> None:
        self._patch.undo()


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def test_what_is_appended_can_be_read_at_once(tmp_path: Path) -> None:
    writer = open_writer(tmp_path / "journal")
    lines = numbered(5)
    writer.append(lines[:3])
    writer.append([])
    writer.append(lines[3:])
    assert contents(tmp_path / "journal") == payloads(lines)
    assert writer.position == Position(1, len(b"".join(lines)))
    assert writer.failed == ""
    assert writer.stats[:4] == (len(b"".join(lines)), 5, 0, 0)
    writer.close()


def test_an_append_is_one_system_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = open_writer(tmp_path)
    calls: list[int] = []
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda *args: (calls.append(1), real(*args))[1])
    writer.append(numbered(7))
    assert len(calls) == 1
    writer.close()


def test_a_killed_writer_has_lost_nothing(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    lines = numbered(PER_SEGMENT * 2 + 3)
    for each in lines:
        writer.append([each])
    kill(writer)
    assert contents(tmp_path) == payloads(lines)


def test_segments_stand_ready_before_they_are_needed(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    assert (tmp_path / "journal.spare").stat().st_size == SEGMENT
    assert (tmp_path / "journal-0000000001.log").stat().st_blocks * 512 >= SEGMENT
    writer.append(numbered(PER_SEGMENT))
    assert segment_files(tmp_path) == ["journal-0000000001.log"]
    writer.append(numbered(1))
    assert segment_files(tmp_path) == ["journal-0000000001.log", "journal-0000000002.log"]
    assert not (tmp_path / "journal.spare").exists()
    writer.sync()
    assert (tmp_path / "journal.spare").exists()
    # A segment that is done gives back what it did not need.
    assert (tmp_path / "journal-0000000001.log").stat().st_size == PER_SEGMENT * len(LINE)
    writer.close()


def test_without_a_spare_the_present_segment_grows(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    lines = numbered(PER_SEGMENT * 3)
    writer.append(lines[:PER_SEGMENT])
    writer.append(lines[PER_SEGMENT : PER_SEGMENT * 2])
    writer.append(lines[PER_SEGMENT * 2 :])
    assert writer.position.segment == 2
    assert writer.failed == ""
    assert read_all(tmp_path) == payloads(lines)
    writer.close()


def test_lines_longer_than_a_segment_are_written_whole(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    lines = numbered(PER_SEGMENT * 2)
    writer.append(lines)
    assert writer.position.segment == 1
    assert read_all(tmp_path) == payloads(lines)
    writer.close()


def test_close_leaves_no_padding_and_no_spare(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    writer.append([LINE])
    writer.close()
    assert segment_files(tmp_path) == ["journal-0000000001.log"]
    assert (tmp_path / "journal-0000000001.log").read_bytes() == LINE
    assert not (tmp_path / "journal.spare").exists()
    assert writer.failed == "the journal is closed"
    writer.append([LINE])
    assert writer.stats.queued == 1
    writer.close()


def test_a_second_writer_is_told_so(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    with pytest.raises(JournalError, match="in use: another switch"):
        open_writer(tmp_path)
    writer.close()
    open_writer(tmp_path).close()


def test_a_directory_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match="cannot make"):
        open_writer(tmp_path / "file" / "journal")


def test_a_directory_that_cannot_be_opened_is_an_error(tmp_path: Path, disk: Disk) -> None:
    disk.breaks("open", errno.EACCES)
    with pytest.raises(JournalError, match=r"cannot open .*Permission denied"):
        open_writer(tmp_path)


def test_a_directory_that_cannot_be_listed_is_an_error_and_is_let_go(tmp_path: Path, disk: Disk) -> None:
    disk.breaks("listdir", errno.EIO)
    with pytest.raises(JournalError, match="cannot use the journal"):
        open_writer(tmp_path)
    disk.works()
    open_writer(tmp_path).close()


@pytest.mark.parametrize("torn", [b"", LINE[:1], LINE[:9], LINE[:-1]])
def test_a_start_never_writes_behind_a_torn_line(tmp_path: Path, torn: bytes) -> None:
    first = open_writer(tmp_path)
    lines = numbered(4)
    first.append(lines[:2])
    os.pwrite(first._segment, torn, first.position.offset)
    kill(first)
    second = open_writer(tmp_path)
    assert second.position == Position(2, 0)
    second.append(lines[2:])
    assert (tmp_path / "journal-0000000001.log").read_bytes() == b"".join(lines[:2]) + torn
    assert read_all(tmp_path) == payloads(lines)
    second.close()


def test_an_empty_segment_of_a_killed_writer_is_cut_to_nothing(tmp_path: Path) -> None:
    kill(open_writer(tmp_path))
    open_writer(tmp_path).close()
    assert (tmp_path / "journal-0000000001.log").stat().st_size == 0


def test_long_padding_is_cut_in_pieces(tmp_path: Path) -> None:
    (tmp_path / "journal-0000000004.log").write_bytes(LINE + b"\0" * (3 << 20))
    open_writer(tmp_path).close()
    assert (tmp_path / "journal-0000000004.log").read_bytes() == LINE


def test_a_spare_that_was_in_use_when_the_power_went_is_taken_over(tmp_path: Path) -> None:
    first = open_writer(tmp_path)
    first.append(numbered(1))
    first.close()
    (tmp_path / "journal.spare").write_bytes(numbered(1, 1)[0] + b"\0" * 100)
    second = open_writer(tmp_path)
    assert second.position.segment == 3
    assert read_all(tmp_path) == payloads(numbered(2))
    second.close()


def test_numbers_go_on_even_when_all_but_a_damaged_segment_is_gone(tmp_path: Path) -> None:
    (tmp_path / "journal-0000000007.damaged").write_bytes(b"")
    writer = open_writer(tmp_path)
    assert writer.position == Position(8, 0)
    writer.close()


# --- syncing ---


def test_with_no_window_every_append_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = open_writer(tmp_path, window_ms=0)
    synced: list[int] = []
    real = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda fd: (synced.append(writer.position.offset), real(fd))[1])
    writer.append([LINE])
    writer.append([LINE])
    assert synced == [len(LINE), 2 * len(LINE)]
    assert writer.stats.sync_seconds > 0
    assert sum(writer.stats.sync_counts) == writer.stats.syncs
    writer.close()


def test_within_a_window_only_sync_syncs_and_only_when_there_is_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = open_writer(tmp_path)
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", lambda fd: synced.append(fd))
    before = writer.stats.syncs
    writer.append([LINE])
    writer.append([LINE])
    assert synced == []
    writer.sync()
    writer.sync()
    assert len(synced) == 1
    assert writer.stats.syncs == before + 1
    writer.close()


def test_a_finished_segment_and_its_name_are_synced_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = open_writer(tmp_path)
    files: list[str] = []
    for call in ("fdatasync", "fsync"):
        monkeypatch.setattr(os, call, lambda fd: files.append(Path(os.readlink(f"/proc/self/fd/{fd}")).name))
    writer.append(numbered(PER_SEGMENT))
    writer.append([LINE])
    writer.sync()
    assert files[:3] == ["journal-0000000001.log", "journal-0000000002.log", tmp_path.name]
    writer.close()


def test_sync_in_a_thread_and_appends_do_not_disturb_each_other(tmp_path: Path) -> None:
    writer = Writer(tmp_path, SEGMENT, 1)
    lines = numbered(3000)
    done = threading.Event()

    def syncing() -> None:
        while not done.is_set():
            writer.sync()

    thread = threading.Thread(target=syncing)
    thread.start()
    for each in lines:
        writer.append([each])
    done.set()
    thread.join()
    assert writer.failed == ""
    assert writer.stats.lines == 3000
    writer.close()
    assert read_all(tmp_path) == payloads(lines)


def test_an_append_says_whether_the_disk_has_it(tmp_path: Path, disk: Disk) -> None:
    writer = open_writer(tmp_path)
    assert writer.append([])
    assert writer.append([LINE])
    disk.breaks("pwrite")
    assert not writer.append([LINE])
    assert not writer.append([LINE])
    disk.works()
    writer.sync()
    assert writer.append([LINE])
    writer.close()
    assert len(read_all(tmp_path)) == 4


def test_without_a_window_an_append_that_cannot_be_synced_says_so(tmp_path: Path, disk: Disk) -> None:
    writer = open_writer(tmp_path, window_ms=0)
    assert writer.append([LINE])
    disk.breaks("fdatasync")
    assert not writer.append([LINE])
    disk.works()
    writer.close()


# --- a disk without room ---


def test_no_room_for_the_next_segment_shows_while_the_present_one_still_takes_the_ends_of_calls(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    writer.append(numbered(PER_SEGMENT))
    with files_no_longer_than(SEGMENT - 1):
        writer.append(numbered(1, PER_SEGMENT))
        assert writer.failed == ""
        writer.sync()
        assert "no room for the next journal segment" in writer.failed
        assert writer.position == Position(2, len(LINE))
        ends = [line(ended(f"r-{number:06d}"), new_seal()) for number in range(50)]
        for each in ends:
            writer.append([each])
        assert writer.stats.queued == 0
        assert read_all(tmp_path)[-50:] == payloads(ends)
    writer.sync()
    assert writer.failed == ""
    assert (tmp_path / "journal.spare").exists()
    writer.close()


def test_a_segment_that_cannot_grow_leaves_lines_in_memory_until_there_is_room(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    lines = numbered(PER_SEGMENT * 2 + 10)
    writer.append(lines[:PER_SEGMENT])
    with files_no_longer_than(SEGMENT - 1):
        for each in lines[PER_SEGMENT:]:
            writer.append([each])
            writer.sync()
        assert "File too large" in writer.failed
        assert writer.stats.queued > 0
        stuck = writer.stats.lines
        assert stuck < len(lines)
    writer.sync()
    assert writer.failed == ""
    assert writer.stats[1:4] == (len(lines), 0, 0)
    writer.close()
    assert contents(tmp_path) == payloads(lines)


def test_a_start_on_a_full_disk_waits_for_room(tmp_path: Path) -> None:
    with files_no_longer_than(SEGMENT - 1):
        writer = open_writer(tmp_path)
        assert "no room" in writer.failed
        writer.append([LINE])
        assert segment_files(tmp_path) == []
        assert not (tmp_path / "journal.spare").exists()
    writer.sync()
    assert contents(tmp_path) == payloads([LINE])
    writer.sync()
    assert writer.failed == ""
    writer.close()


def test_a_start_on_a_full_disk_can_be_given_up(tmp_path: Path, disk: Disk) -> None:
    disk.breaks("posix_fallocate", errno.ENOSPC)
    writer = open_writer(tmp_path)
    writer.close()
    assert writer.stats.lines == 0


def test_a_directory_that_takes_no_file_is_as_good_as_a_full_disk(tmp_path: Path, disk: Disk) -> None:
    writer = open_writer(tmp_path)
    writer.append(numbered(PER_SEGMENT))
    writer.append([LINE])
    disk.breaks("open", errno.EROFS)
    writer.sync()
    assert "Read-only" in writer.failed
    disk.works()
    writer.sync()
    assert writer.failed == ""
    writer.close()


def test_room_is_looked_for_ever_more_slowly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    tries: list[float] = []

    def full(*_arguments: object) -> None:
        tries.append(now)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    writer = Writer(tmp_path, SEGMENT, 50, clock=lambda: now)
    for second in range(200):
        now = float(second)
        writer.sync()
    assert tries[:5] == [0, 1, 3, 7, 15]
    assert max(later - earlier for earlier, later in itertools.pairwise(tries)) == 30
    monkeypatch.undo()
    now = 300.0
    writer.sync()
    writer.sync()
    assert writer.failed == ""
    writer.close()


@pytest.mark.parametrize("room", [0, 1, len(LINE) - 1, len(LINE), len(LINE) + 5])
def test_a_line_that_was_written_in_part_is_written_again_in_whole(tmp_path: Path, disk: Disk, room: int) -> None:
    writer = open_writer(tmp_path)
    writer.append(numbered(PER_SEGMENT))
    writer.append(numbered(1, 50))  # no spare now
    disk.writes_only(room)
    lines = numbered(3, 60)
    writer.append(lines)
    assert "No space left" in writer.failed
    assert writer.stats.queued == 1
    assert writer.stats.lines == PER_SEGMENT + 1 + room // len(LINE)
    writer.append(numbered(1, 63))
    assert writer.stats.queued == 2
    disk.works()
    writer.sync()
    assert writer.failed == ""
    writer.close()
    assert contents(tmp_path) == payloads([*numbered(PER_SEGMENT), *numbered(1, 50), *numbered(4, 60)])


def test_a_segment_that_takes_nothing_is_left_for_the_next(tmp_path: Path, disk: Disk) -> None:
    writer = open_writer(tmp_path)
    real = os.pwrite
    bad = writer._segment
    lines = numbered(3)
    writer.append(lines[:1])

    def pwrite(descriptor: int, data: bytes, offset: int) -> int:
        if descriptor == bad:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(descriptor, data, offset)

    disk._patch.setattr(os, "pwrite", pwrite)
    writer.append(lines[1:])
    assert writer.position.segment == 2
    assert writer.failed == ""
    writer.close()
    assert contents(tmp_path) == payloads(lines)


def test_a_write_that_writes_nothing_is_a_failure(tmp_path: Path, disk: Disk) -> None:
    writer = open_writer(tmp_path)
    disk._patch.setattr(os, "pwrite", lambda *_arguments: 0)
    writer.append([LINE])
    assert "nothing was written" in writer.failed
    disk.works()
    writer.sync()
    assert writer.failed == ""
    writer.close()


def test_a_segment_that_cannot_be_named_is_a_failure(tmp_path: Path, disk: Disk) -> None:
    writer = open_writer(tmp_path)
    writer.append(numbered(PER_SEGMENT))
    disk.breaks("rename")
    writer.append([LINE])
    assert writer.position.segment == 1
    disk.works()
    writer.close()
    assert len(contents(tmp_path)) == PER_SEGMENT + 1


def test_the_queue_in_memory_has_an_end_and_counts_what_it_loses(tmp_path: Path, disk: Disk) -> None:
    writer = open_writer(tmp_path, queue_bytes=3 * len(LINE))
    disk.breaks("pwrite")
    for _ in range(5):
        writer.append([LINE])
    assert writer.stats[1:4] == (0, 3, 2)
    disk.works()
    writer.sync()
    assert writer.stats[1:4] == (3, 0, 2)
    writer.close()


# --- a disk that does not sync ---


@pytest.mark.parametrize("window_ms", [0, 50])
def test_what_a_failed_sync_leaves_in_doubt_is_written_again_into_a_fresh_segment(
    tmp_path: Path, disk: Disk, window_ms: int
) -> None:
    writer = open_writer(tmp_path, window_ms)
    lines = numbered(4)
    writer.append(lines[:1])
    writer.sync()
    real = os.fdatasync
    failures = [OSError(errno.EIO, os.strerror(errno.EIO))]

    def fdatasync(descriptor: int) -> None:
        if failures:
            raise failures.pop()
        real(descriptor)

    disk._patch.setattr(os, "fdatasync", fdatasync)
    writer.append(lines[1:3])
    writer.sync()
    assert writer.stats.sync_failures == 1
    assert writer.failed == ""
    writer.append(lines[3:])
    writer.close()
    second = tmp_path / "journal-0000000002.log"
    assert scan(second.read_bytes()).payloads == payloads(lines[1:])
    assert contents(tmp_path) == payloads([*lines[:3], *lines[1:]])


def test_a_disk_that_never_syncs_is_said_and_loses_nothing_that_was_read_meanwhile(tmp_path: Path, disk: Disk) -> None:
    writer = open_writer(tmp_path)
    lines = numbered(6)
    disk.breaks("fdatasync")
    disk.breaks("posix_fallocate", errno.ENOSPC)
    for each in lines:
        writer.append([each])
        writer.sync()
        assert "cannot sync the journal" in writer.failed
    assert set(contents(tmp_path)) == set(payloads(lines))
    disk.works()
    for _ in range(3):
        writer.sync()
    assert writer.failed == ""
    newest = tmp_path / segment_files(tmp_path)[-1]
    assert scan(newest.read_bytes()).payloads == payloads(lines)
    writer.close()


def test_what_is_in_doubt_is_remembered_up_to_a_limit(tmp_path: Path, disk: Disk) -> None:
    writer = open_writer(tmp_path, queue_bytes=2 * len(LINE))
    disk.breaks("fdatasync")
    disk.breaks("posix_fallocate", errno.ENOSPC)
    lines = numbered(5)
    writer.append(lines[:1])
    writer.sync()
    writer.sync()
    for each in lines[1:]:
        writer.append([each])
    disk.works()
    for _ in range(3):
        writer.sync()
    assert writer.failed == ""
    assert scan((tmp_path / segment_files(tmp_path)[-1]).read_bytes()).payloads == payloads(lines[-2:])
    writer.close()


def test_closing_on_a_dead_disk_does_not_raise(tmp_path: Path, disk: Disk) -> None:
    writer = open_writer(tmp_path)
    writer.append([LINE])
    for call in ("pwrite", "fdatasync", "fsync", "ftruncate", "unlink"):
        disk.breaks(call)
    writer.close()
    disk.works()
    assert contents(tmp_path) == payloads([LINE])


# --- lag ---


def test_the_backlog_counts_the_bytes_behind_a_position(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    assert writer.backlog(Position(1, 0)) == 0
    for number in range(5):
        writer.append(numbered(PER_SEGMENT, number * PER_SEGMENT))
        writer.sync()
    size = PER_SEGMENT * len(LINE)
    assert writer.position == Position(5, size)
    assert writer.backlog(Position(5, 100)) == size - 100
    assert writer.backlog(Position(4, size)) == size
    assert writer.backlog(Position(2, 100)) == 4 * size - 100
    assert writer.backlog(Position()) == 5 * size
    assert writer.backlog(writer.position) == 0
    assert writer.backlog(Position(9, 0)) == size
    writer.close()


def test_answers_and_ends_are_much_smaller_than_attempts() -> None:
    seal = new_seal()
    assert len(line(attempted(), seal)) < 450
    assert len(line(answered(), seal)) < 150
    assert len(line(ended(), seal)) < 250
