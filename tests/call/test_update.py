"""UPDATE (RFC 3311) before and after the answer, with a session and without."""

from typing import Any

import pytest

from b2bua.sip.message import Request
from b2bua.sip.transaction import ServerTransaction
from tests.call.early_flows import REQUIRED, SUPPORTED, rings_reliably
from tests.call.phone import PhoneCall, answer_after
from tests.call.test_reinvite import BOTH_WAYS, sides
from tests.call.test_reliable import EARLY, OTHER, Caller, _status, ringing, sent
from tests.call.world import ADDRESS_B, World, X
from tests.wire import Conditions, answer_text


def up(conditions: Conditions | None = None, *, updates: bool = True) -> tuple[World, PhoneCall, PhoneCall]:
    """A call that is up; ``updates``: both phones take UPDATE."""
    world = World(conditions)
    world.caller.updates = world.callee.updates = updates
    world.callee.on_call = lambda call: call.accept()
    call = world.caller.dial(X)
    world.run(2.0)
    return world, call, world.callee.call


def refuse(status: int) -> Any:
    def answer(call: PhoneCall, transaction: ServerTransaction, request: Request) -> None:
        call.phone.endpoint.respond(transaction, status, call.phone.network.now)

    return answer


# while the call is up


@BOTH_WAYS
def test_it_goes_on_as_update_and_changes_the_session(from_caller: bool) -> None:
    world, call, other = up()
    asking, asked, back, there = sides(world, call, other, from_caller)
    asking.update(asking.phone.sdp(direction="sendonly"))
    world.run(1.0)
    asking.hang_up()
    world.finish()
    (update,) = sent(world, there, "UPDATE")
    assert b"a=sendonly" in update.body
    assert update.get("contact") is not None
    assert asking.heard[-2:] == ["UPDATE 200", "BYE 200"]
    answer = next(message for message in sent(world, back, "200") if message.cseq_method == "UPDATE")
    assert f"c=IN IP4 {asked.phone.media}".encode() in answer.body


@BOTH_WAYS
def test_a_peer_without_update_gets_a_reinvite(from_caller: bool) -> None:
    world, call, other = up(updates=False)
    asking, asked, _back, there = sides(world, call, other, from_caller)
    asking.update(asking.phone.sdp(direction="sendonly"))
    world.run(1.0)
    asking.hang_up()
    world.finish()
    assert sent(world, there, "UPDATE") == []
    assert asking.heard[-2:] == ["UPDATE 200", "BYE 200"]
    assert "ACK" in asked.heard


@BOTH_WAYS
@pytest.mark.parametrize("takes", [False, True], ids=["taken back", "agreed to meanwhile"])
def test_a_peer_without_update_that_asks_its_user(from_caller: bool, takes: bool) -> None:
    """RFC 3311 §5.2: an UPDATE cannot wait for that, so the re-INVITE is taken back; a 200 that crosses counts."""
    world, call, other = up(updates=False)
    asking, asked, _back, there = sides(world, call, other, from_caller)

    def ring(call: PhoneCall, request: Request) -> None:
        call.ring(180)
        if takes:
            call.accept()

    asked.on_reinvite = ring
    asking.update(asking.phone.sdp(direction="sendonly"))
    world.run(3.0)
    assert asking.heard[-1] == ("UPDATE 200" if takes else "UPDATE 504")
    assert len(sent(world, there, "CANCEL")) == 1
    asking.hang_up()
    (story,) = world.finish()
    assert story.ended.reason == ""


@BOTH_WAYS
def test_a_reinvite_of_a_reinvite_may_ring(from_caller: bool) -> None:
    world, call, other = up(updates=False)
    asking, asked, _back, there = sides(world, call, other, from_caller)

    def ring(call: PhoneCall, request: Request) -> None:
        call.ring(180)
        world.network.later(20.0, call.accept)

    asked.on_reinvite = ring
    asking.hold()
    world.run(25.0)
    assert sent(world, there, "CANCEL") == []
    assert asking.heard[-1] == "200"
    asking.hang_up()
    world.finish()


@BOTH_WAYS
def test_a_reinvite_stays_one(from_caller: bool) -> None:
    """It may ring at the other side, which an UPDATE cannot."""
    world, call, other = up()
    asking, _, _back, there = sides(world, call, other, from_caller)
    asking.hold()
    world.run(1.0)
    asking.hang_up()
    world.finish()
    assert sent(world, there, "UPDATE") == []


@BOTH_WAYS
def test_without_a_session_it_is_answered_here_and_brings_a_new_contact(from_caller: bool) -> None:
    world, call, other = up()
    asking, asked, _back, there = sides(world, call, other, from_caller)
    asking.phone.contact = asking.phone.contact.replace("@", ";moved@", 1)
    asking.update(b"")
    world.run(1.0)
    asked.info()
    world.run(1.0)
    assert asking.requests[-1].uri == asking.phone.contact
    asking.hang_up()
    world.finish()
    assert sent(world, there, "UPDATE") == []
    assert "UPDATE 200" in asking.heard


@BOTH_WAYS
@pytest.mark.parametrize(
    ("said", "told"), [(488, 488), (491, 491), (500, 500), (504, 504), (404, 500), (603, 603), (302, 500)]
)
def test_refused_by_the_other_side(from_caller: bool, said: int, told: int) -> None:
    world, call, other = up()
    asking, asked, *_ = sides(world, call, other, from_caller)
    asked.on_update = refuse(said)
    asking.update()
    world.run(1.0)
    assert asking.heard[-1] == f"UPDATE {told}"
    asking.hang_up()
    (story,) = world.finish()
    assert story.ended.reason == ""


@BOTH_WAYS
def test_agreed_to_without_an_answer(from_caller: bool) -> None:
    world, call, other = up()
    asking, asked, *_ = sides(world, call, other, from_caller)
    asked.on_update = refuse(200)
    asking.update()
    world.run(1.0)
    assert asking.heard[-1] == "UPDATE 488"
    asking.hang_up()
    world.finish(agree=False)


@BOTH_WAYS
@pytest.mark.parametrize("said", [408, 481])
def test_the_other_side_does_not_know_the_call_any_more(from_caller: bool, said: int) -> None:
    world, call, other = up()
    asking, asked, *_ = sides(world, call, other, from_caller)
    asked.on_update = refuse(said)
    asking.update()
    (story,) = world.finish()
    assert story.ended.reason == "peer_lost"
    assert (asking.heard[-2:], asked.heard[-1]) == (["UPDATE 500", "BYE"], "BYE")


@BOTH_WAYS
def test_the_other_side_is_silent(from_caller: bool) -> None:
    way = "b>" if from_caller else "a>"
    world, call, other = up(Conditions(drop=lambda d: d.way == way and 2.0 < d.at < 34.5))
    asking, _asked, *_ = sides(world, call, other, from_caller)
    asking.update()
    (story,) = world.finish(agree=False)
    # the one who asked has lost patience as well, a moment earlier than the switch
    assert "UPDATE timeout" in asking.heard
    assert story.ended.ended_by == ("caller" if from_caller else "callee")


@BOTH_WAYS
def test_glare_of_two_updates(from_caller: bool) -> None:
    """RFC 3311 §5.2: 491 while an offer of ours is on its way."""
    world, call, other = up(Conditions(latency=0.1))
    asking, asked, *_ = sides(world, call, other, from_caller)
    asking.update()
    world.network.later(0.15, asked.update)
    world.run(2.0)
    assert "UPDATE 491" in asked.heard
    asking.hang_up()
    world.finish()


@BOTH_WAYS
def test_a_second_one_before_the_answer_to_the_first(from_caller: bool) -> None:
    """RFC 3311 §5.2: 500 and Retry-After from 0 to 10 seconds."""
    world, call, other = up(Conditions(latency=0.1))
    asking, _asked, back, _there = sides(world, call, other, from_caller)
    asking.update()
    asking.update()
    world.run(2.0)
    assert sorted(word for word in asking.heard if word.startswith("UPDATE")) == ["UPDATE 200", "UPDATE 500"]
    refusal = sent(world, back, "500")[0]
    assert 0 <= int(refusal.first["retry-after"]) <= 10
    asking.hang_up()
    world.finish()


@BOTH_WAYS
@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [(b"rubbish", "application/sdp", 400), (b"text", "text/plain", 415)],
)
def test_what_cannot_be_passed_on(from_caller: bool, body: bytes, content_type: str, status: int) -> None:
    world, call, other = up()
    asking, *_ = sides(world, call, other, from_caller)
    asking.request("UPDATE", f"Contact: <{asking.phone.contact}>", body=body, content_type=content_type)
    asking.phone.flush()
    world.run(1.0)
    assert asking.heard[-1] == f"UPDATE {status}"
    asking.hang_up()
    world.finish()


@BOTH_WAYS
def test_hung_up_meanwhile(from_caller: bool) -> None:
    world, call, other = up(Conditions(latency=0.1))
    asking, asked, *_ = sides(world, call, other, from_caller)
    asking.update()
    world.network.later(0.05, asked.hang_up)
    world.finish(agree=False)
    assert [word for word in asking.heard if word.startswith("UPDATE")] in (["UPDATE 481"], ["UPDATE 500"])


def test_an_update_while_the_2xx_with_our_offer_waits_for_its_answer() -> None:
    caller = Caller(body="")
    caller.far.say(200, body=EARLY)
    answer = caller.phone.last("200")
    caller.phone.inbox.append(caller.phone.inbox[-1].replace(b"SIP/2.0 200", b"SIP/2.0 180", 1))
    assert _status(caller.ask("UPDATE", 2, body=OTHER)) == 491
    assert answer.body
    caller.world.finish(agree=False, answers=False)


# in an early dialog


@pytest.mark.parametrize("from_caller", [True, False], ids=["from_caller", "from_callee"])
def test_in_the_early_dialog(from_caller: bool) -> None:
    world = World()
    call = rings_reliably(world, answer=10.0)
    world.run(3.0)
    asking = call if from_caller else world.callee.call
    asking.update(asking.phone.sdp(direction="sendonly"))
    world.run(1.0)
    assert asking.heard[-1] == "UPDATE 200"
    call.on("200", call.hang_up)
    world.finish()
    assert b"a=sendonly" in sent(world, ">b" if from_caller else ">a", "UPDATE")[0].body


@pytest.mark.parametrize(
    ("caller", "callee_updates", "media", "status"),
    [
        (SUPPORTED, False, True, 504),  # the callee's Allow does not hold it
        (SUPPORTED, True, False, 500),  # the caller's offer is still unanswered
        ("", True, True, 500),  # likewise: what it heard was not reliable
    ],
)
def test_a_caller_whose_update_has_to_wait(caller: str, callee_updates: bool, media: bool, status: int) -> None:
    world = World()
    call = rings_reliably(world, media=media, caller=caller, answer=10.0)
    world.callee.updates = callee_updates
    world.run(3.0)
    call.update()
    world.run(1.0)
    assert call.heard[-1] == f"UPDATE {status}"
    call.on("200", call.hang_up)
    world.finish()


@pytest.mark.parametrize(
    ("caller", "caller_updates", "media", "status"),
    [
        (SUPPORTED, False, True, 504),
        (SUPPORTED, True, False, 491),  # our offer is still unanswered
        ("", True, True, 504),  # the caller has no answer for good yet
    ],
)
def test_a_callee_whose_update_has_to_wait(caller: str, caller_updates: bool, media: bool, status: int) -> None:
    world = World()
    world.caller.updates = caller_updates

    def take(call: PhoneCall) -> None:
        call.phone.network.later(0.1, lambda: call.ring(183, call.phone.sdp() if media else b"", reliable=True))
        call.phone.network.later(10.0, call.accept)

    world.callee.on_call = take
    world.caller.reliable = caller
    call = world.caller.dial(X)
    world.run(3.0)
    world.callee.call.update()
    world.run(1.0)
    assert world.callee.call.heard[-1] == f"UPDATE {status}"
    call.on("200", call.hang_up)
    world.finish()


def test_before_the_callee_has_been_answered_in_the_prack() -> None:
    """Its offer is unanswered: 500; and our offer to the caller: 491."""
    caller = Caller(SUPPORTED, body="")
    caller.far.say(183, rseq=1, body=EARLY)
    assert caller.far.ask("UPDATE", body=OTHER) == "500"
    assert _status(caller.ask("UPDATE", 2, body=OTHER)) == 491
    caller.refuse()


def test_without_a_session_in_the_early_dialog() -> None:
    world, far, call = ringing()
    far.say(180)
    assert far.ask("UPDATE", cseq=1) == "200"
    call.update(b"")
    world.run(0.5)
    assert call.heard[-1] == "UPDATE 200"
    far.say(486)
    world.finish()


def test_the_call_is_refused_while_an_update_waits() -> None:
    world, far, call = ringing(SUPPORTED)
    lines = ("Require: 100rel", "RSeq: 5", "Allow: INVITE, UPDATE")
    invite = far.script.last("INVITE")
    far.script.react = None
    far.script.send(answer_text(invite, 183, ADDRESS_B, tag="one", lines=lines, body=EARLY))
    world.run(0.5)
    call.update()
    world.run(0.5)
    far.say(486)
    world.run(0.5)
    assert call.heard[-2:] == ["UPDATE 481", "486"] or call.heard[-2:] == ["486", "UPDATE 481"]
    world.finish(answers=False, agree=False)


def test_the_caller_gives_up_while_the_callees_update_waits() -> None:
    caller = Caller(SUPPORTED, "Allow: INVITE, UPDATE")
    caller.far.say(183, rseq=1, body=EARLY)
    assert caller.prack(2) == 200
    assert caller.far.ask("UPDATE", body=OTHER) == ""
    assert caller.phone.words[-1] == "UPDATE"
    caller.far.say(486)
    assert "481" in caller.far.script.words
    caller.world.finish(agree=False, answers=False)


@pytest.mark.parametrize("method", ["PRACK", "INVITE", "INFO"])
def test_other_requests_in_the_early_dialog(method: str) -> None:
    caller = Caller(REQUIRED)
    caller.far.say(180)
    status = {"PRACK": 481, "INVITE": 491, "INFO": 500}[method]
    assert _status(caller.ask(method, 2)) == status
    assert caller.far.ask(method, cseq=1) == str(status)
    assert caller.prack(3) == 200
    caller.refuse()


def test_what_a_peer_allows_may_change() -> None:
    world, call, other = up()
    world.callee.updates = False
    other.update(b"")  # without Allow: nothing is said about it
    world.run(0.5)
    call.update()
    world.run(0.5)
    assert len(sent(world, ">b", "UPDATE")) == 1
    call.hang_up()
    world.finish()


def test_answer_after_is_still_the_plain_call() -> None:
    world = World()
    world.callee.on_call = answer_after(1.0)
    call = world.caller.dial(X)
    call.on("200", call.hang_up)
    world.finish()
    assert [d.word for d in world.network.log if d.word in ("UPDATE", "PRACK")] == []
