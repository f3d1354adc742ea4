"""A user agent for the tests: calls of its own on b2bua.sip.Endpoint, with nothing of call control in it.

It keeps to RFC 3261 as a strict far end would, writes down in ``faults`` whatever the switch does that a strict far end
would object to, and in ``heard`` of each call what its user notices.
"""

from collections.abc import Callable
from enum import IntEnum

from b2bua.sip.endpoint import (
    AckReceived,
    CancelReceived,
    Endpoint,
    Event,
    RequestReceived,
    ResponseReceived,
)
from b2bua.sip.headers import parse_name_addr
from b2bua.sip.message import Message, Request, Response
from b2bua.sip.timers import TimerValues
from b2bua.sip.transaction import ClientTransaction, Flow, ServerTransaction, State
from tests.wire import SWITCH, Address, Network, tokens

__all__ = ["Phone", "PhoneCall", "Stage", "description"]

SDP = "application/sdp"
RELAY = "application/dtmf-relay"
KEY = b"Signal=5\r\nDuration=160\r\n"


def description(
    host: str, port: int = 20_000, direction: str = "sendrecv", origin: str = "192.0.2.99", version: int = 1
) -> bytes:
    """A session description with its media at ``host``."""
    return (
        f"v=0\r\no=phone 4711 {version} IN IP4 {origin}\r\ns=talk\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
        f"m=audio {port} RTP/AVP 8 0 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n"
        f"a=fmtp:101 0-15\r\na={direction}\r\n"
    ).encode()


class Stage(IntEnum):
    """How far a call is, as its phone sees it."""

    SETUP = 0
    UP = 1
    OVER = 2


class PhoneCall:
    """One dialog of a phone.

    ``heard`` lists what came from the switch: methods, statuses of INVITE, and "INFO 200" for answers to anything else.
    """

    def __init__(self, phone: "Phone", call_id: str, local_value: str, remote_value: str) -> None:
        self.phone = phone
        self.call_id = call_id
        self.local_tag = f"{phone.tag_prefix}{phone.name}tag{phone.token()}"
        self.local_value = f"{local_value};tag={self.local_tag}"
        self.remote_value = remote_value
        self.remote_tag = ""
        self.target = ""
        self.local_cseq = 0
        self.remote_cseq = -1
        self.stage = Stage.SETUP
        self.was_up = False
        self.heard: list[str] = []
        self.requests: list[Request] = []
        self.responses: list[Response] = []
        self.answer_in_prack = b""
        self._got_offer = True
        self.answer_in_ack = b""  # the last answer that an ACK brought
        self.invite: ClientTransaction | None = None  # ours, until its final answer
        self.pending: ServerTransaction | None = None  # the switch's INVITE, until our final answer
        self.on_reinvite: Callable[[PhoneCall, Request], None] = PhoneCall.accept
        self.info_status = 200
        self.on_update: Callable[[PhoneCall, ServerTransaction, Request], None] = PhoneCall.agree
        self._offered = False
        self._invited = -1  # CSeq of the INVITE that waits for our answer
        self._rseq = 0  # of our last reliable provisional answer, or of the last one that we have confirmed
        self._unconfirmed: tuple[int, bytes] | None = None  # our reliable provisional answer that waits for its PRACK
        self._described = False  # offer or answer was given in one
        self._accept_later: tuple[bytes | None] | None = None
        self._cancelled = False
        self._cancel_sent: ClientTransaction | None = None
        self._bye: ClientTransaction | None = None
        self._hang_up_later = False
        self._unacked = -1  # CSeq of our 2xx while it waits for its ACK
        self._acks: dict[int, bytes] = {}
        self._hooks: list[tuple[str, float, Callable[[], object]]] = []

    # what the user does

    def on(self, word: str, action: Callable[[], object], after: float = 0.0) -> "PhoneCall":
        """Do something, once, when ``word`` is heard."""
        self._hooks.append((word, after, action))
        return self

    def ring(self, status: int = 180, sdp: bytes = b"", reliable: bool = False) -> None:
        """A provisional answer; nothing when there is nothing to answer any more, nor while a reliable one waits."""
        if self.pending is None or not self.pending.alive or (reliable and self._unconfirmed is not None):
            return
        lines = self._contact() if status > 100 else ()
        if reliable:
            self._rseq += 1
            lines = (*lines, "Require: 100rel", f"RSeq: {self._rseq}")
        wire = self._respond(self.pending, status, lines, sdp)
        if reliable:
            self._unconfirmed = (self._rseq, sdp)
            self._described = self._described or bool(sdp)
            t1 = self.phone.endpoint.values.t1
            self._ring_again(wire, self.pending, self._rseq, t1, 64 * t1)
        self.phone.flush()

    def _ring_again(self, wire: bytes, transaction: ServerTransaction, rseq: int, interval: float, left: float) -> None:
        """RFC 3262 §3: again and again until its PRACK, then 504."""

        def again() -> None:
            if self._unconfirmed is None or self._unconfirmed[0] != rseq or transaction is not self.pending:
                return
            if left <= interval:
                self._hear("no PRACK")
                self.refuse(504)
                return
            self.phone.endpoint.transmit(wire, transaction.flow, transaction, True)
            self.phone.flush()
            self._ring_again(wire, transaction, rseq, 2 * interval, left - interval)

        self.phone.network.later(min(interval, left), again)

    def agree(self, transaction: ServerTransaction, request: Request) -> None:
        """200 to an UPDATE."""
        self._respond(transaction, 200, self._contact(), self.phone.sdp() if request.body else b"")

    def update(self, sdp: bytes | None = None) -> None:
        """UPDATE with another session, b'' for none."""
        if self.stage is Stage.OVER or not self.target:
            return
        self.request("UPDATE", *self._contact(), body=self.phone.sdp() if sdp is None else sdp)
        self.phone.flush()

    def accept(self, request: Request | None = None, sdp: bytes | None = None) -> None:
        """200 to the INVITE or re-INVITE that waits."""
        transaction, self.pending = self.pending, None
        if transaction is None or not transaction.alive:
            return
        if self._unconfirmed is not None and self._unconfirmed[1]:
            self.pending, self._accept_later = transaction, (sdp,)  # RFC 3262 §3: not before its PRACK
            return
        body = self.phone.sdp() if sdp is None else sdp
        if self.stage is Stage.SETUP and self._described:
            body = b""
        wire = self._respond(transaction, 200, self._contact(), body)
        if self.stage is Stage.SETUP:
            self.stage, self.was_up = Stage.UP, True
        self._unacked = self._invited
        self._repeat(
            wire, transaction.flow, self._unacked, self.phone.endpoint.values.t1, 64 * self.phone.endpoint.values.t1
        )
        self.phone.flush()

    def refuse(self, status: int, *lines: str) -> None:
        """A final answer that is no 2xx to the INVITE or re-INVITE that waits."""
        transaction, self.pending = self.pending, None
        if transaction is None or not transaction.alive:
            return
        self._respond(transaction, status, lines)
        if self.stage is Stage.SETUP:
            self.stage = Stage.OVER
        self.phone.flush()

    def cancel(self, hasty: bool = False) -> None:
        """Take the INVITE or re-INVITE back: at once when ``hasty``, else as soon as there was any answer (§9.1)."""
        invite = self.invite
        if invite is None or not invite.alive or invite.state not in (State.CALLING, State.PROCEEDING):
            return
        self._cancelled = True
        if hasty or invite.state is State.PROCEEDING:
            self._send_cancel(invite)
        self.phone.flush()

    def hang_up(self) -> None:
        """End the call by what its stage asks for."""
        if self.stage is Stage.SETUP and self.pending is None:
            self.cancel()
        elif self.stage is Stage.SETUP:
            self.refuse(480)
        elif self.stage is Stage.UP:
            if self._unacked >= 0:
                self._hang_up_later = True  # §15: no BYE before the ACK
                return
            self.stage = Stage.OVER
            self._bye = self.request("BYE")
            if self.pending is not None:
                self.refuse(487)
        self.phone.flush()

    def reinvite(self, sdp: bytes | None = None) -> None:
        """Offer another session; b'' asks the other side for an offer."""
        if self.stage is not Stage.UP or self.invite is not None or self.pending is not None:
            return
        body = self.phone.sdp() if sdp is None else sdp
        self._offered = bool(body)
        self._cancelled = False
        self.invite = self.request("INVITE", *self._contact(), body=body)
        self.phone.flush()

    def hold(self) -> None:
        """Stop listening."""
        self.reinvite(self.phone.sdp(direction="sendonly"))

    def info(self, body: bytes = KEY, content_type: str = RELAY) -> None:
        """Press a key."""
        if self.stage is Stage.UP:
            self.request("INFO", body=body, content_type=content_type)
            self.phone.flush()

    def request(
        self, method: str, *lines: str, body: bytes = b"", content_type: str = SDP, cseq: int = 0
    ) -> ClientTransaction:
        """Send any request in the dialog."""
        if not cseq:
            self.local_cseq += 1
        phone = self.phone
        return phone.endpoint.request(
            method,
            self.target,
            phone.flow,
            self.local_value,
            self.remote_value,
            self.call_id,
            cseq or self.local_cseq,
            phone.network.now,
            owner=self,
            extra=lines,
            content_type=content_type,
            body=body,
        )

    @property
    def statuses(self) -> list[int]:
        """Statuses of all answers to INVITE, in order."""
        return [int(word) for word in self.heard if word.isdigit()]

    def start(self, uri: str, lines: tuple[str, ...], body: bytes) -> None:
        """Send the INVITE."""
        phone = self.phone
        self._offered = bool(body)
        self.local_cseq = 1
        self.invite = phone.endpoint.request(
            "INVITE",
            uri,
            phone.flow,
            self.local_value,
            self.remote_value,
            self.call_id,
            1,
            phone.network.now,
            owner=self,
            extra=(*self._contact(), *lines),
            content_type=SDP,
            body=body,
        )

    # what the switch does

    def on_response(self, transaction: ClientTransaction, response: Response) -> None:
        self.responses.append(response)
        status = response.status
        if transaction.method == "INVITE":
            self._hear(str(status))
            self._on_invite_answer(transaction, response)
        else:
            self._hear(f"{transaction.method} {status}")
            if transaction.method != "CANCEL" and status in (408, 481):
                self._lost()

    def on_timeout(self, transaction: ClientTransaction) -> None:
        self._hear(f"{transaction.method} timeout")
        if transaction is self.invite:
            self.invite = None
        if transaction.method != "CANCEL":
            self._lost()

    def on_invite(self, transaction: ServerTransaction, request: Request) -> None:
        """The INVITE that made this call."""
        self.pending = transaction
        self._invited = request.cseq
        transaction.to_tag = self.local_tag
        self.remote_tag = request.from_tag
        self.remote_cseq = request.cseq
        self._got_offer = bool(request.body)
        self._retarget(request)
        self.requests.append(request)
        self.phone.network.later(self.phone.patience, lambda: self.refuse(480) if self.stage is Stage.SETUP else None)
        self._hear("INVITE")

    def on_request(self, transaction: ServerTransaction, request: Request) -> None:
        """A request in the dialog."""
        transaction.owner = self
        if self.stage is Stage.OVER and not self.remote_tag:
            self._respond(transaction, 481)  # given up before there was any answer
            return
        if request.call_id != self.call_id or request.from_tag != self.remote_tag:
            self.phone.fault(f"{request.method} with another Call-ID or tag")
            self._respond(transaction, 481)
            return
        if request.uri not in self.phone.contacts:
            self.phone.fault(f"{request.method} to {request.uri}, which is not our Contact")
        if request.cseq <= self.remote_cseq:
            self._respond(transaction, 500)  # late: it was overtaken on the way
            return
        self.remote_cseq = request.cseq
        self.requests.append(request)
        self._hear(request.method)
        getattr(self, f"_on_{request.method.lower()}", self._on_other)(transaction, request)

    def on_ack(self, request: Request) -> None:
        if request.cseq != self._unacked:
            return
        self._unacked = -1
        self.answer_in_ack = request.body
        self.requests.append(request)
        self._hear("ACK")
        if self._hang_up_later:
            self._hang_up_later = False
            self.hang_up()

    def on_cancel(self, transaction: ServerTransaction) -> None:
        if transaction is not self.pending:
            return
        self._hear("CANCEL")
        self.refuse(487)

    # parts

    def _on_invite_answer(self, transaction: ClientTransaction, response: Response) -> None:
        status = response.status
        if status < 200:
            if status > 100 and self.stage is Stage.SETUP:
                if not response.to_tag or "contact" not in response.first:
                    self.phone.fault(f"{status} without tag or Contact")
                self._take_tag(response)
                self._retarget(response)
                self._confirm(response)
            if self._cancelled and transaction.state is State.PROCEEDING:
                self._send_cancel(transaction)
            return
        if status < 300:
            self._on_success(transaction, response)
            return
        self.invite = None
        if self.stage is Stage.SETUP:
            self.stage = Stage.OVER
        elif status in (408, 481):
            self._lost()

    def _confirm(self, response: Response) -> None:
        """RFC 3262 §4: PRACK what is reliable and new."""
        rseq = int(response.get("rseq") or 0)
        if not rseq:
            return
        if not self.phone.reliable:
            self.phone.fault("a reliable answer that we did not ask for")
        if self._rseq and rseq != self._rseq + 1:
            if rseq > self._rseq:
                self.phone.fault(f"RSeq {rseq} after {self._rseq}")
            return
        self._rseq = rseq
        answer = b"" if self._offered or not response.body else self.phone.sdp()
        self._offered = self._offered or bool(response.body)
        if self.phone.pracks:
            self.request("PRACK", f"RAck: {rseq} {response.cseq} INVITE", body=answer)

    def _lost(self) -> None:
        """§12.2.1.2: a peer that knows nothing of the dialog, or says nothing, is sent a BYE all the same."""
        if self.stage is Stage.UP:
            self._unacked = -1
            self.hang_up()
        self.stage = Stage.OVER

    def _send_cancel(self, invite: ClientTransaction) -> None:
        if invite is not self._cancel_sent:
            self._cancel_sent = invite
            self.phone.endpoint.cancel(invite, self.phone.network.now)

    def _on_success(self, transaction: ClientTransaction, response: Response) -> None:
        if response.cseq in self._acks:
            self.phone.endpoint.transmit(self._acks[response.cseq], self.phone.flow, self, True)
            return
        self.invite = None
        self._take_tag(response)
        self._retarget(response)
        fresh = self.stage is Stage.SETUP
        if fresh:
            self.stage, self.was_up = Stage.UP, True
        if not self._offered and not response.body:
            self.phone.fault("2xx to an INVITE without offer holds none")
        self._acks[response.cseq] = self.phone.endpoint.acknowledge(
            self.target,
            self.phone.flow,
            self.local_value,
            self.remote_value,
            self.call_id,
            response.cseq,
            owner=self,
            content_type=SDP,
            body=b"" if self._offered else self.phone.sdp(),
        )
        if self._cancelled and fresh:
            self.hang_up()

    def _on_bye(self, transaction: ServerTransaction, request: Request) -> None:
        if self._bye is None and self.stage is Stage.OVER:
            self._respond(transaction, 481)
            return
        self._respond(transaction, 200)
        if self.invite is not None and self.stage is Stage.SETUP:
            self.phone.fault("BYE before the final answer to our INVITE")
        self.stage = Stage.OVER
        self._unacked = -1
        if self.pending is not None:
            self.refuse(487)

    def _on_invite(self, transaction: ServerTransaction, request: Request) -> None:
        if self.stage is not Stage.UP:
            self._respond(transaction, 481)
        elif self.invite is not None:
            self._respond(transaction, 491)
        elif self.pending is not None or self._unacked >= 0:
            self._respond(transaction, 500, ("Retry-After: 1",))
        else:
            self._retarget(request)
            self.pending = transaction
            self._invited = request.cseq
            self.on_reinvite(self, request)

    def _on_prack(self, transaction: ServerTransaction, request: Request) -> None:
        waiting, self._unconfirmed = self._unconfirmed, None
        if waiting is None or (request.get("rack") or "").split() != [str(waiting[0]), str(self._invited), "INVITE"]:
            self._unconfirmed = waiting
            if waiting is not None:
                self.phone.fault("PRACK with another RAck")
            self._respond(transaction, 481)
            return
        if bool(request.body) != (bool(waiting[1]) and not self._got_offer):
            self.phone.fault("PRACK with or without a description where it should be the other way round")
        self.answer_in_prack = request.body
        self._respond(transaction, 200)
        if self._accept_later is not None:
            (sdp,), self._accept_later = self._accept_later, None
            self.accept(sdp=sdp)

    def _on_update(self, transaction: ServerTransaction, request: Request) -> None:
        self._retarget(request)
        self.on_update(self, transaction, request)

    def _on_info(self, transaction: ServerTransaction, request: Request) -> None:
        self._respond(transaction, 481 if self.stage is Stage.OVER else self.info_status)

    def _on_other(self, transaction: ServerTransaction, request: Request) -> None:
        self.phone.fault(f"{request.method} in a dialog")
        self._respond(transaction, 501)

    def _take_tag(self, response: Response) -> None:
        if self.remote_tag and response.to_tag != self.remote_tag:
            self.phone.fault("another To tag of the switch")
        self.remote_tag = response.to_tag
        self.remote_value = response.to_value

    def _retarget(self, message: Message) -> None:
        contact = message.get("contact")
        if contact is None:
            self.phone.fault("no Contact where there has to be one")
            return
        self.target = parse_name_addr(contact).uri

    def _repeat(self, wire: bytes, flow: Flow, cseq: int, interval: float, left: float) -> None:
        """§13.3.1.4: the 2xx again and again until its ACK, then BYE."""
        phone = self.phone

        def again() -> None:
            if self._unacked != cseq:
                return
            if left <= interval:
                self._unacked = -1
                self._hear("no ACK")
                self.hang_up()
                return
            phone.endpoint.transmit(wire, flow, self, True)
            phone.flush()
            self._repeat(wire, flow, cseq, min(2 * interval, phone.endpoint.values.t2), left - interval)

        phone.network.later(min(interval, left), again)

    def _respond(
        self, transaction: ServerTransaction, status: int, lines: tuple[str, ...] = (), body: bytes = b""
    ) -> bytes:
        phone = self.phone
        return phone.endpoint.respond(transaction, status, phone.network.now, extra=lines, content_type=SDP, body=body)

    def _contact(self) -> tuple[str, ...]:
        phone = self.phone
        phone.contacts.add(phone.contact)
        allow = ("Allow: INVITE, ACK, BYE, PRACK, UPDATE",) if phone.updates else ()
        return (f"Contact: <{phone.contact}>", f"User-Agent: {phone.name}-phone", *allow)

    def _hear(self, word: str) -> None:
        self.heard.append(word)
        for hook in [hook for hook in self._hooks if hook[0] == word]:
            self._hooks.remove(hook)
            self.phone.network.later(hook[1], hook[2])


class Phone:
    """One party's user agent, or the carrier's gateway in front of it.

    ``number`` is what it sends as its own; ``on_call`` decides what becomes of a call that comes in; ``disguise`` may
    rewrite each datagram on its way out, and ``lens`` on its way in.
    """

    def __init__(self, network: Network, name: str, side: str, address: Address, number: str, media: str) -> None:
        self.network = network
        self.name = name
        self.address = address
        self.number = number
        self.media = media
        self.flow = Flow("UDP", "udp", SWITCH)
        self.contact = f"sip:{number}@{address[0]}:{address[1]}"
        self.contacts: set[str] = set()  # all that it has given
        self.token = tokens(f"phone {name}")
        self.endpoint = Endpoint(TimerValues(), self.token, {"udp": f"{address[0]}:{address[1]}"})
        self.calls: list[PhoneCall] = []
        self.faults: list[str] = []
        self.on_call: Callable[[PhoneCall], None] = answer_after(1.0)
        self.on_message: Callable[[ServerTransaction, Request], None] | None = None
        self.tag_prefix = ""
        self.reliable = ""  # "Supported: 100rel" or "Require: 100rel" of its INVITEs
        self.pracks = True  # whether it confirms what is reliable
        self.updates = False  # whether its Allow holds UPDATE
        self.patience = 120.0  # seconds it rings at most, should nobody end that
        self.disguise: Callable[[bytes], bytes] = lambda data: data
        self.lens: Callable[[bytes], bytes] = lambda data: data
        network.attach(address, self, side)

    def dial(
        self,
        x: str,
        *lines: str,
        sdp: bytes | None = None,
        uri: str = "",
        identity: str | None = None,
        from_value: str = "",
        to_value: str = "",
        call_id: str = "",
    ) -> PhoneCall:
        """Call a number. ``identity`` is the P-Asserted-Identity, '' for none."""
        from_value = from_value or f"<sip:{self.number}@{self.address[0]}>"
        uri = uri or f"sip:{x}@{SWITCH[0]}:{SWITCH[1]}"
        call_id = call_id or f"{self.name}call{self.token()}@{self.address[0]}"
        call = PhoneCall(self, call_id, from_value, to_value or f"<{uri}>")
        if identity is None:
            identity = f"<sip:{self.number}@{self.address[0]}>"
        if identity:
            lines = (f"P-Asserted-Identity: {identity}", *lines)
        if self.reliable:
            lines = (self.reliable, *lines)
        self.calls.append(call)
        call.start(uri, lines, self.sdp() if sdp is None else sdp)
        self.flush()
        return call

    @property
    def call(self) -> PhoneCall:
        """The one call of a test that has one."""
        assert len(self.calls) == 1, f"{self.name} has {len(self.calls)} calls"
        return self.calls[0]

    def sdp(self, direction: str = "sendrecv", version: int = 1) -> bytes:
        """Its session description."""
        return description(self.media, direction=direction, origin=self.address[0], version=version)

    def fault(self, text: str) -> None:
        """The switch did something that a strict far end objects to."""
        self.faults.append(f"{self.name} at {self.network.now:.3f}: {text}")

    # the network

    def receive(self, data: bytes, source: Address) -> None:
        self.endpoint.receive(self.lens(data), Flow("UDP", "udp", source), self.network.now)
        self.flush()

    def wake(self) -> None:
        self.endpoint.wake(self.network.now)
        self.flush()

    def deadline(self) -> float | None:
        return self.endpoint.timers.deadline()

    def flush(self) -> None:
        """Work off events, then send."""
        while events := self.endpoint.take_events():
            for event in events:
                self._dispatch(event)
        outgoing, self.endpoint.outgoing = self.endpoint.outgoing, []
        for wire, flow in outgoing:
            self.network.send(self.address, flow.peer, self.disguise(wire))

    def _dispatch(self, event: Event) -> None:
        if isinstance(event, ResponseReceived):
            event.transaction.owner.on_response(event.transaction, event.response)
        elif isinstance(event, RequestReceived):
            self._on_request(event.transaction, event.request)
        elif isinstance(event, AckReceived):
            call = self._find(event.request.to_tag)
            if call is not None:
                call.on_ack(event.request)
        elif isinstance(event, CancelReceived):
            event.transaction.owner.on_cancel(event.transaction)
        elif isinstance(event.transaction, ClientTransaction):
            event.transaction.owner.on_timeout(event.transaction)
        else:
            self.fault("an INVITE that nobody ended")

    def _on_request(self, transaction: ServerTransaction, request: Request) -> None:
        if "max-forwards" not in request.first:
            self.fault(f"{request.method} without Max-Forwards")
        if request.to_tag:
            call = self._find(request.to_tag)
            if call is None:
                self.fault(f"{request.method} for a dialog that never was")
                self.endpoint.respond(transaction, 481, self.network.now)
                return
            call.on_request(transaction, request)
        elif request.method == "INVITE":
            call = PhoneCall(self, request.call_id, request.to_value, request.from_value)
            transaction.owner = call
            self.calls.append(call)
            call.on_invite(transaction, request)
            self.on_call(call)
        elif request.method == "MESSAGE" and self.on_message is not None:
            self.on_message(transaction, request)
        else:
            self.fault(f"{request.method} out of a dialog")
            self.endpoint.respond(transaction, 501, self.network.now)

    def _find(self, tag: str) -> PhoneCall | None:
        return next((call for call in self.calls if call.local_tag == tag), None)


def answer_after(seconds: float, ring: float = 0.1, status: int = 180, sdp: bytes = b"") -> Callable[[PhoneCall], None]:
    """A callee who rings and takes the call ``seconds`` later."""

    def take(call: PhoneCall) -> None:
        later = call.phone.network.later
        call.ring(100)
        later(ring, lambda: call.ring(status, sdp))
        later(ring + seconds, call.accept)

    return take


def refuse_with(status: int, *lines: str, ring: float = 0.0, after: float = 0.2) -> Callable[[PhoneCall], None]:
    """A callee, or a route, that says no; ``ring`` 0: without ringing."""

    def say_no(call: PhoneCall) -> None:
        later = call.phone.network.later
        call.ring(100)
        if ring:
            later(ring, call.ring)
        later(ring + after, lambda: call.refuse(status, *lines))

    return say_no
