"""One side of a call: a dialog with one peer, translated to and from call events.

This file holds what both sides do once a dialog stands: BYE, re-INVITE, INFO and the care for a 2xx until its ACK.
How a dialog comes about is in caller.py and callee.py.
"""

from enum import IntEnum
from typing import NamedTuple, Protocol

from b2bua.call.events import (
    Acked,
    AckMissing,
    Cancelled,
    Ended,
    Info,
    InfoAnswered,
    LegEvent,
    UpdateAnswered,
    Updated,
    UpdateRefused,
)
from b2bua.call.refusals import relayed_status
from b2bua.call.session import Session, session_description
from b2bua.sip.dialog import Dialog
from b2bua.sip.dtmf import DTMF_TYPES, clean_dtmf
from b2bua.sip.endpoint import Endpoint
from b2bua.sip.errors import ParseError
from b2bua.sip.headers import parse_q850
from b2bua.sip.message import Message, Request, Response
from b2bua.sip.timers import Timer
from b2bua.sip.transaction import ClientTransaction, Flow, Input, ServerTransaction, State

__all__ = ["ALLOW", "SDP", "CallControl", "Leg", "LegState", "Now", "Signalling", "cause_line"]

SDP = "application/sdp"
# tags of a re-INVITE that is to be cancelled as soon as the peer has said anything, and of one that was
CANCEL_WANTED, CANCELLED = 1, 2
UPDATE_REFUSALS = frozenset((415, 487, 488, 491, 606))  # what the peer says of a re-INVITE that the other side may hear
ALLOW = "Allow: INVITE, ACK, CANCEL, BYE, INFO, OPTIONS"
ACCEPT = "Accept: application/sdp"
ACCEPT_DTMF = f"Accept: {', '.join(sorted(DTMF_TYPES))}"


class Now(NamedTuple):
    """One clock reading: monotonic seconds for timers and durations, UTC milliseconds for records."""

    monotonic: float
    utc_ms: int


class LegState(IntEnum):
    """SETUP until the 2xx, UP until either side ends, OVER while the last messages settle."""

    SETUP = 0
    UP = 1
    OVER = 2


class CallControl(Protocol):
    """Who a leg reports to: the call."""

    def heard(self, leg: "Leg", event: LegEvent) -> None: ...


class Signalling:
    """What all legs share: the endpoint, the table of dialogs by our own tag, and the time of the present step."""

    __slots__ = ("agent", "endpoint", "legs", "now", "tripped")

    def __init__(self, endpoint: Endpoint, product: str) -> None:
        self.endpoint = endpoint
        self.agent = product
        self.legs: dict[str, Leg] = {}
        self.now = Now(0.0, 0)
        self.tripped: list[Leg] = []

    def sent_by(self, flow: Flow) -> str:
        """Our host:port as the peer on this flow knows it."""
        return self.endpoint.advertised[flow.listener]


class Leg(Timer):
    """Base of CallerLeg and CalleeLeg; its timer repeats the 2xx that we sent until the ACK comes (RFC 3261 §13.3.1.4).

    ``forbidden`` holds the digits that must never leave on this leg; ``own`` the texts that the peer itself gave us,
    which may hold any digits without telling it anything new.
    """

    __slots__ = (
        "_answer",
        "_answer_cseq",
        "_answer_offered",
        "_give_up_at",
        "_hold_ack",
        "_infos",
        "_interval",
        "_last_ack",
        "_late_cause",
        "_pending",
        "_reinvite",
        "_reinvite_offered",
        "bye",
        "call",
        "contact",
        "dialog",
        "forbidden",
        "own",
        "session",
        "signalling",
        "state",
    )

    def __init__(self, signalling: Signalling, call: CallControl, dialog: Dialog, contact: str) -> None:
        super().__init__()
        self.signalling = signalling
        self.call = call
        self.dialog = dialog
        self.contact = contact
        self.state = LegState.SETUP
        self.forbidden = b""
        self.own: tuple[str, ...] = ()
        self.session = Session(signalling.endpoint.token)
        self.bye: ClientTransaction | None = None
        self._answer: tuple[bytes, ServerTransaction] | None = None  # our 2xx while it waits for its ACK
        self._answer_cseq = 0
        self._answer_offered = False  # our 2xx held an offer, so the ACK holds the answer
        self._interval = 0.0
        self._give_up_at = 0.0
        self._late_cause = 0  # of the BYE that waits for the ACK of our 2xx
        self._pending: ServerTransaction | None = None  # the peer's re-INVITE while the other side thinks
        self._reinvite: ClientTransaction | None = None  # our re-INVITE while the peer thinks
        self._reinvite_offered = False
        self._hold_ack = 0  # CSeq of a 2xx whose ACK waits for the answer from the other side
        self._last_ack: tuple[int, bytes] = (0, b"")  # CSeq and wire form: a 2xx that comes again gets the same ACK
        self._infos: dict[int, ServerTransaction] | None = None
        signalling.legs[dialog.local_tag] = self

    # what the bridge asks for

    def update(self, sdp: bytes) -> None:
        """Offer the peer another session; answered by UpdateAnswered or UpdateRefused."""
        if self.state is not LegState.UP or self._reinvite or self._pending or self._answer or self._hold_ack:
            self.call.heard(self, UpdateRefused(491))
            return
        self._reinvite_offered = bool(sdp)
        self._reinvite = self._request(
            "INVITE", (self._contact_line(), ALLOW), SDP, self.session.present(sdp, self._host())
        )

    def answer_update(self, sdp: bytes) -> None:
        """The other side agreed to the peer's re-INVITE."""
        transaction, self._pending = self._pending, None
        if transaction is not None and transaction.alive and self.state is LegState.UP:
            self._accept(transaction, sdp, offered=self._answer_offered)

    def refuse_update(self, status: int) -> None:
        """The other side did not agree; the session stays as it was."""
        transaction, self._pending = self._pending, None
        if transaction is not None and transaction.alive:
            self._respond(transaction, status)

    def cancel_update(self) -> None:
        """The other side takes its re-INVITE back; what the peer says to that is the answer."""
        reinvite = self._reinvite
        if reinvite is None or reinvite.tag:
            return
        if reinvite.state is State.PROCEEDING:
            reinvite.tag = CANCELLED
            self.signalling.endpoint.cancel(reinvite, self.signalling.now.monotonic)
        else:
            reinvite.tag = CANCEL_WANTED  # §9.1: not before the peer has said anything

    def acknowledge(self, sdp: bytes) -> None:
        """The other side confirmed: send the ACK that waited for its answer."""
        if self._hold_ack:
            cseq, self._hold_ack = self._hold_ack, 0
            self._send_ack(cseq, self.session.present(sdp, self._host()))

    def send_info(self, info: Info) -> None:
        """Pass keypad digits on."""
        if self.state is not LegState.UP:
            self.call.heard(self, InfoAnswered(info.number, 481))
            return
        transaction = self._request("INFO", (), info.content_type, info.body)
        transaction.tag = info.number

    def answer_info(self, number: int, status: int) -> None:
        """The other side's word on digits that came from here."""
        transaction = self._infos.pop(number, None) if self._infos else None
        if transaction is not None and transaction.alive:
            self._respond(transaction, status)

    def end(self, q850: int, status: int, retry_after: int, text: str) -> None:
        """Take this side of the call down, whatever state it is in. ``status`` serves a caller who has no answer
        yet."""
        if self.state is LegState.UP:
            self._hang_up(q850)

    def peer_texts(self) -> tuple[str, ...]:
        """Everything on this leg that the peer itself said, or that is its own number or the middle number.

        Not what our builders made: that is what the tripwire is there to look at.
        """
        dialog = self.dialog
        said = (dialog.remote_value, dialog.target, *dialog.routes) if dialog.remote_tag else ()
        return (*self.own, *said)

    # what the switch feeds in

    def on_request(self, transaction: ServerTransaction, request: Request) -> None:
        """A request inside the dialog (§12.2.2)."""
        transaction.owner = self
        dialog = self.dialog
        if request.call_id != dialog.call_id or (dialog.remote_tag and request.from_tag != dialog.remote_tag):
            self._respond(transaction, 481)
            return
        if request.cseq <= dialog.remote_cseq:
            self._respond(transaction, 500)  # out of order
            return
        dialog.remote_cseq = request.cseq
        method = request.method
        if method == "BYE":
            self._on_bye(transaction, request)
        elif self.state is not LegState.UP:
            self._respond(transaction, 481 if self.state is LegState.OVER else 491 if method == "INVITE" else 500)
        elif method == "INVITE":
            self._on_reinvite(transaction, request)
        else:
            self._on_info(transaction, request)

    def on_ack(self, request: Request) -> None:
        """The ACK of our 2xx."""
        if self._answer is None or request.cseq != self._answer_cseq or request.call_id != self.dialog.call_id:
            return
        self._answer = None
        self.signalling.endpoint.timers.cancel(self)
        if self.state is LegState.OVER:
            self._say_bye(self._late_cause)
            return
        sdp = b""
        if self._answer_offered and request.body:
            try:
                sdp = session_description(request)
            except ParseError:
                sdp = b""  # an unusable answer: the far side keeps what it had
        self.call.heard(self, Acked(sdp))

    def on_cancel(self, transaction: ServerTransaction, request: Request) -> None:
        """The peer takes its re-INVITE back: whether it still can is for the other side to say."""
        if transaction is self._pending:
            self.call.heard(self, Cancelled(0))

    def on_response(self, transaction: ClientTransaction, response: Response) -> None:
        """An answer to a request of ours in the dialog."""
        method = transaction.method
        if method == "INVITE":
            self._on_reinvite_answer(transaction, response)
        elif transaction is self.bye:
            self._gone()
        elif method == "INFO":
            status = response.status
            self.call.heard(self, InfoAnswered(transaction.tag, status if status < 300 else relayed_status(status)))
            if status in (408, 481):
                self.call.heard(self, Ended(0, True))

    def on_failed(self, transaction: ClientTransaction | ServerTransaction) -> None:
        """A request of ours was never answered, or its transport failed."""
        if not isinstance(transaction, ClientTransaction):
            if transaction is self._pending:
                self.call.heard(self, Ended(0, True))  # a re-INVITE that the other side left ringing for an hour
        elif transaction is self.bye:
            self._gone()
        elif transaction.method == "INFO":
            self.call.heard(self, InfoAnswered(transaction.tag, 408))
            self.call.heard(self, Ended(0, True))
        elif transaction is self._reinvite:
            self._reinvite = None
            self.call.heard(self, UpdateRefused(408))
            self.call.heard(self, Ended(0, True))

    def fire(self, now: float) -> None:
        """The 2xx once more, or the end of patience."""
        if self._answer is None:
            return
        if now >= self._give_up_at:
            self._answer = None
            if self.state is LegState.OVER:
                self._say_bye(self._late_cause)
            else:
                self.call.heard(self, AckMissing())
            return
        endpoint = self.signalling.endpoint
        wire, transaction = self._answer
        endpoint.transmit(wire, transaction.flow, transaction, True)
        self._interval = min(2 * self._interval, endpoint.values.t2)
        endpoint.timers.set(self, min(now + self._interval, self._give_up_at), now)

    # parts

    def _on_bye(self, transaction: ServerTransaction, request: Request) -> None:
        self._respond(transaction, 200)
        if self.bye is not None:
            return  # both hung up at once
        cause = parse_q850(request.get("reason") or "")
        was_over = self.state is LegState.OVER
        self._settle()
        self._gone()
        if not was_over:
            self.call.heard(self, Ended(cause, False))

    def _on_reinvite(self, transaction: ServerTransaction, request: Request) -> None:
        if self._pending is not None or self._answer is not None:
            # §14.2: one at a time; 0 to 10 seconds, ours is drawn from the token so that it is not always the same
            wait = int(self.signalling.endpoint.token()[:4], 16) % 11
            self._respond(transaction, 500, (f"Retry-After: {wait}",))
            return
        if self._reinvite is not None:
            self._respond(transaction, 491)
            return
        try:
            sdp = session_description(request)
            self._retarget(request)
        except ParseError as error:
            self._respond(transaction, error.status, (ACCEPT,) if error.status == 415 else ())
            return
        self._pending = transaction
        self._answer_cseq = request.cseq
        self._answer_offered = not sdp
        self._respond(transaction, 100)
        self.call.heard(self, Updated(sdp))

    def _on_info(self, transaction: ServerTransaction, request: Request) -> None:
        content_type = (request.get("content-type") or "").partition(";")[0].strip().lower()
        if not request.body:
            self._respond(transaction, 200)  # RFC 6086 §4.2.2: an INFO without anything in it is a probe
            return
        body = clean_dtmf(content_type, request.body)
        if body is None:
            self._respond(transaction, 400 if content_type in DTMF_TYPES else 415, (ACCEPT_DTMF,))
            return
        if self._infos is None:
            self._infos = {}
        self._infos[request.cseq] = transaction
        self.call.heard(self, Info(request.cseq, content_type, body))

    def _on_reinvite_answer(self, transaction: ClientTransaction, response: Response) -> None:
        status = response.status
        if status < 200:
            if transaction.tag == CANCEL_WANTED and transaction is self._reinvite:
                transaction.tag = CANCELLED
                self.signalling.endpoint.cancel(transaction, self.signalling.now.monotonic)
            return
        if transaction is not self._reinvite:
            if status < 300 and not self._hold_ack:
                self._acknowledge_again(response)
            return
        self._reinvite = None
        if status >= 300:
            told = status if status in UPDATE_REFUSALS else 500 if status < 600 else 603
            self.call.heard(self, UpdateRefused(told))
            if status in (408, 481):
                self.call.heard(self, Ended(0, True))  # §12.2.1.2: the dialog is gone
            return
        try:
            self._retarget(response)
            sdp = session_description(response)
        except ParseError:
            self._send_ack(response.cseq, b"")
            self.call.heard(self, UpdateRefused(488))
            return
        if self._reinvite_offered or self.state is not LegState.UP:
            self._send_ack(response.cseq, b"")
        else:
            self._hold_ack = response.cseq
        self.call.heard(self, UpdateAnswered(sdp))

    def _accept(self, transaction: ServerTransaction, sdp: bytes, offered: bool) -> None:
        """Send the 2xx of an INVITE and care for it until its ACK."""
        endpoint = self.signalling.endpoint
        now = self.signalling.now.monotonic
        body = self.session.present(sdp, self._host())
        extra = (self._contact_line(), ALLOW, f"Server: {self.signalling.agent}")
        wire = endpoint.respond(transaction, 200, now, extra=extra, content_type=SDP, body=body)
        if not wire:
            return  # stopped at the tripwire; the call is about to be released
        self._answer = (wire, transaction)
        self._answer_offered = offered
        self._interval = endpoint.values.t1
        self._give_up_at = now + endpoint.values.timeout
        endpoint.timers.set(self, now + self._interval, now)

    def _send_ack(self, cseq: int, body: bytes) -> None:
        dialog = self.dialog
        uri, routes = dialog.request_uri()
        wire = self.signalling.endpoint.acknowledge(
            uri,
            dialog.flow,
            dialog.local_value,
            dialog.remote_value,
            dialog.call_id,
            cseq,
            owner=self,
            routes=routes,
            content_type=SDP,
            body=body,
        )
        self._last_ack = (cseq, wire)

    def _acknowledge_again(self, response: Response) -> None:
        """A 2xx that comes again gets its ACK again (§13.2.2.4)."""
        cseq, wire = self._last_ack
        if cseq == response.cseq:
            self.signalling.endpoint.transmit(wire, self.dialog.flow, self, True)

    def _request(
        self, method: str, extra: tuple[str, ...] = (), content_type: str = "", body: bytes = b""
    ) -> ClientTransaction:
        dialog = self.dialog
        uri, routes = dialog.request_uri()
        return self.signalling.endpoint.request(
            method,
            uri,
            dialog.flow,
            dialog.local_value,
            dialog.remote_value,
            dialog.call_id,
            dialog.next_cseq(),
            self.signalling.now.monotonic,
            owner=self,
            routes=routes,
            extra=(*extra, f"User-Agent: {self.signalling.agent}"),
            content_type=content_type,
            body=body,
        )

    def _respond(self, transaction: ServerTransaction, status: int, extra: tuple[str, ...] = ()) -> None:
        self.signalling.endpoint.respond(transaction, status, self.signalling.now.monotonic, extra=extra)

    def _hang_up(self, q850: int) -> None:
        unconfirmed, due = self._answer, self.deadline
        self._settle()
        if self._hold_ack:
            self.acknowledge(b"")  # §15.1.1: no BYE before the ACK
        if unconfirmed is not None:
            # §15: nor before the ACK of our own 2xx, which goes on being repeated until then
            self._answer, self._late_cause = unconfirmed, q850
            self.signalling.endpoint.timers.set(self, due, self.signalling.now.monotonic)
        else:
            self._say_bye(q850)

    def _say_bye(self, q850: int) -> None:
        self.bye = self._request("BYE", (cause_line(q850),) if q850 else ())

    def _settle(self) -> None:
        """The call is over on this leg: nothing of ours waits for an ACK or an answer any more."""
        self.state = LegState.OVER
        self._answer = None
        self.signalling.endpoint.timers.cancel(self)
        transaction, self._pending = self._pending, None
        if transaction is not None and transaction.alive:
            self._respond(transaction, 487)
        if self._reinvite is not None and self._reinvite.alive:
            self._reinvite.step(Input.ABANDON, self.signalling.now.monotonic)
        for waiting in (self._infos or {}).values():
            if waiting.alive:
                self._respond(waiting, 481)
        self._infos = None

    def _gone(self) -> None:
        """The dialog is no more: requests for it get 481 from now on."""
        self.state = LegState.OVER
        self.signalling.legs.pop(self.dialog.local_tag, None)

    def _retarget(self, message: Message) -> None:
        """A new Contact of the peer (§12.2); ParseError when it is none. What it said before may be on its way
        still."""
        self._said(self.dialog.target)
        self.dialog.refresh(message)

    def _said(self, *texts: str) -> None:
        """Remember what the peer has told us that happens to hold the digits it must not learn."""
        digits = self.forbidden.decode()
        if digits:
            self.own = (*self.own, *(text for text in texts if digits in text))

    def _host(self) -> str:
        """Our address without the port, for the origin line of session descriptions."""
        return self.signalling.sent_by(self.dialog.flow).rpartition(":")[0].strip("[]")

    def _contact_line(self) -> str:
        return f"Contact: <{self.contact}>"


def cause_line(q850: int, text: str = "") -> str:
    """The Reason header of a release (RFC 3326 §2): protocol and cause, and a text only if it is ours."""
    return f'Reason: Q.850;cause={q850};text="{text}"' if text else f"Reason: Q.850;cause={q850}"
