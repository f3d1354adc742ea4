"""Requests seen in the last minute or so, to know one that comes again by another way."""

from typing import Final

__all__ = ["ACCEPTED", "NEW", "SEEN", "Recent"]

NEW: Final = 0
SEEN: Final = 1
ACCEPTED: Final = 2  # by the process before this one

# RFC 3261 §17.1.2.2: a request is repeated for 64·T1, 32 s with the usual T1 and twice that at most elsewhere
SECONDS: Final = 64.0
MOST: Final = 100_000  # past it the older half is forgotten


class Recent:
    """Two generations of keys, so that forgetting costs nothing: a key is known for SECONDS, and for twice as long at
    most. Times are monotonic seconds."""

    __slots__ = ("_new", "_old", "_renewed_at")

    def __init__(self) -> None:
        self._new: dict[str, int] = {}
        self._old: dict[str, int] = {}
        self._renewed_at = 0.0

    def get(self, key: str, now: float) -> int:
        """NEW, SEEN or ACCEPTED."""
        self._age(now)
        return self._new.get(key) or self._old.get(key) or NEW

    def add(self, key: str, known: int, now: float) -> None:
        """Remember a key."""
        self._age(now)
        if len(self._new) >= MOST:
            self._renew(now)
        self._new[key] = known

    def forget(self, key: str) -> None:
        """It may come again as a new one."""
        self._new.pop(key, None)
        self._old.pop(key, None)

    def _age(self, now: float) -> None:
        if now - self._renewed_at >= SECONDS:
            if now - self._renewed_at >= 2 * SECONDS:
                self._new = {}
            self._renew(now)

    def _renew(self, now: float) -> None:
        self._old = self._new
        self._new = {}
        self._renewed_at = now
