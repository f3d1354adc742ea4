"""The audit: who did what to what, when and why. Rows are added and never changed, which the file itself sees to."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from routing.errors import BindingError
from routing.store.database import Database
from routing.store.pages import check_page
from routing.terms import check_reference

__all__ = ["Audit", "Deed", "check_reason", "made_ms", "note"]

Detail = Mapping[str, object]

_INSERT = "INSERT INTO audit (at_ms, who, action, kind, id, reason, provider, detail) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_SELECT = "SELECT number, at_ms, who, action, kind, id, reason, provider, detail FROM audit"


@dataclass(frozen=True, slots=True)
class Deed:
    """One row. `by` is "key:<id>", "cli:<unix user>", "switch" or another name of who did it; `kind` and `id` name what
    it was done to, `provider` whose that is, '' for nobody's. `at_ms` is UTC."""

    number: int
    at_ms: int
    by: str
    action: str
    kind: str
    id: str
    reason: str
    provider: str
    detail: dict[str, object]


async def note(
    database: Database,
    at_ms: int,
    by: str,
    action: str,
    kind: str,
    identifier: str,
    reason: str = "",
    detail: Detail | None = None,
    *,
    provider: str = "",
) -> None:
    """Add a row within somebody's transaction. Nothing in it may be a real number. BindingError without a `by`."""
    check_by(by)
    text = "{}" if not detail else json.dumps(detail, ensure_ascii=False)
    await database.many(_INSERT, [(at_ms, by, action, kind, identifier, reason, provider, text)])


async def made_ms(database: Database, kind: str, identifier: str, provider: str = "") -> int | None:
    """When something was added, within somebody's turn, even if it was removed since; None when it never was, or not
    for this provider ('' asks of all)."""
    for (at_ms,) in await database.rows(
        "SELECT at_ms FROM audit WHERE id = ? AND +kind = ? AND action = 'add' AND (? = '' OR +provider = ?)"
        " ORDER BY number DESC LIMIT 1",
        (identifier, kind, provider, provider),
    ):
        return int(at_ms)
    return None


def check_by(by: str) -> None:
    """Refuse a deed that nobody has done."""
    if not by.strip():
        raise BindingError("by", "R18", "must be given: the audit says who did it")
    check_reference("by", by)


def check_reason(reason: str, *, required: bool = True) -> None:
    """Refuse a reason that is missing or no line of text."""
    if required and not reason.strip():
        raise BindingError("reason", "R18", "must be given: the audit says why")
    check_reference("reason", reason)


class Audit:
    """The room of the audit, to read. BindingError when the request is at fault, StoreError when the file is."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def note(
        self, now_ms: int, by: str, action: str, kind: str, identifier: str, reason: str = "", *, provider: str = ""
    ) -> None:
        """Add a row about something that is not in this file, such as a call that was hung up."""
        async with self._database.transaction():
            await note(self._database, now_ms, by, action, kind, identifier, reason, provider=provider)

    async def list(
        self,
        after: str = "",
        limit: int = 100,
        *,
        provider: str = "",
        kind: str = "",
        identifier: str = "",
        by: str = "",
    ) -> tuple[Deed, ...]:
        """Return deeds, the newest first; all, or those of a provider, of a kind, about one thing, or by one.

        The next page begins `after` the number of the last deed of this one.
        """
        check_page(limit)
        conditions, values = ["1"], list[str | int]()
        # What picks the fewest comes first and leads the search. A unary plus keeps the planner from the index of
        # another column, after which it might have to sort.
        for column, value in (("id", identifier), ("provider", provider), ("who", by), ("kind", kind)):
            if value:
                conditions.append(f"+{column} = ?" if values else f"{column} = ?")
                values.append(value)
        if after:
            if not (after.isascii() and after.isdigit()):
                raise BindingError("after", "form", "must be the number of a deed")
            conditions.append("number < ?")
            values.append(min(int(after), 2**63 - 1))
        sql = f"{_SELECT} WHERE {' AND '.join(conditions)} ORDER BY number DESC LIMIT ?"
        async with self._database.reading():
            return tuple(_deed(row) for row in await self._database.rows(sql, (*values, limit)))


def _deed(row: Any) -> Deed:
    number, at_ms, by, action, kind, identifier, reason, provider, detail = row
    return Deed(number, at_ms, by, action, kind, identifier, reason, provider, json.loads(detail))
