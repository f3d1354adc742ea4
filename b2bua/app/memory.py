"""What the switch counted and who of a group called last, kept over a restart in a small file of its own.

A thread writes what has changed about once a second, together with the place in the journal up to which it is all. At
the start the file is read, and what the journal holds behind that place is counted again: a process that was killed
loses no count of an attempt that has a line there. The file is no truth of its own: one that is damaged is set aside
and begun anew, and never stops a call. Callers stand in it as keyed hashes, last callers sealed.
"""

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from cdr.journal import EntryError, Position, decode_event
from cdr.record import Ended, SealedAttempted, parse_parties
from cdr.seal import Seal, SealError
from cdr.store.files import list_segments
from cdr.store.follow import Reader
from routing.binding import OF_GROUPS
from routing.counters import Changes, Counted, Counters, Dialled
from routing.last_callers import LastCallers
from routing.policy import Policy
from routing.reason import Reason
from routing.windows import CHINA_MS, DAY_MS

__all__ = ["Batch", "Memory", "Replayed", "replay"]

NAME: Final = "switch-memory.db"
APPLICATION: Final = int.from_bytes(b"x7sm", "big")
VERSION: Final = 1
# Totals and last callers that nobody has touched for so long belong to bindings that are over.
KEPT_MS: Final = 400 * DAY_MS
# So often what is over is looked for.
TIDY_MS: Final = 60_000
# Rows of past windows that are removed in one go: more would keep the next changes waiting.
REMOVED_AT_ONCE: Final = 20_000
# Without a file, so much of the journal is counted again at most: some 250,000 attempts, in about two seconds.
SEGMENTS_WITHOUT_FILE: Final = 4
RETRY_SECONDS: Final = 1.0
CLOSE_SECONDS: Final = 5.0

_SCHEMA: Final = (
    f"PRAGMA application_id = {APPLICATION}",
    f"PRAGMA user_version = {VERSION}",
    "CREATE TABLE place (only INTEGER PRIMARY KEY CHECK (only = 1), segment INTEGER, offset INTEGER) STRICT",
    # attempts that are counted already, though their lines come behind the place
    "CREATE TABLE ahead (record_id TEXT PRIMARY KEY) STRICT, WITHOUT ROWID",
    """
    CREATE TABLE counts (
        span_ms INTEGER, number INTEGER, key BLOB, times INTEGER NOT NULL, PRIMARY KEY (span_ms, number, key)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE dialled (
        span_ms INTEGER, number INTEGER, pair BLOB, PRIMARY KEY (span_ms, number, pair)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE TABLE totals (binding TEXT PRIMARY KEY, calls INTEGER NOT NULL, at_ms INTEGER NOT NULL)"
    " STRICT, WITHOUT ROWID",
    "CREATE TABLE last_callers (binding TEXT PRIMARY KEY, caller BLOB NOT NULL, at_ms INTEGER NOT NULL)"
    " STRICT, WITHOUT ROWID",
)
# Refusals by routing itself: such an attempt was not counted. Those of the hook come after the counting.
_NOT_COUNTED: Final = frozenset(Reason) - {Reason.VERIFICATION_REFUSED, Reason.VERIFICATION_FAILED}


class Batch(NamedTuple):
    """One second's changes. ``ahead`` are record ids that are counted in them and lie behind ``position``."""

    changes: Changes
    last_callers: list[tuple[str, str]]
    position: Position
    ahead: Sequence[str]
    now_ms: int


class Memory:
    """One file, with the thread that writes it. ``log`` is told of a file that had to be begun anew, and when it
    cannot be written for a while. ``lost``: it was begun anew while it was in use, and needs to be told everything."""

    def __init__(self, path: Path, seal: Seal, log: Callable[..., None], now_ms: int) -> None:
        """Open the file, or begin it; never raises for the file's sake."""
        self.failure = ""
        self.lost = False
        self._path = path
        self._seal = seal
        self._log = log
        self._reading: sqlite3.Connection | None = None
        # Each try may keep the calls waiting, so after one that failed there is none for a while.
        self._read_again = 0.0
        self._position: Position | None = None
        self._ahead: frozenset[str] = frozenset()
        self._counts: list[Counted] = []
        self._dialled: list[Dialled] = []
        try:
            self._load(now_ms)
        except (sqlite3.Error, ValueError, OSError) as error:
            self._begin_anew(error)
        self._tidied_ms = 0
        self._wake = threading.Event()
        self._batch: Batch | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="switch-memory", daemon=True)
        self._thread.start()

    # what was written down

    def restore(
        self, counters: Counters, last_callers: LastCallers, policy: Policy, journal: Path, now_ms: int
    ) -> "Replayed":
        """Take over the file, then count what the journal holds behind it; how much that was."""
        counters.restore(self._counts, self._dialled, policy.settings.fan_out_seconds * 1000, now_ms)
        self._counts, self._dialled = [], []
        position = self._position
        if position is None:
            segments = list_segments(journal) if journal.is_dir() else []
            position = (
                Position(segments[-SEGMENTS_WITHOUT_FILE], 0) if len(segments) > SEGMENTS_WITHOUT_FILE else Position()
            )
        done = replay(journal, position, self._ahead, policy, counters, last_callers, self._seal)
        counters.alerts.clear()  # told before the restart
        counters.fan_outs = 0
        return done

    def total(self, binding: str) -> int | None:
        """How many calls a binding was let through, as far as it is written down; None while that cannot be read."""
        row = self._row("SELECT calls FROM totals WHERE binding = ?", binding)
        return None if row is None else int(row[0]) if row else 0

    def last_caller(self, binding: str) -> str | None:
        """The last caller (E.164) of a binding's group, '' when none is written down; None while that cannot be
        read."""
        row = self._row("SELECT caller FROM last_callers WHERE binding = ?", binding)
        if row is None:
            return None
        if not row or not isinstance(row[0], bytes):
            return ""
        try:
            return self._seal.open(row[0], binding)
        except SealError:
            return ""  # of another keyring: B reaches the default A

    # writing

    @property
    def busy(self) -> bool:
        """Whether the last changes are not written yet: no others are taken meanwhile."""
        return self._batch is not None

    def save(self, batch: Batch) -> None:
        """Have changes written by the thread. Only while not ``busy``."""
        self._batch = batch
        self._wake.set()

    def close(self) -> None:
        """Write what was handed over, and stop."""
        if self._reading is not None:
            self._reading.close()
            self._reading = None
        self._closing = True
        self._wake.set()
        self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        connection: sqlite3.Connection | None = None
        while True:
            self._wake.wait()
            self._wake.clear()
            while (batch := self._batch) is not None:
                try:
                    connection = connection or _open(self._path)
                    _write(connection, batch, self._seal, self._tidy(batch.now_ms))
                except (sqlite3.Error, ValueError, OSError) as error:
                    if connection is not None:
                        connection.close()
                        connection = None
                    if isinstance(error, (sqlite3.OperationalError, OSError)):
                        self._failed(error)  # full or locked: it may be better in a moment
                        if self._closing:
                            break
                        self._wake.wait(RETRY_SECONDS)
                        self._wake.clear()
                    else:
                        self._begin_anew(error)
                        self._batch = None
                        self.lost = True
                else:
                    if self.failure:
                        self.failure = ""
                        self._log("memory_recovered")
                    self._batch = None
            if self._closing:
                break
        if connection is not None:
            connection.close()

    def _tidy(self, now_ms: int) -> bool:
        if abs(now_ms - self._tidied_ms) < TIDY_MS:
            return False
        self._tidied_ms = now_ms
        return True

    def _failed(self, error: Exception) -> None:
        if str(error) != self.failure:
            self.failure = str(error)
            self._log("memory_failed", reason=f"{self._path}: {error}")

    # the file

    def _row(self, sql: str, binding: str) -> tuple[int] | tuple[bytes] | tuple[()] | None:
        """The row of a binding, () where there is none; None while the file cannot be read."""
        if time.monotonic() < self._read_again:
            return None
        try:
            if self._reading is None:
                # closed by another thread, once nobody reads any more
                place = f"{self._path.as_uri()}?mode=ro"
                self._reading = sqlite3.connect(place, uri=True, timeout=0.01, check_same_thread=False)
            row: tuple[int] | tuple[bytes] | None = self._reading.execute(sql, (binding,)).fetchone()
            return row or ()
        except sqlite3.Error as error:
            self._failed(error)
            self._reading = None
            self._read_again = time.monotonic() + RETRY_SECONDS
            return None

    def _load(self, now_ms: int) -> None:
        with contextlib.closing(_open(self._path)) as connection:
            place = connection.execute("SELECT segment, offset FROM place").fetchone()
            self._position = None if place is None else Position(*place)
            self._ahead = frozenset(row[0] for row in connection.execute("SELECT record_id FROM ahead"))
            china = now_ms + CHINA_MS
            current = "number >= ? / span_ms"
            self._counts = [
                Counted(*row)
                for row in connection.execute(
                    f"SELECT span_ms, number, key, times FROM counts WHERE {current}", (china,)
                )
            ]
            self._dialled = [
                Dialled(*row)
                for row in connection.execute(f"SELECT span_ms, number, pair FROM dialled WHERE {current}", (china,))
            ]

    def _begin_anew(self, error: Exception) -> None:
        aside = self._path.with_suffix(".damaged")
        self._position, self._ahead, self._counts, self._dialled = None, frozenset(), [], []
        try:
            for end in ("-wal", "-shm"):
                Path(f"{self._path}{end}").unlink(missing_ok=True)
            if self._path.exists():
                self._path.replace(aside)
            _open(self._path).close()
        except (sqlite3.Error, OSError) as again:
            self._failed(again)
            return
        self._log("memory_replaced", reason=str(error), kept=str(aside))


def _open(path: Path) -> sqlite3.Connection:
    """The file for writing, made where there is none. ValueError when it is another program's or a newer one's."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        connection.execute("PRAGMA journal_mode = WAL")
        # A killed process loses nothing so; after a power cut the journal is counted again from an older place.
        connection.execute("PRAGMA synchronous = NORMAL")
        if (application, version) == (0, 0):
            connection.execute("BEGIN IMMEDIATE")
            for statement in _SCHEMA:
                connection.execute(statement)
            connection.execute("COMMIT")
        elif (application, version) != (APPLICATION, VERSION):
            raise ValueError("is no memory of this version of the switch")
    except BaseException:
        connection.close()
        raise
    return connection


def _write(connection: sqlite3.Connection, batch: Batch, seal: Seal, tidy: bool) -> None:
    changes, now_ms = batch.changes, batch.now_ms
    callers = [(binding, seal.seal(caller, binding), now_ms) for binding, caller in batch.last_callers]
    connection.execute("BEGIN IMMEDIATE")
    try:
        many = connection.executemany
        many("INSERT OR REPLACE INTO counts VALUES (?, ?, ?, ?)", changes.counts)
        many("INSERT OR IGNORE INTO dialled VALUES (?, ?, ?)", changes.dialled)
        many("INSERT OR REPLACE INTO totals VALUES (?, ?, ?)", ((*total, now_ms) for total in changes.totals))
        many("INSERT OR REPLACE INTO last_callers VALUES (?, ?, ?)", callers)
        connection.execute("DELETE FROM ahead")
        many("INSERT INTO ahead VALUES (?)", ((record_id,) for record_id in batch.ahead))
        connection.execute("INSERT OR REPLACE INTO place VALUES (1, ?, ?)", batch.position)
        if tidy:
            _remove_past(connection, now_ms)
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _remove_past(connection: sqlite3.Connection, now_ms: int) -> None:
    for table, key in (("counts", "key"), ("dialled", "pair")):
        names = f"span_ms, number, {key}"
        connection.execute(
            f"DELETE FROM {table} WHERE ({names}) IN"
            f" (SELECT {names} FROM {table} WHERE number < ? / span_ms LIMIT {REMOVED_AT_ONCE})",
            (now_ms + CHINA_MS,),
        )
    for table in ("totals", "last_callers"):
        connection.execute(f"DELETE FROM {table} WHERE at_ms < ?", (now_ms - KEPT_MS,))


class Replayed(NamedTuple):
    """What was found in the journal behind the file: lines, and attempts that were counted again."""

    lines: int
    attempts: int


def replay(
    directory: Path,
    position: Position,
    ahead: Iterable[str],
    policy: Policy,
    counters: Counters,
    last_callers: LastCallers,
    seal: Seal,
) -> Replayed:
    """Count the attempts that stand in the journal behind ``position``, all but those ``ahead``, which are counted
    already. Damage is stepped over. An attempt that routing refused was not counted, and is not now."""
    if not directory.is_dir():
        return Replayed(0, 0)
    skipped = frozenset(ahead)
    reader = Reader(directory, shared=True)
    attempts: dict[str, SealedAttempted] = {}
    lines = 0
    try:
        # twice: a damaged line at the very end is believed only when it is seen again
        for _ in range(2):
            for batch in reader.follow(position):
                position = batch.position
                lines += len(batch.payloads)
                for payload in batch.payloads:
                    with contextlib.suppress(EntryError):
                        _gather(payload, attempts, skipped)
    finally:
        reader.close()
    for attempt in attempts.values():
        _count(attempt, policy, counters, last_callers, seal)
    return Replayed(lines, len(attempts))


def _gather(payload: bytes, attempts: dict[str, SealedAttempted], skipped: frozenset[str]) -> None:
    entry = decode_event(payload)
    if isinstance(entry, SealedAttempted):
        if entry.binding_id and entry.record_id not in skipped:
            attempts[entry.record_id] = entry
    elif isinstance(entry, Ended) and entry.outcome == "refused" and entry.reason in _NOT_COUNTED:
        attempts.pop(entry.record_id, None)


def _count(attempt: SealedAttempted, policy: Policy, counters: Counters, last_callers: LastCallers, seal: Seal) -> None:
    from_b = attempt.calling == "b"
    call = attempt.kind == "call"
    claim = policy.claim_of(
        attempt.kind,
        attempt.business_user,
        attempt.scenario,
        attempt.binding_id,
        1 if call else 0,  # whether its calls are limited the record does not say
        "",
        attempt.b_hash if from_b else attempt.a_hash,
        attempt.y if from_b and attempt.y else attempt.x,
    )
    if claim is not None:
        counters.count(0, claim, "", attempt.business_user, attempt.scenario, attempt.arrived_ms)
    if call and attempt.calling == "a" and attempt.mode in OF_GROUPS:
        try:
            caller = parse_parties(seal.open(attempt.sealed, attempt.record_id)).a
        except ValueError:
            return  # sealed with a key that is gone
        last_callers.note(attempt.binding_id, caller)
