"""The usual scene: A and B bound through X, two carriers, the switch between them, and a clock."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

from b2bua.call.settings import PromptSettings
from b2bua.call.switch import Switch, SwitchSettings
from routing.binding import Binding, Direction, Mode
from routing.decide import Query, Refusal, Route, decide
from routing.errors import StoreError
from routing.numbers import NumberForm, format_subscriber
from routing.plan import Block, BlockState, Plan
from routing.policy import NO_POLICY
from routing.targets import Target
from routing.trunks import Peer, Trunk
from tests.call.invariants import (
    Story,
    check_answers,
    check_order,
    check_privacy,
    check_records,
    check_refusals,
    check_wire,
    stories,
)
from tests.call.message_invariants import check_messages
from tests.call.phone import Phone, PhoneCall, Stage
from tests.wire import START_MS, SWITCH, Address, Conditions, Network, Script, SwitchNode, tokens

__all__ = [
    "ADDRESS_A",
    "ADDRESS_B",
    "ADDRESS_C",
    "ADDRESS_M",
    "BINDING",
    "NUMBER_A",
    "NUMBER_B",
    "TRUNKS",
    "World",
    "X",
    "announce",
]

X = "700123456789012"
NUMBER_A = "+8613876543210"
NUMBER_B = "+8613925814703"
ADDRESS_A: Address = ("192.0.2.10", 5060)
ADDRESS_B: Address = ("192.0.2.20", 5060)
ADDRESS_C: Address = ("192.0.2.30", 5060)
ADDRESS_M: Address = ("192.0.2.40", 5060)  # of the media server
MEDIA = {ADDRESS_A: "198.51.100.10", ADDRESS_B: "198.51.100.20", ADDRESS_C: "198.51.100.30"}

TRUNKS = (
    Trunk("carrier-a", (Peer(*ADDRESS_A),), prefixes=("138", "010")),
    Trunk("carrier-b", (Peer(*ADDRESS_B),), prefixes=("139", "021")),
    Trunk("carrier-c", (Peer(*ADDRESS_C),), prefixes=("139", "021"), priority=20),
)
BINDING = Binding(
    id="binding-1",
    mode=Mode.AXB,
    x=X,
    y="",
    a=NUMBER_A,
    b=NUMBER_B,
    direction=Direction.BOTH,
    provider="provider",
    business_user="shop",
    scenario="delivery",
    order_id="order-1",
    industrial_id="700.100.1/12345678",
    starts_ms=START_MS - 1000,
    expires_ms=START_MS + 24 * 3_600_000,
    ended_ms=0,
)
BLOCK = Block("70012345678", "provider", "shop", BlockState.ACTIVE)


class World:
    """``caller`` is A's user agent, ``callee`` B's, ``second`` stands at the end of the second route to B.

    ``binding`` changes fields of the usual binding, ``settings`` those of the switch. ``finish`` is the end of every
    test: it lets the clock run out and checks all that must always hold.
    """

    open: ClassVar[list["World"]] = []

    def __init__(
        self,
        conditions: Conditions | None = None,
        *,
        settings: dict[str, Any] | None = None,
        binding: dict[str, Any] | None = None,
        trunks: Sequence[Trunk] = TRUNKS,
    ) -> None:
        self.network = Network(conditions)
        self.trunks = trunks
        self.bindings = [replace(BINDING, **(binding or {}))]
        self.blocks = [BLOCK]
        self.store_fails = False
        self.policy = NO_POLICY
        self.real = Switch(
            SwitchSettings(**(settings or {})), trunks, tokens("switch"), {"udp": f"{SWITCH[0]}:{SWITCH[1]}"}
        )
        self.switch = SwitchNode(self.network, self.real, self._decide)
        self.a, self.b = self.bindings[0].a, self.bindings[0].b
        self.caller = self._phone("alpha", "a", ADDRESS_A, self.a)
        self.callee = self._phone("bravo", "b", ADDRESS_B, self.b)
        self.second = self._phone("charlie", "b", ADDRESS_C, self.b)
        self.phones = [self.caller, self.callee, self.second]
        self.finished = False
        World.open.append(self)

    def script(self, address: Address) -> Script:
        """Put a scripted agent in the place of a phone."""
        return Script(self.network, address, self.network.side_of(address))

    def media_server(self, **changes: Any) -> Phone:
        """A media server that plays the announcements of refusals, each for three seconds."""
        target = Target("UDP", *ADDRESS_M, Peer(*ADDRESS_M))
        files = {"caller_unbound": "unbound.wav", "direction_barred": "barred.wav"}
        self.reconfigure(prompts=replace(PromptSettings(target, "file:///prompts/", files), **changes))
        phone = Phone(self.network, "mike", "m", ADDRESS_M, "annc", "198.51.100.40")
        phone.on_call = announce
        self.phones.append(phone)
        return phone

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.network.run(seconds)

    def reconfigure(self, *, trunks: Sequence[Trunk] | None = None, **settings: Any) -> None:
        """A reload: other trunks, or other fields of the settings."""
        self.trunks = self.trunks if trunks is None else trunks
        changed = replace(self.real.limits, **settings)
        self.switch.enter(lambda now: self.real.reconfigure(changed, self.trunks, now))

    @property
    def tripped(self) -> int:
        """How often the tripwire fired."""
        return self.real.statistics.tripwire

    def finish(
        self, *, private: bool = True, agree: bool = True, answers: bool = True, tripped: int = 0, refusals: int = 0
    ) -> list[Story]:
        """Run the clock out, check the invariants, and return what the records tell.

        Switched off where a test is about the exception: ``private`` for a party that spells the other's number itself,
        ``agree`` where a peer is cut off for good, ``answers`` where an answer was stopped. ``refusals``: how many were
        only counted.
        """
        self.finished = True
        self.network.run_out()
        try:
            return self._check(private, agree, answers, tripped, refusals)
        except AssertionError as error:
            error.add_note(self.network.trace())
            error.add_note("\n".join(repr(event) for event in self.switch.records))
            raise

    def _check(self, private: bool, agree: bool, answers: bool, tripped: int, refusals: int) -> list[Story]:
        assert {name: size for name, size in self.real.tables().items() if size} == {}
        assert self.real.active_calls == 0
        assert set(self.real.trunk_calls().values()) == {0}
        assert self.real.live_calls() == []
        everything = stories(self.switch.records)
        told = [story for story in everything if story.attempted.kind == "call"]
        texts = [story for story in everything if story.attempted.kind == "message"]
        check_records(told)
        check_messages(self.network.log, self.switch.records, texts)
        check_order(self.network.log, self.switch.records)
        statistics = self.real.statistics
        assert statistics.attempts.total() == statistics.outcomes.total() == len(told)
        assert statistics.message_attempts.total() == statistics.message_outcomes.total() == len(texts)
        assert statistics.refusals.total() == len([story for story in everything if story.ended.reason]) + refusals
        assert statistics.tripwire == tripped
        check_wire(self.network.log)
        check_refusals(self.network.log, told)
        if answers:
            check_answers(self.network.log)
        if private:
            check_privacy(self.network.log, {"a": self.a, "b": self.b})
        if agree:
            for phone in self.phones:
                assert phone.faults == []
                assert [call.stage for call in phone.calls] == [Stage.OVER] * len(phone.calls), phone.name
                assert (phone.endpoint.servers, phone.endpoint.clients) == ({}, {})
        return everything

    def _phone(self, name: str, side: str, address: Address, number: str) -> Phone:
        national = format_subscriber(number, NumberForm.NATIONAL)
        return Phone(self.network, name, side, address, national, MEDIA[address])

    def _decide(self, query: Query) -> Route | Refusal:
        now = self.switch.now
        return decide(
            query,
            Plan(self.blocks),
            self._find,
            self.trunks,
            self.real.down(now),
            now.utc_ms,
            lambda: 0.5,
            self.real.last_callers.get,
            self.policy,
            self.real.counters,
        )

    def _find(self, dialled: str, caller: str) -> Binding | None:
        if self.store_fails:
            raise StoreError("the disk is gone")
        keyed = [binding for binding in self.bindings if binding.x == dialled and caller in (binding.a, binding.b)]
        return keyed[-1] if keyed else None


def announce(call: PhoneCall, seconds: float = 3.0) -> None:
    """Take the call at once, play, and hang up."""
    call.on("ACK", call.hang_up, after=seconds)
    call.accept()
