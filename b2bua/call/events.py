"""What two legs of a call say to each other. Never SIP: a leg translates, so what has no word here cannot cross.

Session descriptions travel as received; the leg that sends one onward rebuilds it for its own side.
"""

from dataclasses import dataclass

__all__ = [
    "AckMissing",
    "Acked",
    "AnswerUnusable",
    "Answered",
    "Cancelled",
    "Ended",
    "Expired",
    "Info",
    "InfoAnswered",
    "LegEvent",
    "Moved",
    "PrackMissing",
    "Pracked",
    "Progress",
    "Refused",
    "Trying",
    "Unchanged",
    "UpdateAnswered",
    "UpdateRefused",
    "Updated",
]


@dataclass(slots=True)
class Trying:
    """The callee's side has the call (100 or any other provisional answer)."""


@dataclass(slots=True)
class Progress:
    """The callee rings or is reached: 180, 181, 182 or 183, with early media where ``sdp`` is not empty."""

    status: int
    sdp: bytes


@dataclass(slots=True)
class Answered:
    """The callee took the call; ``sdp`` answers the offer, or is the offer when there was none. ``settled``: offer and
    answer were over before, and the last Progress with a description is what they came to."""

    sdp: bytes
    settled: bool = False


@dataclass(slots=True)
class Acked:
    """The other side confirmed; ``sdp`` is the answer to an offer that came in the 2xx, else empty."""

    sdp: bytes


@dataclass(slots=True)
class Updated:
    """A party wants another session (re-INVITE); ``sdp`` is its offer, empty when it asks for one. ``refresh``: it may
    only want to keep its session timer going. ``at_once``: it waits in an UPDATE or PRACK, which cannot ring."""

    sdp: bytes
    refresh: bool = False
    at_once: bool = False


@dataclass(slots=True)
class UpdateAnswered:
    """The other party agreed; ``sdp`` as in Answered."""

    sdp: bytes


@dataclass(slots=True)
class Unchanged:
    """What the refresh of the other side offers is in force here already: nothing has to be asked."""


@dataclass(slots=True)
class Moved:
    """A party answered our refresh with another description than before: news for the other, whose word on it nobody
    waits for."""

    sdp: bytes


@dataclass(slots=True)
class UpdateRefused:
    """The other party, or glare, refused the new session; the call goes on."""

    status: int


@dataclass(slots=True)
class Refused:
    """The callee's side will not take the call. ``retry_after`` in seconds, 0 when not said; ``q850`` 0 when not
    said. ``lost``: nobody said that, the far end could not be reached."""

    status: int
    q850: int
    retry_after: int
    lost: bool = False


@dataclass(slots=True)
class Cancelled:
    """The caller gave up before the answer, or took a re-INVITE back; the causes of its Reason, 0 when not said."""

    q850: int
    sip: int


@dataclass(slots=True)
class Ended:
    """A party hung up, or is gone: ``lost`` tells that the peer no longer knows the call or does not answer."""

    q850: int
    lost: bool


@dataclass(slots=True)
class Expired:
    """The session timer of this side ran out (RFC 4028 §10). ``failed``: our own refresh came to nothing; else the peer
    sent none."""

    failed: bool


@dataclass(slots=True)
class Pracked:
    """The caller confirmed a provisional answer that held an offer: ``sdp`` answers it."""

    sdp: bytes


@dataclass(slots=True)
class PrackMissing:
    """Our reliable provisional answer was never confirmed (RFC 3262 §3)."""


@dataclass(slots=True)
class AnswerUnusable:
    """The ACK held an answer to the offer in our 2xx that cannot be passed on: the other side has none then."""


@dataclass(slots=True)
class AckMissing:
    """Our 2xx was never acknowledged."""


@dataclass(slots=True)
class Info:
    """Keypad digits in signalling; ``number`` pairs the answer with the question on the asking leg."""

    number: int
    content_type: str
    body: bytes


@dataclass(slots=True)
class InfoAnswered:
    """What the other side said of Info ``number``."""

    number: int
    status: int


LegEvent = (
    Trying
    | Progress
    | Answered
    | Acked
    | Updated
    | UpdateAnswered
    | Unchanged
    | Moved
    | UpdateRefused
    | Refused
    | Cancelled
    | Ended
    | Expired
    | AckMissing
    | AnswerUnusable
    | Pracked
    | PrackMissing
    | Info
    | InfoAnswered
)
