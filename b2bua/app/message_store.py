"""Short messages on disk, from their 202 to the end of their record: an SQLite file, written by a thread.

The switch's own thread hands orders over and goes on; the thread carries out all that have gathered in one transaction,
forced to disk, and says so. Numbers and texts are sealed. One that has its end stays as a key for a while, so that a
sender whose 202 was lost is told again that it is taken, and not sent on twice.
"""

import json
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from b2bua.call.stored import Kept, Mark, Stored, StoredMessage, Write
from cdr.seal import Seal

__all__ = ["MessageStore", "MessageStoreError", "Told"]

Told = list[tuple[str, bool]]
"""Record ids of orders that the switch waits for, and whether each could be carried out."""

_VERSION: Final = 1
_SCHEMA: Final = """
    CREATE TABLE messages (
        record_id TEXT PRIMARY KEY,
        state TEXT NOT NULL,
        tries INTEGER NOT NULL,
        due_ms INTEGER NOT NULL,
        key BLOB NOT NULL,
        message BLOB
    ) WITHOUT ROWID;
"""
_INSERT: Final = "INSERT OR REPLACE INTO messages VALUES (?, ?, 0, ?, ?, ?)"
_MARK: Final = "UPDATE messages SET state = ?, tries = ?, due_ms = ? WHERE record_id = ?"
_DONE: Final = "UPDATE messages SET state = ?, tries = ?, due_ms = ?, message = NULL WHERE record_id = ?"
_DROP: Final = "DELETE FROM messages WHERE record_id = ?"
_PURGE: Final = f"DELETE FROM messages WHERE state = '{Stored.DONE.value}' AND due_ms < ?"
_SELECT: Final = "SELECT record_id, state, tries, due_ms, key, message FROM messages ORDER BY due_ms"

# A request is repeated for 64·T1 at most, with the largest T1 there may be 640 s.
REMEMBERED_MS: Final = 700_000
PURGE_SECONDS: Final = 60.0
RETRY_SECONDS: Final = 0.5
# Orders that may wait for a disk that does not take them; what comes beyond is answered at once that it cannot be.
MOST_WAITING: Final = 50_000


class MessageStoreError(OSError):
    """The file cannot be used. The text names it and the reason."""


class MessageStore:
    """``told`` is called in the store's own thread. ``failure`` says why nothing can be written at the moment, ''
    while all is well."""

    def __init__(self, path: Path, seal: Seal, told: Callable[[Told], None]) -> None:
        """Open the file, made where there is none. Raises MessageStoreError."""
        self.failure = ""
        self._path = path
        self._seal = seal
        self._told = told
        self._orders: deque[Write | Mark] = deque()
        self._wake = threading.Event()
        self._stopping = False
        self._purged_at = 0.0
        self._thread: threading.Thread | None = None
        try:
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise MessageStoreError(f"message store {path}: {error}") from error
        try:
            path.chmod(0o600)
            self._prepare()
        except (sqlite3.Error, OSError) as error:
            self._connection.close()
            raise MessageStoreError(f"message store {path}: {error}") from error

    def load(self) -> list[Kept]:
        """What a process before has left, in the order in which it is due; to be called before ``start``. Of a message
        that has its end only the key is there. Raises MessageStoreError."""
        try:
            return [self._kept(row) for row in self._connection.execute(_SELECT)]
        except (sqlite3.Error, ValueError) as error:  # a SealError is one
            raise MessageStoreError(f"message store {self._path}: {error}") from error

    def start(self) -> None:
        """Begin to write."""
        self._thread = threading.Thread(target=self._run, name="message-store", daemon=True)
        self._thread.start()

    def put(self, orders: Sequence[Write | Mark]) -> None:
        """Have these carried out soon, in order."""
        if self.failure and len(self._orders) + len(orders) > MOST_WAITING:
            refused = [(_id_of(order), False) for order in orders if _awaited(order)]
            orders = [order for order in orders if not _awaited(order)]
            self._told(refused)
        self._orders.extend(orders)
        self._wake.set()

    @property
    def waiting(self) -> int:
        """How many orders are not carried out yet."""
        return len(self._orders)

    def close(self) -> None:
        """Carry out what is left, and close the file."""
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
        self._connection.close()

    def _prepare(self) -> None:
        run = self._connection.execute
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = FULL")
        run("PRAGMA secure_delete = ON")
        (version,) = run("PRAGMA user_version").fetchone()
        if version > _VERSION:
            raise sqlite3.DatabaseError(f"has version {version}, made by a later x700; this one reads {_VERSION}")
        if version == 0:
            run("BEGIN IMMEDIATE")
            run(_SCHEMA)
            run(f"PRAGMA user_version = {_VERSION}")
            run("COMMIT")

    def _run(self) -> None:
        while True:
            self._wake.wait(PURGE_SECONDS)
            self._wake.clear()
            taken = len(self._orders)
            orders = [self._orders.popleft() for _ in range(taken)]
            left = self._carry_out(orders) if orders else []
            if left:
                self._orders.extendleft(reversed(left))
                if self._stopping:
                    return
                time.sleep(RETRY_SECONDS)
                self._wake.set()
            elif self._stopping and not self._orders:
                return

    def _carry_out(self, orders: Sequence[Write | Mark]) -> Sequence[Write | Mark]:
        """All of them in one transaction; returns what is to be tried again."""
        run = self._connection.execute
        try:
            run("BEGIN IMMEDIATE")
            for order in orders:
                run(*self._statement(order))
            now = time.monotonic()
            if now - self._purged_at >= PURGE_SECONDS:
                self._purged_at = now
                run(_PURGE, (time.time_ns() // 1_000_000 - REMEMBERED_MS,))
            run("COMMIT")
        except (sqlite3.Error, OSError) as error:
            if self._connection.in_transaction:
                self._connection.rollback()
            self.failure = str(error)
            # who waits is told, and puts its message off; what nobody waits for is not lost
            self._told([(_id_of(order), False) for order in orders if _awaited(order)])
            return [order for order in orders if not _awaited(order)]
        self.failure = ""
        told = [(_id_of(order), True) for order in orders if _awaited(order)]
        if told:
            self._told(told)
        return []

    def _statement(self, order: Write | Mark) -> tuple[str, tuple[object, ...]]:
        if isinstance(order, Write):
            message = order.message
            record_id = message.record_id
            key = self._seal.seal(message.key, record_id)
            blob = self._seal.seal(json.dumps(message), record_id)
            return _INSERT, (record_id, Stored.WAITING.value, order.due_ms, key, blob)
        if order.state is Stored.REFUSED:
            return _DROP, (order.record_id,)
        statement = _DONE if order.state is Stored.DONE else _MARK
        return statement, (order.state.value, order.tries, order.due_ms, order.record_id)

    def _kept(self, row: tuple[str, str, int, int, bytes, bytes | None]) -> Kept:
        record_id, state, tries, due_ms, key, blob = row
        if blob is None:
            return Kept(_remembered(record_id, self._seal.open(key, record_id)), Stored(state), tries, due_ms)
        values = json.loads(self._seal.open(blob, record_id))
        message = StoredMessage(*values)
        concat = None if message.concat is None else (*message.concat,)
        return Kept(message._replace(binding=(*message.binding,), concat=concat), Stored(state), tries, due_ms)


def _id_of(order: Write | Mark) -> str:
    return order.message.record_id if isinstance(order, Write) else order.record_id


def _awaited(order: Write | Mark) -> bool:
    return isinstance(order, Write) or order.told


def _remembered(record_id: str, key: str) -> StoredMessage:
    """What is left of a message that has its end."""
    texts = ("", "", "", "", "", "")
    return StoredMessage(record_id, 0, key, *texts, 0, 0, 0, (), "", "text/plain", "", "", 0, None, -1, False)
