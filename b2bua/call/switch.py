"""The switch: one synchronous object without input or output. Datagrams, decisions and deadlines go in; queries,
records and datagrams come out, to be taken by the shell in this order after every entry: answer queries, journal
records, send."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from b2bua.call.admission import LoadController, SourceGuard, TokenBucket
from b2bua.call.authentication import Authentication
from b2bua.call.call import Call, CallState
from b2bua.call.callee import CalleeLeg
from b2bua.call.caller import CallerLeg
from b2bua.call.credentials import Accounts
from b2bua.call.former import FormerTrunks
from b2bua.call.leg import ACCEPT, ALLOW, SUPPORTED, Leg, Now, Signalling, cause_line
from b2bua.call.listeners import Listeners, asks_secure, contact_uri
from b2bua.call.privacy import claimed_caller, invitation, reveals
from b2bua.call.probing import Probe, Prober
from b2bua.call.refusals import Local, verdict_of
from b2bua.call.reliable import NEVER, OFFERED, REQUIRED
from b2bua.call.session import session_description
from b2bua.call.session_timer import SessionTimers
from b2bua.call.statistics import Statistics
from b2bua.call.timed import TimedLeg
from b2bua.call.trunk_state import Change, TargetState, TargetView, TrunkStates
from b2bua.sip.endpoint import AckReceived, CancelReceived, Endpoint, Event, RequestReceived, ResponseReceived
from b2bua.sip.errors import ParseError
from b2bua.sip.headers import tokens_of
from b2bua.sip.message import Request
from b2bua.sip.parser import Limits
from b2bua.sip.session_expires import TIMER, Preference, Terms
from b2bua.sip.stream import FramingError
from b2bua.sip.timers import TimerValues
from b2bua.sip.transaction import Flow, ServerTransaction, Transaction
from b2bua.sip.uri import dialled_user, parse_uri
from cdr import record
from routing.decide import Query, Refusal, Route
from routing.numbers import bare_digits, format_middle, mask, parse_middle, parse_subscriber
from routing.targets import Choice, Target
from routing.trunks import Reliable, Trunk

__all__ = ["LiveCall", "Now", "Switch", "SwitchSettings"]

LONGEST_KEEP_ALIVE = 4  # CRLF CRLF (RFC 5626 §3.5.1); some peers send a NUL or a blank
DEFAULT_MAX_FORWARDS = 70

DIALOG_METHODS = frozenset(("BYE", "INVITE", "INFO", "PRACK", "UPDATE"))
EXTENSIONS = frozenset(("100rel",))  # what a peer may insist on

# Methods that we know and do not take, and the answer that ends each one's business (sip-level refusal, nothing
# forwarded)
REFUSED_METHODS = {
    "REGISTER": 405,
    "MESSAGE": 405,
    "UPDATE": 481,
    "PUBLISH": 489,
    "SUBSCRIBE": 489,
    "NOTIFY": 481,
    "PRACK": 481,
    "REFER": 603,
    "BYE": 481,
    "INFO": 481,
}

# How the To tags begin that refusals for overload carry: the ACK of one is known by it.
TURNED_AWAY_TAG = "full-"
TURNED_AWAY = f";tag={TURNED_AWAY_TAG}".encode()
# Requests without a dialog, besides INVITE, that something new may begin with: closed while no call is taken
ENTRANCES = frozenset(("OPTIONS", "MESSAGE"))


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
    session_expires_seconds: int = 1800
    min_se_seconds: int = 90
    session_refresher: Preference = Preference.EITHER
    park_seconds: float = 30.0
    decision_seconds: float = 4.0
    overload_seconds: float = 0.0
    max_calls: int = 0
    calls_per_second: float = 0.0
    source_messages_per_second: float = 0.0
    source_burst: float = 0.0
    digest_failures: int = 10
    digest_window_seconds: float = 60.0
    digest_ignore_seconds: float = 300.0

    @property
    def session_terms(self) -> Terms | None:
        """What we want of session timers; None: nothing."""
        if not self.session_expires_seconds:
            return None
        return Terms(self.session_expires_seconds, self.min_se_seconds, self.session_refresher)


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
    host:port as peers see it, ``transports`` to its transport (see Listeners). The shell sets ``journal_failure`` to a
    text while records cannot be written: no call is taken then. ``journal_tight`` besides: the room that is left is for
    the ends of live calls, and attempts refused meanwhile are only counted.
    """

    def __init__(
        self,
        settings: SwitchSettings,
        trunks: Sequence[Trunk],
        token: Callable[[], str],
        advertised: Mapping[str, str],
        transports: Mapping[str, str] | None = None,
    ) -> None:
        self.limits = settings
        self.node = settings.node
        self.trunks = {trunk.name: trunk for trunk in trunks}
        self.statistics = Statistics()
        self.notices: list[tuple[str, str]] = []  # (event, trunk) for the shell to log
        self.draining = False
        self.journal_failure = ""
        self.journal_tight = False
        self.listeners = Listeners(advertised, transports or {})
        self.endpoint = Endpoint(
            settings.timers,
            token,
            self.listeners.advertised,
            limits=settings.message,
            gate=self._gate,
            heavy=self._heavy,
        )
        timers = SessionTimers(settings.session_terms, self.statistics)
        self.signalling = Signalling(self.endpoint, settings.product, timers)
        self.authentication = Authentication(self.signalling, self.statistics, settings, trunks, token)
        self._accounts = Accounts(token, self.statistics, self.notices)
        self._accounts.renew(trunks)
        self._instance = token()
        self.states = TrunkStates(trunks, self._pick)
        self._former: list[FormerTrunks] = []
        self.load = LoadController(settings.overload_seconds, settings.timers.timeout)
        self._guard = SourceGuard(settings.source_messages_per_second, settings.source_burst)
        self._rate = TokenBucket(settings.calls_per_second, settings.calls_per_second)
        # by direction, so that a flood from a trunk does not keep calls to it away
        self._rates_in = {name: _bucket(trunk) for name, trunk in self.trunks.items()}
        self._rates_out = {name: _bucket(trunk) for name, trunk in self.trunks.items()}
        self._calls: dict[int, Call] = {}
        self._attempts: dict[str, Call] = {}  # by Call-ID and caller's tag, to know one INVITE that came two ways
        self._trunk_calls = dict.fromkeys(self.trunks, 0)  # legs up or being set up, by trunk
        self._sequence = 0
        self._asked: list[Call] = []  # calls whose queries the shell has at the moment
        self._queries: list[Query] = []
        self._records: list[record.Event] = []
        self._invite_lines = (ALLOW, f"User-Agent: {settings.product}")
        self._answer_lines = (ALLOW, ACCEPT, SUPPORTED, f"Server: {settings.product}")
        probe_lines = (ACCEPT, f"User-Agent: {settings.product}")
        self._started = False
        self._prober = Prober(self.signalling, self.states, self._flow_to, probe_lines, self._pick, self._accounts)

    # entries

    def start(self, now: Now) -> None:
        """Begin what the switch does of itself: asking the targets of its trunks whether they are there."""
        self.signalling.now = now
        self._started = True
        self._prober.sync(now.monotonic)

    def targets(self, table: Mapping[str, Sequence[Choice]], now: Now) -> None:
        """What DNS says now of some trunks: where their calls go, and with that where they may come from."""
        self.signalling.now = now
        before = {name: self.states.addresses(name) for name in table}
        self.states.resolved(table)
        # a live call may be with an address that is no longer given
        left = {name: sorted(set(before[name]) - set(self.states.addresses(name))) for name in table}
        gone = [replace(trunk, peers=(), networks=()) for name, trunk in self.trunks.items() if left.get(name)]
        if gone:
            self._retire(gone, left, now.monotonic)
        if self._started and not self.draining:
            self._prober.sync(now.monotonic)

    def admits(self, flow: Flow, now: float) -> bool:
        """Whether a message from there may cost anything: its source is a trunk's, and within its share."""
        if self._sender(flow, "") is None:
            self.statistics.drops["unknown_source"] += 1
            return False
        if not self._guard.admit(flow.peer[0], now):
            self.statistics.drops["source_flood"] += 1
            return False
        return True

    def receive(self, data: bytes, flow: Flow, now: Now, owner: str = "") -> None:
        """A datagram, or one framed message of a stream, from a source that ``admits`` has let in. ``owner``: the trunk
        that a connection belongs to (``trunk_for``)."""
        trunk = self._sender(flow, owner)
        if trunk is None:
            return
        if len(data) <= LONGEST_KEEP_ALIVE and not data.strip(b"\r\n\0 "):
            self.statistics.drops["keep_alive"] += 1
            return
        if self.load.overloaded and TURNED_AWAY in data and data.startswith(b"ACK "):
            self.endpoint.received["ACK"] += 1  # of a 503 that nothing is remembered for: not even read
            return
        self.signalling.now = now
        self.endpoint.receive(data, flow, now.monotonic)
        self._settle(trunk)

    def _sender(self, flow: Flow, owner: str) -> Trunk | None:
        """Whose message it is, as far as its way here tells: its connection's trunk, which a certificate may have
        named, else that of its address. Where that trunk asks for digest, its requests have the last word."""
        if owner:
            return self._trunk_named(owner)
        trunk = self._trunk_of(*flow.peer)
        return None if trunk is None or trunk.certificate_names else trunk

    # connections

    def trunk_for(self, host: str, port: int, names: frozenset[str]) -> str:
        """The trunk that a connection belongs to: by the names of its verified certificate, else by its address; '' for
        a stranger. A trunk with ``certificate_names`` is known by those alone."""
        for trunk in self.trunks.values():
            if not names.isdisjoint(trunk.certificate_names):
                return trunk.name
        at = self._trunk_of(host, port)
        return at.name if at is not None and not at.certificate_names else ""

    def knows(self, host: str) -> bool:
        """Whether any trunk sends from this host, whatever the port."""
        return self.states.sources.knows(host) or any(former.sources.knows(host) for former in self._former)

    def expects(self, host: str, port: int) -> tuple[str, frozenset[str]]:
        """(trunk, names) of a peer that we connect to: one of the names has to stand in its certificate."""
        trunk = self._trunk_of(host, port)
        if trunk is None:
            return "", frozenset((host,))
        if trunk.certificate_names:
            return trunk.name, frozenset(trunk.certificate_names)
        return trunk.name, frozenset((host, *(peer.host.lower() for peer in trunk.peers)))

    def shares(self, flow: Flow, now: float) -> bool:
        """Whether a connection's source has a share left; else the connection waits."""
        return self._guard.admit(flow.peer[0], now)

    def unframed(self, error: FramingError, flow: Flow, now: Now) -> None:
        """A connection that is about to be closed, since its messages cannot be told apart."""
        self.signalling.now = now
        self.endpoint.unreadable(error.head, flow, error)

    def undelivered(self, wire: bytes, flow: Flow, now: Now) -> None:
        """The shell could not deliver this message."""
        self.signalling.now = now
        self.listeners.refused(flow, now.monotonic)
        self.endpoint.undelivered(wire, now.monotonic)
        self._settle(None)

    def bounced(self, start: bytes, now: Now) -> None:
        """ICMP says that a datagram of ours, which began so, has reached nobody."""
        self.signalling.now = now
        self.endpoint.bounced(start, now.monotonic)
        self._settle(None)

    def connection_lost(self, flow: Flow, now: Now) -> bool:
        """A connection that has carried requests is gone; True: there are some whose answer may still come."""
        self.signalling.now = now
        waiting = self.endpoint.connection_lost(flow, now.monotonic)
        self._settle(None)
        return waiting

    def unreachable(self, flow: Flow, now: Now) -> None:
        """Such an answer will not come: the peer cannot be connected to."""
        self.signalling.now = now
        self.endpoint.unreachable(flow, now.monotonic)
        self._settle(None)

    def _heavy(self, flow: Flow) -> Flow | None:
        trunk = self._trunk_of(*flow.peer)
        if trunk is None or not trunk.large_over_tcp:
            return None
        return self.listeners.heavy(flow, self.signalling.now.monotonic)

    # routing's part

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
            call.connect(decision, self.states.route(decision.trunks, now.monotonic))
        self._settle(None)

    def wake(self, now: Now) -> None:
        """A deadline has come."""
        self.signalling.now = now
        self.endpoint.wake(now.monotonic)
        self._settle(None)

    def reconfigure(self, settings: SwitchSettings, trunks: Sequence[Trunk], now: Now) -> None:
        """Take over other limits, times and trunks while calls go on; the node's name and listeners stay.

        Calls over a trunk that is gone, or that comes from other addresses now, go on to their end; no new one is
        taken from there or sent there. What was counted stays counted: calls, tokens, parked trunks. ValueError, and
        nothing has changed, when two trunks claim one source.
        """
        # one object for as long as nothing about it changes: that is how a former trunk is told
        kept = [self.trunks[trunk.name] if self.trunks.get(trunk.name) == trunk else trunk for trunk in trunks]
        gone = [trunk for trunk in self.trunks.values() if trunk not in kept]
        resolved = {trunk.name: self.states.addresses(trunk.name) for trunk in gone}
        self.states.replace(kept)
        self.signalling.now = now
        self.trunks = {trunk.name: trunk for trunk in kept}
        self.authentication.renew(kept)
        self._accounts.renew(kept)
        self.authentication.limits = settings
        if gone:
            self._retire(gone, resolved, now.monotonic)
        for trunk in kept:
            for rates in (self._rates_in, self._rates_out):
                if trunk.name in rates:
                    rates[trunk.name].change(trunk.calls_per_second, trunk.calls_per_second, now.monotonic)
                else:
                    rates[trunk.name] = _bucket(trunk)
            self._trunk_calls.setdefault(trunk.name, 0)
        self._guard.change(settings.source_messages_per_second, settings.source_burst, now.monotonic)
        self._rate.change(settings.calls_per_second, settings.calls_per_second, now.monotonic)
        self.load.bound = settings.overload_seconds
        self.endpoint.values = settings.timers
        self.endpoint.limits = settings.message
        self.signalling.agent = settings.product
        self.signalling.session_timers.terms = settings.session_terms
        self._invite_lines = (ALLOW, f"User-Agent: {settings.product}")
        self._answer_lines = (ALLOW, ACCEPT, SUPPORTED, f"Server: {settings.product}")
        self._prober.lines = (ACCEPT, f"User-Agent: {settings.product}")
        if self._started and not self.draining:
            self._prober.sync(now.monotonic)
        self.limits = settings

    def _retire(self, gone: list[Trunk], resolved: Mapping[str, list[tuple[str, int]]], now: float) -> None:
        """Keep trunks known for what belongs to their calls."""
        names = {trunk.name for trunk in gone}
        calls = {call.handle for call in self._calls.values() if call.ingress.name in names or call.counted in names}
        former = FormerTrunks(gone, calls, self._forget, resolved)
        self._former.append(former)
        if not calls:
            self._let_settle(former, now)

    def _let_settle(self, former: FormerTrunks, now: float) -> None:
        """Its last call is over: the messages that end it have as long as any transaction (RFC 3261 timers F and H)."""
        self.endpoint.timers.set(former, now + self.endpoint.values.timeout, now)

    def _forget(self, former: FormerTrunks) -> None:
        self._former.remove(former)
        for trunk in former.trunks:
            name = trunk.name
            known = name in self.trunks or any(trunk.name == name for other in self._former for trunk in other.trunks)
            if not known:
                for table in (self._rates_in, self._rates_out, self._trunk_calls):
                    table.pop(name, None)

    def _trunk_named(self, name: str) -> Trunk | None:
        trunk = self.trunks.get(name)
        if trunk is None and self._former:
            gone = (trunk for former in self._former for trunk in former.trunks if trunk.name == name)
            trunk = next(gone, None)
        return trunk

    def _trunk_of(self, host: str, port: int) -> Trunk | None:
        trunk = self.states.sources.trunk_of(host, port)
        if trunk is None and self._former:
            for former in self._former:
                trunk = former.sources.trunk_of(host, port) or trunk
        return trunk

    def drain(self, now: Now) -> None:
        """Take no new calls from now on; the live ones go on."""
        self.signalling.now = now
        self.draining = True
        self._prober.stop()

    def release_all(self, now: Now) -> None:
        """End every call at once, in order: records first, then BYE, CANCEL or 503."""
        self.signalling.now = now
        for call in list(self._calls.values()):
            call.release(Local.SHUTDOWN)
        self._settle(None)

    def end_withdrawn(self, serves: Callable[[str], bool], now: Now) -> None:
        """End the calls of middle numbers that are not served any more; what is undecided, routing refuses."""
        self.signalling.now = now
        for call in list(self._calls.values()):
            if call.state is not CallState.DECIDING and not serves(call.x):
                call.release(Local.BLOCK_ENDED)
        self._settle(None)

    def unwritten(self, events: Sequence[record.Event], now: Now) -> None:
        """These records are in memory alone: the calls that begin with them are refused, and nothing leaves to their
        callees. To be called before anything is sent."""
        self.signalling.now = now
        for event in events:
            call = self._calls.get(event.sequence) if isinstance(event, record.Attempted) else None
            if call is None or call.state is not CallState.SETUP:
                continue
            for transaction in self.endpoint.clients.values():
                if transaction.owner is call.callee and transaction.wire is not None:
                    withdrawn, transaction.wire = transaction.wire, None  # nor sent again
                    self.endpoint.outgoing = [entry for entry in self.endpoint.outgoing if entry[0] != withdrawn]
            call.release(Local.JOURNAL_FAILED)
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
        if self._asked:
            self._await_decisions()
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

    def changes(self) -> list[Change]:
        """What has happened to the targets of trunks since the last call, for the log."""
        changes = self.states.changes
        if changes:
            self.states.changes = []
        return changes

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

    def trunk_view(self, now: Now) -> list[TargetView]:
        """Every target of every trunk, as the operator sees it."""
        return self.states.view(now.monotonic)

    def tables(self) -> dict[str, int]:
        """The size of everything that must be empty when nothing goes on; our probes, which always go on, left out."""
        return {
            "calls": len(self._calls),
            "attempts": len(self._attempts),
            "former_trunks": len(self._former),
            "dialogs": len(self.signalling.legs),
            "server_transactions": len(self.endpoint.servers),
            "client_transactions": len(self.endpoint.clients) - self._prober.transactions(),
            "timers": len(self.endpoint.timers) - self._prober.timers(),
        }

    def down(self, now: Now) -> frozenset[str]:
        """Trunks that are not to be tried at the moment."""
        return self.states.down(now.monotonic)

    # what a call needs (the Exchange of call.py)

    def write(self, event: record.Event) -> None:
        """Put an event on its way to the journal."""
        self._records.append(event)

    def barred(self, state: TargetState) -> str:
        """Why no further call may leave there, '' when one may."""
        current = trunk = self.trunks.get(state.trunk.name)
        if trunk is None or current is None:
            return "removed"
        if not state.target.host:
            return "dns"
        if current.max_calls and self._trunk_calls[trunk.name] >= current.max_calls:
            return "full"
        return "" if self._rates_out[trunk.name].take(self.signalling.now.monotonic) else "rate"

    def dial(self, call: Call, state: TargetState) -> CalleeLeg:
        """Send the INVITE of a call over one route."""
        assert call.route is not None
        trunk, target = state.trunk, state.target
        flow = self._flow_to(target)
        invited = invitation(call.route, trunk, target.peer, flow, self.signalling.sent_by(flow), self._invite_lines)
        leg = CalleeLeg(self.signalling, call, flow, invited, trunk.name)
        leg.account = self._accounts.at(trunk.name)
        if not trunk.session_timers:
            leg.terms = None
        self._count_egress(call, trunk.name)
        # an offer of the callee in a provisional answer is only of use to a caller who can answer it
        caller = call.caller
        able = bool(call.offer) or (caller is not None and caller.reliable != NEVER)
        leg.invite(invited, call.offer, call.max_forwards - 1, _RELIABILITY[trunk.reliable] if able else NEVER)
        return leg

    def park(self, state: TargetState, seconds: float) -> None:
        """Leave a target alone for so long."""
        self.states.park(state, seconds, self.signalling.now.monotonic)

    def silent(self, state: TargetState) -> None:
        """An INVITE to this target had no reply in time, or did not reach it."""
        self.states.silent(state, self.limits.park_seconds, self.signalling.now.monotonic)

    def rang(self, call: Call, trunk: str, seconds: float) -> None:
        """A call has reached the callee over this trunk."""
        self.statistics.setup_by(trunk).observe(seconds)

    def answered(self, call: Call, trunk: str, seconds: float) -> None:
        """A call was answered over this trunk."""
        self.statistics.answer_by(trunk).observe(seconds)

    def over(self, call: Call, outcome: str, reason: str) -> None:
        """A call has ended and leaves the tables."""
        self._calls.pop(call.handle, None)
        if self._attempts.get(call.key) is call:
            del self._attempts[call.key]
        self._trunk_calls[call.ingress.name] -= 1
        self._count_egress(call, "")
        for former in self._former:
            if call.handle in former.calls:
                former.calls.discard(call.handle)
                if not former.calls:
                    self._let_settle(former, self.signalling.now.monotonic)
        self.statistics.outcomes[call.ingress.name, outcome] += 1
        if reason:
            self.statistics.refusals[call.ingress.name, reason] += 1

    def _flow_to(self, target: Target) -> Flow:
        """How to reach a target."""
        return self.listeners.flow_to(target.transport, target.host, target.port)

    def _pick(self) -> float:
        """A random number in [0, 1)."""
        return int(self.endpoint.token()[:13], 16) / 16**13

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
            if isinstance(owner, (Leg, Probe)):
                challenged = event.response.status in (401, 407)
                if not challenged or not owner.on_challenge(event.transaction, event.response):
                    owner.on_response(event.transaction, event.response)
        elif isinstance(event, RequestReceived):
            assert trunk is not None
            sender: Trunk | None = trunk
            if trunk.digest_realm and event.request.to_tag not in self.signalling.legs:
                sender = self.authentication.identify(event, trunk)
            if sender is not None:
                self._on_request(event.transaction, event.request, sender)
        elif isinstance(event, AckReceived):
            leg = self.signalling.legs.get(event.request.to_tag)
            if leg is not None:
                leg.on_ack(event.request)
        elif isinstance(event, CancelReceived):
            owner = event.transaction.owner
            if isinstance(owner, Leg):
                owner.on_cancel(event.transaction, event.request)
        elif isinstance(event.transaction.owner, (Leg, Probe)):
            event.transaction.owner.on_failed(event.transaction)
            event.transaction.owner = None

    def _on_request(self, transaction: ServerTransaction, request: Request, trunk: Trunk) -> None:
        method = request.method
        if request.to_tag:
            leg = self.signalling.legs.get(request.to_tag)
            if leg is not None and method in DIALOG_METHODS:
                # a BYE ends the call whatever else it asks for
                required = self._required(request, leg) if method != "BYE" else []
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
        elif self._former and self.trunks.get(trunk.name) is not trunk:
            self._answer(transaction, 403)
            return
        self._answer_alone(transaction, request)

    def _required(self, request: Request, leg: Leg | None = None) -> list[str]:
        """Extensions the sender insists on and we do not have; session timers count where they are on."""
        if "require" not in request.first and "proxy-require" not in request.first:
            return []
        terms = leg.terms if isinstance(leg, TimedLeg) else self.signalling.session_timers.terms
        had = EXTENSIONS if terms is None else {*EXTENSIONS, TIMER}
        tags = [tag for tag in tokens_of(request.all("require")) if tag.lower() not in had]
        return [tag for tag in (*tags, *tokens_of(request.all("proxy-require"))) if tag.isprintable()]

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
        required = self._required(request)
        if required:
            self._answer(transaction, 420, (f"Unsupported: {', '.join(required)}",))
        elif method in ENTRANCES and (self.draining or self.journal_failure):
            self._answer(transaction, 503, ("Retry-After: 30",))
        elif method == "OPTIONS":
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
        if self._turned_away(transaction, trunk):
            return
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
        flow = transaction.flow
        user = format_middle(x, trunk.number_form) if x else ""
        contact = contact_uri(flow, self.signalling.sent_by(flow), user, asks_secure(request))
        call.caller = CallerLeg(self.signalling, call, transaction, request, contact)
        call.caller.account = self._accounts.at(trunk.name)
        if not trunk.session_timers:
            call.caller.terms = None
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
        self._asked.append(call)
        self._queries.append(Query(call.handle, trunk.name, call.x, call.caller_number, trunk.accept_zero))

    def _turned_away(self, transaction: ServerTransaction, trunk: Trunk) -> bool:
        """Overload: 503 before any work, neither recorded nor repeated, and the same again for the same INVITE."""
        load = self.load
        now = self.signalling.now.monotonic
        tag = load.remembered(transaction.key, now)
        if not tag:
            if load.takes():
                return False
            tag = f"{TURNED_AWAY_TAG}{self.endpoint.token()}"
            self.statistics.refusals[trunk.name, Local.OVERLOAD] += 1
            if load.refused(transaction.key, tag, now):
                self.notices.append(("overload_began", trunk.name))
        verdict = verdict_of(Local.OVERLOAD)
        lines = (f"Retry-After: {verdict.retry_after}", cause_line(verdict.q850, verdict.text))
        self.endpoint.respond_once(transaction, verdict.status, tag, now, extra=lines)
        return True

    def relieved(self, now: Now) -> bool:
        """To be asked a few times a second: True once when an overload is over."""
        return self.load.relieved(now.monotonic)

    def _await_decisions(self) -> None:
        """The shell has answered what it could answer at once; what it could not is given so long."""
        for call in self._asked:
            call.await_decision()
        self._asked = []

    def _admit(self, call: Call, request: Request, uri_error: Local | None) -> Local | None:
        """State, limits, then the request itself; what a call needs of the request is taken on the way."""
        assert call.caller is not None
        trunk = call.ingress
        now = self.signalling.now.monotonic
        if self.draining:
            return Local.DRAINING
        if self.journal_failure:
            return Local.JOURNAL_FAILED
        if self.trunks.get(trunk.name) is not trunk:
            return Local.TRUNK_REMOVED
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
        required = self._required(request, call.caller)
        if required:
            call.caller.refusal_lines = (f"Unsupported: {', '.join(required)}",)
            return Local.BAD_EXTENSION
        if call.caller.interval_too_small():
            return Local.SESSION_INTERVAL
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


_RELIABILITY = {Reliable.OFF: NEVER, Reliable.SUPPORTED: OFFERED, Reliable.REQUIRED: REQUIRED}


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
