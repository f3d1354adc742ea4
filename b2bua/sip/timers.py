"""RFC 3261's timer values and one queue for every timer of the switch.

A timer holds its own deadline; the heap holds at most one live entry for it. Moving a deadline later costs nothing: the
entry in the heap is noticed to be early when it comes up, and is put back. So the timers that nearly never fire (32 s
time-outs, 4 h limits) cost a push now and then instead of one for every move.
"""

import heapq
from dataclasses import dataclass
from math import inf

from b2bua.sip.errors import MisuseError

__all__ = ["Timer", "TimerQueue", "TimerValues"]


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
    """A heap of deadlines in monotonic seconds."""

    __slots__ = ("_armed", "_heap", "_order")

    # No entry is put further ahead than this, so a cancelled timer's entry (and what it keeps alive) is gone soon, and no
    # sweep is needed. Just below 64·T1: an answered transaction's 32 s timers ride on the entry it already has.
    HORIZON = 30.0

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
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
            self._push(timer, deadline, now)

    def cancel(self, timer: Timer) -> None:
        """Disarm a timer; harmless when it is not armed."""
        if timer.deadline != inf:
            timer.deadline = inf
            self._armed -= 1

    def deadline(self) -> float | None:
        """When ``fire_due`` should be called next; may be early, never late."""
        return self._heap[0][0] if self._heap else None

    def fire_due(self, now: float) -> int:
        """Fire every timer whose deadline has come; a timer may set itself or others again. Returns how many fired."""
        heap = self._heap
        fired = 0
        while heap and heap[0][0] <= now:
            entry, _, timer = heapq.heappop(heap)
            if entry != timer.queued:
                continue  # superseded by an earlier entry
            timer.queued = inf
            deadline = timer.deadline
            if deadline > now:
                if deadline != inf:
                    self._push(timer, deadline, now)
                continue
            timer.deadline = inf
            self._armed -= 1
            fired += 1
            timer.fire(now)
        return fired

    def _push(self, timer: Timer, deadline: float, now: float) -> None:
        entry = min(deadline, now + self.HORIZON)
        if entry < timer.queued:
            timer.queued = entry
            self._order += 1
            heapq.heappush(self._heap, (entry, self._order, timer))
