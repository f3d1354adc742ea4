"""One short message: from the MESSAGE that brought it to the one record that it leaves (rules R8, R9).

It is accepted (202, RFC 3428 §7) once it is on disk, and tried until somebody takes it, somebody refuses it, or its
time is over. Before each round of tries the disk is told, so that a process that comes after a killed one knows which
messages may have been sent: those are not sent again.
"""

from enum import IntEnum
from typing import Final, Protocol

from b2bua.call.courier import Courier, Delivery, Letter, Roads, Side
from b2bua.call.leg import cause_line
from b2bua.call.message_settings import MessageSettings, Report
from b2bua.call.payload import Kind, Payload, write_payload
from b2bua.call.refusals import FAILOVER, Local, Outcome, cause_of, relayed_status, verdict_of
from b2bua.call.stored import Kept, Mark, Stored, StoredMessage, Write
from b2bua.call.trunk_state import TargetState
from b2bua.sip.gsm import spellings
from b2bua.sip.sms import Coding, Concat, Relay, RelayKind, cause_of_failure, temporary
from b2bua.sip.timers import Timer
from b2bua.sip.transaction import Flow, ServerTransaction
from cdr import record
from routing.binding import Binding, Direction, Mode
from routing.content import assess
from routing.decide import Query, Reason, Refusal, Route
from routing.numbers import bare_digits, format_middle, format_subscriber
from routing.targets import Target, uri_host
from routing.trunks import Trunk

__all__ = ["MessageExchange", "ShortMessage", "Stage"]

# Answers that may be others later, besides those that speak of the route: nobody there at the moment (RFC 3428 §7)
LATER: Final = FAILOVER | {480, 486, 600}
ACCEPTED: Final = 202
NORMAL: Final = 16
NO_ANSWER: Final = 102
# Routes named in a record: the first ones and the last ones of a message that was tried for hours
MOST_ROUTES: Final = 20
# While the process ends nothing new begins; so long until it is looked at again, should it not end
DRAINING_MS: Final = 5000
# A kept message gets this many milliseconds more than the one before it until its first try after a start
SPREAD_MS: Final = 10
# Refusals of routing that may be others later; any other ends a message that waits
PASSING: Final = frozenset((Reason.STORE_UNAVAILABLE, Reason.NO_ROUTE, Reason.OUTSIDE_HOURS))


class Stage(IntEnum):
    """DECIDING until routing has spoken, STORING until it is on disk, then WAITING for its next try, MARKING while the
    disk is told of it, SENDING while it is under way, and REPORTING until the callee's phone has confirmed it."""

    DECIDING = 0
    STORING = 1
    WAITING = 2
    MARKING = 3
    SENDING = 4
    REPORTING = 5
    OVER = 6


class MessageExchange(Roads, Protocol):
    """What a message needs of the switch it runs on."""

    @property
    def settings(self) -> MessageSettings: ...
    @property
    def patience(self) -> float: ...
    @property
    def node(self) -> str: ...
    @property
    def draining(self) -> bool: ...

    def write(self, event: record.Event) -> None: ...
    def ask(self, query: Query) -> None: ...
    def keep(self, order: Write | Mark) -> None: ...
    def targets_for(self, callee: str) -> list[TargetState]: ...
    def carries(self, targets: list[TargetState], size: int) -> bool: ...
    def room(self) -> bool: ...
    def draw_reference(self, message: "ShortMessage") -> int: ...
    def drop_reference(self, message: "ShortMessage") -> None: ...
    def report(self, message: "ShortMessage", cause: int) -> None: ...
    def over(self, message: "ShortMessage", outcome: str, reason: str) -> None: ...


class ShortMessage(Timer):
    """``handle`` names it inside the switch, ``record_id`` outside. Numbers are kept as routing writes them."""

    __slots__ = (
        "_accepted",
        "_blocked",
        "_confirmed",
        "_egress",
        "_egress_call_id",
        "_last",
        "_side",
        "_targets",
        "_tried",
        "arrived_at",
        "arrived_ms",
        "binding",
        "callee_number",
        "caller_number",
        "calling",
        "courier",
        "due_ms",
        "exchange",
        "expires_ms",
        "facts",
        "handle",
        "ingress",
        "ingress_call_id",
        "kept",
        "key",
        "max_forwards",
        "payload",
        "record_id",
        "reference",
        "refusal_lines",
        "shown",
        "stage",
        "transaction",
        "tries",
        "verification",
        "x",
    )

    def __init__(self, exchange: MessageExchange, handle: int, record_id: str, ingress: str, call_id: str) -> None:
        super().__init__()
        now = exchange.signalling.now
        self.exchange = exchange
        self.handle = handle
        self.record_id = record_id
        self.ingress = ingress
        self.ingress_call_id = call_id
        self.key = ""
        self.stage = Stage.DECIDING
        self.arrived_ms = now.utc_ms
        self.arrived_at = now.monotonic
        self.expires_ms = 0
        self.due_ms = 0
        self.max_forwards = 70
        self.payload = Payload(Kind.PLAIN, "")
        self.x = ""
        self.shown = ""
        self.caller_number = ""
        self.callee_number = ""
        self.binding: Binding | None = None
        self.calling = ""
        self.facts = ""
        self.tries = 0
        self.reference = -1  # of the short message that we send to the callee's phone
        self.verification = ""
        self.transaction: ServerTransaction | None = None
        self.refusal_lines: tuple[str, ...] = ()
        self.kept = False  # the disk has it, or was asked to have it
        self._accepted = False
        self._blocked = False  # since it was last put off
        self._side: Side | None = None
        self.courier: Courier | None = None
        self._targets: list[TargetState] = []
        self._confirmed: Relay | None = None
        self._last = Delivery(0)
        self._tried: tuple[str, ...] = ()
        self._egress = ""
        self._egress_call_id = ""

    # the sender's side

    def take(self, transaction: ServerTransaction) -> None:
        """The MESSAGE that it came in waits for our answer."""
        self.transaction = transaction
        self._side = Side(b"", (self.x,))
        transaction.owner = self._side

    def await_decision(self) -> None:
        """Routing is asked now: it has so long."""
        self._wait(self.exchange.patience)

    def reject(self, reason: Local) -> None:
        """The switch says no before routing was asked, or instead of it."""
        self._write_attempted(None, "")
        self._refuse(reason)

    def drop(self, reason: str) -> None:
        """It is none of those that are delivered (R15)."""
        self._write_attempted(None, "")
        self._refuse(reason, Outcome.DROPPED)

    def refuse(self, refusal: Refusal) -> None:
        """Routing said no."""
        self.caller_number, self.x = refusal.caller, refusal.dialled
        binding = refusal.binding
        calling = "" if binding is None else "a" if self.caller_number == binding.a else "b"
        if binding is not None:
            self.callee_number = binding.b if calling == "a" else binding.a
        self._write_attempted(binding, calling)
        self._refuse(refusal.reason)

    def accept(self, route: Route) -> None:
        """Routing said yes: judge its text, then have it put on disk."""
        exchange = self.exchange
        binding = route.binding
        self.caller_number, self.callee_number, self.shown = route.caller, route.callee, route.shown
        self.x = route.dialled
        self.binding, self.calling = binding, route.calling
        callee = bare_digits(route.callee)
        if self._side is not None:
            self._side.forbidden = callee.encode()
        self._write_attempted(binding, route.calling)
        payload = self.payload
        own = (bare_digits(route.caller), callee)
        found = assess(payload.text, own, exchange.settings.content)
        self.facts = " ".join([payload.kind.value, *found.flags, *(["masked"] if found.masked else [])])
        if found.drop:
            self._refuse(found.drop, Outcome.DROPPED)
            return
        self.payload = _retold(payload, found.text)
        if not exchange.carries(exchange.targets_for(self.callee_number), len(found.text.encode("utf-8", "replace"))):
            self._refuse(Local.MESSAGE_TOO_LARGE)
            return
        if not exchange.room():
            self._refuse(Local.MESSAGE_QUEUE_FULL)
            return
        self.expires_ms = min(self.expires_ms, binding.expires_ms)
        self.due_ms = exchange.signalling.now.utc_ms
        self.stage = Stage.STORING
        self.kept = True
        exchange.keep(Write(self.stored(), self.due_ms))
        self._wait(exchange.patience)

    def stored(self) -> StoredMessage:
        """What the disk is to keep of it."""
        payload = self.payload
        return StoredMessage(
            self.record_id,
            self.handle,
            self.key,
            self.caller_number,
            self.callee_number,
            self.x,
            self.shown,
            self.ingress,
            self.ingress_call_id,
            self.max_forwards,
            self.arrived_ms,
            self.expires_ms,
            _facts_of(self.binding, self.calling) if self.binding else (),
            self.facts,
            payload.kind.value,
            payload.text,
            payload.sent,
            int(payload.coding),
            None if payload.concat is None else (*payload.concat,),
            payload.reference,
            payload.to_phone,
        )

    def on_disk(self, done: bool) -> None:
        """What was asked of the disk is done, or cannot be."""
        if self.stage is Stage.STORING:
            if done:
                self._take_over()
            else:
                self.kept = False
                self._refuse(Local.MESSAGE_STORE_FAILED)
        elif self.stage is Stage.MARKING:
            if done and not self._blocked:
                self._send()
            else:
                self._put_off(0)  # what may not be sent twice is not sent before the disk knows

    def _take_over(self) -> None:
        """It is ours now."""
        exchange = self.exchange
        self._accepted = True
        now = exchange.signalling.now
        setup = round((now.monotonic - self.arrived_at) * 1000)
        exchange.write(record.Answered(self.record_id, now.utc_ms, 0, "", "", setup))
        self._answer(ACCEPTED, ())
        if exchange.settings.sms_report is Report.STORED:
            exchange.report(self, 0)
        self._go()  # once in any case, however short its time

    # the callee's side

    def resume(self, kept: Kept, place: int) -> None:
        """Go on with a message of the process before, the ``place``-th of all."""
        stored = kept.message
        signalling = self.exchange.signalling
        self.key = stored.key
        self.caller_number, self.callee_number = stored.caller, stored.callee
        self.x, self.shown = stored.x, stored.shown
        self.max_forwards = stored.max_forwards
        self.arrived_ms, self.expires_ms = stored.arrived_ms, stored.expires_ms
        self.arrived_at = signalling.now.monotonic - (signalling.now.utc_ms - stored.arrived_ms) / 1000
        self.binding, self.calling = _binding_of(stored), stored.binding[0]
        self.facts = stored.facts
        self.payload = Payload(
            Kind(stored.kind),
            stored.text,
            stored.sent,
            Coding(stored.coding),
            None if stored.concat is None else Concat(*stored.concat),
            stored.reference,
            stored.to_phone,
        )
        self.tries = kept.tries
        self.kept = True
        self._accepted = True
        if kept.state is Stored.TAKEN:
            self._finish(200, NORMAL, Outcome.DELIVERED, "callee")
        elif kept.state is Stored.SENDING:
            self._finish(408, NO_ANSWER, Outcome.UNKNOWN, "switch", Local.DELIVERY_UNKNOWN)
        elif signalling.now.utc_ms >= self.expires_ms:
            self._expire()
        else:
            self._wait_until(max(kept.due_ms, signalling.now.utc_ms + place * SPREAD_MS))

    def fire(self, now: float) -> None:
        """The limit of the present stage is reached."""
        if self.stage is Stage.DECIDING:
            self.reject(Local.UNDECIDED)
        elif self.stage is Stage.STORING:
            self._refuse(Local.MESSAGE_STORE_FAILED)
        elif self.stage is Stage.WAITING:
            self._try()
        elif self.stage is Stage.REPORTING:
            self._finish(200, NORMAL, Outcome.DELIVERED, "callee")

    def _try(self) -> None:
        """A new round, if there is time and routing still says yes: the binding may have ended since (R4), or somebody
        is blocked (R12)."""
        exchange = self.exchange
        now_ms = exchange.signalling.now.utc_ms
        if now_ms >= self.expires_ms:
            self._expire()
            return
        self._wait(exchange.patience)  # no answer: it is asked again
        exchange.ask(Query(self.handle, self.ingress, self.x, self.caller_number, False, "message", self.callee_number))

    def judged(self, decision: Route | Refusal) -> None:
        """What routing says to a new round."""
        reason = decision.reason if isinstance(decision, Refusal) else None
        if reason is not None and reason not in PASSING:
            self._end(reason)
        elif reason is not Reason.STORE_UNAVAILABLE and not self._still_for(decision.binding):
            self._end(Reason.BINDING_ENDED)  # its numbers serve others by now
        elif reason is not None:
            self._note((f"switch:{reason}",))
            self._put_off(0)
        else:
            self._go()

    def _still_for(self, seen: Binding | None) -> bool:
        """Whether this is the binding that the message came by, with the same callee."""
        if seen is None or self.binding is None or seen.id != self.binding.id:
            return False
        return self.callee_number == (seen.b if self.calling == "a" else seen.a)

    def _go(self) -> None:
        """A round over all targets, if there are any."""
        exchange = self.exchange
        now_ms = exchange.signalling.now.utc_ms
        if exchange.draining:
            self._wait_until(now_ms + DRAINING_MS)  # for the process that comes next
            return
        self._targets = exchange.targets_for(self.callee_number)
        if not self._targets:
            self._note(("switch:no_route",))
            self._put_off(0)
            return
        self.tries += 1
        self.stage = Stage.MARKING
        exchange.keep(Mark(self.record_id, Stored.SENDING, self.tries, now_ms, True))

    def _send(self) -> None:
        exchange = self.exchange
        self.stage = Stage.SENDING
        self._confirmed = None
        if self.payload.kind is Kind.SMS:
            self.reference = exchange.draw_reference(self)
        caller = bare_digits(self.caller_number)
        hidden = spellings(caller) if self.payload.kind is Kind.SMS else ()
        side = Side(caller.encode(), (self.shown, bare_digits(self.callee_number)), hidden)
        self.courier = Courier(exchange, self, self._targets, side)
        self._targets = []
        self.courier.start()

    def compose(self, trunk: Trunk, target: Target, flow: Flow) -> Letter:
        """The MESSAGE for one target, from the middle number and nothing else (R2)."""
        signalling = self.exchange.signalling
        shown = format_middle(self.shown, trunk.number_form)
        host = signalling.sent_by(flow).rpartition(":")[0]
        uri = f"sip:{format_subscriber(self.callee_number, trunk.number_form)}@{uri_host(target.peer)}"
        sender = f"sip:{shown}@{host}"
        extra: tuple[str, ...] = (f"User-Agent: {signalling.agent}",)
        if trunk.send_identity:
            extra = (*extra, f"P-Asserted-Identity: <{sender}>")
        kind, body = write_payload(self.payload, sender, uri, shown, max(self.reference, 0), self.arrived_ms)
        return Letter(uri, f"<{sender}>", f"<{uri}>", extra, kind, body, self.max_forwards - 1)

    def settled(self, delivery: Delivery) -> None:
        """All targets were tried, or one has spoken."""
        self._take_notes()
        self._last = delivery if delivery.status else self._last
        confirmed = self._confirmed
        if confirmed is not None:
            self._settle_report(confirmed)
        elif 200 <= delivery.status < 300:
            if self.reference < 0:
                self._finish(200, NORMAL, Outcome.DELIVERED, "callee")
                return
            self.stage = Stage.REPORTING
            now = self.exchange.signalling.now
            self.exchange.keep(Mark(self.record_id, Stored.TAKEN, self.tries, now.utc_ms, False))
            self._wait(self.exchange.settings.report_seconds)
        elif delivery.status in LATER or not delivery.status:
            self._put_off(delivery.retry_after)
        else:
            status = relayed_status(delivery.status)
            self._finish(status, delivery.q850 or cause_of(status), Outcome.REJECTED, "callee")

    def stopped(self) -> None:
        """The tripwire has stopped what we were about to send."""
        self._take_notes()
        self.release(Local.TRIPWIRE)

    def confirmed(self, relay: Relay) -> bool:
        """The callee's phone has confirmed the short message, or refused it; False when it was not asked."""
        if relay.to_phone or self.stage not in (Stage.SENDING, Stage.REPORTING):
            return False
        if self.stage is Stage.SENDING:
            self._confirmed = relay  # its network's answer to our MESSAGE is still under way
            if self.courier is not None:
                self.courier.stay()
        else:
            self._settle_report(relay)
        return True

    def _settle_report(self, relay: Relay) -> None:
        if relay.kind is not RelayKind.ERROR:
            self._finish(200, NORMAL, Outcome.DELIVERED, "callee")
            return
        self._note((f"{self._egress}:rp_{relay.cause}",))
        if temporary(relay.cause):
            self._last = Delivery(480, relay.cause)
            self._put_off(0)
        else:
            self._finish(480, relay.cause or NO_ANSWER, Outcome.REJECTED, "callee")

    # between tries

    def _put_off(self, asked_seconds: int) -> None:
        """Later again, twice as long as before; what the far end asked for goes first where it is longer."""
        if self._blocked:
            self._end(Local.BLOCKED)
            return
        exchange = self.exchange
        settings = exchange.settings
        exchange.drop_reference(self)
        doublings = min(max(self.tries - 1, 0), 30)
        seconds = min(settings.retry_seconds * 2**doublings, settings.longest_retry_seconds)
        now_ms = exchange.signalling.now.utc_ms
        due_ms = now_ms + round(max(seconds, float(asked_seconds)) * 1000)
        if now_ms >= self.expires_ms:
            self._expire()
            return
        self._wait_until(due_ms)
        exchange.keep(Mark(self.record_id, Stored.WAITING, self.tries, self.due_ms, False))

    def _expire(self) -> None:
        status = relayed_status(self._last.status) if self._last.status else 408
        self._finish(status, self._last.q850 or cause_of(status), Outcome.EXPIRED, "switch", Local.MESSAGE_EXPIRED)

    def _wait_until(self, due_ms: int) -> None:
        """Not beyond its time: then it ends."""
        self.stage = Stage.WAITING
        self.due_ms = min(due_ms, self.expires_ms)
        self._wait((self.due_ms - self.exchange.signalling.now.utc_ms) / 1000)

    def _wait(self, seconds: float) -> None:
        signalling = self.exchange.signalling
        now = signalling.now.monotonic
        signalling.endpoint.timers.set(self, now + max(seconds, 0.0), now)

    # the end

    def release(self, reason: Local) -> None:
        """The switch ends it, whatever it is doing."""
        if self.stage is Stage.OVER:
            return
        if self.stage is Stage.DECIDING:
            self.reject(reason)
        elif self.stage is Stage.STORING:
            self._refuse(reason)
        else:
            self._end(reason)

    def _end(self, reason: str) -> None:
        verdict = verdict_of(reason)
        self._finish(verdict.status, verdict.q850, Outcome.FAILED, "switch", reason)

    def block(self) -> bool:
        """Somebody has blocked it (R12): it ends here, True, or with the try that is under way."""
        if self.stage in (Stage.STORING, Stage.WAITING):
            self.release(Local.BLOCKED)
            return True
        if self.stage is not Stage.DECIDING:  # routing refuses that itself
            self._blocked = True
            if self.courier is not None:
                self.courier.stay()
        return False

    def leave(self) -> None:
        """The process ends; who comes next finds it on the disk."""
        self.stage = Stage.OVER
        self.exchange.signalling.endpoint.timers.cancel(self)
        if self.courier is not None:
            self.courier.leave()
        self.exchange.drop_reference(self)

    def _refuse(self, reason: str, outcome: Outcome = Outcome.REFUSED) -> None:
        verdict = verdict_of(reason)
        self._finish(verdict.status, verdict.q850, outcome, "switch", reason, verdict.text, verdict.retry_after)

    def _answer(self, status: int, lines: tuple[str, ...]) -> None:
        transaction, self.transaction = self.transaction, None
        if transaction is not None and transaction.alive:
            self.exchange.signalling.answer(transaction, status, lines)
            transaction.owner = None

    def _finish(
        self,
        status: int,
        q850: int,
        outcome: Outcome,
        ended_by: str,
        reason: str = "",
        text: str = "",
        retry_after: int = 0,
    ) -> None:
        """The one exit: the last event of the record, the sender's answer where it has none yet, and off the disk."""
        exchange = self.exchange
        self.stage = Stage.OVER
        signalling = exchange.signalling
        signalling.endpoint.timers.cancel(self)
        now = signalling.now
        exchange.write(
            record.Ended(
                record_id=self.record_id,
                ended_ms=now.utc_ms,
                ringing_ms=0,
                egress=self._egress,
                egress_call_id=self._egress_call_id,
                routes=self._tried,
                status=status,
                q850=q850,
                outcome=outcome,
                ended_by=ended_by,
                reason=reason,
                verification=self.verification,
                media=self.facts,
                total_ms=max(0, round((now.monotonic - self.arrived_at) * 1000)),
                talk_ms=0,
            )
        )
        if self.transaction is not None:
            lines = (*self.refusal_lines, cause_line(q850, text))
            self._answer(status, (f"Retry-After: {retry_after}", *lines) if retry_after else lines)
        elif self._accepted and exchange.settings.sms_report is Report.DELIVERED:
            exchange.report(self, cause_of_failure(status))
        courier, self.courier = self.courier, None
        if courier is not None:
            courier.leave()
        exchange.drop_reference(self)
        if self.kept:
            state = Stored.DONE if self._accepted else Stored.REFUSED
            exchange.keep(Mark(self.record_id, state, self.tries, now.utc_ms, False))
        exchange.over(self, outcome, reason)

    # the record

    def _take_notes(self) -> None:
        courier, self.courier = self.courier, None
        if courier is not None:
            self._note(courier.tried)
            self._egress = courier.egress or self._egress
            self._egress_call_id = courier.call_id or self._egress_call_id

    def _note(self, tried: tuple[str, ...]) -> None:
        routes = (*self._tried, *tried)
        half = MOST_ROUTES // 2
        self._tried = routes if len(routes) <= MOST_ROUTES else (*routes[:half], *routes[-half:])

    def _write_attempted(self, binding: Binding | None, calling: str) -> None:
        self.exchange.write(
            record.Attempted(
                record_id=self.record_id,
                node=self.exchange.node,
                sequence=self.handle,
                kind="message",
                arrived_ms=self.arrived_ms,
                caller=self.caller_number,
                callee=self.callee_number,
                calling=calling,
                x=binding.x if binding else self.x,
                y=binding.y if binding else "",
                provider=binding.provider if binding else "",
                business_user=binding.business_user if binding else "",
                scenario=binding.scenario if binding else "",
                binding_id=binding.id if binding else "",
                order_id=binding.order_id if binding else "",
                industrial_id=binding.industrial_id if binding else "",
                mode=binding.mode if binding else "",
                ingress=self.ingress,
                ingress_call_id=self.ingress_call_id,
            )
        )


def _retold(payload: Payload, text: str) -> Payload:
    """The same message with what may be said of its text."""
    if text == payload.text:
        return payload
    return Payload(
        payload.kind,
        text,
        payload.sent,
        payload.coding,
        payload.concat,
        payload.reference,
        payload.to_phone,
    )


def _facts_of(binding: Binding, calling: str) -> tuple[str, ...]:
    """Which party writes, and what of the binding is asked for later: by the operator, and by a block (R12)."""
    return (
        calling,
        binding.id,
        binding.mode.value,
        binding.x,
        binding.y,
        binding.provider,
        binding.business_user,
        binding.scenario,
        binding.order_id,
        binding.industrial_id,
    )


def _binding_of(stored: StoredMessage) -> Binding:
    """The binding of a message out of the process before, as far as ``_facts_of`` has kept it."""
    calling, identifier, mode, x, y, provider, business_user, scenario, order_id, industrial_id = stored.binding
    a, b = (stored.caller, stored.callee) if calling == "a" else (stored.callee, stored.caller)
    return Binding(
        id=identifier,
        mode=Mode(mode),
        x=x,
        y=y,
        a=a,
        b=b,
        direction=Direction.BOTH,
        provider=provider,
        business_user=business_user,
        scenario=scenario,
        order_id=order_id,
        industrial_id=industrial_id,
        starts_ms=stored.arrived_ms,
        expires_ms=stored.expires_ms,
        ended_ms=0,
    )
