"""Fifteen places where back-to-back agents are known to break, one after the other, each by its number.

An agent that stands between two calls has to answer for both: it meets the races of each side twice, has to keep what
belongs to one leg off the other, and must end with nothing left over. These scenes are the short list of what goes
wrong in such agents; the files beside this one play most of them in all their variants. What every scene asserts at its
end (``World.finish``): one complete record for each attempt, every table empty, every request answered, both phones in
agreement that it is over, and nothing of one side told to the other.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest

from b2bua.sip.message import Request, Response
from b2bua.sip.parser import parse
from cdr import record
from routing.binding import Binding
from routing.numbers import NumberForm
from routing.plan import BlockState
from routing.trunks import Peer
from tests.call import test_probing as probing
from tests.call import test_reliable as reliable
from tests.call.early_flows import (
    forked,
    forked_and_reliable_to_the_caller,
    forked_to_a_caller_without_update,
    forked_with_two_answers,
    forked_without_an_offer,
    rings_reliably,
)
from tests.call.phone import PhoneCall, Stage, answer_after, refuse_with
from tests.call.test_fork import SDP_1, SDP_2, Forks
from tests.call.test_requests import Caller
from tests.call.timers import TimedPhone
from tests.call.world import ADDRESS_A, ADDRESS_B, ADDRESS_C, BINDING, TRUNKS, World, X
from tests.wire import START_MS, SWITCH, Conditions, Datagram, answer_text, lose, request_text

ALPHA, BRAVO, CHARLIE = TRUNKS
HERE = f"sip:{SWITCH[0]}:{SWITCH[1]}"
PAI = "P-Asserted-Identity: <sip:13876543210@192.0.2.10>"
HOUR = 3600.0
BOTH_WAYS = pytest.mark.parametrize("from_caller", [True, False], ids=["from_caller", "from_callee"])


def result(world: World, *, agree: bool = True) -> tuple[str, int, str]:
    """The end of a world with one attempt: (outcome, status, who ended it) of its one record."""
    (story,) = world.finish(agree=agree)
    return str(story.ended.outcome), story.ended.status, story.ended.ended_by


def sent(world: World, way: str, word: str, since: float = 0.0) -> list[Datagram]:
    """What went this way under this name, repetitions too."""
    return [each for each in world.network.log if (each.way, each.word) == (way, word) and each.at >= since]


def up(conditions: Conditions | None = None) -> tuple[World, PhoneCall, PhoneCall]:
    """A call that is up, with nothing on its way: (world, the caller's call, the callee's)."""
    world = World(conditions)
    world.callee.on_call = lambda call: call.accept()
    call = world.caller.dial(X)
    world.run(2.0)
    assert call.stage is Stage.UP
    return world, call, world.callee.call


def both(world: World, call: PhoneCall, other: PhoneCall, from_caller: bool) -> tuple[PhoneCall, PhoneCall]:
    """(who acts, the other one)."""
    return (call, other) if from_caller else (other, call)


def fault_free(world: World) -> bool:
    """No phone has had anything to object to."""
    return world.caller.faults == world.callee.faults == world.second.faults == []


# 1: CANCEL crosses 200, comes while the binding is looked up, comes before 100


def looked_up(world: World) -> None:
    world.switch.delay = 2.0


def silent_callee(world: World) -> None:
    world.callee.on_call = lambda call: world.network.later(1.5, call.ring)


def answering(world: World) -> None:
    world.callee.on_call = answer_after(1.0)  # with 100 ms a hop: rings at 0.3, answers at 1.3, at the switch at 1.4


@pytest.mark.parametrize(
    ("scene", "at", "caller_hears", "callee_hears", "outcome"),
    [
        (looked_up, 1.0, ["100", "CANCEL 200", "487"], [], "cancelled"),
        (silent_callee, 0.5, ["100", "CANCEL 200", "487"], ["INVITE", "CANCEL"], "cancelled"),
        (answering, 0.8, ["100", "180", "CANCEL 200", "487"], ["INVITE", "CANCEL"], "cancelled"),
        (answering, 1.25, ["100", "180", "CANCEL 200", "487"], ["INVITE", "ACK", "BYE"], "cancelled"),
        (answering, 1.35, ["100", "180", "200", "CANCEL 200", "BYE 200"], ["INVITE", "ACK", "BYE"], "answered"),
    ],
    ids=["binding looked up", "callee silent", "ringing", "200 at the callee's side", "200 at the caller's side"],
)
def test_point_01_cancel_at_every_moment(
    scene: Callable[[World], None], at: float, caller_hears: list[str], callee_hears: list[str], outcome: str
) -> None:
    world = World(Conditions(latency=0.1))
    scene(world)
    call = world.caller.dial(X)
    world.network.later(at, call.cancel)
    assert result(world) == (outcome, 200 if outcome == "answered" else 487, "caller")
    assert call.heard == caller_hears
    assert [word for each in world.callee.calls for word in each.heard] == callee_hears


@pytest.mark.parametrize("lost", [False, True], ids=["behind its INVITE", "ahead of its INVITE"])
def test_point_01_cancel_before_100(lost: bool) -> None:
    """A hasty phone does not wait for 100. Where the INVITE was lost there is nothing to cancel: the call that the
    repeated one begins ends by BYE."""
    world = World(Conditions(latency=0.1, drop=lose(1 if lost else 0, "a>", "INVITE")))
    call = world.caller.dial(X)
    call.cancel(hasty=True)
    assert result(world) == (("answered", 200, "caller") if lost else ("cancelled", 487, "caller"))
    assert call.heard[0] == ("CANCEL 481" if lost else "100")
    assert call.heard[-1] == ("BYE 200" if lost else "487")
    assert world.callee.call.heard[-1] == ("BYE" if lost else "CANCEL")


@pytest.mark.parametrize("hasty", [False, True])
def test_point_01_cancel_at_any_other_moment(hasty: bool) -> None:
    """Record and phones agree, whichever was first."""
    for step in range(50):
        world = World(Conditions(latency=0.07))
        world.switch.delay = 0.2
        world.callee.on_call = answer_after(0.5)
        call = world.caller.dial(X)
        world.network.later(0.03 * step, lambda call=call: call.cancel(hasty))  # type: ignore[misc]
        call.on("200", call.hang_up, after=1.0)
        assert result(world) == (("answered", 200, "caller") if call.was_up else ("cancelled", 487, "caller"))


# 2: a later 18x with another To tag, several early dialogs


@pytest.mark.parametrize("winner", ["one", "two", "four"], ids=["the first", "a later one", "one never heard before"])
def test_point_02_several_early_dialogs_are_one_to_the_caller(winner: str) -> None:
    """Forwarding (181), a server of ringback tones (183 with its own media), and two phones."""
    world = World()
    forks = Forks(world)
    call = world.caller.dial(X)
    world.run(0.1)
    forks.say(180, "one")
    forks.say(181, "two")
    forks.say(183, "three", body=SDP_2)
    world.run(0.5)
    forks.say(200, winner, body=SDP_1)
    world.run(0.5)
    call.hang_up()
    assert result(world) == ("answered", 200, "caller")
    assert (call.statuses[0], call.statuses[-1]) == (100, 200)
    assert len({response.to_tag for response in call.responses if response.status > 100}) == 1
    assert b"198.51.100.21" in sent(world, ">a", "200")[0].message.body  # the media of who answered, not of the tones
    assert [ack.split()[0] for ack in forks.acks] == [winner]
    assert [bye.split()[0] for bye in forks.byes] == [winner]


@pytest.mark.parametrize(
    ("scene", "answers"),
    [
        (forked, 1),
        (forked_and_reliable_to_the_caller, 1),
        (forked_to_a_caller_without_update, 1),
        (forked_without_an_offer, 1),
        (forked_with_two_answers, 2),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_point_02_several_early_dialogs_that_are_reliable(scene: Callable[[World], None], answers: int) -> None:
    world = World()
    scene(world)
    assert result(world) == ("answered", 200, "caller")
    tags = {each.message.to_tag for each in world.network.toward("a") if isinstance(each.message, Response)}
    assert len(tags - {""}) == 1
    byes = {each.message.to_tag for each in sent(world, ">b", "BYE")}
    assert len(byes) == answers  # each that has answered is ended, the others need it not


# 3: PRACK: another CSeq, 200 before PRACK, RSeq clash after failover


@pytest.mark.parametrize("rack", ["RSEQ 2 INVITE", "RSEQ 1 PRACK", "1 1 INVITE"])
def test_point_03_a_prack_with_another_number_confirms_nothing(rack: str) -> None:
    caller = reliable.Caller("Require: 100rel")
    caller.far.say(183, rseq=77, body=SDP_1)
    assert [each[1] for each in caller.far.praked] == ["77 1 INVITE"]  # the callee's leg has its own, and is done
    assert caller.prack(2, rack) == 481
    assert caller.prack(3) == 200
    caller.refuse()


def test_point_03_an_answer_before_the_prack() -> None:
    world, far, call = reliable.ringing()
    far.prack = 0
    far.say(183, rseq=1, body=SDP_1)
    far.say(200, body=SDP_2)
    assert call.heard == ["100", "183", "200"]
    assert b"198.51.100.21" in sent(world, ">a", "200")[0].message.body  # what the 183 said is the answer
    far.prack = 200
    world.run(3.0)
    call.hang_up()
    assert result(world) == ("answered", 200, "caller")
    assert len({each.data for each in sent(world, ">b", "PRACK")}) == 1


def test_point_03_two_routes_with_the_same_numbers() -> None:
    """The second route rings with RSeq 9, then the first, given up meanwhile, with RSeq 9 too: only the one is heard,
    and confirmed in its own dialog."""

    def second(call: PhoneCall) -> None:
        call._rseq = 8
        world.network.later(0.1, lambda: call.ring(183, call.phone.sdp(), reliable=True))
        world.network.later(4.0, call.accept)

    world, far, call = reliable.ringing("Require: 100rel")
    world.second.on_call = second
    world.run(5.0)
    far.say(183, rseq=9, body=SDP_2)
    call.on("200", call.hang_up, after=1.0)
    (story,) = world.finish()
    assert (story.ended.routes, story.ended.status) == (("carrier-b:no_reply", "carrier-c:200"), 200)
    assert far.praked == []
    assert far.others == ["CANCEL"]
    pracks = sent(world, ">b", "PRACK")
    assert [(each.target, each.message.first["rack"]) for each in pracks] == [(ADDRESS_C, "9 1 INVITE")]
    assert call.heard == ["100", "183", "PRACK 200", "200", "BYE 200"]


def test_point_03_the_numbers_to_the_caller_are_its_own() -> None:
    """Two phones of the callee both begin with 9; the caller gets one row that goes up by one."""
    world, far, call = reliable.ringing("Require: 100rel")
    for tag in ("one", "two"):
        far.say(183, tag, rseq=9, body=SDP_1)
        world.run(0.2)
    assert [(tag, rack) for tag, rack, _ in far.praked] == [("one", "9 1 INVITE"), ("two", "9 1 INVITE")]
    far.say(486)
    assert result(world) == ("busy", 486, "callee")
    first, second = (int(each.message.first["rseq"]) for each in sent(world, ">a", "183"))
    assert second == first + 1
    assert call.heard.count("PRACK 200") == 2


def test_point_03_no_failover_after_a_reliable_answer() -> None:
    """The caller has confirmed it: what comes later is of the same callee, so 503 is the end and no second RSeq."""
    world, far, call = reliable.ringing("Require: 100rel")
    far.say(183, rseq=9, body=SDP_1)
    world.run(0.1)
    far.say(503)
    assert result(world) == ("failed", 500, "callee")
    assert call.heard == ["100", "183", "PRACK 200", "500"]
    assert world.second.calls == []


# 4: a 2xx without ACK, a 200 that comes again, BYE before ACK


def test_point_04_an_answer_that_is_never_acknowledged() -> None:
    world = World(Conditions(drop=lambda each: (each.way, each.word) == ("a>", "ACK")))
    call = world.caller.dial(X)
    (story,) = world.finish()
    assert (story.ended.ended_by, story.ended.reason, story.ended.q850) == ("switch", "no_ack", 102)
    assert len([each for each in sent(world, ">a", "200") if b"INVITE" in each.data]) == 11  # T1 doubling up to T2
    assert (call.heard[-1], world.callee.call.heard[-1]) == ("BYE", "BYE")


def test_point_04_an_answer_that_comes_again_is_acknowledged_again() -> None:
    world = World(Conditions(drop=lose(3, ">b", "ACK")))
    call = world.caller.dial(X)
    call.on("200", call.hang_up, after=10.0)
    assert result(world) == ("answered", 200, "caller")
    acks = sent(world, ">b", "ACK")
    assert [each.lost for each in acks] == [True, True, True, False]
    assert len({each.data for each in acks}) == 1


@BOTH_WAYS
def test_point_04_bye_before_the_ack(from_caller: bool) -> None:
    """The caller's own BYE stands for its lost ACK; the callee's waits until the caller has got its answer."""
    drop = lose(99, "a>", "ACK") if from_caller else lose(2, ">a", "200")
    world = World(Conditions(drop=drop))
    call = world.caller.dial(X)
    if from_caller:
        call.on("200", call.hang_up)
    else:
        world.network.later(1.2, lambda: world.callee.call.hang_up())
    assert result(world) == ("answered", 200, "caller" if from_caller else "callee")
    assert call.heard == ["100", "180", "200", "BYE 200" if from_caller else "BYE"]
    assert len(sent(world, ">a", "BYE")) == (0 if from_caller else 1)


# 5: the switch's own requests are sent again


def test_point_05_every_request_of_ours_is_sent_again_until_answered() -> None:
    """The first of each kind is lost, on either side."""
    gone: set[tuple[str, str]] = set()

    def drop(each: Datagram) -> bool:
        key = (each.way, each.word)
        if each.source != SWITCH or each.word.isdigit() or each.word == "ACK" or key in gone:
            return False
        gone.add(key)
        return True

    world = World(Conditions(drop=drop))
    call = rings_reliably(world)
    world.run(10.0)
    other = world.callee.call
    for asking in (call, other):
        for action in (asking.info, asking.hold, lambda asking=asking: asking.update()):
            action()
            world.run(10.0)
    other.hang_up()
    world.run(40.0)
    world.callee.on_call = lambda call: call.ring()
    again = world.caller.dial(X)
    world.run(5.0)
    again.cancel()
    told = world.finish()
    assert [story.ended.outcome for story in told] == ["answered", "cancelled"]
    in_calls = {"INVITE", "INFO", "UPDATE"}
    assert {word for way, word in gone if way == ">a"} == in_calls | {"BYE"}
    assert {word for way, word in gone if way == ">b"} == in_calls | {"PRACK", "CANCEL"}
    for way, word in gone:
        first, second, *_ = sent(world, way, word)
        assert (first.lost, second.lost, first.data == second.data) == (True, False, True)
        assert second.at - first.at == pytest.approx(0.5)


@BOTH_WAYS
def test_point_05_a_request_that_nobody_answers_is_given_up(from_caller: bool) -> None:
    """The far end of our BYE is gone: 64 T1, then it is forgotten."""
    way = "b>" if from_caller else "a>"
    world, call, other = up(Conditions(drop=lambda each: each.way == way and each.at > 2.0))
    both(world, call, other, from_caller)[0].hang_up()
    assert result(world, agree=False) == ("answered", 200, "caller" if from_caller else "callee")
    assert len(sent(world, f">{way[0]}", "BYE")) == 11


# 6: a delayed offer confirmed too soon, an answer in PRACK


def test_point_06_a_delayed_offer_is_not_acknowledged_too_soon() -> None:
    world = World(Conditions(latency=0.1))
    call = world.caller.dial(X, sdp=b"")
    call.on("200", call.hang_up, after=1.0)
    assert result(world) == ("answered", 200, "caller")
    acks = [(each.way, bool(each.message.body)) for each in world.network.log if each.word == "ACK"]
    assert acks == [("a>", True), (">b", True)]
    assert b"198.51.100.10" in world.callee.call.answer_in_ack


@BOTH_WAYS
def test_point_06_a_delayed_offer_in_the_call_is_not_acknowledged_too_soon(from_caller: bool) -> None:
    world, call, other = up(Conditions(latency=0.1))
    asking, asked = both(world, call, other, from_caller)
    asking.reinvite(b"")
    world.run(2.0)
    asking.hang_up()
    result(world)
    here, there = ("a>", ">b") if from_caller else ("b>", ">a")
    assert [each.way for each in world.network.log if each.word == "ACK" and each.at > 2.0] == [here, there]
    assert asking.phone.media.encode() in asked.answer_in_ack


def test_point_06_an_answer_in_prack() -> None:
    """The PRACK to the callee waits for the one of the caller, which holds the answer."""
    world, far, call = reliable.ringing("Supported: 100rel", sdp=b"")
    far.say(183, rseq=1, body=SDP_1)
    world.run(0.1)
    far.say(200)
    call.hang_up()
    assert result(world) == ("answered", 200, "caller")
    ways = [each.way for each in world.network.log if each.word == "PRACK"]
    assert ways == ["a>", ">b"]
    assert b"198.51.100.10" in far.praked[0][2]
    assert sent(world, ">b", "ACK")[0].message.body == b""


# 7: session timers across legs, refresh with another SDP version, ghosts


@pytest.mark.parametrize("updates", [True, False], ids=["by_update", "by_reinvite"])
@pytest.mark.parametrize("grants", ["uac", "uas"])
@pytest.mark.parametrize("asks", ["uac", "uas"])
def test_point_07_session_timers_do_not_fight_across_legs(asks: str, grants: str, updates: bool) -> None:
    """On each leg one side refreshes, the other never, and no refresh crosses."""
    world = World()
    world.caller.updates = world.callee.updates = updates
    first = TimedPhone(world.caller, asks, interval=600)
    second = TimedPhone(world.callee, grants=grants, interval=400)
    call = world.caller.dial(X)
    world.run(HOUR)
    call.hang_up()
    assert result(world) == ("answered", 200, "caller")
    word = "UPDATE" if updates else "INVITE"
    for side, timed, theirs, most in (("a", first, asks == "uac", 12), ("b", second, grants == "uas", 18)):
        ours = {each.data for each in sent(world, f">{side}", word, since=10.0)}
        assert most - 1 <= (len(timed.refreshes) if theirs else len(ours)) <= most
        assert not (ours if theirs else timed.refreshes)


def refresh(call: PhoneCall, sdp: bytes) -> None:
    """re-INVITE of a phone that has session timers."""
    call._offered = True
    call.request("INVITE", *call._contact(), "Supported: timer", "Session-Expires: 600;refresher=uac", body=sdp)
    call.phone.flush()


@BOTH_WAYS
def test_point_07_a_refresh_with_another_version_of_the_same_description(from_caller: bool) -> None:
    """It is answered here, with the version that this leg has; a real change crosses."""
    world, call, other = up()
    asking, asked = both(world, call, other, from_caller)
    heard = len(asked.heard)
    refresh(asking, asking.phone.sdp(version=2))
    world.run(1.0)
    assert (asking.statuses[-1], len(asked.heard)) == (200, heard)
    refresh(asking, asking.phone.sdp(direction="sendonly", version=3))
    world.run(1.0)
    assert asked.heard[heard:] == ["INVITE", "ACK"]
    asking.hang_up()
    assert result(world)[0] == "answered"


@pytest.mark.parametrize("silent", ["a", "b"])
def test_point_07_a_missing_refresh_leaves_no_ghost(silent: str) -> None:
    """One of two phones vanishes without a word: the other is set free, and the record closed."""
    way = f"{silent}>"
    world = World(Conditions(drop=lambda each: each.way == way and each.at > 10.0))
    TimedPhone(world.caller, "uac", silent=silent == "a")
    TimedPhone(world.callee, grants="uas", silent=silent == "b")
    world.caller.dial(X)
    (story,) = world.finish(agree=False)
    assert (story.ended.ended_by, story.ended.reason) == ("switch", "session_expired")
    assert 300_000 < story.ended.talk_ms <= 600_000
    left = world.callee.call if silent == "a" else world.caller.call
    assert (left.stage, left.heard[-1]) == (Stage.OVER, "BYE")


# 8: INFO beside re-INVITE, re-INVITE after a lost 491, glare from both sides


@BOTH_WAYS
def test_point_08_info_beside_a_reinvite(from_caller: bool) -> None:
    world, call, other = up(Conditions(latency=0.1))
    asking, asked = both(world, call, other, from_caller)
    asked.on_reinvite = lambda call, request: call.ring(100)
    asking.hold()
    asking.info()
    world.run(1.0)
    asked.info()
    world.run(1.0)
    assert (asking.heard.count("INFO 200"), asked.heard.count("INFO 200")) == (1, 1)
    assert asking.invite is not None  # it still waits
    asked.accept()
    world.run(1.0)
    assert asking.statuses[-1] == 200
    asking.hang_up()
    assert result(world)[0] == "answered"


@pytest.mark.parametrize("lost", [0, 1, 3])
def test_point_08_glare_from_both_sides_and_its_491_is_lost(lost: int) -> None:
    """Both are told, however often that is lost, and who asks again later gets its way."""
    seen: dict[str, int] = {}

    def drop(each: Datagram) -> bool:
        if each.word != "491":
            return False
        seen[each.way] = seen.get(each.way, 0) + 1
        return seen[each.way] <= lost

    world, call, other = up(Conditions(latency=0.1, drop=drop))
    call.hold()
    other.hold()
    world.run(10.0)
    assert (call.statuses[-1], other.statuses[-1]) == (491, 491)
    for asking in (other, call):
        asking.hold()
        world.run(2.0)
        assert asking.statuses[-1] == 200
    call.hang_up()
    assert result(world) == ("answered", 200, "caller")
    assert seen[">a"] > lost
    assert seen[">b"] > lost


# 9: hops that begin anew, 700 calls 700


def test_point_09_hops_go_down_and_end() -> None:
    world = World()
    phone = world.script(ADDRESS_A)
    for hops in (70, 2, 1, 0):
        text = request_text("INVITE", f"sip:{X}@{SWITCH[0]}", ADDRESS_A, number="13876543210", lines=(PAI,))
        phone.send(text.replace("Max-Forwards: 70", f"Max-Forwards: {hops}"))
        world.run(0.1)
    assert phone.words.count("483") == 1
    assert [each.message.first["max-forwards"] for each in sent(world, ">b", "INVITE")] == ["69", "1", "0"]
    world.switch.enter(world.real.release_all)
    told = world.finish(agree=False)
    assert [story.ended.reason for story in told][3:] == ["max_forwards"]


def test_point_09_a_call_that_comes_back_is_a_loop() -> None:
    """The callee's carrier sends the call back to the middle number that it shows: 482, once, and not in a circle."""
    world = World(trunks=(ALPHA, BRAVO))
    carrier = world.script(ADDRESS_B)

    def react(data: bytes) -> None:
        message = parse(data)
        if isinstance(message, Request) and message.method == "INVITE":
            shown = f"P-Asserted-Identity: {message.first['p-asserted-identity']}"
            text = request_text("INVITE", f"sip:{X}@{SWITCH[0]}", ADDRESS_B, number=X, call_id="back", lines=(shown,))
            carrier.send(text.replace("Max-Forwards: 70", f"Max-Forwards: {message.first['max-forwards']}"))
        elif isinstance(message, Response) and message.status == 482:
            carrier.send(answer_text(carrier.last("INVITE"), 482, ADDRESS_B))

    carrier.react = react
    call = world.caller.dial(X)
    told = world.finish(agree=False)
    assert call.statuses == [100, 482]
    assert len({each.data for each in sent(world, ">b", "INVITE")}) == 1
    assert [(story.ended.outcome, story.ended.reason) for story in told] == [("rejected", ""), ("refused", "loop")]


@pytest.mark.parametrize("side", ["caller", "callee"])
def test_point_09_a_middle_number_never_calls_a_middle_number(side: str) -> None:
    """Neither as who calls, nor because a binding names one as its party."""
    other = "700123456780002"
    world = World()
    if side == "callee":
        world.bindings = [replace(BINDING, b=other)]
    call = world.caller.dial(X, identity=f"<sip:{other}@192.0.2.10>" if side == "caller" else None)
    (story,) = world.finish()
    assert (call.statuses[-1], story.ended.reason) == (482, "loop")
    assert world.network.toward("b") == []


# 10: the identity of one leg on another


TELLING = (
    "Contact: <sip:13925814703@192.0.2.20>",
    "P-Asserted-Identity: <sip:13925814703@192.0.2.20>",
    'Warning: 399 bravo-host "13925814703 is away"',
    'Reason: Q.850;cause=41;text="13925814703"',
    "Server: bravo-host",
    "Error-Info: <sip:13925814703@192.0.2.20>",
)


def test_point_10_a_failover_takes_nothing_of_the_first_route_along() -> None:
    trunks = (ALPHA, BRAVO, replace(CHARLIE, number_form=NumberForm.E164))
    world = World(trunks=trunks)
    world.callee.on_call = refuse_with(503, *TELLING)
    call = world.caller.dial(X)
    call.on("200", call.hang_up)
    assert result(world) == ("answered", 200, "caller")
    (first,) = (each for each in sent(world, ">b", "INVITE") if each.target == ADDRESS_B)
    (second,) = (each for each in sent(world, ">b", "INVITE") if each.target == ADDRESS_C)
    tokens = (first.message.call_id, first.message.from_tag, first.message.via.branch, ADDRESS_B[0], "bravo",
              world.callee.call.local_tag, sent(world, "a>", "INVITE")[0].message.call_id)  # fmt: skip
    assert not [token for token in tokens if token.encode() in second.data]
    assert f"sip:+86{X}@".encode() in second.data  # as that trunk writes numbers
    assert b"sip:+8613925814703@192.0.2.30" in second.data.split(b"\r\n")[0]
    assert not any(b"bravo" in each.data for each in world.network.toward("a"))


@pytest.mark.parametrize(("status", "told"), [(486, 486), (404, 404), (302, 480), (503, 500), (603, 603)])
def test_point_10_a_failure_tells_nothing_of_the_callee(status: int, told: int) -> None:
    world = World(trunks=(ALPHA, BRAVO))
    world.callee.on_call = refuse_with(status, *TELLING, ring=0.1)
    call = world.caller.dial(X)
    (story,) = world.finish()
    assert (call.statuses[-1], story.ended.status) == (told, told)
    assert call.responses[-1].first.keys() <= {
        "via", "from", "to", "call-id", "cseq", "reason", "server", "content-length",
    }  # fmt: skip
    assert not any(b"bravo" in each.data or b"away" in each.data for each in world.network.toward("a"))


# 11: 503 upstream, 503 to OPTIONS, routes that stay up or down for ever


@pytest.mark.parametrize("routes", [1, 2])
def test_point_11_a_503_is_not_relayed_upstream(routes: int) -> None:
    world = World(trunks=TRUNKS[: 1 + routes])
    world.callee.on_call = world.second.on_call = refuse_with(503)
    call = world.caller.dial(X)
    assert result(world) == ("failed", 500, "callee")
    assert call.statuses == [100, 500]
    assert "retry-after" not in call.responses[-1].first


def test_point_11_a_target_that_answers_options_with_503_is_down_until_it_says_better() -> None:
    world = probing.probing()
    far = probing.Far(world, 503)
    world.second.on_call = refuse_with(480)
    states = []
    for status in (503, 200, 0, 200):
        far.status = status
        world.run(5 * probing.EVERY)
        states.append(probing.view(world).state)
        world.caller.dial(X)
        world.run(1.0)
        if status == 200:
            far.script.send(answer_text(far.script.last("INVITE"), 486, ADDRESS_B))
            world.run(1.0)
    assert states == ["down", "up", "down", "up"]
    far.script.react = None
    world.switch.enter(world.real.drain)
    told = world.finish(answers=False)
    assert {story.ended.egress for story in told} == {"carrier-b", "carrier-c"}
    assert [story.ended.egress for story in told][::2] == ["carrier-c", "carrier-c"]


def test_point_11_a_route_is_neither_stuck_down_nor_up() -> None:
    """Left alone for as long as its 503 asks, then tried again; five silent calls in a row say what no 503 says; and
    when nothing else is left a parked route is better than none."""
    world = World(trunks=(ALPHA, BRAVO))
    world.callee.on_call = refuse_with(503, "Retry-After: 9")
    world.caller.dial(X)
    world.run(2.0)
    assert world.real.down(world.switch.now) == {"carrier-b"}
    world.callee.on_call = answer_after(1.0)
    call = world.caller.dial(X)  # the only one that there is
    call.on("200", call.hang_up)
    world.run(10.0)
    assert world.real.down(world.switch.now) == frozenset()
    world.callee.on_call = lambda call: None
    for _ in range(5):
        world.caller.dial(X)
        world.run(8.0)
    assert world.real.down(world.switch.now) == {"carrier-b"}
    world.run(60.0)
    assert world.real.down(world.switch.now) == frozenset()
    told = world.finish(agree=False)
    assert [story.ended.status for story in told] == [500, 200, *[504] * 5]


# 12: bindings that end under a call, both parties dial


def expired(world: World) -> None:
    world.bindings = [replace(BINDING, expires_ms=world.switch.now.utc_ms)]


def unbound(world: World) -> None:
    world.bindings = [replace(BINDING, ended_ms=world.switch.now.utc_ms)]


def given_to_others(world: World) -> None:
    world.bindings = [replace(BINDING, id="binding-2", a="+8613811112222", b="+8613933334444")]


def frozen(world: World) -> None:
    world.blocks = [replace(world.blocks[0], state=BlockState.FROZEN)]


@pytest.mark.parametrize("at", [2.0, 8.0], ids=["while ringing", "while up"])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (expired, "binding_expired"),
        (unbound, "binding_ended"),
        (given_to_others, "caller_unbound"),
        (frozen, "block_inactive"),
    ],
)
def test_point_12_the_binding_ends_under_a_call(change: Callable[[World], None], reason: str, at: float) -> None:
    """What is under way goes on; the next call is refused, from either party."""
    world = World()
    world.callee.on_call = answer_after(4.0)
    call = world.caller.dial(X)
    world.run(at)
    change(world)
    again, back = world.caller.dial(X), world.callee.dial(X)
    world.run(10.0)
    assert call.stage is Stage.UP
    call.hold()
    world.run(1.0)
    call.hang_up()
    first, second, third = world.finish()
    assert (first.ended.outcome, first.ended.ended_by, first.ended.reason) == ("answered", "caller", "")
    assert (again.statuses, back.statuses) == ([100, 403], [100, 403])
    assert (second.ended.reason, third.ended.reason) == (reason, reason)


@pytest.mark.parametrize("taken", [True, False], ids=["both answer", "both are engaged"])
def test_point_12_both_dial_at_the_same_moment(taken: bool) -> None:
    world = World(Conditions(latency=0.1))
    world.caller.on_call = world.callee.on_call = answer_after(1.0) if taken else refuse_with(486)
    calls = [world.caller.dial(X), world.callee.dial(X)]
    for call in calls:
        call.on("200", call.hang_up, after=2.0)
    told = world.finish()
    assert [call.statuses[-1] for call in calls] == ([200, 200] if taken else [486, 486])
    assert [(story.attempted.calling, str(story.ended.outcome)) for story in told] == [
        ("a", "answered" if taken else "busy"),
        ("b", "answered" if taken else "busy"),
    ]


# 13: records lost, tables that never empty


def test_point_13_a_failover_has_one_record_with_all_its_routes() -> None:
    world = World(trunks=(ALPHA, replace(BRAVO, peers=(Peer("192.0.2.99", 5060), Peer(*ADDRESS_B))), CHARLIE))
    world.callee.on_call = refuse_with(502)
    call = world.caller.dial(X)
    call.on("200", call.hang_up)
    (story,) = world.finish()
    assert sorted(story.ended.routes[:-1]) == ["carrier-b:502", "carrier-b:no_reply"]
    assert (story.ended.routes[-1], story.ended.egress) == ("carrier-c:200", "carrier-c")


def test_point_13_a_disk_that_fails_loses_no_record_and_no_call() -> None:
    """What is up goes on; what cannot be written does not begin, and is refused by a record all the same."""
    world, call, _ = up()
    world.switch.disk = lambda records: not any(isinstance(each, record.Attempted) for each in records)
    refused = world.caller.dial(X)
    world.run(1.0)
    assert (refused.statuses, call.stage) == ([100, 503], Stage.UP)
    world.switch.disk = lambda records: True
    again = world.caller.dial(X)
    again.on("200", again.hang_up)
    world.run(5.0)
    call.hang_up()
    told = world.finish()
    assert [story.ended.reason for story in told] == ["", "journal_failed", ""]
    assert [story.ended.outcome for story in told] == ["answered", "failed", "answered"]


def test_point_13_a_full_queue_of_records_takes_no_call_that_would_have_none() -> None:
    """Room is kept for the ends of the calls that are up: the next call is only counted, until the disk is back."""
    world, call, _ = up()
    world.real.journal_failure, world.real.journal_tight = "no space left on device", True
    refused = world.caller.dial(X)
    world.run(1.0)
    assert refused.statuses == [503]
    assert refused.responses[-1].get("retry-after") == "30"
    call.hang_up()
    world.run(1.0)
    world.real.journal_failure, world.real.journal_tight = "", False
    again = world.caller.dial(X)
    again.on("200", again.hang_up)
    told = world.finish(refusals=1)
    assert [story.ended.outcome for story in told] == ["answered", "answered"]


def test_point_13_after_a_day_of_everything_every_table_is_empty() -> None:
    """And while it goes on none of them holds what is over."""
    world = World(Conditions(latency=0.02, loss=0.1, seed=13))
    scenes: tuple[Callable[[PhoneCall], None], ...] = (
        answer_after(1.0),
        refuse_with(486, ring=0.1),
        refuse_with(503),
        lambda call: call.ring(),
        lambda call: None,
    )
    for index in range(40):
        world.callee.on_call = scenes[index % 5]
        call = world.caller.dial(X if index % 7 else "700123456780000")
        if index % 3 == 0:
            world.network.later(2.0, call.hang_up)
        call.on("200", call.hang_up, after=5.0)
        world.run(30.0)
        assert world.real.tables()["calls"] <= 3  # those that still ring, a minute long
    told = world.finish(agree=False)
    assert len(told) == 40
    assert {str(story.ended.outcome) for story in told} >= {"answered", "busy", "cancelled", "refused"}


# 14: unusual requests


UNUSUAL = (
    "X-Unknown: 1",
    "Unheard-Of;",
    "Subject:",
    "P-Charging-Vector: icid-value=1234bc9876e;icid-generated-at=192.6.6.8",
    "Accept-Language: x-klingon;q=0.3, *;q=0.1",
    "Priority: emergency",
    "Organization: \xe9toile",
)


@pytest.mark.parametrize("in_call", [True, False], ids=["in a call", "out of a call"])
def test_point_14_every_request_gets_a_final_answer(in_call: bool) -> None:
    methods = ("OPTIONS", "INFO", "MESSAGE", "REFER", "SUBSCRIBE", "NOTIFY", "PUBLISH", "REGISTER", "PRACK", "UPDATE",
               "FOO", "invite", "BYE-BYE")  # fmt: skip
    lines = tuple(line for line in UNUSUAL if line != "Unheard-Of;")
    if in_call:
        caller = Caller()
        answers = {method: caller.ask(method, 2 + index, lines=lines) for index, method in enumerate(methods)}
        caller.finish()
    else:
        world = World()
        phone = world.script(ADDRESS_A)
        answers = {}
        for method in methods:
            before = len(phone.words)
            phone.send(request_text(method, HERE, ADDRESS_A, lines=lines))
            world.run(0.1)
            answers[method] = phone.words[before:]
        assert world.finish() == []
    assert {method: len(words) for method, words in answers.items()} == dict.fromkeys(methods, 1)
    assert all(int(words[-1]) >= 200 for words in answers.values()), answers
    assert answers["OPTIONS"] == ["200"]
    assert answers["FOO"] == ["501"]


def test_point_14_an_unknown_header_is_never_fatal() -> None:
    """Nor any other way to write a valid INVITE; and none of it reaches the other side."""
    world = World()
    compact = {b"Via: ": b"v : ", b"From: ": b"f:   ", b"To: ": b"TO\t: ", b"Call-ID: ": b"i:", b"Contact: ": b"m: ",
               b"Content-Type: ": b"c: ", b"Content-Length: ": b"l: "}  # fmt: skip
    unusual = tuple(line for line in UNUSUAL if ":" in line)

    def disguise(data: bytes) -> bytes:
        if not data.startswith((b"INVITE", b"BYE", b"ACK")):
            return data
        for name, other in compact.items():
            data = data.replace(b"\r\n" + name, b"\r\n" + other)
        return data.replace(b"\r\nMax-Forwards", b"\r\nX-Folded: one\r\n  two\r\n\tthree\r\nMax-Forwards")

    world.caller.disguise = disguise
    call = world.caller.dial(X, *unusual, uri=f"sip:{X};phone-context=+86@{SWITCH[0]}:{SWITCH[1]};x=%20;lr?Subject=a")
    call.on("200", call.hang_up)
    assert result(world) == ("answered", 200, "caller")
    (invite,) = sent(world, ">b", "INVITE")
    assert not {line.partition(":")[0].lower() for line in unusual} & invite.message.first.keys()
    assert b"folded" not in invite.data.lower()


# 15: drain and reload


def test_point_15_a_drain_leaves_no_side_door_open() -> None:
    """New calls, whatever door they come by, are refused; those that are there go on in every way."""
    world, call, other = up()
    world.callee.on_call = answer_after(4.0)
    ringing = world.caller.dial(X)
    world.run(1.0)
    world.switch.enter(world.real.drain)
    world.reconfigure(max_calls=7)  # nor does a reload open it again
    stranger = world.script(ADDRESS_C)
    for method in ("OPTIONS", "MESSAGE"):
        stranger.send(request_text(method, HERE, ADDRESS_C))
    stranger.send(request_text("INVITE", f"sip:{X}@{SWITCH[0]}", ADDRESS_C, to_value=f"<sip:{X}@h>;tag=guess"))
    refused, back = world.caller.dial(X), world.callee.dial(X)
    world.run(1.0)
    assert sorted(set(stranger.words)) == ["481", "503"]
    assert stranger.words.count("503") == 2
    assert (refused.statuses, back.statuses) == ([503], [503])
    call.hold()
    world.run(1.0)
    other.info()
    world.run(5.0)
    assert (call.statuses[-1], other.heard[-1], ringing.stage) == (200, "INFO 200", Stage.UP)
    call.hang_up()
    ringing.hang_up()
    told = world.finish(agree=False)
    assert [story.ended.reason for story in told] == ["", "", "draining", "draining"]
    assert len(world.callee.calls) == 3  # two that it was called by, and its own that was refused


@pytest.mark.parametrize("ending", ["caller", "callee"])
def test_point_15_a_reload_keeps_nothing_stale_and_drops_no_call(ending: str) -> None:
    world, call, other = up()
    elsewhere = replace(BRAVO, peers=(Peer(*ADDRESS_C),))
    world.reconfigure(trunks=(ALPHA, elsewhere), max_calls=2)
    second = world.caller.dial(X)  # goes where the trunk is now
    world.run(2.0)
    third = world.caller.dial(X)  # and the new limit holds
    world.run(1.0)
    world.reconfigure(trunks=(elsewhere,))
    fourth = world.caller.dial(X)  # and a trunk that is gone is gone
    world.run(1.0)
    assert (second.stage, third.statuses, fourth.statuses) == (Stage.UP, [503], [403])
    assert (len(world.callee.calls), len(world.second.calls)) == (1, 1)
    call.hold()
    world.run(1.0)
    other.info()
    world.run(1.0)
    assert (call.statuses[-1], other.heard[-1]) == (200, "INFO 200")
    (call if ending == "caller" else other).hang_up()
    second.hang_up()
    told = world.finish()
    assert [(story.ended.reason, story.ended.egress) for story in told] == [
        ("", "carrier-b"),
        ("", "carrier-b"),
        ("total_limit", ""),
        ("trunk_removed", ""),
    ]
    assert told[0].ended.ended_by == ending


def test_point_15_a_binding_that_changes_is_not_remembered() -> None:
    """Two calls one after the other over one number reach two parties."""
    world = World()
    parties: list[Binding] = [BINDING, replace(BINDING, id="binding-2", b="+8613900000009")]
    for binding in parties:
        world.bindings = [binding]
        call = world.caller.dial(X)
        call.on("200", call.hang_up)
        world.run(5.0)
    told = world.finish()
    assert [story.attempted.callee for story in told] == [binding.b for binding in parties]
    assert [story.attempted.binding_id for story in told] == ["binding-1", "binding-2"]
    assert all(story.ended.ended_ms > START_MS for story in told)
