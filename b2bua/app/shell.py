"""The rhythm of the switch process, the same for every entry: feed, answer queries, journal, send, re-arm one timer."""

import asyncio
import gc
import random
import secrets
from collections.abc import Callable, Container, Mapping, Sequence
from time import monotonic, time_ns

from pydantic import SecretStr

from b2bua.app.config import Settings
from b2bua.app.config_hooks import Verification, prompt_settings
from b2bua.app.config_messages import message_settings
from b2bua.app.config_policy import policy_settings
from b2bua.app.listeners import MAIN, Doors
from b2bua.app.message_store import MessageStore, Told
from b2bua.app.policing import MEMORY_SECONDS, Policing
from b2bua.app.resolver import Resolver
from b2bua.app.streams import StreamLimits, Streams
from b2bua.app.syncer import Syncer
from b2bua.app.tokens import Tokens
from b2bua.app.udp import UdpSocket
from b2bua.app.verification import FAILED_OPEN, PASSED, REFUSED, SKIPPED, VerificationFigures, Verifier, question
from b2bua.call.stored import Stored
from b2bua.call.switch import Now, Switch, SwitchSettings
from b2bua.sip.parser import Limits
from b2bua.sip.timers import TimerValues
from b2bua.sip.transaction import Flow
from cdr.journal import encode_event, frame
from cdr.record import Boot, Event, Kept
from cdr.seal import Seal
from cdr.store.segments import Writer
from routing.decide import Query, Reason, Refusal, Route, decide
from routing.errors import StoreError
from routing.plan import CALLABLE, Plan
from routing.policy import NO_POLICY
from routing.store.reader import Reader
from routing.targets import Choice

__all__ = ["Shell"]

# Deadlines closer together than this share one wake-up: a retransmission may be this late, in seconds.
TIMER_GRAIN = 0.02
# How often the store's change counter is read: a block works in under a second.
PLAN_SECONDS = 0.25
# How often the journal is looked at while nothing is written: a disk that is back is noticed.
JOURNAL_SECONDS = 1.0
# How often connections are looked at: which of them are idle or stuck.
TEND_SECONDS = 1.0
# How often it is asked whether an overload is over.
LOAD_SECONDS = 0.5
MESSAGES_NAME = "messages.db"  # in the data directory
KEPT_IDS = 1000  # in one line of the journal
NO_PLAN = -1  # the store could not be read yet
STALE_PLAN = -2  # it is to be read again, whatever its counter says
# Cyclic garbage is rare here, objects that live for a call are many: walk them seldom.
GC_THRESHOLDS = (50_000, 20, 50)


class Shell:
    """Owns the switch and everything it needs of the outside. Made inside a running event loop."""

    def __init__(
        self, settings: Settings, seal: Seal, journal: Writer, bindings: Reader, log: Callable[..., None]
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.journal = journal
        self.bindings = bindings
        self.store_failure = ""
        self.defects = 0  # exceptions that came out of the core, each a bug of ours
        self.doors = Doors(settings)
        self.socket = self.doors.udp[MAIN]
        self._others = tuple(socket for name, socket in self.doors.udp.items() if name != MAIN)
        self.trunks = settings.trunks
        self.instance = secrets.token_hex(8)
        self.switch = Switch(
            switch_settings(settings), self.trunks, Tokens().draw, self.doors.advertised, self.doors.transports
        )
        self.streams = Streams(
            self.doors.streams.values(),
            stream_limits(settings),
            self.switch.limits.message,
            self.switch,
            self._streams_ready,
        )
        self._node = settings.node.name
        self._seal = seal
        self._log = log
        self._plan = Plan(())
        self._plan_version = NO_PLAN
        self._policy = NO_POLICY
        self.policing = Policing(settings, seal, self.switch, log, self.enter, self.loop.call_soon)
        self._random = random.SystemRandom().random
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._tickers: list[asyncio.TimerHandle] = []
        self._syncer = Syncer(journal)
        self.message_store = MessageStore(settings.node.data_dir / MESSAGES_NAME, seal, self._told)
        self._kept = self.message_store.load()
        self._resolver = Resolver(settings.dns, self._resolved, log, self.switch.listeners.reaches)
        self._cut = settings.routing.inactive_block_ends_calls
        self.verification = VerificationFigures()
        self._hook = (settings.verification, settings.verification_secret)
        self._verifier: Verifier | None = None
        self._message_failure = ""
        self._closing = False
        self._resuming = False

    def start(self) -> None:
        """Write that we are here, then open the door."""
        kept, self._kept = self._kept, []
        living = [each.message.record_id for each in kept if each.state is not Stored.DONE]
        named = [Kept(self.instance, tuple(living[at : at + KEPT_IDS])) for at in range(0, len(living), KEPT_IDS)]
        self._append([*named, Boot(self._node, self.instance, _now().utc_ms)])
        self.message_store.start()
        self._refresh_plan()
        self.policing.start(self._policy, _now().utc_ms)
        self._every(PLAN_SECONDS, self._refresh_plan)
        self._every(MEMORY_SECONDS, self._remember)
        self._verify_by(*self._hook)
        self._every(JOURNAL_SECONDS, self._note_journal)
        self._every(LOAD_SECONDS, self._note_load)
        self._every(JOURNAL_SECONDS, self._note_messages)
        self.enter(self.switch.start)
        self.enter(lambda now: self.switch.resume(kept, now))
        self._resolver.resolve(self.trunks)
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        self._every(TEND_SECONDS, self.streams.tend)
        for socket in self.doors.udp.values():
            self.loop.add_reader(socket.fileno(), self._readable, socket)
        self.streams.start()

    def now(self) -> Now:
        """The clock that everything here is told."""
        return _now()

    def enter(self, entry: Callable[[Now], object]) -> None:
        """Let an operator's command into the switch, with the usual rhythm after it."""
        now = _now()
        entry(now)
        self._pump(now)

    def reconfigure(self, settings: Settings) -> None:
        """Take over what may change while calls go on, and the certificates that were read. ValueError, with nothing
        changed, when it cannot be."""
        self.enter(lambda now: self.switch.reconfigure(switch_settings(settings), settings.trunks, now))
        self.trunks = settings.trunks
        self._resolver.resolve(self.trunks)
        self.streams.use_certificates()
        self.streams.limits = stream_limits(settings)
        self.streams.message = self.switch.limits.message
        self._cut = settings.routing.inactive_block_ends_calls
        self.policing.settings = policy_settings(settings.policy)
        self._plan_version = NO_PLAN if self._plan_version == NO_PLAN else STALE_PLAN
        self._refresh_plan()
        if self._hook != (settings.verification, settings.verification_secret):
            self._hook = (settings.verification, settings.verification_secret)
            self._verify_by(*self._hook)

    async def close(self) -> None:
        """Close the door and the journal. Calls must be over by now."""
        self._closing = True
        for socket in self.doors.udp.values():
            self.loop.remove_reader(socket.fileno())
        await self.streams.close()
        await self._resolver.close()
        for ticker in self._tickers:
            ticker.cancel()
        if self._timer is not None:
            self._timer.cancel()
        if self._verifier is not None:
            await asyncio.to_thread(self._verifier.close)
        self._remember()
        await asyncio.to_thread(self.policing.close)
        await asyncio.to_thread(self.message_store.close)
        await asyncio.to_thread(self._syncer.close)
        await asyncio.to_thread(self.journal.close)
        self.doors.close()
        self.bindings.close()

    # entries

    def _readable(self, listener: UdpSocket) -> None:
        if self._closing:
            return
        now = _now()
        self._note_journal()  # the thread that syncs may have found out since: no call is taken then
        receive, load = self.switch.receive, self.switch.load

        def deliver(data: bytes, flow: Flow) -> None:
            load.waited = listener.waited
            try:
                receive(data, flow, now)
            except Exception as error:  # noqa: BLE001 - one message must never stop the others
                self._defect(error)

        if listener.receive(self.switch.admits, deliver, now.monotonic):
            self._resume_soon()
        if listener.undelivered:
            for start in listener.undelivered:
                try:
                    self.switch.bounced(start, now)
                except Exception as error:  # noqa: BLE001 - as above
                    self._defect(error)
            listener.undelivered.clear()
        load.waited = 0.0
        self._pump(now)
        listener.rested_at = monotonic()

    def _resume_soon(self) -> None:
        """Go on with what waits after timers and the control socket had their turn; once, however often it is asked."""
        if not self._resuming:
            self._resuming = True
            self.loop.call_soon(self._resume)

    def _resume(self) -> None:
        self._resuming = False
        self._readable(self.socket)
        for listener in self._others:
            self._readable(listener)

    def _streams_ready(self) -> None:
        """Connections have news."""
        if self._closing:
            return
        now = _now()
        self._note_journal()
        load = self.switch.load
        for step in self.streams.steps(now):
            load.waited, self.streams.waited = self.streams.waited, 0.0
            try:
                step()
            except Exception as error:  # noqa: BLE001 - as above
                self._defect(error)
        load.waited = 0.0
        self._pump(now)

    def _told(self, told: Told) -> None:
        """The message store, in its own thread: these orders are carried out, or cannot be."""
        self.loop.call_soon_threadsafe(self._on_disk, told)

    def _on_disk(self, told: Told) -> None:
        if self._closing:
            return
        try:
            self.enter(lambda now: self.switch.on_disk(told, now))
        except Exception as error:  # noqa: BLE001 - as above
            self._defect(error)

    def _note_messages(self) -> None:
        failure = self.message_store.failure
        if failure != self._message_failure:
            self._message_failure = failure
            self._log("message_store_failed" if failure else "message_store_recovered", reason=failure)

    def _send_elsewhere(self, wire: bytes, flow: Flow) -> None:
        """Not by the one UDP socket that takes nearly everything."""
        socket = self.doors.udp.get(flow.listener)
        if socket is not None:
            socket.send(wire, flow)
        else:
            self.streams.send(wire, flow)

    def read_certificates(self) -> list[str]:
        """Read all certificate files again; what is wrong with them. ``reconfigure`` puts them in force."""
        return self.streams.read_certificates()

    def _woken(self) -> None:
        self._timer = None
        now = _now()
        try:
            self.switch.wake(now)
        except Exception as error:  # noqa: BLE001 - one timer must never stop the others
            self._defect(error)
        self._pump(now)

    def _pump(self, now: Now) -> None:
        switch = self.switch
        while queries := switch.queries():
            down = switch.down(now)
            for query in queries:
                decision = self._decide(query, down, now)
                if self._verifier is None or query.callee or isinstance(decision, Refusal):
                    switch.decided(query, decision, now)
                else:
                    self._verify(self._verifier, query, decision, now)
        records = switch.records()
        if records and not self._append(records):
            switch.unwritten(records, now)
            self._append(switch.records())
        if orders := switch.messages.take_orders():
            self.message_store.put(orders)
        socket = self.socket
        for wire, flow in switch.outgoing():
            if flow.listener == MAIN:
                socket.send(wire, flow)
            else:
                self._send_elsewhere(wire, flow)
        if switch.notices:
            for event, trunk in switch.notices:
                self._log(event, trunk=trunk)
            switch.notices.clear()
        if switch.authentication.notices:
            for event, fields in switch.authentication.notices:
                self._log(event, **fields)
            switch.authentication.notices.clear()
        for change in switch.changes():
            self._log(change.event, trunk=change.trunk, target=change.target, seconds=round(change.seconds))
        self._arm(now)

    def _decide(self, query: Query, down: Container[str], now: Now, again: bool = False) -> Route | Refusal:
        """Routing's answer, for the first time or ``again``. Without any plan yet, or when routing has a bug, nobody
        may call: deny by default (R1)."""
        if self._plan_version != NO_PLAN:
            try:
                return decide(
                    query,
                    self._plan,
                    self.bindings.find,
                    self.trunks,
                    down,
                    now.utc_ms,
                    self._random,
                    self.switch.last_callers.get,
                    self._policy,
                    None if again else self.switch.counters,
                )
            except Exception as error:  # noqa: BLE001 - the call must have an answer and its record
                self._defect(error)
        return Refusal(Reason.STORE_UNAVAILABLE, query.caller, query.dialled)

    # the verification hook

    def _verify_by(self, settings: Verification, secret: SecretStr) -> None:
        """Ask this hook from now on, if any; the one before still answers what it was asked."""
        if self._verifier is not None:
            self._verifier.retire()
        self._verifier = None
        if settings.scope != "none":
            self._verifier = Verifier(settings, secret, self.verification, self._log)

    def _verify(self, verifier: Verifier, query: Query, route: Route, now: Now) -> None:
        """Put an attempt that the rules admit to the hook, if it is one for it; the switch goes on meanwhile."""
        binding = route.binding
        if not verifier.everything and not self._policy.verifies(binding.business_user, binding.scenario):
            self.switch.decided(query, route, now, SKIPPED)
            return
        record_id = self.switch.record_of(query)
        body = question(record_id, query.kind, route, now.utc_ms)
        word = verifier.ask(record_id, body, lambda word: self._answered(query, route, word))
        if word:
            self._verified(query, route, word, now)

    def _answered(self, query: Query, route: Route, word: str) -> None:
        """The hook has spoken, or had its time."""
        try:
            self.enter(lambda now: self._verified(query, route, word, now))
        except Exception as error:  # noqa: BLE001 - one answer must never stop the others
            self._defect(error)

    def _verified(self, query: Query, route: Route, word: str, now: Now) -> None:
        """Go on with what was put to the hook."""
        switch = self.switch
        if not switch.record_of(query):
            return  # the caller has given up
        decision: Route | Refusal = route
        if word in (PASSED, FAILED_OPEN):
            # a block, or the end of the binding, may have come meanwhile
            decision = self._decide(query, switch.down(now), now, again=True)
            if isinstance(decision, Route) and _parties(decision) != _parties(route):
                if self._verifier is not None:
                    self._verify(self._verifier, query, decision, now)
                    return
                word = ""
        else:
            reason = Reason.VERIFICATION_REFUSED if word == REFUSED else Reason.VERIFICATION_FAILED
            decision = Refusal(reason, route.caller, route.dialled, route.binding)
        switch.decided(query, decision, now, word)

    def _arm(self, now: Now) -> None:
        deadline = self.switch.deadline()
        if deadline is None:
            return
        at = max(deadline, now.monotonic + TIMER_GRAIN)
        if self._timer is not None:
            if self._timer_at <= at:
                return
            self._timer.cancel()
        self._timer_at = at
        self._timer = self.loop.call_at(at, self._woken)

    def _defect(self, error: Exception) -> None:
        """A bug of ours came out of the core: say where, without the message that may hold a number, and go on."""
        self.defects += 1
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        where = f"{trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}" if trace is not None else ""
        self._log("defect", error=type(error).__name__, where=where)

    # the journal

    def _append(self, records: Sequence[Event]) -> bool:
        """Whether the disk has them, as far as is known now; else they wait in memory."""
        seal = self._seal
        written = self.journal.append([frame(encode_event(event, seal)) for event in records])
        self._note_journal()
        self._syncer.wrote()
        return written

    def _note_journal(self) -> None:
        failure = self.journal.failed
        self.switch.journal_tight = bool(failure) and self.journal.tight
        if failure != self.switch.journal_failure:
            self.switch.journal_failure = failure
            self._log("journal_failed" if failure else "journal_recovered", reason=failure)

    # the plan

    def _refresh_plan(self) -> None:
        try:
            version = self.bindings.changes()
            if version != self._plan_version:
                self._plan = self.bindings.plan()
                self._policy = self.bindings.policy(self.policing.settings, _now().utc_ms)
                self._plan_version = version
                self.policing.take(self._policy)
                if self._cut:
                    self.enter(self._end_withdrawn)
            failure = ""
        except StoreError as error:
            failure = str(error)
        self.policing.heed(_now().utc_ms)
        if failure != self.store_failure:
            self.store_failure = failure
            self._log("store_failed" if failure else "store_recovered", reason=failure)

    def _remember(self) -> None:
        # lines that wait in memory for the disk lie behind a position that is none
        if not self.journal.failed:
            self.policing.remember(self.journal.position, _now().utc_ms)

    def _end_withdrawn(self, now: Now) -> None:
        plan = self._plan

        def serves(x: str) -> bool:
            block = plan.block_of(x)
            return block is not None and block.state in CALLABLE

        self.switch.end_withdrawn(serves, now)

    def _resolved(self, table: Mapping[str, Sequence[Choice]]) -> None:
        """DNS has news of the trunks' peers."""
        self.enter(lambda now: self.switch.targets(table, now))

    def _note_load(self) -> None:
        if self.switch.relieved(_now()):
            self._log("overload_over")

    def _every(self, seconds: float, work: Callable[[], None]) -> None:
        """Do ``work`` again and again until closed."""
        index = len(self._tickers)

        def tick() -> None:
            self._tickers[index] = self.loop.call_later(seconds, tick)
            try:
                work()
            except Exception as error:  # noqa: BLE001 - it has its next turn, and so have the others
                self._defect(error)

        self._tickers.append(self.loop.call_later(seconds, tick))


def _parties(route: Route) -> tuple[str, str, str]:
    """Who is connected to whom, and why."""
    return route.binding.id, route.caller, route.callee


def stream_limits(settings: Settings) -> StreamLimits:
    """What connections may cost."""
    limits = settings.limits
    return StreamLimits(
        limits.connections, limits.source_connections, limits.connection_idle_seconds, limits.message_seconds
    )


def switch_settings(settings: Settings) -> SwitchSettings:
    """What the core needs of the settings file."""
    sip, limits = settings.sip, settings.limits
    return SwitchSettings(
        node=settings.node.name,
        product=sip.user_agent,
        timers=TimerValues(sip.t1_ms / 1000, sip.t2_ms / 1000, sip.t4_ms / 1000),
        message=Limits(limits.message_bytes, limits.header_fields, limits.header_line_bytes, limits.via_fields),
        no_reply_seconds=sip.no_reply_seconds,
        no_progress_seconds=sip.no_progress_seconds,
        ring_seconds=sip.ring_seconds,
        ring_refresh_seconds=sip.ring_refresh_seconds,
        longest_call_seconds=sip.longest_call_seconds,
        session_expires_seconds=sip.session_expires_seconds,
        min_se_seconds=sip.min_se_seconds,
        session_refresher=sip.session_refresher,
        park_seconds=settings.routing.park_seconds,
        decision_seconds=settings.routing.decision_seconds,
        overload_seconds=limits.overload_delay_ms / 1000,
        max_calls=limits.max_calls,
        calls_per_second=limits.calls_per_second,
        source_messages_per_second=limits.source_messages_per_second,
        source_burst=limits.source_burst,
        digest_failures=limits.digest_failures,
        digest_window_seconds=limits.digest_window_seconds,
        digest_ignore_seconds=limits.digest_ignore_seconds,
        prompts=prompt_settings(settings.prompts),
        messages=message_settings(settings.messages),
    )


def _now() -> Now:
    return Now(monotonic(), time_ns() // 1_000_000)
