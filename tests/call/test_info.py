"""Keypad digits in INFO: keys cross, everything else ends here."""

import pytest

from b2bua.sip.dtmf import DTMF, DTMF_RELAY
from b2bua.sip.timers import TimerValues
from tests.call.phone import PhoneCall, answer_after
from tests.call.world import World, X
from tests.wire import Conditions

BOTH_WAYS = pytest.mark.parametrize("from_caller", [True, False], ids=["from_caller", "from_callee"])


def up(
    from_caller: bool, conditions: Conditions | None = None, **settings: object
) -> tuple[World, PhoneCall, PhoneCall]:
    """(world, who presses, who hears)."""
    world = World(conditions, settings=settings)
    world.callee.on_call = lambda call: call.accept()
    call = world.caller.dial(X)
    world.run(2.0)
    other = world.callee.call
    return (world, call, other) if from_caller else (world, other, call)


def finish(world: World) -> None:
    world.caller.call.hang_up()
    world.finish()


@BOTH_WAYS
@pytest.mark.parametrize(
    ("content_type", "body", "heard"),
    [
        (DTMF_RELAY, b"Signal=5\r\nDuration=160\r\n", b"Signal=5\r\nDuration=160\r\n"),
        (DTMF_RELAY, b"Signal= *\nDuration = 99999\nVendor=13800138000\n", b"Signal=*\r\nDuration=9999\r\n"),
        (f"{DTMF_RELAY.upper()} ; x=13800138000", b"signal=11", b"Signal=#\r\nDuration=160\r\n"),
        (DTMF, b" 7 ", b"7"),
    ],
)
def test_a_key_crosses(from_caller: bool, content_type: str, body: bytes, heard: bytes) -> None:
    world, pressing, hearing = up(from_caller)
    pressing.info(body, content_type)
    world.run(1.0)
    assert pressing.heard[-1] == "INFO 200"
    info = hearing.requests[-1]
    assert (info.method, info.body) == ("INFO", heard)
    assert info.get("content-type") == content_type.partition(";")[0].strip().lower()
    assert info.first.keys() == {
        "via", "max-forwards", "from", "to", "call-id", "cseq", "user-agent", "content-type", "content-length",
    }  # fmt: skip
    finish(world)


@BOTH_WAYS
@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("application/dtmf-relay", b"Signal=13800138000", 400),
        ("application/dtmf", b"55", 400),
        ("text/plain", b"call me at 13800138000", 415),
        ("application/sdp", b"v=0\r\n", 415),
        ("message/sipfrag", b"SIP/2.0 200 OK", 415),
        ("", b"5", 415),
    ],
)
def test_what_is_no_key_does_not(from_caller: bool, content_type: str, body: bytes, status: int) -> None:
    world, pressing, hearing = up(from_caller)
    pressing.info(body, content_type)
    world.run(1.0)
    assert pressing.heard[-1] == f"INFO {status}"
    assert pressing.responses[-1].get("accept") == "application/dtmf, application/dtmf-relay"
    assert "INFO" not in hearing.heard
    finish(world)


@BOTH_WAYS
def test_an_empty_one_is_a_probe(from_caller: bool) -> None:
    """RFC 6086 §4.2.2."""
    world, pressing, hearing = up(from_caller)
    pressing.info(b"")
    world.run(1.0)
    assert pressing.heard[-1] == "INFO 200"
    assert "INFO" not in hearing.heard
    finish(world)


@BOTH_WAYS
@pytest.mark.parametrize(
    ("said", "told"),
    [(200, 200), (202, 202), (415, 415), (500, 500), (401, 500), (407, 500), (300, 480), (469, 500), (603, 603)],
)
def test_the_answer_is_the_other_sides(from_caller: bool, said: int, told: int) -> None:
    world, pressing, hearing = up(from_caller)
    hearing.info_status = said
    pressing.info()
    world.run(1.0)
    assert pressing.heard[-1] == f"INFO {told}"
    assert world.real.live_calls()[0].state == "up"
    finish(world)


@BOTH_WAYS
@pytest.mark.parametrize("said", [408, 481])
def test_the_other_side_does_not_know_the_call_any_more(from_caller: bool, said: int) -> None:
    world, pressing, hearing = up(from_caller)
    hearing.info_status = said
    pressing.info()
    (story,) = world.finish()
    assert "BYE" in pressing.heard
    assert story.ended.reason == "peer_lost"
    assert story.ended.ended_by == ("callee" if from_caller else "caller")


@BOTH_WAYS
def test_the_other_side_is_silent(from_caller: bool) -> None:
    way = "b>" if from_caller else "a>"
    silent = Conditions(drop=lambda d: d.way == way and 2.0 < d.at < 35.0)
    world, pressing, _hearing = up(from_caller, silent, timers=TimerValues(t1=0.4))  # less patient than the phones
    pressing.info()
    (story,) = world.finish()
    assert "INFO 408" in pressing.heard
    assert story.ended.reason == "peer_lost"
    assert 64 * 400 < story.ended.talk_ms < 64 * 400 + 3000


@BOTH_WAYS
def test_several_at_once_each_get_their_answer(from_caller: bool) -> None:
    world, pressing, hearing = up(from_caller)
    world.network.conditions.loss = 0.3
    for key in b"1234567890":
        pressing.info(b"Signal=%c\r\n" % key)
        world.run(8.0)
    world.run(30.0)
    assert pressing.heard.count("INFO 200") == 10
    keys = [request.body[7:8] for request in hearing.requests if request.method == "INFO"]
    assert b"".join(keys) == b"1234567890"
    finish(world)


@BOTH_WAYS
def test_beside_a_reinvite(from_caller: bool) -> None:
    """Profile §4 item 8: neither disturbs the other."""
    world, pressing, hearing = up(from_caller, Conditions(latency=0.1))
    hearing.on_reinvite = lambda call, request: call.ring(100)
    pressing.hold()
    pressing.info()
    world.run(1.0)
    hearing.info()
    world.run(1.0)
    assert "INFO 200" in pressing.heard
    assert "INFO 200" in hearing.heard
    hearing.accept()
    world.run(1.0)
    assert pressing.statuses[-1] == 200
    finish(world)


@BOTH_WAYS
def test_hung_up_while_one_waits(from_caller: bool) -> None:
    world, pressing, hearing = up(from_caller, Conditions(latency=0.1))
    pressing.info()
    world.network.later(0.15, hearing.hang_up)
    world.finish()
    assert "INFO 481" in pressing.heard


def test_one_that_meets_a_leg_that_is_just_ending() -> None:
    """The other side has hung up, and its BYE and this cross inside the switch."""
    world, pressing, hearing = up(True, Conditions(latency=0.1))
    world.network.later(0.01, hearing.hang_up)
    pressing.info()
    world.finish()
    assert any(word in pressing.heard for word in ("INFO 481", "INFO 200", "INFO timeout"))


def test_before_the_answer() -> None:
    world = World()
    world.callee.on_call = answer_after(5.0)
    call = world.caller.dial(X)
    world.run(1.0)
    ringing = call.responses[-1]
    call.target = ringing.first["contact"].strip("<>")
    call.request("INFO", body=b"Signal=1", content_type=DTMF_RELAY)
    call.phone.flush()
    call.on("200", call.hang_up)
    world.finish()
    assert "INFO 500" in call.heard
    assert "INFO" not in world.callee.call.heard
