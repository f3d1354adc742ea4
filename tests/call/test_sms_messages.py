"""Short messages of mobile networks across the switch: addresses are middle numbers, an SMS-SUBMIT becomes an
SMS-DELIVER, and confirmations go back to who asked for them (rules R2, R8)."""

from collections.abc import Iterator

import pytest

from b2bua.call.message_settings import MessageSettings, Report, SmsSender
from b2bua.sip.gsm import encode_septets, format_digits, pack_septets
from b2bua.sip.sms import (
    SMS,
    Address,
    Coding,
    Concat,
    Relay,
    RelayKind,
    ShortText,
    deliver,
    parse_relay,
    parse_short_text,
)
from routing.content import Assessment
from tests.call.texts import HELLO, Inbox, send, sms_body, submit
from tests.call.world import TRUNKS, World, X
from tests.wire import Conditions, lose

A_DIGITS, B_DIGITS = "13876543210", "13925814703"


def sms_world(**settings: object) -> World:
    return World(settings={"messages": MessageSettings(**settings)})  # type: ignore[arg-type]


def told(inbox: Inbox) -> list[ShortText]:
    """The texts that a phone got as SMS-DELIVER."""
    relays = [parse_relay(body) for body in inbox.bodies]
    assert all(relay.kind is RelayKind.DATA and relay.to_phone for relay in relays)
    assert all(relay.originator == Address(0xA1, X) and relay.destination is None for relay in relays)
    return [parse_short_text(relay, 0) for relay in relays]


def test_a_submit_becomes_a_deliver_from_the_middle_number() -> None:
    world = World()
    inbox, back = Inbox(world.callee, confirms="ack"), Inbox(world.caller)
    sent = send(world.caller, X, sms_body(submit(HELLO, X)), SMS)
    world.run(2)
    assert sent.heard == ["202"]
    assert told(inbox) == [ShortText(HELLO, Coding.UCS2, None, Address(0xA1, X))]
    (request,) = inbox.requests
    assert request.get("content-type") == SMS
    assert [(report.kind, report.to_phone, report.reference) for report in back.reports] == [(RelayKind.ACK, True, 42)]
    ((attempted, _, ended),) = world.finish()
    assert (attempted.calling, ended.outcome, ended.media) == ("a", "delivered", SMS)
    assert len(world.network.toward("a")) == 2  # the 202 and the RP-ACK


def test_the_confirmation_names_the_message_that_it_is_for() -> None:
    """3GPP TS 24.341: In-Reply-To is the Call-ID of the short message."""
    world = World()
    Inbox(world.callee, confirms="ack")
    seen = []
    back = Inbox(world.caller)
    take = world.caller.on_message
    assert take is not None
    world.caller.on_message = lambda transaction, request: (seen.append(request), take(transaction, request))[1]
    sent = send(world.caller, X, sms_body(submit(HELLO, X)), SMS)
    world.run(2)
    (request,) = seen
    assert request.get("in-reply-to") == sent.call_id
    assert request.uri == "sip:13876543210@192.0.2.10:5060"
    assert request.from_value.startswith(f"<sip:{X}@")
    assert len(back.reports) == 1
    world.finish()


def test_a_deliver_stays_one() -> None:
    world = World()
    inbox, back = Inbox(world.callee, confirms="ack"), Inbox(world.caller)
    tpdu = deliver(ShortText("ok", Coding.SEPTETS, None, Address(0, "")), "+8613876543210", 0)
    send(world.caller, X, sms_body(tpdu, to_phone=True), SMS)
    world.run(2)
    assert [text.text for text in told(inbox)] == ["ok"]
    assert [(report.kind, report.to_phone) for report in back.reports] == [(RelayKind.ACK, False)]
    world.finish()


def test_the_parts_of_a_long_text_stay_together() -> None:
    world = World()
    inbox = Inbox(world.callee, confirms="ack")
    Inbox(world.caller)
    parts = [Concat(77, 3, number, False) for number in (1, 2, 3)]
    for concat in parts:
        send(world.caller, X, sms_body(submit(f"part {concat.number} ", X, concat=concat)), SMS)
    world.run(2)
    assert [text.concat for text in told(inbox)] == parts
    assert "".join(text.text for text in told(inbox)) == "part 1 part 2 part 3 "
    assert len({parse_relay(body).reference for body in inbox.bodies}) == 3
    world.finish()


def test_the_service_centre_may_be_what_is_dialled() -> None:
    world = World()
    inbox = Inbox(world.callee, confirms="ack")
    Inbox(world.caller)
    send(world.caller, "+8613800210500", sms_body(submit(HELLO, X)), SMS)
    world.run(2)
    assert [text.text for text in told(inbox)] == [HELLO]
    ((attempted, _, _),) = world.finish()
    assert attempted.x == X


@pytest.mark.parametrize(
    ("x", "body"),
    [
        (X, sms_body(submit(HELLO, "700123456789099"))),
        (
            X,
            sms_body(deliver(ShortText("x", Coding.SEPTETS, None, Address(0, "")), "+8613900000000", 0), to_phone=True),
        ),
    ],
)
def test_numbers_that_contradict_each_other_are_refused(x: str, body: bytes) -> None:
    world = World()
    sent = send(world.caller, x, body, SMS)
    world.run(1)
    assert sent.heard == ["403"]
    ((_, _, ended),) = world.finish()
    assert (ended.outcome, ended.reason) == ("refused", "sender_mismatch")


def originated(kind: int, text: bytes, length: int) -> bytes:
    """An SMS-DELIVER of this originator."""
    tpdu = (
        bytes((0x04, length, kind)) + text + bytes((0, 0)) + b"\x00" * 7 + b"\x02" + pack_septets(encode_septets("hi"))
    )
    return sms_body(tpdu, to_phone=True)


@pytest.mark.parametrize(
    "body",
    [
        originated(0xD0, pack_septets(encode_septets("TAOBAO")), 11),
        originated(0x81, format_digits("1069012345678"), 13),
        originated(0x81, format_digits("95588"), 5),
        originated(0x81, format_digits("10086"), 5),
    ],
)
def test_services_are_known_by_tp_oa_too(body: bytes) -> None:
    """R15."""
    world = World()
    sent = send(world.caller, X, body, SMS)
    world.run(1)
    assert sent.heard == ["403"]
    ((_, _, ended),) = world.finish()
    assert (ended.outcome, ended.reason) == ("dropped", "service_sender")


def test_tp_oa_may_be_the_sender_where_the_header_names_the_centre() -> None:
    world = sms_world(sms_sender=SmsSender.TPDU)
    inbox = Inbox(world.callee, confirms="ack")
    Inbox(world.caller)
    tpdu = deliver(ShortText("ok", Coding.SEPTETS, None, Address(0, "")), "+8613876543210", 0)
    centre = "<sip:smsc.carrier-a.example@192.0.2.10>"
    send(world.caller, X, sms_body(tpdu, to_phone=True), SMS, identity=centre)
    world.run(2)
    assert [text.text for text in told(inbox)] == ["ok"]
    world.finish()


def test_sms_may_be_refused() -> None:
    world = sms_world(sms=False)
    sent = send(world.caller, X, sms_body(submit(HELLO, X)), SMS)
    world.run(1)
    assert sent.heard == ["415"]
    assert sent.answer is not None
    assert sent.answer.all("accept") == ["text/plain, message/cpim"]
    ((_, _, ended),) = world.finish()
    assert ended.reason == "bad_media_type"


def test_a_confirmation_while_sms_is_refused_is_a_message_like_others() -> None:
    world = sms_world(sms=False)
    sent = send(world.caller, X, b"\x02\x05", SMS)
    world.run(1)
    assert sent.heard == ["415"]
    assert len(world.finish()) == 1


@pytest.mark.parametrize("body", [b"\x02\x05", b"\x04\x05\x01\x16", b"\x06\x05"])
def test_a_confirmation_of_nothing_is_answered_and_counted(body: bytes) -> None:
    world = World()
    sent = send(world.callee, X, body, SMS)
    world.run(1)
    assert sent.heard == ["200"]
    assert world.real.statistics.drops["stray_report"] == 1
    assert world.finish() == []


def test_somebody_elses_confirmation_counts_for_nothing() -> None:
    world = World()
    inbox = Inbox(world.callee)
    Inbox(world.caller)
    send(world.caller, X, sms_body(submit(HELLO, X)), SMS)
    world.run(1)
    reference = parse_relay(inbox.bodies[0]).reference
    send(world.caller, X, bytes((4, reference, 1, 21)), SMS)
    world.run(1)
    assert world.real.messages.live()[0].state == "reporting"
    ((_, _, ended),) = world.finish()
    assert ended.outcome == "delivered"  # its network has taken it, and its phone said nothing to the contrary


def test_a_phone_that_refuses_for_good() -> None:
    world = World()
    inbox = Inbox(world.callee, confirms=21)
    back = Inbox(world.caller)
    send(world.caller, X, sms_body(submit(HELLO, X)), SMS)
    world.run(60)
    assert len(inbox.requests) == 1
    assert len(back.reports) == 1  # it was taken over before
    ((_, _, ended),) = world.finish()
    assert (ended.outcome, ended.q850, ended.ended_by) == ("rejected", 21, "callee")
    assert ended.routes == ("carrier-b:200", "carrier-b:rp_21")


def test_a_phone_that_is_full_gets_it_later() -> None:
    world = World()
    inbox = Inbox(world.callee, confirms=22)
    Inbox(world.caller)
    send(world.caller, X, sms_body(submit(HELLO, X)), SMS)
    world.run(1)
    inbox.confirms = "ack"
    world.run(60)
    assert [text.text for text in told(inbox)] == [HELLO, HELLO]
    ((_, _, ended),) = world.finish()
    assert ended.outcome == "delivered"
    assert ended.routes == ("carrier-b:200", "carrier-b:rp_22", "carrier-b:200")


@pytest.mark.parametrize(("status", "cause"), [(200, 0), (403, 21), (404, 1)])
def test_the_sender_may_be_told_what_became_of_it(status: int, cause: int) -> None:
    world = sms_world(sms_report=Report.DELIVERED)
    Inbox(world.callee, [status], confirms="ack")
    back = Inbox(world.caller)
    send(world.caller, X, sms_body(submit(HELLO, X)), SMS)
    world.run(0.2)
    assert (back.reports == []) == (status == 200)  # then the phone's own word is waited for
    world.run(5)
    (report,) = back.reports
    assert report == Relay(RelayKind.ERROR if cause else RelayKind.ACK, True, 42, cause=cause)
    world.finish()


def test_the_phone_says_how_long_it_is_worth_trying() -> None:
    """TP-VP, here five minutes."""
    world = World(trunks=TRUNKS[:2])
    Inbox(world.callee, [503])
    Inbox(world.caller)
    send(world.caller, X, sms_body(submit(HELLO, X, validity=0)), SMS)
    world.run(400)
    ((_, _, ended),) = world.finish()
    assert ended.outcome == "expired"
    assert 300_000 <= ended.total_ms < 302_000


@pytest.mark.parametrize("coding", list(Coding))
def test_a_typed_number_does_not_leave_in_any_coding(coding: Coding) -> None:
    world = World()
    inbox = Inbox(world.callee, confirms="ack")
    Inbox(world.caller)
    send(world.caller, X, sms_body(submit(f"call {A_DIGITS}", X, coding=coding)), SMS)
    world.run(2)
    assert [text.text for text in told(inbox)] == ["call ***********"]
    assert world.tripped == 0
    ((_, _, ended),) = world.finish(private=False)
    assert ended.media == f"{SMS} phone_number masked"


@pytest.mark.parametrize("coding", list(Coding))
def test_the_tripwire_reads_short_messages_too(coding: Coding, monkeypatch: pytest.MonkeyPatch) -> None:
    """The day somebody breaks the mask: packed septets and UCS-2 do not hide a number."""
    monkeypatch.setattr("b2bua.call.short_message.assess", lambda text, own, policy: Assessment("", text))
    world = World()
    inbox = Inbox(world.callee)
    Inbox(world.caller)
    send(world.caller, X, sms_body(submit(f"call {A_DIGITS}", X, coding=coding)), SMS)
    world.run(2)
    assert inbox.requests == []
    ((_, _, ended),) = world.finish(private=False, tripped=1)
    assert ended.reason == "tripwire"


def test_codes_in_short_messages_are_dropped() -> None:
    world = World()
    sent = send(world.caller, X, sms_body(submit("验证码 123456", X)), SMS)
    world.run(1)
    assert sent.heard == ["403"]
    ((_, _, ended),) = world.finish()
    assert (ended.outcome, ended.reason) == ("dropped", "verification_code")


@pytest.mark.parametrize(("scheme", "identifier"), [(0x04, 0), (0x16, 0), (0, 0x7F), (0, 0x40)])
def test_what_is_not_for_people_is_refused(scheme: int, identifier: int) -> None:
    world = World()
    body = sms_body(submit("x", X, coding=Coding.SEPTETS, scheme=scheme, identifier=identifier))
    sent = send(world.caller, X, body, SMS)
    world.run(1)
    assert sent.heard == ["415"]
    world.finish()


def cuts(body: bytes) -> Iterator[bytes]:
    return (body[:length] for length in range(len(body)))


def test_a_body_cut_at_every_byte_is_refused_with_a_record() -> None:
    world = World()
    whole = sms_body(submit(HELLO, X))
    sent = [send(world.caller, X, body, SMS) for body in cuts(whole) if body]
    world.run(2)
    assert {status for each in sent for status in each.heard} == {"400"}
    assert len(world.finish()) == len(sent)


def test_256_at_one_time_to_one_phone() -> None:
    """There are no more references than that; the confirmations of what is beyond go astray, the messages do not."""
    world = World()
    inbox = Inbox(world.callee)
    Inbox(world.caller)
    for number in range(258):
        send(world.caller, X, sms_body(submit(f"{number}", X)), SMS)
    world.run(5)
    assert len(inbox.requests) == 258
    assert {story.ended.outcome for story in world.finish(private=False)} == {"delivered"}


def test_a_report_to_a_trunk_that_is_gone_is_not_sent() -> None:
    world = World()
    Inbox(world.callee, confirms="ack")
    world.switch.shelf.delay = 1.0
    send(world.caller, X, sms_body(submit(HELLO, X)), SMS)
    world.run(0.5)
    world.reconfigure(trunks=TRUNKS[1:])
    world.run(5)
    assert [d.word for d in world.network.toward("a")] == ["202"]
    world.finish(agree=False)


def test_a_report_that_its_trunk_does_not_answer_is_forgotten() -> None:
    world = World(Conditions(drop=lose(99, ">a", "MESSAGE")))
    Inbox(world.callee, confirms="ack")
    sent = send(world.caller, X, sms_body(submit(HELLO, X)), SMS)
    world.run(100)
    assert sent.heard == ["202"]
    ((_, _, ended),) = world.finish()
    assert ended.outcome == "delivered"


def test_a_confirmation_may_overtake_the_answer() -> None:
    world = World(Conditions(drop=lose(3, "b>", "200")))
    inbox, _ = Inbox(world.callee, confirms="ack"), Inbox(world.caller)
    send(world.caller, X, sms_body(submit(HELLO, X)), SMS)
    world.run(20)
    assert len(inbox.requests) == 1
    ((_, _, ended),) = world.finish()
    assert ended.outcome == "delivered"


def test_what_the_phone_has_confirmed_goes_nowhere_else_when_the_answer_is_lost() -> None:
    world = World(Conditions(drop=lose(99, "b>", "200")))
    inbox, second = Inbox(world.callee, confirms="ack"), Inbox(world.second)
    Inbox(world.caller)
    send(world.caller, X, sms_body(submit(HELLO, X)), SMS)
    world.run(100)
    assert (len(inbox.requests), second.requests) == (1, [])
    ((_, _, ended),) = world.finish()
    assert (ended.outcome, ended.routes) == ("delivered", ("carrier-b:no_answer",))


def test_a_confirmation_of_the_wrong_direction_counts_for_nothing() -> None:
    world = World()
    inbox = Inbox(world.callee)
    Inbox(world.caller)
    send(world.caller, X, sms_body(submit(HELLO, X)), SMS)
    world.run(1)
    reference = parse_relay(inbox.bodies[0]).reference
    send(world.callee, X, bytes((5, reference, 1, 21)), SMS)
    world.run(1)
    assert world.real.statistics.drops["stray_report"] == 1
    ((_, _, ended),) = world.finish()
    assert ended.outcome == "delivered"


def test_a_report_that_would_tell_a_number_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("b2bua.call.messages.format_relay", lambda relay: b"\x03\x2a" + format_digits(B_DIGITS))
    world = World()
    Inbox(world.callee, confirms="ack")
    back = Inbox(world.caller)
    send(world.caller, X, sms_body(submit(HELLO, X)), SMS)
    world.run(2)
    assert back.reports == []
    world.finish(tripped=1)
