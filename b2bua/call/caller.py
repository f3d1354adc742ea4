"""The caller's side: we answer its INVITE (RFC 3261 §13.3), and before that reliably where it can (RFC 3262)."""

from b2bua.call.events import Cancelled, Ended, Pracked, PrackMissing, Updated
from b2bua.call.leg import ALLOW, SDP, CallControl, LegState, Signalling, cause_line
from b2bua.call.reliable import NEVER, REQUIRED, Provisionals, reliability
from b2bua.call.session import session_description
from b2bua.call.session_timer import too_small
from b2bua.call.timed import TimedLeg
from b2bua.sip.dialog import Dialog
from b2bua.sip.errors import ParseError
from b2bua.sip.headers import parse_q850, parse_sip_cause
from b2bua.sip.message import Request
from b2bua.sip.session_expires import proposal_of
from b2bua.sip.transaction import ServerTransaction

__all__ = ["CallerLeg"]


class CallerLeg(TimedLeg):
    """Made of the INVITE. ``usable`` is False when the INVITE names no way back (no Contact that can be read).

    ``refusal_lines`` are headers that a refusal has to carry besides (Unsupported, Accept). ``reliable``: what the
    caller makes of 100rel.
    """

    __slots__ = (
        "_delayed",
        "_early",
        "_held",
        "_invite",
        "_provisionals",
        "_shown",
        "_unanswered",
        "refusal_lines",
        "reliable",
        "usable",
    )

    def __init__(
        self, signalling: Signalling, call: CallControl, transaction: ServerTransaction, request: Request, contact: str
    ) -> None:
        tag = signalling.endpoint.token()
        self.usable = True
        self.refusal_lines: tuple[str, ...] = ()
        try:
            dialog = Dialog.answering(request, tag, transaction.flow)
        except ParseError:
            dialog = Dialog(request.call_id, request.to_value, tag, transaction.flow)
            self.usable = False
        super().__init__(signalling, call, dialog, contact)
        transaction.to_tag = tag
        transaction.owner = self
        self._invite: ServerTransaction | None = transaction
        self._answer_cseq = request.cseq
        self._early: tuple[int, bytes] = (0, b"")  # the last 18x, to be sent again while it rings for long
        self.reliable = reliability(request)
        self._delayed = not request.body  # the INVITE holds no offer
        self._provisionals: Provisionals | None = None
        self._unanswered = False  # our reliable provisional answer held an offer, and its PRACK has not come
        self._shown = 0  # hash of the description that was given for good in a reliable provisional answer
        self._held: tuple[bytes, bool, bool] | None = None  # the answer that waits for a PRACK
        self.note_allow(request)
        if self.terms is not None:
            self._proposal = proposal_of(request)
        self.own = (
            transaction.before_tag,
            transaction.after_tag,
            request.from_value,
            request.to_value,
            request.call_id,
        )

    def interval_too_small(self) -> bool:
        """Whether the INVITE wants a session interval below our minimum; its refusal will name that (RFC 4028 §9)."""
        lines = () if self.terms is None else too_small(self._proposal, self.terms)
        self.refusal_lines = lines or self.refusal_lines
        return bool(lines)

    def progress(self, status: int, sdp: bytes) -> None:
        """Tell the caller that it rings, with early media where there is any."""
        if self._invite is None or self.state is not LegState.SETUP:
            return
        self._early = (status, sdp)
        if self.reliable != NEVER:
            self._progress_reliably(status, sdp)
        elif self._delayed:
            self._say(self._invite, status, b"")  # an offer has to be confirmed (RFC 3261 §13.2.1)
        else:
            self._say(self._invite, status, sdp)

    def progress_again(self) -> None:
        """Keep proxies on the way from giving up on a long ring (§13.3.1.1)."""
        if self._early[0]:
            self.progress(*self._early)

    def answer(self, sdp: bytes, offered: bool, settled: bool) -> None:
        """The callee took the call. ``offered``: ``sdp`` wants an answer. ``settled``: the description of the last
        progress is what the parties have agreed on."""
        if self._invite is None or self.state is not LegState.SETUP:
            return
        provisionals = self._provisionals
        if provisionals is not None:
            provisionals.news = None
            if provisionals.outstanding and provisionals.holds_sdp:
                self._held = (sdp, offered, settled)  # RFC 3262 §3: not before its PRACK
                return
            provisionals.stop()
        self._answer_now(sdp, offered, settled)

    def end(self, q850: int, status: int, retry_after: int, text: str) -> None:
        """BYE after the answer, a failure with Reason before it."""
        if self.state is LegState.SETUP:
            extra = (cause_line(q850, text), *self.refusal_lines)
            if status < 300:
                status = 480  # the callee took the call and hung up, and the 2xx still waited for a PRACK
            self._refuse(status, (f"Retry-After: {retry_after}", *extra) if retry_after else extra)
        else:
            super().end(q850, status, retry_after, text)

    def on_cancel(self, transaction: ServerTransaction, request: Request) -> None:
        """CANCEL of the INVITE, or of a re-INVITE."""
        if transaction is self._invite and self.state is LegState.SETUP:
            reason = request.get("reason") or ""
            cause = parse_q850(reason)
            if self._held is not None:
                self._refuse(487, ())  # for the callee this is a call that is up
                self.call.heard(self, Ended(cause, False))
            else:
                self.call.heard(self, Cancelled(cause, parse_sip_cause(reason)))
        else:
            super().on_cancel(transaction, request)

    def on_failed(self, transaction: object) -> None:
        """The net below an INVITE that nobody answered."""
        if transaction is self._invite:
            self._invite = None
            self.call.heard(self, Ended(0, True))
        else:
            super().on_failed(transaction)  # type: ignore[arg-type]

    # reliable provisional answers

    def _progress_reliably(self, status: int, sdp: bytes) -> None:
        assert self._invite is not None
        provisionals = self._provisionals
        if provisionals is not None and provisionals.described:
            if sdp and (self._asked_owed or hash(sdp) != self._shown):
                self.owed = sdp  # another phone: the answer was given, so this can only be a new offer
                self.offer_owed()
            sdp = b""
        if not sdp and self.reliable != REQUIRED:
            self._say(self._invite, status, b"")
            return
        if provisionals is None:
            endpoint = self.signalling.endpoint
            provisionals = Provisionals(endpoint, self._invite, self._answer_cseq, self._prack_missing)
            self._provisionals = provisionals
        if provisionals.outstanding:
            provisionals.keep(status, sdp)
        else:
            self._say_reliably(provisionals, status, sdp)

    def _say(self, invite: ServerTransaction, status: int, sdp: bytes) -> None:
        body = self.session.present(sdp, self._host())
        self.signalling.endpoint.respond(
            invite, status, self.signalling.now.monotonic, extra=self._about(), content_type=SDP, body=body
        )

    def _say_reliably(self, provisionals: Provisionals, status: int, sdp: bytes) -> None:
        if sdp:
            self._shown = hash(sdp)
            self._unanswered = self._delayed
        body = self.session.present(sdp, self._host())
        provisionals.send(status, self._about(), SDP, body, self.signalling.now.monotonic)

    def _about(self) -> tuple[str, ...]:
        return (self._contact_line(), ALLOW, f"Server: {self.signalling.agent}", *self._recorded())

    def _answer_lines(self, method: str) -> tuple[str, ...]:
        lines = super()._answer_lines(method)
        return (*lines, *self._recorded()) if method == "INVITE" else lines

    def _recorded(self) -> tuple[str, ...]:
        """The proxies before us, said back to the caller in every answer that makes a dialog (§12.1.1)."""
        return tuple([f"Record-Route: {route}" for route in self.dialog.routes])

    def _prack_missing(self) -> None:
        self.call.heard(self, PrackMissing())

    def _on_prack(self, transaction: ServerTransaction, request: Request) -> None:
        """RFC 3262 §3: 481 where it confirms nothing; a PRACK that we refuse for its body confirms nothing either."""
        provisionals = self._provisionals
        if provisionals is None or not provisionals.confirms(request.get("rack") or ""):
            self._respond(transaction, 481)
            return
        try:
            sdp = session_description(request)
            if self._unanswered and not sdp:
                raise ParseError("PRACK without the answer")
        except ParseError as error:
            self._respond(transaction, error.status)
            return
        if sdp and not self._unanswered and self._offer_barred(transaction):
            return
        provisionals.confirm()
        if self._unanswered:
            self._unanswered = False
            self._agree(transaction, b"")
            self.call.heard(self, Pracked(sdp))
        elif not sdp:
            self._agree(transaction, b"")
        else:
            self._pending = transaction
            self.call.heard(self, Updated(sdp, at_once=True))
        self._after_prack(provisionals)

    def _after_prack(self, provisionals: Provisionals) -> None:
        """What waited for it: the answer of the call, or further news."""
        if self._held is not None:
            held, self._held = self._held, None
            self._answer_now(*held)
        elif provisionals.news is not None and self._invite is not None:
            (status, sdp), provisionals.news = provisionals.news, None
            self._progress_reliably(status, sdp)
        if self.owed and self.state is LegState.SETUP:
            self.offer_owed()

    def _early_ready(self) -> bool:
        provisionals = self._provisionals
        return not self._early_obstacle() and provisionals is not None and not provisionals.outstanding

    def _early_obstacle(self) -> int:
        if self._unanswered:
            return 491
        return 0 if self._provisionals is not None and self._provisionals.described else 500

    def _owed_agreed(self) -> None:
        self._shown = hash(self.owed)
        super()._owed_agreed()

    # the final answer

    def _answer_now(self, sdp: bytes, offered: bool, settled: bool) -> None:
        transaction, self._invite = self._invite, None
        assert transaction is not None
        self.state = LegState.UP
        self._early = (0, b"")
        provisionals = self._provisionals
        if provisionals is not None:
            if provisionals.described:
                if not settled:
                    self.owed = sdp if offered or self._asked_owed or hash(sdp) != self._shown else b""
                sdp, offered = b"", False
            if not provisionals.outstanding:
                self._provisionals = None
        self._accept(transaction, sdp, offered or (self._delayed and bool(sdp)))
        if self._answer is None:
            self._settle()
            self._gone()

    def _on_bye(self, transaction: ServerTransaction, request: Request) -> None:
        """BYE in an early dialog ends the attempt: the INVITE gets its 487 as well (§15.1.2)."""
        invite, self._invite = self._invite, None
        if invite is not None and invite.alive:
            self._respond(invite, 487)
        super()._on_bye(transaction, request)

    def _refuse(self, status: int, extra: tuple[str, ...]) -> None:
        transaction, self._invite = self._invite, None
        if transaction is not None and transaction.alive:
            self._respond(transaction, status, (*extra, f"Server: {self.signalling.agent}"))
        self._settle()
        self._gone()

    def _settle(self) -> None:
        self._held = None
        if self._provisionals is not None:
            self._provisionals.stop()
            self._provisionals = None
        super()._settle()
