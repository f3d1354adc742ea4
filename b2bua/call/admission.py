"""Limits checked before work: token buckets and call counts. A limit of 0 is no limit."""

__all__ = ["SourceGuard", "TokenBucket"]


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
