"""The caller gives up: at every moment there is."""

from typing import Any

import pytest

from b2bua.sip.parser import parse
from tests.call.phone import PhoneCall, answer_after
from tests.call.world import ADDRESS_A, ADDRESS_B, NUMBER_A, World, X
from tests.wire import SWITCH, Conditions, Datagram, Script, answer_text, request_text

PAI = "P-Asserted-Identity: <sip:13876543210@192.0.2.10>"


def to_callee(world: World) -> list[str]:
    """Methods and statuses that went to B."""
    return [datagram.word for datagram in world.network.toward("b")]


def test_while_it_rings() -> None:
    world = World()
    world.callee.on_call = answer_after(30.0)
    call = world.caller.dial(X)
    world.run(5.0)
    call.cancel()
    (story,) = world.finish()
    assert call.heard == ["100", "180", "CANCEL 200", "487"]
    assert world.callee.call.heard == ["INVITE", "CANCEL"]
    ended = story.ended
    assert (ended.status, ended.q850, ended.outcome, ended.ended_by) == (487, 16, "cancelled", "caller")
    assert ended.routes == ("carrier-b:cancelled",)
    assert ended.ringing_ms > 0


def test_before_the_decision() -> None:
    """Profile §4 item 1: CANCEL while the binding is still looked up."""
    world = World()
    world.switch.held = True
    call = world.caller.dial(X)
    world.run(1.0)
    call.cancel()
    world.run(0.1)
    assert call.heard == ["100", "CANCEL 200", "487"]
    world.switch.release()  # the answer to a question nobody asks any more
    (story,) = world.finish()
    assert to_callee(world) == []
    assert (story.ended.status, story.ended.outcome, story.ended.routes) == (487, "cancelled", ())
    assert (story.attempted.callee, story.attempted.binding_id) == ("", "")
    assert (story.attempted.caller, story.attempted.x) == (NUMBER_A, X)  # in the form that records are searched by


def test_before_the_callee_has_said_anything() -> None:
    """Profile §4 item 1, CANCEL before 100. §9.1: the CANCEL waits for the first provisional answer."""
    world = World()
    world.callee.on_call = lambda call: world.network.later(1.0, call.ring)
    call = world.caller.dial(X)
    world.run(0.5)
    call.cancel()
    world.run(0.1)
    assert call.heard[-1] == "487"
    assert "CANCEL" not in to_callee(world)
    (story,) = world.finish()
    # the INVITE is repeated until there is an answer to cancel after: else a lost 180 would leave the phone ringing
    assert to_callee(world) == ["INVITE", "INVITE", "CANCEL", "ACK"]
    assert story.ended.outcome == "cancelled"


def test_when_the_callee_never_says_anything() -> None:
    world = World()
    world.script(ADDRESS_B)
    call = world.caller.dial(X)
    world.run(0.3)
    call.cancel()
    (story,) = world.finish()
    assert to_callee(world) == ["INVITE"] * 7  # until timer B
    assert story.ended.outcome == "cancelled"


def test_crossing_the_answer() -> None:
    """Profile §4 item 1, CANCEL crosses 200: a 2xx that comes when the CANCEL is on its way is confirmed and ended."""
    world = World(Conditions(latency=0.1))
    world.callee.on_call = answer_after(1.0)
    call = world.caller.dial(X)
    # the callee answers at 1.3; the CANCEL is at the switch at 1.35, before that answer is at 1.4
    world.network.later(1.25, call.cancel)
    (story,) = world.finish()
    assert call.heard[-2:] == ["CANCEL 200", "487"]
    assert world.callee.call.heard == ["INVITE", "ACK", "BYE"]
    assert to_callee(world) == ["INVITE", "CANCEL", "ACK", "BYE"]
    assert (story.ended.outcome, story.answered) == ("cancelled", None)


def test_crossing_the_answer_on_the_callers_side() -> None:
    """The CANCEL comes when the 2xx is on its way to the caller: too late for it, so the caller hangs up."""
    world = World(Conditions(latency=0.1))
    world.callee.on_call = answer_after(1.0)
    call = world.caller.dial(X)
    world.network.later(1.35, call.cancel)
    (story,) = world.finish()
    assert call.heard == ["100", "180", "200", "CANCEL 200", "BYE 200"]
    assert world.callee.call.heard == ["INVITE", "ACK", "BYE"]
    assert (story.ended.outcome, story.ended.ended_by) == ("answered", "caller")


@pytest.mark.parametrize("tenths", range(30))
def test_at_any_moment(tenths: int) -> None:
    world = World(Conditions(latency=0.1))
    world.callee.on_call = answer_after(1.0)
    world.switch.delay = 0.4
    call = world.caller.dial(X)
    world.network.later(tenths / 10, call.hang_up)
    (story,) = world.finish()
    assert story.ended.outcome == ("answered" if call.was_up else "cancelled")
    assert story.ended.ended_by == "caller"


def scripted_caller(world: World) -> tuple[Script, str, str]:
    """A caller with its INVITE and the CANCEL of that."""
    phone = world.script(ADDRESS_A)
    invite = request_text(
        "INVITE", f"sip:{X}@{SWITCH[0]}", ADDRESS_A, number="13876543210", lines=(PAI,), branch=BRANCH
    )
    cancel = "\r\n".join(
        line if not line.startswith("CSeq") else "CSeq: 1 CANCEL"
        for line in invite.partition("\r\n\r\n")[0].replace("INVITE sip", "CANCEL sip", 1).split("\r\n")
        if not line.startswith(("Contact", "P-Asserted"))
    )
    return phone, invite, f"{cancel}\r\n\r\n"


BRANCH = "z9hG4bK-cancelled"


def test_twice() -> None:
    world = World()
    world.callee.on_call = answer_after(30.0)
    phone, invite, cancel = scripted_caller(world)
    phone.send(invite)
    world.run(1.0)
    phone.send(cancel)
    phone.send(cancel)
    world.run(0.1)
    assert sorted(phone.words) == ["100", "180", "200", "200", "487"]
    final = phone.last("487")
    phone.send(request_text("ACK", f"sip:{X}@{SWITCH[0]}", ADDRESS_A, number="13876543210", branch=BRANCH,
                            call_id=final.call_id, to_value=final.to_value))  # fmt: skip
    (story,) = world.finish()
    assert phone.words.count("487") == 1
    assert to_callee(world).count("CANCEL") == 1
    assert story.ended.outcome == "cancelled"


def test_with_the_same_tag_in_both_answers() -> None:
    """§9.2: the To tag of the answer to CANCEL is the one of the answers to the INVITE."""
    world = World()
    world.switch.held = True
    phone, invite, cancel = scripted_caller(world)
    phone.send(invite)
    world.run(0.1)
    phone.send(cancel)
    world.run(0.1)
    assert phone.last("200").to_tag == phone.last("487").to_tag != ""
    world.finish()


def test_after_the_answer_it_means_nothing() -> None:
    world = World()
    world.callee.on_call = lambda call: call.accept()
    phone, invite, cancel = scripted_caller(world)
    phone.send(invite)
    world.run(0.1)
    answer = phone.last("200")
    phone.send(cancel)
    world.run(0.1)
    assert phone.words[-1] == "200"
    assert phone.last("200").cseq_method == "CANCEL"
    common: dict[str, Any] = {"call_id": answer.call_id, "to_value": answer.to_value, "number": "13876543210"}
    phone.send(request_text("ACK", f"sip:{X}@{SWITCH[0]}", ADDRESS_A, **common))
    world.run(1.0)
    assert world.real.live_calls()[0].state == "up"
    phone.send(request_text("BYE", f"sip:{X}@{SWITCH[0]}", ADDRESS_A, cseq=2, **common))
    (story,) = world.finish()
    assert story.ended.outcome == "answered"


def test_of_nothing() -> None:
    world = World()
    phone, _, cancel = scripted_caller(world)
    phone.send(cancel)
    assert world.finish() == []
    assert phone.words == ["481"]


def test_the_cause_is_recorded_and_its_text_is_not_passed_on() -> None:
    world = World()
    world.callee.on_call = answer_after(30.0)
    phone, invite, cancel = scripted_caller(world)
    phone.send(invite)
    world.run(1.0)
    phone.send(cancel.replace("Content-Length", 'Reason: Q.850;cause=31;text="secret"\r\nContent-Length'))
    (story,) = world.finish()
    assert story.ended.q850 == 31
    assert not any(b"secret" in datagram.data for datagram in world.network.toward("b"))


def test_when_the_callee_does_not_answer_it() -> None:
    """§9.1: 64·T1 after the CANCEL the INVITE is over, whatever the far end says or does not say."""

    def drop(datagram: Datagram) -> bool:
        return datagram.way == "b>" and datagram.at > 3.0

    world = World(Conditions(drop=drop))
    world.callee.on_call = lambda call: call.ring()
    call = world.caller.dial(X)
    world.run(5.0)
    call.cancel()
    (story,) = world.finish(agree=False)
    assert call.heard[-1] == "487"
    assert story.ended.outcome == "cancelled"


def test_when_the_callee_does_not_know_the_call() -> None:
    world = World()
    callee = world.script(ADDRESS_B)

    def react(data: bytes) -> None:
        message = parse(data)
        if data.startswith(b"INVITE"):
            callee.send(answer_text(message, 180, ADDRESS_B))
        elif data.startswith(b"CANCEL"):
            callee.send(answer_text(message, 481, ADDRESS_B))

    callee.react = react
    call = world.caller.dial(X)
    world.run(5.0)
    call.cancel()
    (story,) = world.finish()
    assert story.ended.outcome == "cancelled"


@pytest.mark.parametrize("status", [486, 503, 200, 302])
def test_a_final_answer_that_crosses_changes_nothing(status: int) -> None:
    """And starts no other route."""

    def take(call: PhoneCall) -> None:
        call.ring()
        final = call.accept if status == 200 else lambda: call.refuse(status)
        world.network.later(4.85, final)

    world = World(Conditions(latency=0.1))
    world.callee.on_call = take
    call = world.caller.dial(X)
    world.network.later(4.92, call.cancel)
    (story,) = world.finish()
    assert call.heard[-1] == "487"
    assert story.ended.outcome == "cancelled"
    assert world.second.calls == []


def test_by_bye_in_the_early_dialog() -> None:
    """§15: the caller may end an early dialog with BYE; the INVITE gets its 487 (§15.1.2)."""
    world = World()
    world.callee.on_call = answer_after(30.0)
    phone, invite, _ = scripted_caller(world)
    phone.send(invite)
    world.run(1.0)
    ringing = phone.last("180")
    phone.send(
        request_text(
            "BYE", f"sip:{X}@{SWITCH[0]}", ADDRESS_A, cseq=2, number="13876543210",
            call_id=ringing.call_id, to_value=ringing.to_value,
        )
    )  # fmt: skip
    (story,) = world.finish()
    assert phone.words.count("487") >= 1
    assert "200" in phone.words
    assert to_callee(world) == ["INVITE", "CANCEL", "ACK"]
    assert (story.ended.outcome, story.ended.ended_by, story.ended.status) == ("cancelled", "caller", 487)


def test_by_bye_before_the_decision() -> None:
    """A caller that got no tag yet cannot know the dialog; one that guesses it is served all the same."""
    world = World()
    world.switch.held = True
    phone, invite, _ = scripted_caller(world)
    phone.send(invite)
    world.run(1.0)
    tag = next(iter(world.real.signalling.legs))
    phone.send(
        request_text(
            "BYE", f"sip:{X}@{SWITCH[0]}", ADDRESS_A, cseq=2, number="13876543210",
            call_id=f"{BRANCH}-call", to_value=f"<sip:{X}@{SWITCH[0]}>;tag={tag}",
        )
    )  # fmt: skip
    (story,) = world.finish()
    assert story.ended.outcome == "cancelled"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("", "Q.850;cause=16"),
        ('Reason: Q.850;cause=31;text="secret"', "Q.850;cause=31"),
        ('Reason: SIP;cause=200;text="Call completed elsewhere"', "SIP;cause=200"),
        ("Reason: SIP;cause=600, Q.850;cause=17", "SIP;cause=600"),
        ("Reason: SIP;cause=99", "Q.850;cause=16"),
        ("Reason: SIP;cause=x;text=1", "Q.850;cause=16"),
        ("Reason: X;cause=200", "Q.850;cause=16"),
        ("Reason: SIP;cause", "Q.850;cause=16"),
        ("Reason: SIP;;=", "Q.850;cause=16"),
    ],
)
def test_the_reason_of_the_callers_cancel_crosses_by_protocol_and_cause(said: str, told: str) -> None:
    """RFC 3326: a phone whose call was answered elsewhere shows no missed call."""
    world = World()
    world.callee.on_call = answer_after(20.0)
    line = f"{said}\r\n" if said else ""
    world.caller.disguise = lambda data: (
        data.replace(b"Content-Length: 0\r\n", f"{line}Content-Length: 0\r\n".encode())
        if data.startswith(b"CANCEL")
        else data
    )
    call = world.caller.dial(X)
    world.network.later(5.0, call.cancel)
    (story,) = world.finish()
    (cancel,) = [d.message for d in world.network.toward("b") if d.word == "CANCEL"]
    assert cancel.get("reason") == told
    assert story.ended.outcome == "cancelled"


def test_the_cancel_after_a_long_ring_says_why() -> None:
    world = World()
    world.callee.on_call = lambda call: call.ring()
    world.caller.dial(X)
    world.finish()
    (cancel,) = [d.message for d in world.network.toward("b") if d.word == "CANCEL"]
    assert cancel.get("reason") == "Q.850;cause=19"


def test_the_cancel_of_a_route_that_is_given_up_says_why() -> None:
    world = World()
    world.callee.on_call = lambda call: call.ring(100)
    world.second.on_call = answer_after(1.0)
    call = world.caller.dial(X)
    call.on("200", call.hang_up)
    world.finish()
    (cancel,) = [d.message for d in world.network.toward("b") if d.word == "CANCEL"]
    assert cancel.get("reason") == "Q.850;cause=102"
