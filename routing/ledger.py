"""The ledger of middle numbers: who held which X when, for which order (R5). Values, and the question of an instant.

X is used again and again, so "who is behind it" has an answer for an instant only (R11).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Entry", "Event", "Holding", "holders"]


class Event(StrEnum):
    """What happened to a holding."""

    BOUND = "bound"
    EXTENDED = "extended"
    CHANGED = "changed"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Entry:
    """One row: at `at_ms`, `by` somebody, the binding came to hold `x` from `starts_ms` on and before `until_ms` (UTC)
    with these parties.

    `parties` is both real numbers, still sealed; where a group takes the part of A, `group` is its id.
    """

    number: int
    x: str
    at_ms: int
    by: str
    event: Event
    reason: str
    binding: str
    provider: str
    business_user: str
    scenario: str
    order_id: str
    starts_ms: int
    until_ms: int
    group: str
    parties: bytes


@dataclass(frozen=True, slots=True)
class Holding:
    """A binding that held `x` at an instant: for whom and for which order, since when, until when, with whom.

    `from_ms` is not before it was made; `until_ms` is as the last entry has it. `a` and `b` are E.164.
    """

    x: str
    binding: str
    provider: str
    business_user: str
    scenario: str
    order_id: str
    from_ms: int
    until_ms: int
    group: str
    a: str
    b: str


def holders(entries: Iterable[Entry], at_ms: int) -> tuple[tuple[Entry, int, int], ...]:
    """Return of each binding that held the number at an instant its entry that counted then, since when and until when.

    `entries` are those of one number, the oldest first. What was written later counts for the end (an early end, an
    extension) and not for the parties, who were those of the last entry before the instant.
    """
    stories: dict[str, list[Entry]] = {}
    for entry in entries:
        stories.setdefault(entry.binding, []).append(entry)
    found = []
    for story in stories.values():
        begun = max(story[0].starts_ms, story[0].at_ms)
        until = story[-1].until_ms
        if begun <= at_ms < until:
            then = [entry for entry in story if entry.at_ms <= at_ms]
            found.append((then[-1], begun, until))
    return tuple(found)
