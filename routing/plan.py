"""The number plan: which blocks of middle numbers exist, who holds each, and in what state of its life it is."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

# A block is 10,000 middle numbers: their first 11 digits.
PREFIX_DIGITS = 11

_PREFIX = re.compile(r"700[0-9]{8}")


class BlockState(StrEnum):
    """Life of a block (R18)."""

    ALLOCATED = "allocated"
    ACTIVE = "active"
    FROZEN = "frozen"
    RETURNED = "returned"


# An allocated block may be filled with bindings ahead of its first call; calls wait until it is active (R1).
BINDABLE = frozenset({BlockState.ALLOCATED, BlockState.ACTIVE})
CALLABLE = frozenset({BlockState.ACTIVE})

# Where a block may go from each state. A frozen one may be thawed; a returned one is not ours any more (R18).
MOVES: dict[BlockState, frozenset[BlockState]] = {
    BlockState.ALLOCATED: frozenset({BlockState.ACTIVE, BlockState.RETURNED}),
    BlockState.ACTIVE: frozenset({BlockState.FROZEN}),
    BlockState.FROZEN: frozenset({BlockState.ACTIVE, BlockState.RETURNED}),
    BlockState.RETURNED: frozenset(),
}


@dataclass(frozen=True, slots=True)
class Block:
    """One block: `prefix` is 11 digits (`700` + 8). It belongs to exactly one business user (R5)."""

    prefix: str
    provider: str
    business_user: str
    state: BlockState


class Plan:
    """An immutable snapshot of all blocks. ValueError when two share a prefix (R5)."""

    __slots__ = ("_blocks",)

    def __init__(self, blocks: Iterable[Block]) -> None:
        self._blocks: dict[str, Block] = {}
        for block in blocks:
            if block.prefix in self._blocks:
                raise ValueError(f"block {block.prefix} is listed twice")
            self._blocks[block.prefix] = block

    def block_of(self, x: str) -> Block | None:
        """Return the block that a middle number (15 digits) lies in, or None when none is assigned (R3)."""
        return self._blocks.get(x[:PREFIX_DIGITS])

    def __len__(self) -> int:
        return len(self._blocks)


def parse_prefix(text: str) -> str | None:
    """Return a block's prefix when the text is one (`700` + 8 digits), else None (R3)."""
    return text if _PREFIX.fullmatch(text) else None
