"""Limits checked before work: token buckets, and the share of new calls that an overloaded switch takes. A limit of 0
is no limit."""

from typing import ClassVar

__all__ = ["LoadController", "SourceGuard", "TokenBucket"]


class TokenBucket:
    """``rate`` tokens a second up to ``burst``; starts full. Times are monotonic seconds."""

    __slots__ = ("_burst", "_filled_at", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = max(burst, 1.0)
        self._tokens = self._burst
        self._filled_at = 0.0

    def take(self, now: float) -> bool:
        """Take one token if there is one."""
        if not self._rate:
            return True
        tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
        self._tokens = tokens - 1 if tokens >= 1 else tokens
        return tokens >= 1

    def change(self, rate: float, burst: float, now: float) -> None:
        """Another rate from now on. What was saved up stays, within the new burst; where nothing was limited, it is
        full."""
        burst = max(burst, 1.0)
        if self._rate:
            self._tokens = min(burst, self._tokens + (now - self._filled_at) * self._rate)
        else:
            self._tokens = burst
        self._filled_at = now
        self._rate = rate
        self._burst = burst


class SourceGuard:
    """One bucket for each source address, so that a flood from one is dropped before it costs the others anything."""

    # more sources than any carrier has proxies; past it the oldest is forgotten, which only fills its bucket again
    SOURCES = 4096

    __slots__ = ("_buckets", "_burst", "_rate")

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._buckets: dict[str, TokenBucket] = {}

    def admit(self, host: str, now: float) -> bool:
        """Whether a message from this host is within its share."""
        if not self._rate:
            return True
        bucket = self._buckets.get(host)
        if bucket is None:
            if len(self._buckets) >= self.SOURCES:
                del self._buckets[next(iter(self._buckets))]
            bucket = self._buckets[host] = TokenBucket(self._rate, self._burst)
        return bucket.take(now)

    def change(self, rate: float, burst: float, now: float) -> None:
        """Another rate and burst for every source."""
        if (rate, burst) != (self._rate, self._burst):
            self._rate = rate
            self._burst = burst
            for bucket in self._buckets.values():
                bucket.change(rate, burst, now)


class LoadController:
    """Which new calls an overloaded switch turns away, told by how long each had to wait for its turn.

    ``waited`` is that of the message at hand, in seconds; the shell sets it. Up to ``bound`` every call is taken, at
    FULL times as long none, in between an even share: so the wait settles where as many are taken as can be carried,
    and falls back by itself. A source of its own queue (the shell serves them in turn) that does not wait loses
    nothing by another's flood.

    A caller that was turned away may have sent its INVITE twice: that it hears 503 and the callee's phone rings all the
    same must not be. So each refusal is remembered for as long as the caller may repeat itself.
    """

    # Four times the usual bound is less than T1: what is turned away had no time to be sent again.
    FULL: ClassVar[float] = 4.0
    # Refusals remembered in each of two generations; past it the older one is forgotten early.
    MOST_REFUSALS: ClassVar[int] = 65_536
    # Without a refusal for so many seconds it is over: longer than the waves in which callers come back.
    CALM_SECONDS: ClassVar[float] = 2.0

    __slots__ = ("_debt", "_new", "_old", "_refused_at", "_renewed_at", "_seconds", "bound", "overloaded", "waited")

    def __init__(self, bound: float, seconds: float) -> None:
        """``bound`` in seconds, 0: nothing is turned away. A refusal is remembered for ``seconds`` (64·T1) at least."""
        self.bound = bound
        self.waited = 0.0
        self.overloaded = False
        self._seconds = seconds
        self._debt = 0.0
        self._refused_at = 0.0
        self._renewed_at = 0.0
        self._new: dict[str, str] = {}  # To tag by transaction key
        self._old: dict[str, str] = {}

    def __len__(self) -> int:
        """How many refusals are remembered."""
        return len(self._new) + len(self._old)

    def remembered(self, key: str, now: float) -> str:
        """The To tag with which this INVITE was refused before, '' when it was not."""
        if not self._new and not self._old:
            return ""
        self._age(now)
        return self._new.get(key) or self._old.get(key) or ""

    def takes(self) -> bool:
        """Whether the new call at hand is taken."""
        if self.waited <= self.bound or not self.bound:
            return True
        self._debt += min(1.0, (self.waited / self.bound - 1.0) / (self.FULL - 1.0))
        if self._debt < 1.0:
            return True
        self._debt -= 1.0
        return False

    def refused(self, key: str, tag: str, now: float) -> bool:
        """Remember a refusal; True when it is the first of an overload."""
        self._age(now)
        if len(self._new) >= self.MOST_REFUSALS:
            self._renew(now)
        self._new[key] = tag
        self._refused_at = now
        began = not self.overloaded
        self.overloaded = True
        return began

    def relieved(self, now: float) -> bool:
        """To be asked now and then: True once when an overload is over."""
        self._age(now)
        if not self.overloaded or now - self._refused_at < self.CALM_SECONDS:
            return False
        self.overloaded = False
        return True

    def _age(self, now: float) -> None:
        if now - self._renewed_at >= self._seconds:
            if now - self._renewed_at >= 2 * self._seconds:
                self._new = {}
            self._renew(now)

    def _renew(self, now: float) -> None:
        self._old = self._new
        self._new = {}
        self._renewed_at = now
