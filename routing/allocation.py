"""The life of a block as provisioning keeps it, and what becomes of its numbers: the reports of R18."""

from dataclasses import dataclass
from typing import Final

from routing.plan import BlockState
from routing.terms import DAY_MS
from routing.windows import CHINA_MS, FIRST_WEEKDAY

__all__ = ["ACTIVATION_WORKING_DAYS", "NUMBERS_OF_A_BLOCK", "BlockLife", "BlockUse", "activation_due"]

NUMBERS_OF_A_BLOCK: Final = 10_000
# Within so many working days of its allocation a block is activated and that is reported (R18).
ACTIVATION_WORKING_DAYS: Final = 5

_SATURDAY: Final = 5


@dataclass(frozen=True, slots=True)
class BlockLife:
    """A block with the instants of its life (UTC ms): when it was allocated, first activated, frozen and returned; 0 is
    never, or, of `frozen_ms`, not now. `reason` is why it is in its `state`; `revision` counts its changes from 1 on.
    """

    prefix: str
    provider: str
    business_user: str
    state: BlockState
    reason: str
    allocated_ms: int
    activated_ms: int
    frozen_ms: int
    returned_ms: int
    revision: int

    @property
    def due_ms(self) -> int:
        """When it has to be active at the latest (UTC ms)."""
        return activation_due(self.allocated_ms)

    def overdue(self, now_ms: int) -> bool:
        """Say whether it waits for its activation for longer than it may."""
        return self.state is BlockState.ALLOCATED and now_ms >= self.due_ms


@dataclass(frozen=True, slots=True)
class BlockUse:
    """What becomes of the numbers of a block at an instant: `bound` in a binding that is live or yet to start,
    `quarantined` after one, `free`. The three are all there are."""

    block: BlockLife
    bound: int
    quarantined: int
    free: int
    overdue: bool


def activation_due(allocated_ms: int) -> int:
    """Return when a block allocated at an instant has to be active (UTC ms): when the fifth working day after ends in
    China. Saturday and Sunday are none; public holidays are not known here, so the term is never too long."""
    day = (allocated_ms + CHINA_MS) // DAY_MS
    left = ACTIVATION_WORKING_DAYS
    while left:
        day += 1
        if (day + FIRST_WEEKDAY) % 7 < _SATURDAY:
            left -= 1
    return (day + 1) * DAY_MS - CHINA_MS
