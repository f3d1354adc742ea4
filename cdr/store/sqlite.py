"""Records in SQLite, one file for each UTC month of arrival, so that retention drops whole files.

One writer, the recorder; any number of readers. A row is compact (some 350 bytes) and holds nothing personal in clear:
it is found by record id, by middle number, by order, by keyed hash of a real number, or by time.
"""

import re
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import aiosqlite
import msgspec

from cdr.record import NUMBER_HASH_BYTES, Record, reveal
from cdr.retention import SHORTEST_DAYS, expired_months, month_of
from cdr.store.database import StoreError, close_quietly, open_database, open_for_reading
from cdr.store.files import make_directory
from cdr.store.state import read_position, read_status

__all__ = [
    "Cursor",
    "CursorError",
    "Filters",
    "Page",
    "RecordStore",
    "StoreError",
    "read_position",
    "read_status",
    "reveal",
]

LARGEST_PAGE = 1000
_VERSION = 1
# How far the guessed arrival of a partial record may be off.
_GUESS_MS = 7 * 86_400_000
# The end of the year 9999: no month is later.
_LAST_INSTANT = 253_402_300_799_999
_MONTH = re.compile(r"records-([0-9]{4}-[0-9]{2})\.db")
# Months that the writer has open at once: the present one, and the one before while its last calls end.
_OPEN_MONTHS = 3

_FIELDS = Record.__struct_fields__
_TYPES = {str: "TEXT", int: "INTEGER", bytes: "BLOB", bool: "INTEGER", tuple[str, ...]: "TEXT"}
# Kept as NULL when empty, so that the index on it has no entry for what nobody will look for.
_NULLABLE = ("a_hash", "b_hash", "order_id")
_ROUTES = _FIELDS.index("routes")
_NULLABLE_AT = tuple(_FIELDS.index(name) for name in _NULLABLE)
_PARTIAL_AT = _FIELDS.index("partial")

_INSERT = f"INSERT OR IGNORE INTO records VALUES ({', '.join('?' * len(_FIELDS))})"
_EXISTS = "SELECT 1 FROM records WHERE record_id = ?"
_SELECT = f"SELECT {', '.join(_FIELDS)} FROM records"


def _schema() -> str:
    columns = [
        f"{field.name} {_TYPES[field.type]}{' PRIMARY KEY' if field.name == 'record_id' else ''}"
        for field in msgspec.structs.fields(Record)
    ]
    indexes = [f"CREATE INDEX by_{name} ON records ({name}) WHERE {name} IS NOT NULL;" for name in _NULLABLE]
    return " ".join(
        [
            f"CREATE TABLE records ({', '.join(columns)});",
            "CREATE INDEX by_arrival ON records (arrived_ms);",
            "CREATE INDEX by_x ON records (x, arrived_ms);",
            # files made before there were these two are read without them
            "CREATE INDEX by_y ON records (y, arrived_ms) WHERE y <> '';",
            "CREATE INDEX by_provider ON records (provider, arrived_ms);",
            *indexes,
        ]
    )


# Within RecordStore, `list` is a method.
_Found = list[Record]
_Months = tuple[str, ...]


class CursorError(ValueError):
    """A page cursor that no page has given."""


class Cursor(NamedTuple):
    """Where a page ended: the last record's arrival and id."""

    arrived_ms: int
    record_id: str


def parse_cursor(text: str) -> Cursor | None:
    """The cursor of a text, None of "". Raises CursorError."""
    if not text:
        return None
    arrived, colon, record_id = text.partition(":")
    known = colon and arrived.isascii() and arrived.isdigit() and len(arrived) <= len(str(_LAST_INSTANT))
    if not known or int(arrived) > _LAST_INSTANT:
        raise CursorError("the cursor is not one that a list has given")
    return Cursor(int(arrived), record_id)


def format_cursor(cursor: Cursor) -> str:
    """The text of a cursor; the pair of `parse_cursor`."""
    return f"{cursor.arrived_ms}:{cursor.record_id}"


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """Which records. Empty and zero match all; `until_ms` is not included; times are of arrival, UTC ms.

    `number_hash` is `Seal.hash` of a real number in E.164 form, on either side of the call.
    """

    since_ms: int = 0
    until_ms: int = 0
    x: str = ""
    outcome: str = ""
    order_id: str = ""
    record_id: str = ""
    number_hash: bytes = b""
    provider: str = ""
    business_user: str = ""
    kind: str = ""


class Page(NamedTuple):
    """Some records, newest first, and the cursor for the next page ("" after the last)."""

    records: tuple[Record, ...]
    cursor: str


def _where(filters: Filters, after: Cursor | None) -> tuple[str, list[object]]:
    clauses: list[str] = []
    values: list[object] = []
    for clause, value in (
        ("arrived_ms >= ?", filters.since_ms),
        ("arrived_ms < ?", filters.until_ms),
        ("outcome = ?", filters.outcome),
        ("order_id = ?", filters.order_id),
        ("record_id = ?", filters.record_id),
        ("provider = ?", filters.provider),
        ("business_user = ?", filters.business_user),
        ("kind = ?", filters.kind),
    ):
        if value:
            clauses.append(clause)
            values.append(value)
    if filters.x:
        clauses.append("(x = ? OR (y = ? AND y <> ''))")
        values += [filters.x] * 2
    if filters.number_hash:
        clauses.append("(a_hash = ? OR b_hash = ?)")
        values += [filters.number_hash[:NUMBER_HASH_BYTES]] * 2
    if after:
        clauses.append("(arrived_ms, record_id) < (?, ?)")
        values += after
    return (f" WHERE {' AND '.join(clauses)}" if clauses else ""), values


def _row_of(record: Record) -> list[object]:
    row = list(msgspec.structs.astuple(record))
    row[_ROUTES] = "\n".join(record.routes)
    for index in _NULLABLE_AT:
        row[index] = row[index] or None
    return row


def _record_of(row: sqlite3.Row) -> Record:
    values = dict(zip(_FIELDS, row, strict=True))
    values["routes"] = tuple(filter(None, values["routes"].split("\n")))
    values["order_id"] = values["order_id"] or ""
    values["a_hash"] = values["a_hash"] or b""
    values["b_hash"] = values["b_hash"] or b""
    values["partial"] = bool(values["partial"])
    return Record(**values)


class RecordStore:
    """The records in a directory. Everything raises StoreError when a file cannot be read or written."""

    def __init__(self, directory: Path | str) -> None:
        """A directory that is not there yet reads as empty and is made when the first record is stored."""
        self._directory = Path(directory)
        self._connections: dict[str, aiosqlite.Connection] = {}

    # --- for the recorder ---

    async def add(self, records: Iterable[Record]) -> int:
        """Store records; how many were new. A record whose id is there already is left as it is.

        On return they are on disk. On StoreError some months may have been stored: add the same again.
        """
        months: dict[str, list[list[object]]] = {}
        for record in records:
            if record.partial and await self._known(record):
                continue
            months.setdefault(month_of(record.arrived_ms), []).append(_row_of(record))
        added = 0
        for month, rows in months.items():
            connection = await self._writable(month)
            try:
                cursor = await connection.executemany(_INSERT, rows)
                await connection.commit()
            except sqlite3.Error as error:
                # Closing takes the transaction back, and a fresh connection is a fresh chance.
                await self._release(month)
                raise StoreError(f"cannot store records of {month}: {error}") from error
            added += cursor.rowcount
        return added

    async def drop_expired(self, now_ms: int, days: int = SHORTEST_DAYS) -> tuple[str, ...]:
        """Delete the months that are past retention; which. Raises RetentionError for a period that is too short."""
        expired = expired_months(self._months(), now_ms, days)
        for month in expired:
            await self._release(month)
            path = self._path(month)
            try:
                # The main file last: while it is there the others belong to it.
                for each in (path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm"), path):
                    each.unlink(missing_ok=True)
            except OSError as error:
                raise StoreError(f"cannot delete {path}: {error.strerror}") from error
        return expired

    async def close(self) -> None:
        """Close what is open for writing."""
        for month in list(self._connections):
            await self._release(month)

    # --- for whoever asks ---

    async def list(self, filters: Filters | None = None, *, limit: int = 50, cursor: str = "") -> Page:
        """Records newest first, at most `limit` (1 to 1000), from behind `cursor` on. Raises CursorError."""
        filters = filters or Filters()
        after = parse_cursor(cursor)
        limit = min(max(limit, 1), LARGEST_PAGE)
        where, values = _where(filters, after)
        found: _Found = []
        for month in self._months_of(filters, after):
            wanted = limit + 1 - len(found)
            query = f"{_SELECT}{where} ORDER BY arrived_ms DESC, record_id DESC LIMIT {wanted}"
            found += [_record_of(row) for row in await self._rows(month, query, values)]
            if len(found) > limit:
                last = found[limit - 1]
                return Page(tuple(found[:limit]), format_cursor(Cursor(last.arrived_ms, last.record_id)))
        return Page(tuple(found), "")

    async def show(self, record_id: str) -> Record | None:
        """The record of that id, its personal parts sealed; see `reveal`."""
        page = await self.list(Filters(record_id=record_id), limit=1)
        return page.records[0] if page.records else None

    async def count(self, filters: Filters | None = None) -> dict[str, int]:
        """How many records there are of each outcome."""
        filters = filters or Filters()
        where, values = _where(filters, None)
        totals: dict[str, int] = {}
        for month in self._months_of(filters, None):
            for outcome, number in await self._rows(
                month, f"SELECT outcome, COUNT(*) FROM records{where} GROUP BY outcome", values
            ):
                totals[outcome] = totals.get(outcome, 0) + number
        return totals

    async def refusals(self, since_ms: int, until_ms: int) -> dict[tuple[str, str], int]:
        """How many attempts that arrived in a time were refused or dropped, by business user and reason; those without
        a binding left out."""
        filters = Filters(since_ms=since_ms, until_ms=until_ms)
        totals: dict[tuple[str, str], int] = {}
        for month in self._months_of(filters, None):
            for business_user, reason, number in await self._rows(
                month,
                "SELECT business_user, reason, COUNT(*) FROM records WHERE arrived_ms >= ? AND arrived_ms < ?"
                " AND business_user <> '' AND outcome IN ('refused', 'dropped') GROUP BY business_user, reason",
                (since_ms, until_ms),
            ):
                totals[business_user, reason] = totals.get((business_user, reason), 0) + number
        return totals

    async def _known(self, record: Record) -> bool:
        """Whether a partial record repeats one that is stored, whose arrival it can only guess."""
        earliest, latest = (month_of(record.arrived_ms + slack) for slack in (-_GUESS_MS, _GUESS_MS))
        for month in self._months():
            if earliest <= month <= latest and await self._rows(month, _EXISTS, [record.record_id]):
                return True
        return False

    async def _rows(self, month: str, query: str, values: Sequence[object]) -> Sequence[sqlite3.Row]:
        connection = self._connections.get(month)
        try:
            if connection is not None:
                return tuple(await connection.execute_fetchall(query, values))
            connection = await open_for_reading(self._path(month), _VERSION)
            if connection is None:
                return ()
            try:
                return tuple(await connection.execute_fetchall(query, values))
            finally:
                await connection.close()
        except sqlite3.Error as error:
            raise StoreError(f"cannot read the records of {month}: {error}") from error

    async def _writable(self, month: str) -> aiosqlite.Connection:
        connection = self._connections.get(month)
        if connection is None:
            make_directory(self._directory)
            connection = await open_database(self._path(month), _VERSION, _schema())
            self._connections[month] = connection
            if len(self._connections) > _OPEN_MONTHS:
                await self._release(next(iter(self._connections)))
        return connection

    async def _release(self, month: str) -> None:
        connection = self._connections.pop(month, None)
        if connection is not None:
            await close_quietly(connection)

    def _path(self, month: str) -> Path:
        return self._directory / f"records-{month}.db"

    def _months(self) -> _Months:
        """The months that have records, newest first."""
        try:
            names = [path.name for path in self._directory.iterdir()]
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise StoreError(f"cannot read {self._directory}: {error.strerror}") from error
        return tuple(sorted((match[1] for name in names if (match := _MONTH.fullmatch(name))), reverse=True))

    def _months_of(self, filters: Filters, after: Cursor | None) -> _Months:
        earliest = month_of(filters.since_ms)
        bounds = [filters.until_ms - 1] if filters.until_ms else []
        if after:
            bounds.append(after.arrived_ms)
        latest = month_of(min(bounds)) if bounds else "9999-99"
        return tuple(month for month in self._months() if earliest <= month <= latest)
