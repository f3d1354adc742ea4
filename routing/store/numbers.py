"""What a single middle number is doing: free, bound or resting (R18)."""

from dataclasses import dataclass
from enum import StrEnum

from routing.errors import BindingError, NotFound
from routing.numbers import parse_middle
from routing.plan import PREFIX_DIGITS, BlockState
from routing.store.database import Database

__all__ = ["NumberLife", "NumberState", "Numbers"]


class NumberState(StrEnum):
    """State of a middle number."""

    FREE = "free"
    BOUND = "bound"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True)
class NumberLife:
    """A middle number in its block. Times are UTC milliseconds: `bound_until_ms` is when its last binding ends or has
    ended, 0 for never; `free_ms` is when it may be allocated again, 0 for now."""

    x: str
    state: NumberState
    block: str
    block_state: BlockState
    provider: str
    business_user: str
    bound_until_ms: int
    free_ms: int


class Numbers:
    """BindingError when the request is at fault, StoreError when the file is. `quarantine_ms` is how long a number
    rests after a binding."""

    def __init__(self, database: Database, quarantine_ms: int) -> None:
        self._database = database
        self._quarantine_ms = quarantine_ms

    async def get(self, x: str, now_ms: int, *, provider: str = "") -> NumberLife:
        """The number at an instant; NotFound when it lies in no block, or in one of another provider."""
        middle = parse_middle(x)
        if middle is None:
            raise BindingError("x", "R3", "a middle number is 700 and 12 digits")
        prefix = middle[:PREFIX_DIGITS]
        async with self._database.reading():
            blocks = await self._database.rows(
                "SELECT state, provider, business_user FROM blocks WHERE prefix = ? AND (? = '' OR provider = ?)",
                (prefix, provider, provider),
            )
            rows = await self._database.rows("SELECT bound_until_ms FROM numbers WHERE x = ?", (int(middle),))
        if not blocks:
            raise NotFound("x", "R3", "the number lies in no assigned block")
        ((block_state, owner, business_user),) = blocks
        until = rows[0][0] if rows else 0
        free_ms = until + self._quarantine_ms
        state = NumberState.QUARANTINED
        if until > now_ms:
            state = NumberState.BOUND
        elif not until or free_ms <= now_ms:
            state, free_ms = NumberState.FREE, 0
        return NumberLife(middle, state, prefix, BlockState(block_state), owner, business_user, until, free_ms)
