"""Peers that are names: what DNS says decides where calls go and who may send, and it may change while calls are up."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest

from b2bua.call.trunk_state import Change
from b2bua.sip.message import Request
from routing.targets import Choice, Target
from routing.trunks import Peer, Trunk
from tests.call.phone import answer_after, refuse_with
from tests.call.world import ADDRESS_A, ADDRESS_B, ADDRESS_C, TRUNKS, World, X
from tests.wire import SWITCH, Address, Script, request_text

DOMAIN = Peer("carrier.example", 0)
NAMED = replace(TRUNKS[1], peers=(DOMAIN,))


def choice(*addresses: Address, rank: int = 0, weight: int = 0, peer: Peer = DOMAIN) -> Choice:
    return Choice(rank, weight, tuple(Target("UDP", host, port, peer) for host, port in addresses))


def named(*choices: Choice, trunks: Sequence[Trunk] = (TRUNKS[0], NAMED, TRUNKS[2])) -> World:
    """A world whose second trunk is a name with these choices."""
    world = World(trunks=trunks)
    if choices:
        publish(world, *choices)
    return world


def publish(world: World, *choices: Choice) -> None:
    world.switch.enter(lambda now: world.real.targets({"carrier-b": choices}, now))


def test_a_name_that_never_resolved_is_in_the_record_and_the_call_goes_on() -> None:
    world = named()
    call = world.caller.dial(X)
    call.on("200", call.hang_up)
    (story,) = world.finish()
    assert story.ended.routes == ("carrier-b:dns", "carrier-c:200")
    assert [view.state for view in world.real.trunk_view(world.switch.now)] == ["up", "dns", "up"]


def test_without_any_address_there_is_no_route() -> None:
    world = named(trunks=(TRUNKS[0], NAMED))
    call = world.caller.dial(X)
    (story,) = world.finish()
    assert call.statuses == [100, 500]
    assert (story.ended.routes, story.ended.reason) == (("carrier-b:dns",), "no_route")


def test_the_far_end_sees_its_own_name() -> None:
    """RFC 3263 §4: the request URI stays as it is, only the datagram goes to the address."""
    world = named(choice(ADDRESS_B))
    call = world.caller.dial(X)
    call.on("200", call.hang_up)
    (story,) = world.finish()
    (invite,) = [d for d in world.network.log if (d.way, d.word) == (">b", "INVITE")]
    assert isinstance(invite.message, Request)
    assert (invite.target, invite.message.uri) == (ADDRESS_B, "sip:13925814703@carrier.example")
    assert story.ended.routes == ("carrier-b:200",)


def test_the_places_of_a_name_are_tried_in_their_order() -> None:
    world = named(choice(ADDRESS_C, rank=1), choice(ADDRESS_B, rank=0), trunks=(TRUNKS[0], NAMED))
    world.callee.on_call = refuse_with(503)
    call = world.caller.dial(X)
    call.on("200", call.hang_up)
    (story,) = world.finish()
    assert story.ended.routes == ("carrier-b:503", "carrier-b:200")
    assert (len(world.callee.calls), len(world.second.calls)) == (1, 1)


@pytest.mark.parametrize(
    ("choices", "low", "high"),
    [
        ([choice(ADDRESS_B, weight=75), choice(ADDRESS_C, weight=25)], 0.68, 0.82),
        ([choice(ADDRESS_B, ADDRESS_C)], 0.43, 0.57),  # the addresses of one host share its calls
        ([choice(ADDRESS_B, ("2001:db8::1", 5060))], 1.0, 1.0),  # IPv6 comes after IPv4
        ([choice(ADDRESS_B, rank=0, weight=0), choice(ADDRESS_C, rank=1, weight=99)], 1.0, 1.0),
    ],
)
def test_each_call_draws_for_itself(choices: list[Choice], low: float, high: float) -> None:
    world = named(*choices)
    firsts = Counter(world.real.states.route(["carrier-b"], 0.0)[0].target.host for _ in range(600))
    assert low <= firsts[ADDRESS_B[0]] / 600 <= high
    assert all(
        len(world.real.states.route(["carrier-b"], 0.0)) == sum(len(each.targets) for each in choices) for _ in range(9)
    )
    world.finish()


# identification


def options(world: World, source: Address) -> Script:
    script = world.script(source)
    script.send(request_text("OPTIONS", f"sip:{SWITCH[0]}", source))
    world.run(0.1)
    return script


def test_who_is_sent_to_may_send() -> None:
    world = named()
    assert options(world, ADDRESS_B).words == []
    publish(world, choice(ADDRESS_B))
    assert options(world, ADDRESS_B).words == ["200"]
    assert options(world, (ADDRESS_B[0], 45_000)).words == ["200"]  # of the same host, which is nobody else's
    publish(world)
    world.run(40.0)  # what was under way has ended
    assert options(world, ADDRESS_B).words == []
    assert world.real.statistics.drops["unknown_source"] == 2
    world.finish(answers=False)


def test_dns_cannot_take_over_the_address_of_another_trunk() -> None:
    world = named(choice(ADDRESS_A), choice(ADDRESS_B, rank=1))
    assert world.switch.changes == [Change("source_conflict", "carrier-b", "192.0.2.10 port 5060")]
    call = world.caller.dial(X)
    call.on("200", call.hang_up)
    world.run(10.0)
    publish(world, choice(ADDRESS_A), choice(ADDRESS_B, rank=1))
    (story,) = world.finish(private=False)
    assert story.attempted.ingress == "carrier-a"
    assert len([change for change in world.switch.changes if change.event == "source_conflict"]) == 1


# changes while calls are up


def test_a_call_goes_on_with_an_address_that_dns_no_longer_gives() -> None:
    world = named(choice(ADDRESS_B))
    call = world.caller.dial(X)
    world.run(5.0)
    publish(world, choice(ADDRESS_C))
    world.run(5.0)
    world.callee.call.hang_up()
    world.run(2.0)
    again = world.caller.dial(X)
    again.on("200", again.hang_up)
    told = world.finish()
    assert call.heard[-1] == "BYE"
    assert world.callee.call.heard[-1] == "BYE 200"
    assert [(story.ended.ended_by, story.ended.egress) for story in told] == [
        ("callee", "carrier-b"),
        ("caller", "carrier-b"),
    ]
    assert (len(world.callee.calls), len(world.second.calls)) == (1, 1)


def test_an_address_that_is_gone_sends_no_new_call() -> None:
    world = named(choice(ADDRESS_B))
    world.caller.dial(X)
    world.run(5.0)
    publish(world, choice(ADDRESS_C))
    refused = world.callee.dial(X)
    world.run(2.0)
    world.callee.calls[0].hang_up()
    told = world.finish()
    assert refused.statuses[-1] >= 400
    assert [story.ended.outcome for story in told].count("answered") == 1


def test_what_is_known_of_a_place_stays_while_others_come_and_go() -> None:
    world = named(choice(ADDRESS_B), trunks=(TRUNKS[0], NAMED))
    world.callee.on_call = refuse_with(503, "Retry-After: 60")
    world.caller.dial(X)
    world.run(2.0)
    publish(world, choice(ADDRESS_B), choice(ADDRESS_C, rank=1))
    call = world.caller.dial(X)
    call.on("200", call.hang_up)
    told = world.finish()
    assert told[1].ended.routes == ("carrier-b:200",)
    assert len(world.callee.calls) == 1


def test_a_call_that_fails_over_uses_the_places_of_its_beginning() -> None:
    world = named(choice(ADDRESS_B), trunks=(TRUNKS[0], NAMED))
    world.callee.on_call = answer_after(20.0)
    call = world.caller.dial(X)
    world.run(2.0)
    publish(world)
    world.run(20.0)
    call.hang_up()
    (story,) = world.finish()
    assert (story.ended.routes, story.ended.outcome) == (("carrier-b:200",), "answered")


def test_news_of_a_trunk_that_is_not_there_is_nothing() -> None:
    world = World()
    world.switch.enter(lambda now: world.real.targets({"carrier-z": (choice(ADDRESS_B),)}, now))
    assert world.real.states.route(["carrier-z"], 0.0) == []
    world.finish()


def test_a_reload_keeps_what_is_known_of_peers_that_stay() -> None:
    world = World()
    world.callee.on_call = refuse_with(503, "Retry-After: 60")
    call = world.caller.dial(X)
    call.on("200", call.hang_up)
    world.run(2.0)
    wider = replace(TRUNKS[2], peers=(Peer(*ADDRESS_C), Peer("192.0.2.31", 5060)))
    changed = (TRUNKS[0], replace(TRUNKS[1], weight=7), wider)
    world.switch.enter(lambda now: world.real.reconfigure(world.real.limits, changed, now))
    states = world.real.states.targets()
    assert [(state.trunk.weight, state.target.host, state.usable(world.network.now)) for state in states] == [
        (100, "192.0.2.10", True), (7, "192.0.2.20", False), (100, "192.0.2.30", True), (100, "192.0.2.31", True)
    ]  # fmt: skip
    world.finish()
