"""Policy on calls (R12-R14): what counts and what is given back, who is cut off, who is called back."""

from dataclasses import replace

import pytest

from b2bua.call.call import Call
from b2bua.call.leg import Now
from routing.blocklist import BlockKind
from routing.caps import Caps, CapSet
from routing.decide import Query, Refusal, Route
from routing.policy import Cut, Policy, PolicySettings
from routing.reason import Reason
from tests.call.flows import FLOWS, Flow
from tests.call.phone import PhoneCall, Stage, answer_after
from tests.call.policies import OTHER_X, blocks, caps, hash_of
from tests.call.world import ADDRESS_A, BINDING, NUMBER_A, NUMBER_B, World, X
from tests.wire import SWITCH, request_text

ROOMY = Caps(per_minute=50, per_hour=50, per_day=50, concurrent=50)
EVERYTHING = Policy(
    PolicySettings(caps=CapSet(ROOMY, ROOMY, ROOMY, ROOMY), user_caps=ROOMY, fan_out_numbers=50), hash_of=hash_of
)
ONE_AT_A_TIME = caps(binding=Caps(concurrent=1))


@pytest.mark.parametrize("flow", FLOWS, ids=[flow.name for flow in FLOWS])
def test_however_a_call_ends_it_is_no_longer_one_of_those_at_one_time(flow: Flow) -> None:
    """A count that is not given back locks a binding for ever."""
    world = World()
    world.policy = EVERYTHING
    flow.start(world)
    world.finish(agree=False)
    assert world.real.counters.holding() == 0
    assert world.real.undecided() == []


def talk(world: World, seconds: float = 5.0) -> PhoneCall:
    call = world.caller.dial(X)
    call.on("200", call.hang_up, after=seconds)
    return call


def test_a_cap_on_calls_at_one_time_opens_again_with_the_end_of_the_call() -> None:
    world = World()
    world.policy = ONE_AT_A_TIME
    world.callee.on_call = lambda call: call.accept()
    talk(world)
    world.run(1.0)
    second = world.caller.dial(X)
    world.run(1.0)
    assert second.statuses[-1] == 403
    assert world.real.tables()["counted_calls"] == 1
    world.run(10.0)
    assert world.real.tables()["counted_calls"] == 0
    talk(world)
    told = world.finish()
    assert sorted(story.ended.reason for story in told) == ["", "", "binding_cap"]


def test_release_of_all_calls_gives_back_what_they_held() -> None:
    world = World()
    world.policy = EVERYTHING
    world.callee.on_call = lambda call: call.accept()
    world.caller.dial(X)
    world.run(1.0)
    assert world.real.counters.holding() == 1
    world.switch.enter(world.real.release_all)
    assert world.real.counters.holding() == 0
    world.finish()


def test_a_record_that_cannot_be_written_gives_back_what_its_call_held() -> None:
    world = World()
    world.policy = EVERYTHING
    world.caller.dial(X)
    world.run(0.05)
    attempted = world.switch.records[0]
    world.switch.enter(lambda now: world.real.unwritten([attempted], now))
    assert world.real.counters.holding() == 0
    world.finish(agree=False)


def test_who_gives_up_before_routing_was_asked_is_not_asked_about() -> None:
    """INVITE and CANCEL read in one go: counted after its end, the call would hold its place for ever."""
    world = World()
    world.policy = ONE_AT_A_TIME
    phone = world.script(ADDRESS_A)
    uri, pai = f"sip:{X}@{SWITCH[0]}", f"P-Asserted-Identity: <tel:{NUMBER_A}>"
    both = [
        request_text(method, uri, ADDRESS_A, lines=(pai,), branch="z9hG4bK-one", call_id="one")
        for method in ("INVITE", "CANCEL")
    ]
    asked: list[Query] = []
    decide = world.switch.decide

    def listen(query: Query) -> Route | Refusal:
        asked.append(query)
        return decide(query)

    world.switch.decide = listen
    world.switch.pump = lambda: None  # type: ignore[method-assign]
    for text in both:
        phone.send(text)
    world.run(0.05)
    del world.switch.pump
    world.switch.pump()
    world.run(0.05)
    assert phone.words == ["100", "200", "487"]
    phone.send(request_text("ACK", uri, ADDRESS_A, branch="z9hG4bK-one", call_id="one"))
    world.finish(agree=False)
    assert asked == []


def test_an_attempt_in_the_hands_of_the_hook_is_counted_and_given_back_when_the_caller_gives_up() -> None:
    world = World()
    world.policy = ONE_AT_A_TIME
    world.switch.delay = 3.5
    call = world.caller.dial(X)
    world.run(1.0)
    world.caller.dial(X)
    call.cancel()
    world.finish(agree=False)
    assert world.real.undecided() == []


def test_a_refused_attempt_counts_against_no_cap() -> None:
    world = World()
    world.policy = caps(caller=Caps(per_day=1))
    world.callee.on_call = lambda call: call.accept()
    world.caller.dial("700123456780000")  # unbound
    world.run(1.0)
    talk(world)
    told = world.finish()
    assert [story.ended.reason for story in told] == ["caller_unbound", ""]


def test_both_parties_share_the_cap_of_the_binding_and_have_their_own_as_callers() -> None:
    world = World()
    world.policy = caps(caller=Caps(per_day=1), binding=Caps(per_day=2))
    world.caller.on_call = world.callee.on_call = lambda call: call.accept()
    talk(world, 1.0)
    world.run(5.0)
    back = world.callee.dial(X)
    back.on("200", back.hang_up, after=1.0)
    world.run(5.0)
    world.callee.dial(X)
    told = world.finish()
    assert [story.ended.reason for story in told] == ["", "", "caller_cap"]


def test_a_fan_out_is_told_once() -> None:
    world = World()
    world.policy = Policy(PolicySettings(fan_out_numbers=1), hash_of=hash_of)
    world.bindings.append(replace(BINDING, id="binding-2", x=OTHER_X))
    for number in (X, X, OTHER_X, OTHER_X):
        world.caller.dial(number)
        world.run(1.0)
    world.finish(agree=False)
    counters = world.real.counters
    assert [(alert.caller, alert.numbers, alert.business_user) for alert in counters.alerts] == [(NUMBER_A, 2, "shop")]
    assert counters.fan_outs == 1


# cutting live calls (R12)

CUTS = {
    "the caller": (BlockKind.CALLER, hash_of(NUMBER_A)),
    "the callee": (BlockKind.CALLEE, hash_of(NUMBER_B)),
    "a party": (BlockKind.NUMBER, hash_of(NUMBER_B)),
    "the middle number": (BlockKind.X, X),
    "its block": (BlockKind.BLOCK, X[:11]),
    "the binding": (BlockKind.BINDING, "binding-1"),
    "the business user": (BlockKind.BUSINESS_USER, "shop"),
    "the provider": (BlockKind.PROVIDER, "provider"),
}
OTHERS = {
    "the callee as caller": (BlockKind.CALLER, hash_of(NUMBER_B)),
    "another middle number": (BlockKind.X, OTHER_X),
    "another provider": (BlockKind.PROVIDER, "other"),
}


def cut(world: World, kind: BlockKind, key: str | bytes) -> int:
    """What the shell does when an entry of the block list that cuts is new; how many calls it ended."""
    policy = blocks(kind, key, cut=True)
    world.policy = policy
    entries = Cut(policy, policy.fresh_cuts)
    ended = 0

    def ends(call: Call, utc_ms: int) -> bool:
        assert call.binding is not None
        return entries.ends(call.binding, call.caller_number, call.callee_number, utc_ms)

    def step(now: Now) -> None:
        nonlocal ended
        ended = world.real.cut(world.real.live_handles(), ends, now)

    world.switch.enter(step)
    return ended


@pytest.mark.parametrize("up", [True, False], ids=["up", "ringing"])
@pytest.mark.parametrize("entry", CUTS.values(), ids=CUTS)
def test_a_block_that_cuts_ends_the_live_calls_it_speaks_of(entry: tuple[BlockKind, str | bytes], up: bool) -> None:
    world = World()
    world.callee.on_call = answer_after(0.1 if up else 60.0)
    call = world.caller.dial(X)
    world.run(2.0)
    assert (call.stage is Stage.UP) == up
    assert cut(world, *entry) == 1
    world.run(1.0)
    assert call.stage is Stage.OVER
    (story,) = world.finish()
    ended = story.ended
    assert (ended.reason, ended.ended_by, ended.q850) == ("blocked", "switch", 21)
    assert ended.outcome == ("answered" if up else "failed")


@pytest.mark.parametrize("entry", OTHERS.values(), ids=OTHERS)
def test_a_block_leaves_other_calls_alone(entry: tuple[BlockKind, str | bytes]) -> None:
    world = World()
    world.callee.on_call = lambda call: call.accept()
    talk(world)
    world.run(1.0)
    assert cut(world, *entry) == 0
    (story,) = world.finish()
    assert (story.ended.outcome, story.ended.reason) == ("answered", "")


def test_a_call_that_is_not_decided_yet_is_left_to_routing() -> None:
    world = World()
    world.switch.delay = 1.0
    world.caller.dial(X)
    world.run(0.5)
    assert cut(world, BlockKind.PROVIDER, "provider") == 0
    (story,) = world.finish()
    assert story.ended.reason == Reason.PROVIDER_BLOCKED


def test_calls_that_ended_meanwhile_are_passed_over() -> None:
    world = World()
    assert world.real.cut([1, 2, 3], lambda call, utc_ms: True, Now(world.network.now, 0)) == 0
    world.finish()


# who of a group called last


def of_group(query: Query, calling: str) -> Route | Refusal:
    binding = replace(BINDING, group="drivers", id="binding-g")
    if calling == "a":
        return Route(binding, "a", NUMBER_A, NUMBER_B, X, X, ("carrier-b",))
    return Route(binding, "b", NUMBER_B, NUMBER_A, X, X, ("carrier-a",))


def test_a_member_who_reaches_b_is_the_one_to_be_called_back() -> None:
    world = World()
    world.switch.decide = lambda query: of_group(query, "a")
    talk(world)
    world.finish()
    assert world.real.last_callers.get("binding-g") == NUMBER_A


def test_neither_b_nor_a_binding_without_group_changes_the_last_caller() -> None:
    world = World()
    talk(world)
    world.run(30.0)
    world.switch.decide = lambda query: of_group(query, "b")
    back = world.callee.dial(X)
    back.on("200", back.hang_up, after=1.0)
    world.finish()
    assert world.real.last_callers.changes() == []
