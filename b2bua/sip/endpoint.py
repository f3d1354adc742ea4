"""One SIP endpoint without input or output: datagrams and deadlines in, events and datagrams out.

The shell (or call control above) feeds ``receive`` and ``wake``, then takes ``events``. Everything that leaves goes
through ``transmit``, and there past the gate that call control set: there is one way out.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from b2bua.sip.errors import ParseError
from b2bua.sip.headers import KNOWN_METHODS
from b2bua.sip.message import Message, Request, Response
from b2bua.sip.parser import Limits, parse, salvage
from b2bua.sip.serialiser import format_repetition, format_request, format_response
from b2bua.sip.timers import TimerQueue, TimerValues
from b2bua.sip.transaction import ClientTransaction, Flow, Input, ServerTransaction, State, derive

__all__ = [
    "AckReceived",
    "CancelReceived",
    "Endpoint",
    "Event",
    "RequestReceived",
    "ResponseReceived",
    "TransactionFailed",
]

MAGIC_COOKIE = "z9hG4bK"
# §18.1.1: where the path MTU is not known, a longer request has to go over a transport with congestion control
LARGEST_UDP_REQUEST = 1300


@dataclass(slots=True)
class RequestReceived:
    """A new request; answer it with ``Endpoint.respond``."""

    transaction: ServerTransaction
    request: Request
    flow: Flow


@dataclass(slots=True)
class AckReceived:
    """An ACK that belongs to a 2xx, so to a dialog."""

    request: Request


@dataclass(slots=True)
class CancelReceived:
    """The peer gives its INVITE up; the CANCEL itself is answered already (§9.2)."""

    transaction: ServerTransaction
    request: Request


@dataclass(slots=True)
class ResponseReceived:
    """An answer to a request of ours; for INVITE also every repetition of a 2xx."""

    transaction: ClientTransaction
    response: Response


@dataclass(slots=True)
class TransactionFailed:
    """No answer came, or the transport failed: count it as 408 (§8.1.3.1). For a server transaction: nobody answered
    it."""

    transaction: ClientTransaction | ServerTransaction


Event = RequestReceived | AckReceived | CancelReceived | ResponseReceived | TransactionFailed


class Endpoint:
    """All transactions of one switch.

    ``token()`` returns a fresh random token (letters and digits, 64 bits or more). ``advertised`` maps a listener's
    name to the host:port that peers should see. ``gate(wire, flow, sender)`` is asked about every datagram that would
    leave. ``heavy(flow)`` names the flow that takes a request too large for UDP, None where there is none.
    """

    def __init__(
        self,
        values: TimerValues,
        token: Callable[[], str],
        advertised: Mapping[str, str],
        *,
        limits: Limits | None = None,
        gate: Callable[[bytes, Flow, object], bool] | None = None,
        heavy: Callable[[Flow], Flow | None] | None = None,
    ) -> None:
        self.values = values
        self.token = token
        self.advertised = advertised
        self.limits = limits or Limits()
        self.gate = gate
        self.heavy = heavy
        self.timers = TimerQueue()
        self.servers: dict[str, ServerTransaction] = {}
        self.clients: dict[str, ClientTransaction] = {}
        self.events: list[Event] = []
        self.outgoing: list[tuple[bytes, Flow]] = []
        self.received: Counter[str] = Counter()  # by method, or by class of status
        self.sent: Counter[str] = Counter()  # likewise
        self.drops: Counter[str] = Counter()  # by cause
        self.retransmissions_in = 0
        self.retransmissions_out = 0

    # in

    def receive(self, data: bytes, flow: Flow, now: float) -> None:
        """One datagram, or one framed message of a stream."""
        try:
            message = parse(data, self.limits)
        except ParseError as error:
            self.unreadable(data, flow, error)
            return
        if isinstance(message, Request):
            self.received[message.method if message.method in KNOWN_METHODS else "other"] += 1
            self._request(message, flow, now)
        else:
            self.received[_CLASSES[message.status // 100]] += 1
            self._response(message, now)

    def wake(self, now: float) -> None:
        """Fire the timers that are due."""
        self.timers.fire_due(now)

    def transport_failed(self, transaction: ClientTransaction | ServerTransaction, now: float) -> None:
        """The shell could not send for this transaction (§17.1.4, §17.2.4)."""
        if transaction.alive:
            transaction.step(Input.TRANSPORT_ERROR, now)

    def undelivered(self, wire: bytes, now: float) -> None:
        """A message of ours could not be delivered: the connection it needed could not be had. A large request is sent
        over UDP then (§18.1.1)."""
        try:
            message = parse(wire)
        except ParseError:
            return  # the echo of something unreadable
        branch = message.via.branch
        transaction: ClientTransaction | ServerTransaction | None
        if isinstance(message, Response):
            key = f"{branch} {message.via.host}:{message.via.port} {message.cseq_method}"
            transaction = self.servers.get(key)
        else:
            client = self.clients.get(f"{branch} {'INVITE' if message.method == 'ACK' else message.method}")
            if client is not None and client.fall_back(now):
                return
            transaction = client
        if transaction is not None:
            self.transport_failed(transaction, now)

    def bounced(self, start: bytes, now: float) -> None:
        """ICMP says that a datagram which began so has reached nobody (§18.4). A request that begins something fails;
        in a dialog the peer, or the proxy before it, may come back while the request is repeated."""
        found = _BOUNCED.match(start)
        client = self.clients.get(f"{found[2].decode()} {found[1].decode()}") if found is not None else None
        if client is None or client.wire is None or client.state not in (State.CALLING, State.TRYING):
            return
        if _TO_TAG.search(client.wire) is None:
            self.transport_failed(client, now)

    def connection_lost(self, flow: Flow, now: float) -> bool:
        """A connection that has carried requests of ours is gone. Those without any answer fail, since the request may
        be lost with it; whether others wait is returned: their answer may come over another connection (§18.2.2)."""
        others = False
        for transaction in list(self.clients.values()):
            if transaction.flow == flow:
                if transaction.state in (State.CALLING, State.TRYING):
                    self.transport_failed(transaction, now)
                elif transaction.state is State.PROCEEDING:
                    others = True
        return others

    def unreachable(self, flow: Flow, now: float) -> None:
        """Nor can the peer be connected to any more: nothing will come for those that wait."""
        for transaction in list(self.clients.values()):
            if transaction.flow == flow and transaction.state in (State.CALLING, State.TRYING, State.PROCEEDING):
                self.transport_failed(transaction, now)

    def take_events(self) -> list[Event]:
        """What happened since the last call."""
        events = self.events
        if events:
            self.events = []
        return events

    # out

    def request(
        self,
        method: str,
        uri: str,
        flow: Flow,
        from_value: str,
        to_value: str,
        call_id: str,
        cseq: int,
        now: float,
        *,
        owner: object = None,
        max_forwards: int = 70,
        routes: Sequence[str] = (),
        extra: Sequence[str] = (),
        content_type: str = "",
        body: bytes = b"",
    ) -> ClientTransaction:
        """Send a request in a transaction of its own (everything but ACK and CANCEL)."""
        branch = MAGIC_COOKIE + self.token()
        via = self._via(flow, branch)
        wire = format_request(
            method,
            uri,
            via,
            from_value,
            to_value,
            call_id,
            cseq,
            max_forwards,
            routes,
            extra,
            content_type,
            body,
        )
        return self._begin(method, branch, via, wire, flow, owner, now)

    def _begin(
        self, method: str, branch: str, via: str, wire: bytes, flow: Flow, owner: object, now: float, tag: int = 0
    ) -> ClientTransaction:
        """The transaction of a request of ours; a large one goes over TCP where the peer has it."""
        fallback = None
        if len(wire) > LARGEST_UDP_REQUEST and self.heavy is not None and (heavy := self.heavy(flow)) is not None:
            fallback = flow, via
            wire = wire.replace(via.encode(), self._via(heavy, branch).encode(), 1)
            flow = heavy
        transaction = ClientTransaction(self, method, f"{branch} {method}", flow, wire, owner)
        transaction.fallback = fallback
        transaction.tag = tag
        self.clients[transaction.key] = transaction
        transaction.start(now)
        return transaction

    def acknowledge(
        self,
        uri: str,
        flow: Flow,
        from_value: str,
        to_value: str,
        call_id: str,
        cseq: int,
        *,
        owner: object = None,
        routes: Sequence[str] = (),
        extra: Sequence[str] = (),
        content_type: str = "",
        body: bytes = b"",
    ) -> bytes:
        """Send the ACK of a 2xx (§13.2.2.4) and return it, for the day the 2xx comes again."""
        via = self._via(flow, MAGIC_COOKIE + self.token())
        wire = format_request(
            "ACK", uri, via, from_value, to_value, call_id, cseq, 70, routes, extra, content_type, body
        )
        self.transmit(wire, flow, owner, False)
        return wire

    def cancel(self, invite: ClientTransaction, now: float, line: str = "") -> None:
        """Cancel an INVITE that has had a provisional answer, and bound the wait for its end (§9.1). ``line`` is a
        whole header line for the CANCEL."""
        if invite.wire is None:
            return  # it was stopped on its way out
        wire = derive(invite.wire, "CANCEL", added=line)
        branch = invite.key.partition(" ")[0]
        transaction = ClientTransaction(self, "CANCEL", f"{branch} CANCEL", invite.flow, wire, invite.owner)
        self.clients[transaction.key] = transaction
        transaction.start(now)
        invite.step(Input.ABANDON, now)

    def respond(
        self,
        transaction: ServerTransaction,
        status: int,
        now: float,
        *,
        extra: Sequence[str] = (),
        content_type: str = "",
        body: bytes = b"",
    ) -> bytes:
        """Answer a request; a To tag is made where the dialog has none yet. Returns the wire form.

        A final answer that the gate stops is replaced by a bare 500, and b'' returned: no request stays unanswered.
        """
        tag = ""
        if status > 100 and not transaction.request_tag:
            if not transaction.to_tag:
                transaction.to_tag = self.token()
            tag = transaction.to_tag
        wire = format_response(status, transaction.before_tag, tag, transaction.after_tag, extra, content_type, body)
        if status >= 200 and extra and self.gate is not None and not self.gate(wire, transaction.flow, transaction):
            transaction.send(500, format_response(500, transaction.before_tag, tag, transaction.after_tag), now)
            return b""
        transaction.send(status, wire, now)
        return wire

    def respond_once(
        self, transaction: ServerTransaction, status: int, to_tag: str, now: float, *, extra: Sequence[str] = ()
    ) -> None:
        """Answer a stranger's request and forget it (§26.3.2.4): nothing is repeated, nothing remembered.

        A request that comes again is a new one, so ``to_tag`` has to follow from the request alone (§8.2.7).
        """
        tag = "" if transaction.request_tag else to_tag
        wire = format_response(status, transaction.before_tag, tag, transaction.after_tag, extra)
        self.transmit(wire, transaction.flow, transaction, False)
        self.forget(transaction, now)

    def forget(self, transaction: ServerTransaction, now: float) -> None:
        """Let go of a request that nothing has been answered to yet."""
        transaction.step(Input.ABANDON, now)

    def repeat(self, transaction: ClientTransaction, cseq: int, lines: Sequence[str], now: float) -> ClientTransaction:
        """Send a request that was answered 401 or 407 once more, with ``lines`` as its credentials, in a transaction of
        its own (§22.2)."""
        assert transaction.challenged is not None
        branch = MAGIC_COOKIE + self.token()
        via = self._via(transaction.flow, branch)
        wire = format_repetition(transaction.challenged, via, cseq, lines)
        flow, owner = transaction.flow, transaction.owner
        return self._begin(transaction.method, branch, via, wire, flow, owner, now, transaction.tag)

    def transmit(self, wire: bytes, flow: Flow, sender: object, retransmission: bool) -> None:
        """The one way out. ``sender`` is a transaction, or the owner of what goes without one."""
        if self.gate is not None and not self.gate(wire, flow, sender):
            return
        if retransmission:
            self.retransmissions_out += 1
        kind = wire[:9]  # "SIP/2.0 2" or "INVITE si"
        self.sent[_SENT.get(kind) or kind.partition(b" ")[0].decode()] += 1
        self.outgoing.append((wire, flow))

    # what the transactions call

    def report(self, transaction: ClientTransaction | ServerTransaction, message: Message | None) -> None:
        """A transaction has news for call control."""
        if isinstance(message, Response) and isinstance(transaction, ClientTransaction):
            self.events.append(ResponseReceived(transaction, message))
        else:
            self.events.append(TransactionFailed(transaction))

    def ended(self, transaction: ClientTransaction | ServerTransaction) -> None:
        """A transaction has reached its end and leaves its table."""
        if isinstance(transaction, ClientTransaction):
            del self.clients[transaction.key]
        else:
            del self.servers[transaction.key]

    # inside

    def _request(self, request: Request, flow: Flow, now: float) -> None:
        method = request.method
        key = _server_key(request)
        if method == "ACK":
            transaction = self.servers.get(f"{key} INVITE")
            if transaction is None or transaction.state is State.ACCEPTED:
                self.events.append(AckReceived(request))
            else:
                transaction.step(Input.RECEIVE_ACK, now)
            return
        full_key = f"{key} {method}"
        transaction = self.servers.get(full_key)
        if transaction is not None:
            self.retransmissions_in += 1
            transaction.step(Input.RECEIVE_REQUEST, now)
            return
        vias, answer_to = _answer_path(request, flow)
        transaction = ServerTransaction(self, request, vias, full_key, answer_to)
        self.servers[full_key] = transaction
        transaction.start(now)
        if method == "CANCEL":
            self._cancel(transaction, f"{key} INVITE", request, now)
        else:
            self.events.append(RequestReceived(transaction, request, flow))

    def _cancel(self, transaction: ServerTransaction, invite_key: str, request: Request, now: float) -> None:
        invite = self.servers.get(invite_key)
        if invite is None:
            self.respond(transaction, 481, now)
            return
        transaction.owner = invite.owner
        if not request.to_tag:
            if not invite.to_tag:
                invite.to_tag = self.token()
            transaction.to_tag = invite.to_tag  # §9.2: the same tag as the INVITE's answers
        self.respond(transaction, 200, now)
        if invite.state is State.PROCEEDING:
            self.events.append(CancelReceived(invite, request))

    def _response(self, response: Response, now: float) -> None:
        if response.via.rest or "via" in response.more:
            self.drops["foreign_response"] += 1  # §8.1.3.3: not for us
            return
        transaction = self.clients.get(f"{response.via.branch} {response.cseq_method}")
        if transaction is None:
            self.drops["stray_response"] += 1
            return
        transaction.receive(response, now)

    def unreadable(self, data: bytes, flow: Flow, error: ParseError) -> None:
        """400 (or what the error says) without a transaction where the request can be addressed, else a counted
        drop."""
        self.drops["malformed"] += 1
        echo = salvage(data)
        if echo is None:
            return
        to_value = echo["to"][0]
        tag = "" if ";tag=" in to_value.lower() else self.token()
        before = "".join(f"Via: {via}\r\n" for via in echo["via"]) + f"From: {echo['from'][0]}\r\nTo: {to_value}"
        after = f"\r\nCall-ID: {echo['call-id'][0]}\r\nCSeq: {echo['cseq'][0]}\r\n"
        self.transmit(format_response(error.status, before, tag, after), flow, None, False)

    def _via(self, flow: Flow, branch: str) -> str:
        return f"SIP/2.0/{flow.transport} {self.advertised[flow.listener]};branch={branch};rport"


_SENT = {f"SIP/2.0 {digit}".encode(): f"{digit}xx" for digit in range(1, 7)}
_BOUNCED = re.compile(rb"([A-Z]+) [^\r\n]+\r\nVia: [^;\r\n]+;branch=([!-:<-~]+)")  # as we write requests
_TO_TAG = re.compile(rb"\r\nTo: [^\r\n]*;tag=")
_RECEIVED = re.compile(r";\s*received\s*(?:=[^;\"]*)?(?=;|\Z)", re.IGNORECASE)
_CLASSES = ("", "1xx", "2xx", "3xx", "4xx", "5xx", "6xx")


def _server_key(request: Request) -> str:
    """§17.2.3: branch and sent-by; for a branch of before RFC 3261, what that section lists instead."""
    via = request.via
    if via.branch.startswith(MAGIC_COOKIE) and len(via.branch) > len(MAGIC_COOKIE):
        return f"{via.branch} {via.host}:{via.port}"
    return f"{request.call_id} {request.cseq} {request.from_tag} {request.uri} {via.host}:{via.port}"


def _answer_path(request: Request, flow: Flow) -> tuple[str, Flow]:
    """The Via lines of every answer (with received and rport filled in, §18.2.1, RFC 3581 §4) and where the answer
    goes."""
    via = request.via
    host, port = flow.peer
    top = request.first["via"]
    symmetric = via.has_rport()
    params = via.params
    if "received" in params.lower():
        params = _RECEIVED.sub("", params)  # where it comes from is ours to say
    elsewhere = symmetric or via.host.strip("[]") != host
    if elsewhere or params is not via.params:
        if symmetric:
            params = ";".join(
                f"rport={port}" if piece.strip().lower() == "rport" else piece for piece in params.split(";")
            )
        sent_by = f"{via.host}:{via.port}" if via.port else via.host
        top = f"SIP/2.0/{via.transport} {sent_by}{params}"
        if elsewhere:
            top += f";received={host}"
        if via.rest:
            top = f"{top}, {via.rest}"
    lines = f"Via: {top}\r\n"
    for value in request.more.get("via", ()):
        lines += f"Via: {value}\r\n"
    if not symmetric and not flow.reliable:
        flow = flow._replace(peer=(host, via.port or 5060))
    return lines, flow
