"""Free middle numbers of a business user, drawn at random (R18: free, bound, quarantined, free again).

A number is free while no binding holds it and a quarantine has passed since the last one did. What binding comes to
hold it is noted in `numbers` by those who write bindings, in the same transaction.
"""

from collections.abc import Callable, Sequence
from typing import Final

from routing.allocation import NUMBERS_OF_A_BLOCK
from routing.plan import BlockState
from routing.store.binding_rows import in_parts
from routing.store.database import Database

__all__ = ["Allocator"]

# Draws before the blocks are gone through one by one: with a tenth of the numbers free, 19 of 20 are served by them.
DRAWS: Final = 4
# How many numbers are drawn for one that is wanted.
SPREAD: Final = 8

# A block found full is looked at again so much later: an early end elsewhere may have freed a number in it.
FULL_MS: Final = 1000


class Allocator:
    """Draws free numbers of one store. `random` returns numbers in [0, 1); `quarantine_ms` is how long a number rests
    after its last binding."""

    def __init__(self, database: Database, quarantine_ms: int, random: Callable[[], float]) -> None:
        self._database = database
        self._quarantine_ms = quarantine_ms
        self._random = random
        self._full: dict[str, int] = {}  # blocks found full, and until when that is taken for granted

    async def draw(self, business_user: str, wanted: int, now_ms: int, avoid: set[str]) -> list[str]:
        """Return so many free numbers, or fewer when there are no more, within somebody's transaction. Those in
        ``avoid`` are left out, and the ones drawn are added to it."""
        prefixes = await self._prefixes(business_user)
        found: list[str] = []
        for _ in range(DRAWS):
            missing = wanted - len(found)
            if not missing or not prefixes:
                break
            draws = {
                self._one_of(prefixes) + f"{int(self._random() * NUMBERS_OF_A_BLOCK):04d}"
                for _ in range(missing * SPREAD)
            }
            found += await self._free(draws - avoid, missing, now_ms, avoid)
        if len(found) < wanted:
            found += await self._search(prefixes, wanted - len(found), now_ms, avoid)
        return found

    async def _prefixes(self, business_user: str) -> Sequence[str]:
        sql = "SELECT prefix FROM blocks WHERE business_user = ? AND state = ?"
        rows = await self._database.rows(sql, (business_user, BlockState.ACTIVE.value))
        return [prefix for (prefix,) in rows]

    async def _free(self, draws: set[str], wanted: int, now_ms: int, avoid: set[str]) -> list[str]:
        sql = "SELECT x FROM numbers WHERE x IN ({}) AND bound_until_ms > ?"
        rows = await in_parts(self._database, sql, [int(x) for x in draws], now_ms - self._quarantine_ms)
        free = list(draws - {str(x) for (x,) in rows})[:wanted]
        avoid.update(free)
        return free

    async def _search(self, prefixes: Sequence[str], wanted: int, now_ms: int, avoid: set[str]) -> list[str]:
        """Go through the blocks from a random one on."""
        found: list[str] = []
        start = int(self._random() * len(prefixes))
        for prefix in (*prefixes[start:], *prefixes[:start]):
            if len(found) == wanted:
                break
            if self._full.get(prefix, 0) > now_ms:
                continue
            first = int(prefix) * NUMBERS_OF_A_BLOCK
            rows = await self._database.rows(
                "SELECT x, bound_until_ms FROM numbers WHERE x BETWEEN ? AND ? AND bound_until_ms > ?",
                (first, first + NUMBERS_OF_A_BLOCK - 1, now_ms - self._quarantine_ms),
            )
            if len(rows) == NUMBERS_OF_A_BLOCK:
                free_ms = min(until_ms for _, until_ms in rows) + self._quarantine_ms
                self._full[prefix] = min(free_ms, now_ms + FULL_MS)
                continue
            numbers = {str(x) for x in range(first, first + NUMBERS_OF_A_BLOCK)}
            free = sorted(numbers - {str(x) for x, _ in rows} - avoid)
            while free and len(found) < wanted:
                drawn = free.pop(int(self._random() * len(free)))
                found.append(drawn)
                avoid.add(drawn)
        return found

    def _one_of(self, prefixes: Sequence[str]) -> str:
        return prefixes[int(self._random() * len(prefixes))]
