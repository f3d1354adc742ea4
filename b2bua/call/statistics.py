"""What the switch counts: plain numbers in its own thread, turned into metrics only when somebody asks."""

from bisect import bisect_left
from collections import Counter

__all__ = ["Histogram", "Statistics"]

# seconds, for set-up (INVITE to ringing) and answer (INVITE to 200)
SETUP_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
ANSWER_BOUNDS = (0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 90.0)


class Histogram:
    """Counts by upper bound in seconds, the last one for everything above."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Statistics:
    """Everything call control counts. Keys hold trunk names and our own words, never a number."""

    __slots__ = (
        "answer",
        "attempts",
        "authentication_failures",
        "challenges",
        "challenges_answered",
        "drops",
        "message_attempts",
        "message_outcomes",
        "outcomes",
        "prompts",
        "refreshes_received",
        "refreshes_sent",
        "refusals",
        "sessions_expired",
        "setup",
        "tripwire",
    )

    def __init__(self) -> None:
        self.attempts: Counter[str] = Counter()  # by ingress trunk
        self.outcomes: Counter[tuple[str, str]] = Counter()  # by ingress trunk and outcome
        self.refusals: Counter[tuple[str, str]] = Counter()  # by ingress trunk and reason
        self.message_attempts: Counter[str] = Counter()  # by ingress trunk
        self.message_outcomes: Counter[tuple[str, str]] = Counter()  # by ingress trunk and outcome
        self.drops: Counter[str] = Counter()  # datagrams dropped before parsing, by cause
        self.setup: dict[str, Histogram] = {}  # by egress trunk
        self.answer: dict[str, Histogram] = {}  # likewise
        self.tripwire = 0
        self.prompts: Counter[str] = Counter()  # announcements to refused callers, by what became of them
        self.challenges = 0  # requests that were asked who sends them
        self.challenges_answered: Counter[str] = Counter()  # challenges to requests of ours, by trunk
        self.authentication_failures: Counter[tuple[str, str]] = Counter()  # by trunk, '' where none is known; reason
        self.refreshes_sent = 0  # of session timers, each once
        self.refreshes_received = 0
        self.sessions_expired = 0

    def setup_by(self, trunk: str) -> Histogram:
        """The times from INVITE to ringing over an egress trunk."""
        histogram = self.setup.get(trunk)
        if histogram is None:
            histogram = self.setup[trunk] = Histogram(SETUP_BOUNDS)
        return histogram

    def answer_by(self, trunk: str) -> Histogram:
        """The times from INVITE to answer over an egress trunk."""
        histogram = self.answer.get(trunk)
        if histogram is None:
            histogram = self.answer[trunk] = Histogram(ANSWER_BOUNDS)
        return histogram
