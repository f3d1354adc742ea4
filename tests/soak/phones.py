"""All callers behind one socket and all callees behind another: they ring, talk, give up and hang up at random."""

import random
from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass, field
from functools import partial

from tests.soak.clockwork import Clockwork, Repeater
from tests.soak.wire import LossyWire, Message, read, request, respond

__all__ = ["Callees", "Callers", "Line", "Manners"]


@dataclass(frozen=True, slots=True)
class Manners:
    """How people behave. Shares of all calls, mean times in seconds.

    Both parties of a call hang up at a moment of their own, spread evenly over three times the mean: so the first of
    the two does after the mean, and is either with equal chance.
    """

    talk_seconds: float
    ring_seconds: float = 0.5
    busy_share: float = 0.04
    give_up_share: float = 0.04
    t1: float = 0.5
    t2: float = 4.0


@dataclass(frozen=True, slots=True)
class Line:
    """A middle number with the two real ones behind it."""

    x: str
    caller: str
    callee: str


def patience(chance: random.Random, mean: float) -> float:
    """When one of two parties has had enough, if the first of them has after this mean."""
    return 3 * mean * chance.random()


def spread(chance: random.Random, mean: float) -> float:
    """A time about its mean: half of it to one and a half of it."""
    return mean * (0.5 + chance.random())


@dataclass(slots=True)
class Call:
    """A call as its caller sees it. `ending` is the BYE or CANCEL under way."""

    line: Line
    call_id: str
    branch: str
    from_value: str
    to_value: str
    gives_up: bool
    invite: Repeater
    ending: Repeater | None = None
    ack: bytes = b""
    target: str = ""
    over: bool = False


@dataclass(slots=True)
class Leg:
    """A call as its callee sees it. `answer` is repeated to the INVITE, until its ACK where it is final."""

    invite: Message
    tag: str
    answer: bytes
    repeater: Repeater | None = None
    over: bool = False
    final: int = 0
    ending: Repeater | None = None


@dataclass(slots=True)
class Ledger:
    """What one side has seen: final statuses of calls, and whatever must not be."""

    finals: Counter[int] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)


class _Side(ABC):
    """What both sides share."""

    def __init__(self, wire: LossyWire, manners: Manners, clockwork: Clockwork, chance: random.Random) -> None:
        self.wire = wire
        self.manners = manners
        self.clockwork = clockwork
        self.chance = chance
        self.ledger = Ledger()

    def token(self) -> str:
        return f"{self.chance.getrandbits(64):016x}"

    def repeat(self, wire: bytes, now: float, *, invite: bool, fault: str) -> Repeater:
        """Send until answered; an INVITE is repeated at doubling pauses, everything else at most every T2."""
        longest = 64 * self.manners.t1 if invite else self.manners.t2
        return Repeater(
            self.clockwork, self.wire.send, wire, now, self.manners.t1, longest, lambda _: self.fault(fault)
        )

    def fault(self, name: str) -> None:
        self.ledger.faults[name] += 1

    def take(self, now: float) -> bool:
        """Handle one message that waits; False when none does."""
        wire = self.wire.receive()
        if wire is None:
            return False
        if wire:
            message = read(wire)
            if message.method == "OPTIONS" and not message.status:
                self.wire.send(respond(message, 200, self.wire.here))
            else:
                self.handle(message, wire, now)
        return True

    @abstractmethod
    def handle(self, message: Message, wire: bytes, now: float) -> None:
        """Take a message of the switch that is no probe."""


class Callers(_Side):
    """`attempts` are all calls begun, `calls` those that are not over yet."""

    def __init__(self, wire: LossyWire, manners: Manners, clockwork: Clockwork, chance: random.Random) -> None:
        super().__init__(wire, manners, clockwork, chance)
        self.attempts = 0
        self.calls: dict[str, Call] = {}
        self._past: dict[str, Call] = {}

    def dial(self, line: Line, switch: str, now: float) -> None:
        """Begin a call."""
        self.attempts += 1
        call_id, branch = self.token(), f"z9hG4bK{self.token()}"
        uri = f"sip:{line.x}@{switch}"
        from_value = f"<sip:{line.caller}@{self.wire.here.host}>;tag={self.token()}"
        identity = f"P-Asserted-Identity: <sip:{line.caller}@{self.wire.here.host}>\r\nContent-Type"
        wire = request(
            "INVITE", uri, self.wire.here, branch, from_value, f"<{uri}>", call_id, 1, body=self.wire.here.session()
        ).replace(b"Content-Type", identity.encode(), 1)
        invite = self.repeat(wire, now, invite=True, fault="INVITE without answer")
        gives_up = self.chance.random() < self.manners.give_up_share
        self.calls[call_id] = Call(line, call_id, branch, from_value, f"<{uri}>", gives_up, invite, target=uri)

    def hang_up_all(self, now: float) -> None:
        """The end of the soak: nobody talks on."""
        for call in list(self.calls.values()):
            if call.ack and call.ending is None:
                self._bye(call, now)

    def handle(self, message: Message, wire: bytes, now: float) -> None:
        call = self.calls.get(message.call_id) or self._past.get(message.call_id)
        if call is None:
            self.fault("a message for a call that does not exist")
            return
        if call.line.callee.encode() in wire:
            self.fault("the callee's number")
        if not message.status:
            if message.method == "BYE":
                self.wire.send(respond(message, 200, self.wire.here))
                self._over(call, now)
            else:
                self.wire.send(respond(message, 405, self.wire.here))
        elif message.method == "INVITE":
            self._answered(call, message, now)
        elif message.status >= 200 and call.ending is not None:
            call.ending.stop()
            if message.method == "BYE":
                self._over(call, now)

    def _answered(self, call: Call, message: Message, now: float) -> None:
        call.invite.stop()
        if message.status < 200:
            if message.status >= 180 and call.gives_up and call.ending is None:
                call.gives_up = False
                self.clockwork.at(
                    now + spread(self.chance, self.manners.ring_seconds) / 2, partial(self._give_up, call)
                )
            return
        if call.ack:
            self.wire.send(call.ack)
            return
        self.ledger.finals[message.status] += 1
        call.to_value = message.to_value
        good = message.status < 300
        target, branch = (message.contact, f"z9hG4bK{self.token()}") if good else (call.target, call.branch)
        call.ack = request("ACK", target, self.wire.here, branch, call.from_value, call.to_value, call.call_id, 1)
        self.wire.send(call.ack)
        if call.ending is not None:
            call.ending.stop()
        if not good:
            self._over(call, now)
            return
        call.target = target
        call.ending = None
        self.clockwork.at(now + patience(self.chance, self.manners.talk_seconds), partial(self._bye, call))

    def _give_up(self, call: Call, now: float) -> None:
        if not call.ack:
            wire = request(
                "CANCEL", call.target, self.wire.here, call.branch, call.from_value, call.to_value, call.call_id, 1
            )
            call.ending = self.repeat(wire, now, invite=False, fault="CANCEL without answer")

    def _bye(self, call: Call, now: float) -> None:
        if call.over or call.ending is not None:
            return
        wire = request(
            "BYE",
            call.target,
            self.wire.here,
            f"z9hG4bK{self.token()}",
            call.from_value,
            call.to_value,
            call.call_id,
            2,
        )
        call.ending = self.repeat(wire, now, invite=False, fault="BYE without answer")

    def _over(self, call: Call, now: float) -> None:
        """Over, but remembered while something of it may still come."""
        if call.over:
            return
        call.over = True
        if call.ending is not None:
            call.ending.stop()
        self._past[call.call_id] = self.calls.pop(call.call_id)
        self.clockwork.at(now + 80 * self.manners.t1, lambda _: self._forget(call.call_id))

    def _forget(self, call_id: str) -> None:
        del self._past[call_id]


class Callees(_Side):
    """They know a call by what the switch sends alone."""

    def __init__(self, wire: LossyWire, manners: Manners, clockwork: Clockwork, chance: random.Random) -> None:
        super().__init__(wire, manners, clockwork, chance)
        self.legs: dict[str, Leg] = {}

    def handle(self, message: Message, wire: bytes, now: float) -> None:
        leg = self.legs.get(message.call_id)
        if leg is None:
            if message.method == "INVITE" and not message.status:
                self._ring(message, wire, now)
            elif message.method != "ACK" and not message.status:
                self.wire.send(respond(message, 481, self.wire.here, "none"))
            return
        if message.status:
            if message.status >= 200 and leg.ending is not None:
                leg.ending.stop()
                self._over(leg, now)
        elif message.method == "INVITE":
            self.wire.send(leg.answer)
        elif message.method == "ACK":
            self._acknowledged(leg, now)
        elif message.method == "CANCEL":
            self.wire.send(respond(message, 200, self.wire.here, leg.tag))
            if not leg.final:
                self._say(leg, 487, now)
        elif message.method == "BYE":
            self.wire.send(respond(message, 200, self.wire.here))
            self._over(leg, now)
        else:
            self.wire.send(respond(message, 405, self.wire.here))

    def _ring(self, invite: Message, wire: bytes, now: float) -> None:
        number = invite.uri.partition(":")[2].partition("@")[0]
        if number.replace("139", "138", 1).encode() in wire:
            self.fault("the caller's number")
        tag = self.token()
        leg = Leg(invite, tag, respond(invite, 180, self.wire.here, tag))
        self.legs[invite.call_id] = leg
        if self.chance.random() < self.manners.busy_share:
            self._say(leg, 486, now)
            return
        self.wire.send(leg.answer)
        self.clockwork.at(now + spread(self.chance, self.manners.ring_seconds), partial(self._lift, leg))

    def _lift(self, leg: Leg, now: float) -> None:
        if not leg.final:
            self._say(leg, 200, now)

    def _say(self, leg: Leg, status: int, now: float) -> None:
        """A final answer, repeated until its ACK."""
        leg.final = status
        self.ledger.finals[status] += 1
        body = self.wire.here.session() if status == 200 else ""
        leg.answer = respond(leg.invite, status, self.wire.here, leg.tag, body)
        leg.repeater = self.repeat(leg.answer, now, invite=False, fault=f"{status} without ACK")

    def _acknowledged(self, leg: Leg, now: float) -> None:
        if leg.repeater is None or leg.repeater.stopped:
            return
        leg.repeater.stop()
        if leg.final != 200:
            self._over(leg, now)
            return
        self.clockwork.at(now + patience(self.chance, self.manners.talk_seconds), partial(self._bye, leg))

    def _bye(self, leg: Leg, now: float) -> None:
        if leg.over:
            return
        invite = leg.invite
        wire = request(
            "BYE",
            invite.contact,
            self.wire.here,
            f"z9hG4bK{self.token()}",
            f"{invite.to_value};tag={leg.tag}",
            invite.from_value,
            invite.call_id,
            1,
        )
        leg.ending = self.repeat(wire, now, invite=False, fault="BYE without answer")

    def _over(self, leg: Leg, now: float) -> None:
        """Over, but remembered while something of it may still be repeated."""
        if leg.over:
            return
        leg.over = True
        if leg.repeater is not None:
            leg.repeater.stop()
        self.clockwork.at(now + 80 * self.manners.t1, lambda _: self._forget(leg))

    def _forget(self, leg: Leg) -> None:
        del self.legs[leg.invite.call_id]
