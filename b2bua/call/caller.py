"""The caller's side: we answer its INVITE (RFC 3261 §13.3)."""

from b2bua.call.events import Cancelled, Ended
from b2bua.call.leg import ALLOW, SDP, CallControl, Leg, LegState, Signalling, cause_line
from b2bua.sip.dialog import Dialog
from b2bua.sip.errors import ParseError
from b2bua.sip.headers import parse_q850
from b2bua.sip.message import Request
from b2bua.sip.transaction import ServerTransaction

__all__ = ["CallerLeg"]


class CallerLeg(Leg):
    """Made of the INVITE. ``usable`` is False when the INVITE names no way back (no Contact that can be read).

    ``refusal_lines`` are headers that a refusal has to carry besides (Unsupported, Accept).
    """

    __slots__ = ("_early", "_invite", "refusal_lines", "usable")

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
        self.own = (
            transaction.before_tag,
            transaction.after_tag,
            request.from_value,
            request.to_value,
            request.call_id,
        )

    def progress(self, status: int, sdp: bytes) -> None:
        """Tell the caller that it rings, with early media where there is any."""
        if self._invite is None or self.state is not LegState.SETUP:
            return
        self._early = (status, sdp)
        body = self.session.present(sdp, self._host())
        extra = (self._contact_line(), ALLOW, f"Server: {self.signalling.agent}")
        self.signalling.endpoint.respond(
            self._invite, status, self.signalling.now.monotonic, extra=extra, content_type=SDP, body=body
        )

    def progress_again(self) -> None:
        """Keep proxies on the way from giving up on a long ring (§13.3.1.1)."""
        if self._early[0]:
            self.progress(*self._early)

    def answer(self, sdp: bytes, offered: bool) -> None:
        """The callee took the call. ``offered``: the INVITE held no offer, so this 2xx does."""
        transaction, self._invite = self._invite, None
        if transaction is not None and self.state is LegState.SETUP:
            self.state = LegState.UP
            self._early = (0, b"")
            self._accept(transaction, sdp, offered)
            if self._answer is None:
                self._settle()
                self._gone()

    def end(self, q850: int, status: int, retry_after: int, text: str) -> None:
        """BYE after the answer, a failure with Reason before it."""
        if self.state is LegState.SETUP:
            extra = (cause_line(q850, text), *self.refusal_lines)
            self._refuse(status, (f"Retry-After: {retry_after}", *extra) if retry_after else extra)
        else:
            super().end(q850, status, retry_after, text)

    def on_cancel(self, transaction: ServerTransaction, request: Request) -> None:
        """CANCEL of the INVITE, or of a re-INVITE."""
        if transaction is self._invite and self.state is LegState.SETUP:
            self.call.heard(self, Cancelled(parse_q850(request.get("reason") or "")))
        else:
            super().on_cancel(transaction, request)

    def on_failed(self, transaction: object) -> None:
        """The net below an INVITE that nobody answered."""
        if transaction is self._invite:
            self._invite = None
            self.call.heard(self, Ended(0, True))
        else:
            super().on_failed(transaction)  # type: ignore[arg-type]

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
