"""What the descriptions of a call may say, and what becomes of them on the other side (RFC 3264, 6337)."""

import pytest

from b2bua.sip.message import Message
from tests.call.phone import PhoneCall, description
from tests.call.test_reinvite import BOTH_WAYS, sent, sides, up
from tests.call.world import World, X
from tests.wire import Datagram

FAX = b"m=image 20002 udptl t38\r\na=T38FaxVersion:0\r\na=T38FaxUdpEC:t38UDPRedundancy\r\n"
VIDEO = b"m=video 20004 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
CHAT = b"m=message 2855 TCP/MSRP *\r\na=path:msrp://13876543210@198.51.100.10:2855/x;tcp\r\n"
NEW = b"m=audio 20006 RTP/NEW 8\r\n"
PROFILE = b"m=audio 20006 rtp/savp 8\r\n"


def version(message: Message) -> int:
    """Of the origin line."""
    return int(message.body.split(b"\r\n")[1].split()[2])


@BOTH_WAYS
@pytest.mark.parametrize("direction", ["sendonly", "recvonly", "inactive", "sendrecv"])
def test_every_direction_crosses_and_comes_back(from_caller: bool, direction: str) -> None:
    world, call, other = up()
    asking, asked, back, there = sides(world, call, other, from_caller)
    mirrored = {"sendonly": "recvonly", "recvonly": "sendonly"}.get(direction, direction)
    asked.on_reinvite = lambda call, request: call.accept(sdp=call.phone.sdp(direction=mirrored))
    asking.reinvite(asking.phone.sdp(direction=direction))
    world.run(1.0)
    assert f"a={direction}\r\n".encode() in sent(world, there, "INVITE")[-1].body
    assert f"a={mirrored}\r\n".encode() in sent(world, back, "200")[-1].body
    asking.hang_up()
    world.finish()


@BOTH_WAYS
def test_hold_as_rfc_2543_had_it(from_caller: bool) -> None:
    world, call, other = up()
    asking, _asked, _back, there = sides(world, call, other, from_caller)
    asking.reinvite(description("0.0.0.0"))
    world.run(1.0)
    assert b"c=IN IP4 0.0.0.0\r\n" in sent(world, there, "INVITE")[-1].body
    asking.hang_up()
    world.finish()


@BOTH_WAYS
@pytest.mark.parametrize(
    ("line", "told"),
    [
        (FAX, FAX),
        (VIDEO, VIDEO),
        (CHAT, b"m=message 0 TCP/MSRP *\r\n"),
        (NEW, b"m=audio 0 RTP/NEW 0\r\n"),
        (PROFILE, b"m=audio 20006 RTP/SAVP 8\r\n"),
    ],
    ids=["fax", "video", "chat", "new_profile", "lower_case"],
)
def test_further_media_lines_pass_or_are_declined_in_their_place(from_caller: bool, line: bytes, told: bytes) -> None:
    world, call, other = up()
    asking, _asked, _back, there = sides(world, call, other, from_caller)
    asking.reinvite(asking.phone.sdp() + line)
    world.run(1.0)
    assert asking.statuses[-1] == 200
    assert sent(world, there, "INVITE")[-1].body.endswith(told)
    asking.hang_up()
    world.finish()


def test_a_host_name_for_an_address() -> None:
    world = World()
    call = world.caller.dial(X, sdp=description("media.carrier.example"))
    call.on("200", call.hang_up)
    world.finish()
    assert b"c=IN IP4 media.carrier.example\r\n" in sent(world, ">b", "INVITE", 0.0)[0].body


@BOTH_WAYS
def test_versions_rise_by_one_with_a_change_only(from_caller: bool) -> None:
    """Also when the change was refused: it was said."""
    world, call, other = up()
    asking, asked, _back, there = sides(world, call, other, from_caller)
    asking.hold()
    world.run(1.0)
    asking.hold()
    world.run(1.0)
    asked.on_reinvite = lambda call, request: call.refuse(488)
    asking.reinvite()
    world.run(1.0)
    asked.on_reinvite = PhoneCall.accept
    asking.hold()
    world.run(1.0)
    assert [version(message) for message in sent(world, there, "INVITE")] == [2, 2, 3, 4]
    asking.hang_up()
    world.finish()


@BOTH_WAYS
def test_a_delayed_offer_in_a_reinvite_with_an_unusable_answer(from_caller: bool) -> None:
    """The side that made the offer has no answer then: nobody knows what the session is, so it ends."""
    world, call, other = up()
    asking, asked, *_ = sides(world, call, other, from_caller)
    asking.phone.disguise = lambda data: (
        data.replace(b"m=audio", b"m=au:io") if data.startswith(b"ACK") else data  # no token
    )
    asking.reinvite(b"")
    (story,) = world.finish()
    assert (asking.heard[-1], asked.heard[-1]) == ("BYE", "BYE")
    assert asked.answer_in_ack == b""
    assert (story.ended.outcome, story.ended.reason, story.ended.q850) == ("answered", "no_session", 79)


@BOTH_WAYS
@pytest.mark.parametrize("offer", [None, b""], ids=["offer", "delayed"])
def test_keys_beside_a_reinvite(from_caller: bool, offer: bytes | None) -> None:
    """Profile §4 item 8: INFO while a re-INVITE waits, on the same side and on the other."""
    world, call, other = up()
    asking, asked, *_ = sides(world, call, other, from_caller)
    asked.on_reinvite = lambda call, request: call.phone.network.later(2.0, call.accept)
    asking.reinvite(offer)
    world.run(1.0)
    asking.info()
    asked.info()
    world.run(0.5)
    assert "INFO 200" in asking.heard
    assert "INFO 200" in asked.heard
    world.run(3.0)
    assert asking.statuses[-1] == 200
    asking.hang_up()
    world.finish()


@BOTH_WAYS
def test_glare_from_both_sides_and_the_lost_try_after_it(from_caller: bool) -> None:
    """Profile §4 item 8: 491 to both; the next re-INVITE, lost twice on its way, gets through."""
    world, call, other = up()
    asking, asked, _back, there = sides(world, call, other, from_caller)
    call.hold()
    other.hold()
    world.run(1.0)
    assert (call.statuses[-1], other.statuses[-1]) == (491, 491)
    lost: list[int] = []

    def drop(datagram: Datagram) -> bool:
        if (datagram.way, datagram.word) == (there, "INVITE") and len(lost) < 2:
            lost.append(1)
            return True
        return False

    world.network.conditions.drop = drop
    asking.hold()
    world.run(10.0)
    assert asking.statuses[-1] == 200
    assert len(lost) == 2
    asked.hang_up()
    world.finish()


def test_previews_may_change_and_the_answer_counts() -> None:
    """RFC 6337 §3.1: what is not reliable is no answer yet."""
    world = World()

    def take(call: PhoneCall) -> None:
        later = call.phone.network.later
        later(0.1, lambda: call.ring(183, description("198.51.100.31")))
        later(0.2, lambda: call.ring(183, description("198.51.100.31")))
        later(0.3, lambda: call.ring(183, description("198.51.100.32")))
        later(1.0, call.accept)

    world.callee.on_call = take
    call = world.caller.dial(X)
    call.on("200", call.hang_up)
    world.finish()
    told = [response for response in call.responses if response.status in (183, 200) and response.body]
    assert [version(response) for response in told] == [1, 1, 2, 3]
    assert b"198.51.100.20" in told[-1].body
