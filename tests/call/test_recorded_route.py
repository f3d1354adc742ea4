"""Proxies before the switch stay in the path: what they recorded is said back to the caller (RFC 3261 §12.1.1)."""

from b2bua.sip.message import Request, Response
from b2bua.sip.parser import parse
from tests.call.phone import answer_after
from tests.call.world import ADDRESS_A, World, X
from tests.wire import SWITCH

FIRST, SECOND = "<sip:192.0.2.10:5060;lr;ftag=a,b>;x=1", "<sip:198.18.0.1:5080;lr>"
RECORDED = (f"Record-Route: {FIRST}", f"Record-Route: {SECOND}")


def answers(world: World) -> list[Response]:
    """What the caller was answered, hop by hop messages left out."""
    messages = [parse(d.data) for d in world.network.log if d.source == SWITCH and d.target == ADDRESS_A]
    return [message for message in messages if isinstance(message, Response) and message.status > 100]


def test_every_answer_that_makes_a_dialog_says_the_recorded_route_in_its_order() -> None:
    world = World()
    world.callee.on_call = answer_after(1.0)
    call = world.caller.dial(X, *RECORDED)
    call.on("200", call.hang_up, after=1.0)
    world.finish()
    told = [answer for answer in answers(world) if answer.cseq_method == "INVITE"]
    assert [answer.status for answer in told] == [180, 200]
    assert [answer.all("record-route") for answer in told] == [[FIRST, SECOND]] * 2
    assert [answer.all("record-route") for answer in answers(world) if answer.cseq_method == "BYE"] == [[]]


def test_our_requests_to_the_caller_go_along_it() -> None:
    world = World()
    world.callee.on_call = lambda call: (call.accept(), call.on("ACK", call.hang_up, after=1.0))[0]
    world.caller.dial(X, *RECORDED)
    world.finish()
    messages = [parse(d.data) for d in world.network.log if d.source == SWITCH and d.target == ADDRESS_A]
    (bye,) = [message for message in messages if isinstance(message, Request)]
    assert bye.all("route") == [FIRST, SECOND]


def test_without_a_recorded_route_none_is_said() -> None:
    world = World()
    world.callee.on_call = answer_after(1.0)
    call = world.caller.dial(X)
    call.on("200", call.hang_up, after=1.0)
    world.finish()
    assert [answer.all("record-route") for answer in answers(world)] == [[], [], []]


def test_the_callee_learns_nothing_of_it() -> None:
    world = World()
    world.callee.on_call = answer_after(1.0)
    call = world.caller.dial(X, *RECORDED)
    call.on("200", call.hang_up, after=1.0)
    world.finish()
    sent = [d.data for d in world.network.log if d.source == SWITCH and d.target != ADDRESS_A]
    assert sent
    assert not [data for data in sent if b"198.18.0.1" in data]
