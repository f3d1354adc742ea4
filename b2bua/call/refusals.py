"""Why a call does not go through, and what each reason looks like on the wire and in the record: one table.

Reasons come from routing (who may call whom) and from the switch itself. Each has its SIP status, Q.850 cause, record
outcome and text (rule R1: each refusal has its own reason, in SIP and in the record). What a far end answers is
mapped by two more tables below.
"""

from enum import StrEnum
from typing import Final, NamedTuple

from routing.content import Finding
from routing.decide import Reason

__all__ = [
    "FAILOVER",
    "REFUSALS",
    "Local",
    "Outcome",
    "Verdict",
    "cause_of",
    "outcome_of",
    "relayed_status",
    "verdict_of",
]


class Outcome(StrEnum):
    """How an attempt ended, as the record says it."""

    ANSWERED = "answered"
    BUSY = "busy"
    NO_ANSWER = "no_answer"
    CANCELLED = "cancelled"
    REJECTED = "rejected"  # the callee or its network said no
    FAILED = "failed"  # no route carried the call
    REFUSED = "refused"  # we said no
    # of messages
    DELIVERED = "delivered"
    DROPPED = "dropped"  # for what it says, or for who sends it (R15)
    EXPIRED = "expired"  # nobody took it in its time
    UNKNOWN = "unknown"  # the process was killed while it was under way


class Local(StrEnum):
    """The switch's own reasons: limits, its state, and requests it cannot honour."""

    DRAINING = "draining"
    OVERLOAD = "overload"
    TRUNK_REMOVED = "trunk_removed"
    UNDECIDED = "undecided"
    JOURNAL_FAILED = "journal_failed"
    TOTAL_LIMIT = "total_limit"
    TRUNK_LIMIT = "trunk_limit"
    CALL_RATE = "call_rate"
    MAX_FORWARDS = "max_forwards"
    MERGED = "merged"
    BAD_REQUEST = "bad_request"
    BAD_EXTENSION = "bad_extension"
    BAD_MEDIA_TYPE = "bad_media_type"
    BAD_SESSION = "bad_session"
    URI_SCHEME = "uri_scheme"
    SESSION_INTERVAL = "session_interval"
    TRIPWIRE = "tripwire"
    NO_ACK = "no_ack"
    NO_PRACK = "no_prack"
    NO_SESSION = "no_session"
    LONGEST_CALL = "longest_call"
    HUNG_UP = "hung_up"
    SHUTDOWN = "shutdown"
    PEER_LOST = "peer_lost"
    BLOCK_ENDED = "block_ended"
    BLOCKED = "blocked"
    REFRESH_FAILED = "refresh_failed"
    SESSION_EXPIRED = "session_expired"
    MESSAGE_TOO_LARGE = "message_too_large"
    MESSAGE_QUEUE_FULL = "message_queue_full"
    MESSAGE_STORE_FAILED = "message_store_failed"
    SENDER_MISMATCH = "sender_mismatch"
    MESSAGE_EXPIRED = "message_expired"
    DELIVERY_UNKNOWN = "delivery_unknown"


class Verdict(NamedTuple):
    """``retry_after`` in seconds, 0 for no such header; ``text`` goes into the Reason header and is ours alone."""

    status: int
    q850: int
    text: str
    retry_after: int = 0


REFUSALS: Final[dict[str, Verdict]] = {
    # routing: who may call whom
    Reason.NUMBER_MALFORMED: Verdict(404, 1, "not a middle number"),
    Reason.BLOCK_UNKNOWN: Verdict(404, 1, "number block not assigned"),
    Reason.BLOCK_INACTIVE: Verdict(403, 21, "number block not active"),
    Reason.CALLER_ANONYMOUS: Verdict(433, 21, "anonymous caller"),
    Reason.CALLER_FOREIGN: Verdict(403, 21, "caller outside the numbering plan"),
    Reason.CALLER_UNBOUND: Verdict(403, 21, "caller not bound to this number"),
    Reason.BINDING_NOT_STARTED: Verdict(403, 21, "binding not yet valid"),
    Reason.BINDING_EXPIRED: Verdict(403, 21, "binding expired"),
    Reason.BINDING_ENDED: Verdict(403, 21, "binding ended"),
    Reason.DIRECTION_BARRED: Verdict(403, 21, "direction not allowed"),
    Reason.LOOP: Verdict(482, 25, "middle number calls middle number"),
    # 500, not 503: another node of ours has no other routes (RFC 3261 §21.5.4 would make the peer give this node up)
    Reason.NO_ROUTE: Verdict(500, 34, "no route"),
    Reason.STORE_UNAVAILABLE: Verdict(503, 41, "binding store unavailable", 10),
    Reason.VERIFICATION_REFUSED: Verdict(403, 21, "not verified"),
    Reason.VERIFICATION_FAILED: Verdict(503, 41, "verification not possible", 10),
    # routing: policy. 403 for caps too: a carrier tries another way on 480 or 503, and every try would count again
    Reason.CALLER_BARRED: Verdict(403, 21, "caller range not allowed"),
    Reason.CALLER_BLOCKED: Verdict(403, 21, "caller blocked"),
    Reason.CALLEE_BLOCKED: Verdict(403, 21, "callee blocked"),
    Reason.NUMBER_BLOCKED: Verdict(403, 21, "number blocked"),
    Reason.BLOCK_BLOCKED: Verdict(403, 21, "number block blocked"),
    Reason.BINDING_BLOCKED: Verdict(403, 21, "binding blocked"),
    Reason.USER_BLOCKED: Verdict(403, 21, "business user blocked"),
    Reason.PROVIDER_BLOCKED: Verdict(403, 21, "provider blocked"),
    Reason.MESSAGES_BARRED: Verdict(403, 21, "messages not allowed"),
    Reason.OUTSIDE_HOURS: Verdict(403, 21, "not at this time"),
    Reason.CALLS_USED_UP: Verdict(403, 21, "calls of the binding used up"),
    Reason.CALLER_CAP: Verdict(403, 21, "caller over its cap"),
    Reason.BINDING_CAP: Verdict(403, 21, "binding over its cap"),
    Reason.NUMBER_CAP: Verdict(403, 21, "number over its cap"),
    Reason.SCENARIO_CAP: Verdict(403, 21, "scenario over its cap"),
    Reason.USER_CAP: Verdict(403, 21, "business user over its cap"),
    Reason.FAN_OUT: Verdict(403, 21, "too many numbers dialled"),
    # the switch's state and limits
    Local.DRAINING: Verdict(503, 41, "draining", 30),
    # short, since who obeys it sends nothing at all meanwhile
    Local.OVERLOAD: Verdict(503, 42, "overload", 2),
    Local.TRUNK_REMOVED: Verdict(403, 21, "trunk not served"),
    Local.UNDECIDED: Verdict(503, 41, "no decision in time", 10),
    Local.JOURNAL_FAILED: Verdict(503, 41, "records cannot be written", 30),
    Local.TOTAL_LIMIT: Verdict(503, 42, "node full", 5),
    Local.TRUNK_LIMIT: Verdict(503, 42, "trunk full", 5),
    Local.CALL_RATE: Verdict(503, 42, "too many calls a second", 1),
    # the request itself
    Local.MAX_FORWARDS: Verdict(483, 25, "too many hops"),
    Local.MERGED: Verdict(482, 25, "merged request"),
    Local.BAD_REQUEST: Verdict(400, 111, "request not usable"),
    Local.BAD_EXTENSION: Verdict(420, 127, "extension not supported"),
    Local.BAD_MEDIA_TYPE: Verdict(415, 79, "body type not supported"),
    Local.BAD_SESSION: Verdict(488, 79, "session description not usable"),
    Local.URI_SCHEME: Verdict(416, 127, "URI scheme not supported"),
    Local.SESSION_INTERVAL: Verdict(422, 127, "session interval too small"),
    # calls that the switch ends by itself; the status is for one that is not answered yet
    Local.TRIPWIRE: Verdict(500, 41, "internal error"),
    Local.NO_ACK: Verdict(500, 102, "answer not acknowledged"),
    Local.NO_PRACK: Verdict(504, 102, "provisional answer not acknowledged"),
    Local.NO_SESSION: Verdict(488, 79, "offer not answered"),
    Local.LONGEST_CALL: Verdict(500, 16, "longest call reached"),
    Local.HUNG_UP: Verdict(480, 16, "ended by the operator"),
    Local.SHUTDOWN: Verdict(503, 41, "shutting down", 30),
    Local.PEER_LOST: Verdict(500, 102, "peer does not answer"),
    Local.BLOCK_ENDED: Verdict(403, 21, "number block withdrawn"),
    Local.BLOCKED: Verdict(403, 21, "blocked"),
    Local.REFRESH_FAILED: Verdict(500, 102, "session refresh failed"),
    Local.SESSION_EXPIRED: Verdict(500, 102, "session expired"),
    # messages: what they are, what they say, what becomes of them
    Local.MESSAGE_TOO_LARGE: Verdict(513, 127, "message too large"),
    Local.SENDER_MISMATCH: Verdict(403, 21, "sender named twice"),
    Local.MESSAGE_QUEUE_FULL: Verdict(503, 42, "too many messages waiting", 30),
    Local.MESSAGE_STORE_FAILED: Verdict(503, 41, "message cannot be stored", 10),
    Finding.VERIFICATION_CODE: Verdict(403, 21, "verification code"),
    Finding.SERVICE_SENDER: Verdict(403, 21, "service sender"),
    Finding.KEYWORD: Verdict(403, 21, "text not allowed"),
    Finding.PHONE_NUMBER: Verdict(403, 21, "telephone number in text"),
    Local.MESSAGE_EXPIRED: Verdict(480, 102, "not delivered in time"),
    Local.DELIVERY_UNKNOWN: Verdict(408, 102, "delivery not known"),
}


def verdict_of(reason: str) -> Verdict:
    """The row of a reason."""
    return REFUSALS[reason]


# A failure of the route, not of the callee: the next route is tried (sip-level failover; never on the callee's own
# word)
FAILOVER: Final = frozenset({408, 430, 500, 502, 503, 504})

# What a caller may be told of the callee's side. Everything absent is told as 500: it speaks of our own request (401,
# 407, 420, 481…), which the caller did not send. 3xx is consumed: its Contact is the callee's, and we do not follow
# it.
_RELAYED: Final = frozenset(
    {403, 404, 406, 408, 410, 413, 415, 480, 482, 483, 484, 485, 486, 488, 493, 500, 502, 504, 580, 600, 603, 604, 606}
)

# RFC 3398 §7.2.4.1, with 17 for 600 as for 486
_CAUSES: Final = {
    400: 41, 401: 21, 402: 21, 403: 21, 404: 1, 405: 63, 406: 79, 407: 21, 408: 102, 410: 22, 413: 127,
    414: 127, 415: 79, 416: 127, 420: 127, 421: 127, 423: 127, 433: 21, 480: 18, 481: 41, 482: 25, 483: 25,
    484: 28, 485: 1, 486: 17, 487: 16, 488: 79, 500: 41, 501: 79, 502: 38, 503: 41, 504: 102, 505: 127,
    513: 127, 580: 47, 600: 17, 603: 21, 604: 1, 606: 79,
}  # fmt: skip


def relayed_status(status: int) -> int:
    """The status that the caller gets for the callee's ``status``. 503 is ours alone to say: inward it is 500."""
    if status in _RELAYED:
        return status
    return 480 if 300 <= status < 400 or status == 487 else 500


def cause_of(status: int) -> int:
    """The Q.850 cause of a SIP status (RFC 3398 §7.2.4.1), 31 (normal, unspecified) for one without a row."""
    return _CAUSES.get(status, 31)


def outcome_of(status: int) -> Outcome:
    """The record's word for a callee's failure."""
    if status in (486, 600):
        return Outcome.BUSY
    if status in FAILOVER or 500 <= status < 600:
        return Outcome.FAILED
    return Outcome.REJECTED
