"""The session timer of one leg (RFC 4028): it refreshes the session, or notices that the peer no longer does.

The two legs of a call know nothing of each other's timers. A timer is made when the dialog is up and timers are on; it
reads monotonic time only, so a jump of the wall clock neither ends a call nor keeps a dead one.
"""

from functools import lru_cache
from typing import Protocol

from b2bua.call.statistics import Statistics
from b2bua.sip.message import Response
from b2bua.sip.session_expires import (
    CLIENT_WISHES,
    TIMER,
    Agreement,
    Preference,
    Proposal,
    Refresher,
    Terms,
    agreed_answer,
    answer_lines,
    expires_after,
    is_too_small,
    offer_lines,
    proposal_of,
    raised,
    refresh_after,
    serve,
)
from b2bua.sip.timers import Timer, TimerQueue
from b2bua.sip.transaction import ClientTransaction

__all__ = [
    "SUPPORTED",
    "TRIES",
    "SessionTimer",
    "SessionTimers",
    "TimedSide",
    "first_offer",
    "too_small",
]

SUPPORTED = f"Supported: {TIMER}"
# How often in a row the peer may answer that another try would do (§7.3, §10)
TRIES = 3
# Seconds to the next try after a failure that names none, and the longest that one may name
PAUSE = 5
LONGEST_PAUSE = 3600
SHORTEST_PAUSE = 0.1


class SessionTimers:
    """What the timers of all legs share. ``terms`` is None while timers are off; a change counts for new calls."""

    __slots__ = ("statistics", "terms")

    def __init__(self, terms: Terms | None, statistics: Statistics) -> None:
        self.terms = terms
        self.statistics = statistics


class TimedSide(Protocol):
    """What a session timer needs of its leg. ``peer_updates``: a refresh is an UPDATE, else a re-INVITE;
    ``send_refresh`` returns None when that cannot be sent now. ``glare_wait``: seconds after 491."""

    peer_updates: bool

    @property
    def timers(self) -> TimerQueue: ...
    @property
    def monotonic(self) -> float: ...
    def glare_wait(self) -> float: ...
    def send_refresh(self, lines: tuple[str, ...]) -> ClientTransaction | None: ...
    def session_over(self, failed: bool) -> None: ...


class SessionTimer(Timer):
    """``refreshing``: we send the refreshes. ``request`` is the one on its way."""

    __slots__ = (
        "_expires_at",
        "_interval",
        "_leg",
        "_shared",
        "_statistics",
        "_terms",
        "_tries",
        "refreshing",
        "request",
    )

    def __init__(self, leg: TimedSide, terms: Terms, statistics: Statistics) -> None:
        super().__init__()
        self._leg = leg
        self._terms = terms
        self._statistics = statistics
        self.refreshing = False
        self.request: ClientTransaction | None = None
        self._interval = 0
        self._shared = False
        self._expires_at = 0.0
        self._tries = 0

    # what is agreed, by whichever request

    def serve(self, proposal: Proposal) -> tuple[str, ...]:
        """The peer's request is answered 2xx: count from now, and return the lines for the answer."""
        terms = self._terms
        if proposal.minimum > terms.minimum:
            self._terms = terms = terms._replace(minimum=proposal.minimum)  # §7.4: the largest that was named
        if self._interval:
            if proposal.expires is not None:
                self._statistics.refreshes_received += 1
            # the sides keep their tasks where the peer does not ask for others
            terms = terms._replace(preference=Preference.SWITCH if self.refreshing else Preference.PEER)
        agreement = serve(proposal, terms)
        self._agree(agreement)
        return answer_lines(agreement)

    def answered(self, response: Response) -> None:
        """The peer answered a request of ours 2xx, whatever that request was for: count from now."""
        self._agree(agreed_answer(proposal_of(response), self._terms))

    def lines(self) -> tuple[str, ...]:
        """The lines for an INVITE or UPDATE of ours within the dialog (§7.4): the sides keep their tasks."""
        refresher = Refresher.UAC if self.refreshing else Refresher.UAS
        minimum = self._terms.minimum
        return (SUPPORTED, *offer_lines(max(self._interval, minimum), minimum, refresher))

    def too_small(self, proposal: Proposal) -> tuple[str, ...]:
        """The line of a 422 to the peer's request, nothing when its interval is good enough."""
        return too_small(proposal, self._terms)

    def raise_to(self, refusal: Response) -> bool:
        """A request of ours was answered 422: whether another try, with what the peer asks for, makes sense."""
        terms = raised(refusal, self._terms)
        if terms is None or self._tries >= TRIES:
            return False
        self._tries += 1
        self._terms = terms
        return True

    def stop(self) -> None:
        """The leg is going down."""
        self.request = None
        self._leg.timers.cancel(self)

    # our refresh

    def fire(self, now: float) -> None:
        """Time to refresh, or the session is over."""
        if now < self._expires_at:
            self._refresh(now)
        else:
            self._leg.session_over(self.refreshing)

    def refused(self, response: Response) -> None:
        """Our refresh got a final answer that is no 2xx (§10), nor 408 or 481, which end the dialog."""
        update = self.request is not None and self.request.method == "UPDATE"
        self.request = None
        now = self._leg.monotonic
        status = response.status
        if status == 422 and self.raise_to(response):
            self._refresh(now)
        elif status == 491:
            self._again(now)
        elif update and status in (405, 501):
            self._leg.peer_updates = False
            self._refresh(now)
        elif not self._shared:
            # nothing of the peer's hangs on this refresh: it lives, and that was the question
            self._agree(Agreement(self._interval, True, False))
        elif self._tries < TRIES:
            self._tries += 1
            self._wait(now, _retry_after(response) or PAUSE)

    # parts

    def _agree(self, agreement: Agreement) -> None:
        interval = self._interval = agreement.interval
        now = self._leg.monotonic
        self.refreshing = agreement.refreshing
        self.request = None
        self._shared = agreement.shared
        self._tries = 0
        self._expires_at = now + expires_after(interval)
        due = now + refresh_after(interval) if agreement.refreshing else self._expires_at
        self._leg.timers.set(self, due, now)

    def _refresh(self, now: float) -> None:
        self.request = self._leg.send_refresh(self.lines())
        if self.request is not None:
            self._statistics.refreshes_sent += 1
            self._leg.timers.set(self, self._expires_at, now)
        else:
            # another offer is under way, and refreshes the session itself if it succeeds
            self._again(now)

    def _again(self, now: float) -> None:
        """After a glare; never at once, or the clock would stand still."""
        self._wait(now, max(self._leg.glare_wait(), SHORTEST_PAUSE))

    def _wait(self, now: float, pause: float) -> None:
        self._leg.timers.set(self, min(now + pause, self._expires_at), now)


@lru_cache(64)
def first_offer(terms: Terms) -> tuple[str, ...]:
    """The lines of the INVITE that begins a call (§7.1)."""
    return (SUPPORTED, *offer_lines(terms.interval, terms.minimum, CLIENT_WISHES[terms.preference]))


def too_small(proposal: Proposal, terms: Terms) -> tuple[str, ...]:
    """The line of a 422 to a request (§9), nothing when its interval is good enough."""
    return (f"Min-SE: {terms.minimum}",) if is_too_small(proposal, terms.minimum) else ()


def _retry_after(response: Response) -> int:
    """Retry-After in seconds, 0 when there is none that makes sense."""
    digits = (response.get("retry-after") or "").partition(";")[0].partition("(")[0].strip()
    if not (digits.isascii() and digits.isdigit() and len(digits) < 10):
        return 0
    return min(int(digits), LONGEST_PAUSE)
