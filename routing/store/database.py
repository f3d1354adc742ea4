"""The binding store's file, for writers: one connection whose tasks take turns, and its schema brought up to date.

The file is in WAL mode, so that readers and the one writer never wait for each other.
"""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Self

import aiosqlite

from routing.store.reader import TROUBLE, Seal, absolute, check_fit, check_key, trouble
from routing.store.schema import KEY_PROBE, VERSION, pending

__all__ = ["Database", "Value"]

WRITE_PATIENCE_SECONDS = 5.0
TURN_SECONDS = 0.02

# Pages a writer keeps, in KiB: what is written at random places of tens of millions of bindings is read first.
CACHE_KIB = 65_536

Value = str | int | bytes | float | None
"""What a column holds."""

Rows = Sequence[Sequence[Value] | Mapping[str, Value]]


class _Connection(sqlite3.Connection):
    """A connection that runs what was put off before whatever it is asked to run. None: a statement without values."""

    def __init__(self, put_off: list[tuple[str, Rows | None]], *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._put_off = put_off

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        while self._put_off:
            statement, rows = self._put_off.pop(0)
            if rows is None:
                super().execute(statement)
            else:
                self.executemany(statement, rows)
        return super().execute(sql, parameters)


class Database:
    """One open file. May be shared by the tasks of one event loop. Everything raises StoreError when the file is at
    fault."""

    def __init__(
        self,
        connection: aiosqlite.Connection,
        put_off: list[tuple[str, Rows | None]],
        path: Path,
        seal: Seal,
        token: Callable[[], str],
    ) -> None:
        self.seal = seal
        self.token = token
        self._connection = connection
        self._put_off = put_off
        self._path = path
        # One connection holds one transaction: tasks take turns, readers too, so that none sees half of another's.
        self._turn = asyncio.Lock()
        self._owner: asyncio.Task[Any] | None = None
        self._depth = 0

    @classmethod
    async def open(cls, path: str | os.PathLike[str], seal: Seal, token: Callable[[], str]) -> Self:
        """Open the file, creating it or bringing it to the newest schema; its directory must exist."""
        where = absolute(path)
        with _telling(where):
            # Proved here, because aiosqlite leaves its thread behind when the file cannot be opened.
            sqlite3.connect(where).close()
            put_off: list[tuple[str, Rows | None]] = []
            connection = await aiosqlite.connect(
                where,
                isolation_level=None,
                timeout=WRITE_PATIENCE_SECONDS,
                factory=partial(_Connection, put_off),
            )
        database = cls(connection, put_off, where, seal, token)
        try:
            with _telling(where):
                await database._prepare()
        except BaseException:
            await connection.close()
            raise
        return database

    async def close(self) -> None:
        """Close the file."""
        await self._connection.close()

    async def rows(self, sql: str, values: Sequence[Value] | Mapping[str, Value] = ()) -> list[Any]:
        """All rows of a statement. To be called inside ``reading`` or ``transaction``."""
        return list(await self._connection.execute_fetchall(sql, values))

    async def many(self, sql: str, rows: Rows) -> None:
        """Change something: run a statement once for each row of values, before the next statement that is run, at the
        latest with the commit. To be called inside ``transaction``."""
        # Handing a statement over to the connection's thread costs more than most statements.
        self._put_off.append((sql, rows))

    def joined(self) -> bool:
        """Whether the running task is inside a transaction of this file already."""
        return self._owner is not None and self._owner is asyncio.current_task()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[None]:
        """A turn to read; inside a transaction of the same task, a part of it."""
        with _telling(self._path):
            if self.joined():
                yield
                return
            async with self._turn:
                yield

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """A turn to write: all of it or, on any exception, nothing.

        Inside another transaction of the same task it is a part of that one, which may go on when the part is undone.
        """
        if self.joined():
            async with self._part():
                yield
            return
        with _telling(self._path):
            async with self._turn:
                try:
                    self._put_off.append(("BEGIN IMMEDIATE", None))
                    self._owner = asyncio.current_task()
                    yield
                    await self.rows("COMMIT")
                except BaseException:
                    # Cancelled at any point above, the worker thread still runs what was handed to it, in order: the
                    # rollback comes after it and finds a transaction to undo, or none, which is as well.
                    self._put_off.clear()
                    with suppress(sqlite3.Error, ValueError):
                        await self.rows("ROLLBACK")
                    raise
                finally:
                    self._owner = None

    @asynccontextmanager
    async def _part(self) -> AsyncIterator[None]:
        self._depth += 1
        name = f"part{self._depth}"
        try:
            await self.rows(f"SAVEPOINT {name}")
            yield
            await self.rows(f"RELEASE {name}")
        except BaseException:
            self._put_off.clear()
            with suppress(sqlite3.Error, ValueError):
                await self.rows(f"ROLLBACK TO {name}")
                await self.rows(f"RELEASE {name}")
            raise
        finally:
            self._depth -= 1

    async def _prepare(self) -> None:
        # An existing file is only looked at, so that opening it does not wait for its writer.
        ((journal,),) = await self.rows("PRAGMA journal_mode")
        check_fit(*await self._header())
        if journal != "wal":
            await self._write_ahead()
        # A binding that was confirmed must be there after a power cut.
        await self.rows("PRAGMA synchronous = FULL")
        await self.rows(f"PRAGMA cache_size = -{CACHE_KIB}")
        if (await self._header())[1] < VERSION:
            await self._migrate()
        # Only now: a migration that builds a table anew drops the old one, to which others refer.
        await self.rows("PRAGMA foreign_keys = ON")
        check_key(self.seal.hash, await self.rows("SELECT probe FROM keyring"))

    async def _write_ahead(self) -> None:
        # SQLite does not wait its turn for this one statement when several create the file at once.
        patience = WRITE_PATIENCE_SECONDS
        while True:
            try:
                await self.rows("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or patience <= 0:
                    raise
                await asyncio.sleep(TURN_SECONDS)
                patience -= TURN_SECONDS
            else:
                return

    async def _migrate(self) -> None:
        async with self.transaction():
            _, version = await self._header()
            for statement in pending(version):
                await self.rows(statement)
            if version == 0:
                await self.rows("INSERT INTO keyring VALUES (1, ?)", (self.seal.hash(KEY_PROBE),))
            await self.rows(f"PRAGMA user_version = {VERSION}")

    async def _header(self) -> tuple[int, int]:
        # In the same order as the reader, for the same reason.
        ((version,),) = await self.rows("PRAGMA user_version")
        ((application,),) = await self.rows("PRAGMA application_id")
        return application, version


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    try:
        yield
    except TROUBLE as error:
        raise trouble(path, error) from error
