"""Credit files of business users in the binding store (R19): entries are added, never changed.

What the records of a day say is counted once, when the day is over (`settle`); blocks, the switch and people add
theirs as it happens."""

from collections.abc import Mapping
from typing import Any, Final

from routing.credit import VIOLATIONS, CreditEntry, CreditFile, Source, Violation, china_day, day_start_ms, summed
from routing.errors import BindingError, NotFound
from routing.store.audit import note as note_deed
from routing.store.database import Database, Value
from routing.store.pages import check_page
from routing.terms import check_reference
from routing.windows import DAY_MS

__all__ = ["Credit", "add_credit"]

_COLUMNS: Final = "number, business_user, day, violation, times, source, note, who, at_ms"
_INSERT: Final = (
    "INSERT INTO credit (business_user, day, violation, times, source, note, who, at_ms)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING number"
)
LONGEST_NOTE: Final = 600
LARGEST_TIMES: Final = 1_000_000_000
# A file that lists more entries than this is asked for in parts.
LONGEST_FILE: Final = 100_000


async def add_credit(
    database: Database,
    business_user: str,
    violation: Violation,
    times: int,
    source: Source,
    why: str,
    now_ms: int,
    by: str,
    day: str = "",
) -> CreditEntry:
    """Add an entry within somebody's transaction; ``day`` '' is that of ``now_ms``."""
    when = day or china_day(now_ms)
    values = (business_user, when, violation.value, times, source.value, why[:LONGEST_NOTE], by, now_ms)
    ((number,),) = await database.rows(_INSERT, values)
    return CreditEntry(number, business_user, when, violation, times, source, why[:LONGEST_NOTE], by, now_ms)


class Credit:
    """BindingError when the request is at fault, StoreError when the file is."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def note(
        self,
        business_user: str,
        violation: Violation,
        why: str,
        now_ms: int,
        *,
        by: str,
        times: int = 1,
        day: str = "",
        source: Source = Source.MANUAL,
    ) -> CreditEntry:
        """Put something into a credit file; a negative ``times`` takes it back."""
        if not why.strip() or len(why) > LONGEST_NOTE or not why.isprintable():
            raise BindingError("note", "R19", f"must be given, as plain text of at most {LONGEST_NOTE} characters")
        if not times or abs(times) > LARGEST_TIMES:
            raise BindingError("times", "R19", f"must be from 1 to {LARGEST_TIMES}, or negative to take back")
        if day:
            day_start_ms(day)
        async with self._database.transaction():
            if not await self._database.rows("SELECT 1 FROM business_users WHERE id = ?", (business_user,)):
                raise NotFound("business_user", "R6", "no such business user")
            entry = await add_credit(self._database, business_user, violation, times, source, why, now_ms, by, day)
            detail = {"violation": violation.value, "times": times, "day": entry.day}
            await note_deed(self._database, now_ms, by, "credit", "business_user", business_user, why[:128], detail)
        return entry

    async def list(
        self, business_user: str = "", after: str = "", limit: int = 100, *, since_day: str = "", until_day: str = ""
    ) -> tuple[CreditEntry, ...]:
        """Return entries, the newest first, of one business user or of all, between two days in China, both included.
        The next page begins `after` the number of the last entry of this one."""
        check_page(limit)
        return await self._entries(business_user, after, limit, since_day, until_day)

    async def file(self, business_user: str, *, since_day: str = "", until_day: str = "") -> CreditFile:
        """The credit file of a business user, with all entries and their sums. NotFound when there is no such one."""
        check_reference("business_user", business_user)
        async with self._database.reading():
            if not await self._database.rows("SELECT 1 FROM business_users WHERE id = ?", (business_user,)):
                raise NotFound("business_user", "R6", "no such business user")
        entries = await self._entries(business_user, "", LONGEST_FILE, since_day, until_day)
        return CreditFile(business_user, since_day, until_day, summed(entries), entries)

    async def settled(self, day: str) -> bool:
        """Whether the records of a day are counted in."""
        async with self._database.reading():
            return bool(await self._database.rows("SELECT 1 FROM credit_days WHERE day = ?", (day,)))

    async def settle(
        self, day: str, refused: Mapping[tuple[str, str], int], now_ms: int, *, by: str
    ) -> tuple[CreditEntry, ...]:
        """Count in what the records of a day say: refused attempts by (business user, reason). Done once for a day,
        however often it is asked for; the day must be over."""
        if day_start_ms(day) + DAY_MS > now_ms:
            raise BindingError("day", "R19", "is not over yet")
        counts: dict[tuple[str, Violation], int] = {}
        for (business_user, reason), times in refused.items():
            violation = VIOLATIONS.get(reason)
            if business_user and violation is not None and times:
                counts[business_user, violation] = counts.get((business_user, violation), 0) + times
        entries: list[CreditEntry] = []
        async with self._database.transaction():
            if not await self._database.rows(
                "INSERT INTO credit_days VALUES (?, ?) ON CONFLICT DO NOTHING RETURNING 1", (day, now_ms)
            ):
                return ()
            for (business_user, violation), times in sorted(counts.items()):
                why = "refused attempts of the day"
                entries.append(
                    await add_credit(
                        self._database, business_user, violation, times, Source.RECORDS, why, now_ms, by, day
                    )
                )
        return tuple(entries)

    async def _entries(
        self, business_user: str, after: str, limit: int, since_day: str, until_day: str
    ) -> tuple[CreditEntry, ...]:
        conditions, values = ["1"], list[Value]()
        if business_user:
            conditions.append("business_user = ?")
            values.append(business_user)
        for field, comparison, day in (("since_day", ">=", since_day), ("until_day", "<=", until_day)):
            if day:
                day_start_ms(day, field)
                conditions.append(f"day {comparison} ?")
                values.append(day)
        if after:
            if not (after.isascii() and after.isdigit() and len(after) < 19):
                raise BindingError("after", "form", "must be the number of an entry")
            conditions.append("number < ?")
            values.append(int(after))
        sql = f"SELECT {_COLUMNS} FROM credit WHERE {' AND '.join(conditions)} ORDER BY number DESC LIMIT ?"
        async with self._database.reading():
            return tuple(_credit_entry(row) for row in await self._database.rows(sql, (*values, limit)))


def _credit_entry(row: Any) -> CreditEntry:
    number, business_user, day, violation, times, source, why, who, at_ms = row
    return CreditEntry(number, business_user, day, Violation(violation), times, Source(source), why, who, at_ms)
