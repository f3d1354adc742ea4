"""The callee's side: we send the INVITE to one route (RFC 3261 §13.2). A failover makes a new leg."""

from b2bua.call.events import Answered, Progress, Refused, Trying
from b2bua.call.leg import SDP, CallControl, Leg, LegState, Signalling
from b2bua.call.privacy import Invitation
from b2bua.call.session import session_description
from b2bua.sip.dialog import Dialog
from b2bua.sip.errors import ParseError
from b2bua.sip.headers import parse_q850
from b2bua.sip.message import Request, Response
from b2bua.sip.transaction import ClientTransaction, Flow, Input, ServerTransaction, State

__all__ = ["CalleeLeg"]


class CalleeLeg(Leg):
    """One attempt over one route."""

    __slots__ = ("_cancelled", "_forks", "_invite", "_offered", "_uri", "route_name")

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
        self._offered = False
        self._cancelled = False
        self._forks: tuple[str, ...] = ()  # To tags of further 2xx, each ended once

    def invite(self, invitation: Invitation, offer: bytes, max_forwards: int) -> None:
        """Send the INVITE; an empty offer asks the callee for one."""
        dialog = self.dialog
        self._offered = bool(offer)
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
            extra=invitation.extra,
            content_type=SDP,
            body=self.session.present(offer, self._host()),
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
        invite = self._invite
        if invite is None or not invite.alive:
            self._gone()
        elif invite.state is State.PROCEEDING:
            self._cancel(invite)
        elif invite.state is State.CALLING:
            invite.step(Input.ABANDON, self.signalling.now.monotonic)

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
        elif self.state is LegState.SETUP:
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
        self._gone()
        if waiting:
            self.call.heard(self, Refused(408, 0, 0))

    def _on_provisional(self, transaction: ClientTransaction, response: Response) -> None:
        if self.state is LegState.OVER:
            self._cancel(transaction)  # given up before the far end had said anything
        elif self.state is LegState.SETUP:
            if response.status == 100:
                self.call.heard(self, Trying())
                return
            try:
                sdp = session_description(response)
            except ParseError:
                sdp = b""  # early media is a courtesy; the answer will be looked at again
            self.call.heard(self, Progress(response.status, sdp))

    def _on_success(self, response: Response) -> None:
        dialog = self.dialog
        if dialog.target:
            if response.to_tag == dialog.remote_tag:
                if not self._hold_ack:
                    self._acknowledge_again(response)
            else:
                self._drop_fork(response)
            return
        try:
            dialog.answered(response)
            dialog.target = dialog.target or self._uri
            dialog.request_uri()  # whether the routes can be read
            sdp = session_description(response)
        except ParseError as error:
            self._refuse_answer(response, error)
            return
        if self.state is LegState.OVER:  # the 2xx crossed our CANCEL, or came late
            self._send_ack(response.cseq, b"")
            self.bye = self._request("BYE")
            return
        self.state = LegState.UP
        if self._offered:
            self._send_ack(response.cseq, b"")
        else:
            self._hold_ack = response.cseq
        self.call.heard(self, Answered(sdp))

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

    def _drop_fork(self, response: Response) -> None:
        """A second 2xx of a fork: its own dialog, confirmed and ended (§13.2.2.4)."""
        fork = Dialog(self.dialog.call_id, self.dialog.local_value, self.dialog.local_tag, self.dialog.flow)
        fork.target = self._uri
        fork.local_cseq = response.cseq
        try:
            fork.answered(response)
            fork.request_uri()
        except ParseError:
            fork.remote_value = response.to_value
            fork.routes = ()
        self._said(fork.remote_value, fork.target, *fork.routes)
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

    def _cancel(self, invite: ClientTransaction) -> None:
        if not self._cancelled:
            self._cancelled = True
            self.signalling.endpoint.cancel(invite, self.signalling.now.monotonic)
