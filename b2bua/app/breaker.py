"""When a server that fails is left alone for a while, and how often what failed is tried again. Told the time, so that
tests need no clock."""

from enum import StrEnum

__all__ = ["Breaker", "RetryBudget", "State"]


class State(StrEnum):
    """CLOSED asks; OPEN does not; HALF_OPEN has one question out that decides which."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Breaker:
    """Opens after ``failures`` in a row, and after ``seconds`` lets one question through. Times are monotonic."""

    def __init__(self, failures: int, seconds: float) -> None:
        self.state = State.CLOSED
        self._most = failures
        self._seconds = seconds
        self._failed = 0
        self._opened_at = 0.0

    def admits(self, now: float) -> bool:
        """Whether to ask now. Whoever is told so has to say how it went."""
        if self.state is State.OPEN and now - self._opened_at >= self._seconds:
            self.state = State.HALF_OPEN
            return True
        return self.state is State.CLOSED

    def succeeded(self) -> bool:
        """A question was answered; True when that closes the breaker."""
        self._failed = 0
        if self.state is not State.HALF_OPEN:
            return False  # while it is open, an answer to an old question says nothing about new ones
        self.state = State.CLOSED
        return True

    def failed(self, now: float) -> bool:
        """A question was not answered; True when that opens the breaker."""
        self._failed += 1
        if self.state is State.CLOSED and self._failed < self._most:
            return False
        if self.state is State.OPEN:
            return False
        self.state = State.OPEN
        self._opened_at = now
        return True


class RetryBudget:
    """At most ``percent`` further tries for a hundred first ones, so that a server in trouble is not buried; a few may
    be saved up, and there are as many at first."""

    MOST_SAVED = 5.0

    def __init__(self, percent: int) -> None:
        self._share = percent / 100
        self._tokens = self.MOST_SAVED if percent else 0.0

    def earn(self) -> None:
        """A first try is made."""
        self._tokens = min(self.MOST_SAVED, self._tokens + self._share)

    def take(self) -> bool:
        """Whether one more try may be made; it counts."""
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
