"""The callee's side: we send the INVITE to one route (RFC 3261 §13.2). A failover makes a new leg.

Its network may fork: each To tag is an early dialog of its own, with its own numbers of reliable provisional answers
(RFC 3262 §4). The first 2xx wins.
"""

from b2bua.call.events import Answered, AnswerUnusable, Progress, Refused, Trying, UpdateRefused
from b2bua.call.leg import SDP, CallControl, LegState, Signalling
from b2bua.call.privacy import Invitation
from b2bua.call.reliable import NEVER, OPTION, EarlyDialog, parse_rseq
from b2bua.call.session import session_description
from b2bua.call.session_timer import TRIES, first_offer
from b2bua.call.timed import TimedLeg
from b2bua.sip.dialog import Dialog
from b2bua.sip.errors import ParseError
from b2bua.sip.headers import parse_q850
from b2bua.sip.message import Message, Request, Response
from b2bua.sip.session_expires import raised
from b2bua.sip.transaction import ClientTransaction, Flow, Input, ServerTransaction, State

__all__ = ["CalleeLeg"]

EARLY_DIALOG_TERMINATED = 199  # RFC 6228: one phone of a fork has dropped out
MOST_EARLY_DIALOGS = 16  # more than any network rings at once; further ones are treated as not reliable


class CalleeLeg(TimedLeg):
    """One attempt over one route. ``cancel_reason`` is the Reason of the CANCEL where the release has a better one than
    its Q.850 cause."""

    __slots__ = (
        "_asked_tag",
        "_cancelled",
        "_early",
        "_forks",
        "_intervals",
        "_invitation",
        "_invite",
        "_offered",
        "_prack_answer",
        "_reliable",
        "_shown",
        "_uri",
        "_won",
        "cancel_reason",
        "route_name",
    )

    def __init__(
        self, signalling: Signalling, call: CallControl, flow: Flow, invitation: Invitation, name: str
    ) -> None:
        tag = signalling.endpoint.token()
        dialog = Dialog(signalling.endpoint.token(), f"{invitation.from_value};tag={tag}", tag, flow)
        dialog.remote_value = invitation.to_value
        super().__init__(signalling, call, dialog, invitation.contact)
        self.forbidden = invitation.forbidden
        self.own = invitation.own
        self._uri = invitation.uri  # where a dialog is ended whose answer gave no Contact
        self.route_name = name
        self._invite: ClientTransaction | None = None
        self._asked_tag = ""  # To tag of the early dialog that our UPDATE went to
        self._offered = False
        self._reliable = NEVER
        self._cancelled = False
        self.cancel_reason = ""
        self._won = False  # a 2xx has come, and ``dialog`` is its
        self._early: dict[str, EarlyDialog] | None = None  # by To tag, where answers are reliable
        self._shown = ""  # To tag of the description that was passed on last
        self._prack_answer = b""  # the caller's answer to an offer in a reliable provisional answer
        self._forks: tuple[str, ...] = ()  # To tags of further 2xx, each ended once
        self._invitation: tuple[Invitation, bytes, int, int] | None = None  # what the INVITE is made of, until the 2xx
        self._intervals = 0  # 422 so far

    def invite(self, invitation: Invitation, offer: bytes, max_forwards: int, reliable: int = NEVER) -> None:
        """Send the INVITE; an empty offer asks the callee for one. ``reliable``: what we make of 100rel."""
        dialog = self.dialog
        self._offered = bool(offer)
        self._reliable = reliable
        self._invitation = (invitation, offer, max_forwards, reliable)
        extra = invitation.extra
        if reliable != NEVER:
            extra = (*extra, f"Supported: {OPTION}", f"Require: {OPTION}")[: len(extra) + reliable]
        if self.terms is not None:
            extra = (*extra, *first_offer(self.terms))
        body = self.session.present(offer, self._host())
        self._invite = self.signalling.endpoint.request(
            "INVITE",
            invitation.uri,
            dialog.flow,
            dialog.local_value,
            dialog.remote_value,
            dialog.call_id,
            dialog.next_cseq(),
            self.signalling.now.monotonic,
            owner=self,
            max_forwards=max_forwards,
            extra=self._authorised("INVITE", invitation.uri, extra, body),
            content_type=SDP,
            body=body,
        )

    @property
    def wants_answer(self) -> bool:
        """The INVITE went out without an offer: the ACK waits for the caller's answer."""
        return not self._offered

    def end(self, q850: int, status: int, retry_after: int, text: str) -> None:
        """BYE after the answer; before it CANCEL, as soon as the far end has said anything at all (§9.1)."""
        if self.state is not LegState.SETUP:
            super().end(q850, status, retry_after, text)
            return
        self._settle()
        if not self.cancel_reason and q850:
            self.cancel_reason = f"Q.850;cause={q850}"
        invite = self._invite
        if invite is None or not invite.alive:
            self._gone()
        elif invite.state is State.PROCEEDING:
            self._cancel(invite)
        elif invite.state is State.CALLING:
            invite.step(Input.ABANDON, self.signalling.now.monotonic)

    def acknowledge(self, sdp: bytes) -> None:
        """Also an answer that came with the caller's ACK, when its PRACK had not been asked for it yet."""
        if self._hold_ack:
            super().acknowledge(sdp)
        elif sdp:
            self.answer_early(sdp)

    def answer_early(self, sdp: bytes) -> None:
        """The caller's answer to the offers in reliable provisional answers: into their PRACKs."""
        self._prack_answer = sdp
        for early in (self._early or {}).values():
            if early.waiting and self.state is not LegState.OVER:
                rack, early.waiting = early.waiting, ""
                self._prack(early, rack, sdp)

    def refuse_update(self, status: int) -> None:
        """Also of what only we had asked the caller for: its answer to the offer that waits for an ACK."""
        if self._pending is None and self._hold_ack:
            self.acknowledge(b"")
            self.call.heard(self, AnswerUnusable())
        else:
            super().refuse_update(status)

    def answer_update(self, sdp: bytes) -> None:
        """Also the caller's answer to what only we had asked it for: news to the callee where it says something new."""
        if self._pending is not None or self.state is LegState.OVER:
            super().answer_update(sdp)
        elif self._hold_ack:
            self.acknowledge(sdp)
        elif not self.session.holds(sdp):
            self.owed = sdp
            self.offer_owed()

    def on_response(self, transaction: ClientTransaction, response: Response) -> None:
        """Answers to the INVITE; the rest as in every leg."""
        if transaction is not self._invite:
            super().on_response(transaction, response)
            return
        status = response.status
        if status < 200:
            self._on_provisional(transaction, response)
        elif status < 300:
            self._on_success(response)
        elif status == 422 and self._asks_for_longer(response):
            return
        elif self.state is LegState.SETUP:
            self._settle()
            self._gone()
            retry_after = (response.get("retry-after") or "").partition(";")[0].partition("(")[0].strip()
            seconds = (
                int(retry_after) if retry_after.isascii() and retry_after.isdigit() and len(retry_after) < 10 else 0
            )
            self.call.heard(self, Refused(status, parse_q850(response.get("reason") or ""), seconds))
        else:
            self._gone()  # 487 to our CANCEL, or a failure that crossed it

    def on_failed(self, transaction: ClientTransaction | ServerTransaction) -> None:
        """No final answer to the INVITE: as if the far end had said 408 (§8.1.3.1)."""
        if transaction is not self._invite:
            super().on_failed(transaction)
            return
        waiting = self.state is LegState.SETUP
        self._settle()
        self._gone()
        if waiting:
            self.call.heard(self, Refused(503 if transaction.unreachable else 408, 0, 0, lost=True))

    # provisional answers

    def _on_provisional(self, transaction: ClientTransaction, response: Response) -> None:
        if self.state is LegState.OVER:
            self._cancel(transaction)  # given up before the far end had said anything
            return
        if self.state is not LegState.SETUP:
            return
        status = response.status
        if status == 100:
            self.call.heard(self, Trying())
            return
        self.note_allow(response)
        early: EarlyDialog | None = None
        rseq = 0
        if self._reliable != NEVER and "rseq" in response.first:
            rseq = parse_rseq(response.first["rseq"])
            early = self._early_dialog(response) if rseq else None
            if early is not None and not early.in_turn(rseq):
                return  # RFC 3262 §4: a repetition (the PRACK is on its way), or one that came too soon
        try:
            sdp = session_description(response)
        except ParseError:
            sdp = b""  # early media is a courtesy; the answer will be looked at again
        if early is not None:
            sdp = self._confirm(early, f"{rseq} {response.cseq} INVITE", sdp)
        elif not self._offered or (self._early is not None and response.to_tag in self._early):
            sdp = b""  # no offer unless reliable; and no second answer where the first was
        if status == EARLY_DIALOG_TERMINATED:
            self.call.heard(self, Trying())
            return
        if sdp:
            self._shown = response.to_tag
            if early is not None:
                self.dialog = early.dialog
        self.call.heard(self, Progress(status, sdp))

    def _early_dialog(self, response: Response) -> EarlyDialog | None:
        """The early dialog of a reliable provisional answer; None where there are too many."""
        if self._early is None:
            self._early = {}
        early = self._early.get(response.to_tag)
        if early is None and len(self._early) < MOST_EARLY_DIALOGS:
            early = self._early[response.to_tag] = EarlyDialog(self._fork_dialog(response))
        return early

    def _confirm(self, early: EarlyDialog, rack: str, sdp: bytes) -> bytes:
        """PRACK it, at once or when the caller has answered the offer in it. Returns the description that is news."""
        if early.sdp:
            sdp = b""  # RFC 6337 §3.1: only the first one counts
        early.sdp = early.sdp or sdp
        if not sdp or self._offered:
            self._prack(early, rack, b"")
        elif self._prack_answer:
            self._prack(early, rack, self._prack_answer)  # another phone's offer was answered before
        else:
            early.waiting = rack
        return sdp

    def _prack(self, early: EarlyDialog, rack: str, sdp: bytes) -> None:
        body = self.session.present(sdp, self._host())
        self._request("PRACK", (f"RAck: {rack}",), SDP, body, early.dialog)

    def _replaced(self, transaction: ClientTransaction, again: ClientTransaction) -> None:
        if transaction is self._invite:
            self._invite = again
        else:
            super()._replaced(transaction, again)

    def _early_obstacle(self) -> int:
        early = self._early.get(self.dialog.remote_tag) if self._early is not None else None
        if early is None or not early.sdp:
            return 491 if self._offered else 500
        return 500 if early.waiting else 0

    def _ask(self, method: str, sdp: bytes) -> None:
        self._asked_tag = self.dialog.remote_tag
        super()._ask(method, sdp)

    def _retarget(self, message: Message) -> None:
        """In the early dialog that it came in."""
        tag = message.to_tag if isinstance(message, Response) else message.from_tag
        kept, self.dialog = self.dialog, self._dialog_with(tag)
        try:
            super()._retarget(message)
        finally:
            self.dialog = kept

    def _dialog_with(self, tag: str) -> Dialog:
        early = self._early.get(tag) if self._early is not None and not self._won else None
        return early.dialog if early is not None else self.dialog

    def _take(self, transaction: ServerTransaction, request: Request) -> None:
        if self.state is LegState.SETUP:
            self.dialog = self._dialog_with(request.from_tag)  # whoever speaks is the one the caller hears
            if not self.dialog.remote_tag:
                self.dialog.remote_cseq = -1  # it stands for every phone of a fork, and each has numbers of its own
        super()._take(transaction, request)

    # the final answer

    def _on_success(self, response: Response) -> None:
        if self._won:
            if response.to_tag != self.dialog.remote_tag:
                self._drop_fork(response)
            elif not self._hold_ack:
                self._acknowledge_again(response)
            return
        self._won = True
        early = self._early.get(response.to_tag) if self._early is not None else None
        if early is not None:
            self.dialog = early.dialog
        elif self._early is not None:
            self.dialog = self._fork_dialog(response)
        dialog = self.dialog
        try:
            dialog.answered(response)
            dialog.target = dialog.target or self._uri
            dialog.request_uri()  # whether the routes can be read
            sdp = early.sdp if early is not None and early.sdp else session_description(response)
        except ParseError as error:
            self._refuse_answer(response, error)
            return
        if self.state is LegState.OVER:  # the 2xx crossed our CANCEL, or came late
            self._send_ack(response.cseq, b"")
            self.bye = self._request("BYE")
            return
        self.state = LegState.UP
        self._invitation = None
        self.note_allow(response)
        self._start_timer(response)
        if self._asked is not None and self._asked_tag != dialog.remote_tag:
            self._asked, self._asked_owed = None, False  # that phone has lost: its answer means nothing any more
            self.session.refused = True
            self.call.heard(self, UpdateRefused(504))
        settled = False
        if early is not None and early.sdp:
            self._offered = True  # the ACK has nothing to say any more
            settled = self._shown == response.to_tag
            if not early.waiting and self._early is not None:
                del self._early[response.to_tag]  # the others may still answer
        if self._offered:
            self._send_ack(response.cseq, b"")
        else:
            self._hold_ack = response.cseq
        self.call.heard(self, Answered(sdp, settled))

    def _asks_for_longer(self, response: Response) -> bool:
        """422: the INVITE once more, with the session interval that the far end wants (RFC 4028 §7.3)."""
        if self.state is not LegState.SETUP or self.terms is None or self._invitation is None:
            return False
        terms = raised(response, self.terms)
        if terms is None or self._intervals >= TRIES:
            return False
        self._intervals += 1
        self.terms = terms
        self.invite(*self._invitation)
        return True

    def _refuse_answer(self, response: Response, error: ParseError) -> None:
        """A 2xx that we cannot use is confirmed and ended at once; for the call it is a failure of the route."""
        dialog = self.dialog
        dialog.remote_value = response.to_value
        dialog.remote_tag = response.to_tag
        dialog.routes = ()
        dialog.target = dialog.target or self._uri
        waiting = self.state is LegState.SETUP
        self._settle()
        self._send_ack(response.cseq, b"")
        self.bye = self._request("BYE")
        if waiting:
            self.call.heard(self, Refused(502 if error.status == 400 else 488, 0, 0))

    def _fork_dialog(self, response: Response) -> Dialog:
        """The dialog of one To tag, with its own route set (§12.1.2, §13.2.2.4)."""
        assert self._invite is not None
        base = self.dialog
        fork = Dialog(base.call_id, base.local_value, base.local_tag, self._invite.flow)
        fork.target = self._uri
        fork.local_cseq = response.cseq
        try:
            fork.answered(response)
            fork.request_uri()
        except ParseError:
            fork.remote_value = response.to_value
            fork.remote_tag = response.to_tag
            fork.routes = ()
        self._said(fork.remote_value, fork.target, *fork.routes)
        return fork

    def _drop_fork(self, response: Response) -> None:
        """A second 2xx of a fork: its own dialog, confirmed and ended (§13.2.2.4)."""
        fork = self._fork_dialog(response)
        early = self._early.get(response.to_tag) if self._early is not None else None
        if early is not None:
            fork.local_cseq = early.dialog.local_cseq  # its PRACKs have numbers too
        kept, self.dialog = self.dialog, fork
        kept_ack = self._last_ack
        self._send_ack(response.cseq, b"")
        if response.to_tag not in self._forks:
            self._forks = (*self._forks, response.to_tag)
            self._request("BYE")
        self.dialog, self._last_ack = kept, kept_ack

    def _on_bye(self, transaction: ServerTransaction, request: Request) -> None:
        """BYE before the answer, which §15 forbids the callee: a refusal all the same."""
        if self.state is LegState.SETUP:
            self._respond(transaction, 200)
            self.call.heard(self, Refused(480, parse_q850(request.get("reason") or ""), 0))
        else:
            super()._on_bye(transaction, request)

    def _glare_wait(self) -> float:
        """§14.1: we own this leg's Call-ID: 2.1 to 4 seconds in steps of 10 ms."""
        return 2.1 + int(self.signalling.endpoint.token()[:6], 16) % 191 / 100

    def _cancel(self, invite: ClientTransaction) -> None:
        if not self._cancelled:
            self._cancelled = True
            reason = f"Reason: {self.cancel_reason}" if self.cancel_reason else ""
            self.signalling.endpoint.cancel(invite, self.signalling.now.monotonic, reason)
