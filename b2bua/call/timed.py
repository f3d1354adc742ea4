"""A leg with a session timer (RFC 4028): what its requests and answers say of it, and the refreshes themselves.

A refresh never crosses to the other leg: it is answered here, by the description that is in force. Only an offer, or an
answer, that says something new does.
"""

from b2bua.call.events import Expired, Moved, Unchanged
from b2bua.call.leg import ALLOW, SDP, CallControl, LegState, Signalling
from b2bua.call.renegotiation import NegotiatingLeg
from b2bua.call.session import session_description
from b2bua.call.session_timer import SUPPORTED, SessionTimer
from b2bua.sip.dialog import Dialog
from b2bua.sip.errors import ParseError
from b2bua.sip.message import Request, Response
from b2bua.sip.session_expires import NO_PROPOSAL, Proposal, Terms, proposal_of
from b2bua.sip.timers import TimerQueue
from b2bua.sip.transaction import ClientTransaction, ServerTransaction

__all__ = ["TimedLeg"]


class TimedLeg(NegotiatingLeg):
    """``terms``: what we want of the timer, None for none. ``timer`` is made when the dialog is up."""

    __slots__ = ("_proposal", "terms", "timer")

    def __init__(self, signalling: Signalling, call: CallControl, dialog: Dialog, contact: str) -> None:
        super().__init__(signalling, call, dialog, contact)
        self.terms: Terms | None = signalling.session_timers.terms
        self.timer: SessionTimer | None = None
        self._proposal: Proposal = NO_PROPOSAL  # of the peer's request that we have still to answer

    # what the bridge asks for

    def update(self, sdp: bytes, at_once: bool, refresh: bool = False) -> None:
        """As in every leg; a ``refresh`` of the other side that changes nothing here ends here."""
        if refresh and self.state is LegState.UP and self.session.holds(sdp):
            self.call.heard(self, Unchanged())
        else:
            super().update(sdp, at_once)

    def answer_unchanged(self) -> None:
        """The peer's refresh is answered with what it was told before."""
        self.answer_update(self.session.last)

    def tell(self, sdp: bytes) -> None:
        """The other party has moved: offer the peer what it does not have yet, as soon as that can be."""
        if self.state is LegState.UP and not self.session.holds(sdp):
            self.owed = sdp
            self.offer_owed()

    # what the switch feeds in

    def on_response(self, transaction: ClientTransaction, response: Response) -> None:
        """Also the answers to our refreshes."""
        if self.timer is not None and transaction is self.timer.request and response.status >= 200:
            self._on_refreshed(self.timer, transaction, response)
        else:
            super().on_response(transaction, response)

    def on_failed(self, transaction: ClientTransaction | ServerTransaction) -> None:
        """A refresh that was never answered is the end of the session (§10)."""
        if self.timer is not None and transaction is self.timer.request:
            self._forget(transaction)
            self.session_over(True)
        else:
            super().on_failed(transaction)

    # what the timer asks for

    @property
    def timers(self) -> TimerQueue:
        """The queue of the switch."""
        return self.signalling.endpoint.timers

    @property
    def monotonic(self) -> float:
        """Seconds of the clock that never jumps."""
        return self.signalling.now.monotonic

    def glare_wait(self) -> float:
        """Seconds to wait after 491."""
        return self._glare_wait()

    def send_refresh(self, lines: tuple[str, ...]) -> ClientTransaction | None:
        """UPDATE without a description, else a re-INVITE with what was sent last; None while another offer is under
        way."""
        extra = (self._contact_line(), ALLOW, *lines)
        if self.peer_updates:
            return self._request("UPDATE", extra)
        if self._busy():
            return None
        self._asked_offer = True
        body = self.session.present(self.session.last, self._host())
        self._asked = self._request("INVITE", extra, SDP, body)
        return self._asked

    def session_over(self, failed: bool) -> None:
        """The session has expired, or a refresh has failed for good."""
        self.signalling.session_timers.statistics.sessions_expired += 1
        self.call.heard(self, Expired(failed))

    # parts

    def _start_timer(self, response: Response) -> None:
        """Our INVITE was answered 2xx."""
        if self.terms is not None:
            self.timer = SessionTimer(self, self.terms, self.signalling.session_timers.statistics)
            self.timer.answered(response)

    def _answer_lines(self, method: str) -> tuple[str, ...]:
        """For our 2xx to INVITE or UPDATE, from which the session counts anew."""
        if self.terms is None or self.state is not LegState.UP or method == "PRACK":
            return ()
        if self.timer is None:
            self.timer = SessionTimer(self, self.terms, self.signalling.session_timers.statistics)
        return (SUPPORTED, *self.timer.serve(self._proposal))

    def _offer_lines(self) -> tuple[str, ...]:
        """For each INVITE and UPDATE of ours in the dialog (§7.4)."""
        return () if self.timer is None else self.timer.lines()

    def _is_refresh(self) -> bool:
        return self._proposal.expires is not None

    def _take(self, transaction: ServerTransaction, request: Request) -> None:
        timer = self.timer
        if timer is None or request.method not in ("INVITE", "UPDATE"):
            super()._take(transaction, request)
            return
        proposal = proposal_of(request)
        lines = timer.too_small(proposal)
        if lines:
            self._respond(transaction, 422, lines)
            return
        kept, self._proposal = self._proposal, proposal
        super()._take(transaction, request)
        if self._pending is not transaction:
            self._proposal = kept  # answered already; another one may still wait

    def _conclude(self, response: Response) -> None:
        timer, asked = self.timer, self._asked
        if timer is not None and asked is not None and self.state is LegState.UP:
            if response.status < 300:
                timer.answered(response)
            elif response.status == 422 and timer.raise_to(response):
                # §7.3: the same again, with the interval that the peer asks for
                body = self.session.present(self.session.last, self._host()) if self._asked_offer else b""
                extra = (self._contact_line(), ALLOW, *timer.lines())
                self._asked = self._request(asked.method, extra, SDP, body)
                self._asked.tag = asked.tag
                return
        super()._conclude(response)

    def _on_refreshed(self, timer: SessionTimer, transaction: ClientTransaction, response: Response) -> None:
        """The final answer to our refresh."""
        self._forget(transaction)
        status = response.status
        if status in (408, 481):
            self.session_over(True)
            return
        if status >= 300:
            timer.refused(response)
            return
        self.note_allow(response)
        sdp = b""
        try:
            self._retarget(response)
            sdp = session_description(response)
        except ParseError:
            sdp = b""  # the session stands as it did
        if transaction.method == "INVITE":
            self._send_ack(response.cseq, b"")
        timer.answered(response)
        if sdp:
            self.call.heard(self, Moved(sdp))  # the answer to the old offer may be a new one

    def _forget(self, transaction: ClientTransaction) -> None:
        if transaction is self._asked:
            self._asked = None

    def _replaced(self, transaction: ClientTransaction, again: ClientTransaction) -> None:
        if self.timer is not None and transaction is self.timer.request:
            self.timer.request = again
        super()._replaced(transaction, again)

    def _settle(self) -> None:
        if self.timer is not None:
            self.timer.stop()
            self.timer = None
        super()._settle()
