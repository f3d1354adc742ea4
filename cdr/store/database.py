"""Opening the recorder's SQLite files: durable settings, a schema version, one kind of error."""

import contextlib
import os
import sqlite3
from pathlib import Path
from urllib.parse import quote

import aiosqlite

_BUSY_SECONDS = 5.0
_CACHE_KIB = 32 * 1024


class StoreError(Exception):
    """The record store cannot do what was asked just now; the text says why. Nothing was half done."""


async def open_database(path: Path, version: int, schema: str) -> aiosqlite.Connection:
    """Open a file for writing, making it with `schema` when it is new. Raises StoreError.

    WAL with full synchronisation: what is committed outlives a loss of power, which is what lets the journal go.
    """
    _try_open(path, os.O_RDWR | os.O_CREAT, "open")
    connection = None
    try:
        connection = await aiosqlite.connect(path, timeout=_BUSY_SECONDS)
        await connection.execute("PRAGMA journal_mode = WAL")
        await connection.execute("PRAGMA synchronous = FULL")
        await connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        found = await _version(connection)
        if found == 0:
            await connection.executescript(f"BEGIN; {schema} PRAGMA user_version = {version}; COMMIT;")
        else:
            _check_version(path, found, version)
    except sqlite3.Error as error:
        await close_quietly(connection)
        raise StoreError(f"cannot open {path}: {error}") from error
    except StoreError:
        await close_quietly(connection)
        raise
    return connection


async def open_for_reading(path: Path, version: int) -> aiosqlite.Connection | None:
    """Open an existing file without the right to change it; None while it is still being made. Raises StoreError."""
    _try_open(path, os.O_RDONLY, "read")
    connection = None
    try:
        connection = await aiosqlite.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=_BUSY_SECONDS)
        found = await _version(connection)
        _check_version(path, found, version)
    except sqlite3.Error as error:
        await close_quietly(connection)
        raise StoreError(f"cannot read {path}: {error}") from error
    except StoreError:
        await close_quietly(connection)
        raise
    if not found:
        await connection.close()
        return None
    return connection


def _try_open(path: Path, flags: int, what: str) -> None:
    """Say what is wrong before a connection's thread is started, and make a new file our own only."""
    try:
        os.close(os.open(path, flags, 0o600))
    except OSError as error:
        raise StoreError(f"cannot {what} {path}: {error.strerror}") from error


async def _version(connection: aiosqlite.Connection) -> int:
    async with connection.execute("PRAGMA user_version") as cursor:
        row = await cursor.fetchone()
    return int(row[0]) if row else 0


def _check_version(path: Path, found: int, version: int) -> None:
    if found > version:
        raise StoreError(f"{path} has schema version {found}, this program knows {version}: use the newer program")


async def close_quietly(connection: aiosqlite.Connection | None) -> None:
    """Close, if there is something to close. A file that fails even at this has kept all that was committed."""
    if connection is not None:
        with contextlib.suppress(sqlite3.Error):
            await connection.close()
