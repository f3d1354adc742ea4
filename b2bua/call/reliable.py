"""Reliable provisional answers (RFC 3262): those we send to a caller, and the early dialogs of those a callee sends us.

Made when the first of them is sent or comes in. The two legs share nothing here: each has its own RSeq numbers.
"""

from collections.abc import Callable

from b2bua.sip.dialog import Dialog
from b2bua.sip.endpoint import Endpoint
from b2bua.sip.headers import tokens_of
from b2bua.sip.message import Message
from b2bua.sip.timers import Timer
from b2bua.sip.transaction import ServerTransaction

__all__ = ["NEVER", "OFFERED", "OPTION", "REQUIRED", "EarlyDialog", "Provisionals", "parse_rseq", "reliability"]

# how much a peer, or the settings of a trunk, make of 100rel
NEVER, OFFERED, REQUIRED = 0, 1, 2

OPTION = "100rel"
FIRST_LIMIT = (1 << 31) - 1  # the first RSeq is one of 1 to 2**31 - 1 (§3)
RSEQ_LIMIT = 1 << 32


def reliability(request: Message) -> int:
    """What the sender of an INVITE makes of 100rel: NEVER, OFFERED (Supported) or REQUIRED (Require)."""
    if "require" in request.first and _has_option(request, "require"):
        return REQUIRED
    if "supported" in request.first and _has_option(request, "supported"):
        return OFFERED
    return NEVER


def _has_option(request: Message, name: str) -> bool:
    return any(tag.lower() == OPTION for tag in tokens_of(request.all(name)))


def parse_rseq(text: str) -> int:
    """The number of an RSeq header (§7.1), 0 for what is none: that answer then counts as one without."""
    text = text.strip()
    if len(text) > 10 or not (text.isascii() and text.isdigit()):
        return 0
    number = int(text)
    return number if number < RSEQ_LIMIT else 0


class Provisionals(Timer):
    """The reliable provisional answers to one INVITE (§3): one at a time, repeated until its PRACK or for 64·T1.

    ``described``: one with a session description was sent, so that offer or answer has been given. ``news`` is what
    is to follow: status and description of the news that came meanwhile, the newest of each. ``lost`` is called when no
    PRACK comes.
    """

    __slots__ = (
        "_cseq",
        "_endpoint",
        "_give_up_at",
        "_interval",
        "_invite",
        "_lost",
        "_rseq",
        "_unconfirmed",
        "_wire",
        "described",
        "holds_sdp",
        "news",
    )

    def __init__(self, endpoint: Endpoint, invite: ServerTransaction, cseq: int, lost: Callable[[], None]) -> None:
        super().__init__()
        self._endpoint = endpoint
        self._invite = invite
        self._cseq = cseq
        self._lost = lost
        self._rseq = int(endpoint.token()[:8], 16) % FIRST_LIMIT
        self._wire = b""  # what is repeated
        self._unconfirmed = False
        self._interval = 0.0
        self._give_up_at = 0.0
        self.holds_sdp = False  # the one that waits for its PRACK holds a description
        self.described = False
        self.news: tuple[int, bytes] | None = None

    @property
    def outstanding(self) -> bool:
        """Whether one waits for its PRACK."""
        return self._unconfirmed

    def send(self, status: int, extra: tuple[str, ...], content_type: str, body: bytes, now: float) -> None:
        """Send one and see to it; none may be outstanding."""
        endpoint = self._endpoint
        self._rseq += 1
        lines = (*extra, f"Require: {OPTION}", f"RSeq: {self._rseq}")
        self._wire = endpoint.respond(self._invite, status, now, extra=lines, content_type=content_type, body=body)
        self._unconfirmed = True
        self.holds_sdp = bool(body)
        self.described = self.described or self.holds_sdp
        self._interval = endpoint.values.t1
        self._give_up_at = now + endpoint.values.timeout
        endpoint.timers.set(self, now + self._interval, now)

    def keep(self, status: int, sdp: bytes) -> None:
        """Keep news for when the present one is confirmed."""
        self.news = (status, sdp or (self.news[1] if self.news else b""))

    def confirms(self, rack: str) -> bool:
        """Whether this RAck (§7.2) names the one that waits; after the final answer too, until it is confirmed."""
        return self._unconfirmed and rack.split() == [str(self._rseq), str(self._cseq), "INVITE"]

    def confirm(self) -> None:
        """Its PRACK has come."""
        self._unconfirmed = self.holds_sdp = False
        self.stop()

    def stop(self) -> None:
        """Repeat no more: confirmed, or the final answer is out (§3)."""
        self._wire = b""
        self._endpoint.timers.cancel(self)

    def fire(self, now: float) -> None:
        """Once more, T1 doubling without ceiling, or the end of patience."""
        if now >= self._give_up_at:
            self.stop()
            self._lost()
            return
        self._endpoint.transmit(self._wire, self._invite.flow, self._invite, True)
        self._interval *= 2
        self._endpoint.timers.set(self, min(now + self._interval, self._give_up_at), now)


class EarlyDialog:
    """One early dialog of a callee's side that sends reliable provisional answers (§4): one To tag of a fork.

    ``sdp`` is the description that came reliably, the answer to our offer or the callee's own offer; ``waiting`` the
    RAck of the PRACK that cannot go before the caller has answered that offer.
    """

    __slots__ = ("dialog", "rseq", "sdp", "waiting")

    def __init__(self, dialog: Dialog) -> None:
        self.dialog = dialog
        self.rseq = 0
        self.sdp = b""
        self.waiting = ""

    def in_turn(self, rseq: int) -> bool:
        """Take the next number: False for a repetition, and for one whose predecessor has not come yet (§4)."""
        if self.rseq and rseq != self.rseq + 1:
            return False
        self.rseq = rseq
        return True
