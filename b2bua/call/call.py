"""One call attempt: from the INVITE to the one record it leaves, over as many routes as it takes."""

from enum import IntEnum
from typing import Protocol

from b2bua.call.bridge import cross
from b2bua.call.callee import CalleeLeg
from b2bua.call.caller import CallerLeg
from b2bua.call.events import (
    AckMissing,
    Answered,
    AnswerUnusable,
    Cancelled,
    Ended,
    Expired,
    LegEvent,
    PrackMissing,
    Progress,
    Refused,
    Trying,
)
from b2bua.call.leg import Leg, Signalling
from b2bua.call.prompt import Prompt
from b2bua.call.refusals import FAILOVER, Local, Outcome, cause_of, outcome_of, relayed_status, verdict_of
from b2bua.call.trunk_state import TargetState
from b2bua.sip.sdp import describe
from b2bua.sip.timers import Timer
from cdr import record
from routing.binding import Binding
from routing.decide import Refusal, Route
from routing.trunks import Trunk

__all__ = ["Call", "CallLimits", "CallState", "Exchange"]

NORMAL_CLEARING = 16
NO_ANSWER = 19


class CallState(IntEnum):
    """DECIDING until routing has spoken, SETUP until the answer, UP until the end. In PROMPT a refused caller listens
    to an announcement."""

    DECIDING = 0
    SETUP = 1
    UP = 2
    OVER = 3
    PROMPT = 4


class _Alarm(IntEnum):
    """Which limit the call's one timer stands for."""

    NO_REPLY = 0
    NO_PROGRESS = 1
    RINGING = 2
    LONGEST = 3
    DECISION = 4
    PROMPT = 5


class CallLimits(Protocol):
    """The times of a call in seconds (the SIP profile's timers)."""

    @property
    def no_reply_seconds(self) -> float: ...
    @property
    def no_progress_seconds(self) -> float: ...
    @property
    def ring_seconds(self) -> float: ...
    @property
    def ring_refresh_seconds(self) -> float: ...
    @property
    def longest_call_seconds(self) -> float: ...
    @property
    def decision_seconds(self) -> float: ...


class Exchange(Protocol):
    """What a call needs of the switch it runs on."""

    @property
    def signalling(self) -> Signalling: ...
    @property
    def limits(self) -> CallLimits: ...
    @property
    def node(self) -> str: ...

    def write(self, event: record.Event) -> None: ...
    def barred(self, state: TargetState) -> str: ...
    def dial(self, call: "Call", state: TargetState) -> CalleeLeg: ...
    def park(self, state: TargetState, seconds: float) -> None: ...
    def silent(self, state: TargetState) -> None: ...
    def announce(self, call: "Call", reason: str) -> Prompt | None: ...
    def rang(self, call: "Call", trunk: str, seconds: float) -> None: ...
    def answered(self, call: "Call", trunk: str, seconds: float) -> None: ...
    def over(self, call: "Call", outcome: str, reason: str) -> None: ...


class Call(Timer):
    """Two legs and their story. ``handle`` names it inside the switch, ``record_id`` outside."""

    __slots__ = (
        "_alarm",
        "_answered_at",
        "_arrived",
        "_egress_call_id",
        "_failure",
        "_media",
        "_ring_until",
        "_ringing_ms",
        "_target",
        "_targets",
        "_tried",
        "answered_ms",
        "binding",
        "callee",
        "callee_number",
        "caller",
        "caller_number",
        "counted",
        "egress",
        "exchange",
        "handle",
        "ingress",
        "ingress_call_id",
        "key",
        "longest_seconds",
        "max_forwards",
        "offer",
        "prompt",
        "record_id",
        "route",
        "state",
        "verification",
        "x",
    )

    def __init__(self, exchange: Exchange, handle: int, record_id: str, ingress: Trunk, ingress_call_id: str) -> None:
        super().__init__()
        self.exchange = exchange
        self.handle = handle
        self.record_id = record_id
        self.ingress = ingress
        self.ingress_call_id = ingress_call_id
        self.key = ""
        self.state = CallState.DECIDING
        self.caller: CallerLeg | None = None
        self.callee: CalleeLeg | None = None
        self.caller_number = ""  # as claimed until routing has spoken, then E.164
        self.callee_number = ""
        self.x = ""  # the number dialled; 15 digits once routing has read it
        self.egress = ""
        self._egress_call_id = ""
        self.counted = ""  # the egress trunk on whose limit this call stands
        self.route: Route | None = None
        self.binding: Binding | None = None  # from routing's word to the end of the call
        self.prompt: Prompt | None = None
        self.verification = ""  # what came of the verification hook (R20), for the record
        self.offer = b""
        self.max_forwards = 70
        self.longest_seconds = 0.0
        self._targets: list[TargetState] = []
        self._target: TargetState | None = None  # the one being tried
        self._tried: tuple[str, ...] = ()
        self._failure: Refused | None = None
        self._arrived = exchange.signalling.now
        self._ringing_ms = 0
        self._ring_until = 0.0
        self._answered_at = 0.0
        self.answered_ms = 0
        self._media = ""
        self._alarm = _Alarm.NO_REPLY

    @property
    def since_ms(self) -> int:
        """When the INVITE came, UTC milliseconds."""
        return self._arrived.utc_ms

    # decisions

    def await_decision(self) -> None:
        """Routing has not spoken at once: it has so long."""
        if self.state is CallState.DECIDING:
            self._set_alarm(_Alarm.DECISION, self.exchange.limits.decision_seconds)

    def connect(self, route: Route, targets: list[TargetState]) -> None:
        """Routing said yes: try ``targets`` in order."""
        self.route = route
        self.binding = route.binding
        self.caller_number, self.callee_number, self.x = route.caller, route.callee, route.dialled
        self._targets = targets
        self.state = CallState.SETUP
        self.longest_seconds = route.binding.longest_seconds or self.exchange.limits.longest_call_seconds
        self._write_attempted(None)
        self._try_next()

    def refuse(self, refusal: Refusal) -> None:
        """Routing said no, and an announcement may tell the caller so first."""
        self.caller_number, self.x = refusal.caller, refusal.dialled
        self._write_attempted(refusal)
        self.prompt = self.exchange.announce(self, refusal.reason)
        if self.prompt is None:
            self.dismiss(refusal.reason)
        else:
            self.state = CallState.PROMPT
            self.callee = self.prompt.leg
            self.listen(self.prompt.answer_seconds)

    def reject(self, reason: Local) -> None:
        """The switch says no before routing was asked, or instead of it."""
        self._write_attempted(None)
        self.dismiss(reason)

    def release(self, reason: Local) -> None:
        """The switch ends the call whatever its state (operator, shutdown, tripwire, a limit)."""
        if self.state is CallState.OVER:
            return
        if self.prompt is not None:
            self.prompt.stop()  # it was refused before, and that stands
            return
        if self.state is CallState.DECIDING:
            self.reject(reason)
            return
        if self.state is CallState.SETUP:
            self._note_route("released")
        verdict = verdict_of(reason)
        outcome = Outcome.ANSWERED if self.state is CallState.UP else Outcome.FAILED
        self._finish(verdict.status, verdict.q850, outcome, "switch", reason, verdict.text, verdict.retry_after)

    # what the announcement asks for

    def listen(self, seconds: float) -> None:
        """So long the caller may wait for the announcement, or listen to it."""
        self._set_alarm(_Alarm.PROMPT, seconds)

    def dismiss(self, reason: str, status: int = 0) -> None:
        """The end of a refused call, with an announcement before it or without. ``status`` is what the caller has been
        answered already."""
        verdict = verdict_of(reason)
        self._finish(
            status or verdict.status,
            verdict.q850,
            Outcome.REFUSED,
            "switch",
            reason,
            verdict.text,
            verdict.retry_after,
        )

    # what the legs report

    def heard(self, leg: Leg, event: LegEvent) -> None:
        """A leg has news."""
        if self.state is CallState.OVER:
            return
        if self.prompt is not None:
            self.prompt.heard(leg, event)
        elif leg is self.caller:
            self._from_caller(event)
        elif leg is self.callee:
            self._from_callee(event)

    def fire(self, now: float) -> None:
        """The limit of the present stage is reached."""
        if self.state is CallState.OVER:
            return
        if self.prompt is not None:
            self.prompt.expired()
        elif self._alarm is _Alarm.DECISION:
            self.reject(Local.UNDECIDED)
        elif self._alarm is _Alarm.NO_REPLY:
            if self._target is not None:
                self.exchange.silent(self._target)
            self._give_route_up("no_reply")
        elif self._alarm is _Alarm.NO_PROGRESS:
            self._give_route_up("no_progress")
        elif self._alarm is _Alarm.RINGING:
            if now < self._ring_until:
                if self.caller is not None:
                    self.caller.progress_again()
                self._set_ring_alarm(now)
            else:
                self._note_route("no_answer")
                self._finish(480, NO_ANSWER, Outcome.NO_ANSWER, "switch", "", "no answer")
        else:
            self.release(Local.LONGEST_CALL)

    # from the caller

    def _from_caller(self, event: LegEvent) -> None:
        match event:
            case Cancelled(q850, sip) if self.state is not CallState.UP:
                if sip and self.callee is not None:
                    self.callee.cancel_reason = f"SIP;cause={sip}"
                self._give_up()
                self._finish(487, q850 or NORMAL_CLEARING, Outcome.CANCELLED, "caller")
            case Ended(q850, lost):
                self._ended_by("caller", q850, lost)
            case AckMissing():
                self.release(Local.NO_ACK)
            case PrackMissing():
                self.release(Local.NO_PRACK)
            case AnswerUnusable():
                self.release(Local.NO_SESSION)
            case Expired(failed):
                self.release(Local.REFRESH_FAILED if failed else Local.SESSION_EXPIRED)
            case _:
                if self.callee is not None:
                    cross(event, self.callee)

    def _ended_by(self, party: str, q850: int, lost: bool) -> None:
        if lost:
            self._give_up()
            verdict = verdict_of(Local.PEER_LOST)
            outcome = Outcome.ANSWERED if self.state is CallState.UP else Outcome.FAILED
            self._finish(verdict.status, verdict.q850, outcome, party, Local.PEER_LOST)
        elif self.state is CallState.UP:
            self._finish(200, q850 or NORMAL_CLEARING, Outcome.ANSWERED, party)
        else:
            self._give_up()
            self._finish(487, q850 or NORMAL_CLEARING, Outcome.CANCELLED, party)

    def _give_up(self) -> None:
        """A call that ends before its answer: what the record still lacks."""
        if self.state is CallState.DECIDING:
            self._write_attempted(None)
        elif self.state is CallState.SETUP:
            self._note_route("cancelled")

    # from the callee

    def _from_callee(self, event: LegEvent) -> None:
        target = self._target
        if target is not None and target.silent and not (isinstance(event, Refused) and event.lost):
            target.silent = 0  # whatever it said, somebody is there
        match event:
            case Trying():
                self._on_trying()
            case Progress(status, sdp):
                self._on_progress(status, sdp)
            case Answered(sdp, settled):
                self._on_answered(sdp, settled)
            case Refused():
                self._on_refused(event)
            case Ended(q850, lost):
                self._ended_by("callee", q850, lost)
            case AckMissing():
                self.release(Local.NO_ACK)
            case AnswerUnusable():
                self.release(Local.NO_SESSION)
            case Expired(failed):
                self.release(Local.REFRESH_FAILED if failed else Local.SESSION_EXPIRED)
            case _:
                if self.caller is not None:
                    cross(event, self.caller)

    def _on_trying(self) -> None:
        if self._alarm is _Alarm.NO_REPLY:
            limits = self.exchange.limits
            dialled = self.deadline - limits.no_reply_seconds
            self._set_alarm(
                _Alarm.NO_PROGRESS, dialled + limits.no_progress_seconds - self.exchange.signalling.now.monotonic
            )

    def _on_progress(self, status: int, sdp: bytes) -> None:
        now = self.exchange.signalling.now
        if self._alarm is not _Alarm.RINGING:
            limit = self.route.binding.ring_seconds if self.route else 0
            self._ring_until = now.monotonic + (limit or self.exchange.limits.ring_seconds)
            self._alarm = _Alarm.RINGING
            self._set_ring_alarm(now.monotonic)
        if not self._ringing_ms:
            self._ringing_ms = now.utc_ms
            trunk = self.callee.route_name if self.callee is not None else ""
            self.exchange.rang(self, trunk, now.monotonic - self._arrived.monotonic)
        if self.caller is not None:
            # 181 and 182 tell of the callee's arrangements: to the caller it just rings or is being reached
            self.caller.progress(183 if status == 183 or (sdp and status != 180) else 180, sdp)

    def _on_answered(self, sdp: bytes, settled: bool) -> None:
        caller, callee = self.caller, self.callee
        if caller is None or callee is None:
            return
        now = self.exchange.signalling.now
        self.state = CallState.UP
        self.egress = callee.route_name
        self._note_route("200")
        self._answered_at = now.monotonic
        self.answered_ms = now.utc_ms
        self._media = describe(sdp)
        setup = now.monotonic - self._arrived.monotonic
        self.exchange.write(
            record.Answered(
                self.record_id, now.utc_ms, self._ringing_ms, self.egress, callee.dialog.call_id, round(setup * 1000)
            )
        )
        self.exchange.answered(self, self.egress, setup)
        self.route = None  # what set-up needed is not kept while people talk
        self._targets = []
        self._target = None
        self.offer = b""
        self._set_alarm(_Alarm.LONGEST, self.longest_seconds)
        caller.answer(sdp, callee.wants_answer, settled)

    def _on_refused(self, refused: Refused) -> None:
        target = self._target
        rang = self._alarm is _Alarm.RINGING
        self._note_route("unreachable" if refused.lost else str(refused.status))
        if target is not None:
            if refused.lost and self._alarm is _Alarm.NO_REPLY:
                self.exchange.silent(target)
            elif refused.status == 503 and refused.retry_after:
                # §21.5.4; without Retry-After it speaks of this call only
                self.exchange.park(target, refused.retry_after)
        self._failure = refused
        if refused.status in FAILOVER and not rang:
            self._try_next()
        elif refused.status == 408 and rang:
            self._finish(480, NO_ANSWER, Outcome.NO_ANSWER, "callee", "", "no answer")
        else:
            self._finish_refused(refused)

    def _finish_refused(self, refused: Refused) -> None:
        status = relayed_status(refused.status)
        outcome = outcome_of(refused.status)
        self._finish(status, refused.q850 or cause_of(refused.status), outcome, "callee")

    # routes

    def _try_next(self) -> None:
        """Dial the next route, or give the attempt up with what the last one said."""
        self.callee = None
        while self._targets:
            target = self._targets.pop(0)
            barred = self.exchange.barred(target)
            if barred:
                self._tried = (*self._tried, f"{target.trunk.name}:{barred}")
                continue
            self._target = target
            self._set_alarm(_Alarm.NO_REPLY, self.exchange.limits.no_reply_seconds)
            self.callee = self.exchange.dial(self, target)
            return
        self._target = None
        if self._failure is not None:
            self._finish_refused(self._failure)
        else:
            verdict = verdict_of("no_route")
            self._finish(verdict.status, verdict.q850, Outcome.FAILED, "switch", "no_route", verdict.text)

    def _give_route_up(self, why: str) -> None:
        self._note_route(why)
        if self.callee is not None:
            self.callee.end(cause_of(408), 408, 0, "")
        self._failure = self._failure or Refused(504, 0, 0)
        self._try_next()

    def _note_route(self, how: str) -> None:
        if self.callee is not None:
            self.egress = self.callee.route_name
            self._egress_call_id = self.callee.dialog.call_id
            self._tried = (*self._tried, f"{self.callee.route_name}:{how}")

    # timers

    def _set_alarm(self, alarm: _Alarm, seconds: float) -> None:
        self._alarm = alarm
        signalling = self.exchange.signalling
        now = signalling.now.monotonic
        signalling.endpoint.timers.set(self, now + max(seconds, 0.0), now)

    def _set_ring_alarm(self, now: float) -> None:
        refresh = now + self.exchange.limits.ring_refresh_seconds
        self.exchange.signalling.endpoint.timers.set(self, min(refresh, self._ring_until), now)

    # the record

    def _write_attempted(self, refusal: Refusal | None) -> None:
        """The first event of the record: what is known of the attempt when it is decided (rule R9)."""
        binding: Binding | None
        if self.route is not None:
            binding, calling = self.route.binding, self.route.calling
        else:
            binding = refusal.binding if refusal is not None else None
            calling = "" if binding is None else "a" if self.caller_number == binding.a else "b"
            if binding is not None:
                self.callee_number = binding.b if calling == "a" else binding.a
        self.exchange.write(
            record.Attempted(
                record_id=self.record_id,
                node=self.exchange.node,
                sequence=self.handle,
                kind="call",
                arrived_ms=self._arrived.utc_ms,
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
                ingress=self.ingress.name,
                ingress_call_id=self.ingress_call_id,
            )
        )

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
        """The one exit: the last event of the record, then both legs down. ``status`` counts before the answer only."""
        was_up = self.state is CallState.UP
        self.state = CallState.OVER
        signalling = self.exchange.signalling
        signalling.endpoint.timers.cancel(self)
        now = signalling.now
        callee, caller = self.callee, self.caller
        self.exchange.write(
            record.Ended(
                record_id=self.record_id,
                ended_ms=now.utc_ms,
                ringing_ms=self._ringing_ms,
                egress=self.egress,
                egress_call_id=self._egress_call_id,
                routes=self._tried,
                status=200 if was_up else status,
                q850=q850,
                outcome=outcome,
                ended_by=ended_by,
                reason=reason,
                verification=self.verification,
                media=self._media,
                total_ms=round((now.monotonic - self._arrived.monotonic) * 1000),
                talk_ms=round((now.monotonic - self._answered_at) * 1000) if was_up else 0,
            )
        )
        self.caller = self.callee = self.prompt = None
        for leg in (callee, caller):
            if leg is not None:
                leg.end(q850, status, retry_after, text)
        self.exchange.over(self, outcome, reason)
