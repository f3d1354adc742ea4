"""Requests that are no call: each gets its proper final answer, and none leaves anything behind."""

from typing import Any

import pytest

from b2bua.sip.message import Message, Request
from b2bua.sip.parser import parse
from tests.call.world import ADDRESS_A, World, X
from tests.wire import SWITCH, Script, request_text

HERE = f"sip:{SWITCH[0]}:{SWITCH[1]}"
PAI = "P-Asserted-Identity: <sip:13876543210@192.0.2.10>"
ALLOW = "INVITE, ACK, CANCEL, BYE, INFO, OPTIONS, PRACK, UPDATE"


def ask(text: str | bytes, world: World | None = None) -> tuple[World, Script, Message]:
    """Send one datagram from A's carrier; (world, script, the one answer)."""
    world = world or World()
    phone = world.script(ADDRESS_A)
    phone.send(text)
    world.run(0.1)
    assert len(phone.inbox) == 1
    return world, phone, parse(phone.inbox[0])


@pytest.mark.parametrize(
    ("method", "status", "header"),
    [
        ("OPTIONS", 200, "allow"),
        ("REGISTER", 405, "allow"),
        ("UPDATE", 481, ""),
        ("SUBSCRIBE", 489, "allow-events"),
        ("PUBLISH", 489, "allow-events"),
        ("NOTIFY", 481, ""),
        ("PRACK", 481, ""),
        ("BYE", 481, ""),
        ("INFO", 481, ""),
        ("REFER", 603, ""),
        ("CANCEL", 481, ""),
        ("FOO", 501, "allow"),
        ("invite", 501, "allow"),  # methods are told apart by case (§7.1)
    ],
)
@pytest.mark.parametrize("uri", [HERE, f"sip:{X}@{SWITCH[0]}", f"tel:{X}"])
def test_every_method_out_of_a_dialog(method: str, status: int, header: str, uri: str) -> None:
    """Profile §4 item 14: every request gets its final answer."""
    world, phone, answer = ask(request_text(method, uri, ADDRESS_A, number="13876543210", lines=(PAI,)))
    assert phone.words == [str(status)]
    assert answer.to_tag
    if header:
        assert header in answer.first
    if header == "allow":
        assert answer.get("allow") == (f"{ALLOW}, MESSAGE" if method == "OPTIONS" else ALLOW)
    assert world.finish() == []


@pytest.mark.parametrize(
    "method", ["BYE", "INFO", "UPDATE", "PRACK", "NOTIFY", "MESSAGE", "REFER", "OPTIONS", "INVITE", "FOO"]
)
def test_every_method_in_a_dialog_that_is_none(method: str) -> None:
    """§12.2.2."""
    text = request_text(method, HERE, ADDRESS_A, to_value=f"<{HERE}>;tag=gone", lines=(PAI,))
    world, phone, answer = ask(text)
    assert phone.words == ["481"]
    assert answer.to_tag == "gone"
    if method != "INVITE":
        assert world.finish() == []
        return
    phone.send(request_text("ACK", HERE, ADDRESS_A, to_value=f"<{HERE}>;tag=gone"))  # which belongs to nothing either
    assert world.finish() == []


def test_a_registration_with_a_tag_is_refused_as_any() -> None:
    text = request_text("REGISTER", HERE, ADDRESS_A, to_value=f"<{HERE}>;tag=old")
    world, phone, _ = ask(text)
    assert phone.words == ["405"]
    world.finish()


def test_an_ack_of_nothing_is_dropped() -> None:
    world = World()
    phone = world.script(ADDRESS_A)
    phone.send(request_text("ACK", HERE, ADDRESS_A, to_value=f"<{HERE}>;tag=x"))
    phone.send(request_text("ACK", HERE, ADDRESS_A))
    assert world.finish() == []
    assert phone.inbox == []


def test_options_tell_what_is_understood() -> None:
    world, _, answer = ask(request_text("OPTIONS", HERE, ADDRESS_A, lines=("Accept: text/plain",)))
    assert (answer.get("accept"), answer.get("server"), answer.body) == ("application/sdp", "x700", b"")
    world.finish()


def test_options_send_calls_elsewhere_while_records_cannot_be_written() -> None:
    world = World()
    world.real.journal_failure = "no space left on device"
    phone = world.script(ADDRESS_A)
    phone.send(request_text("OPTIONS", HERE, ADDRESS_A))
    world.run(0.1)
    assert phone.inbox[0].startswith(b"SIP/2.0 503 ")
    assert b"Retry-After: 30" in phone.inbox[0]
    world.real.journal_failure = ""
    world.finish()


def test_a_request_that_comes_again_gets_the_same_answer_again() -> None:
    text = request_text("OPTIONS", HERE, ADDRESS_A)
    world, phone, _ = ask(text)
    phone.send(text)
    world.run(0.1)
    assert phone.inbox[0] == phone.inbox[1]
    assert world.real.endpoint.retransmissions_in == 1
    world.finish()


@pytest.mark.parametrize("method", ["OPTIONS", "REGISTER", "BYE", "SUBSCRIBE"])
@pytest.mark.parametrize(
    ("change", "status"),
    [
        (("Max-Forwards: 70", "Require: 100rel, x\r\nMax-Forwards: 70"), 420),
        (("Max-Forwards: 70", "Proxy-Require: privacy\r\nMax-Forwards: 70"), 420),
        ((HERE, "mailto:someone@example.com"), 416),
        ((HERE, "sip:@@"), 400),
        (("Max-Forwards: 70", "Require:\r\nMax-Forwards: 70"), None),
        (("Max-Forwards: 70", "Max-Forwards: 0"), None),  # it ends here, so it has hops enough
        (("Max-Forwards: 70\r\n", ""), None),
    ],
)
def test_what_may_be_wrong_with_any_request(method: str, change: tuple[str, str], status: int | None) -> None:
    usual = {"OPTIONS": 200, "REGISTER": 405, "BYE": 481, "SUBSCRIBE": 489}[method]
    text = request_text(method, HERE, ADDRESS_A, to_value="<sip:somebody@h>").replace(*change, 1)
    world, phone, answer = ask(text)
    assert phone.words == [str(status or usual)]
    if status == 420:
        assert answer.get("unsupported") in ("x", "privacy")
    assert world.finish() == []


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (request_text("OPTIONS", HERE, ADDRESS_A).replace("SIP/2.0\r\n", "SIP/3.0\r\n", 1), 505),
        (request_text("OPTIONS", HERE, ADDRESS_A).replace("CSeq: 1 OPTIONS", "CSeq: 1 INVITE"), 400),
        (request_text("OPTIONS", HERE, ADDRESS_A).replace("Content-Length: 0", "Content-Length: 17"), 400),
        (request_text("INVITE", HERE, ADDRESS_A, lines=("Broken header",)), 400),
    ],
)
def test_what_cannot_be_read_is_answered_without_a_transaction(data: str, status: int) -> None:
    world, phone, answer = ask(data)
    assert phone.words == [str(status)]
    assert answer.to_tag
    assert world.real.tables()["server_transactions"] == 0
    assert world.real.endpoint.drops["malformed"] == 1
    assert world.finish() == []


@pytest.mark.parametrize(
    "data",
    [
        b"SIP/2.0 200 OK\r\nrubbish\r\n\r\n",
        b"\xff\xfe\x00rubbish",
        b"INVITE sip:x SIP/2.0\r\n\r\n",
        b"ACK sip:x SIP/2.0\r\nVia: x\r\n\r\n",
    ],
)
def test_what_cannot_be_answered_is_dropped_and_counted(data: bytes) -> None:
    world = World()
    phone = world.script(ADDRESS_A)
    phone.send(data)
    world.run(0.1)
    assert phone.inbox == []
    assert world.real.endpoint.drops["malformed"] == 1
    assert world.finish() == []


def test_stray_answers_are_dropped_and_counted() -> None:
    world = World()
    phone = world.script(ADDRESS_A)
    lines = "From: <sip:a>;tag=1\r\nTo: <sip:b>;tag=2\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
    phone.send(f"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKnone\r\n{lines}")
    phone.send(f"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKnone, SIP/2.0/UDP h\r\n{lines}")
    world.finish()
    assert world.real.endpoint.drops == {"stray_response": 1, "foreign_response": 1}


# in a dialog


class Caller:
    """A scripted caller in a call that is up."""

    def __init__(self) -> None:
        self.world = World()
        self.world.callee.on_call = lambda call: call.accept()
        self.phone = self.world.script(ADDRESS_A)
        self.phone.send(request_text("INVITE", f"sip:{X}@{SWITCH[0]}", ADDRESS_A, number="13876543210", lines=(PAI,)))
        self.world.run(0.2)
        answer = self.phone.last("200")
        self.call_id, self.to_value, self.from_value = answer.call_id, answer.to_value, answer.from_value
        self.ask("ACK", 1)

    def ask(self, method: str, cseq: int, **given: Any) -> list[str]:
        """The answers to a request in the dialog, or nearly in it."""
        common: dict[str, Any] = {"call_id": self.call_id, "to_value": self.to_value, "from_value": self.from_value}
        before = len(self.phone.words)
        text = request_text(method, f"sip:{X}@{SWITCH[0]}", ADDRESS_A, cseq=cseq, **{**common, **given})
        self.phone.send(text)
        self.world.run(0.2)
        return self.phone.words[before:]

    def finish(self) -> None:
        assert self.world.real.live_calls()[0].state == "up"
        assert "200" in self.ask("BYE", 1000)
        self.world.finish()


@pytest.mark.parametrize(
    ("method", "status"),
    [
        ("OPTIONS", "200"),
        ("UPDATE", "200"),
        ("MESSAGE", "405"),
        ("PRACK", "481"),
        ("NOTIFY", "481"),
        ("SUBSCRIBE", "489"),
        ("REFER", "603"),
        ("FOO", "501"),
    ],
)
def test_every_other_method_in_a_dialog(method: str, status: str) -> None:
    """Profile §4 item 14: every request gets its final answer, and the call goes on."""
    caller = Caller()
    assert caller.ask(method, 2, lines=("Refer-To: <sip:13925814703@h>",)) == [status]
    assert [d.word for d in caller.world.network.toward("b")] == ["INVITE", "ACK"]
    caller.finish()


@pytest.mark.parametrize("method", ["BYE", "INVITE", "INFO"])
@pytest.mark.parametrize(
    "wrong", [{"call_id": "another"}, {"from_value": "<sip:a@h>;tag=another"}, {"from_value": "<sip:a@h>"}]
)
def test_a_request_with_half_of_the_dialog_is_not_of_it(method: str, wrong: dict[str, Any]) -> None:
    caller = Caller()
    assert caller.ask(method, 2, **wrong)[0] == "481"
    assert caller.ask("INFO", 2) == ["200"]  # the sequence has not moved
    caller.finish()


def test_a_wrong_ack_is_none() -> None:
    """Another Call-ID, or the sequence number of nothing: the 2xx goes on being repeated until the right one."""
    world = World()
    world.callee.on_call = lambda call: call.accept()
    phone = world.script(ADDRESS_A)
    phone.send(request_text("INVITE", f"sip:{X}@{SWITCH[0]}", ADDRESS_A, number="13876543210", lines=(PAI,)))
    world.run(0.1)
    answer = phone.last("200")
    right: dict[str, Any] = {"call_id": answer.call_id, "to_value": answer.to_value, "from_value": answer.from_value}
    for wrong in ({"cseq": 2}, {"call_id": "another"}):
        phone.send(request_text("ACK", HERE, ADDRESS_A, **{**right, **wrong}))
    world.run(2.0)
    assert phone.words.count("200") == 3
    phone.send(request_text("ACK", HERE, ADDRESS_A, **right))
    world.run(5.0)
    assert phone.words.count("200") == 3
    phone.send(request_text("ACK", HERE, ADDRESS_A, **right))  # once more does nothing
    phone.send(request_text("BYE", HERE, ADDRESS_A, **{**right, "cseq": 2}))
    world.finish()


def test_a_requirement_does_not_keep_a_call_from_ending() -> None:
    caller = Caller()
    assert caller.ask("INFO", 2, lines=("Require: foo",)) == ["420"]
    assert caller.phone.last("420").get("unsupported") == "foo"
    assert caller.ask("BYE", 3, lines=("Require: foo",)) == ["200"]
    caller.world.finish()


def test_a_second_bye_finds_nothing() -> None:
    caller = Caller()
    assert caller.ask("BYE", 2) == ["200"]
    assert caller.ask("BYE", 3) == ["481"]
    assert caller.ask("INFO", 4) == ["481"]
    caller.world.finish()


def test_requests_while_the_other_leg_is_still_ending() -> None:
    """The callee's BYE is unanswered yet: its dialog stands in the table, and is over all the same."""
    caller = Caller()
    world = caller.world
    other = world.callee.call
    world.network.conditions.drop = lambda datagram: datagram.way == "b>" and datagram.word == "200"
    assert caller.ask("BYE", 2) == ["200"]
    for method in ("INFO", "INVITE"):
        other.request(method, "Contact: <sip:192.0.2.20>")
    world.callee.flush()
    world.run(0.2)
    assert other.heard[-2:] == ["INFO 481", "481"]
    world.network.conditions.drop = None
    world.finish()


def test_ringing_takes_no_reinvite_from_the_caller() -> None:
    world = World()
    world.callee.on_call = lambda call: call.ring()
    phone = world.script(ADDRESS_A)
    phone.send(request_text("INVITE", f"sip:{X}@{SWITCH[0]}", ADDRESS_A, number="13876543210", lines=(PAI,)))
    world.run(0.2)
    ringing = phone.last("180")
    dialog: dict[str, Any] = {
        "call_id": ringing.call_id,
        "to_value": ringing.to_value,
        "from_value": ringing.from_value,
    }
    phone.send(request_text("INVITE", HERE, ADDRESS_A, cseq=2, **dialog))
    world.run(0.2)
    assert phone.words[-1] == "491"
    world.switch.enter(world.real.release_all)
    world.finish()


# the same call twice


def test_an_invite_over_two_ways_is_taken_once() -> None:
    """§8.2.2.2; the second copy is refused and is on record as its own attempt."""
    world = World()
    phone = world.script(ADDRESS_A)
    invite = request_text(
        "INVITE",
        f"sip:{X}@{SWITCH[0]}",
        ADDRESS_A,
        number="13876543210",
        lines=(PAI,),
        call_id="one",
        branch="z9hG4bKway-1",
    )
    phone.send(invite)
    phone.send(invite.replace("way-1", "way-2"))
    phone.send(invite.replace("tag=script", "tag=someone-else").replace("way-1", "way-3"))
    world.run(0.05)
    assert sorted(phone.words) == ["100", "100", "482"]
    assert len(world.callee.calls) == 2
    world.switch.enter(world.real.release_all)
    told = world.finish()
    assert [story.ended.reason for story in told] == ["shutdown", "merged", "shutdown"]


def test_the_same_call_id_may_come_again_when_the_first_attempt_is_over() -> None:
    """A caller that repeats its call after a failure keeps its Call-ID (§8.1.3.5)."""
    world = World()
    world.callee.on_call = lambda call: call.refuse(486)
    phone = world.script(ADDRESS_A)
    for cseq in (1, 2):
        phone.send(
            request_text(
                "INVITE",
                f"sip:{X}@{SWITCH[0]}",
                ADDRESS_A,
                number="13876543210",
                lines=(PAI,),
                call_id="one",
                cseq=cseq,
            )
        )
        world.run(0.1)
    assert phone.words.count("100") == 2
    told = world.finish()
    assert [story.ended.status for story in told] == [486, 486]


def test_tags_and_branches_of_before_rfc_3261() -> None:
    """No magic cookie, no tag in From: such a caller is served."""
    world = World()
    world.callee.on_call = lambda call: call.accept()
    phone = world.script(ADDRESS_A)
    text = request_text(
        "INVITE", f"sip:{X}@{SWITCH[0]}", ADDRESS_A, number="13876543210", lines=(PAI,), branch="1",
        from_value="<sip:13876543210@192.0.2.10>", call_id="old",
    )  # fmt: skip
    phone.send(text)
    world.run(0.1)
    answer = phone.last("200")
    common: dict[str, Any] = {"call_id": "old", "from_value": answer.from_value, "to_value": answer.to_value}
    phone.send(request_text("ACK", HERE, ADDRESS_A, branch="1", **common))
    world.run(0.1)
    phone.send(request_text("BYE", HERE, ADDRESS_A, branch="1", cseq=2, **common))
    (story,) = world.finish()
    assert story.ended.outcome == "answered"


def test_answers_go_back_the_way_the_request_came() -> None:
    """§18.2.2, RFC 3581: to the source with rport, else to the port in Via."""
    world = World()
    phone = world.script(ADDRESS_A)
    other = Script(world.network, ("192.0.2.10", 5999), "a")
    phone.send(request_text("OPTIONS", HERE, ADDRESS_A, via="Via: SIP/2.0/UDP 10.0.0.1:5999;branch=z9hG4bKx;rport"))
    phone.send(request_text("OPTIONS", HERE, ADDRESS_A, via="Via: SIP/2.0/UDP 10.0.0.1:5999;branch=z9hG4bKy"))
    world.run(0.1)
    assert phone.words == other.words == ["200"]
    via = parse(phone.inbox[0]).first["via"]
    assert "received=192.0.2.10" in via
    assert "rport=5060" in via
    world.finish()


def test_requests_are_counted_by_what_they_are() -> None:
    world = World()
    call = world.caller.dial(X)
    call.on("200", call.hang_up)
    world.finish()
    assert dict(world.real.endpoint.received) == {"INVITE": 1, "ACK": 1, "BYE": 1, "1xx": 2, "2xx": 2}
    assert isinstance(world.callee.call.requests[0], Request)
