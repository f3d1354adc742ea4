"""How often a key may ask: a token bucket each, filled at a steady rate, as large as one second's worth."""

__all__ = ["Buckets"]


class Buckets:
    """Buckets by name. `rate` is tokens a second and 0 is no limit; a bucket holds a second's worth, and one at least.
    As many are kept as there are keys that asked."""

    __slots__ = ("_full", "_levels", "_rate")

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._full = max(rate, 1.0)
        self._levels: dict[str, tuple[float, float]] = {}

    def take(self, name: str, now: float) -> float:
        """Take a token at an instant in seconds. 0: taken; else none is left, and this is how long to wait for one."""
        if not self._rate:
            return 0.0
        level, since = self._levels.get(name, (self._full, now))
        level = min(self._full, level + (now - since) * self._rate)
        if level < 1.0:
            return (1.0 - level) / self._rate
        self._levels[name] = (level - 1.0, now)
        return 0.0
