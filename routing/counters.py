"""How often callers, bindings, middle numbers, scenarios and business users were let through lately (R14).

Windows are fixed: a minute, an hour or a day by the clock in China, so whoever used up a cap has it back at the next
full minute, at the next full hour or at midnight, and a table is forgotten as a whole. Only what a cap speaks of is
counted. Keys come from live bindings alone, since an attempt without one is refused before, so nobody can fill the
tables with invented numbers; all the same they are bounded.
"""

from collections.abc import Callable
from itertools import islice
from typing import Final, NamedTuple

from routing.caps import Caps
from routing.policy import Claim
from routing.reason import Reason
from routing.windows import CHINA_MS, DAY_MS

__all__ = ["MOST_ENTRIES", "Alert", "Changes", "Counted", "Counters", "Dialled"]

# Entries of all tables together, about 200 bytes each: 200 MB. A node that carries 1,050 calls/s at its busiest sees
# some 700,000 callers in an hour. What finds the tables full is let through uncounted, and that is counted.
MOST_ENTRIES: Final = 1_000_000

# Totals kept besides the stored ones; what is over is asked of the file again.
MOST_TOTALS: Final = 100_000

# Totals that could not be read, asked for again in one go: some 10 ms.
MOST_SETTLED: Final = 1000

SPANS_MS: Final = (60_000, 3_600_000, DAY_MS)
# Of a pair, what is behind the caller's key.
_X_DIGITS: Final = 15
_MINUTE: Final = 0
_HOUR: Final = 1
_DAY: Final = 2


class Alert(NamedTuple):
    """A caller (E.164) has just dialled more middle numbers than is natural, or as many more: ``numbers`` within the
    window so far, the last one for this business user."""

    caller: str
    numbers: int
    business_user: str
    scenario: str


class Counted(NamedTuple):
    """``times`` that ``key`` was counted in window ``number`` of those that are ``span_ms`` long."""

    span_ms: int
    number: int
    key: bytes
    times: int


class Dialled(NamedTuple):
    """A caller and a middle number in ``pair``, seen in window ``number`` of those that are ``span_ms`` long."""

    span_ms: int
    number: int
    pair: bytes


class Changes(NamedTuple):
    """What is to be written down: absolute values, so the last one written is right. ``totals`` are the calls of
    bindings."""

    counts: list[Counted]
    dialled: list[Dialled]
    totals: list[tuple[str, int]]


def _nothing_stored(binding: str) -> int:
    return 0


class _Counts:
    """Counts by key within one window."""

    __slots__ = ("changed", "counts", "number", "span_ms")

    def __init__(self, span_ms: int) -> None:
        self.span_ms = span_ms
        self.number = 0
        self.counts: dict[bytes, int] = {}
        self.changed: set[bytes] = set()


class _Pairs:
    """Which middle numbers each caller dialled within one window."""

    __slots__ = ("changed", "number", "numbers", "pairs", "span_ms")

    def __init__(self, span_ms: int) -> None:
        self.span_ms = span_ms
        self.number = 0
        self.pairs: set[bytes] = set()
        self.numbers: dict[bytes, int] = {}
        self.changed: set[bytes] = set()


class Counters:
    """All counts of one switch. Times are UTC milliseconds; a clock that steps back counts on in the later window.

    ``stored(binding)`` is how many calls of a binding were written down, None while it cannot be read: what is
    counted meanwhile is added once it can. ``uncounted`` attempts found the tables full. ``alerts`` are taken and
    cleared by whoever tells of them.
    """

    __slots__ = (
        "_bounded",
        "_day_pairs",
        "_fan_pairs",
        "_held",
        "_most",
        "_owed",
        "_stored",
        "_totals",
        "_totals_changed",
        "_totals_underway",
        "_undecided",
        "_up",
        "_waste",
        "alerts",
        "fan_outs",
        "uncounted",
    )

    def __init__(self, stored: Callable[[str], int | None] = _nothing_stored, most: int = MOST_ENTRIES) -> None:
        self.alerts: list[Alert] = []
        self.fan_outs = 0
        self.uncounted = 0
        self._bounded = [_Counts(span_ms) for span_ms in SPANS_MS]
        self._day_pairs = _Pairs(DAY_MS)
        self._fan_pairs = _Pairs(0)
        self._up: dict[bytes, int] = {}
        self._held: dict[int, tuple[bytes, ...]] = {}
        self._undecided: set[int] = set()
        self._totals: dict[str, int] = {}
        self._totals_changed: set[str] = set()
        self._totals_underway: set[str] = set()
        self._owed: dict[str, int] = {}  # calls of bindings whose stored totals could not be read
        self._stored = stored
        self._most = most
        self._waste: list[dict[bytes, int] | set[bytes]] = []

    # asking

    def exceeded(self, claim: Claim, now_ms: int) -> Reason | None:
        """Say which cap an attempt would go beyond; None: it may count."""
        if claim.most_calls and self.total(claim.binding) >= claim.most_calls:
            return Reason.CALLS_USED_UP
        china = now_ms + CHINA_MS
        for key, caps, reason in claim.uses:
            if self._reached(key, caps, china) or (
                claim.call and caps.concurrent and self._up.get(key, 0) >= caps.concurrent
            ):
                return reason
        if claim.distinct_x:
            pairs = self._day_pairs
            if (
                china // DAY_MS <= pairs.number
                and pairs.numbers.get(claim.caller, 0) >= claim.distinct_x
                and claim.caller + claim.x.encode() not in pairs.pairs
            ):
                return Reason.FAN_OUT
        return None

    def _reached(self, key: bytes, caps: Caps, china: int) -> bool:
        for cap, table in (
            (caps.per_minute, self._bounded[_MINUTE]),
            (caps.per_hour, self._bounded[_HOUR]),
            (caps.per_day, self._bounded[_DAY]),
        ):
            # a window that is over says nothing any more
            if cap and china // table.span_ms <= table.number and table.counts.get(key, 0) >= cap:
                return True
        return False

    def total(self, binding: str) -> int:
        """How many calls a binding was let through since its calls are limited.

        While what is stored of it cannot be read, those since then alone: a file stops no call.
        """
        total = self._totals.get(binding)
        if total is None:
            stored = self._stored(binding)
            if stored is None:
                return self._owed.get(binding, 0)
            if len(self._totals) >= MOST_TOTALS:
                unwritten = self._totals_changed | self._totals_underway
                if 2 * len(unwritten) <= len(self._totals):  # else nothing much would go, at each call anew
                    self._totals = {known: self._totals[known] for known in unwritten}
            owed = self._owed.pop(binding, 0)
            total = self._totals[binding] = stored + owed
            if owed:
                self._totals_changed.add(binding)
        return total

    # counting

    def count(self, handle: int, claim: Claim, caller: str, business_user: str, scenario: str, now_ms: int) -> None:
        """Count an attempt that was let through; ``release`` with its handle when it is over. ``caller`` is E.164, only
        to be named in an alert."""
        china = now_ms + CHINA_MS
        held: tuple[bytes, ...] = ()
        for key, caps, _ in claim.uses:
            if caps.per_minute:
                self._add(self._bounded[_MINUTE], key, china)
            if caps.per_hour:
                self._add(self._bounded[_HOUR], key, china)
            if caps.per_day:
                self._add(self._bounded[_DAY], key, china)
            if caps.concurrent and claim.call and handle:
                self._up[key] = self._up.get(key, 0) + 1
                held = (*held, key)
        if held:
            self._held[handle] = held
        if handle:
            self._undecided.add(handle)
        if claim.most_calls:
            total = self.total(claim.binding) + 1
            if claim.binding in self._totals:
                self._totals[claim.binding] = total
                self._totals_changed.add(claim.binding)
            else:
                self._owed[claim.binding] = total
        if claim.distinct_x:
            self._dial(self._day_pairs, claim, china)
        if claim.fan_out:
            pairs = self._fan_pairs
            if pairs.span_ms != claim.fan_out_ms:
                self._waste += [pairs.pairs, pairs.numbers]
                pairs = self._fan_pairs = _Pairs(claim.fan_out_ms)
            if self._dial(pairs, claim, china):
                numbers = pairs.numbers[claim.caller]
                # and at each multiple of it: a block that this led to may be over before the window is
                if numbers % (claim.fan_out + 1) == 0:
                    self.fan_outs += 1
                    self.alerts.append(Alert(caller, numbers, business_user, scenario))

    def decided(self, handle: int) -> None:
        """The record of a counted attempt says now that it was let through."""
        if self._undecided:
            self._undecided.discard(handle)

    def undecided(self) -> list[int]:
        """Attempts that were counted and of which nothing is recorded yet: the verification hook has them."""
        return list(self._undecided)

    def release(self, handle: int) -> None:
        """An attempt is over: it is no longer one of those at the same time."""
        if self._undecided:
            self._undecided.discard(handle)
        if not self._held:
            return
        for key in self._held.pop(handle, ()):
            left = self._up[key] - 1
            if left:
                self._up[key] = left
            else:
                del self._up[key]

    def _add(self, table: _Counts, key: bytes, china: int) -> None:
        number = china // table.span_ms
        if number > table.number:
            self._waste.append(table.counts)
            table.counts = {}
            table.changed = set()
            table.number = number
        count = table.counts.get(key, 0)
        if not count and len(self) >= self._most:
            self.uncounted += 1
            return
        table.counts[key] = count + 1
        table.changed.add(key)

    def _dial(self, table: _Pairs, claim: Claim, china: int) -> bool:
        """Note a middle number of a caller; True when it is a new one."""
        number = china // table.span_ms
        if number > table.number:
            self._waste += [table.pairs, table.numbers]
            table.pairs, table.numbers, table.changed = set(), {}, set()
            table.number = number
        pair = claim.caller + claim.x.encode()
        if pair in table.pairs:
            return False
        if len(self) >= self._most:
            self.uncounted += 1
            return False
        table.pairs.add(pair)
        table.changed.add(pair)
        table.numbers[claim.caller] = table.numbers.get(claim.caller, 0) + 1
        return True

    # its size

    def __len__(self) -> int:
        """Entries of all tables that the bound holds for."""
        minute, hour, day = self._bounded
        return (
            len(minute.counts)
            + len(hour.counts)
            + len(day.counts)
            + len(self._day_pairs.pairs)
            + len(self._fan_pairs.pairs)
        )

    def holding(self) -> int:
        """How many calls count as being up."""
        return len(self._held)

    def tidy(self, most: int = 5000) -> None:
        """Take so many entries out of tables that are over: all at once would hold up the calls."""
        while self._waste and most > 0:
            table = self._waste[-1]
            if not table:
                self._waste.pop()
            elif isinstance(table, dict):
                table.popitem()
                most -= 1
            else:
                table.pop()
                most -= 1

    # what survives a restart

    def changes(self) -> Changes:
        """What has changed since the last call, to be written down; ``written`` when it is."""
        for binding in list(islice(self._owed, MOST_SETTLED)):
            self.total(binding)
        counts = [
            Counted(table.span_ms, table.number, key, table.counts[key])
            for table in self._bounded
            for key in table.changed
        ]
        dialled = [
            Dialled(table.span_ms, table.number, pair)
            for table in (self._day_pairs, self._fan_pairs)
            for pair in table.changed
        ]
        totals = [(binding, self._totals[binding]) for binding in self._totals_changed]
        for counted in self._bounded:
            counted.changed = set()
        self._day_pairs.changed, self._fan_pairs.changed = set(), set()
        self._totals_underway |= self._totals_changed
        self._totals_changed = set()
        return Changes(counts, dialled, totals)

    def touch(self) -> None:
        """Have ``changes`` say everything once more: what was written down is lost."""
        for counted in self._bounded:
            counted.changed = set(counted.counts)
        for pairs in (self._day_pairs, self._fan_pairs):
            pairs.changed = set(pairs.pairs)
        self._totals_changed = set(self._totals)

    def written(self) -> None:
        """What ``changes`` returned last is what ``stored`` knows now."""
        self._totals_underway = set()

    def restore(self, counts: list[Counted], dialled: list[Dialled], fan_out_ms: int, now_ms: int) -> None:
        """Take over what was written down, as far as its windows are not over."""
        china = now_ms + CHINA_MS
        for span_ms, number, key, count in counts:
            for table in self._bounded:
                if table.span_ms == span_ms and number >= china // span_ms:
                    table.number = max(number, table.number)
                    table.counts[key] = count
        self._fan_pairs = _Pairs(fan_out_ms)
        for span_ms, number, pair in dialled:
            for pairs in (self._day_pairs, self._fan_pairs):
                if pairs.span_ms == span_ms and number >= china // span_ms and pair not in pairs.pairs:
                    pairs.number = max(number, pairs.number)
                    pairs.pairs.add(pair)
                    caller = pair[:-_X_DIGITS]
                    pairs.numbers[caller] = pairs.numbers.get(caller, 0) + 1
