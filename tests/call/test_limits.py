"""Limits of number, rate and time, and the ways in which the switch itself ends calls."""

import itertools
from dataclasses import replace
from functools import partial

import pytest

from b2bua.call.admission import SourceGuard, TokenBucket
from b2bua.call.refusals import Outcome
from b2bua.call.statistics import Histogram
from b2bua.call.switch import Now, Switch, SwitchSettings
from b2bua.sip.parser import Limits
from b2bua.sip.timers import GRAIN, TimerValues
from b2bua.sip.transaction import Flow
from routing.decide import Query, Reason, Refusal
from tests.call.phone import PhoneCall, Stage, answer_after
from tests.call.world import ADDRESS_A, ADDRESS_B, TRUNKS, World, X
from tests.wire import SWITCH, Script, request_text

LATE = 0.3  # timers this long may come up to a quarter of a second late


def dial(world: World, hang_up_after: float = 1.0) -> PhoneCall:
    call = world.caller.dial(X)
    call.on("200", call.hang_up, after=hang_up_after)
    return call


# how many


def test_calls_of_the_node() -> None:
    world = World(settings={"max_calls": 2})
    calls = [dial(world, 10.0) for _ in range(3)]
    world.run(1.0)
    assert world.real.active_calls == 2
    world.run(20.0)
    calls.append(dial(world))
    told = world.finish()
    assert [call.statuses[-1] for call in calls] == [200, 200, 503, 200]
    assert [story.ended.reason for story in told] == ["", "", "total_limit", ""]


def test_calls_of_a_trunk_count_in_both_directions() -> None:
    """A call of B's that goes out to A's carrier takes one of its places."""
    world = World(trunks=(replace(TRUNKS[0], max_calls=1), *TRUNKS[1:]))
    world.caller.on_call = lambda call: call.accept()
    inward = world.callee.dial(X)
    world.run(0.5)
    assert world.real.trunk_calls()["carrier-a"] == 1
    refused = world.caller.dial(X)
    world.run(0.5)
    inward.hang_up()
    world.run(0.5)
    taken = dial(world)
    world.finish()
    assert refused.statuses == [503]
    assert taken.statuses[-1] == 200


def test_refused_calls_take_no_place() -> None:
    world = World(settings={"max_calls": 1}, trunks=(replace(TRUNKS[0], max_calls=1), *TRUNKS[1:]))
    for _ in range(3):
        world.caller.dial("12345")
        world.run(1.0)
    call = dial(world)
    world.finish()
    assert call.statuses[-1] == 200


# how fast


def test_calls_a_second_of_the_node() -> None:
    world = World(settings={"calls_per_second": 2.0})
    for tenth in range(0, 50, 2):
        world.network.later(tenth / 10, lambda: dial(world))
    told = world.finish()
    refused = [story for story in told if story.ended.reason == "call_rate"]
    assert len(told) == 25
    assert 25 - 12 <= len(refused) <= 25 - 10  # a burst of two, and two a second for 4.8 s


def test_calls_a_second_of_one_trunk_are_not_those_of_another() -> None:
    world = World(trunks=(replace(TRUNKS[0], calls_per_second=1.0), *TRUNKS[1:]))
    own = [dial(world), dial(world)]
    other = world.callee.dial(X)
    other.on("200", other.hang_up)
    world.caller.on_call = lambda call: call.accept()
    world.run(0.5)
    world.finish()
    assert [call.statuses[-1] for call in own] == [200, 503]
    # each direction has its own: a flood from a trunk does not keep calls to it away
    assert other.statuses[-1] == 200


def test_what_is_over_the_rate_of_its_trunk_takes_nothing_of_the_rate_of_the_node() -> None:
    world = World(settings={"calls_per_second": 3.0}, trunks=(replace(TRUNKS[0], calls_per_second=1.0), *TRUNKS[1:]))
    own = [dial(world) for _ in range(20)]
    world.caller.on_call = lambda call: call.accept()
    other = world.callee.dial(X)
    other.on("200", other.hang_up)
    world.finish()
    assert [call.statuses[-1] for call in own] == [200, *[503] * 19]
    assert other.statuses[-1] == 200


@pytest.mark.parametrize(
    ("rate", "burst", "times", "taken"),
    [
        (0.0, 0.0, [0, 0, 0, 0], [True] * 4),
        (1.0, 1.0, [0, 0, 0.5, 1.0, 1.5, 2.1], [True, False, False, True, False, True]),
        (2.0, 3.0, [0, 0, 0, 0, 0.5, 0.5], [True, True, True, False, True, False]),
        (0.5, 0.0, [0, 1, 2, 3, 4], [True, False, True, False, True]),  # a burst of less than one is one
        (10.0, 2.0, [100, 100, 100], [True, True, False]),
    ],
)
def test_a_bucket(rate: float, burst: float, times: list[float], taken: list[bool]) -> None:
    bucket = TokenBucket(rate, burst)
    assert [bucket.take(now) for now in times] == taken


def test_sources_are_forgotten_oldest_first() -> None:
    guard = SourceGuard(1.0, 1.0)
    for number in range(SourceGuard.SOURCES):
        assert guard.admit(f"host-{number}", 0.0)
    assert not guard.admit("host-0", 0.0)
    assert guard.admit("one more", 0.0)
    assert guard.admit("host-0", 0.0)  # forgotten meanwhile
    assert not guard.admit("host-2", 0.0)


def test_a_flood_from_one_source_does_not_starve_another() -> None:
    world = World(settings={"source_messages_per_second": 20.0, "source_burst": 40.0})
    flood = world.script(ADDRESS_B)
    ping = request_text("OPTIONS", f"sip:{SWITCH[0]}", ADDRESS_B)
    for index in range(2000):
        text = ping.replace("z9hG4bK", f"z9hG4bK{index}")
        world.network.later(index / 1000, partial(flood.send, text))
    world.bindings = [replace(world.bindings[0], b="+8613800000009")]  # not over the flooded trunk
    world.caller.on_call = lambda call: call.accept()
    call = dial(world, 0.5)
    refused = world.real.statistics.drops
    (story,) = world.finish(answers=False)
    assert story.ended.outcome == Outcome.ANSWERED
    assert call.statuses[-1] == 200
    assert 40 <= len(flood.inbox) <= 85
    assert refused["source_flood"] == 2000 - len(flood.inbox)


def test_rubbish_from_strangers_is_dropped_before_it_is_read() -> None:
    world = World()
    stranger = Script(world.network, ("203.0.113.66", 5060))
    stranger.send("INVITE rubbish")
    stranger.send(request_text("INVITE", f"sip:{X}@{SWITCH[0]}", stranger.address))
    stranger.send(request_text("OPTIONS", f"sip:{SWITCH[0]}", stranger.address))
    assert world.finish(answers=False) == []
    assert stranger.inbox == []
    assert world.real.statistics.drops == {"unknown_source": 3}
    assert world.real.endpoint.received.total() == 0


@pytest.mark.parametrize("data", [b"\r\n\r\n", b"\r\n", b"\0", b"", b"  ", b"\r\n\0"])
def test_keep_alives_are_taken_quietly(data: bytes) -> None:
    world = World()
    phone = world.script(ADDRESS_A)
    phone.send(data)
    world.run(1.0)
    assert phone.inbox == []
    assert world.real.statistics.drops == {"keep_alive": 1}
    world.finish()


def test_limits_of_a_message() -> None:
    world = World(settings={"message": Limits(message_bytes=600, header_fields=12, line_bytes=200, via_fields=2)})
    phone = world.script(ADDRESS_A)
    for lines in (
        ("X: " + 190 * "x", "Y: " + 190 * "y"),
        tuple(f"X-{n}: n" for n in range(9)),
        ("Via: SIP/2.0/UDP h",) * 2,
    ):
        phone.send(request_text("OPTIONS", f"sip:{SWITCH[0]}", ADDRESS_A, lines=lines))
        world.run(0.1)
    assert phone.words == ["513", "513", "513"]
    assert world.real.endpoint.drops["malformed"] == 3
    world.finish()


# how long


@pytest.mark.parametrize(("setting", "binding", "seconds"), [(60, 0, 60), (20, 0, 20), (20, 45, 45), (60, 10, 10)])
def test_ringing(setting: int, binding: int, seconds: int) -> None:
    world = World(settings={"ring_seconds": float(setting)}, binding={"ring_seconds": binding})
    world.callee.on_call = lambda call: call.ring()
    call = world.caller.dial(X)
    (story,) = world.finish()
    assert call.heard == ["100", "180", "480"]
    assert world.callee.call.heard == ["INVITE", "CANCEL"]
    assert call.responses[-1].get("reason") == 'Q.850;cause=19;text="no answer"'
    ended = story.ended
    assert (ended.status, ended.q850, ended.outcome, ended.ended_by) == (480, 19, "no_answer", "switch")
    assert ended.routes == ("carrier-b:no_answer",)
    assert seconds * 1000 <= ended.total_ms <= (seconds + LATE) * 1000 + 100


def test_ringing_again_and_again_does_not_make_it_longer() -> None:
    def take(call: PhoneCall) -> None:
        for second in range(0, 200, 5):
            world.network.later(second, call.ring)

    world = World()
    world.callee.on_call = take
    world.caller.dial(X)
    (story,) = world.finish()
    assert 60_000 <= story.ended.total_ms <= 60_500


def test_a_long_ring_is_refreshed() -> None:
    """§13.3.1.1: proxies on the way give up after three minutes without a sign."""
    world = World(settings={"ring_refresh_seconds": 60.0}, binding={"ring_seconds": 180})
    world.callee.patience = 500.0
    world.callee.on_call = answer_after(500.0, status=183, sdp=world.callee.sdp())
    call = world.caller.dial(X)
    (story,) = world.finish()
    assert call.heard == ["100", "183", "183", "183", "480"]
    times = [datagram.at for datagram in world.network.toward("a") if datagram.word == "183"]
    assert [later - earlier for earlier, later in itertools.pairwise(times)] == pytest.approx([60, 60], abs=LATE)
    early = [datagram.message for datagram in world.network.toward("a") if datagram.word == "183"]
    assert {message.body for message in early} == {early[0].body}
    assert story.ended.outcome == "no_answer"


@pytest.mark.parametrize(
    ("setting", "binding", "seconds"), [(14_400, 0, 14_400), (100, 0, 100), (100, 30, 30), (30, 100, 100)]
)
def test_the_longest_call(setting: int, binding: int, seconds: int) -> None:
    world = World(settings={"longest_call_seconds": float(setting)}, binding={"longest_seconds": binding})
    call = world.caller.dial(X)
    (story,) = world.finish()
    assert call.heard[-1] == world.callee.call.heard[-1] == "BYE"
    ended = story.ended
    assert (ended.outcome, ended.ended_by, ended.reason, ended.q850) == ("answered", "switch", "longest_call", 16)
    assert seconds * 1000 <= ended.talk_ms <= (seconds + LATE) * 1000


def test_a_decision_that_never_comes() -> None:
    """The caller has an answer soon, and a decision that comes after all changes nothing."""
    world = World(settings={"decision_seconds": 3.0})
    world.switch.held = True
    call = world.caller.dial(X)
    (story,) = world.finish()
    assert call.statuses == [100, 503]
    assert call.responses[-1].get("retry-after") == "10"
    assert (story.ended.reason, story.ended.status, story.ended.ended_by) == ("undecided", 503, "switch")
    assert 3000 <= story.ended.total_ms <= (3 + LATE) * 1000
    world.switch.release()
    assert world.callee.calls == []
    assert world.real.tables() == dict.fromkeys(world.real.tables(), 0)


def test_a_refusal_that_comes_too_late() -> None:
    world = World()
    world.switch.held = True
    call = world.caller.dial(X)
    world.run(1.0)
    call.cancel()
    world.run(1.0)
    (query,) = world.switch.waiting
    world.real.decided(query, Refusal(Reason.CALLER_UNBOUND), world.switch.now)
    world.real.decided(Query(99, "carrier-a", X, "", False), Refusal(Reason.CALLER_UNBOUND), world.switch.now)
    (story,) = world.finish()
    assert story.ended.outcome == "cancelled"


def test_timers_are_settings() -> None:
    world = World(settings={"timers": TimerValues(t1=0.1, t2=0.4, t4=0.5), "no_reply_seconds": 1.0})
    world.script(ADDRESS_B)
    call = dial(world)
    world.finish()
    times = [datagram.at for datagram in world.network.log if datagram.target == ADDRESS_B]
    # given up after a second, but repeated up to timer B: an answer would have to be cancelled
    assert [round(at - times[0], 2) for at in times[:-1]] == [0.0, 0.1, 0.3, 0.7, 1.5, 3.1]
    assert 6.3 <= times[-1] - times[0] <= 6.3 + GRAIN
    assert call.statuses[-1] == 200


# the switch ends calls


def in_every_stage(world: World) -> list[PhoneCall]:
    """Four calls: undecided, without any answer of the callee, ringing, up."""
    world.callee.on_call = lambda call: call.accept()
    up = world.caller.dial(X)
    world.run(0.5)
    world.callee.on_call = lambda call: call.ring()
    ringing = world.caller.dial(X)
    world.run(0.5)
    world.callee.on_call = lambda call: world.network.later(5.0, call.ring)
    calling = world.caller.dial(X)
    world.run(0.5)
    world.switch.held = True
    deciding = world.caller.dial(X)
    world.run(0.5)
    return [up, ringing, calling, deciding]


def test_releasing_all_calls() -> None:
    world = World()
    calls = in_every_stage(world)
    world.switch.enter(world.real.release_all)
    assert world.real.active_calls == 0
    told = world.finish()
    assert [call.heard[-1] for call in calls] == ["BYE", "503", "503", "503"]
    assert [call.responses[-1].get("retry-after") for call in calls[1:]] == ["30", "30", "30"]
    assert [call.heard[-1] for call in world.callee.calls] == ["BYE", "CANCEL", "CANCEL"]
    assert [story.ended.reason for story in told] == ["shutdown"] * 4
    assert [story.ended.outcome for story in told] == ["answered", "failed", "failed", "refused"]
    assert [story.ended.routes for story in told] == [
        ("carrier-b:200",),
        ("carrier-b:released",),
        ("carrier-b:released",),
        (),
    ]


def test_hanging_up_for_the_operator() -> None:
    world = World()
    calls = in_every_stage(world)
    for live in world.real.live_calls():
        assert world.switch.enter(partial(world.real.hang_up, live.id)) is True
    assert world.switch.enter(lambda now: world.real.hang_up("no such call", now)) is False
    told = world.finish()
    assert [call.heard[-1] for call in calls] == ["BYE", "480", "480", "480"]
    assert {story.ended.reason for story in told} == {"hung_up"}
    assert {story.ended.ended_by for story in told} == {"switch"}


def test_draining_takes_no_new_call_and_lets_the_others_end() -> None:
    world = World()
    call = dial(world, 10.0)
    world.run(3.0)
    world.switch.enter(world.real.drain)
    refused = world.caller.dial(X)
    call.hold()
    world.run(1.0)
    assert call.statuses[-1] == 200
    ping = world.callee.endpoint.request(
        "OPTIONS",
        f"sip:{SWITCH[0]}",
        world.callee.flow,
        "<sip:b@h>;tag=1",
        "<sip:h>",
        "ping",
        1,
        world.network.now,
        owner=call,
    )
    world.callee.flush()
    told = world.finish()
    assert refused.statuses == [503]
    assert refused.responses[0].get("retry-after") == "30"
    assert call.heard[-1] == "BYE 200"
    assert [story.ended.reason for story in told] == ["", "draining"]
    (answer,) = [response for response in call.responses if response.cseq_method == "OPTIONS"]
    assert (answer.status, answer.get("retry-after")) == (503, "30")
    assert not ping.alive


def test_a_failing_journal_stops_new_calls_only() -> None:
    world = World()
    call = dial(world, 5.0)
    world.run(3.0)
    world.real.journal_failure = "no space left on device"
    refused = world.caller.dial(X)
    world.run(1.0)
    world.real.journal_failure = ""
    again = dial(world)
    world.finish()
    assert [refused.statuses, call.statuses[-1], again.statuses[-1]] == [[503], 200, 200]


def test_when_the_journal_has_little_room_left_refused_attempts_are_counted_only() -> None:
    tokens = map("{:016x}".format, itertools.count(1))
    switch = Switch(SwitchSettings(), TRUNKS, lambda: next(tokens), {"udp": "192.0.2.1:5060"})
    switch.journal_failure, switch.journal_tight = "no space left on device", True
    text = request_text("INVITE", f"sip:{X}@{SWITCH[0]}", ADDRESS_A)
    switch.receive(text.encode(), Flow("UDP", "udp", ADDRESS_A), Now(0.0, 0))
    ((wire, flow),) = switch.outgoing()
    assert wire.startswith(b"SIP/2.0 503 ")
    assert b"Retry-After: 30\r\n" in wire
    assert b"Reason: Q.850;cause=41" in wire
    assert flow.peer == ADDRESS_A
    assert switch.records() == []
    assert switch.statistics.refusals["carrier-a", "journal_failed"] == 1
    assert switch.active_calls == 0


def test_a_peer_that_is_gone_leaves_nothing_behind() -> None:
    """Neither BYE is ever answered."""
    world = World()
    call = world.caller.dial(X)
    world.run(3.0)
    world.network.conditions.drop = lambda datagram: datagram.way in ("a>", "b>")
    assert world.switch.enter(lambda now: world.real.hang_up(world.real.live_calls()[0].id, now))
    world.finish()
    assert call.stage is Stage.OVER


@pytest.mark.parametrize(("value", "index"), [(0.0, 0), (0.005, 0), (0.006, 1), (10.0, 2), (11.0, 3)])
def test_a_histogram_counts_by_upper_bound(value: float, index: int) -> None:
    histogram = Histogram((0.005, 1.0, 10.0))
    histogram.observe(value)
    assert histogram.counts.index(1) == index
    assert histogram.total == value
