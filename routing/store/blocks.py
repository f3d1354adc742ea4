"""Blocks of middle numbers in the binding store: allocated to a registered holder, moved through the states of their
life, and reported on (R5, R6, R18)."""

from collections.abc import Sequence
from typing import Any

from routing.allocation import NUMBERS_OF_A_BLOCK, BlockLife, BlockUse
from routing.errors import BindingError, Conflict, NotFound, StaleRevision
from routing.plan import MOVES, Block, BlockState, parse_prefix
from routing.store import audit
from routing.store.database import Database
from routing.store.pages import check_page
from routing.store.reader import BLOCKS, block_of
from routing.store.standing import check_holder
from routing.terms import check_reference

__all__ = ["Blocks", "block_at"]

_COLUMNS = (
    "prefix, provider, business_user, state, reason, allocated_ms, activated_ms, frozen_ms, returned_ms, revision"
)
_SELECT = f"SELECT {_COLUMNS} FROM blocks"
_BOUND = "SELECT count(*) FROM numbers WHERE x BETWEEN ? AND ? AND bound_until_ms > ?"

# A block enters the registry when the ministry has allocated it, or later, when it is in use already.
_BEGINNINGS = frozenset({BlockState.ALLOCATED, BlockState.ACTIVE})

_DEEDS = {
    (BlockState.ALLOCATED, BlockState.ACTIVE): "activate",
    (BlockState.ALLOCATED, BlockState.RETURNED): "return",
    (BlockState.ACTIVE, BlockState.FROZEN): "freeze",
    (BlockState.FROZEN, BlockState.ACTIVE): "thaw",
    (BlockState.FROZEN, BlockState.RETURNED): "return",
}


class Blocks:
    """BindingError when the request is at fault, StoreError when the file is.

    Where a `provider` is given, only what is that provider's is there. Whoever changes something says who he is
    (`by`); `now_ms` is UTC. `quarantine_ms` is how long a number rests after a binding.
    """

    def __init__(self, database: Database, quarantine_ms: int = 0) -> None:
        self._database = database
        self._quarantine_ms = quarantine_ms

    async def add(
        self, block: Block, now_ms: int, *, by: str, reason: str = "", allocated_ms: int = 0, provider: str = ""
    ) -> BlockLife:
        """Register a block, allocated or active already, and return it (R3, R5, R6).

        Its provider '' is the one of the business user. `allocated_ms` is when the ministry allocated it; 0 is now. A
        prefix is registered once, and again after it was returned.
        """
        if parse_prefix(block.prefix) is None:
            raise BindingError("prefix", "R3", "a block is 700 and 8 digits")
        if block.state not in _BEGINNINGS:
            raise BindingError("state", "R18", f"a block begins as allocated or active, not as {block.state}")
        if not block.business_user.strip():
            raise BindingError("business_user", "R6", "must be given")
        check_reference("business_user", block.business_user)
        check_reference("provider", block.provider)
        if not 0 <= allocated_ms <= now_ms:
            raise BindingError("allocated_ms", "R18", "is before 1970 or has yet to come")
        audit.check_reason(reason, required=False)
        async with self._database.transaction():
            old = await self._life(block.prefix, "")
            if old is not None and old.state is not BlockState.RETURNED:
                raise Conflict("prefix", "R5", f"block {block.prefix} is already registered")
            owner = await check_holder(self._database, block.provider, block.business_user, now_ms)
            if provider not in ("", owner):
                raise BindingError("provider", "R6", "another provider's business is not yours to register")
            life = BlockLife(
                block.prefix,
                owner,
                block.business_user,
                block.state,
                reason,
                allocated_ms or now_ms,
                now_ms if block.state is BlockState.ACTIVE else 0,
                0,
                0,
                1 if old is None else old.revision + 1,
            )
            await self._write(life)
            await self._note(life, now_ms, by, "add", {"state": life.state.value, "business_user": life.business_user})
        return life

    async def get(self, prefix: str, *, provider: str = "") -> BlockLife | None:
        """Return a block, or None."""
        async with self._database.reading():
            return await self._life(prefix, provider)

    async def list(
        self,
        after: str = "",
        limit: int = 100,
        *,
        provider: str = "",
        business_user: str = "",
        state: BlockState | None = None,
    ) -> tuple[BlockLife, ...]:
        """Return blocks in the order of their prefixes; all, or those of a provider, of a business user, or in a state.

        The next page begins `after` the last prefix of this one.
        """
        check_page(limit)
        async with self._database.reading():
            return await self._page(after, limit, provider, business_user, state)

    async def move(
        self,
        prefix: str,
        state: BlockState,
        now_ms: int,
        *,
        by: str,
        reason: str = "",
        was: BlockState | None = None,
        revision: int = 0,
        provider: str = "",
    ) -> BlockLife:
        """Take a block to another state of its life and return it (R18). Calls follow within a second.

        Freezing and returning need a reason, and a block with a binding that is live or yet to start is not returned:
        its order would lose its calls (R7). `was` is the state it must come from, None any that leads there; `revision`
        the one it was read at, 0 whichever there is.
        """
        audit.check_reason(reason, required=state in (BlockState.FROZEN, BlockState.RETURNED))
        async with self._database.transaction():
            old = await self._life(prefix, provider)
            if old is None:
                raise NotFound("prefix", "R3", "no such block is registered")
            if revision not in (0, old.revision):
                raise StaleRevision("revision", "form", f"block {prefix} has changed: it is at {old.revision}")
            if was not in (None, old.state):
                raise Conflict("state", "R18", f"block {prefix} is {old.state}, not {was}")
            if state not in MOVES[old.state]:
                raise Conflict("state", "R18", f"block {prefix} is {old.state} and cannot become {state}")
            if state is BlockState.RETURNED:
                bound = await self._bound(prefix, now_ms)
                if bound:
                    raise Conflict("state", "R7", f"{bound} numbers of block {prefix} are bound until their orders end")
            life = BlockLife(
                prefix,
                old.provider,
                old.business_user,
                state,
                reason,
                old.allocated_ms,
                old.activated_ms or (now_ms if state is BlockState.ACTIVE else 0),
                now_ms if state is BlockState.FROZEN else 0,
                now_ms if state is BlockState.RETURNED else 0,
                old.revision + 1,
            )
            await self._write(life)
            detail = {"state": [old.state.value, state.value]}
            await self._note(life, now_ms, by, _DEEDS[old.state, state], detail)
        return life

    async def use(
        self,
        now_ms: int,
        after: str = "",
        limit: int = 100,
        *,
        provider: str = "",
        business_user: str = "",
        state: BlockState | None = None,
    ) -> tuple[BlockUse, ...]:
        """Return what becomes of the numbers of blocks at an instant (R18), paged and chosen as in `list`."""
        check_page(limit)
        async with self._database.reading():
            lives = await self._page(after, limit, provider, business_user, state)
        # one turn for each block: a long report holds nobody up
        return tuple([await self.use_of(life, now_ms) for life in lives])

    async def use_of(self, life: BlockLife, now_ms: int) -> BlockUse:
        """Return what becomes of the numbers of one block at an instant."""
        async with self._database.reading():
            bound = await self._bound(life.prefix, now_ms)
            taken = await self._bound(life.prefix, now_ms - self._quarantine_ms)
        return BlockUse(life, bound, taken - bound, NUMBERS_OF_A_BLOCK - taken, life.overdue(now_ms))

    async def _bound(self, prefix: str, instant_ms: int) -> int:
        first = int(prefix) * NUMBERS_OF_A_BLOCK
        ((count,),) = await self._database.rows(_BOUND, (first, first + NUMBERS_OF_A_BLOCK - 1, instant_ms))
        return int(count)

    async def _life(self, prefix: str, provider: str) -> BlockLife | None:
        sql = f"{_SELECT} WHERE prefix = ? AND (? = '' OR provider = ?)"
        for row in await self._database.rows(sql, (prefix, provider, provider)):
            return _life_of(row)
        return None

    async def _page(
        self, after: str, limit: int, provider: str, business_user: str, state: BlockState | None
    ) -> tuple[BlockLife, ...]:
        conditions, values = ["prefix > ?"], [after]
        for column, value in (
            ("provider", provider),
            ("business_user", business_user),
            ("state", "" if state is None else state.value),
        ):
            if value:
                conditions.append(f"{column} = ?")
                values.append(value)
        sql = f"{_SELECT} WHERE {' AND '.join(conditions)} ORDER BY prefix LIMIT ?"
        return tuple(_life_of(row) for row in await self._database.rows(sql, (*values, limit)))

    async def _write(self, life: BlockLife) -> None:
        values: Sequence[str | int] = (
            life.prefix,
            life.provider,
            life.business_user,
            life.state.value,
            life.reason,
            life.allocated_ms,
            life.activated_ms,
            life.frozen_ms,
            life.returned_ms,
            life.revision,
        )
        sets = ", ".join(f"{column} = excluded.{column}" for column in _COLUMNS.split(", ")[1:])
        await self._database.rows(
            f"INSERT INTO blocks ({_COLUMNS}) VALUES ({', '.join('?' * len(values))})"
            f" ON CONFLICT (prefix) DO UPDATE SET {sets}",
            values,
        )

    async def _note(self, life: BlockLife, now_ms: int, by: str, action: str, detail: audit.Detail) -> None:
        await audit.note(
            self._database, now_ms, by, action, "block", life.prefix, life.reason, detail, provider=life.provider
        )


async def block_at(database: Database, prefix: str) -> Block | None:
    """The block of a prefix, within somebody's turn."""
    for row in await database.rows(f"{BLOCKS} WHERE prefix = ?", (prefix,)):
        return block_of(row)
    return None


def _life_of(row: Any) -> BlockLife:
    prefix, provider, business_user, state, *rest = row
    return BlockLife(prefix, provider, business_user, BlockState(state), *rest)
