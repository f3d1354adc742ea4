"""Another session while the call is up: re-INVITE from both sides, and all that may go wrong with it."""

from collections.abc import Callable
from typing import Any

import pytest

from b2bua.sip.headers import parse_name_addr
from b2bua.sip.message import Message, Request
from b2bua.sip.parser import parse
from tests.call.phone import PhoneCall, description
from tests.call.world import ADDRESS_A, ADDRESS_B, World, X
from tests.wire import SWITCH, Conditions, Datagram, answer_text, request_text


def up(conditions: Conditions | None = None, **settings: Any) -> tuple[World, PhoneCall, PhoneCall]:
    """A call that is up, with nothing on its way."""
    world = World(conditions, settings=settings)
    world.callee.on_call = lambda call: call.accept()
    call = world.caller.dial(X)
    world.run(2.0)
    return world, call, world.callee.call


def sides(world: World, call: PhoneCall, other: PhoneCall, from_caller: bool) -> tuple[PhoneCall, PhoneCall, str, str]:
    """(who asks, who is asked, way to the first, way to the second)."""
    return (call, other, ">a", ">b") if from_caller else (other, call, ">b", ">a")


BOTH_WAYS = pytest.mark.parametrize("from_caller", [True, False], ids=["from_caller", "from_callee"])


def sent(world: World, way: str, word: str, since: float = 2.0) -> list[Message]:
    return [d.message for d in world.network.log if (d.way, d.word) == (way, word) and d.at >= since]


@BOTH_WAYS
def test_hold_and_resume(from_caller: bool) -> None:
    world, call, other = up()
    asking, asked, _back, there = sides(world, call, other, from_caller)
    asking.hold()
    world.run(1.0)
    asking.reinvite()
    world.run(1.0)
    asking.hang_up()
    world.finish()
    first, second = sent(world, there, "INVITE")
    assert b"a=sendonly" in first.body
    assert b"a=sendrecv" in second.body
    assert asked.heard.count("INVITE") == 2 + from_caller  # the callee's first was the call itself
    assert [status for status in asking.statuses if status != 180][-4:] == [100, 200, 100, 200]
    assert isinstance(first, Request)
    assert first.uri == asked.phone.contact
    assert first.get("contact") is not None
    # one session id on the leg, and a version that rises with each change
    versions = [message.body.split(b"\r\n")[1].split()[2] for message in (first, second)]
    assert versions == [b"2", b"3"]


@BOTH_WAYS
def test_the_same_offer_again_keeps_its_version(from_caller: bool) -> None:
    """RFC 3264 §8: what asks whether the other side is still there changes nothing."""
    world, call, other = up()
    asking, _, _back, there = sides(world, call, other, from_caller)
    asking.reinvite()
    world.run(1.0)
    asking.hang_up()
    world.finish()
    (offer,) = sent(world, there, "INVITE")
    assert offer.body.split(b"\r\n")[1].split()[2] == b"1"


@BOTH_WAYS
def test_the_answer_and_its_ack_are_repeated_until_they_arrive(from_caller: bool) -> None:
    lost: dict[tuple[str, str], int] = {}

    def drop(datagram: Datagram) -> bool:
        key = (datagram.way, datagram.word)
        if datagram.at < 2.0 or datagram.word not in ("200", "ACK"):
            return False
        lost[key] = lost.get(key, 0) + 1
        return lost[key] <= 2

    world, call, other = up(Conditions(drop=drop))
    asking, asked, *_ = sides(world, call, other, from_caller)
    asking.hold()
    world.run(20.0)
    asking.hang_up()
    world.finish()
    assert 200 in asking.statuses[-1:]
    assert asked.heard.count("ACK") == 1 + from_caller


@BOTH_WAYS
def test_delayed_offer(from_caller: bool) -> None:
    world, call, other = up(Conditions(latency=0.1))
    asking, asked, back, there = sides(world, call, other, from_caller)
    asking.reinvite(b"")
    world.run(2.0)
    asking.hang_up()
    world.finish()
    assert sent(world, there, "INVITE")[0].body == b""
    assert f"c=IN IP4 {asked.phone.media}".encode() in sent(world, back, "200")[0].body
    # the ACK that carries the answer comes after the one it comes from
    words = [(d.way, d.word) for d in world.network.log if d.at >= 2.0 and d.word == "ACK"]
    assert words == [(f"{back[1]}>", "ACK"), (there, "ACK")]
    assert f"c=IN IP4 {asking.phone.media}".encode() in asked.answer_in_ack


@BOTH_WAYS
def test_delayed_offer_that_is_never_acknowledged(from_caller: bool) -> None:
    """No answer ever comes for the peer's offer: whoever loses patience first ends the call."""
    way = "a>" if from_caller else "b>"
    world, call, other = up(Conditions(drop=lambda d: d.at > 2.0 and (d.way, d.word) == (way, "ACK")))
    asking, asked, _back, _there = sides(world, call, other, from_caller)
    asking.reinvite(b"")
    (story,) = world.finish()
    assert "BYE" in asking.heard
    assert "no ACK" in asked.heard
    assert 32_000 < story.ended.total_ms < 36_000


@BOTH_WAYS
def test_delayed_offer_and_hung_up_before_its_answer(from_caller: bool) -> None:
    """§15.1.1: the ACK that waited goes before the BYE."""
    way = "a>" if from_caller else "b>"
    world, call, other = up(Conditions(drop=lambda d: d.at > 2.0 and (d.way, d.word) == (way, "ACK")))
    asking, asked, _back, there = sides(world, call, other, from_caller)
    asking.reinvite(b"")
    world.run(1.0)
    asking.hang_up()
    world.finish()
    assert [d.word for d in world.network.log if d.way == there and d.at > 2.0] == ["INVITE", "ACK", "BYE"]
    assert asked.answer_in_ack == b""


@BOTH_WAYS
def test_an_answer_that_is_never_acknowledged_ends_the_call(from_caller: bool) -> None:
    way = "a>" if from_caller else "b>"
    world, call, other = up(Conditions(drop=lambda d: d.at > 2.0 and (d.way, d.word) == (way, "ACK")))
    asking, asked, *_ = sides(world, call, other, from_caller)
    asking.hold()
    (story,) = world.finish()
    assert asking.heard[-1] == "BYE"
    assert asked.heard[-2:] == ["ACK", "BYE"]
    assert (story.ended.ended_by, story.ended.reason, story.ended.q850) == ("switch", "no_ack", 102)


def test_glare() -> None:
    """§14.1: both at once, both are told 491, and the one that asks again later gets its way."""
    world, call, other = up(Conditions(latency=0.1))
    call.hold()
    other.hold()
    world.run(1.0)
    assert (call.statuses[-1], other.statuses[-1]) == (491, 491)
    other.hold()
    world.run(1.0)
    assert other.statuses[-1] == 200
    call.hang_up()
    world.finish()


@BOTH_WAYS
def test_glare_inside_the_switch(from_caller: bool) -> None:
    """The other side's re-INVITE comes while ours to it is on its way."""
    world, call, other = up(Conditions(latency=0.1))
    asking, asked, *_ = sides(world, call, other, from_caller)
    asking.hold()
    world.network.later(0.15, asked.hold)
    world.run(2.0)
    assert asked.statuses[-1] == 491
    assert asking.statuses[-1] == 491
    asking.hang_up()
    world.finish()


@BOTH_WAYS
@pytest.mark.parametrize(
    ("said", "told"),
    [
        (488, 488),
        (606, 606),
        (415, 415),
        (491, 491),
        (500, 500),
        (404, 500),
        (300, 500),
        (302, 500),
        (401, 500),
        (603, 603),
        (600, 603),
    ],
)
def test_refused_by_the_other_side(from_caller: bool, said: int, told: int) -> None:
    """The session stays as it was, and the call goes on."""
    world, call, other = up()
    asking, asked, *_ = sides(world, call, other, from_caller)
    asked.on_reinvite = lambda call, request: call.refuse(said)
    asking.hold()
    world.run(2.0)
    assert asking.statuses[-1] == told
    asking.info()
    world.run(1.0)
    assert asked.heard[-1] == "INFO"
    asking.hang_up()
    (story,) = world.finish()
    assert story.ended.outcome == "answered"


@BOTH_WAYS
@pytest.mark.parametrize("said", [408, 481])
def test_the_other_side_does_not_know_the_call_any_more(from_caller: bool, said: int) -> None:
    """§12.2.1.2: the dialog is gone, so the call is over; both get a BYE."""
    world, call, other = up()
    asking, asked, *_ = sides(world, call, other, from_caller)
    asked.on_reinvite = lambda call, request: call.refuse(said)
    asking.hold()
    (story,) = world.finish()
    assert asking.statuses[-1] == 500
    assert "BYE" in asking.heard
    assert "BYE" in asked.heard
    assert (story.ended.ended_by, story.ended.reason) == ("callee" if from_caller else "caller", "peer_lost")


@BOTH_WAYS
def test_the_other_side_is_silent(from_caller: bool) -> None:
    """64·T1 without any answer: 408 to who asked, BYE to both."""
    way = "b>" if from_caller else "a>"
    world, call, other = up(Conditions(drop=lambda datagram: datagram.way == way and 2.0 < datagram.at < 35.0))
    asking, _asked, *_ = sides(world, call, other, from_caller)
    asking.hold()
    (story,) = world.finish()
    assert asking.statuses[-1] == 408
    assert story.ended.reason == "peer_lost"
    assert story.ended.total_ms > 32_000


@BOTH_WAYS
def test_the_other_side_leaves_it_ringing(from_caller: bool) -> None:
    """Without session timers nobody but the net below every INVITE ends that, after an hour; then the call is over in
    order."""
    world, call, other = up(session_expires_seconds=0)
    asking, asked, *_ = sides(world, call, other, from_caller)
    asked.on_reinvite = lambda call, request: call.ring(100)
    asking.hold()
    (story,) = world.finish(answers=False, agree=False)
    assert story.ended.reason == "peer_lost"
    assert 3_600_000 < story.ended.total_ms < 3_700_000


def ring_only(call: PhoneCall, request: Request) -> None:
    call.ring(100)


@BOTH_WAYS
def test_taken_back(from_caller: bool) -> None:
    world, call, other = up()
    asking, asked, _back, _there = sides(world, call, other, from_caller)
    asked.on_reinvite = ring_only
    asking.hold()
    world.run(1.0)
    asking.cancel()
    world.run(1.0)
    assert asking.heard[-2:] == ["CANCEL 200", "487"]
    assert asked.heard[-1] == "CANCEL"
    asked.on_reinvite = PhoneCall.accept
    asking.hold()
    world.run(1.0)
    assert asking.statuses[-1] == 200
    asking.hang_up()
    world.finish()


@BOTH_WAYS
@pytest.mark.parametrize("offer", [None, b""], ids=["offer", "delayed"])
def test_taken_back_too_late(from_caller: bool, offer: bytes | None) -> None:
    """The other side has agreed already: so it counts, for both alike."""
    world, call, other = up(Conditions(latency=0.1))
    asking, asked, _back, _there = sides(world, call, other, from_caller)
    asking.reinvite(offer)
    world.network.later(0.22, lambda: asking.cancel(hasty=True))  # the 200 is on its way through the switch at 0.2..0.3
    world.run(2.0)
    assert "487" not in asking.heard
    assert asking.statuses[-1] == 200
    assert "ACK" in asked.heard
    asking.hang_up()
    world.finish()


@BOTH_WAYS
@pytest.mark.parametrize("delay", [0.05, 0.15, 0.25, 0.35, 0.45, 0.55])
@pytest.mark.parametrize("offer", [None, b""], ids=["offer", "delayed"])
def test_taken_back_at_any_moment(from_caller: bool, delay: float, offer: bytes | None) -> None:
    world, call, other = up(Conditions(latency=0.1))
    asking, _asked, *_ = sides(world, call, other, from_caller)
    asking.reinvite(offer)
    world.network.later(delay, lambda: asking.cancel(hasty=True))
    world.run(5.0)
    assert asking.statuses[-1] in (200, 487)
    assert world.real.live_calls()[0].state == "up"
    asking.hang_up()
    (story,) = world.finish()
    assert story.ended.reason == ""


@BOTH_WAYS
def test_taken_back_while_the_other_side_has_said_nothing(from_caller: bool) -> None:
    """§9.1: the CANCEL waits for the first answer, and the re-INVITE is repeated until there is one."""
    way = ">b" if from_caller else ">a"
    world, call, other = up(Conditions(drop=lambda d: (d.way, d.word) == (way, "INVITE") and 2.0 <= d.at < 5.0))
    asking, asked, *_ = sides(world, call, other, from_caller)
    asked.on_reinvite = ring_only
    asking.hold()
    world.run(1.0)
    asking.cancel(hasty=True)
    world.run(10.0)
    assert asking.heard[-1] == "487"
    assert asked.heard[-2:] == ["INVITE", "CANCEL"]
    asking.hang_up()
    (story,) = world.finish()
    assert story.ended.reason == ""


@BOTH_WAYS
def test_hung_up_while_a_reinvite_waits(from_caller: bool) -> None:
    world, call, other = up()
    asking, asked, *_ = sides(world, call, other, from_caller)
    asked.on_reinvite = ring_only
    asking.hold()
    world.run(1.0)
    asked.hang_up()
    (story,) = world.finish()
    assert asking.statuses[-1] == 487
    assert "BYE" in asking.heard
    assert story.ended.ended_by == ("callee" if from_caller else "caller")


@BOTH_WAYS
@pytest.mark.parametrize("answers", [True, False], ids=["answered_late", "not_answered"])
def test_hung_up_by_who_asked(from_caller: bool, answers: bool) -> None:
    world, call, other = up(Conditions(latency=0.1))
    asking, asked, *_ = sides(world, call, other, from_caller)
    asked.on_reinvite = PhoneCall.accept if answers else (lambda call, request: None)
    asking.hold()
    world.network.later(0.15, asking.hang_up)
    world.finish()
    assert asking.stage == asked.stage


# what a party may not ask for


class Caller:
    """A scripted caller with a call that is up."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.phone = world.script(ADDRESS_A)
        invite = request_text(
            "INVITE", f"sip:{X}@{SWITCH[0]}", ADDRESS_A, number="13876543210",
            lines=("P-Asserted-Identity: <tel:+8613876543210>",), body=description("198.51.100.10").decode(),
        )  # fmt: skip
        world.callee.on_call = lambda call: call.accept()
        self.phone.send(invite)
        world.run(0.2)
        answer = self.phone.last("200")
        self.uri = parse_name_addr(answer.first["contact"]).uri
        self.common: dict[str, Any] = {"call_id": answer.call_id, "to_value": answer.to_value, "number": "13876543210"}
        self.send("ACK", 1)

    def send(self, method: str, cseq: int, **given: Any) -> None:
        """A request in the dialog; then some time."""
        self.phone.send(request_text(method, self.uri, ADDRESS_A, cseq=cseq, **{**self.common, **given}))
        self.world.run(0.2)

    def ask(self, method: str, cseq: int, **given: Any) -> list[str]:
        """What comes back."""
        before = len(self.phone.words)
        self.send(method, cseq, **given)
        return self.phone.words[before:]

    def finish(self, cseq: int = 99) -> None:
        """Hang up."""
        assert "200" in self.ask("BYE", cseq)
        self.world.finish()


SDP = description("198.51.100.10", direction="sendonly").decode()


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"body": "no description"}, "400"),
        ({"body": "v=0\r\nm=audio 1 RTP/AVP 0\r\n"}, "400"),
        ({"body": "v=0\r\nc=IN IP4 host\r\nm=audio 1 RTP/AVP 0\r\n"}, "488"),
        ({"body": SDP, "content_type": "text/plain"}, "415"),
        ({"body": SDP, "lines": ("Content-Encoding: gzip",)}, "415"),
        ({"contact": "<unclosed"}, "400"),
        ({"contact": ", ,"}, "400"),
        ({"contact": "*"}, "400"),
        ({"body": SDP, "lines": ("Require: 100rel, foo",)}, "420"),
    ],
)
def test_what_cannot_be_passed_on_is_refused_and_the_call_goes_on(given: dict[str, Any], status: str) -> None:
    caller = Caller(World())
    if given.get("contact"):
        text = request_text("INVITE", caller.uri, ADDRESS_A, cseq=2, **caller.common, body=SDP)
        before = len(caller.phone.words)
        caller.phone.send(text.replace("Contact: <sip:13876543210@192.0.2.10:5060>", f"Contact: {given['contact']}"))
        caller.world.run(0.2)
        assert caller.phone.words[before:] == [status]
    else:
        assert caller.ask("INVITE", 2, **given) == [status]
    final = caller.phone.last(status)
    if status == "415":
        assert final.get("accept") == "application/sdp"
    if status == "420":
        assert final.get("unsupported") == "foo"
    assert caller.world.callee.call.heard == ["INVITE", "ACK"]
    caller.finish()


def test_an_old_sequence_number() -> None:
    caller = Caller(World())
    assert caller.ask("INFO", 5) == ["200"]
    assert caller.ask("INVITE", 5, body=SDP) == ["500"]
    assert caller.ask("INVITE", 4, body=SDP) == ["500"]
    caller.finish()


def test_a_second_one_before_the_first_is_answered() -> None:
    """§14.2: 500 with Retry-After of at most ten seconds."""
    caller = Caller(World())
    caller.world.callee.call.on_reinvite = ring_only
    assert caller.ask("INVITE", 2, body=SDP) == ["100"]
    assert caller.ask("INVITE", 3, body=SDP) == ["500"]
    assert 0 <= int(caller.phone.last("500").first["retry-after"]) <= 10
    caller.world.callee.call.accept()
    caller.world.run(0.1)
    assert caller.phone.words[-1] == "200"
    # and while the ACK of the answer is missing
    assert caller.ask("INVITE", 4, body=SDP) == ["500"]
    caller.send("ACK", 2)
    caller.finish()


def test_the_other_side_has_to_wait_for_the_ack() -> None:
    """A re-INVITE to a party whose ACK is missing would be an offer into an open exchange: 491 for who asks."""
    world = World(Conditions(drop=lambda d: (d.way, d.word) == ("a>", "ACK") and d.at < 3.0))
    world.callee.on_call = lambda call: call.accept()
    call = world.caller.dial(X)
    world.run(1.0)
    world.callee.call.hold()
    world.run(1.0)
    assert world.callee.call.statuses[-1] == 491
    world.run(5.0)
    call.hang_up()
    world.finish()


def scripted_callee(world: World, on_reinvite: Callable[[Message], str]) -> None:
    """A callee who takes the call, and whose answer to a re-INVITE is the test's matter."""
    callee = world.script(ADDRESS_B)

    def react(data: bytes) -> None:
        message = parse(data)
        if not isinstance(message, Request) or message.method == "ACK":
            return
        if message.method == "INVITE" and message.to_tag:
            callee.send(on_reinvite(message))
        else:
            body = description("198.51.100.20").decode() if message.method == "INVITE" else ""
            callee.send(answer_text(message, 200, ADDRESS_B, body=body))

    callee.react = react


@pytest.mark.parametrize(
    "given",
    [
        {"body": "v=0\r\nnonsense"},
        {"body": description("198.51.100.20").decode(), "contact": "<sip:unclosed"},
        {"body": description("198.51.100.20").decode(), "contact": ","},
    ],
)
@pytest.mark.parametrize("offer", [None, b""], ids=["offer", "delayed"])
def test_an_answer_that_cannot_be_passed_on(given: dict[str, Any], offer: bytes | None) -> None:
    """It is confirmed, so that it stops; who asked is told that nothing came of it."""
    world = World()
    scripted_callee(world, lambda request: answer_text(request, 200, ADDRESS_B, **given))
    call = world.caller.dial(X)
    world.run(1.0)
    call.reinvite(offer)
    world.run(1.0)
    assert call.statuses[-1] == 488
    call.hang_up()
    world.finish()
    assert [d.word for d in world.network.toward("b")] == ["INVITE", "ACK", "INVITE", "ACK", "BYE"]


def test_a_new_contact_is_where_requests_go_from_then_on() -> None:
    caller = Caller(World())
    text = request_text("INVITE", caller.uri, ADDRESS_A, cseq=2, **caller.common, body=SDP)
    caller.phone.send(text.replace("<sip:13876543210@192.0.2.10:5060>", "<sip:elsewhere@203.0.113.1:5070>"))
    caller.world.run(0.2)
    assert caller.phone.words[-1] == "200"
    caller.send("ACK", 2)
    caller.world.callee.call.hang_up()
    caller.world.run(0.2)
    byes = [d for d in caller.world.network.log if d.source == SWITCH and d.word == "BYE"]
    assert byes[0].target == ("203.0.113.1", 5070)
    assert byes[0].data.startswith(b"BYE sip:elsewhere@203.0.113.1:5070 SIP/2.0")
    caller.world.finish(agree=False)


def test_no_contact_leaves_it_as_it_was() -> None:
    caller = Caller(World())
    assert caller.ask("INVITE", 2, body=SDP, without="Contact") == ["100", "200"]
    caller.send("ACK", 2)
    caller.finish()


def test_for_a_call_that_is_over() -> None:
    world, call, _other = up()
    call.hang_up()
    world.run(0.1)
    call.stage = type(call.stage).UP
    call.reinvite()
    world.run(0.1)
    assert call.statuses[-1] == 481
    world.finish()
