"""Calls from beginning to end, as scripts of the users alone: what the network loses on the way is not their matter."""

from collections.abc import Callable
from typing import NamedTuple

from tests.call.early_flows import EARLY_FLOWS, EARLY_RACES
from tests.call.phone import PhoneCall, answer_after, refuse_with
from tests.call.prompt_flows import PROMPT_FLOWS
from tests.call.timer_flows import TIMER_FLOWS
from tests.call.world import ADDRESS_B, World, X

__all__ = ["FLOWS", "Flow"]

LONG = 20.0


class Flow(NamedTuple):
    """``start`` sets the users going. ``settled``: whoever loses a datagram, outcome and last status stay the same."""

    name: str
    start: Callable[[World], None]
    settled: bool = True


def caller_hangs_up(world: World) -> None:
    call = world.caller.dial(X)
    call.on("200", call.hang_up, after=LONG)


def callee_hangs_up(world: World) -> None:
    world.callee.on_call = _then(answer_after(1.0), lambda call: call.on("ACK", call.hang_up, after=LONG))
    world.caller.dial(X)


def callee_hangs_up_at_once(world: World) -> None:
    world.callee.on_call = _then(answer_after(1.0), lambda call: call.on("ACK", call.hang_up))
    world.caller.dial(X)


def caller_hangs_up_at_once(world: World) -> None:
    call = world.caller.dial(X)
    call.on("200", call.hang_up)


def both_hang_up(world: World) -> None:
    world.callee.on_call = _then(answer_after(1.0), lambda call: call.on("ACK", call.hang_up, after=2.0))
    call = world.caller.dial(X)
    call.on("200", call.hang_up, after=2.02)


def callee_answers_at_once(world: World) -> None:
    world.callee.on_call = lambda call: call.accept()
    caller_hangs_up(world)


def early_media(world: World) -> None:
    world.callee.on_call = answer_after(3.0, status=183, sdp=world.callee.sdp())
    caller_hangs_up(world)


def called_back(world: World) -> None:
    call = world.callee.dial(X)
    call.on("200", call.hang_up, after=LONG)


def busy(world: World) -> None:
    world.callee.on_call = refuse_with(486, ring=0.1)
    world.caller.dial(X)


def unbound(world: World) -> None:
    world.caller.dial("700123456780000")


def no_answer(world: World) -> None:
    world.callee.on_call = lambda call: call.ring()
    world.caller.dial(X)


def cancelled_while_ringing(world: World) -> None:
    world.callee.on_call = answer_after(LONG)
    world.network.later(5.0, world.caller.dial(X).cancel)


def cancelled_before_the_decision(world: World) -> None:
    world.switch.delay = 3.5
    world.network.later(1.0, world.caller.dial(X).cancel)


def cancel_crosses_answer(world: World) -> None:
    world.callee.on_call = answer_after(1.0, ring=0.5)
    world.network.later(1.535, world.caller.dial(X).cancel)  # with 10 ms a hop, the answer is half way


def next_route_after_503(world: World) -> None:
    world.callee.on_call = refuse_with(503, "Retry-After: 7")
    caller_hangs_up(world)


def next_route_after_silence(world: World) -> None:
    world.script(ADDRESS_B)
    world.second.on_call = answer_after(1.0)
    caller_hangs_up(world)


def all_routes_fail(world: World) -> None:
    world.callee.on_call = refuse_with(502)
    world.second.on_call = refuse_with(500)
    world.caller.dial(X)


def caller_holds(world: World) -> None:
    call = world.caller.dial(X)
    call.on("200", call.hold, after=5.0).on("200", call.hang_up, after=LONG + 20)


def callee_holds(world: World) -> None:
    world.callee.on_call = _then(answer_after(1.0), lambda call: call.on("ACK", call.hold, after=5.0))
    call = world.caller.dial(X)
    call.on("200", call.hang_up, after=LONG + 20)


def glare(world: World) -> None:
    world.callee.on_call = _then(answer_after(1.0), lambda call: call.on("ACK", call.hold, after=5.0))
    call = world.caller.dial(X)
    call.on("200", call.hold, after=5.02).on("200", call.hang_up, after=LONG + 20)


def refused_reinvite(world: World) -> None:
    def take(call: PhoneCall) -> None:
        call.on_reinvite = lambda call, request: call.refuse(488)
        answer_after(1.0)(call)

    world.callee.on_call = take
    caller_holds(world)


def cancelled_reinvite(world: World) -> None:
    def take(call: PhoneCall) -> None:
        call.on_reinvite = lambda call, request: call.ring(100)
        answer_after(1.0)(call)

    world.callee.on_call = take
    call = world.caller.dial(X)
    call.on("200", call.hold, after=5.0).on("200", call.cancel, after=7.0).on("200", call.hang_up, after=LONG + 20)


def delayed_offer(world: World) -> None:
    call = world.caller.dial(X, sdp=b"")
    call.on("200", call.hang_up, after=LONG)


def delayed_reinvite(world: World) -> None:
    call = world.caller.dial(X)
    call.on("200", lambda: call.reinvite(b""), after=5.0).on("200", call.hang_up, after=LONG + 20)


def keys(world: World) -> None:
    world.callee.on_call = _then(answer_after(1.0), lambda call: call.on("ACK", call.info, after=5.0))
    call = world.caller.dial(X)
    call.on("200", call.info, after=5.0).on("200", call.hang_up, after=LONG + 20)


def _then(first: Callable[[PhoneCall], None], second: Callable[[PhoneCall], object]) -> Callable[[PhoneCall], None]:
    def both(call: PhoneCall) -> None:
        first(call)
        second(call)

    return both


_RACES = {both_hang_up, cancel_crosses_answer, glare, *EARLY_RACES}
FLOWS = [
    Flow(start.__name__, start, start not in _RACES)
    for start in (
        caller_hangs_up,
        callee_hangs_up,
        callee_hangs_up_at_once,
        caller_hangs_up_at_once,
        both_hang_up,
        callee_answers_at_once,
        early_media,
        called_back,
        busy,
        unbound,
        no_answer,
        cancelled_while_ringing,
        cancelled_before_the_decision,
        cancel_crosses_answer,
        next_route_after_503,
        next_route_after_silence,
        all_routes_fail,
        caller_holds,
        callee_holds,
        glare,
        refused_reinvite,
        cancelled_reinvite,
        delayed_offer,
        delayed_reinvite,
        keys,
        *EARLY_FLOWS,
        *PROMPT_FLOWS,
        *TIMER_FLOWS,
    )
]
