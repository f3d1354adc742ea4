"""The switch: one synchronous object without input or output. Datagrams, decisions and deadlines go in; queries,
records and datagrams come out, to be taken by the shell in this order after every entry: answer queries, journal
records, send."""

from collections.abc import Callable, Mapping, Sequence

from b2bua.call.admission import SourceGuard
from b2bua.call.authentication import Authentication
from b2bua.call.call import Call, CallState
from b2bua.call.callee import CalleeLeg
from b2bua.call.courier import Courier, Side
from b2bua.call.credentials import Accounts
from b2bua.call.entrance import TURNED_AWAY, Entrance
from b2bua.call.exit import Exit
from b2bua.call.extensions import unsupported
from b2bua.call.leg import ACCEPT, Leg, Now, Signalling
from b2bua.call.listeners import Listeners
from b2bua.call.live import LiveCall, live_calls, provider_of
from b2bua.call.messages import Messages
from b2bua.call.origins import Origins
from b2bua.call.probing import Probe, Prober
from b2bua.call.prompt import MEDIA_SERVER, Prompt, Prompts, media_trunk
from b2bua.call.refusals import Local
from b2bua.call.session_timer import SessionTimers
from b2bua.call.settings import SwitchSettings
from b2bua.call.statistics import Statistics
from b2bua.call.stored import Kept
from b2bua.call.timed import TimedLeg
from b2bua.call.tripwire import Tripwire
from b2bua.call.trunk_load import TrunkLoad
from b2bua.call.trunk_state import Change, TargetState, TargetView, TrunkStates
from b2bua.sip.endpoint import AckReceived, CancelReceived, Endpoint, Event, RequestReceived, ResponseReceived
from b2bua.sip.message import Request
from b2bua.sip.stream import FramingError
from b2bua.sip.transaction import Flow, ServerTransaction
from cdr import record
from routing.binding import Binding
from routing.counters import Counters
from routing.decide import Query, Refusal, Route
from routing.last_callers import LastCallers
from routing.numbers import bare_digits
from routing.targets import Choice
from routing.trunks import Trunk

__all__ = ["LiveCall", "Now", "Switch", "SwitchSettings"]

LONGEST_KEEP_ALIVE = 4  # CRLF CRLF (RFC 5626 §3.5.1); some peers send a NUL or a blank

DIALOG_METHODS = frozenset(("BYE", "INVITE", "INFO", "PRACK", "UPDATE"))


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
        self.statistics = Statistics()
        self.notices: list[tuple[str, str]] = []  # (event, trunk) for the shell to log
        self.draining = False
        self.journal_failure = ""
        self.journal_tight = False
        self.listeners = Listeners(advertised, transports or {})
        self._tripwire = Tripwire(self.statistics)
        self.endpoint = Endpoint(
            settings.timers,
            token,
            self.listeners.advertised,
            limits=settings.message,
            gate=self._tripwire.passes,
            heavy=self._heavy,
        )
        timers = SessionTimers(settings.session_terms, self.statistics)
        self.signalling = Signalling(self.endpoint, settings.product, timers)
        self.authentication = Authentication(self.signalling, self.statistics, settings, trunks, token)
        self._accounts = Accounts(token, self.statistics, self.notices)
        self._accounts.renew(trunks)
        self.states = TrunkStates(trunks, self._pick)
        self._trunk_load = TrunkLoad(trunks)
        self.origins = Origins(trunks, self.states, self.endpoint, self._calls_over, self._trunk_load.forget)
        self._prompts = Prompts(self.signalling, self.listeners, self.statistics, settings.prompts)
        self.origins.serve_media(media_trunk(settings.prompts), 0.0)
        self._entrance = Entrance(self, settings, self.signalling, self.origins, self._trunk_load, self._accounts)
        self._exit = Exit(self.signalling, self.listeners, self.states, self._trunk_load, self._accounts)
        self.load = self._entrance.load
        self._guard = SourceGuard(settings.source_messages_per_second, settings.source_burst)
        self.counters = Counters()  # what caps compare with; the shell gives them a file behind
        self.last_callers = LastCallers()
        self._calls: dict[int, Call] = {}
        self._asked: list[Call] = []  # calls whose queries the shell has at the moment
        self._queries: list[Query] = []
        self._records: list[record.Event] = []
        self.messages = Messages(
            self,
            self.signalling,
            self.listeners,
            self.states,
            self.origins,
            self._exit,
            self._trunk_load,
            self._accounts,
            self._pick,
        )
        probe_lines = (ACCEPT, f"User-Agent: {settings.product}")
        self._started = False
        self._prober = Prober(self.signalling, self.states, self._exit.flow_to, probe_lines, self._pick, self._accounts)

    # entries

    def start(self, now: Now) -> None:
        """Begin what the switch does of itself: asking the targets of its trunks whether they are there."""
        self.signalling.now = now
        self._started = True
        self._prober.sync(now.monotonic)

    def targets(self, table: Mapping[str, Sequence[Choice]], now: Now) -> None:
        """What DNS says now of some trunks: where their calls go, and with that where they may come from."""
        self.signalling.now = now
        self.origins.resolved(table, now.monotonic)
        if self._started and not self.draining:
            self._prober.sync(now.monotonic)

    def admits(self, flow: Flow, now: float) -> bool:
        """Whether a message from there may cost anything: its source is a trunk's, and within its share."""
        if self.origins.sender(flow) is None:
            self.statistics.drops["unknown_source"] += 1
            return False
        if not self._guard.admit(flow.peer[0], now):
            self.statistics.drops["source_flood"] += 1
            return False
        return True

    def receive(self, data: bytes, flow: Flow, now: Now, trunk: Trunk | None = None) -> None:
        """A datagram, or one framed message of a stream, from a source that ``admits`` has let in. ``trunk``: who
        speaks on the connection it came by (``origins.speaker``)."""
        if trunk is None:
            trunk = self.origins.sender(flow)
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

    # connections

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
        trunk = self.origins.trunk_at(*flow.peer)
        if trunk is None or not trunk.large_over_tcp:
            return None
        return self.listeners.heavy(flow, self.signalling.now.monotonic)

    # routing's part

    def decided(self, query: Query, decision: Route | Refusal, now: Now, verification: str = "") -> None:
        """The answer to a query; ignored when the caller has given up meanwhile. ``verification``: what the hook has
        said to it, '' where none was asked."""
        self.signalling.now = now
        self.counters.decided(query.call)
        call = self._calls.get(query.call)
        if call is None or call.state is not CallState.DECIDING or call.caller is None:
            if call is None:
                self.counters.release(query.call)  # routing spoke after its end
            if query.kind == "message":
                self.messages.decided(query, decision, verification)
                self._settle(None)
            return
        call.verification = verification
        if isinstance(decision, Refusal):
            call.refuse(decision)
        else:
            call.caller.forbidden = bare_digits(decision.callee).encode()
            if decision.binding.group and decision.calling == "a":
                self.last_callers.note(decision.binding.id, decision.caller)
            call.connect(decision, self.states.route(decision.trunks, now.monotonic))
        self._settle(None)

    def record_of(self, query: Query) -> str:
        """The record id of the attempt that a query is for, '' when the caller has given up meanwhile."""
        if query.kind == "message":
            return self.messages.record_of(query.call)
        call = self._calls.get(query.call)
        return call.record_id if call is not None and call.state is CallState.DECIDING else ""

    def undecided(self) -> list[str]:
        """The record ids of calls that were counted and have no line in the journal yet."""
        found = [
            call.record_id if (call := self._calls.get(handle)) is not None else self.messages.record_of(handle)
            for handle in self.counters.undecided()
        ]
        return [record_id for record_id in found if record_id]

    # messages on disk

    def resume(self, kept: Sequence[Kept], now: Now) -> None:
        """Take up the messages that the process before has left on disk; once, after its ``Kept`` and ``Boot`` stand in
        the journal."""
        self.signalling.now = now
        self.messages.resume(kept)
        self._settle(None)

    def on_disk(self, done: Sequence[tuple[str, bool]], now: Now) -> None:
        """(record id, whether it could be done) of orders that the disk was given by ``messages.take_orders``."""
        self.signalling.now = now
        for record_id, good in done:
            self.messages.on_disk(record_id, good)
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
        kept = self.origins.replace(trunks, now.monotonic)
        self.signalling.now = now
        if settings.prompts != self._prompts.settings:
            self.origins.serve_media(media_trunk(settings.prompts), now.monotonic)
            self._prompts.settings = settings.prompts
        self.authentication.renew(kept)
        self._accounts.renew(kept)
        self.authentication.limits = settings
        self._trunk_load.renew(kept, now.monotonic)
        self._guard.change(settings.source_messages_per_second, settings.source_burst, now.monotonic)
        self._entrance.reconfigure(settings, now.monotonic)
        self.endpoint.values = settings.timers
        self.endpoint.limits = settings.message
        self.signalling.agent = settings.product
        self.signalling.session_timers.terms = settings.session_terms
        self._prober.lines = (ACCEPT, f"User-Agent: {settings.product}")
        if self._started and not self.draining:
            self._prober.sync(now.monotonic)
        self.limits = settings

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
        self.messages.leave()
        self._settle(None)

    def end_withdrawn(self, serves: Callable[[str], bool], now: Now) -> None:
        """End the calls of middle numbers that are not served any more; what is undecided, routing refuses."""
        self.signalling.now = now
        for call in list(self._calls.values()):
            if call.state is CallState.DECIDING:
                continue
            numbers = (call.x,) if call.binding is None else (call.binding.x, call.binding.y)
            if not all(serves(number) for number in numbers if number):
                call.release(Local.BLOCK_ENDED)
        self._settle(None)

    def live_handles(self) -> list[int]:
        """Names of all calls, for ``cut`` to go through."""
        return list(self._calls)

    def cut(self, handles: Sequence[int], ends: Callable[[Call, int], bool], now: Now) -> int:
        """End those of these calls of which ``ends(call, utc_ms)`` says so (R12); how many. What is undecided, routing
        refuses."""
        self.signalling.now = now
        ended = 0
        for handle in handles:
            call = self._calls.get(handle)
            if call is not None and call.state in (CallState.SETUP, CallState.UP) and ends(call, now.utc_ms):
                call.release(Local.BLOCKED)
                ended += 1
        if ended:
            self._settle(None)
        return ended

    def cut_messages(self, ends: Callable[[Binding, str, str, int], bool], now: Now) -> int:
        """End those messages that wait and of which ``ends(binding, caller, callee, utc_ms)`` says so; how many."""
        self.signalling.now = now
        ended = self.messages.cut(ends)
        self._settle(None)
        return ended

    def unwritten(self, events: Sequence[record.Event], now: Now) -> None:
        """These records are in memory alone: the calls that begin with them are refused, and nothing leaves to their
        callees. To be called before anything is sent."""
        self.signalling.now = now
        for event in events:
            if isinstance(event, record.Attempted) and event.kind == "message":
                self.messages.unwritten(event.sequence)
            call = self._calls.get(event.sequence) if isinstance(event, record.Attempted) else None
            if call is None or call.state not in (CallState.SETUP, CallState.PROMPT):
                continue
            for transaction in self.endpoint.clients.values():
                if transaction.owner is call.callee and transaction.wire is not None:
                    withdrawn, transaction.wire = transaction.wire, None  # nor sent again
                    self.endpoint.outgoing = [entry for entry in self.endpoint.outgoing if entry[0] != withdrawn]
            call.release(Local.JOURNAL_FAILED)
        self._settle(None)

    def hang_up(self, record_id: str, now: Now, provider: str = "") -> bool:
        """End one call for the operator, or for its ``provider``; False when there is none of that id, or of his."""
        self.signalling.now = now
        call = next((call for call in self._calls.values() if call.record_id == record_id), None)
        if call is None or (provider and provider_of(call) != provider):
            return False
        call.release(Local.HUNG_UP)
        self._settle(None)
        return True

    def discard(self, record_id: str, now: Now) -> bool:
        """Give one message up for the operator; False when none that waits has this id."""
        self.signalling.now = now
        found = self.messages.discard(record_id)
        self._settle(None)
        return found

    # what the shell takes

    def queries(self) -> list[Query]:
        """Questions for routing since the last call."""
        queries = self._queries
        if queries:
            self._queries = []
            # who has given up meanwhile must not be counted: nobody would take that back
            queries = [query for query in queries if query.call in self._calls or query.kind != "call"]
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

    def relieved(self, now: Now) -> bool:
        """To be asked a few times a second: True once when an overload is over."""
        return self.load.relieved(now.monotonic)

    def _await_decisions(self) -> None:
        """The shell has answered what it could answer at once; what it could not is given so long."""
        for call in self._asked:
            call.await_decision()
        self._asked = []

    # what the shell shows

    def live_calls(self, provider: str = "", after: int = 0, limit: int = 0, record_id: str = "") -> list[LiveCall]:
        """Calls, masked: all, or as ``live.live_calls`` says."""
        return live_calls(self._calls.values(), provider, after, limit, record_id)

    @property
    def active_calls(self) -> int:
        """How many calls are up or being set up."""
        return len(self._calls)

    def trunk_calls(self) -> Mapping[str, int]:
        """Legs up or being set up, by trunk."""
        return self._trunk_load.legs

    def trunk_view(self, now: Now) -> list[TargetView]:
        """Every target of every trunk, as the operator sees it."""
        return self.states.view(now.monotonic)

    def tables(self) -> dict[str, int]:
        """The size of everything that must be empty when nothing goes on; our probes, which always go on, left out."""
        return {
            "calls": len(self._calls),
            "attempts": len(self._entrance.attempts),
            "counted_calls": self.counters.holding(),
            "messages": len(self.messages),
            "message_reports": self.messages.reports,
            "former_trunks": len(self.origins),
            "announcements": self._prompts.playing,
            "dialogs": len(self.signalling.legs),
            "server_transactions": len(self.endpoint.servers),
            "client_transactions": len(self.endpoint.clients) - self._prober.transactions(),
            "timers": len(self.endpoint.timers) - self._prober.timers(),
        }

    def down(self, now: Now) -> frozenset[str]:
        """Trunks that are not to be tried at the moment."""
        return self.states.down(now.monotonic)

    # what the entrance needs (its Interior)

    def begin(self, call: Call) -> None:
        """A call comes into the tables."""
        self._calls[call.handle] = call

    def ask(self, call: Call, query: Query) -> None:
        """Put a question on its way to routing."""
        self._asked.append(call)
        self._queries.append(query)

    def put_query(self, query: Query) -> None:
        """The same for a message, which keeps its time itself."""
        self._queries.append(query)

    def call_over(self, handle: int) -> None:
        """A message is over: what was kept for its handle may go."""
        self.counters.release(handle)
        self.origins.over(handle, self.signalling.now.monotonic)

    # what a call needs (the Exchange of call.py)

    def write(self, event: record.Event) -> None:
        """Put an event on its way to the journal."""
        self._records.append(event)

    def barred(self, state: TargetState) -> str:
        """Why no further call may leave there, '' when one may."""
        return self._exit.barred(state)

    def dial(self, call: Call, state: TargetState) -> CalleeLeg:
        """Send the INVITE of a call over one route."""
        return self._exit.dial(call, state)

    def park(self, state: TargetState, seconds: float) -> None:
        """Leave a target alone for so long."""
        self.states.park(state, seconds, self.signalling.now.monotonic)

    def silent(self, state: TargetState) -> None:
        """An INVITE to this target had no reply in time, or did not reach it."""
        self.states.silent(state, self.limits.park_seconds, self.signalling.now.monotonic)

    def announce(self, call: Call, reason: str) -> Prompt | None:
        """Have the announcement of a refusal played, where there is one."""
        return None if self._prompts.settings is None else self._prompts.play(call, reason)

    def rang(self, call: Call, trunk: str, seconds: float) -> None:
        """A call has reached the callee over this trunk."""
        self.statistics.setup_by(trunk).observe(seconds)

    def answered(self, call: Call, trunk: str, seconds: float) -> None:
        """A call was answered over this trunk."""
        self.statistics.answer_by(trunk).observe(seconds)

    def over(self, call: Call, outcome: str, reason: str) -> None:
        """A call has ended and leaves the tables."""
        self._calls.pop(call.handle, None)
        self.counters.release(call.handle)
        self._entrance.over(call)
        self._exit.over(call)
        self.origins.over(call.handle, self.signalling.now.monotonic)
        self.statistics.outcomes[call.ingress.name, outcome] += 1
        if reason:
            self.statistics.refusals[call.ingress.name, reason] += 1

    def _pick(self) -> float:
        """A random number in [0, 1)."""
        return int(self.endpoint.token()[:13], 16) / 16**13

    def _calls_over(self, names: set[str]) -> set[int]:
        """The handles of all calls with a leg at one of these trunks."""
        announcing = MEDIA_SERVER in names
        return {
            call.handle
            for call in self._calls.values()
            if call.ingress.name in names or call.counted in names or (announcing and call.prompt is not None)
        } | self.messages.over_trunks(names)

    # events of the endpoint

    def _settle(self, trunk: Trunk | None) -> None:
        """Work off what an entry has stirred up; ``trunk`` is where a datagram came from."""
        while events := self.endpoint.take_events():
            for event in events:
                self._dispatch(event, trunk)
        while self._tripwire.tripped:
            leg = self._tripwire.tripped.pop()
            if isinstance(leg, Side):
                leg.tripped()
            elif isinstance(leg.call, Call):
                self.notices.append(("tripwire", leg.call.ingress.name))
                leg.call.release(Local.TRIPWIRE)

    def _dispatch(self, event: Event, trunk: Trunk | None) -> None:
        if isinstance(event, ResponseReceived):
            owner = event.transaction.owner
            if isinstance(owner, (Leg, Probe, Courier)):
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
        elif isinstance(event.transaction.owner, (Leg, Probe, Courier)):
            event.transaction.owner.on_failed(event.transaction)
            event.transaction.owner = None

    def _on_request(self, transaction: ServerTransaction, request: Request, trunk: Trunk) -> None:
        if not request.to_tag:
            if trunk.name == MEDIA_SERVER:
                self.signalling.answer(transaction, 403)  # it calls nobody
            else:
                self._entrance.enter(transaction, request, trunk)
            return
        method = request.method
        leg = self.signalling.legs.get(request.to_tag)
        if leg is not None and method in DIALOG_METHODS:
            # a BYE ends the call whatever else it asks for
            terms = leg.terms if isinstance(leg, TimedLeg) else self.signalling.session_timers.terms
            required = unsupported(request, terms) if method != "BYE" else []
            if required:
                self.signalling.answer(transaction, 420, (f"Unsupported: {', '.join(required)}",))
            else:
                leg.on_request(transaction, request)
        elif leg is None and method != "REGISTER":
            self.signalling.answer(transaction, 481)
        else:
            self._entrance.answer(transaction, request)
