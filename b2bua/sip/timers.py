"""RFC 3261's timer values and one queue for every timer of the switch.

A timer holds its own deadline; the queue holds at most one entry that counts for it. Moving a deadline later costs
nothing: the entry is noticed to be early when it comes up, and is put back. Deadlines a while away, which are most
(64·T1 after every transaction) and nearly all of which only clean up, share one heap entry for each quarter of a
second.
"""

import heapq
from dataclasses import dataclass
from math import ceil, inf
from typing import Final

from b2bua.sip.errors import MisuseError

__all__ = ["FAR", "GRAIN", "HORIZON", "Timer", "TimerQueue", "TimerValues"]

# Seconds. A deadline at least FAR away may be GRAIN late: no timer of the protocol that is this long needs to be
# sharper.
FAR: Final = 2.0
GRAIN: Final = 0.25
# No entry is put further ahead than this, so that a cancelled timer, and what it keeps alive, is gone soon. Just above
# 64·T1: what lingers after a transaction comes up once.
HORIZON: Final = 33.0


@dataclass(frozen=True, slots=True)
class TimerValues:
    """RFC 3261 table 4, in seconds. ``t1``, ``t2`` and ``t4`` are the settings, everything else follows from them."""

    t1: float = 0.5
    t2: float = 4.0
    t4: float = 5.0

    @property
    def timeout(self) -> float:
        """64·T1: timers B, F, H, J (UDP), L and M, and D, which has to outlast the server's H."""
        return 64 * self.t1

    @property
    def guard(self) -> float:
        """An INVITE that neither side ends is given up after this: a net below call control's own limits."""
        return 3600 + 64 * self.t1


class Timer:
    """One deadline on a TimerQueue. ``deadline`` and ``queued`` belong to the queue."""

    __slots__ = ("deadline", "queued")

    def __init__(self) -> None:
        self.deadline = inf
        self.queued = inf

    def fire(self, now: float) -> None:
        """The deadline has come; ``now`` is monotonic seconds."""
        raise MisuseError(f"{type(self).__name__} has no fire")


class TimerQueue:
    """Deadlines in monotonic seconds. Near ones fire on time, far ones up to GRAIN late, none early."""

    __slots__ = ("_armed", "_buckets", "_heap", "_order")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer | None]] = []  # a None stands for a bucket
        self._buckets: dict[float, list[Timer]] = {}
        self._order = 0  # keeps equal deadlines in the order they were set, and timers from being compared
        self._armed = 0

    def __len__(self) -> int:
        """How many timers are armed."""
        return self._armed

    def set(self, timer: Timer, deadline: float, now: float) -> None:
        """Arm a timer, or move it."""
        if timer.deadline == inf:
            self._armed += 1
        timer.deadline = deadline
        if deadline < timer.queued:
            self._queue(timer, deadline, now)

    def cancel(self, timer: Timer) -> None:
        """Disarm a timer; harmless when it is not armed."""
        if timer.deadline != inf:
            timer.deadline = inf
            self._armed -= 1

    def deadline(self) -> float | None:
        """When ``fire_due`` should be called next; may be early, and for a far deadline up to GRAIN late."""
        return self._heap[0][0] if self._heap else None

    def fire_due(self, now: float) -> int:
        """Fire every timer whose deadline has come; a timer may set itself or others again. Returns how many fired."""
        heap = self._heap
        fired = 0
        while heap and heap[0][0] <= now:
            entry, _, timer = heapq.heappop(heap)
            if timer is not None:
                fired += self._come_up(timer, entry, now)
            else:
                fired += self._empty(entry, now)
        return fired

    def _empty(self, entry: float, now: float) -> int:
        """A bucket comes up. A timer that raises does not take the others of its bucket with it."""
        bucket = self._buckets.pop(entry)
        bucket.reverse()
        fired = 0
        try:
            while bucket:
                fired += self._come_up(bucket.pop(), entry, now)
        finally:
            if bucket:
                bucket.reverse()
                self._buckets[entry] = bucket
                self._order += 1
                heapq.heappush(self._heap, (entry, self._order, None))
        return fired

    def _come_up(self, timer: Timer, entry: float, now: float) -> int:
        if entry != timer.queued:
            return 0  # superseded by an earlier entry
        timer.queued = inf
        deadline = timer.deadline
        if deadline > now:
            if deadline != inf:
                self._queue(timer, deadline, now)
            return 0
        timer.deadline = inf
        self._armed -= 1
        timer.fire(now)
        return 1

    def _queue(self, timer: Timer, deadline: float, now: float) -> None:
        """Give the timer an entry that comes before the one it has, if that makes a difference."""
        if deadline - now < FAR:
            timer.queued = deadline
            self._order += 1
            heapq.heappush(self._heap, (deadline, self._order, timer))
            return
        entry = ceil(min(deadline, now + HORIZON) / GRAIN) * GRAIN
        if entry >= timer.queued:
            return
        timer.queued = entry
        bucket = self._buckets.get(entry)
        if bucket is not None:
            bucket.append(timer)
            return
        self._buckets[entry] = [timer]
        self._order += 1
        heapq.heappush(self._heap, (entry, self._order, None))
