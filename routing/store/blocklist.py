"""The block list and the caller ranges in the binding store. Real numbers stand in it sealed, beside their keyed hash;
the switch reads them with `routing.store.policy_reader` and follows within a second."""

from typing import Any, Final, NamedTuple

from routing.blocklist import PERSONAL, Blocked, BlockKind, BlockRequest, admit_block, check_why, parse_range
from routing.credit import Source, Violation
from routing.errors import BindingError, Conflict, NotFound
from routing.plan import PREFIX_DIGITS
from routing.store.audit import note
from routing.store.credit import add_credit
from routing.store.database import Database, Value
from routing.store.pages import check_page
from routing.store.reader import Seal

__all__ = ["Blocklist", "CallerRange"]

_COLUMNS: Final = (
    "number, kind, key, sealed, reason, who, cut, business_user, created_ms, expires_ms, lifted_ms, lifted_by,"
    " lifted_reason"
)
_INSERT: Final = (
    "INSERT INTO blocklist (kind, key, sealed, reason, who, cut, business_user, created_ms, expires_ms, revision)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, (SELECT counter + 1 FROM change)) RETURNING number"
)
_LIFT: Final = (
    "UPDATE blocklist SET lifted_ms = ?, lifted_by = ?, lifted_reason = ?,"
    " revision = (SELECT counter + 1 FROM change) WHERE number = ?"
)
_LIVE: Final = "lifted_ms = 0 AND (expires_ms = 0 OR expires_ms > ?)"


class CallerRange(NamedTuple):
    """Callers whose national number begins with ``prefix`` may call, or may not."""

    prefix: str
    allowed: bool
    reason: str
    by: str
    created_ms: int


class Blocklist:
    """BindingError when the request is at fault, StoreError when the file is. No error says a real number."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, request: BlockRequest, now_ms: int, *, by: str) -> Blocked:
        """Block something from now on (R12); new calls and messages are refused within a second, and with ``cut`` live
        calls end as well. Conflict when a live entry says so already."""
        value = admit_block(request, now_ms)
        seal = self._database.seal
        key = _key(request.kind, value, seal)
        async with self._database.transaction():
            for (number,) in await self._database.rows(
                f"SELECT number FROM blocklist WHERE kind = ? AND key = ? AND {_LIVE}",
                (request.kind.value, key, now_ms),
            ):
                raise Conflict("value", "R12", f"entry {number} blocks it already; lift that first")
            user = request.business_user or await self._answerable(request.kind, value)
            ((number,),) = await self._database.rows(
                _INSERT,
                (
                    request.kind.value,
                    key,
                    seal.seal(value) if request.kind in PERSONAL else b"",
                    request.reason,
                    by,
                    int(request.cut),
                    user,
                    now_ms,
                    request.expires_ms,
                ),
            )
            detail: dict[str, object] = {"expires_ms": request.expires_ms, "cut": request.cut, "business_user": user}
            if request.kind not in PERSONAL:
                detail["value"] = value
            detail["kind"] = request.kind.value
            await note(self._database, now_ms, by, "block", "blocklist", str(number), request.reason, detail)
            if user:
                why = f"block list entry {number}, {request.kind.value}: {request.reason}"
                await add_credit(self._database, user, Violation.BLOCKED, 1, Source.BLOCK, why, now_ms, by)
        return Blocked(
            number,
            request.kind,
            value,
            request.reason,
            by,
            request.cut,
            user,
            now_ms,
            request.expires_ms,
        )

    async def get(self, identifier: int) -> Blocked | None:
        """Return an entry by its number, live or not, or None."""
        async with self._database.reading():
            return await self._entry(identifier)

    async def list(
        self, after: str = "", limit: int = 100, *, kind: str = "", value: str = "", live_at_ms: int = 0
    ) -> tuple[Blocked, ...]:
        """Return entries, the newest first: all, those of a kind, those of a kind about one value, those that block at
        an instant (UTC ms). The next page begins `after` the number of the last entry of this one."""
        check_page(limit)
        conditions, values = ["1"], list[Value]()
        if kind:
            conditions.append("kind = ?")
            values.append(_kind(kind).value)
        if value:
            if not kind:
                raise BindingError("value", "form", "needs the kind it is of")
            spoken = _kind(kind)
            wanted = admit_block(BlockRequest(spoken, value, "looked for"), 0)
            conditions.append("key = ?")
            values.append(_key(spoken, wanted, self._database.seal))
        if live_at_ms:
            conditions.append(_LIVE)
            values.append(live_at_ms)
        if after:
            if not (after.isascii() and after.isdigit() and len(after) < 19):
                raise BindingError("after", "form", "must be the number of an entry")
            conditions.append("number < ?")
            values.append(int(after))
        sql = f"SELECT {_COLUMNS} FROM blocklist WHERE {' AND '.join(conditions)} ORDER BY number DESC LIMIT ?"
        async with self._database.reading():
            rows = await self._database.rows(sql, (*values, limit))
            return tuple(_blocked(row, self._database.seal) for row in rows)

    async def lift(self, identifier: int, now_ms: int, *, by: str, reason: str) -> Blocked:
        """End an entry before its time. NotFound, or Conflict when it blocks nothing any more."""
        check_why(reason)
        async with self._database.transaction():
            entry = await self._entry(identifier)
            if entry is None:
                raise NotFound("id", "R12", "no such entry")
            if not entry.live(now_ms):
                raise Conflict("id", "R12", f"entry {identifier} has {'been lifted' if entry.lifted_ms else 'expired'}")
            await self._database.rows(_LIFT, (max(now_ms, 1), by, reason, identifier))
            await note(
                self._database, now_ms, by, "lift", "blocklist", str(identifier), reason, {"kind": entry.kind.value}
            )
            lifted = await self._entry(identifier)
        assert lifted is not None
        return lifted

    # caller ranges (R13)

    async def set_range(self, prefix: str, allowed: bool, now_ms: int, *, by: str, reason: str) -> CallerRange:
        """Allow or deny callers whose national number begins so; the longest range that matches decides."""
        digits = _range(prefix)
        check_why(reason)
        async with self._database.transaction():
            await self._database.rows(
                "INSERT INTO caller_ranges VALUES (?, ?, ?, ?, ?) ON CONFLICT (prefix) DO UPDATE SET"
                " allowed = excluded.allowed, reason = excluded.reason, who = excluded.who,"
                " created_ms = excluded.created_ms",
                (digits, int(allowed), reason, by, now_ms),
            )
            await note(self._database, now_ms, by, "allow" if allowed else "deny", "caller_range", digits, reason)
        return CallerRange(digits, allowed, reason, by, now_ms)

    async def drop_range(self, prefix: str, now_ms: int, *, by: str, reason: str) -> None:
        """Take a range away again. NotFound when there is none."""
        digits = _range(prefix)
        check_why(reason)
        async with self._database.transaction():
            if not await self._database.rows("DELETE FROM caller_ranges WHERE prefix = ? RETURNING 1", (digits,)):
                raise NotFound("prefix", "R13", "no such range")
            await note(self._database, now_ms, by, "drop", "caller_range", digits, reason)

    async def ranges(self) -> tuple[CallerRange, ...]:
        """All ranges, in the order of their digits."""
        async with self._database.reading():
            rows = await self._database.rows(
                "SELECT prefix, allowed, reason, who, created_ms FROM caller_ranges ORDER BY prefix"
            )
            return tuple(CallerRange(row[0], bool(row[1]), *row[2:]) for row in rows)

    async def _answerable(self, kind: BlockKind, value: str) -> str:
        """The business user whom an entry concerns, '' where it is nobody's in particular."""
        rows: list[Any] = []
        if kind is BlockKind.BUSINESS_USER:
            return value
        if kind in (BlockKind.X, BlockKind.BLOCK):
            rows = await self._database.rows(
                "SELECT business_user FROM blocks WHERE prefix = ?", (value[:PREFIX_DIGITS],)
            )
        elif kind is BlockKind.BINDING:
            rows = await self._database.rows("SELECT business_user FROM bindings WHERE id = ?", (value,))
        return str(rows[0][0]) if rows else ""

    async def _entry(self, identifier: int) -> Blocked | None:
        for row in await self._database.rows(f"SELECT {_COLUMNS} FROM blocklist WHERE number = ?", (identifier,)):
            return _blocked(row, self._database.seal)
        return None


def _key(kind: BlockKind, value: str, seal: Seal) -> str | bytes:
    return seal.hash(value) if kind in PERSONAL else value


def _kind(text: str) -> BlockKind:
    try:
        return BlockKind(text)
    except ValueError:
        raise BindingError("kind", "form", f"there are {', '.join(BlockKind)}") from None


def _range(prefix: str) -> str:
    digits = parse_range(prefix)
    if digits is None:
        raise BindingError("prefix", "R13", "a range is the first digits of a national number, such as 138 or 010")
    return digits


def _blocked(row: Any, seal: Seal) -> Blocked:
    number, kind, key, sealed, reason, who, cut, user, created_ms, expires_ms, lifted_ms, lifted_by, why = row
    value = seal.open(sealed) if sealed else key
    return Blocked(
        number, BlockKind(kind), value, reason, who, bool(cut), user, created_ms, expires_ms, lifted_ms, lifted_by, why
    )
