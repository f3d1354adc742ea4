"""The journal on disk, reading side: follow it from a position, step over damage, remove what is stored."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from cdr.journal import Position, Verdict, salvage, scan
from cdr.store.files import (
    READER_LOCK,
    damaged_path,
    list_segments,
    lock,
    make_directory,
    segment_path,
)


class Batch(NamedTuple):
    """What one reading gave.

    `payloads` stand before `position`, which is where to go on. `damaged` counts lines that were lost to damage, `torn`
    says that a segment ended within a line, as after a loss of power, and `restarted` that the journal was replaced by
    one with lower numbers and is read from its start.
    """

    payloads: list[bytes]
    position: Position
    segment: int
    damaged: int = 0
    torn: bool = False
    restarted: bool = False


class Reader:
    """Reads a journal that is being written. One at a time, unless `shared`: then it must not remove anything."""

    def __init__(self, directory: Path | str, *, window_bytes: int = 1 << 20, shared: bool = False) -> None:
        """Make the directory if need be and lock it against other readers. Raises JournalError.

        `window_bytes` is read at a time and must be longer than the longest line.
        """
        self._directory = Path(directory)
        self._window_bytes = window_bytes
        self._round = 0
        self._suspect = (Position(), 0)
        make_directory(self._directory)
        self._lock = -1 if shared else lock(self._directory / READER_LOCK, "recorder that reads this journal")

    def follow(self, position: Position) -> Iterator[Batch]:
        """Batches from `position` on, until nothing more is there at the moment; call again later for more.

        Never reads past an unfinished line in the segment that is being written: it may still be finished. A bad line
        there is believed only when a later call sees it again, since a page that is being written may show half of it.
        Raises OSError when the disk fails.
        """
        self._round += 1
        while True:
            # Before the data: a segment that is not the highest now will never be written again.
            numbers = list_segments(self._directory)
            if not numbers:
                return
            batch = self._read(position, numbers)
            if batch.position == position:
                return
            position = batch.position
            yield batch

    def keep(self, segment: int) -> None:
        """Give a segment a second name, so that what is in it outlives `remove_before`."""
        # Where the file system has no links the count alone tells of the damage.
        with contextlib.suppress(OSError):
            os.link(segment_path(self._directory, segment), damaged_path(self._directory, segment))

    def remove_before(self, position: Position) -> int:
        """Remove the segments that lie whole before `position`; how many. The highest always stays."""
        removed = 0
        for number in list_segments(self._directory)[:-1]:
            if number < position.segment:
                segment_path(self._directory, number).unlink(missing_ok=True)
                removed += 1
        return removed

    def close(self) -> None:
        """Let another reader in."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _read(self, position: Position, numbers: list[int]) -> Batch:
        restarted = position.segment > numbers[-1]
        if restarted:
            position = Position()
        index = next(index for index, number in enumerate(numbers) if number >= position.segment)
        number = numbers[index]
        offset = position.offset if number == position.segment else 0
        closed = index < len(numbers) - 1
        data, at_end = self._load(number, offset)
        payloads: list[bytes] = []
        damaged = at = 0
        while True:
            found = scan(data, at)
            payloads += found.payloads
            at += found.consumed
            if found.verdict is not Verdict.DAMAGED or not (closed or self._believed(Position(number, offset + at))):
                break
            saved = salvage(data, at)
            payloads += saved.payloads
            damaged += saved.lost
            at += saved.consumed
        torn = False
        if closed and at_end:
            torn = found.verdict is Verdict.PARTIAL
            following = Position(numbers[index + 1], 0)
        elif closed and at < len(data) and (found.verdict is Verdict.PADDING or not at):
            # A hole, or a run of bytes longer than any line.
            damaged += found.verdict is Verdict.PARTIAL
            following = Position(number, offset + len(data))
        else:
            following = Position(number, offset + at)
        if damaged:
            self.keep(number)
        return Batch(payloads, following, number, damaged, torn, restarted)

    def _believed(self, place: Position) -> bool:
        suspect, first_round = self._suspect
        if suspect != place:
            self._suspect = (place, self._round)
            return False
        return first_round < self._round

    def _load(self, number: int, offset: int) -> tuple[bytes, bool]:
        """A window of a segment, and whether it reaches the segment's end."""
        descriptor = os.open(segment_path(self._directory, number), os.O_RDONLY)
        try:
            data = os.pread(descriptor, self._window_bytes, offset)
            return data, offset + len(data) >= os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)
