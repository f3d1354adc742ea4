"""How bindings, their keys and the times of their numbers lie in rows of the binding store: shared by the rooms that
write them. Everything here runs within somebody's turn."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from routing.binding import Binding, BindingDetail, BindingRequest
from routing.store.database import Database, Value
from routing.store.reader import COLUMNS, binding_of

__all__ = [
    "DETAILS",
    "detail_of",
    "free_keys",
    "hold_numbers",
    "holders",
    "in_parts",
    "insert",
    "parties_text",
    "release_numbers",
    "take_keys",
]

# Variables of one statement: fewer statements than rows, and far below SQLite's limit.
VALUES_AT_ONCE: Final = 1000

DETAILS: Final = f"SELECT number, {COLUMNS}, real_name, consent, client_token, created_ms, ended_reason, revision"
_DETAIL_COLUMNS: Final = 6

_INSERT: Final = (
    f"INSERT INTO bindings (number, {COLUMNS}, real_name, consent, client_token, fingerprint, created_ms)"
    f" VALUES ({', '.join('?' * (COLUMNS.count(',') + 7))})"
)
_TAKE_KEY: Final = "INSERT INTO keys VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET binding = excluded.binding"
_FREE_KEY: Final = "DELETE FROM keys WHERE key = ? AND binding = ?"
_HOLD_NUMBER: Final = (
    "INSERT INTO numbers VALUES (?, ?)"
    " ON CONFLICT (x) DO UPDATE SET bound_until_ms = max(bound_until_ms, excluded.bound_until_ms)"
)
# Other bindings may hold the number still.
_RELEASE_NUMBER: Final = """
    UPDATE numbers SET bound_until_ms = (
        SELECT max(:now, ifnull(max(expires_ms), 0)) FROM bindings
        WHERE (x = :text OR (y = :text AND y <> '')) AND ended_ms = 0 AND expires_ms > :now
    ) WHERE x = CAST(:text AS INTEGER)
"""


def detail_of(row: Any, open_: Any) -> BindingDetail:
    """A row of DETAILS."""
    return BindingDetail(binding_of(row[1:-_DETAIL_COLUMNS], open_), *row[-_DETAIL_COLUMNS:])


def parties_text(binding: Binding) -> str:
    """The text that is sealed in `parties`."""
    return f"{binding.a}|{binding.b}"


async def in_parts(database: Database, sql: str, values: Sequence[Value], *more: Value) -> list[Any]:
    """All rows of a statement whose `{}` stands for a list of values, followed by a fixed few."""
    rows: list[Any] = []
    for start in range(0, len(values), VALUES_AT_ONCE):
        part = values[start : start + VALUES_AT_ONCE]
        rows += await database.rows(sql.format(", ".join("?" * len(part))), (*part, *more))
    return rows


async def insert(
    database: Database,
    bindings: Sequence[tuple[Binding, BindingRequest, bytes, bytes]],
    now_ms: int,
) -> int:
    """Insert (binding, its request, sealed parties, fingerprint); return the row number of the first."""
    ((last,),) = await database.rows("SELECT ifnull(max(number), 0) FROM bindings")
    first = int(last) + 1
    await database.many(
        _INSERT,
        [
            (
                first + offset,
                binding.id,
                binding.mode.value,
                binding.x,
                binding.y,
                parties,
                binding.direction.value,
                binding.provider,
                binding.business_user,
                binding.scenario,
                binding.order_id,
                binding.industrial_id,
                binding.starts_ms,
                binding.expires_ms,
                binding.ended_ms,
                binding.ring_seconds,
                binding.longest_seconds,
                binding.group,
                binding.most_calls,
                request.real_name,
                request.consent,
                request.client_token,
                fingerprint,
                now_ms,
            )
            for offset, (binding, request, parties, fingerprint) in enumerate(bindings)
        ],
    )
    return first


async def holders(database: Database, hashes: Sequence[bytes], now_ms: int) -> Mapping[bytes, str]:
    """Of these keys those that a binding holds, live or yet to start, with its id."""
    sql = (
        "SELECT key, id FROM keys JOIN bindings ON number = binding"
        " WHERE key IN ({}) AND ended_ms = 0 AND expires_ms > ?"
    )
    return dict(await in_parts(database, sql, hashes, now_ms))


async def take_keys(database: Database, taken: Iterable[tuple[bytes, int]]) -> None:
    """Give keys to bindings, by their row numbers; what dead ones held them is forgotten."""
    # in the order of the tree they go into
    await database.many(_TAKE_KEY, sorted(taken))


async def free_keys(database: Database, freed: Iterable[tuple[bytes, int]]) -> None:
    """Take keys from bindings that still have them."""
    await database.many(_FREE_KEY, sorted(freed))


async def hold_numbers(database: Database, bindings: Iterable[Binding]) -> None:
    """Note until when the numbers of bindings are bound."""
    rows = [(int(x), binding.expires_ms) for binding in bindings for x in (binding.x, binding.y) if x]
    await database.many(_HOLD_NUMBER, sorted(rows))


async def release_numbers(database: Database, binding: Binding, now_ms: int) -> None:
    """Note that a binding has ended: its numbers are bound no longer, unless by others."""
    for x in (binding.x, binding.y):
        if x:
            await database.many(_RELEASE_NUMBER, [{"now": now_ms, "text": x}])
