"""Fifteen places where back-to-back agents are known to break, one after the other, each by its number. Those inside a
call, 1 to 8, are here; those around it are in test_where_others_break_around_calls.py.

An agent that stands between two calls has to answer for both: it meets the races of each side twice, has to keep what
belongs to one leg off the other, and must end with nothing left over. These scenes are the short list of what goes
wrong in such agents; the files beside this one play most of them in all their variants. What every scene asserts at its
end (``World.finish``): one complete record for each attempt, every table empty, every request answered, both phones in
agreement that it is over, and nothing of one side told to the other.
"""

from collections.abc import Callable

import pytest

from b2bua.sip.message import Response
from tests.call import test_reliable as reliable
from tests.call.early_flows import (
    forked,
    forked_and_reliable_to_the_caller,
    forked_to_a_caller_without_update,
    forked_with_two_answers,
    forked_without_an_offer,
    rings_reliably,
)
from tests.call.phone import PhoneCall, Stage, answer_after
from tests.call.scenes import BOTH_WAYS, HOUR, both, result, sent, up
from tests.call.test_fork import SDP_1, SDP_2, Forks
from tests.call.timers import TimedPhone
from tests.call.world import ADDRESS_C, World, X
from tests.wire import SWITCH, Conditions, Datagram, lose

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
