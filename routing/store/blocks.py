"""Blocks of middle numbers in the binding store: registered once, moved through the states of their life (R18)."""

from routing.binding import check_reference
from routing.errors import BindingError
from routing.plan import MOVES, Block, BlockState, parse_prefix
from routing.store.database import Database
from routing.store.pages import check_page
from routing.store.reader import BLOCKS, block_of

__all__ = ["Blocks", "block_at"]


class Blocks:
    """BindingError when the request is at fault, StoreError when the file is."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, block: Block) -> None:
        """Register a block (R3, R5, R6). A prefix is registered once."""
        if parse_prefix(block.prefix) is None:
            raise BindingError("prefix", "R3", "a block is 700 and 8 digits")
        for field, text in (("provider", block.provider), ("business_user", block.business_user)):
            if not text.strip():
                raise BindingError(field, "R6", "must be given")
            check_reference(field, text)
        async with self._database.transaction():
            if await block_at(self._database, block.prefix) is not None:
                raise BindingError("prefix", "R5", f"block {block.prefix} is already registered")
            await self._database.rows(
                "INSERT INTO blocks VALUES (?, ?, ?, ?)",
                (block.prefix, block.provider, block.business_user, block.state.value),
            )

    async def move(self, prefix: str, state: BlockState) -> Block:
        """Take a block to another state of its life (R18) and return it. Calls follow within a second."""
        async with self._database.transaction():
            block = await block_at(self._database, prefix)
            if block is None:
                raise BindingError("prefix", "R3", "no such block")
            if state not in MOVES[block.state]:
                raise BindingError("state", "R18", f"block {prefix} is {block.state} and cannot become {state}")
            await self._database.rows("UPDATE blocks SET state = ? WHERE prefix = ?", (state.value, prefix))
        return Block(block.prefix, block.provider, block.business_user, state)

    async def list(self, after: str = "", limit: int = 100) -> tuple[Block, ...]:
        """Return blocks in the order of their prefixes; the next page begins `after` the last prefix of this one."""
        check_page(limit)
        async with self._database.reading():
            rows = await self._database.rows(f"{BLOCKS} WHERE prefix > ? ORDER BY prefix LIMIT ?", (after, limit))
            return tuple(block_of(row) for row in rows)


async def block_at(database: Database, prefix: str) -> Block | None:
    """The block of a prefix, within somebody's turn."""
    for row in await database.rows(f"{BLOCKS} WHERE prefix = ?", (prefix,)):
        return block_of(row)
    return None
