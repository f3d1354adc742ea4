"""A callee's network that rings several phones: many To tags, perhaps more than one answer."""

from typing import Any

import pytest

from b2bua.sip.message import Request
from b2bua.sip.parser import parse
from tests.call.phone import description
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
