"""Another session in a dialog that stands: re-INVITE (RFC 3261 §14), UPDATE (RFC 3311), and who may offer when.

An offer of one peer crosses as Updated, the other's word comes back as UpdateAnswered or UpdateRefused. What came in
an UPDATE or a PRACK is asked of the other peer by UPDATE, where it takes one: both have to be answered at once. In an
early dialog nothing else is possible, and only where both sides are through with the first offer and answer.
"""

from functools import lru_cache

from b2bua.call.events import Cancelled, Ended, UpdateAnswered, Updated, UpdateRefused
from b2bua.call.leg import ACCEPT, ALLOW, SDP, CallControl, Leg, LegState, Signalling
from b2bua.call.session import session_description
from b2bua.sip.dialog import Dialog
from b2bua.sip.errors import ParseError
from b2bua.sip.headers import tokens_of
from b2bua.sip.message import Message, Request, Response
from b2bua.sip.transaction import ClientTransaction, Input, ServerTransaction, State

__all__ = ["NegotiatingLeg"]

# tags of a re-INVITE that is to be cancelled as soon as the peer has said anything, and of one that was
CANCEL_WANTED, CANCELLED = 1, 2
# what the peer says of an offer that the other side may hear; 504 is RFC 3311's "not without asking the user"
UPDATE_REFUSALS = frozenset((415, 487, 488, 491, 504, 606))


class NegotiatingLeg(Leg):
    """A leg whose session can change.

    ``owed`` is a session that the peer has still to be offered, on nobody's request but ours: the caller was given the
    answer of one phone, and another one took the call. ``peer_updates``: the peer's Allow holds UPDATE.
    """

    __slots__ = (
        "_asked",
        "_asked_at_once",
        "_asked_offer",
        "_asked_owed",
        "_pending",
        "_under_way",
        "owed",
        "peer_updates",
    )

    def __init__(self, signalling: Signalling, call: CallControl, dialog: Dialog, contact: str) -> None:
        super().__init__(signalling, call, dialog, contact)
        self._pending: ServerTransaction | None = None  # the peer's offer while the other side thinks
        self._asked: ClientTransaction | None = None  # our re-INVITE or UPDATE while the peer thinks
        self._asked_at_once = False  # for one who waits in an UPDATE
        self._asked_offer = False  # it held an offer
        self._under_way = b""  # what was owed when it left
        self._asked_owed = False  # it was ours: the other side has not asked for it
        self.owed = b""
        self.peer_updates = False

    # what the bridge asks for

    def update(self, sdp: bytes, at_once: bool) -> None:
        """Offer the peer another session, or ask it for one; answered by UpdateAnswered or UpdateRefused.

        ``at_once``: the one who asks waits in an UPDATE, which cannot ring.
        """
        if self._busy():
            self.call.heard(self, UpdateRefused(491))
        elif self.state is LegState.UP:
            self._ask("UPDATE" if at_once and self.peer_updates else "INVITE", sdp)
            self._asked_at_once = at_once
        elif at_once and self.peer_updates and self._early_ready():
            self._ask("UPDATE", sdp)
        else:
            self.call.heard(self, UpdateRefused(504))

    def answer_update(self, sdp: bytes) -> None:
        """The other side agreed to what the peer asked for."""
        transaction, self._pending = self._pending, None
        if transaction is None or not transaction.alive:
            return
        if transaction.method == "INVITE":
            self._accept(transaction, sdp, offered=self._answer_offered)
        else:
            self._agree(transaction, sdp)

    def refuse_update(self, status: int) -> None:
        """The other side did not agree; the session stays as it was."""
        transaction, self._pending = self._pending, None
        if transaction is not None and transaction.alive:
            self._respond(transaction, status)

    def cancel_update(self) -> None:
        """The other side takes its re-INVITE back; what the peer says to that is the answer."""
        asked = self._asked
        if asked is None or asked.tag or asked.method != "INVITE" or self._asked_owed:
            return
        if asked.state is State.PROCEEDING:
            asked.tag = CANCELLED
            self.signalling.endpoint.cancel(asked, self.signalling.now.monotonic)
        else:
            asked.tag = CANCEL_WANTED  # §9.1: not before the peer has said anything

    def answer_early(self, sdp: bytes) -> None:
        """The other side's answer to an offer that came in a reliable provisional answer."""

    # what the switch feeds in

    def on_cancel(self, transaction: ServerTransaction, request: Request) -> None:
        """The peer takes its re-INVITE back: whether it still can is for the other side to say."""
        if transaction is self._pending:
            self.call.heard(self, Cancelled(0, 0))

    def on_response(self, transaction: ClientTransaction, response: Response) -> None:
        """Answers to re-INVITE and UPDATE; the rest as in every leg."""
        if transaction.method == "INVITE":
            self._on_invite_answer(transaction, response)
        elif transaction is self._asked:
            self._conclude(response)
        else:
            super().on_response(transaction, response)

    def on_failed(self, transaction: ClientTransaction | ServerTransaction) -> None:
        """Never answered: what the peer was asked, or what it asked and the other side left ringing for an hour."""
        if transaction is self._pending:
            self.call.heard(self, Ended(0, True))
        elif transaction is self._asked:
            self._asked = None
            self._asked_owed = False
            self.call.heard(self, UpdateRefused(408))
            if self.state is LegState.UP:
                self.call.heard(self, Ended(0, True))
        else:
            super().on_failed(transaction)

    def fire(self, now: float) -> None:
        """What every leg's timer is for; and the wait after a glare over an offer of ours."""
        if self._answer is None and self.owed:
            self.offer_owed()
        else:
            super().fire(now)

    # an offer of our own

    def offer_owed(self) -> None:
        """Offer the peer what it has still to be offered, now or as soon as nothing else is under way."""
        if self.state is LegState.OVER:
            return
        if not self._busy() and (self.state is LegState.UP or (self.peer_updates and self._early_ready())):
            self._asked_owed = True
            self._under_way = self.owed
            self._ask("UPDATE" if self.peer_updates else "INVITE", self.owed)
        else:
            self._wait_after_glare()

    def _wait_after_glare(self) -> None:
        """Try again later; before the answer of the call, and before its ACK, those are the next occasion."""
        if self.state is LegState.UP and self._answer is None:
            now = self.signalling.now.monotonic
            self.signalling.endpoint.timers.set(self, now + self._glare_wait(), now)

    def _glare_wait(self) -> float:
        """§14.1: seconds before another try after 491, for who does not own the Call-ID: 0 to 2 in steps of 10 ms."""
        return int(self.signalling.endpoint.token()[:6], 16) % 201 / 100

    def _owed_agreed(self) -> None:
        """The peer has agreed to what it was owed."""
        self.owed = b""

    # what the peer asks for

    def _take(self, transaction: ServerTransaction, request: Request) -> None:
        method = request.method
        if self.state is LegState.OVER or method in ("BYE", "INFO"):
            super()._take(transaction, request)
        elif method == "INVITE":
            if self.state is LegState.UP:
                self._on_reinvite(transaction, request)
            else:
                self._respond(transaction, 491)
        elif method == "UPDATE":
            self._on_update(transaction, request)
        else:
            self._on_prack(transaction, request)

    def _on_prack(self, transaction: ServerTransaction, request: Request) -> None:
        """RFC 3262 §3: it confirms nothing of ours."""
        self._respond(transaction, 481)

    def _on_reinvite(self, transaction: ServerTransaction, request: Request) -> None:
        if self._pending is not None or self._answer is not None:
            self._respond(transaction, 500, (self._retry_line(),))  # §14.2: one at a time
            return
        if self._asked is not None:
            self._respond(transaction, 491)
            return
        try:
            sdp = session_description(request)
            self._retarget(request)
        except ParseError as error:
            self._respond(transaction, error.status, (ACCEPT,) if error.status == 415 else ())
            return
        self.note_allow(request)
        self._pending = transaction
        self._answer_cseq = request.cseq
        self._answer_offered = not sdp
        self._respond(transaction, 100)
        self.call.heard(self, Updated(sdp, self._is_refresh()))

    def _on_update(self, transaction: ServerTransaction, request: Request) -> None:
        try:
            sdp = session_description(request)
            if sdp and self._offer_barred(transaction):
                return
            self._retarget(request)
        except ParseError as error:
            self._respond(transaction, error.status, (ACCEPT,) if error.status == 415 else ())
            return
        self.note_allow(request)
        if not sdp:
            self._agree(transaction, b"")  # a new Contact, or the question whether we are still there
        else:
            self._pending = transaction
            self.call.heard(self, Updated(sdp, self._is_refresh(), at_once=True))

    def _offer_barred(self, transaction: ServerTransaction) -> bool:
        """Answer an offer in an UPDATE or PRACK that comes out of turn (RFC 3311 §5.2)."""
        if self._pending is not None:
            self._respond(transaction, 500, (self._retry_line(),))
        elif self._asked is not None or self._hold_ack or (self._answer is not None and self._answer_offered):
            self._respond(transaction, 491)
        elif self.state is LegState.SETUP and (obstacle := self._early_obstacle()):
            self._respond(transaction, obstacle, (self._retry_line(),) if obstacle == 500 else ())
        else:
            return False
        return True

    def _early_obstacle(self) -> int:
        """Why there can be no further offer in the early dialog: 500 while the peer's is unanswered, 491 while ours
        is; 0 when both are through."""
        return 0

    def _early_ready(self) -> bool:
        """Whether we may make an offer in the early dialog."""
        return not self._early_obstacle()

    def _agree(self, transaction: ServerTransaction, sdp: bytes) -> None:
        """200 to an UPDATE or PRACK."""
        self.signalling.endpoint.respond(
            transaction,
            200,
            self.signalling.now.monotonic,
            extra=(self._contact_line(), ALLOW, *self._answer_lines(transaction.method)),
            content_type=SDP,
            body=self.session.present(sdp, self._host()),
        )

    # what we ask for

    def _busy(self) -> bool:
        """Whether an offer or its confirmation is on its way, on either side's behalf."""
        return (
            self.state is LegState.OVER
            or self._asked is not None
            or self._pending is not None
            or self._answer is not None
            or self._hold_ack != 0
        )

    def _ask(self, method: str, sdp: bytes) -> None:
        self._asked_at_once = False
        self._asked_offer = bool(sdp)
        extra = (self._contact_line(), ALLOW, *self._offer_lines())
        self._asked = self._request(method, extra, SDP, self.session.present(sdp, self._host()))

    def _offer_lines(self) -> tuple[str, ...]:
        """Further header lines of what we ask."""
        return ()

    def _is_refresh(self) -> bool:
        """Whether the request at hand may only want to keep the session alive."""
        return False

    def _on_invite_answer(self, transaction: ClientTransaction, response: Response) -> None:
        if response.status < 200:
            if transaction is self._asked and self._asked_at_once and response.status > 100:
                self.cancel_update()  # somebody is being asked, for whom an UPDATE cannot wait
            if transaction.tag == CANCEL_WANTED and transaction is self._asked:
                transaction.tag = CANCELLED
                self.signalling.endpoint.cancel(transaction, self.signalling.now.monotonic)
        elif transaction is self._asked:
            self._conclude(response)
        elif response.status < 300 and not self._hold_ack:
            self._acknowledge_again(response)

    def _conclude(self, response: Response) -> None:
        """The final answer to what we asked."""
        status = response.status
        invited = response.cseq_method == "INVITE"
        owed, self._asked_owed = self._asked_owed, False
        newer = owed and bool(self.owed) and self.owed != self._under_way  # that one's answer is the one to pass on
        self._asked = None
        if status >= 300:
            self.session.refused = self.session.refused or self._asked_offer
            if owed and status == 491:
                self._wait_after_glare()
                return
            if newer:
                self.offer_owed()
                return
            if owed and self.state is LegState.UP:
                self.owed = b""  # the peer will not have it
            if status == 487 and self._asked_at_once:
                status = 504  # RFC 3311 §5.2: not without asking the user
            told = status if status in UPDATE_REFUSALS else 500 if status < 600 else 603
            self.call.heard(self, UpdateRefused(told))
            if status in (408, 481) and self.state is LegState.UP:
                self.call.heard(self, Ended(0, True))  # §12.2.1.2: the dialog is gone
            return
        self.note_allow(response)
        try:
            self._retarget(response)
            sdp = session_description(response)
            if not sdp and not invited and self._asked_offer:
                raise ParseError("no answer", 488)
        except ParseError:
            if invited:
                self._send_ack(response.cseq, b"")
            self.call.heard(self, UpdateRefused(488))
            return
        if invited:
            if self._asked_offer or self.state is not LegState.UP:
                self._send_ack(response.cseq, b"")
            else:
                self._hold_ack = response.cseq
        if newer:
            self.offer_owed()
            return
        if owed:
            self._owed_agreed()
        self.call.heard(self, UpdateAnswered(sdp))

    # parts

    def note_allow(self, message: Message) -> None:
        """Whether the peer takes UPDATE; a message without Allow says nothing about it."""
        allow = message.first.get("allow")
        if allow is not None:
            self.peer_updates = _has_update(",".join(message.all("allow")) if "allow" in message.more else allow)

    def _confirmed(self, sdp: bytes) -> None:
        if self.owed:
            self.offer_owed()  # its answer is what the other side is to hear
        else:
            super()._confirmed(sdp)

    def _retry_line(self) -> str:
        """0 to 10 seconds, drawn from the token so that it is not always the same."""
        return f"Retry-After: {int(self.signalling.endpoint.token()[:4], 16) % 11}"

    def _replaced(self, transaction: ClientTransaction, again: ClientTransaction) -> None:
        if transaction is self._asked:
            self._asked = again
        else:
            super()._replaced(transaction, again)

    def _settle(self) -> None:
        self.owed = b""
        transaction, self._pending = self._pending, None
        if transaction is not None and transaction.alive:
            self._respond(transaction, 487 if transaction.method == "INVITE" else 481)
        asked = self._asked
        if asked is not None and asked.method == "INVITE" and asked.alive:
            asked.step(Input.ABANDON, self.signalling.now.monotonic)
        super()._settle()


@lru_cache(256)
def _has_update(allow: str) -> bool:
    """Remembered: the same few user agents say the same few things."""
    return "UPDATE" in tokens_of((allow,))
