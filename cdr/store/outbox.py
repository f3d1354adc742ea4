"""What webhooks still have to be told, in one SQLite file beside the records.

The recorder writes it after the records and before its position; the process that delivers marks what became of each
event. A row is known by webhook, attempt and phase: written again after a crash, it is there already. Only the recorder
removes rows, and only once its position is past what made them: that is why nothing is told twice for a crash of its.

Everything raises StoreError when the file is at fault; nothing was half done then. A file that is damaged beyond use is
set aside, and a new one begun: what providers are told must never hold up the records.
"""

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import aiosqlite

from cdr.outbox import PHASES, Notice, event_id
from cdr.store.database import StoreError, close_quietly, open_database
from cdr.store.files import make_directory

__all__ = ["LOCK_NAME", "OUTBOX_NAME", "Counts", "Dead", "Item", "Outbox", "Result", "State", "parse_event_id"]

OUTBOX_NAME: Final = "outbox.db"
LOCK_NAME: Final = "outbox.lock"
DAMAGED_NAME: Final = "outbox-damaged.db"

# A writer says an event a second time within seconds, after a disk error; so long a delivered one must be remembered.
KEPT_MS: Final = 120_000
# For one webhook. Beyond, the newest events and the oldest dead letters are only counted: the records have them all.
MOST_WAITING: Final = 200_000
MOST_DEAD: Final = 50_000
DEAD_KEPT_MS: Final = 30 * 86_400_000
# Rows removed in one transaction: the other process waits for it.
_CHUNK: Final = 5_000

_VERSION: Final = 1
_SCHEMA: Final = """
    CREATE TABLE events (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        webhook TEXT NOT NULL,
        record_id TEXT NOT NULL,
        phase INTEGER NOT NULL,
        event TEXT NOT NULL,
        at_ms INTEGER NOT NULL,
        provider TEXT NOT NULL,
        facts BLOB NOT NULL,
        sealed BLOB NOT NULL,
        due_ms INTEGER NOT NULL,
        state INTEGER NOT NULL DEFAULT 0,
        attempts INTEGER NOT NULL DEFAULT 0,
        settled_ms INTEGER NOT NULL DEFAULT 0,
        status INTEGER NOT NULL DEFAULT 0,
        error TEXT NOT NULL DEFAULT ''
    );
    CREATE UNIQUE INDEX once ON events (webhook, record_id, phase);
    CREATE INDEX waiting ON events (webhook, due_ms, number) WHERE state = 0;
    CREATE INDEX delivered ON events (settled_ms) WHERE state = 1;
    CREATE INDEX dead ON events (webhook, number) WHERE state = 2;
    CREATE TABLE losses (webhook TEXT PRIMARY KEY, events INTEGER NOT NULL, last_ms INTEGER NOT NULL) WITHOUT ROWID;
"""

# An event of an attempt whose earlier event waits for another try waits as long. Were SQLite not told which index finds
# the attempt, it would look through all that waits for the webhook.
_INSERT: Final = """
    INSERT OR IGNORE INTO events (webhook, record_id, phase, event, at_ms, provider, facts, sealed, due_ms)
    SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, max(?9, coalesce(
        (SELECT max(due_ms) FROM events INDEXED BY once WHERE webhook = ?1 AND record_id = ?2 AND state = 0), 0))
"""
_DUE: Final = """
    SELECT number, event, record_id, phase, at_ms, provider, facts, sealed, attempts FROM events AS e
    WHERE webhook = ? AND state = 0 AND due_ms <= ? AND NOT EXISTS (
        SELECT 1 FROM events AS p
        WHERE p.webhook = e.webhook AND p.record_id = e.record_id AND p.phase < e.phase AND p.state = 0)
    ORDER BY due_ms, number LIMIT ?
"""
_COUNT: Final = "SELECT count(*) FROM events WHERE webhook = ?"
_DROP_OLDEST: Final = """
    DELETE FROM events WHERE number IN
        (SELECT number FROM events WHERE webhook = ? AND state = 2 ORDER BY number LIMIT ?)
"""
# Steps from webhook to webhook in the index, however many events wait for each.
_WAITING: Final = """
    WITH RECURSIVE hooks (webhook) AS (
        SELECT min(webhook) FROM events WHERE state = 0
        UNION ALL
        SELECT (SELECT min(webhook) FROM events WHERE state = 0 AND webhook > hooks.webhook) FROM hooks
        WHERE hooks.webhook IS NOT NULL)
    SELECT webhook FROM hooks WHERE webhook IS NOT NULL AND EXISTS (
        SELECT 1 FROM events WHERE events.webhook = hooks.webhook AND state = 0 AND due_ms <= ?)
"""
_COUNT_LOSS: Final = """
    INSERT INTO losses VALUES (?1, ?2, ?3)
    ON CONFLICT (webhook) DO UPDATE SET events = events + ?2, last_ms = ?3
"""


class State:
    """What may have become of an event."""

    WAITING: Final = 0
    DELIVERED: Final = 1
    DEAD: Final = 2


class Item(NamedTuple):
    """An event that is due at a webhook; `attempts` have failed."""

    number: int
    notice: Notice
    attempts: int


class Result(NamedTuple):
    """What became of an item. `due_ms` is when it is tried again, for one that waits. `status` is the HTTP status, 0
    when there was no answer."""

    number: int
    state: int
    due_ms: int
    status: int
    error: str


class Dead(NamedTuple):
    """A dead letter: an event that is not tried any more."""

    number: int
    id: str
    event: str
    record_id: str
    at_ms: int
    attempts: int
    settled_ms: int
    status: int
    error: str


class Counts(NamedTuple):
    """How a webhook fares. `lost` events were dropped because too many waited or were dead; `error` is what the event
    that waits longest has met with."""

    waiting: int = 0
    dead: int = 0
    lost: int = 0
    oldest_ms: int = 0
    error: str = ""


def parse_event_id(text: str) -> tuple[str, int]:
    """The record id and phase of an event's id; the pair of cdr.outbox.event_id. Raises ValueError."""
    record_id, dash, phase = text.rpartition("-")
    if not (record_id and dash and phase in PHASES):
        raise ValueError("an event's id is the record's id, a dash, and attempted, answered or ended")
    return record_id, PHASES.index(phase)


class Outbox:
    """The outbox in a records directory. Made when the first event is written; until then it reads as empty."""

    def __init__(self, directory: Path | str, *, durable: bool) -> None:
        """`durable`: what is written is on disk when a call returns. A mark that is lost tells an event again."""
        self._directory = Path(directory)
        self._path = self._directory / OUTBOX_NAME
        self._durable = durable
        self._connection: aiosqlite.Connection | None = None
        self._file = (0, 0)
        self._opening = asyncio.Lock()  # tasks that come at once share one connection
        self._writing = asyncio.Lock()  # and their transactions come one after the other
        self._full: frozenset[str] = frozenset()

    async def close(self) -> None:
        """Give back the file; a later call opens it again."""
        connection, self._connection = self._connection, None
        await close_quietly(connection)

    # --- for the recorder ---

    async def add(self, rows: Iterable[tuple[str, Notice]], now_ms: int) -> int:
        """Write events, each for the webhook named with it; how many were new. In order, all of them or none."""
        values: list[tuple[str | int | bytes, ...]] = []
        lost: dict[str, int] = {}
        for webhook, notice in rows:
            if webhook in self._full:
                lost[webhook] = lost.get(webhook, 0) + 1
                continue
            values.append(
                (
                    webhook, notice.record_id, notice.phase, notice.event, notice.at_ms, notice.provider,
                    notice.facts, notice.sealed, min(notice.at_ms, now_ms),
                )
            )  # fmt: skip
        if not values and not lost:
            return 0
        async with self._writing:
            try:
                return await self._add(values, lost, now_ms)
            except sqlite3.Error as error:
                await self._trouble(error)
                raise StoreError(f"cannot write {self._path}: {error}") from error

    async def tend(self, now_ms: int, known: Collection[str]) -> None:
        """Remove what nobody needs any more: what was delivered, what is of webhooks that are not `known`, and dead
        letters that are too old or too many. To be called only when the recorder's position is past all it has added.
        """
        try:
            connection = await self._ready(create=False)
            if connection is None:
                return
            await self._purge("state = 1 AND settled_ms <= ?", (now_ms - KEPT_MS,))
            await self._purge("state = 2 AND settled_ms <= ?", (now_ms - DEAD_KEPT_MS,))
            waiting, dead = await self._numbers(State.WAITING), await self._numbers(State.DEAD)
            for webhook in {*waiting, *dead}.difference(known):
                await self._purge("webhook = ?", (webhook,))
            for webhook, number in dead.items():
                if number > MOST_DEAD:
                    await connection.execute(_DROP_OLDEST, (webhook, number - MOST_DEAD))
                    await connection.execute(_COUNT_LOSS, (webhook, number - MOST_DEAD, now_ms))
                    await connection.commit()
            self._full = frozenset(webhook for webhook, number in waiting.items() if number >= MOST_WAITING)
        except sqlite3.Error as error:
            await self._trouble(error)
            raise StoreError(f"cannot tidy up {self._path}: {error}") from error

    # --- for the process that delivers ---

    async def due(self, webhook: str, now_ms: int, limit: int) -> list[Item]:
        """Events that may be sent now, the one that is longest due first: none whose attempt has an earlier one that
        waits."""
        return [
            Item(number, Notice(event, record_id, phase, at_ms, provider, bytes(facts), bytes(sealed)), attempts)
            for number, event, record_id, phase, at_ms, provider, facts, sealed, attempts in await self._rows(
                _DUE, (webhook, now_ms, limit)
            )
        ]

    async def waiting(self, now_ms: int) -> list[str]:
        """The webhooks for which some event is due."""
        return [webhook for (webhook,) in await self._rows(_WAITING, (now_ms,))]

    async def settle(self, results: Sequence[Result], now_ms: int) -> None:
        """Mark what became of items. One that was removed meanwhile stays so."""
        if not results:
            return
        done = [each for each in results if each.state == State.DELIVERED]
        dead = [each for each in results if each.state == State.DEAD]
        later = [each for each in results if each.state == State.WAITING]
        try:
            connection = await self._ready(create=False)
            if connection is None:
                return
            if done:
                await connection.executemany(
                    "UPDATE events SET state = 1, attempts = attempts + 1, settled_ms = ?, status = ?, error = '',"
                    " facts = x'', sealed = x'' WHERE number = ? AND state = 0",
                    [(now_ms, each.status, each.number) for each in done],
                )
            if dead:
                await connection.executemany(
                    "UPDATE events SET state = 2, attempts = attempts + 1, settled_ms = ?, status = ?, error = ?"
                    " WHERE number = ? AND state = 0",
                    [(now_ms, each.status, each.error, each.number) for each in dead],
                )
            if later:
                await connection.executemany(
                    "UPDATE events SET attempts = attempts + 1, status = ?, error = ? WHERE number = ? AND state = 0",
                    [(each.status, each.error, each.number) for each in later],
                )
                await connection.executemany(
                    "UPDATE events SET due_ms = max(due_ms, ?1) WHERE state = 0 AND (webhook, record_id) ="
                    " (SELECT webhook, record_id FROM events WHERE number = ?2)",
                    [(each.due_ms, each.number) for each in later],
                )
            await connection.commit()
        except sqlite3.Error as error:
            await self._trouble(error)
            raise StoreError(f"cannot write {self._path}: {error}") from error

    # --- for whoever asks ---

    async def dead(self, webhook: str, after: int = 0, limit: int = 100) -> list[Dead]:
        """Dead letters, the oldest first; the next page begins `after` the last number of this one."""
        return [
            Dead(number, event_id(record_id, phase), event, record_id, *rest)
            for number, record_id, phase, event, *rest in await self._rows(
                "SELECT number, record_id, phase, event, at_ms, attempts, settled_ms, status, error FROM events"
                " WHERE webhook = ? AND state = 2 AND number > ? ORDER BY number LIMIT ?",
                (webhook, after, limit),
            )
        ]

    async def redeliver(self, webhook: str, now_ms: int, events: Collection[tuple[str, int]] | None = None) -> int:
        """Let dead letters wait again, from the first try on: these (record id and phase), or all. How many there
        were."""
        where = " WHERE webhook = ? AND state = 2"
        values = [(now_ms, webhook, *each) for each in events or ()]
        change = "UPDATE events SET state = 0, attempts = 0, settled_ms = 0, due_ms = ?"
        try:
            connection = await self._ready(create=False)
            if connection is None:
                return 0
            if events is None:
                cursor = await connection.execute(change + where, (now_ms, webhook))
            else:
                cursor = await connection.executemany(f"{change}{where} AND record_id = ? AND phase = ?", values)
            await connection.commit()
        except sqlite3.Error as error:
            await self._trouble(error)
            raise StoreError(f"cannot write {self._path}: {error}") from error
        return max(cursor.rowcount, 0)

    async def counts(self, webhook: str) -> Counts:
        """How the webhook fares."""
        waiting, dead = [
            int((await self._rows(f"{_COUNT} AND state = {state}", (webhook,)) or ((0,),))[0][0])
            for state in (State.WAITING, State.DEAD)
        ]
        oldest = await self._rows(
            "SELECT at_ms, error FROM events WHERE webhook = ? AND state = 0 ORDER BY number LIMIT 1", (webhook,)
        )
        lost = await self._rows("SELECT events FROM losses WHERE webhook = ?", (webhook,))
        return Counts(waiting, dead, lost[0][0] if lost else 0, *(oldest[0] if oldest else (0, "")))

    # ---

    async def _add(self, values: Sequence[Sequence[object]], lost: dict[str, int], now_ms: int) -> int:
        connection = await self._ready(create=True)
        assert connection is not None
        before = connection.total_changes
        await connection.executemany(_INSERT, values)
        added = connection.total_changes - before
        await connection.executemany(_COUNT_LOSS, [(webhook, number, now_ms) for webhook, number in lost.items()])
        await connection.commit()
        return added

    async def _numbers(self, state: int) -> dict[str, int]:
        """How many events of each webhook are in this state; 0 is left out."""
        query = f"SELECT webhook, count(*) FROM events WHERE state = {state} GROUP BY webhook"
        return {webhook: number for webhook, number in await self._rows(query, ())}  # noqa: C416 - rows, not pairs

    async def _rows(self, query: str, values: Sequence[object]) -> list[sqlite3.Row]:
        try:
            connection = await self._ready(create=False)
            return [] if connection is None else list(await connection.execute_fetchall(query, values))
        except sqlite3.Error as error:
            await self._trouble(error)
            raise StoreError(f"cannot read {self._path}: {error}") from error

    async def _purge(self, where: str, values: Sequence[object]) -> None:
        connection = self._connection
        assert connection is not None
        while True:
            cursor = await connection.execute(
                f"DELETE FROM events WHERE number IN (SELECT number FROM events WHERE {where} LIMIT {_CHUNK})", values
            )
            await connection.commit()
            if cursor.rowcount < _CHUNK:
                return

    async def _ready(self, *, create: bool) -> aiosqlite.Connection | None:
        """The open file. None when there is none, which is not made unless `create`."""
        async with self._opening:
            return await self._opened(create)

    async def _opened(self, create: bool) -> aiosqlite.Connection | None:
        try:
            status = self._path.stat()
            same = self._file == (status.st_dev, status.st_ino)
        except FileNotFoundError:
            if not create:
                await self.close()
                return None
            same = False
        except OSError as error:
            raise StoreError(f"cannot read {self._path}: {error.strerror}") from error
        if self._connection is not None and same:
            return self._connection
        await self.close()
        if create:
            make_directory(self._directory)
        try:
            connection = await open_database(self._path, _VERSION, _SCHEMA)
        except StoreError as error:
            await self._trouble(error.__cause__)
            raise
        if not self._durable:
            await connection.execute("PRAGMA synchronous = NORMAL")
        status = self._path.stat()
        self._connection, self._file = connection, (status.st_dev, status.st_ino)
        return connection

    async def _trouble(self, error: BaseException | None) -> None:
        """Close: that takes a transaction back, and a fresh connection is a fresh chance. Damage is set aside."""
        await self.close()
        name = getattr(error, "sqlite_errorname", "")
        # Only by the one process that makes the file; the other opens the new one.
        if self._durable and name in ("SQLITE_CORRUPT", "SQLITE_NOTADB"):
            with contextlib.suppress(OSError):
                for suffix in ("-wal", "-shm"):
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(f"{self._path}{suffix}")
                self._path.replace(self._directory / DAMAGED_NAME)
