"""Bindings by what is known of them, the newest first, however many there are.

The narrowest thing asked for leads through its index. What no index knows, such as the state at an instant, is looked
for among so many rows at a time; between them others have their turn at the file.
"""

from dataclasses import dataclass
from typing import Final

from routing.binding import BindingDetail, BindingState
from routing.store.binding_rows import DETAILS, detail_of
from routing.store.database import Database, Value

__all__ = ["Wanted", "search"]

# Rows looked through in one turn: some twenty milliseconds.
ROWS_AT_ONCE: Final = 5000

_STATES: Final = {
    BindingState.ENDED: "ended_ms <> 0",
    BindingState.WAITING: "ended_ms = 0 AND starts_ms > :now AND expires_ms > :now",
    BindingState.LIVE: "ended_ms = 0 AND starts_ms <= :now AND expires_ms > :now",
    BindingState.EXPIRED: "ended_ms = 0 AND expires_ms <= :now",
}

# From the narrowest to the widest; the first that is asked for leads. Those that lead to few rows need no parts.
_LEADS: Final = (
    ("x", "(x = :x OR (y = :x AND y <> ''))", True),
    ("order_id", "order_id = :order_id", True),
    ("party_group", "party_group = :party_group AND party_group <> ''", False),
    ("business_user", "business_user = :business_user", False),
    ("provider", "provider = :provider", False),
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What bindings are looked for: each thing '' or None where it does not matter. `x` is X or Y, `state` the one at
    `now_ms`."""

    x: str = ""
    order_id: str = ""
    party_group: str = ""
    business_user: str = ""
    provider: str = ""
    state: BindingState | None = None
    now_ms: int = 0


async def search(database: Database, wanted: Wanted, before: int, limit: int) -> list[BindingDetail]:
    """Return the newest so many bindings whose row number is below `before`."""
    asked = [lead for lead in _LEADS if getattr(wanted, lead[0])]
    values: dict[str, Value] = {name: getattr(wanted, name) for name, _, _ in asked}
    # A plus keeps a column's own index out of it: without statistics it may be taken for the narrower one.
    others = [f"+{name} = :{name}" for name, _, _ in asked[1:]]
    if wanted.state is not None:
        others.append(_STATES[wanted.state])
    _, lead, few = asked[0] if asked else ("", "1", False)
    values |= {"now": wanted.now_ms, "before": before, "part": ROWS_AT_ONCE}
    found: list[BindingDetail] = []
    while True:
        values["limit"] = limit - len(found)
        async with database.reading():
            low = 0
            if others and not few:
                ((low, looked),) = await database.rows(
                    "SELECT ifnull(min(number), 0), count(*) FROM (SELECT number FROM bindings"
                    f" WHERE {lead} AND number < :before ORDER BY number DESC LIMIT :part)",
                    values,
                )
                low = low if looked == ROWS_AT_ONCE else 0
            values["low"] = low
            conditions = " AND ".join((lead, "number < :before", "number >= :low", *others))
            sql = f"{DETAILS} FROM bindings WHERE {conditions} ORDER BY number DESC LIMIT :limit"
            found += [detail_of(row, database.seal.open) for row in await database.rows(sql, values)]
        if not low or len(found) == limit:
            return found
        values["before"] = low
