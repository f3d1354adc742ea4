"""The switch: one synchronous object without input or output. Datagrams, decisions and deadlines go in; queries,
records and datagrams come out, to be taken by the shell in this order after every entry: answer queries, journal
records, send."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from b2bua.call.admission import SourceGuard, TokenBucket
from b2bua.call.call import Call, CallState
from b2bua.call.callee import CalleeLeg
from b2bua.call.caller import CallerLeg
from b2bua.call.leg import ACCEPT, ALLOW, Leg, Now, Signalling, cause_line
from b2bua.call.privacy import claimed_caller, invitation, reveals
from b2bua.call.refusals import Local, verdict_of
from b2bua.call.session import session_description
from b2bua.call.statistics import Statistics
from b2bua.sip.endpoint import AckReceived, CancelReceived, Endpoint, Event, RequestReceived, ResponseReceived
from b2bua.sip.errors import ParseError
from b2bua.sip.headers import tokens_of
from b2bua.sip.message import Request
from b2bua.sip.parser import Limits
from b2bua.sip.timers import TimerValues
from b2bua.sip.transaction import Flow, ServerTransaction, Transaction
from b2bua.sip.uri import dialled_user, parse_uri
from cdr import record
from routing.decide import Query, Refusal, Route
from routing.numbers import bare_digits, format_middle, mask, parse_middle, parse_subscriber
from routing.trunks import Peer, Sources, Trunk

__all__ = ["LiveCall", "Now", "Switch", "SwitchSettings"]

LONGEST_KEEP_ALIVE = 4  # CRLF CRLF (RFC 5626 §3.5.1); some peers send a NUL or a blank
DEFAULT_MAX_FORWARDS = 70
# So many calls in a row without any reply, and the trunk is left alone for a while: not after one, which our own
# delay or a lost datagram may explain, and which would take the only trunk away from all other calls.
SILENT_ATTEMPTS = 5
LONGEST_PARK = 300.0  # seconds

# Methods that we know and do not take, and the answer that ends each one's business (sip-level refusal, nothing
# forwarded)
REFUSED_METHODS = {
    "REGISTER": 405,
    "MESSAGE": 405,
    "UPDATE": 405,
    "PUBLISH": 489,
    "SUBSCRIBE": 489,
    "NOTIFY": 481,
    "PRACK": 481,
    "REFER": 603,
    "BYE": 481,
    "INFO": 481,
}


@dataclass(frozen=True, slots=True)
class SwitchSettings:
    """Times in seconds, rates a second, sizes in bytes; 0 is no limit where a limit is meant."""

    node: str = "x700"
    product: str = "x700"
    timers: TimerValues = field(default_factory=TimerValues)
    message: Limits = field(default_factory=Limits)
    no_reply_seconds: float = 4.0
    no_progress_seconds: float = 15.0
    ring_seconds: float = 60.0
    ring_refresh_seconds: float = 60.0
    longest_call_seconds: float = 14_400.0
    park_seconds: float = 30.0
    max_calls: int = 0
    calls_per_second: float = 0.0
    source_messages_per_second: float = 0.0
    source_burst: float = 0.0


class LiveCall(NamedTuple):
    """A call as the operator sees it, real numbers masked. Times are UTC milliseconds, 0: not yet."""

    id: str
    state: str
    x: str
    ingress: str
    egress: str
    caller: str
    callee: str
    since_ms: int
    answered_ms: int


class Switch:
    """All calls of one process.

    ``token()`` returns 16 or more random hexadecimal digits. ``advertised`` maps each listener's name to our
    host:port as peers see it; the first listener is where calls leave. The shell sets ``journal_failure`` to a text
    while records cannot be written: no call is taken then. ``journal_tight`` besides: the room that is left is for the
    ends of live calls, and attempts refused meanwhile are only counted.
    """

    def __init__(
        self,
        settings: SwitchSettings,
        trunks: Sequence[Trunk],
        token: Callable[[], str],
        advertised: Mapping[str, str],
    ) -> None:
        self.limits = settings
        self.node = settings.node
        self.trunks = {trunk.name: trunk for trunk in trunks}
        self.statistics = Statistics()
        self.notices: list[tuple[str, str]] = []  # (event, trunk) for the shell to log
        self.draining = False
        self.journal_failure = ""
        self.journal_tight = False
        self.endpoint = Endpoint(settings.timers, token, advertised, limits=settings.message, gate=self._gate)
        self.signalling = Signalling(self.endpoint, settings.product)
        self._listener = next(iter(advertised))
        self._instance = token()
        self._sources = Sources(trunks)
        self._guard = SourceGuard(settings.source_messages_per_second, settings.source_burst)
        self._rate = TokenBucket(settings.calls_per_second, settings.calls_per_second)
        # by direction, so that a flood from a trunk does not keep calls to it away
        self._rates_in = {name: _bucket(trunk) for name, trunk in self.trunks.items()}
        self._rates_out = {name: _bucket(trunk) for name, trunk in self.trunks.items()}
        self._calls: dict[int, Call] = {}
        self._attempts: dict[str, Call] = {}  # by Call-ID and caller's tag, to know one INVITE that came two ways
        self._trunk_calls = dict.fromkeys(self.trunks, 0)  # legs up or being set up, by trunk
        self._parked: dict[str, float] = {}
        self._silent = dict.fromkeys(self.trunks, 0)  # INVITEs in a row without any reply
        self._sequence = 0
        self._queries: list[Query] = []
        self._records: list[record.Event] = []
        self._invite_lines = (ALLOW, f"User-Agent: {settings.product}")
        self._answer_lines = (ALLOW, ACCEPT, f"Server: {settings.product}")

    # entries

    def admits(self, flow: Flow, now: float) -> bool:
        """Whether a message from there may cost anything: its source is a trunk's, and within its share."""
        host, port = flow.peer
        if self._sources.trunk_of(host, port) is None:
            self.statistics.drops["unknown_source"] += 1
            return False
        if not self._guard.admit(host, now):
            self.statistics.drops["source_flood"] += 1
            return False
        return True

    def receive(self, data: bytes, flow: Flow, now: Now) -> None:
        """A datagram, or one framed message of a stream, from a source that ``admits`` has let in."""
        trunk = self._sources.trunk_of(*flow.peer)
        if trunk is None:
            return
        if len(data) <= LONGEST_KEEP_ALIVE and not data.strip(b"\r\n\0 "):
            self.statistics.drops["keep_alive"] += 1
            return
        self.signalling.now = now
        self.endpoint.receive(data, flow, now.monotonic)
        self._settle(trunk)

    def decided(self, query: Query, decision: Route | Refusal, now: Now) -> None:
        """The answer to a query; ignored when the caller has given up meanwhile."""
        self.signalling.now = now
        call = self._calls.get(query.call)
        if call is None or call.state is not CallState.DECIDING or call.caller is None:
            return
        if isinstance(decision, Refusal):
            call.refuse(decision)
        else:
            call.caller.forbidden = bare_digits(decision.callee).encode()
            targets = [(self.trunks[name], peer) for name in decision.trunks for peer in self.trunks[name].peers]
            call.connect(decision, targets)
        self._settle(None)

    def wake(self, now: Now) -> None:
        """A deadline has come."""
        self.signalling.now = now
        self.endpoint.wake(now.monotonic)
        self._settle(None)

    def drain(self, now: Now) -> None:
        """Take no new calls from now on; the live ones go on."""
        self.signalling.now = now
        self.draining = True

    def release_all(self, now: Now) -> None:
        """End every call at once, in order: records first, then BYE, CANCEL or 503."""
        self.signalling.now = now
        for call in list(self._calls.values()):
            call.release(Local.SHUTDOWN)
        self._settle(None)

    def hang_up(self, record_id: str, now: Now) -> bool:
        """End one call for the operator; False when there is none of that id."""
        self.signalling.now = now
        call = next((call for call in self._calls.values() if call.record_id == record_id), None)
        if call is None:
            return False
        call.release(Local.HUNG_UP)
        self._settle(None)
        return True

    # what the shell takes

    def queries(self) -> list[Query]:
        """Questions for routing since the last call."""
        queries = self._queries
        if queries:
            self._queries = []
        return queries

    def records(self) -> list[record.Event]:
        """Events for the journal since the last call; to be written before anything is sent."""
        records = self._records
        if records:
            self._records = []
        return records

    def outgoing(self) -> list[tuple[bytes, Flow]]:
        """Datagrams to send, in order."""
        outgoing = self.endpoint.outgoing
        if outgoing:
            self.endpoint.outgoing = []
        return outgoing

    def deadline(self) -> float | None:
        """When ``wake`` is due, monotonic seconds."""
        return self.endpoint.timers.deadline()

    # what the shell shows

    def live_calls(self) -> list[LiveCall]:
        """All calls, masked."""
        return [_live(call) for call in self._calls.values()]

    @property
    def active_calls(self) -> int:
        """How many calls are up or being set up."""
        return len(self._calls)

    def trunk_calls(self) -> Mapping[str, int]:
        """Legs up or being set up, by trunk."""
        return self._trunk_calls

    def tables(self) -> dict[str, int]:
        """The size of everything that must be empty when nothing goes on."""
        return {
            "calls": len(self._calls),
            "attempts": len(self._attempts),
            "dialogs": len(self.signalling.legs),
            "server_transactions": len(self.endpoint.servers),
            "client_transactions": len(self.endpoint.clients),
            "timers": len(self.endpoint.timers),
        }

    def down(self, now: Now) -> frozenset[str]:
        """Trunks that are not to be tried at the moment."""
        if not self._parked:
            return frozenset()
        self._parked = {name: until for name, until in self._parked.items() if until > now.monotonic}
        return frozenset(self._parked)

    # what a call needs (the Exchange of call.py)

    def write(self, event: record.Event) -> None:
        """Put an event on its way to the journal."""
        self._records.append(event)

    def barred(self, trunk: Trunk) -> str:
        """Why no further call may leave over this trunk, '' when one may."""
        if trunk.max_calls and self._trunk_calls[trunk.name] >= trunk.max_calls:
            return "full"
        return "" if self._rates_out[trunk.name].take(self.signalling.now.monotonic) else "rate"

    def dial(self, call: Call, trunk: Trunk, peer: Peer) -> CalleeLeg:
        """Send the INVITE of a call over one route."""
        assert call.route is not None
        flow = Flow(trunk.transport.upper(), self._listener, (peer.host, peer.port))
        invited = invitation(call.route, trunk, peer, self.signalling.sent_by(flow), self._invite_lines)
        leg = CalleeLeg(self.signalling, call, flow, invited, trunk.name)
        self._count_egress(call, trunk.name)
        leg.invite(invited, call.offer, call.max_forwards - 1)
        return leg

    def park(self, trunk: str, seconds: float) -> None:
        """Leave a trunk alone for so long, but no longer than LONGEST_PARK: it may have asked in error."""
        if trunk not in self._parked:
            self.notices.append(("trunk_parked", trunk))
        self._parked[trunk] = self.signalling.now.monotonic + min(seconds, LONGEST_PARK)

    def silent(self, trunk: str) -> None:
        """An INVITE over this trunk had no reply in time. One may be lost; a row of them means that nobody is there."""
        self._silent[trunk] += 1
        if self._silent[trunk] >= SILENT_ATTEMPTS:
            self._silent[trunk] = 0
            if self.limits.park_seconds:
                self.park(trunk, self.limits.park_seconds)

    def replied(self, trunk: str) -> None:
        """The trunk has said something."""
        self._silent[trunk] = 0

    def rang(self, call: Call, seconds: float) -> None:
        """A call has reached the callee."""
        self.statistics.setup.observe(seconds)

    def answered(self, call: Call, seconds: float) -> None:
        """A call was answered."""
        self.statistics.answer.observe(seconds)

    def over(self, call: Call, outcome: str, reason: str) -> None:
        """A call has ended and leaves the tables."""
        self._calls.pop(call.handle, None)
        if self._attempts.get(call.key) is call:
            del self._attempts[call.key]
        self._trunk_calls[call.ingress.name] -= 1
        self._count_egress(call, "")
        self.statistics.outcomes[call.ingress.name, outcome] += 1
        if reason:
            self.statistics.refusals[call.ingress.name, reason] += 1

    def _count_egress(self, call: Call, name: str) -> None:
        if call.counted:
            self._trunk_calls[call.counted] -= 1
        if name:
            self._trunk_calls[name] += 1
        call.counted = name

    # events of the endpoint

    def _settle(self, trunk: Trunk | None) -> None:
        """Work off what an entry has stirred up; ``trunk`` is where a datagram came from."""
        while events := self.endpoint.take_events():
            for event in events:
                self._dispatch(event, trunk)
        while self.signalling.tripped:
            leg = self.signalling.tripped.pop()
            if isinstance(leg.call, Call):
                self.notices.append(("tripwire", leg.call.ingress.name))
                leg.call.release(Local.TRIPWIRE)

    def _dispatch(self, event: Event, trunk: Trunk | None) -> None:
        if isinstance(event, ResponseReceived):
            owner = event.transaction.owner
            if isinstance(owner, Leg):
                owner.on_response(event.transaction, event.response)
        elif isinstance(event, RequestReceived):
            assert trunk is not None
            self._on_request(event.transaction, event.request, trunk)
        elif isinstance(event, AckReceived):
            leg = self.signalling.legs.get(event.request.to_tag)
            if leg is not None:
                leg.on_ack(event.request)
        elif isinstance(event, CancelReceived):
            owner = event.transaction.owner
            if isinstance(owner, Leg):
                owner.on_cancel(event.transaction, event.request)
        elif isinstance(event.transaction.owner, Leg):
            event.transaction.owner.on_failed(event.transaction)

    def _on_request(self, transaction: ServerTransaction, request: Request, trunk: Trunk) -> None:
        method = request.method
        if request.to_tag:
            leg = self.signalling.legs.get(request.to_tag)
            if leg is not None and method in ("BYE", "INVITE", "INFO"):
                # a BYE ends the call whatever else it asks for
                required = _required(request) if method != "BYE" else []
                if required:
                    self._answer(transaction, 420, (f"Unsupported: {', '.join(required)}",))
                else:
                    leg.on_request(transaction, request)
                return
            if leg is None and method != "REGISTER":
                self._answer(transaction, 481)
                return
        elif method == "INVITE":
            self._on_invite(transaction, request, trunk)
            return
        self._answer_alone(transaction, request)

    def _answer_alone(self, transaction: ServerTransaction, request: Request) -> None:
        """Requests that start nothing: each gets its final answer here."""
        method = request.method
        if method not in REFUSED_METHODS and method != "OPTIONS":
            self._answer(transaction, 501, (ALLOW,))
            return
        try:
            parse_uri(request.uri)
        except ParseError as error:
            self._answer(transaction, error.status)
            return
        required = _required(request)
        if required:
            self._answer(transaction, 420, (f"Unsupported: {', '.join(required)}",))
        elif method == "OPTIONS":
            if self.draining or self.journal_failure:
                self._answer(transaction, 503, ("Retry-After: 30",))
            else:
                self._answer(transaction, 200, self._answer_lines)
        else:
            status = REFUSED_METHODS[method]
            self._answer(
                transaction, status, (ALLOW,) if status == 405 else ("Allow-Events:",) if status == 489 else ()
            )

    def _answer(self, transaction: ServerTransaction, status: int, lines: tuple[str, ...] = ()) -> None:
        self.endpoint.respond(transaction, status, self.signalling.now.monotonic, extra=lines)

    # a new call

    def _on_invite(self, transaction: ServerTransaction, request: Request, trunk: Trunk) -> None:
        if self.journal_failure and self.journal_tight:
            verdict = verdict_of(Local.JOURNAL_FAILED)
            lines = (f"Retry-After: {verdict.retry_after}", cause_line(verdict.q850, verdict.text))
            self._answer(transaction, verdict.status, lines)
            self.statistics.refusals[trunk.name, Local.JOURNAL_FAILED] += 1
            return
        self._sequence += 1
        call = Call(self, self._sequence, f"{self._instance}{self._sequence:08x}", trunk, request.call_id)
        dialled, uri_error = _dialled(request)
        x = parse_middle(dialled, trunk.accept_zero)
        claimed = claimed_caller(request, trunk)
        # in the one form that records are searched by, should routing never come to say it
        call.x = x or dialled
        call.caller_number = parse_subscriber(claimed) or claimed
        sent_by = self.signalling.sent_by(transaction.flow)
        user = f"{format_middle(x, trunk.number_form)}@" if x else ""
        call.caller = CallerLeg(self.signalling, call, transaction, request, f"sip:{user}{sent_by}")
        self._calls[call.handle] = call
        self.statistics.attempts[trunk.name] += 1
        refusal = self._admit(call, request, uri_error)
        self._trunk_calls[trunk.name] += 1
        if refusal is not None:
            call.reject(refusal)
            return
        timestamp = request.get("timestamp")
        if timestamp:
            call.caller.own = (*call.caller.own, timestamp)
        self._answer(transaction, 100, (f"Timestamp: {timestamp}",) if timestamp else ())
        self._queries.append(Query(call.handle, trunk.name, call.x, call.caller_number, trunk.accept_zero))

    def _admit(self, call: Call, request: Request, uri_error: Local | None) -> Local | None:
        """State, limits, then the request itself; what a call needs of the request is taken on the way."""
        assert call.caller is not None
        trunk = call.ingress
        now = self.signalling.now.monotonic
        if self.draining:
            return Local.DRAINING
        if self.journal_failure:
            return Local.JOURNAL_FAILED
        if self.limits.max_calls and len(self._calls) > self.limits.max_calls:
            return Local.TOTAL_LIMIT
        if trunk.max_calls and self._trunk_calls[trunk.name] >= trunk.max_calls:
            return Local.TRUNK_LIMIT
        if not self._rates_in[trunk.name].take(now) or not self._rate.take(now):  # its own share first, then the node's
            return Local.CALL_RATE
        key = f"{request.call_id} {request.from_tag}"
        if key in self._attempts:
            return Local.MERGED  # §8.2.2.2
        call.key = key
        self._attempts[key] = call
        if not call.caller.usable:
            return Local.BAD_REQUEST
        hops = request.get("max-forwards")
        if hops is not None:
            if not (hops.isascii() and hops.isdigit() and len(hops) <= 3):
                return Local.BAD_REQUEST
            call.max_forwards = min(int(hops), DEFAULT_MAX_FORWARDS)
            if call.max_forwards == 0:
                return Local.MAX_FORWARDS
        required = _required(request)
        if required:
            call.caller.refusal_lines = (f"Unsupported: {', '.join(required)}",)
            return Local.BAD_EXTENSION
        if uri_error is not None:
            return uri_error
        try:
            call.offer = session_description(request)
        except ParseError as error:
            if error.status == 415:
                call.caller.refusal_lines = (ACCEPT,)
                return Local.BAD_MEDIA_TYPE
            return Local.BAD_SESSION if error.status == 488 else Local.BAD_REQUEST
        return None

    # the tripwire

    def _gate(self, wire: bytes, flow: Flow, sender: object) -> bool:
        """The last check before a datagram leaves, below every builder."""
        transaction = sender if isinstance(sender, Transaction) else None
        owner = sender if transaction is None else transaction.owner
        if not isinstance(owner, Leg):
            return True
        forbidden = owner.forbidden
        if not forbidden or forbidden not in wire:
            return True
        echo = () if transaction is None else transaction.echo
        if not reveals(wire, forbidden, (*owner.peer_texts(), *echo)):
            return True
        self.statistics.tripwire += 1
        self.signalling.tripped.append(owner)
        if transaction is not None:
            transaction.wire = None  # not to be tried again
        return False


def _bucket(trunk: Trunk) -> TokenBucket:
    return TokenBucket(trunk.calls_per_second, trunk.calls_per_second)


def _required(request: Request) -> list[str]:
    """Extensions the sender insists on; we support none that has an option tag."""
    if "require" not in request.first and "proxy-require" not in request.first:
        return []
    return [tag for tag in tokens_of([*request.all("require"), *request.all("proxy-require")]) if tag.isprintable()]


def _dialled(request: Request) -> tuple[str, Local | None]:
    """(the number dialled, nothing) or ('', what is wrong with the request URI)."""
    try:
        return dialled_user(parse_uri(request.uri)), None
    except ParseError as error:
        return "", Local.URI_SCHEME if error.status == 416 else Local.BAD_REQUEST


def _live(call: Call) -> LiveCall:
    """A call as the operator sees it."""
    return LiveCall(
        call.record_id,
        call.state.name.lower(),
        call.x if parse_middle(call.x) else mask(call.x),
        call.ingress.name,
        call.egress,
        mask(call.caller_number),
        mask(call.callee_number),
        call.since_ms,
        call.answered_ms,
    )
