"""Calls with reliable provisional answers, UPDATE, and descriptions that change before the answer."""

from functools import partial

from b2bua.sip.message import Request
from b2bua.sip.parser import parse
from tests.call.phone import PhoneCall, description
from tests.call.world import ADDRESS_B, World, X
from tests.wire import answer_text

__all__ = ["EARLY_FLOWS", "EARLY_RACES"]

LONG = 20.0
SUPPORTED, REQUIRED = "Supported: 100rel", "Require: 100rel"


def rings_reliably(world: World, *, media: bool = True, answer: float = 2.0, caller: str = SUPPORTED) -> PhoneCall:
    """A callee's side that has 100rel; the call is hung up by the caller."""

    def take(call: PhoneCall) -> None:
        later = call.phone.network.later
        call.ring(100)
        later(0.1, lambda: call.ring(183, call.phone.sdp() if media else b"", reliable=True))
        later(answer, call.accept)

    world.callee.on_call = take
    world.caller.reliable = caller
    for phone in (world.caller, world.callee):
        phone.updates = True
    return world.caller.dial(X)


def reliable_on_both_sides(world: World) -> None:
    call = rings_reliably(world)
    call.on("200", call.hang_up, after=LONG)


def reliable_to_the_callee_only(world: World) -> None:
    call = rings_reliably(world, caller="")
    call.on("200", call.hang_up, after=LONG)


def reliable_to_the_caller_only(world: World) -> None:
    def take(call: PhoneCall) -> None:
        later = call.phone.network.later
        call.ring(100)
        later(0.1, call.ring)
        later(1.0, lambda: call.ring(183, call.phone.sdp()))
        later(2.0, call.accept)

    world.callee.on_call = take
    world.caller.reliable = REQUIRED
    call = world.caller.dial(X)
    call.on("200", call.hang_up, after=LONG)


def reliable_and_cancelled(world: World) -> None:
    call = rings_reliably(world, answer=60.0)
    world.network.later(6.0, call.cancel)


def reliable_and_refused(world: World) -> None:
    call = rings_reliably(world, media=False, answer=60.0, caller=REQUIRED)
    world.network.later(6.0, lambda: refuse_all(world))
    call.on("486", lambda: None)


def offer_in_a_provisional_answer(world: World) -> None:
    def take(call: PhoneCall) -> None:
        later = call.phone.network.later
        call.ring(100)
        later(0.1, lambda: call.ring(183, call.phone.sdp(), reliable=True))
        later(2.0, call.accept)

    world.callee.on_call = take
    world.caller.reliable = SUPPORTED
    call = world.caller.dial(X, sdp=b"")
    call.on("200", call.hang_up, after=LONG)


def caller_updates_while_it_rings(world: World) -> None:
    call = rings_reliably(world, answer=30.0)
    call.on("183", lambda: call.update(world.caller.sdp(direction="sendonly")), after=3.0)
    call.on("200", call.hang_up, after=LONG)


def callee_updates_while_it_rings(world: World) -> None:
    call = rings_reliably(world, answer=30.0)
    world.network.later(5.0, lambda: hold_by_update(world))
    call.on("200", call.hang_up, after=LONG)


def caller_updates_when_it_is_up(world: World) -> None:
    call = rings_reliably(world)
    call.on("200", lambda: call.update(world.caller.sdp(direction="sendonly")), after=5.0)
    call.on("200", call.hang_up, after=LONG + 40)


def update_that_becomes_a_reinvite(world: World) -> None:
    call = rings_reliably(world)
    world.callee.updates = False
    call.on("200", lambda: call.update(world.caller.sdp(direction="sendonly")), after=5.0)
    call.on("200", call.hang_up, after=LONG + 40)


def updates_cross(world: World) -> None:
    call = rings_reliably(world)
    call.on("200", lambda: call.update(world.caller.sdp(direction="sendonly")), after=5.0)
    call.on("200", lambda: hold_by_update(world), after=5.01)
    call.on("200", call.hang_up, after=LONG + 40)


def refuse_all(world: World) -> None:
    for call in world.callee.calls:
        call.refuse(486)


def hold_by_update(world: World) -> None:
    for call in world.callee.calls:
        call.update(world.callee.sdp(direction="sendonly"))


class Fork:
    """Two phones behind B's proxy: both ring reliably, and ``winners`` answer. What is lost they say again."""

    def __init__(self, world: World, winners: tuple[str, ...] = ("two",)) -> None:
        self.world = world
        self.winners = winners
        self.script = world.script(ADDRESS_B)
        self.script.react = self._react
        self.invite: Request | None = None
        self.done: set[str] = set()  # tag and what of it has been confirmed

    def _react(self, data: bytes) -> None:
        request = parse(data)
        if not isinstance(request, Request):
            return
        if request.method == "INVITE" and not request.to_tag:
            if self.invite is None:
                self.invite = request
                self._say_until("100", 100, "", 0)
                self._say_until("one 183", 183, "one", 7)
                self.world.network.later(1.0, lambda: self._say_until("two 183", 183, "two", 70))
                for tag in self.winners:
                    self.world.network.later(3.0, partial(self._say_until, f"{tag} 200", 200, tag, 0))
        elif request.method == "ACK":
            self.done.add(f"{request.to_tag} 200")
        elif request.method == "CANCEL":
            self.done |= {"one 183", "two 183"}
            self.script.send(answer_text(request, 200, ADDRESS_B))
            if self.invite is not None:
                self.script.send(answer_text(self.invite, 487, ADDRESS_B, tag="one"))
        else:
            if request.method == "PRACK":
                self.done.add(f"{request.to_tag} 183")
            body = description("198.51.100.20").decode() if request.body and request.method != "PRACK" else ""
            self.script.send(answer_text(request, 200, ADDRESS_B, body=body))

    def _say_until(self, name: str, status: int, tag: str, rseq: int, wait: float = 0.5) -> None:
        """Say it, and again until it is confirmed; the 100 once."""
        if name in self.done or self.invite is None or wait > 16:
            return
        lines = ("Require: 100rel", f"RSeq: {rseq}", "Allow: INVITE, ACK, BYE, PRACK, UPDATE") if rseq else ()
        body = "" if status == 100 else description(f"198.51.100.2{len(tag) + rseq % 2}").decode()
        contact = f"<sip:{tag}@192.0.2.20:5060>" if tag else ""
        text = answer_text(self.invite, status, ADDRESS_B, tag=tag, lines=lines, body=body, contact=contact)
        self.script.send(text)
        if status > 100:
            self.world.network.later(wait, lambda: self._say_until(name, status, tag, rseq, 2 * wait))


def forked(world: World) -> None:
    Fork(world)
    call = world.caller.dial(X)
    call.on("200", call.hang_up, after=LONG)


def forked_and_reliable_to_the_caller(world: World) -> None:
    Fork(world)
    world.caller.reliable, world.caller.updates = SUPPORTED, True
    call = world.caller.dial(X)
    call.on("200", call.hang_up, after=LONG)


def forked_to_a_caller_without_update(world: World) -> None:
    Fork(world)
    world.caller.reliable = REQUIRED
    call = world.caller.dial(X)
    call.on("200", call.hang_up, after=LONG)


def forked_with_two_answers(world: World) -> None:
    Fork(world, ("one", "two"))
    world.caller.reliable, world.caller.updates = SUPPORTED, True
    call = world.caller.dial(X)
    call.on("200", call.hang_up, after=LONG)


def forked_without_an_offer(world: World) -> None:
    Fork(world)
    world.caller.reliable, world.caller.updates = SUPPORTED, True
    call = world.caller.dial(X, sdp=b"")
    call.on("200", call.hang_up, after=LONG)


EARLY_FLOWS = (
    reliable_on_both_sides,
    reliable_to_the_callee_only,
    reliable_to_the_caller_only,
    reliable_and_cancelled,
    reliable_and_refused,
    offer_in_a_provisional_answer,
    caller_updates_while_it_rings,
    callee_updates_while_it_rings,
    caller_updates_when_it_is_up,
    update_that_becomes_a_reinvite,
    updates_cross,
    forked,
    forked_and_reliable_to_the_caller,
    forked_to_a_caller_without_update,
    forked_with_two_answers,
    forked_without_an_offer,
)
# what happens depends on who is heard first, or on how long the script says it again
EARLY_RACES = (
    updates_cross,
    forked,
    forked_and_reliable_to_the_caller,
    forked_to_a_caller_without_update,
    forked_with_two_answers,
    forked_without_an_offer,
)
