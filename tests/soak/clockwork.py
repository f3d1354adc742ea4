"""What is to happen when: one heap, and messages that are repeated until they are answered (RFC 3261 section 17)."""

import heapq
from collections.abc import Callable
from itertools import count

__all__ = ["Clockwork", "Repeater"]


class Clockwork:
    """Deadlines in seconds of whatever clock the caller reads."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Callable[[float], None]]] = []
        self._order = count()

    def at(self, when: float, what: Callable[[float], None]) -> None:
        """Call `what(now)` then, or as soon as possible afterwards."""
        heapq.heappush(self._heap, (when, next(self._order), what))

    def turn(self, now: float) -> None:
        """Do all that is due."""
        while self._heap and self._heap[0][0] <= now:
            heapq.heappop(self._heap)[2](now)

    def next(self) -> float | None:
        """When something is due, None for never."""
        return self._heap[0][0] if self._heap else None


class Repeater:
    """Sends a message now, and again after T1, 2 T1, 4 T1 …, at most every `longest`, until stopped.

    After 64 T1 it gives up and calls `failed`.
    """

    __slots__ = ("_clockwork", "_end", "_failed", "_longest", "_pause", "_send", "stopped", "wire")

    def __init__(
        self,
        clockwork: Clockwork,
        send: Callable[[bytes], None],
        wire: bytes,
        now: float,
        t1: float,
        longest: float,
        failed: Callable[[float], None],
    ) -> None:
        self._clockwork = clockwork
        self._send = send
        self._pause = t1
        self._longest = longest
        self._end = now + 64 * t1
        self._failed = failed
        self.wire = wire
        self.stopped = False
        send(wire)
        clockwork.at(now + t1, self._again)

    def stop(self) -> None:
        """It is answered."""
        self.stopped = True

    def _again(self, now: float) -> None:
        if self.stopped:
            return
        if now >= self._end:
            self.stopped = True
            self._failed(now)
            return
        self._send(self.wire)
        self._pause = min(2 * self._pause, self._longest)
        self._clockwork.at(now + self._pause, self._again)
