"""The journal on disk, writing side.

What it survives:

- the process being killed at any instant: `append` returns when the kernel has the bytes;
- power loss: all up to the last `sync`, which the shell calls within a stated window (or which `append` does itself);
- a full disk: segments are allocated before they are needed, the next one while the present one is nearly empty. When
  that fails, `failed` says so and new calls are to be refused; the ends of the calls that are up still have their room;
- a disk that refuses to write or to sync: lines wait in a bounded queue in memory, and what was not known to be on disk
  is written a second time into a fresh segment. Readers take a line that comes twice as one;
- a start after any of these: a fresh segment is begun, never a line set behind a torn one.
"""

import contextlib
import errno
import os
import threading
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from cdr.journal import Position
from cdr.store.files import (
    SPARE,
    JournalError,
    highest_number,
    list_segments,
    lock,
    make_directory,
    segment_path,
)
from cdr.store.follow import Batch, Reader

__all__ = ["Batch", "JournalError", "Position", "Reader", "Writer", "WriterStats"]

SYNC_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)  # seconds
_TRIM_BYTES = 1 << 20
_LONGEST_RETRY_SECONDS = 30.0


class WriterStats(NamedTuple):
    """Counters since the writer was opened, for metrics."""

    bytes: int
    lines: int
    queued: int  # chunks that wait in memory for the disk to come back
    lost: int  # lines that found the queue full
    syncs: int
    sync_failures: int
    sync_counts: tuple[int, ...]  # forced writes by length, a count for each of SYNC_BOUNDS and one for what is above
    sync_seconds: float  # of all of them together


class Writer:
    """The one writer of a journal directory; a second one gets JournalError.

    `append` belongs to one thread, `sync` may be called from any; both never raise for a disk that fails.
    `failed` is "" or says why no new call may be admitted; reading it costs nothing. It clears by itself when the disk
    is back, provided that `sync` goes on being called, at least about once a second.
    """

    def __init__(
        self,
        directory: Path | str,
        segment_bytes: int = 64 << 20,
        sync_window_ms: int = 0,
        *,
        queue_bytes: int = 16 << 20,
        retry_seconds: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open the directory, making it if need be, and begin a fresh segment.

        With `sync_window_ms` 0 every append is synced before it returns; else the caller sees to it that `sync` runs at
        least that often. Raises JournalError when the directory cannot be used; a full disk shows in `failed` instead.
        """
        self.failed = ""
        self.sync_window_ms = sync_window_ms
        self._directory = Path(directory)
        self._segment_bytes = segment_bytes
        self._queue_limit = queue_bytes
        self._first_retry_seconds = self._retry_seconds = retry_seconds
        self._retry_at = 0.0
        self._clock = clock
        # _lock guards the state and is held for one write at most; _sync_lock lets one sync run at a time. Whoever
        # needs both takes _sync_lock first.
        self._lock = threading.Lock()
        self._sync_lock = threading.Lock()
        self._segment = self._spare = -1
        self._offset = 0
        self._queue: deque[bytes] = deque()
        self._queue_size = 0
        self._unsynced: deque[bytes] = deque()
        self._unsynced_size = 0
        self._retired: list[tuple[int, int]] = []
        self._names_changed = False
        self._suspect = False
        self._errors = {"write": "", "sync": "", "allocate": ""}
        self._bytes = self._lines = self._lost = self._syncs = self._sync_failures = 0
        self._sync_counts = [0] * (len(SYNC_BOUNDS) + 1)
        self._sync_seconds = 0.0
        make_directory(self._directory)
        self._directory_lock = lock(self._directory, "switch that writes this journal")
        try:
            self._number = highest_number(self._directory)
            self._adopt()
        except OSError as error:
            os.close(self._directory_lock)
            raise JournalError(f"cannot use the journal in {self._directory}: {error}") from error
        self._allocate()
        self.sync()

    def append(self, lines: Sequence[bytes]) -> bool:
        """Write framed lines, in one system call. True: the kernel has them (and with `sync_window_ms` 0 the disk);
        else they wait in memory, and `failed` says why."""
        if not lines:
            return True
        data = b"".join(lines)
        with self._lock:
            if self._queue:
                self._enqueue(data)
            else:
                if self._offset + len(data) > self._segment_bytes and self._offset:
                    self._rotate()
                rest = self._write(data)
                if rest:
                    self._enqueue(rest)
                    self._drain()
        if not self.sync_window_ms:
            self.sync()
            return not (self._queue or self._suspect)
        return not self._queue

    def sync(self) -> None:
        """Put on disk what was appended before this call, allocate the next segment, retry what failed."""
        with self._sync_lock:
            self._flush()
            self._allocate()
            with self._lock:
                renewed = self._suspect and self._renew()
                if self._queue:
                    self._drain()
            if renewed:
                self._flush()

    @property
    def tight(self) -> bool:
        """Whether less than half of the room that is left without a disk remains: the segment's rest and the queue."""
        room = self._segment_bytes + self._queue_limit
        return self._offset + self._queue_size > room // 2

    @property
    def position(self) -> Position:
        """Where the next line will go."""
        return Position(self._number, self._offset)

    @property
    def stats(self) -> WriterStats:
        """Counters since this writer was opened."""
        return WriterStats(
            self._bytes,
            self._lines,
            len(self._queue),
            self._lost,
            self._syncs,
            self._sync_failures,
            tuple(self._sync_counts),
            self._sync_seconds,
        )

    def backlog(self, stored: Position) -> int:
        """How many bytes of the journal lie behind `stored`, the recorder's position."""
        if stored.segment == self._number:
            return max(0, self._offset - stored.offset)
        total = self._offset
        for number in list_segments(self._directory):
            if stored.segment <= number < self._number:
                with contextlib.suppress(FileNotFoundError):
                    total += segment_path(self._directory, number).stat().st_size
                if number == stored.segment:
                    total -= stored.offset
        return max(0, total)

    def close(self) -> None:
        """Sync, give back the space that was not used, let another writer in. Lines appended later stay in memory."""
        self.sync()
        with self._sync_lock, self._lock:
            if self._segment >= 0:
                self._retired.append((self._segment, self._offset))
                self._segment = -1
            self._release_retired()
            if self._spare >= 0:
                os.close(self._spare)
                self._spare = -1
                with contextlib.suppress(OSError):
                    (self._directory / SPARE).unlink()
            if self._directory_lock >= 0:
                os.close(self._directory_lock)
                self._directory_lock = -1
            self.failed = "the journal is closed"

    # --- below, the caller holds _lock ---

    def _write(self, data: bytes) -> bytes:
        """Write what can be written and return the rest, cut at a line."""
        if self._segment < 0:
            return data
        done = 0
        try:
            while done < len(data):
                written = os.pwrite(self._segment, data[done:] if done else data, self._offset + done)
                if not written:
                    raise OSError(errno.EIO, "nothing was written")
                done += written
        except OSError as error:
            done = data.rfind(b"\n", 0, done) + 1
            self._report("write", f"cannot write the journal: {error.strerror}")
        else:
            self._report("write", "")
        if done:
            chunk = data if done == len(data) else data[:done]
            self._offset += done
            self._bytes += done
            self._lines += chunk.count(b"\n")
            self._unsynced.append(chunk)
            self._unsynced_size += done
            # Only while syncing fails: then the oldest stand in the page cache alone.
            while self._unsynced_size > self._queue_limit:
                self._unsynced_size -= len(self._unsynced.popleft())
        return data[done:]

    def _enqueue(self, data: bytes) -> None:
        if self._queue_size + len(data) > self._queue_limit:
            self._lost += data.count(b"\n")
            return
        self._queue.append(data)
        self._queue_size += len(data)

    def _drain(self) -> None:
        """Write the queue; when the present segment takes nothing, into the next."""
        rotated = False
        while self._queue:
            chunk = self._queue[0]
            rest = self._write(chunk)
            self._queue_size -= len(chunk) - len(rest)
            if not rest:
                self._queue.popleft()
                continue
            self._queue[0] = rest
            if rotated or not self._rotate():
                return
            rotated = True

    def _rotate(self) -> bool:
        """Go over to the spare segment. Without one, False: the present segment then grows beyond its size."""
        if self._spare < 0:
            return False
        try:
            os.rename(self._directory / SPARE, segment_path(self._directory, self._number + 1))
        except OSError as error:
            self._report("write", f"cannot begin a journal segment: {error.strerror}")
            return False
        if self._segment >= 0:
            self._retired.append((self._segment, self._offset))
        self._segment, self._spare = self._spare, -1
        self._number += 1
        self._offset = 0
        self._names_changed = True
        return True

    def _renew(self) -> bool:
        """After a sync that failed: write all that is not known to be on disk once more, into a fresh segment.

        A failed sync does not tell which pages were lost, and the next one would not fail for them again.
        """
        if not self._rotate():
            return False
        self._suspect = False
        self._queue.extendleft(reversed(self._unsynced))
        self._queue_size += self._unsynced_size
        self._unsynced.clear()
        self._unsynced_size = 0
        return True

    def _report(self, what: str, error: str) -> None:
        if self._errors[what] != error:
            self._errors[what] = error
            self.failed = next(filter(None, self._errors.values()), "")

    # --- below, the caller holds _sync_lock, or is the constructor ---

    def _flush(self) -> None:
        with self._lock:
            if self._suspect or not (self._unsynced or self._retired or self._names_changed):
                return
            chunks, self._unsynced = self._unsynced, deque()
            size, self._unsynced_size = self._unsynced_size, 0
            retired, self._retired = self._retired, []
            names_changed, self._names_changed = self._names_changed, False
            segment = self._segment
        started = self._clock()
        try:
            for descriptor, used in retired:
                os.ftruncate(descriptor, used)
                os.fdatasync(descriptor)
            os.fdatasync(segment)
            if names_changed:
                os.fsync(self._directory_lock)
        except OSError as error:
            with self._lock:
                self._unsynced.extendleft(reversed(chunks))
                self._unsynced_size += size
                self._names_changed = True
                self._suspect = True
                self._sync_failures += 1
                self._report("sync", f"cannot sync the journal: {error.strerror}")
        else:
            with self._lock:
                self._report("sync", "")
                self._syncs += 1
                took = self._clock() - started
                self._sync_counts[bisect_left(SYNC_BOUNDS, took)] += 1
                self._sync_seconds += took
        for descriptor, _used in retired:
            os.close(descriptor)

    def _allocate(self) -> None:
        """Have the next segment ready. Tried again ever more slowly while there is no room."""
        if self._spare >= 0 or self._directory_lock < 0 or self._clock() < self._retry_at:
            return
        path = self._directory / SPARE
        descriptor = -1
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
            os.posix_fallocate(descriptor, 0, self._segment_bytes)
            os.fsync(descriptor)
        except OSError as error:
            if descriptor >= 0:
                os.close(descriptor)
                with contextlib.suppress(OSError):
                    path.unlink()
            self._retry_at = self._clock() + self._retry_seconds
            self._retry_seconds = min(self._retry_seconds * 2, _LONGEST_RETRY_SECONDS)
            with self._lock:
                self._report("allocate", f"no room for the next journal segment: {error.strerror}")
            return
        self._retry_seconds = self._first_retry_seconds
        with self._lock:
            self._spare = descriptor
            self._report("allocate", "")
            if self._segment < 0:
                self._rotate()

    def _release_retired(self) -> None:
        for descriptor, used in self._retired:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, used)
            os.close(descriptor)
        self._retired.clear()

    def _adopt(self) -> None:
        """Take over what the writer before left: a spare that was in use after all, a segment with room at its end."""
        spare = self._directory / SPARE
        if spare.exists() and _used_bytes(spare):
            # Its new name was lost with the power.
            self._number += 1
            os.rename(spare, segment_path(self._directory, self._number))
        numbers = list_segments(self._directory)
        if numbers:
            path = segment_path(self._directory, numbers[-1])
            os.truncate(path, _used_bytes(path))


def _used_bytes(path: Path) -> int:
    """The size of a file without the NULs at its end."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - _TRIM_BYTES)
            file.seek(start)
            used = len(file.read(end - start).rstrip(b"\0"))
            if used:
                return start + used
            end = start
    return 0
