"""The journal's reader: follows a live writer, steps over damage, removes what is stored."""

import errno
import itertools
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdr.journal import Position, frame
from cdr.store.files import damaged_path, segment_path
from cdr.store.segments import JournalError, Reader, Writer
from tests.cdr.story import kill, segment_files

PAYLOADS = [b'["line",%d]' % number for number in range(40)]
LINES = [frame(payload) for payload in PAYLOADS]
START = Position()
SIZE = len(LINES[0])


def put(directory: Path, number: int, data: bytes) -> None:
    directory.mkdir(exist_ok=True)
    segment_path(directory, number).write_bytes(data)


def follow(reader: Reader, position: Position = START) -> tuple[list[bytes], Position, int, int]:
    """Payloads, the position reached, lines damaged, segments torn."""
    found: list[bytes] = []
    damaged = torn = 0
    for batch in reader.follow(position):
        found += batch.payloads
        position = batch.position
        damaged += batch.damaged
        torn += batch.torn
    return found, position, damaged, torn


def test_an_empty_directory_gives_nothing(tmp_path: Path) -> None:
    reader = Reader(tmp_path / "not" / "there")
    assert follow(reader) == ([], Position(), 0, 0)
    reader.close()


def test_a_second_recorder_is_told_so(tmp_path: Path) -> None:
    first = Reader(tmp_path)
    with pytest.raises(JournalError, match="in use: another recorder"):
        Reader(tmp_path)
    Reader(tmp_path, shared=True).close()
    first.close()
    first.close()
    Reader(tmp_path).close()


def test_a_live_journal_is_followed_line_by_line(tmp_path: Path) -> None:
    writer = Writer(tmp_path, 4 * SIZE, 50)
    reader = Reader(tmp_path)
    position = Position()
    for written, payload in zip(LINES, PAYLOADS, strict=True):
        writer.append([written])
        found, position, damaged, torn = follow(reader, position)
        assert (found, damaged, torn) == ([payload], 0, 0)
        assert position == writer.position
        assert writer.backlog(position) == 0
        writer.sync()
    assert follow(reader, position)[0] == []
    writer.close()
    reader.close()


@pytest.mark.parametrize("window", [SIZE + 2, 64, 100, 1 << 20])
def test_a_small_window_reads_the_same(tmp_path: Path, window: int) -> None:
    for number in range(4):
        put(tmp_path, number + 1, b"".join(LINES[number * 10 : number * 10 + 10]))
    reader = Reader(tmp_path, window_bytes=window)
    assert follow(reader) == (PAYLOADS, Position(4, sum(map(len, LINES[30:]))), 0, 0)
    reader.close()


def test_every_prefix_of_a_live_segment_waits_for_the_rest(tmp_path: Path) -> None:
    data = b"".join(LINES[:3])
    ends = [0, *itertools.accumulate(map(len, LINES[:3]))]
    reader = Reader(tmp_path)
    for cut in range(len(data) + 1):
        put(tmp_path, 1, data[:cut] + b"\0" * 50)
        found, position, damaged, torn = follow(reader)
        assert found == PAYLOADS[: sum(end <= cut for end in ends[1:])]
        assert position == Position(1, max(end for end in ends if end <= cut))
        assert (damaged, torn) == (0, 0)
        put(tmp_path, 1, data)
        assert found + follow(reader, position)[0] == PAYLOADS[:3]
    reader.close()


@pytest.mark.parametrize("padding", [0, 50, 5000])
def test_every_prefix_of_a_finished_segment_loses_its_torn_line_only(tmp_path: Path, padding: int) -> None:
    data = b"".join(LINES[:3])
    ends = list(itertools.accumulate(map(len, LINES[:3])))
    put(tmp_path, 2, LINES[3])
    reader = Reader(tmp_path)
    for cut in range(len(data) + 1):
        put(tmp_path, 1, data[:cut] + b"\0" * padding)
        found, position, damaged, torn = follow(reader)
        assert found == [*PAYLOADS[: sum(end <= cut for end in ends)], PAYLOADS[3]]
        assert position == Position(2, SIZE)
        assert (damaged, torn) == (0, 0 if cut in [0, *ends] else 1)
    assert not list(tmp_path.glob("*.damaged"))
    reader.close()


def test_a_damaged_line_of_a_finished_segment_is_skipped_counted_and_kept(tmp_path: Path) -> None:
    bad = bytearray(b"".join(LINES[:5]))
    bad[2 * SIZE + 12] ^= 4
    put(tmp_path, 1, bytes(bad))
    put(tmp_path, 2, LINES[5])
    reader = Reader(tmp_path)
    found, position, damaged, _torn = follow(reader)
    assert (found, damaged) == ([*PAYLOADS[:2], *PAYLOADS[3:6]], 1)
    assert reader.remove_before(position) == 1
    assert segment_files(tmp_path) == ["journal-0000000002.log"]
    assert damaged_path(tmp_path, 1).read_bytes() == bytes(bad)
    reader.close()


def test_a_damaged_line_of_the_live_segment_is_believed_on_second_sight(tmp_path: Path) -> None:
    good = b"".join(LINES[:3])
    bad = bytearray(good)
    bad[SIZE + 12] ^= 4
    reader = Reader(tmp_path)
    put(tmp_path, 1, bytes(bad))
    found, position, damaged, _ = follow(reader)
    assert (found, position, damaged) == (PAYLOADS[:1], Position(1, SIZE), 0)
    put(tmp_path, 1, good)
    assert follow(reader, position)[:3] == (PAYLOADS[1:3], Position(1, 3 * SIZE), 0)
    put(tmp_path, 1, bytes(bad))
    follow(reader, Position(1, SIZE))
    assert follow(reader, Position(1, SIZE))[:3] == (PAYLOADS[2:3], Position(1, 3 * SIZE), 1)
    reader.close()


def test_a_page_that_shows_late_is_waited_for(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    put(tmp_path, 1, LINES[0] + b"\0" * SIZE + LINES[2])
    assert follow(reader)[:3] == (PAYLOADS[:1], Position(1, SIZE), 0)
    put(tmp_path, 1, b"".join(LINES[:3]))
    assert follow(reader, Position(1, SIZE))[0] == PAYLOADS[1:3]
    reader.close()


def test_a_hole_in_a_finished_segment_is_stepped_over(tmp_path: Path) -> None:
    put(tmp_path, 1, LINES[0] + b"\0" * 5000 + LINES[1])
    put(tmp_path, 2, LINES[2])
    for window in (1 << 20, 1000, 64):
        reader = Reader(tmp_path, window_bytes=window)
        found, _, damaged, _ = follow(reader)
        assert found == PAYLOADS[:3]
        assert damaged >= (window > 64)
        reader.close()


def test_a_run_of_bytes_longer_than_any_line_is_stepped_over(tmp_path: Path) -> None:
    put(tmp_path, 1, LINES[0] + b"x" * 5000 + b"\n" + LINES[1])
    put(tmp_path, 2, LINES[2])
    reader = Reader(tmp_path, window_bytes=1000)
    found, _, damaged, _ = follow(reader)
    assert found == PAYLOADS[:3]
    assert damaged >= 1
    reader.close()


@given(st.binary(max_size=300), st.integers(SIZE + 2, 400))
@settings(max_examples=60, deadline=None)
def test_no_bytes_stop_the_reader(tmp_path_factory: pytest.TempPathFactory, rubbish: bytes, window: int) -> None:
    directory = tmp_path_factory.mktemp("journal")
    put(directory, 1, LINES[0] + rubbish + b"\n" + LINES[1])
    put(directory, 2, LINES[2])
    reader = Reader(directory, window_bytes=window)
    found, position, _, _ = follow(reader)
    assert [payload for payload in found if payload in PAYLOADS] == PAYLOADS[:3]
    assert position == Position(2, SIZE)
    reader.close()


def test_what_lies_whole_before_the_position_is_removed_and_the_newest_never(tmp_path: Path) -> None:
    for number in (3, 4, 5):
        put(tmp_path, number, LINES[number])
    reader = Reader(tmp_path)
    assert reader.remove_before(Position(3, SIZE)) == 0
    assert reader.remove_before(Position(5, 0)) == 2
    assert segment_files(tmp_path) == ["journal-0000000005.log"]
    assert reader.remove_before(Position(9, 0)) == 0
    reader.close()


def test_segments_removed_by_hand_are_no_obstacle(tmp_path: Path) -> None:
    put(tmp_path, 4, LINES[4])
    put(tmp_path, 9, LINES[5])
    reader = Reader(tmp_path)
    assert follow(reader, Position(2, 70))[:2] == (PAYLOADS[4:6], Position(9, SIZE))
    reader.close()


def test_a_journal_replaced_by_a_new_one_is_read_from_its_start(tmp_path: Path) -> None:
    put(tmp_path, 1, LINES[0])
    reader = Reader(tmp_path)
    batches = list(reader.follow(Position(57, 1000)))
    assert batches[0].restarted
    assert [batch.payloads for batch in batches] == [PAYLOADS[:1]]
    reader.close()


def test_a_writer_killed_and_started_again_leaves_nothing_out(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    found: list[bytes] = []
    position = Position()
    for start in range(0, 40, 10):
        writer = Writer(tmp_path, 4 * SIZE, 50)
        for each in LINES[start : start + 10]:
            writer.append([each])
            writer.sync()
        kill(writer)
        if start % 20:
            more, position, damaged, _ = follow(reader, position)
            found += more
            assert damaged == 0
    assert found == PAYLOADS
    reader.close()


def test_a_file_system_without_links_still_gives_the_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_arguments: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", no_links)
    put(tmp_path, 1, b"rubbish\n" + LINES[0])
    put(tmp_path, 2, b"")
    reader = Reader(tmp_path)
    assert follow(reader)[2] == 1
    reader.close()
