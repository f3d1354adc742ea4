"""More than one route: when the next is tried, when not, and what becomes of the one before."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from b2bua.call.refusals import FAILOVER, Outcome
from b2bua.sip.message import Message, Request
from b2bua.sip.transaction import State
from routing.trunks import Peer, Trunk
from tests.call.phone import PhoneCall, answer_after, refuse_with
from tests.call.world import ADDRESS_B, ADDRESS_C, TRUNKS, World, X
from tests.wire import Conditions

NO_REPLY, NO_PROGRESS = 4.0, 15.0
LATE = 0.3  # timers this long may come up to a quarter of a second late


@pytest.mark.parametrize("status", sorted(FAILOVER))
def test_a_failure_of_the_route_leads_to_the_next(status: int) -> None:
    world = World()
    world.callee.on_call = refuse_with(status)
    call = world.caller.dial(X)
    call.on("200", call.hang_up)
    (story,) = world.finish()
    assert call.heard == ["100", "180", "200", "BYE 200"]
    assert world.callee.call.heard == ["INVITE"]
    assert story.ended.routes == (f"carrier-b:{status}", "carrier-c:200")
    assert (story.ended.egress, story.ended.outcome) == ("carrier-c", Outcome.ANSWERED)


@pytest.mark.parametrize(
    "status", [302, 400, 401, 403, 404, 407, 480, 484, 486, 487, 488, 501, 505, 580, 600, 603, 604]
)
def test_the_callees_own_word_is_final(status: int) -> None:
    world = World()
    world.callee.on_call = refuse_with(status)
    world.caller.dial(X)
    (story,) = world.finish()
    assert world.second.calls == []
    assert story.ended.routes == (f"carrier-b:{status}",)


def test_each_route_gets_an_invite_of_its_own() -> None:
    """Profile §4 item 10: nothing of the first attempt goes to the second."""
    world = World()
    world.callee.on_call = refuse_with(503)
    call = world.caller.dial(X)
    call.on("200", call.hang_up)
    world.finish()
    first, second = [d.message for d in world.network.log if (d.way, d.word) == (">b", "INVITE")]
    assert isinstance(first, Request)
    assert isinstance(second, Request)
    assert first.call_id != second.call_id
    assert first.from_tag != second.from_tag
    assert first.via.branch != second.via.branch
    assert (first.uri, second.uri) == ("sip:13925814703@192.0.2.20:5060", "sip:13925814703@192.0.2.30:5060")
    assert first.body.split(b"\r\n")[1] != second.body.split(b"\r\n")[1]
    assert first.get("max-forwards") == second.get("max-forwards")


def test_no_reply_at_all() -> None:
    world = World()
    world.script(ADDRESS_B)
    call = world.caller.dial(X)
    call.on("200", call.hang_up)
    (story,) = world.finish()
    assert story.ended.routes == ("carrier-b:no_reply", "carrier-c:200")
    dialled = [d.at for d in world.network.log if d.target == ADDRESS_C and d.word == "INVITE"]
    assert NO_REPLY <= dialled[0] <= NO_REPLY + LATE
    assert parked(world) == []  # one datagram may be lost; it takes a row of silent calls to park a trunk


@pytest.mark.parametrize("trying_at", [0.0, 2.0, 3.5])
def test_no_progress(trying_at: float) -> None:
    """Fifteen seconds from the INVITE, whenever the 100 was."""
    world = World()
    world.callee.on_call = lambda call: world.network.later(trying_at, lambda: call.ring(100))
    call = world.caller.dial(X)
    call.on("200", call.hang_up)
    (story,) = world.finish()
    assert world.callee.call.heard == ["INVITE", "CANCEL"]
    assert story.ended.routes == ("carrier-b:no_progress", "carrier-c:200")
    dialled = [d.at for d in world.network.log if d.target == ADDRESS_C and d.word == "INVITE"]
    assert NO_PROGRESS <= dialled[0] <= NO_PROGRESS + LATE
    assert parked(world) == []  # it works, it is only slow


def test_an_answer_of_the_route_that_was_given_up_is_ended() -> None:
    """It rings at two places for a moment, and the late one is hung up."""

    def slow(call: PhoneCall) -> None:
        world.network.later(6.0, call.accept)

    world = World()
    world.callee.on_call = slow
    world.second.on_call = answer_after(5.0)
    call = world.caller.dial(X)
    call.on("200", call.hang_up, after=5.0)
    (story,) = world.finish()
    assert world.callee.call.heard == ["INVITE", "ACK", "BYE"]
    assert world.second.call.heard == ["INVITE", "ACK", "BYE"]
    assert (story.ended.egress, story.ended.routes) == ("carrier-c", ("carrier-b:no_reply", "carrier-c:200"))


def test_a_ringing_of_the_route_that_was_given_up_is_cancelled_and_not_heard() -> None:
    world = World()
    world.callee.on_call = lambda call: world.network.later(6.0, call.ring)
    world.second.on_call = answer_after(5.0, ring=3.0)
    call = world.caller.dial(X)
    call.on("200", call.hang_up)
    world.finish()
    assert world.callee.call.heard == ["INVITE", "CANCEL"]
    assert call.heard == ["100", "180", "200", "BYE 200"]


def test_a_failure_of_the_route_that_was_given_up_changes_nothing() -> None:
    world = World()
    world.callee.on_call = lambda call: world.network.later(6.0, lambda: call.refuse(603))
    world.second.on_call = answer_after(5.0, ring=3.0)
    call = world.caller.dial(X)
    call.on("200", call.hang_up)
    (story,) = world.finish()
    assert call.heard == ["100", "180", "200", "BYE 200"]
    assert story.ended.routes == ("carrier-b:no_reply", "carrier-c:200")


@pytest.mark.parametrize(
    ("first", "second", "told", "routes"),
    [
        (502, 500, 500, ("carrier-b:502", "carrier-c:500")),
        (500, 503, 500, ("carrier-b:500", "carrier-c:503")),
        (504, 486, 486, ("carrier-b:504", "carrier-c:486")),
        (0, 502, 502, ("carrier-b:no_reply", "carrier-c:502")),
        (502, 0, 502, ("carrier-b:502", "carrier-c:no_reply")),
        (0, 0, 504, ("carrier-b:no_reply", "carrier-c:no_reply")),
    ],
)
def test_when_all_routes_fail_the_caller_hears_of_a_status_that_was_said(
    first: int, second: int, told: int, routes: tuple[str, ...]
) -> None:
    world = World()
    for phone, status in ((world.callee, first), (world.second, second)):
        if status:
            phone.on_call = refuse_with(status)
        else:
            world.script(phone.address)
    call = world.caller.dial(X)
    (story,) = world.finish()
    assert call.statuses == [100, told]
    assert (story.ended.status, story.ended.routes, story.ended.egress) == (told, routes, "carrier-c")
    assert story.ended.outcome == (Outcome.BUSY if told == 486 else Outcome.FAILED)


def test_cancelled_while_the_second_route_rings() -> None:
    world = World()
    world.callee.on_call = refuse_with(503)
    world.second.on_call = answer_after(30.0)
    call = world.caller.dial(X)
    world.run(3.0)
    call.cancel()
    (story,) = world.finish()
    assert world.second.call.heard == ["INVITE", "CANCEL"]
    assert story.ended.routes == ("carrier-b:503", "carrier-c:cancelled")


def test_every_peer_of_a_trunk_is_tried_before_the_next_trunk() -> None:
    both = replace(TRUNKS[1], peers=(Peer(*ADDRESS_B), Peer(*ADDRESS_C)))
    world = World(trunks=(TRUNKS[0], both))
    world.callee.on_call = refuse_with(500)
    call = world.caller.dial(X)
    call.on("200", call.hang_up)
    (story,) = world.finish()
    assert story.ended.routes == ("carrier-b:500", "carrier-b:200")


def test_a_transport_that_fails_is_a_route_that_fails() -> None:
    """§8.1.3.1: as if 503 had come, but nobody has said so."""
    world = World()
    world.script(ADDRESS_B)
    call = world.caller.dial(X)
    call.on("200", call.hang_up)
    world.run(0.1)
    (invite,) = world.real.endpoint.clients.values()
    world.real.endpoint.transport_failed(invite, world.network.now)
    world.switch.wake()
    (story,) = world.finish()
    assert story.ended.routes == ("carrier-b:unreachable", "carrier-c:200")


def test_what_a_connection_that_fails_says_is_not_what_the_far_end_says() -> None:
    world = World()
    world.script(ADDRESS_B)
    dial_later(world, *(10.0 * index for index in range(6)))
    for _ in range(5):
        world.run(0.1)
        (invite,) = (each for each in world.real.endpoint.clients.values() if each.state is State.CALLING)
        world.real.endpoint.transport_failed(invite, world.network.now)
        world.switch.wake()
        world.run(9.9)
    told = world.finish()
    assert [story.ended.routes for story in told] == [("carrier-b:unreachable", "carrier-c:200")] * 5 + [
        ("carrier-c:200",)
    ]
    assert parked(world) == ["carrier-b"]


# parking


def parked(world: World) -> list[str]:
    """The trunks whose targets were parked, in order."""
    return [change.trunk for change in world.switch.changes if change.event == "target_parked"]


def dial_later(world: World, *times: float) -> list[PhoneCall]:
    """Calls at these times, each hung up when answered."""
    calls: list[PhoneCall] = []

    def dial() -> None:
        call = world.caller.dial(X)
        call.on("200", call.hang_up)
        calls.append(call)

    for at in times:
        world.network.later(at, dial)
    return calls


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [("7", 7), ("7 (lunch)", 7), ("7;duration=3", 7), ("9999999", 300)],
)
def test_a_503_parks_the_trunk_for_as_long_as_it_asks(retry_after: str, seconds: int) -> None:
    world = World()
    world.callee.on_call = refuse_with(503, *([f"Retry-After: {retry_after}"] if retry_after else []))
    dial_later(world, 0.0, seconds - 1.0, seconds + 1.0)
    told = world.finish()
    assert [story.ended.routes for story in told] == [
        ("carrier-b:503", "carrier-c:200"),
        ("carrier-c:200",),
        ("carrier-b:503", "carrier-c:200"),
    ]
    assert parked(world) == ["carrier-b"] * 2


@pytest.mark.parametrize("retry_after", ["", "soon", "-1", "0"])
def test_a_503_that_asks_for_no_time_speaks_of_its_call_alone(retry_after: str) -> None:
    """RFC 3261 §21.5.4: without Retry-After it counts as a 500."""
    world = World()
    world.callee.on_call = refuse_with(503, *([f"Retry-After: {retry_after}"] if retry_after else []))
    dial_later(world, 0.0, 1.0)
    told = world.finish()
    assert [story.ended.routes for story in told] == [("carrier-b:503", "carrier-c:200")] * 2
    assert parked(world) == []


def test_the_503_of_one_peer_parks_that_peer_and_not_its_trunk() -> None:
    trunks = TRUNKS[0], replace(TRUNKS[1], peers=(Peer(*ADDRESS_B), Peer(*ADDRESS_C))), replace(TRUNKS[2], peers=())
    world = World(trunks=trunks)
    world.callee.on_call = refuse_with(503, "Retry-After: 9")
    dial_later(world, 0.0, 1.0, 5.0, 10.0)
    told = world.finish()
    assert [story.ended.routes for story in told] == [
        ("carrier-b:503", "carrier-b:200"),
        ("carrier-b:200",),
        ("carrier-b:200",),
        ("carrier-b:503", "carrier-b:200"),
    ]
    assert [change.target for change in world.switch.changes] == ["udp:192.0.2.20:5060"] * 2


def test_a_trunk_is_never_parked_for_silence_when_the_setting_says_so() -> None:
    world = World(settings={"park_seconds": 0.0})
    world.script(ADDRESS_B)
    dial_later(world, 0.0, 0.5, 1.0, 1.5, 2.0, 10.0)
    told = world.finish()
    assert {story.ended.routes[0] for story in told} == {"carrier-b:no_reply"}


def test_a_trunk_that_did_not_reply_is_parked_as_the_setting_says() -> None:
    world = World(settings={"park_seconds": 10.0})
    world.script(ADDRESS_B)
    dial_later(world, 0.0, 0.5, 1.0, 1.5, 2.0, 10.0, 17.0)
    told = world.finish()
    silent = ["carrier-b:no_reply"] * 5
    assert [story.ended.routes[0] for story in told] == [*silent, "carrier-c:200", "carrier-b:no_reply"]
    assert parked(world) == ["carrier-b"]


def test_when_every_peer_of_the_only_trunk_is_parked_all_are_tried_all_the_same() -> None:
    """Routes cannot be stuck down: what is left alone is still better than nothing."""
    world = World(trunks=(TRUNKS[0], replace(TRUNKS[1], peers=(Peer(*ADDRESS_B), Peer(*ADDRESS_C)))))
    world.callee.on_call = world.second.on_call = refuse_with(503, "Retry-After: 60")
    calls = dial_later(world, 0.0, 5.0)
    told = world.finish()
    assert [story.ended.routes for story in told] == [("carrier-b:503", "carrier-b:503")] * 2
    assert [call.statuses[-1] for call in calls] == [500, 500]


@pytest.mark.parametrize(
    "reply",
    [
        lambda call: call.ring(100),
        lambda call: call.ring(180),
        lambda call: call.ring(183),
        lambda call: call.accept(),
        lambda call: call.refuse(486),
        lambda call: call.refuse(500),
    ],
    ids=["100", "180", "183", "200", "486", "500"],
)
def test_any_reply_says_that_somebody_is_there(reply: Callable[[PhoneCall], None]) -> None:
    world = World()
    count = iter(range(9))

    def take(call: PhoneCall) -> None:
        if next(count) == 4:
            reply(call)

    world.callee.on_call = take
    calls = dial_later(world, *(20.0 * index for index in range(9)))
    told = world.finish()
    silent = [story for story in told if story.ended.routes[0] == "carrier-b:no_reply"]
    assert (len(calls), len(silent)) == (9, 8)
    assert parked(world) == []


def test_when_every_trunk_is_parked_they_are_tried_all_the_same() -> None:
    world = World()
    world.callee.on_call = world.second.on_call = refuse_with(503, "Retry-After: 60")
    calls = dial_later(world, 0.0, 5.0)
    told = world.finish()
    assert [story.ended.routes for story in told] == [("carrier-b:503", "carrier-c:503")] * 2
    assert [call.statuses[-1] for call in calls] == [500, 500]


# limits of the trunks on the way out


def limited(**limits: Any) -> Sequence[Trunk]:
    return TRUNKS[0], replace(TRUNKS[1], **limits), TRUNKS[2]


def test_a_full_trunk_is_passed_over() -> None:
    world = World(trunks=limited(max_calls=1))
    first = world.caller.dial(X)
    world.run(2.0)
    second = world.caller.dial(X)
    world.run(2.0)
    assert world.real.trunk_calls() == {"carrier-a": 2, "carrier-b": 1, "carrier-c": 1}
    first.hang_up()
    world.run(1.0)
    third = world.caller.dial(X)
    world.run(2.0)
    second.hang_up()
    third.hang_up()
    told = world.finish()
    assert [story.ended.routes for story in told] == [
        ("carrier-b:200",),
        ("carrier-b:full", "carrier-c:200"),
        ("carrier-b:200",),
    ]


def test_a_trunk_at_its_rate_is_passed_over() -> None:
    world = World(trunks=limited(calls_per_second=1.0))
    dial_later(world, 0.0, 0.1, 1.5)
    told = world.finish()
    assert [story.ended.routes[0] for story in told] == ["carrier-b:200", "carrier-b:rate", "carrier-b:200"]


def test_when_every_trunk_is_full_there_is_no_route() -> None:
    world = World(trunks=(TRUNKS[0], replace(TRUNKS[1], max_calls=1)))
    first = world.caller.dial(X)
    world.run(2.0)
    second = world.caller.dial(X)
    world.run(1.0)
    first.hang_up()
    told = world.finish()
    assert second.statuses == [100, 500]
    ended = told[1].ended
    assert (ended.routes, ended.reason, ended.outcome, ended.ended_by) == (
        ("carrier-b:full",),
        "no_route",
        "failed",
        "switch",
    )
    assert second.responses[-1].get("reason") == 'Q.850;cause=34;text="no route"'


def test_the_last_failure_counts_when_the_rest_is_full() -> None:
    world = World(trunks=(TRUNKS[0], TRUNKS[1], replace(TRUNKS[2], calls_per_second=0.001)))
    world.callee.on_call = refuse_with(502)
    calls = dial_later(world, 0.0, 5.0)
    told = world.finish()
    assert calls[1].statuses[-1] == told[1].ended.status == 502
    assert told[1].ended.routes == ("carrier-b:502", "carrier-c:rate")


def test_routes_may_fail_over_under_loss() -> None:
    world = World(Conditions(loss=0.4, seed=7))
    world.callee.on_call = refuse_with(503)
    call = world.caller.dial(X)
    call.on("200", call.hang_up)
    world.finish()


# what the second leg may not know


TELLING = (
    "P-Asserted-Identity: <tel:+8613925814703>",
    'Contact: "Bravo" <sip:+8613925814703@10.20.30.40>',
    "Reason: SIP;cause=503;text=first-carrier",
    "Warning: 399 first-carrier.example first-warning",
    "Server: FirstCarrier/1.0",
    "X-Trace: first-trace",
    "P-Charging-Vector: icid-value=first-icid",
)


@pytest.mark.parametrize("status", sorted(FAILOVER))
def test_nothing_that_the_first_leg_was_or_said_is_on_the_second_or_on_the_caller(status: int) -> None:
    """Profile §4 item 10: the failover leg is built as the first was, and what failed is told in our words."""
    world = World()
    world.callee.on_call = refuse_with(status, *TELLING)
    world.second.on_call = refuse_with(486)
    call = world.caller.dial(X)
    (story,) = world.finish()
    assert story.ended.routes == (f"carrier-b:{status}", "carrier-c:486")
    assert call.statuses == [100, 486]
    first = next(d.message for d in world.network.log if (d.target, d.word) == (ADDRESS_B, "INVITE"))
    assert isinstance(first, Request)
    seen = [first.call_id, first.from_tag, first.via.branch, ADDRESS_B[0], "10.20.30.40", "first-", "FirstCarrier"]
    seen += [d.message.to_tag for d in world.network.log if d.source == ADDRESS_B and d.message.to_tag]
    for datagram in world.network.log:
        if datagram.target == ADDRESS_C or datagram.way == ">a":
            text = datagram.data.decode()
            assert [told for told in seen if told in text] == [], datagram.word
    second = next(d.message for d in world.network.log if (d.target, d.word) == (ADDRESS_C, "INVITE"))
    shape = [re.sub(r"=[^;>]*|[0-9a-f]{16}|:\d+|192\.0\.2\.\d+", "", line) for line in lines(first)]
    assert shape == [re.sub(r"=[^;>]*|[0-9a-f]{16}|:\d+|192\.0\.2\.\d+", "", line) for line in lines(second)]


def lines(message: Message) -> list[str]:
    """The header fields that say who calls whom."""
    names = ("from", "to", "contact", "p-asserted-identity", "max-forwards", "allow", "user-agent", "via")
    return [f"{name}: {value}" for name in names for value in message.all(name)]


@pytest.mark.parametrize("ring", [180, 181, 182, 183])
@pytest.mark.parametrize("status", sorted(FAILOVER - {408}))
def test_once_it_has_rung_a_failure_is_final(ring: int, status: int) -> None:
    """The caller has heard it ring: another telephone would be another call."""

    def ring_and_fail(call: PhoneCall) -> None:
        call.ring(ring)
        world.network.later(2.0, lambda: call.refuse(status))

    world = World()
    world.callee.on_call = ring_and_fail
    world.caller.dial(X)
    (story,) = world.finish()
    assert world.second.calls == []
    assert story.ended.routes == (f"carrier-b:{status}",)
    assert story.ended.status == (500 if status in (430, 503) else status)
