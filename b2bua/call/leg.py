"""One side of a call: a dialog with one peer, translated to and from call events.

This file holds what both sides do in a dialog whatever its session: BYE, INFO and the care for a 2xx until its ACK.
Another session is in renegotiation.py; how a dialog comes about is in caller.py and callee.py.
"""

from enum import IntEnum
from typing import NamedTuple, Protocol

from b2bua.call.credentials import Account, echoes
from b2bua.call.events import (
    Acked,
    AckMissing,
    AnswerUnusable,
    Ended,
    Info,
    InfoAnswered,
    LegEvent,
)
from b2bua.call.refusals import relayed_status
from b2bua.call.session import Session, session_description
from b2bua.call.session_timer import SessionTimers
from b2bua.sip.dialog import Dialog
from b2bua.sip.dtmf import DTMF_TYPES, clean_dtmf
from b2bua.sip.endpoint import Endpoint
from b2bua.sip.errors import ParseError
from b2bua.sip.headers import parse_q850
from b2bua.sip.message import Message, Request, Response
from b2bua.sip.timers import Timer
from b2bua.sip.transaction import ClientTransaction, Flow, ServerTransaction

__all__ = ["ACCEPT", "ALLOW", "SDP", "SUPPORTED", "CallControl", "Leg", "LegState", "Now", "Signalling", "cause_line"]

SDP = "application/sdp"
ALLOW = "Allow: INVITE, ACK, CANCEL, BYE, INFO, OPTIONS, PRACK, UPDATE"
SUPPORTED = "Supported: 100rel"
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

    __slots__ = ("agent", "endpoint", "legs", "now", "session_timers")

    def __init__(self, endpoint: Endpoint, product: str, session_timers: SessionTimers) -> None:
        self.endpoint = endpoint
        self.session_timers = session_timers
        self.agent = product
        self.legs: dict[str, Leg] = {}
        self.now = Now(0.0, 0)

    def sent_by(self, flow: Flow) -> str:
        """Our host:port as the peer on this flow knows it."""
        return self.endpoint.advertised[flow.listener]

    def answer(self, transaction: ServerTransaction, status: int, lines: tuple[str, ...] = ()) -> None:
        """Answer a request that no leg answers."""
        self.endpoint.respond(transaction, status, self.now.monotonic, extra=lines)


class Leg(Timer):
    """Base of CallerLeg and CalleeLeg; its timer repeats the 2xx that we sent until the ACK comes (RFC 3261 §13.3.1.4).

    ``forbidden`` holds the digits that must never leave on this leg; ``own`` the texts that the peer itself gave us,
    which may hold any digits without telling it anything new. ``account``: our credentials at the peer's trunk.
    """

    __slots__ = (
        "_answer",
        "_answer_cseq",
        "_answer_offered",
        "_credentials",
        "_give_up_at",
        "_hold_ack",
        "_infos",
        "_interval",
        "_last_ack",
        "_late_cause",
        "account",
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
        self.account: Account | None = None  # who we are, should this peer ask
        self._credentials: tuple[str, ...] = ()  # header lines of our last INVITE, for its ACK (§22.1)
        self._answer: tuple[bytes, ServerTransaction] | None = None  # our 2xx while it waits for its ACK
        self._answer_cseq = 0
        self._answer_offered = False  # our 2xx held an offer, so the ACK holds the answer
        self._interval = 0.0
        self._give_up_at = 0.0
        self._late_cause = 0  # of the BYE that waits for the ACK of our 2xx
        self._hold_ack = 0  # CSeq of a 2xx whose ACK waits for the answer from the other side
        self._last_ack: tuple[int, bytes] = (0, b"")  # CSeq and wire form: a 2xx that comes again gets the same ACK
        self._infos: dict[int, ServerTransaction] | None = None
        signalling.legs[dialog.local_tag] = self

    # what the bridge asks for

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
        dialog = self._dialog_with(request.from_tag)
        if request.call_id != dialog.call_id or (dialog.remote_tag and request.from_tag != dialog.remote_tag):
            self._respond(transaction, 481)
        elif request.cseq <= dialog.remote_cseq:
            self._respond(transaction, 500)  # out of order
        else:
            dialog.remote_cseq = request.cseq
            self._take(transaction, request)

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
        usable = True
        if self._answer_offered and request.body:
            try:
                sdp = session_description(request)
            except ParseError:
                usable = False
        self._confirmed(sdp)
        if not usable:
            self.call.heard(self, AnswerUnusable())

    def on_cancel(self, transaction: ServerTransaction, request: Request) -> None:
        """The peer takes back an INVITE of which nothing is left to take back."""

    def on_response(self, transaction: ClientTransaction, response: Response) -> None:
        """An answer to a request of ours in the dialog."""
        if transaction is self.bye:
            self._gone()
        elif transaction.method == "INFO":
            status = response.status
            self.call.heard(self, InfoAnswered(transaction.tag, status if status < 300 else relayed_status(status)))
            if status in (408, 481):
                self.call.heard(self, Ended(0, True))

    def on_challenge(self, transaction: ClientTransaction, response: Response) -> bool:
        """401 or 407: send the request again with our credentials (§22.2). False: it is an answer like any other."""
        account = self.account
        if account is None or (self.state is LegState.OVER and transaction.method != "BYE"):
            return False
        if transaction.method == "INVITE" and transaction.tag:
            return False  # it has been taken back
        challenges = account.take(transaction, response)
        if not challenges:
            return False
        for challenge in challenges:
            self._said(*echoes(challenge))
        dialog = self._dialog_with(response.to_tag)
        known = response.to_tag == dialog.remote_tag or not dialog.remote_tag
        cseq = dialog.next_cseq() if known else response.cseq + 1
        again, lines = account.repeat(self.signalling.endpoint, transaction, cseq, self.signalling.now.monotonic)
        if again.method == "INVITE":
            self._credentials = lines
        self._replaced(transaction, again)
        return True

    def on_failed(self, transaction: ClientTransaction | ServerTransaction) -> None:
        """A request of ours was never answered, or its transport failed."""
        if transaction is self.bye:
            self._gone()
        elif isinstance(transaction, ClientTransaction) and transaction.method == "INFO":
            self.call.heard(self, InfoAnswered(transaction.tag, 408))
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

    def _replaced(self, transaction: ClientTransaction, again: ClientTransaction) -> None:
        """A request of ours goes on in another transaction."""
        if transaction is self.bye:
            self.bye = again

    def _authorised(self, method: str, uri: str, extra: tuple[str, ...], body: bytes) -> tuple[str, ...]:
        """Header lines with the credentials that the peer has asked for before."""
        if self.account is None:
            return extra
        lines = self.account.lines(method, uri, body)
        if method == "INVITE":
            self._credentials = lines
        return (*extra, *lines)

    def _dialog_with(self, tag: str) -> Dialog:
        """The dialog in which the peer with this tag speaks."""
        return self.dialog

    def _take(self, transaction: ServerTransaction, request: Request) -> None:
        """A request in its right order: BYE and INFO; renegotiation.py knows the others."""
        if request.method == "BYE":
            self._on_bye(transaction, request)
        elif self.state is LegState.UP:
            self._on_info(transaction, request)
        else:
            self._respond(transaction, 481 if self.state is LegState.OVER else 500)

    def _confirmed(self, sdp: bytes) -> None:
        """The ACK of our 2xx has come, with the answer where the 2xx held an offer."""
        self.call.heard(self, Acked(sdp))

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

    def _accept(self, transaction: ServerTransaction, sdp: bytes, offered: bool) -> None:
        """Send the 2xx of an INVITE and care for it until its ACK."""
        endpoint = self.signalling.endpoint
        now = self.signalling.now.monotonic
        body = self.session.present(sdp, self._host())
        about = (self._contact_line(), ALLOW, SUPPORTED, f"Server: {self.signalling.agent}")
        extra = (*about, *self._answer_lines("INVITE"))
        wire = endpoint.respond(transaction, 200, now, extra=extra, content_type=SDP, body=body)
        if not wire:
            return  # stopped at the tripwire; the call is about to be released
        self._answer = (wire, transaction)
        self._answer_offered = offered
        self._interval = endpoint.values.t1
        self._give_up_at = now + endpoint.values.timeout
        endpoint.timers.set(self, now + self._interval, now)

    def _answer_lines(self, method: str) -> tuple[str, ...]:
        """Further header lines of our 2xx to a request that concerns the session."""
        return ()

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
            extra=self._credentials,
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
        self,
        method: str,
        extra: tuple[str, ...] = (),
        content_type: str = "",
        body: bytes = b"",
        dialog: Dialog | None = None,
    ) -> ClientTransaction:
        """Send a request in the dialog, or in another one of this leg."""
        if dialog is None:
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
            extra=self._authorised(method, uri, (*extra, f"User-Agent: {self.signalling.agent}"), body),
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
