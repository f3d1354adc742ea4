"""Session timers (RFC 4028): Session-Expires, Min-SE, and what two sides agree on, as tables.

The tables name the sides as the RFC does: uac sent the INVITE, re-INVITE or UPDATE that is being negotiated, uas
answers it. Who of them is "we" changes with every request; an ``Agreement`` says it once and for all. All times are in
seconds. What is agreed is remembered: the same few peers say the same few things on every call.
"""

import re
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple

from b2bua.sip.errors import ParseError
from b2bua.sip.headers import parse_params, tokens_of
from b2bua.sip.message import Message

__all__ = [
    "CLIENT_REFRESHES",
    "CLIENT_WISHES",
    "NO_PROPOSAL",
    "SERVER_CHOICES",
    "TIMER",
    "Agreement",
    "Preference",
    "Proposal",
    "Refresher",
    "SessionExpires",
    "Terms",
    "agreed_answer",
    "answer_lines",
    "expires_after",
    "format_session_expires",
    "is_too_small",
    "offer_lines",
    "parse_min_se",
    "parse_session_expires",
    "proposal_of",
    "raised",
    "refresh_after",
    "serve",
]

TIMER = "timer"  # the option tag
LONGEST = (1 << 32) - 1

# Session-Expires = ( "Session-Expires" / "x" ) HCOLON delta-seconds *(SEMI se-params)
_VALUE = re.compile(r"([0-9]{1,10})[ \t]*((?:;.*)?)", re.ASCII | re.DOTALL)


class Refresher(StrEnum):
    """refresher-param = "refresher" EQUAL ("uas" / "uac")."""

    UNSAID = ""
    UAC = "uac"
    UAS = "uas"


class Preference(StrEnum):
    """Which side we would like to refresh, where the peer leaves that to us."""

    EITHER = "either"
    SWITCH = "switch"
    PEER = "peer"


class SessionExpires(NamedTuple):
    """A Session-Expires value."""

    seconds: int
    refresher: Refresher = Refresher.UNSAID


class Terms(NamedTuple):
    """What we want: the interval we offer or cut a longer one down to, and the shortest that we take."""

    interval: int
    minimum: int
    preference: Preference


class Proposal(NamedTuple):
    """What a request, or a 2xx, says of the timer. ``expires`` is None when it says nothing, ``minimum`` 0: that is
    the 90 seconds of §5, which our own terms have anyway."""

    supported: bool
    expires: SessionExpires | None
    minimum: int


NO_PROPOSAL: Final = Proposal(False, None, 0)
_KEYS: Final = frozenset(("supported", "require", "session-expires", "min-se"))


class Agreement(NamedTuple):
    """``refreshing``: we are the side that refreshes. ``shared``: the peer keeps the timer too, and takes the session
    down when it is not refreshed; else it is ours alone, to find out about a peer that is gone."""

    interval: int
    refreshing: bool
    shared: bool


# §9 table 2: by (the uac supports the timer, the refresher it asks for, our preference) the refresher in our 2xx.
# A uac without the timer has no business asking (NA in the table); a proxy put that there, and the answer is ours.
SERVER_CHOICES: Final[dict[tuple[bool, Refresher, Preference], Refresher]] = {
    (False, Refresher.UNSAID, Preference.EITHER): Refresher.UAS,
    (False, Refresher.UNSAID, Preference.SWITCH): Refresher.UAS,
    (False, Refresher.UNSAID, Preference.PEER): Refresher.UAS,
    (False, Refresher.UAC, Preference.EITHER): Refresher.UAS,
    (False, Refresher.UAC, Preference.SWITCH): Refresher.UAS,
    (False, Refresher.UAC, Preference.PEER): Refresher.UAS,
    (False, Refresher.UAS, Preference.EITHER): Refresher.UAS,
    (False, Refresher.UAS, Preference.SWITCH): Refresher.UAS,
    (False, Refresher.UAS, Preference.PEER): Refresher.UAS,
    (True, Refresher.UNSAID, Preference.EITHER): Refresher.UAS,
    (True, Refresher.UNSAID, Preference.SWITCH): Refresher.UAS,
    (True, Refresher.UNSAID, Preference.PEER): Refresher.UAC,
    (True, Refresher.UAC, Preference.EITHER): Refresher.UAC,
    (True, Refresher.UAC, Preference.SWITCH): Refresher.UAC,
    (True, Refresher.UAC, Preference.PEER): Refresher.UAC,
    (True, Refresher.UAS, Preference.EITHER): Refresher.UAS,
    (True, Refresher.UAS, Preference.SWITCH): Refresher.UAS,
    (True, Refresher.UAS, Preference.PEER): Refresher.UAS,
}

# §7.1: what our first request asks for; unsaid leaves it to the uas, as the RFC recommends
CLIENT_WISHES: Final[dict[Preference, Refresher]] = {
    Preference.EITHER: Refresher.UNSAID,
    Preference.SWITCH: Refresher.UAC,
    Preference.PEER: Refresher.UAS,
}

# §7.2: by the refresher in the 2xx to our request whether we refresh. A 2xx that gives an interval without saying
# whose task it is breaks §9; taking it on ourselves cannot leave the session without anybody.
CLIENT_REFRESHES: Final[dict[Refresher, bool]] = {
    Refresher.UNSAID: True,
    Refresher.UAC: True,
    Refresher.UAS: False,
}


def parse_session_expires(value: str) -> SessionExpires:
    """A Session-Expires value; a refresher that is neither uac nor uas counts as unsaid."""
    seconds, params = _parse(value)
    refresher = parse_params(params).get("refresher", "").lower() if params else ""
    return SessionExpires(
        seconds,
        Refresher.UAC if refresher == "uac" else Refresher.UAS if refresher == "uas" else Refresher.UNSAID,
    )


def parse_min_se(value: str) -> int:
    """A Min-SE value; its generic parameters mean nothing."""
    seconds, params = _parse(value)
    if params:
        parse_params(params)
    return seconds


def format_session_expires(expires: SessionExpires) -> str:
    """The value, with the refresher where one is said."""
    return f"{expires.seconds};refresher={expires.refresher.value}" if expires.refresher else str(expires.seconds)


def proposal_of(message: Message) -> Proposal:
    """What a message says of the timer. A field that cannot be read is as good as none (RFC 3261 §8.2: what is not
    needed to process a request may be malformed)."""
    first = message.first
    if _KEYS.isdisjoint(first):
        return NO_PROPOSAL
    supported = ("supported" in first and TIMER in _tags(message, "supported")) or (
        "require" in first and TIMER in _tags(message, "require")
    )
    expires: SessionExpires | None = None
    minimum = 0
    value = first.get("session-expires")
    if value is not None:
        try:
            expires = parse_session_expires(value)
        except ParseError:
            expires = None
    value = first.get("min-se")
    if value is not None:
        try:
            minimum = parse_min_se(value)
        except ParseError:
            minimum = 0
    return Proposal(supported, expires, minimum)


def is_too_small(proposal: Proposal, minimum: int) -> bool:
    """Whether the request is to be refused with 422. Not where the uac would not understand that (§9): the call would
    fail for nothing."""
    return proposal.supported and proposal.expires is not None and proposal.expires.seconds < minimum


@lru_cache(1024)
def serve(proposal: Proposal, terms: Terms) -> Agreement:
    """The uas's side of §9, for a proposal that is not too small. The interval is never above what was asked for, but
    where the uac does not know the timer and asks for less than our minimum, and never below the larger minimum."""
    expires = proposal.expires or SessionExpires(terms.interval)
    interval = max(min(expires.seconds, terms.interval), proposal.minimum, terms.minimum)
    refresher = SERVER_CHOICES[proposal.supported, expires.refresher, terms.preference]
    return Agreement(interval, refresher is Refresher.UAS, proposal.supported)


@lru_cache(1024)
def agreed_answer(answer: Proposal, terms: Terms) -> Agreement:
    """What a 2xx to our request means (§7.2). Without Session-Expires no timer was agreed: we refresh for ourselves.
    An interval below the minimum that our request named is taken at that minimum."""
    if answer.expires is None:
        return Agreement(terms.interval, True, False)
    interval = max(answer.expires.seconds, terms.minimum)
    return Agreement(interval, CLIENT_REFRESHES[answer.expires.refresher], True)


@lru_cache(1024)
def offer_lines(interval: int, minimum: int, refresher: Refresher) -> tuple[str, ...]:
    """The header lines of our request (§7.1, §7.4), without Supported."""
    return (f"Session-Expires: {format_session_expires(SessionExpires(interval, refresher))}", f"Min-SE: {minimum}")


@lru_cache(1024)
def answer_lines(agreement: Agreement) -> tuple[str, ...]:
    """The header lines of our 2xx (§9). Require tells a uac that knows the timer that it is on: it has to refresh, or
    to hang up when we no longer do."""
    refresher = Refresher.UAS if agreement.refreshing else Refresher.UAC
    line = f"Session-Expires: {format_session_expires(SessionExpires(agreement.interval, refresher))}"
    return (f"Require: {TIMER}", line) if agreement.shared else (line,)


def raised(refusal: Message, terms: Terms) -> Terms | None:
    """Our terms after a 422 (§7.3): the Min-SE that it names is our minimum from now on. None when it names none above
    what we had, so that the same request would be refused again."""
    value = refusal.get("min-se")
    if value is None:
        return None
    try:
        minimum = parse_min_se(value)
    except ParseError:
        return None
    if minimum <= terms.minimum:
        return None
    return Terms(max(terms.interval, minimum), max(terms.minimum, minimum), terms.preference)


def refresh_after(interval: int) -> float:
    """When the refreshing side sends its request, in seconds from the last 2xx: half the interval (§7.2, §9)."""
    return interval / 2


def expires_after(interval: int) -> float:
    """When a session that nobody refreshed is ended, in seconds from the last 2xx: a little before the interval is over
    (§10)."""
    return interval - min(32.0, interval / 3)


def _parse(value: str) -> tuple[int, str]:
    found = _VALUE.fullmatch(value)
    if found is None:
        raise ParseError("bad session interval")
    return min(int(found[1]), LONGEST), found[2]


def _tags(message: Message, key: str) -> list[str]:
    return [tag.lower() for tag in tokens_of(message.all(key))]
