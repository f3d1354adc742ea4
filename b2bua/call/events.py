"""What two legs of a call say to each other. Never SIP: a leg translates, so what has no word here cannot cross.

Session descriptions travel as received; the leg that sends one onward rebuilds it for its own side.
"""

from dataclasses import dataclass

__all__ = [
    "AckMissing",
    "Acked",
    "Answered",
    "Cancelled",
    "Ended",
    "Info",
    "InfoAnswered",
    "LegEvent",
    "Progress",
    "Refused",
    "Trying",
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
    """The callee took the call; ``sdp`` answers the offer, or is the offer when there was none."""

    sdp: bytes


@dataclass(slots=True)
class Acked:
    """The other side confirmed; ``sdp`` is the answer to an offer that came in the 2xx, else empty."""

    sdp: bytes


@dataclass(slots=True)
class Updated:
    """A party wants another session (re-INVITE); ``sdp`` is its offer, empty when it asks for one."""

    sdp: bytes


@dataclass(slots=True)
class UpdateAnswered:
    """The other party agreed; ``sdp`` as in Answered."""

    sdp: bytes


@dataclass(slots=True)
class UpdateRefused:
    """The other party, or glare, refused the new session; the call goes on."""

    status: int


@dataclass(slots=True)
class Refused:
    """The callee's side will not take the call. ``retry_after`` in seconds, 0 when not said; ``q850`` 0 when not
    said."""

    status: int
    q850: int
    retry_after: int


@dataclass(slots=True)
class Cancelled:
    """The caller gave up before the answer."""

    q850: int


@dataclass(slots=True)
class Ended:
    """A party hung up, or is gone: ``lost`` tells that the peer no longer knows the call or does not answer."""

    q850: int
    lost: bool


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
    | UpdateRefused
    | Refused
    | Cancelled
    | Ended
    | AckMissing
    | Info
    | InfoAnswered
)
