"""What the recorder remembers between two runs: how far it is, and which attempts are open.

The truth is in a small SQLite file. A text file beside it repeats the position, with some counters, for whoever wants
to know the lag without opening a database.
"""

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import NamedTuple

import aiosqlite
import msgspec

from cdr.journal import Position
from cdr.recorder import AttemptError, Changes, OpenAttempt, decode_attempt, encode_attempt
from cdr.seal import Seal, SealError
from cdr.store.database import StoreError, close_quietly, open_database
from cdr.store.files import lock, make_directory

STATE_NAME = "recorder-state.db"
STATUS_NAME = "recorder-status.json"
_VERSION = 1
_SCHEMA = """
    CREATE TABLE settings (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE position (only_one INTEGER PRIMARY KEY CHECK (only_one = 1), segment INTEGER, offset INTEGER);
    CREATE TABLE attempts (record_id TEXT PRIMARY KEY, attempt BLOB NOT NULL) WITHOUT ROWID;
"""
_KEY_CHECK = "x700 records"


class Status(msgspec.Struct, frozen=True):
    """How the recorder fares. Counters run since it was started; `error` is "" or why it cannot store. `untold` events
    are lost to webhooks because the outbox could not be written."""

    segment: int = 0
    offset: int = 0
    at_ms: int = 0
    stored: int = 0
    open: int = 0
    damaged: int = 0
    torn: int = 0
    partial: int = 0
    interrupted: int = 0
    untold: int = 0
    error: str = ""


class Remembered(NamedTuple):
    """What to go on from."""

    position: Position
    instance: str
    attempts: list[OpenAttempt]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Status).decode


def read_status(directory: Path | str) -> Status:
    """The recorder's status as it was last written; all zero when there is none. Cheap: one small file, no lock."""
    try:
        return _decode((Path(directory) / STATUS_NAME).read_bytes())
    except (OSError, msgspec.DecodeError):
        return Status()


def read_position(directory: Path | str) -> Position:
    """Up to where the journal is stored, for `Writer.backlog`."""
    status = read_status(directory)
    return Position(status.segment, status.offset)


class RecorderState:
    """The recorder's memory in its records directory, which it locks: a second recorder gets JournalError."""

    def __init__(self, directory: Path, connection: aiosqlite.Connection, held: int) -> None:
        """Use `open`."""
        self._directory = directory
        self._connection = connection
        self._held = held

    @classmethod
    async def open(cls, directory: Path | str, seal: Seal) -> "RecorderState":
        """Lock the directory and open the state in it, making both if need be.

        `seal` is only tried: with another keyring than the one used so far, records would be stored that do not open or
        cannot be found. Raises JournalError and StoreError.
        """
        directory = Path(directory)
        make_directory(directory)
        held = lock(directory, "recorder")
        try:
            connection = await open_database(directory / STATE_NAME, _VERSION, _SCHEMA)
        except StoreError:
            os.close(held)
            raise
        state = cls(directory, connection, held)
        try:
            await state._check_key(seal)
        except (StoreError, sqlite3.Error) as error:
            await state.close()
            raise StoreError(str(error)) from error
        return state

    async def load(self) -> Remembered:
        """What the last `save` left. Raises StoreError."""
        try:
            places = list(await self._connection.execute_fetchall("SELECT segment, offset FROM position"))
            attempts = await self._connection.execute_fetchall("SELECT attempt FROM attempts")
            instance = await self._setting("instance")
            return Remembered(
                Position(*places[0]) if places else Position(),
                instance.decode(),
                [decode_attempt(row[0]) for row in attempts],
            )
        except (sqlite3.Error, AttemptError) as error:
            raise StoreError(f"cannot read the recorder's state: {error}") from error

    async def save(self, position: Position, changes: Changes) -> None:
        """Remember all of it or nothing. Raises StoreError. The records before `position` must be stored already."""
        saved = [(attempt.record_id, encode_attempt(attempt)) for attempt in changes.saved]
        try:
            await self._connection.executemany("INSERT OR REPLACE INTO attempts VALUES (?, ?)", saved)
            await self._connection.executemany(
                "DELETE FROM attempts WHERE record_id = ?", [(each,) for each in changes.dropped]
            )
            await self._connection.execute("INSERT OR REPLACE INTO position VALUES (1, ?, ?)", position)
            await self._set("instance", changes.instance.encode())
            await self._connection.commit()
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):
                await self._connection.rollback()
            raise StoreError(f"cannot save the recorder's state: {error}") from error

    def write_status(self, status: Status) -> None:
        """Publish the status. Raises StoreError when the disk will not take it; nothing depends on it."""
        path = self._directory / STATUS_NAME
        draft = path.with_suffix(".draft")
        try:
            draft.write_bytes(_encode(status))
            draft.replace(path)
        except OSError as error:
            raise StoreError(f"cannot write {path}: {error.strerror}") from error

    async def close(self) -> None:
        """Close the state and let another recorder in."""
        await close_quietly(self._connection)
        if self._held >= 0:
            os.close(self._held)
            self._held = -1

    async def _check_key(self, seal: Seal) -> None:
        blob = await self._setting("key_check")
        if not blob:
            await self._set("key_check", seal.hash(_KEY_CHECK) + seal.seal(_KEY_CHECK))
            await self._connection.commit()
            return
        digest = seal.hash(_KEY_CHECK)
        try:
            same = blob[: len(digest)] == digest and seal.open(blob[len(digest) :]) == _KEY_CHECK
        except SealError:
            same = False
        if not same:
            raise StoreError(
                f"the keyring is not the one that the records in {self._directory} were sealed with:"
                " give the old one, with new keys added below its own"
            )

    async def _setting(self, name: str) -> bytes:
        rows = list(await self._connection.execute_fetchall("SELECT value FROM settings WHERE name = ?", (name,)))
        return bytes(rows[0][0]) if rows else b""

    async def _set(self, name: str, value: bytes) -> None:
        await self._connection.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, value))
