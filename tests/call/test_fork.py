"""A callee's network that rings several phones: many To tags, perhaps more than one answer."""

from itertools import pairwise
from typing import Any

import pytest

from b2bua.sip.message import Request
from b2bua.sip.parser import parse
from b2bua.sip.transaction import ServerTransaction
from tests.call.phone import PhoneCall, description
from tests.call.test_reliable import Caller, ringing, sent
from tests.call.world import ADDRESS_B, TRUNKS, World, X
from tests.wire import Conditions, Script, answer_text, lose

SDP_1 = description("198.51.100.21").decode()
SDP_2 = description("198.51.100.22").decode()


class Forks:
    """The proxy of B's network with its phones behind it, all in one script."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.script: Script = world.script(ADDRESS_B)
        self.byes: list[str] = []
        self.acks: list[str] = []
        self.script.react = self._react

    def say(self, status: int, tag: str, **given: Any) -> None:
        """An answer of the phone with this tag."""
        contact = f"<sip:{tag}@192.0.2.20:5060>"
        given.setdefault("contact", contact)
        self.script.send(answer_text(self.script.last("INVITE"), status, ADDRESS_B, tag=tag, **given))

    def _react(self, data: bytes) -> None:
        message = parse(data)
        if isinstance(message, Request) and message.method == "ACK":
            self.acks.append(f"{message.to_tag} {message.uri}")
        elif isinstance(message, Request) and message.method == "BYE":
            self.byes.append(f"{message.to_tag} {message.uri}")
            self.script.send(answer_text(message, 200, ADDRESS_B))


def test_ringing_of_several_phones_is_one_ringing_to_the_caller() -> None:
    """Profile §4 item 2: the caller's dialog has one tag whatever happens behind."""
    world = World()
    forks = Forks(world)
    call = world.caller.dial(X)
    world.run(0.1)
    forks.say(180, "one")
    forks.say(183, "two", body=SDP_2)
    forks.say(181, "three")
    world.run(0.1)
    forks.say(200, "two", body=SDP_2)
    world.run(0.5)
    call.hang_up()
    world.finish()
    assert call.heard == ["100", "180", "183", "180", "200", "BYE 200"]
    tags = {response.to_tag for response in call.responses if response.status > 100}
    assert len(tags) == 1
    assert forks.byes == ["two sip:two@192.0.2.20:5060"]


def test_a_second_answer_is_acknowledged_and_ended() -> None:
    """§13.2.2.4."""
    world = World()
    forks = Forks(world)
    call = world.caller.dial(X)
    world.run(0.1)
    forks.say(200, "one", body=SDP_1)
    forks.say(200, "two", body=SDP_2)
    world.run(0.5)
    assert forks.acks == ["one sip:one@192.0.2.20:5060", "two sip:two@192.0.2.20:5060"]
    assert forks.byes == ["two sip:two@192.0.2.20:5060"]
    forks.say(200, "two", body=SDP_2)  # its ACK was lost
    forks.say(200, "one", body=SDP_1)
    world.run(0.5)
    assert forks.acks[2:] == ["two sip:two@192.0.2.20:5060", "one sip:one@192.0.2.20:5060"]
    assert len(forks.byes) == 1
    assert world.real.live_calls()[0].state == "up"
    call.hang_up()
    (story,) = world.finish()
    assert forks.byes[1:] == ["one sip:one@192.0.2.20:5060"]
    assert story.ended.outcome == "answered"


def test_a_third_answer_too() -> None:
    world = World()
    forks = Forks(world)
    call = world.caller.dial(X)
    world.run(0.1)
    for tag in ("one", "two", "three"):
        forks.say(200, tag, body=SDP_1)
    world.run(0.5)
    assert [bye.split()[0] for bye in forks.byes] == ["two", "three"]
    call.hang_up()
    world.finish()


@pytest.mark.parametrize(
    "given",
    [
        {"contact": ""},
        {"contact": "<sip:unclosed"},
        {"lines": ("Record-Route: <sip:unclosed",)},
        {"lines": ("Record-Route: ,",)},
    ],
)
def test_a_second_answer_that_cannot_be_read(given: dict[str, Any]) -> None:
    world = World()
    forks = Forks(world)
    call = world.caller.dial(X)
    world.run(0.1)
    forks.say(200, "one", body=SDP_1)
    forks.say(200, "two", **given)
    world.run(0.5)
    assert [bye.split()[0] for bye in forks.byes] == ["two"]
    call.hang_up()
    world.finish()


@pytest.mark.parametrize(
    ("given", "ended"),
    [
        ({"lines": ("Record-Route: <sip:unclosed",)}, True),
        ({"contact": "", "lines": ("Record-Route: <sip:unclosed",)}, True),
        ({"lines": ("Record-Route: ,",)}, False),  # no route at all
    ],
)
def test_a_first_answer_whose_route_cannot_be_read(given: dict[str, Any], ended: bool) -> None:
    world = World(trunks=TRUNKS[:2])
    forks = Forks(world)
    call = world.caller.dial(X)
    world.run(0.1)
    forks.say(200, "one", body=SDP_1, **given)
    world.run(0.5)
    assert [bye.split()[0] for bye in forks.byes] == (["one"] if ended else [])
    call.hang_up()
    (story,) = world.finish()
    assert story.ended.status == (502 if ended else 200)


def test_an_answer_after_the_cancel_ends_in_bye_and_so_does_a_second() -> None:
    world = World()
    forks = Forks(world)
    call = world.caller.dial(X)
    world.run(0.1)
    forks.say(180, "one")
    world.run(0.5)
    call.cancel()
    world.run(0.5)
    forks.say(200, "one", body=SDP_1)
    forks.say(200, "two", body=SDP_2)
    (story,) = world.finish()
    assert [bye.split()[0] for bye in forks.byes] == ["one", "two"]
    assert story.ended.outcome == "cancelled"


def test_a_late_answer_that_cannot_be_used_ends_in_bye() -> None:
    world = World()
    forks = Forks(world)
    call = world.caller.dial(X)
    world.run(0.1)
    forks.say(180, "one")
    call.cancel()
    world.run(0.5)
    forks.say(200, "one", body="v=0\r\nnonsense")
    (story,) = world.finish()
    assert [bye.split()[0] for bye in forks.byes] == ["one"]
    assert story.ended.outcome == "cancelled"


def test_the_bye_of_a_second_answer_is_sent_again_until_answered() -> None:
    world = World(Conditions(drop=lose(2, ">b", "BYE")))
    forks = Forks(world)
    call = world.caller.dial(X)
    world.run(0.1)
    forks.say(200, "one", body=SDP_1)
    forks.say(200, "two", body=SDP_2)
    world.run(5.0)
    assert len(forks.byes) == 1
    call.hang_up()
    world.finish()


def test_a_second_answer_that_nobody_ends_is_forgotten_in_time() -> None:
    world = World()
    forks = Forks(world)
    forks.script.react = None
    call = world.caller.dial(X)
    world.run(0.1)
    forks.say(200, "one", body=SDP_1)
    forks.say(200, "two", body=SDP_2)
    world.run(1.0)
    call.hang_up()
    world.finish()


def test_a_request_of_the_phone_that_lost_is_not_of_this_call() -> None:
    world = World()
    forks = Forks(world)
    call = world.caller.dial(X)
    world.run(0.1)
    forks.say(200, "one", body=SDP_1)
    forks.say(200, "two", body=SDP_2)
    world.run(0.5)
    invite = forks.script.last("INVITE")
    forks.script.send(
        f"BYE sip:{X}@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.20:5060;branch=z9hG4bKloser\r\nMax-Forwards: 70\r\n"
        f"From: {invite.to_value};tag=two\r\nTo: {invite.from_value}\r\nCall-ID: {invite.call_id}\r\nCSeq: 1 BYE\r\n"
        "Content-Length: 0\r\n\r\n"
    )
    world.run(0.5)
    assert forks.script.words[-1] == "481"
    assert world.real.live_calls()[0].state == "up"
    call.hang_up()
    world.finish()


def test_a_delayed_offer_of_two_phones() -> None:
    """The ACK of the first waits for the caller's answer; the second has its own at once."""
    world = World(Conditions(latency=0.1))
    forks = Forks(world)
    call = world.caller.dial(X, sdp=b"")
    world.run(0.5)
    forks.say(200, "one", body=SDP_1)
    forks.say(200, "two", body=SDP_2)
    forks.say(200, "one", body=SDP_1)
    world.run(0.15)
    assert [ack.split()[0] for ack in forks.acks] == []
    world.run(1.0)
    assert sorted(ack.split()[0] for ack in forks.acks) == ["one", "two"]
    assert f"c=IN IP4 {world.caller.media}".encode() in next(
        data for data in forks.script.inbox if data.startswith(b"ACK") and b"tag=one" in data
    )
    call.hang_up()
    world.finish()


# forks whose answers are reliable, and what the caller sees of them


def test_each_early_dialog_has_its_own_numbers_and_route() -> None:
    """Profile §4 item 2: PRACK goes to the phone that rang, over its own proxies, in its own sequence."""
    world, far, call = ringing()
    far.say(180, "one", rseq=100)
    far.say(180, "two", rseq=7)
    far.say(183, "one", rseq=101, body=SDP_1)
    assert [(tag, rack) for tag, rack, _ in far.praked] == [
        ("one", "100 1 INVITE"),
        ("two", "7 1 INVITE"),
        ("one", "101 1 INVITE"),
    ]
    pracks = [message for message in (parse(data) for data in far.script.inbox) if message.cseq_method == "PRACK"]
    assert [(message.to_tag, message.cseq) for message in pracks] == [("one", 2), ("two", 2), ("one", 3)]
    assert isinstance(pracks[1], Request)
    assert pracks[1].uri == "sip:two@192.0.2.20:5060"
    far.say(200, "two", body=SDP_2)
    call.hang_up()
    world.finish()
    byes = [message for message in (parse(data) for data in far.script.inbox) if message.cseq_method == "BYE"]
    assert [(message.to_tag, message.cseq) for message in byes] == [("two", 3)]
    assert b"198.51.100.22" in next(d.message for d in world.network.toward("a") if d.word == "200").body


def test_a_second_answer_of_a_fork_that_was_reliable() -> None:
    world, far, call = ringing()
    far.say(183, "one", rseq=1, body=SDP_1)
    far.say(183, "two", rseq=1, body=SDP_2)
    far.say(200, "one")
    far.say(200, "two", lines=("Record-Route: <sip:192.0.2.20:5090;lr>",))
    assert far.others == []
    world.run(0.5)
    bye = next(d for d in world.network.log if d.word == "BYE")
    assert bye.target == ("192.0.2.20", 5090)  # the route set of that fork, not of the one that won
    assert (bye.message.to_tag, bye.message.cseq) == ("two", 3)
    call.hang_up()
    world.finish(agree=False)


@pytest.mark.parametrize("rseq", [0, 5])
def test_a_fork_that_drops_out(rseq: int) -> None:
    """RFC 6228: 199 is no ringing."""
    world, far, call = ringing()
    far.say(180, "one")
    far.say(199, "one", rseq=rseq)
    far.say(200, "two", body=SDP_2)
    call.hang_up()
    world.finish()
    assert len(far.praked) == bool(rseq)
    assert call.heard == ["100", "180", "200", "BYE 200"]


def test_early_media_of_a_later_fork_when_the_caller_has_no_100rel() -> None:
    world, far, call = ringing()
    far.say(183, "one", rseq=1, body=SDP_1)
    far.say(183, "two", rseq=1, body=SDP_2)
    far.say(200, "two")
    call.hang_up()
    world.finish()
    bodies = [response.body for response in call.responses if response.status in (183, 200) and response.body]
    assert [b"198.51.100.21" in body for body in bodies] == [True, False, False]
    assert [body.split(b"\r\n")[1].split()[2] for body in bodies] == [b"1", b"2", b"2"]


@pytest.mark.parametrize("updates", [True, False], ids=["update", "no_update"])
@pytest.mark.parametrize("early", [True, False], ids=["early", "answer_only"])
def test_another_phone_answers_than_the_caller_was_told_for_good(updates: bool, early: bool) -> None:
    """The caller's one dialog has its answer: the other phone's session is a new offer to it, by UPDATE at once where
    it takes that, else by re-INVITE after the ACK."""
    world, far, call = ringing("Supported: 100rel", updates=updates)
    far.say(183, "one", rseq=1, body=SDP_1)
    if early:
        far.say(183, "two", rseq=1, body=SDP_2)
        world.run(0.2)
        assert ("UPDATE" in call.heard) == updates
    far.say(200, "two", body="" if early else SDP_2)
    world.run(1.0)
    assert len({response.to_tag for response in call.responses if response.status > 100}) == 1
    assert [word for word in call.heard if word in ("UPDATE", "INVITE")] == (["UPDATE"] if updates else ["INVITE"])
    offer = [d.message for d in world.network.toward("a") if d.word in ("UPDATE", "INVITE")][-1]
    assert b"198.51.100.22" in offer.body
    call.hang_up()
    (story,) = world.finish()
    assert story.ended.outcome == "answered"
    assert far.others == ["BYE two"]  # the caller said nothing new, so the callee hears of nothing


def test_what_the_caller_says_to_the_other_phone_reaches_it() -> None:
    world, far, call = ringing("Supported: 100rel")
    far.say(183, "one", rseq=1, body=SDP_1)
    world.caller.media = "198.51.100.77"
    far.say(200, "two", body=SDP_2, lines=("Allow: UPDATE",))
    world.run(1.0)
    assert far.others == ["UPDATE two"]
    assert b"198.51.100.77" in far.script.last("UPDATE").body
    call.hang_up()
    world.finish()


def test_an_early_offer_of_our_own_meets_one_of_the_caller() -> None:
    """491: the next occasion is the answer of the call."""
    world, far, call = ringing("Supported: 100rel")

    def glare(call: PhoneCall, transaction: ServerTransaction, request: Request) -> None:
        call.phone.endpoint.respond(transaction, 491, call.phone.network.now)

    call.on_update = glare
    far.say(183, "one", rseq=1, body=SDP_1)
    far.say(183, "two", rseq=1, body=SDP_2)
    world.run(0.5)
    call.on_update = PhoneCall.agree
    far.say(200, "two")
    world.run(1.0)
    assert call.heard.count("UPDATE") == 2
    call.hang_up()
    world.finish()


def test_our_own_offer_is_tried_again_after_a_glare() -> None:
    """RFC 3261 §14.1: 0 to 2 seconds for who does not own the Call-ID."""
    world, far, call = ringing("Supported: 100rel", updates=False)
    refused: list[float] = []

    def glare(call: PhoneCall, request: Request) -> None:
        refused.append(world.network.now)
        if len(refused) < 4:
            call.refuse(491)
        else:
            call.accept()

    call.on_reinvite = glare
    far.say(183, "one", rseq=1, body=SDP_1)
    far.say(200, "two", body=SDP_2)
    world.run(10.0)
    assert len(refused) == 4
    assert all(0 <= later - earlier <= 2.1 for earlier, later in pairwise(refused))
    call.hang_up()
    world.finish()


def test_our_own_offer_to_the_callee_is_tried_again_after_a_glare() -> None:
    """RFC 3261 §14.1: 2.1 to 4 seconds for who owns the Call-ID."""
    world, far, call = ringing("Supported: 100rel")
    far.say(183, "one", rseq=1, body=SDP_1)
    world.caller.media = "198.51.100.77"
    asked: list[float] = []

    def react(data: bytes) -> None:
        message = parse(data)
        if isinstance(message, Request) and message.method in ("INVITE", "BYE") and message.to_tag:
            if message.method == "INVITE":
                asked.append(world.network.now)
            status = 491 if message.method == "INVITE" and len(asked) < 3 else 200
            body = SDP_2 if message.method == "INVITE" and status == 200 else ""
            far.script.send(answer_text(message, status, ADDRESS_B, body=body))

    far.script.react = react
    far.say(200, "two", body=SDP_2)
    world.run(10.0)
    assert len(asked) == 3
    assert all(2.1 <= later - earlier <= 4.1 for earlier, later in pairwise(asked))
    call.hang_up()
    world.finish()


def test_a_delayed_offer_answered_for_one_phone_and_taken_by_another() -> None:
    """The winner's own offer waits in its ACK for what the caller says to it."""
    world, far, call = ringing("Supported: 100rel", sdp=b"")
    far.say(183, "one", rseq=1, body=SDP_1)
    world.run(0.5)
    far.say(200, "two", body=SDP_2)
    world.run(1.0)
    ack = far.script.last("ACK")
    assert ack.to_tag == "two"
    assert b"198.51.100.10" in ack.body
    call.hang_up()
    world.finish()
    assert "UPDATE" in call.heard


def test_a_second_phone_with_an_offer_gets_the_same_answer() -> None:
    world, far, call = ringing("Supported: 100rel", sdp=b"")
    far.say(183, "one", rseq=1, body=SDP_1)
    world.run(0.5)
    far.say(183, "two", rseq=1, body=SDP_2)
    assert [tag for tag, _, body in far.praked if b"198.51.100.10" in body] == ["one", "two"]
    far.say(486)
    world.finish()
    assert call.statuses[-1] == 486


def test_a_caller_that_will_not_have_the_other_phone() -> None:
    """The call goes on as far as it can: what was agreed on stays."""
    world, far, call = ringing("Supported: 100rel", updates=False)
    call.on_reinvite = lambda call, request: call.refuse(488)
    far.say(183, "one", rseq=1, body=SDP_1)
    far.say(200, "two", body=SDP_2)
    world.run(5.0)
    assert call.heard.count("INVITE") == 1
    call.hang_up()
    (story,) = world.finish()
    assert story.ended.outcome == "answered"


def test_a_caller_that_will_not_answer_the_offer_of_the_other_phone() -> None:
    """Its ACK waits for that answer: it goes without, and the call is over."""
    world, far, call = ringing("Supported: 100rel", updates=False, sdp=b"")
    call.on_reinvite = lambda call, request: call.refuse(488)
    far.say(183, "one", rseq=1, body=SDP_1)
    world.run(0.5)
    far.say(200, "two", body=SDP_2)
    (story,) = world.finish()
    assert far.script.last("ACK").body == b""
    assert far.others == ["BYE two"]
    assert (story.ended.reason, story.ended.outcome) == ("no_session", "answered")


def test_a_caller_that_says_nothing_to_the_other_phone() -> None:
    world, far, call = ringing("Supported: 100rel", updates=False)
    call.on_reinvite = lambda call, request: None
    far.say(183, "one", rseq=1, body=SDP_1)
    far.say(200, "two", body=SDP_2)
    (story,) = world.finish(agree=False, answers=False)
    assert story.ended.reason == "peer_lost"


def test_a_caller_that_hangs_up_before_it_hears_of_the_other_phone() -> None:
    world, far, call = ringing("Supported: 100rel", updates=False)
    call.on_reinvite = lambda call, request: call.refuse(491)
    far.say(183, "one", rseq=1, body=SDP_1)
    far.say(200, "two", body=SDP_2)
    call.hang_up()
    (story,) = world.finish()
    assert story.ended.outcome == "answered"


def test_a_late_prack_of_one_phone_after_another_has_answered() -> None:
    """The offers of two phones: the caller's answer comes when one of them has already been taken."""
    caller = Caller("Supported: 100rel", body="")
    caller.far.say(183, "one", rseq=1, body=SDP_1)
    caller.far.say(200, "one")
    assert caller.far.praked == []
    assert caller.prack(2, body=description("198.51.100.10").decode()) == 200
    assert [tag for tag, _, _ in caller.far.praked] == ["one"]
    answer = caller.phone.last("200")
    assert answer.cseq_method in ("PRACK", "INVITE")
    caller.world.finish(agree=False, answers=False)


@pytest.mark.parametrize("answer", [200, 481, 0], ids=["agreed", "gone", "silent"])
def test_an_update_to_a_phone_that_loses_is_not_the_winners(answer: int) -> None:
    world, far, call = ringing("Supported: 100rel")
    asked: list[Request] = []
    usual = far.script.react
    assert usual is not None

    def react(data: bytes) -> None:
        message = parse(data)
        if isinstance(message, Request) and message.method == "UPDATE" and message.to_tag == "one":
            asked.append(message)
        else:
            usual(data)

    far.script.react = react
    far.say(183, "one", rseq=1, body=SDP_1, lines=("Allow: UPDATE",))
    world.run(0.2)
    world.caller.media = "198.51.100.77"
    call.update()
    world.run(0.2)
    far.say(200, "two", body=SDP_2)
    assert "UPDATE 504" in call.heard
    world.run(1.0)
    told = [message for message in sent(world, ">b", "UPDATE") if message.to_tag == "two"]
    assert [b"198.51.100.77" in message.body for message in told] == [True]  # it had not heard what the other was told
    if answer:
        body = SDP_1 if answer == 200 else ""
        contact = "<sip:one@192.0.2.20:5060>"
        far.script.send(answer_text(asked[0], answer, ADDRESS_B, contact=contact, body=body))
    world.run(40.0)
    call.hang_up()
    (story,) = world.finish()
    bye = far.script.last("BYE")
    assert bye.to_tag == "two"
    assert "one" not in bye.uri
    assert (story.ended.ended_by, story.ended.reason) == ("caller", "")
    assert call.heard.count("UPDATE 504") == 1


def test_an_update_to_the_phone_that_wins_has_its_answer() -> None:
    world, far, call = ringing("Supported: 100rel")
    far.say(183, "one", rseq=1, body=SDP_1, lines=("Allow: UPDATE",))
    world.run(0.2)
    world.network.conditions.latency = 0.1
    call.update(world.caller.sdp(direction="sendonly"))
    far.say(200, "one")
    world.run(1.0)
    assert "UPDATE 200" in call.heard
    call.hang_up()
    world.finish()


def test_the_answer_of_one_phone_to_an_update_while_another_one_is_heard() -> None:
    """It moves the dialog that it came in and no other."""
    world, far, call = ringing("Supported: 100rel")
    far.say(183, "one", rseq=1, body=SDP_1, lines=("Allow: UPDATE",))
    world.run(0.2)
    asked: list[Request] = []
    usual = far.script.react
    assert usual is not None

    def react(data: bytes) -> None:
        message = parse(data)
        if isinstance(message, Request) and message.method == "UPDATE" and not asked:
            asked.append(message)
        else:
            usual(data)

    far.script.react = react
    call.update(world.caller.sdp(direction="sendonly"))
    world.run(0.2)
    far.say(183, "two", rseq=1, body=SDP_2)
    far.script.send(answer_text(asked[0], 200, ADDRESS_B, contact="<sip:one@192.0.2.20:5060>", body=SDP_1))
    world.run(0.2)
    far.say(180, "two", rseq=2)
    assert far.script.last("PRACK").uri == "sip:two@192.0.2.20:5060"
    far.say(486)
    world.finish()
    assert "UPDATE 200" in call.heard


SDP_3 = description("198.51.100.23").decode()


@pytest.mark.parametrize("refuses", [False, True])
@pytest.mark.parametrize(
    ("said", "media"),
    [
        (((183, "three", 1, SDP_3), (200, "three", 0, "")), b"198.51.100.23"),
        (((200, "three", 0, SDP_3),), b"198.51.100.23"),
        (((200, "one", 0, ""),), b"198.51.100.21"),
        (((183, "three", 1, SDP_1), (200, "three", 0, "")), b"198.51.100.21"),
    ],
    ids=["three rings and answers", "three answers", "one answers after all", "three speaks as one did"],
)
def test_another_phone_takes_over_while_the_caller_is_offered_the_one_before(
    refuses: bool, said: tuple[tuple[int, str, int, str], ...], media: bytes
) -> None:
    """What the caller says to the older offer settles nothing about the newer one."""
    world, far, call = ringing("Supported: 100rel", conditions=Conditions(latency=0.05))
    offers: list[Request] = []

    def answer(call: PhoneCall, transaction: ServerTransaction, request: Request) -> None:
        offers.append(request)
        if refuses and len(offers) == 1:
            call.phone.endpoint.respond(transaction, 488, call.phone.network.now)
        else:
            call.agree(transaction, request)

    call.on_update = answer
    far.say(183, "one", rseq=1, body=SDP_1)
    world.run(0.5)
    far.say(183, "two", rseq=1, body=SDP_2)
    for status, tag, rseq, body in said:
        far.say(status, tag, rseq=rseq, body=body)
    world.run(5.0)
    assert b"198.51.100.22" in offers[0].body
    assert [media in offer.body for offer in offers] == [False, True]
    call.hang_up()
    world.finish()


@pytest.mark.parametrize("method", ["INFO", "UPDATE"])
def test_the_numbers_of_one_phone_are_not_those_of_another(method: str) -> None:
    world, far, call = ringing()
    far.say(180, "one")
    far.say(180, "two")
    far.ask(method, "one", cseq=500)
    far.say(200, "two", body=SDP_2)
    world.run(0.5)
    assert far.ask("BYE", "two", cseq=1) == "200"
    world.finish()
    assert call.heard[-1] == "BYE"
