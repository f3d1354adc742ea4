"""The ledger in the binding store: written with every change of a binding, in the same transaction, never changed."""

from collections.abc import Sequence
from typing import Any

from routing.binding import Binding
from routing.errors import BindingError
from routing.ledger import Entry, Event, Holding, holders
from routing.numbers import parse_middle
from routing.store import audit
from routing.store.database import Database
from routing.store.pages import check_page

__all__ = ["Ledger", "note"]

_COLUMNS = (
    "x, at_ms, who, event, reason, binding, provider, business_user, scenario, order_id, starts_ms, until_ms,"
    " party_group, parties"
)
_INSERT = f"INSERT INTO ledger ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_SELECT = f"SELECT number, {_COLUMNS} FROM ledger"


async def note(
    database: Database,
    at_ms: int,
    by: str,
    event: Event,
    bindings: Sequence[Binding],
    reason: str = "",
    parties: Sequence[bytes] = (),
) -> None:
    """Add what became of bindings, as they are now, within somebody's transaction: a row for X and, where there is
    one, for Y.

    `parties` are the sealed real numbers of each where the caller has them already.
    """
    audit.check_by(by)
    audit.check_reason(reason, required=False)
    blobs = parties or [database.seal.seal(f"{binding.a}|{binding.b}") for binding in bindings]
    rows = [
        (int(x), *_values(at_ms, by, event, reason, binding), blob)
        for binding, blob in zip(bindings, blobs, strict=True)
        for x in (binding.x, binding.y)
        if x
    ]
    await database.many(_INSERT, rows)


class Ledger:
    """The room of the ledger, to read. BindingError when the request is at fault, StoreError when the file is."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, x: str, after: str = "", limit: int = 100, *, provider: str = "") -> tuple[Entry, ...]:
        """Return the entries of a middle number, the newest first; those of a provider, or all.

        The parties stay sealed. The next page begins `after` the number of the last entry of this one.
        """
        check_page(limit)
        conditions, values = ["x = ?"], [_middle(x)]
        if after:
            if not (after.isascii() and after.isdigit()):
                raise BindingError("after", "form", "must be the number of an entry")
            conditions.append("number < ?")
            values.append(min(int(after), 2**63 - 1))
        sql = f"{_SELECT} WHERE {' AND '.join(conditions)}{_OWN} ORDER BY number DESC LIMIT ?"
        async with self._database.reading():
            rows = await self._database.rows(sql, (*values, provider, provider, limit))
            return tuple(_entry(row) for row in rows)

    async def holders(
        self, x: str, at_ms: int, now_ms: int, *, by: str, purpose: str, provider: str = ""
    ) -> tuple[Holding, ...]:
        """Return who held a middle number at an instant (UTC ms), with the real numbers, whoever of any provider or of
        one. It needs a stated purpose and is noted in the audit (R11)."""
        if not purpose.strip():
            raise BindingError("purpose", "R11", "must be given: real numbers are shown for a stated purpose only")
        audit.check_reason(purpose)
        number = _middle(x)
        async with self._database.transaction():
            rows = await self._database.rows(
                f"{_SELECT} WHERE x = ?{_OWN} ORDER BY number", (number, provider, provider)
            )
            found = holders(map(_entry, rows), at_ms)
            detail = {"at_ms": at_ms, "bindings": [entry.binding for entry, _, _ in found]}
            await audit.note(
                self._database, now_ms, by, "trace", "number", str(number), purpose, detail, provider=provider
            )
            open_ = self._database.seal.open
            return tuple(_holding(entry, begun, until, open_(entry.parties)) for entry, begun, until in found)


_OWN = " AND (? = '' OR provider = ?)"


def _values(at_ms: int, by: str, event: Event, reason: str, binding: Binding) -> tuple[str | int, ...]:
    return (
        at_ms,
        by,
        event.value,
        reason,
        binding.id,
        binding.provider,
        binding.business_user,
        binding.scenario,
        binding.order_id,
        binding.starts_ms,
        min(binding.expires_ms, binding.ended_ms or binding.expires_ms),
        binding.group,
    )


def _middle(x: str) -> int:
    number = parse_middle(x)
    if number is None:
        raise BindingError("x", "R3", "a middle number is 700 and 12 digits")
    return int(number)


def _entry(row: Any) -> Entry:
    number, x, at_ms, by, event, *rest = row
    return Entry(number, str(x), at_ms, by, Event(event), *rest)


def _holding(entry: Entry, from_ms: int, until_ms: int, parties: str) -> Holding:
    a, _, b = parties.partition("|")
    return Holding(
        entry.x,
        entry.binding,
        entry.provider,
        entry.business_user,
        entry.scenario,
        entry.order_id,
        from_ms,
        until_ms,
        entry.group,
        a,
        b,
    )
