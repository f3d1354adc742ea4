"""Files of bindings on their way in, piece by piece: what a piece binds and that it is done are one transaction.

So an import that is cut off at any moment goes on with the first piece that is not done, and binds nothing twice.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from routing.binding import BindingRequest
from routing.bulk import Fault, FileFormat
from routing.errors import BindingError, Conflict, NotFound
from routing.numbers import mask_text
from routing.store import audit
from routing.store.answers import KEPT_MS
from routing.store.bindings import Bindings
from routing.store.database import Database
from routing.store.pages import check_page

__all__ = ["FORGOTTEN_MS", "MOST_FAULTS", "MOST_RUNNING", "ImportJob", "ImportState", "Imports", "Piece"]

# How long what became of a file can be looked up.
FORGOTTEN_MS: Final = 30 * KEPT_MS
# A provider's files that wait or are under way at one time.
MOST_RUNNING: Final = 8
# Lines told of; a file with more of them is not read to its end.
MOST_FAULTS: Final = 10_000

_COLUMNS: Final = (
    "id, provider, who, format, bytes, lines, state, header, place, line, bound, refused, created_ms, ended_ms"
)
_SELECT: Final = f"SELECT {_COLUMNS} FROM imports"
_OWN: Final = "(? = '' OR provider = ?)"


class ImportState(StrEnum):
    """State of an import. FAILED: the file as a whole cannot be read, or too many of its lines are wrong; its fault of
    line 0 or 1 says why."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class ImportJob:
    """One file. `lines` is how many it has and `line` how many are settled; of those `bound` were bound and `refused`
    not. `place` is where the next piece begins, `header` the first line of a CSV file once it was read. `provider` is
    whose bindings they are, '' where each line says so. Times are UTC milliseconds, 0 for not yet."""

    id: str
    provider: str
    by: str
    format: FileFormat
    bytes: int
    lines: int
    state: ImportState
    header: str
    place: int
    line: int
    bound: int
    refused: int
    created_ms: int
    ended_ms: int


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a file that is settled at once: its requests with their line numbers, the lines that are none, and
    where the file goes on. `last`: there is nothing after it."""

    requests: Sequence[tuple[int, BindingRequest]]
    faults: Sequence[Fault]
    place: int
    line: int
    header: str
    last: bool


class Imports:
    """BindingError when the request is at fault, StoreError when the file is. Where a `provider` is given, only what is
    that provider's is there."""

    def __init__(self, database: Database, bindings: Bindings) -> None:
        self._database = database
        self._bindings = bindings
        self.arrived = asyncio.Event()
        """Set when there is a new one to be done."""

    async def add(
        self,
        identifier: str,
        form: FileFormat,
        size: int,
        lines: int,
        digest: bytes,
        now_ms: int,
        *,
        by: str,
        provider: str = "",
        idempotency_key: str = "",
    ) -> ImportJob:
        """Note a file that lies ready. The same file with the same key of the same provider, or by the same where there
        is none, is within a day the import that there is: then its id is another than `identifier`."""
        async with self._database.transaction():
            if idempotency_key:
                for found, known in await self._database.rows(
                    "SELECT id, digest FROM imports WHERE idempotency_key = ? AND created_ms > ? AND provider = ?"
                    " AND (provider <> '' OR who = ?)",
                    (idempotency_key, now_ms - KEPT_MS, provider, by),
                ):
                    if known != digest:
                        text = "was used for another file within the last day"
                        raise Conflict("Idempotency-Key", "key", text)
                    return await self._job(found, "")
            if provider:
                ((running,),) = await self._database.rows(
                    "SELECT count(*) FROM imports WHERE provider = ? AND state = 'running'", (provider,)
                )
                if running >= MOST_RUNNING:
                    raise Conflict("", "form", f"{MOST_RUNNING} imports are under way; send it when one has ended")
            await self._database.rows("DELETE FROM imports WHERE ended_ms BETWEEN 1 AND ?", (now_ms - FORGOTTEN_MS,))
            await self._database.rows(
                "INSERT INTO imports"
                " (id, number, provider, who, format, idempotency_key, digest, bytes, lines, state, created_ms)"
                " SELECT ?, ifnull(max(number), 0) + 1, ?, ?, ?, ?, ?, ?, ?, 'running', ? FROM imports",
                (identifier, provider, by, form.value, idempotency_key, digest, size, lines, now_ms),
            )
            detail = {"bytes": size, "lines": lines}
            await audit.note(
                self._database, now_ms, by, "import", "import", identifier, detail=detail, provider=provider
            )
            job = await self._job(identifier, "")
        self.arrived.set()
        return job

    async def get(self, identifier: str, provider: str = "") -> ImportJob:
        """An import by its id; NotFound."""
        async with self._database.reading():
            return await self._job(identifier, provider)

    async def list(self, after: str = "", limit: int = 100, provider: str = "") -> tuple[ImportJob, ...]:
        """Imports, the newest first; the next page begins `after` the id of the last of this one."""
        check_page(limit)
        conditions, values = [_OWN], [provider, provider]
        async with self._database.reading():
            if after:
                try:
                    await self._job(after, provider)
                except NotFound:
                    raise BindingError("after", "form", "no such import") from None
                conditions.append("number < (SELECT number FROM imports WHERE id = ?)")
                values.append(after)
            sql = f"{_SELECT} WHERE {' AND '.join(conditions)} ORDER BY number DESC LIMIT ?"
            return tuple(_job_of(row) for row in await self._database.rows(sql, (*values, limit)))

    async def unfinished(self) -> tuple[ImportJob, ...]:
        """What still has to be done, the oldest first."""
        async with self._database.reading():
            rows = await self._database.rows(f"{_SELECT} WHERE state = 'running' ORDER BY number")
            return tuple(_job_of(row) for row in rows)

    async def settle(self, identifier: str, piece: Piece, now_ms: int) -> ImportJob:
        """Bind what a piece asks for and note that it is done. One that was cancelled meanwhile is left alone."""
        async with self._database.transaction():
            job = await self._job(identifier, "")
            if job.state is not ImportState.RUNNING:
                return job
            requests = [request for _, request in piece.requests]
            answers = await self._bindings.bind_many(requests, now_ms, by=job.by) if requests else ()
            faults = [
                *piece.faults,
                *(
                    Fault(line, mask_text(answer.field), answer.rule, mask_text(answer.message))
                    for (line, _), answer in zip(piece.requests, answers, strict=True)
                    if isinstance(answer, BindingError)
                ),
            ]
            refused = len(faults)
            bound = len(piece.requests) - (refused - len(piece.faults))
            hopeless = not piece.last and job.refused + refused >= MOST_FAULTS
            if hopeless:
                wrong = job.refused + refused
                text = f"{wrong} lines are wrong; mend them and send it again from line {piece.line + 1}"
                faults.append(Fault(0, "file", "form", text))
            await self._add_faults(identifier, faults)
            state = "failed" if hopeless else "done" if piece.last else "running"
            await self._database.rows(
                "UPDATE imports SET header = ?, place = ?, line = ?, bound = bound + ?, refused = refused + ?,"
                " state = ?, ended_ms = ? WHERE id = ?",
                (
                    piece.header, piece.place, piece.line, bound, refused,
                    state, 0 if state == "running" else now_ms, identifier,
                ),
            )  # fmt: skip
            return await self._job(identifier, "")

    async def fail(self, identifier: str, fault: Fault, now_ms: int) -> None:
        """End an import whose file cannot be read."""
        async with self._database.transaction():
            await self._add_faults(identifier, (fault,))
            await self._database.rows(
                "UPDATE imports SET state = 'failed', ended_ms = ? WHERE id = ? AND state = 'running'",
                (now_ms, identifier),
            )

    async def cancel(self, identifier: str, now_ms: int, *, by: str, reason: str, provider: str = "") -> ImportJob:
        """End an import before its time. What it has bound stays; Conflict when it has ended already."""
        audit.check_reason(reason)
        async with self._database.transaction():
            job = await self._job(identifier, provider)
            if job.state is not ImportState.RUNNING:
                raise Conflict("id", "form", f"the import is {job.state}")
            await self._database.rows(
                "UPDATE imports SET state = 'cancelled', ended_ms = ? WHERE id = ?", (now_ms, identifier)
            )
            await audit.note(self._database, now_ms, by, "cancel", "import", identifier, reason, provider=job.provider)
            return await self._job(identifier, "")

    async def faults(self, identifier: str, after: int = -1, limit: int = 100, provider: str = "") -> tuple[Fault, ...]:
        """Lines that were refused, in order; the next page begins `after` the last line of this one. What is
        wrong with the file as a whole is told of line 0 or 1."""
        check_page(limit)
        async with self._database.reading():
            await self._job(identifier, provider)
            rows = await self._database.rows(
                "SELECT line, field, rule, message FROM import_faults WHERE import = ? AND line > ?"
                " ORDER BY line LIMIT ?",
                (identifier, after, limit),
            )
            return tuple(Fault(*row) for row in rows)

    async def _add_faults(self, identifier: str, faults: Sequence[Fault]) -> None:
        await self._database.many(
            "INSERT OR REPLACE INTO import_faults VALUES (?, ?, ?, ?, ?)",
            [(identifier, fault.line, fault.field, fault.rule, fault.message) for fault in faults],
        )

    async def _job(self, identifier: str, provider: str) -> ImportJob:
        sql = f"{_SELECT} WHERE id = ? AND {_OWN}"
        for row in await self._database.rows(sql, (identifier, provider, provider)):
            return _job_of(row)
        raise NotFound("id", "form", "no such import")


def _job_of(row: Any) -> ImportJob:
    """A row of _COLUMNS."""
    identifier, provider, by, form, size, lines, state, *rest = row
    return ImportJob(identifier, provider, by, FileFormat(form), size, lines, ImportState(state), *rest)
