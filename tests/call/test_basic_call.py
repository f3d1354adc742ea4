"""A call that is answered: what each party gets to see, and what the record says."""

from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from b2bua.call.refusals import Outcome
from b2bua.sip.headers import parse_name_addr
from b2bua.sip.message import Message, Request, Response
from b2bua.sip.parser import parse
from routing.numbers import NumberForm
from routing.trunks import Identity
from tests.call.phone import PhoneCall, answer_after
from tests.call.world import ADDRESS_A, ADDRESS_B, NUMBER_A, NUMBER_B, TRUNKS, World, X
from tests.wire import START_MS, SWITCH, Conditions, Script, answer_text, lose, request_text


def sent(world: World, way: str, word: str) -> list[Message]:
    """The messages of this method or status that went this way."""
    return [datagram.message for datagram in world.network.log if (datagram.way, datagram.word) == (way, word)]


def test_the_caller_hangs_up() -> None:
    world = World()
    call = world.caller.dial(X)
    call.on("200", call.hang_up, after=10.0)
    (story,) = world.finish()
    assert call.heard == ["100", "180", "200", "BYE 200"]
    assert world.callee.call.heard == ["INVITE", "ACK", "BYE"]
    attempted, answered, ended = story
    assert answered is not None
    assert (attempted.caller, attempted.callee, attempted.calling, attempted.x) == (NUMBER_A, NUMBER_B, "a", X)
    assert (attempted.provider, attempted.business_user, attempted.scenario) == ("provider", "shop", "delivery")
    assert (attempted.binding_id, attempted.order_id, attempted.mode) == ("binding-1", "order-1", "AXB")
    assert attempted.industrial_id == "700.100.1/12345678"
    assert (attempted.node, attempted.kind, attempted.sequence, attempted.y) == ("x700", "call", 1, "")
    assert (attempted.ingress, attempted.ingress_call_id) == ("carrier-a", call.call_id)
    assert (answered.egress, answered.egress_call_id) == ("carrier-b", world.callee.call.call_id)
    assert (answered.ringing_ms - START_MS, answered.answered_ms - START_MS, answered.setup_ms) == (130, 1130, 1120)
    assert (ended.status, ended.q850, ended.outcome, ended.ended_by, ended.reason) == (
        200,
        16,
        "answered",
        "caller",
        "",
    )
    assert (ended.routes, ended.media) == (("carrier-b:200",), "audio PCMA/8000")
    assert (ended.total_ms, ended.talk_ms) == (11_140, 10_020)
    assert ended.ended_ms == START_MS + 11_150


def test_the_callee_hangs_up() -> None:
    world = World()
    world.caller.dial(X)
    world.run(3.0)
    world.callee.call.hang_up()
    (story,) = world.finish()
    assert world.caller.call.heard == ["100", "180", "200", "BYE"]
    assert world.callee.call.heard == ["INVITE", "ACK", "BYE 200"]
    assert (story.ended.ended_by, story.ended.outcome) == ("callee", Outcome.ANSWERED)


def test_b_calls_a_through_the_same_number() -> None:
    world = World()
    call = world.callee.dial(X)
    call.on("200", call.hang_up, after=1.0)
    (story,) = world.finish()
    assert world.caller.call.heard == ["INVITE", "ACK", "BYE"]
    assert (story.attempted.calling, story.attempted.caller, story.attempted.callee) == ("b", NUMBER_B, NUMBER_A)
    assert (story.attempted.ingress, story.ended.egress) == ("carrier-b", "carrier-a")


def test_the_callee_sees_the_middle_number_and_nothing_else() -> None:
    world = World()
    call = world.caller.dial(X, "Subject: hello", "Supported: 100rel", "X-Anything: at all")
    call.on("200", call.hang_up)
    world.finish()
    (invite,) = sent(world, ">b", "INVITE")
    assert isinstance(invite, Request)
    assert invite.uri == "sip:13925814703@192.0.2.20:5060"
    assert parse_name_addr(invite.from_value).uri == f"sip:{X}@{SWITCH[0]}"
    assert parse_name_addr(invite.from_value).display == ""
    assert invite.to_value == "<sip:13925814703@192.0.2.20:5060>"
    assert invite.first.keys() == {
        "via", "max-forwards", "from", "to", "call-id", "cseq", "contact", "allow", "user-agent", "supported",
        "p-asserted-identity", "session-expires", "min-se", "content-type", "content-length",
    }  # fmt: skip
    assert invite.get("contact") == f"<sip:{X}@{SWITCH[0]}:{SWITCH[1]}>"
    assert invite.get("p-asserted-identity") == f"<sip:{X}@{SWITCH[0]}>"
    assert "@" not in invite.call_id


def test_the_caller_is_answered_as_the_middle_number() -> None:
    world = World()
    call = world.caller.dial(X)
    call.on("200", call.hang_up)
    world.finish()
    (answer,) = sent(world, ">a", "200")[:1]
    assert parse_name_addr(answer.to_value).uri == f"sip:{X}@{SWITCH[0]}:{SWITCH[1]}"
    assert answer.get("contact") == f"<sip:{X}@{SWITCH[0]}:{SWITCH[1]}>"
    assert answer.first.keys() == {
        "via", "from", "to", "call-id", "cseq", "contact", "allow", "supported", "server", "content-type",
        "content-length", "session-expires",
    }  # fmt: skip


def test_hops_go_down_by_one_across_the_switch() -> None:
    world = World()
    phone = world.script(ADDRESS_A)
    for hops in ("5", "70", "255"):
        text = request_text("INVITE", f"sip:{X}@{SWITCH[0]}", ADDRESS_A, number="13876543210", lines=(PAI,))
        phone.send(text.replace("Max-Forwards: 70", f"Max-Forwards: {hops}"))
    text = request_text("INVITE", f"sip:{X}@{SWITCH[0]}", ADDRESS_A, number="13876543210", lines=(PAI,))
    phone.send(text.replace("Max-Forwards: 70\r\n", ""))
    world.run(0.5)
    assert [message.get("max-forwards") for message in sent(world, ">b", "INVITE")] == ["4", "69", "69", "69"]
    world.switch.enter(world.real.release_all)
    world.finish()


PAI = "P-Asserted-Identity: <sip:13876543210@192.0.2.10>"


@pytest.mark.parametrize(
    ("form", "caller", "shown"),
    [
        (NumberForm.NATIONAL, "13925814703", X),
        (NumberForm.E164, "+8613925814703", f"+86{X}"),
        (NumberForm.INTERNATIONAL, "8613925814703", f"86{X}"),
    ],
)
def test_numbers_are_written_as_the_trunk_wants_them(form: NumberForm, caller: str, shown: str) -> None:
    trunks = (replace(TRUNKS[0], number_form=form), replace(TRUNKS[1], number_form=form, send_identity=False))
    world = World(trunks=trunks)
    call = world.caller.dial(X)
    call.on("200", call.hang_up)
    world.finish()
    (invite,) = sent(world, ">b", "INVITE")
    assert isinstance(invite, Request)
    assert invite.uri == f"sip:{caller}@192.0.2.20:5060"
    assert parse_name_addr(invite.from_value).uri == f"sip:{shown}@{SWITCH[0]}"
    assert invite.get("p-asserted-identity") is None
    assert sent(world, ">a", "200")[0].get("contact") == f"<sip:{shown}@{SWITCH[0]}:{SWITCH[1]}>"


@pytest.mark.parametrize(
    "dialled",
    [X, f"+86{X}", f"86{X}", f"0086{X}", "700-1234-5678-9012", f"%2B86{X}", f"{X};phone-context=+86", f"{X};npdi"],
)
def test_every_alias_of_the_middle_number_is_understood(dialled: str) -> None:
    world = World()
    call = world.caller.dial(dialled)
    call.on("200", call.hang_up)
    (story,) = world.finish()
    assert story.attempted.x == X
    assert story.ended.outcome == Outcome.ANSWERED


@pytest.mark.parametrize(
    "uri", [f"tel:+86{X}", f"tel:{X};phone-context=+86", f"sip:{X}@192.0.2.1;user=phone", f"sips:{X}@h"]
)
def test_every_scheme_of_a_number_is_understood(uri: str) -> None:
    world = World()
    call = world.caller.dial(X, uri=uri)
    call.on("200", call.hang_up)
    (story,) = world.finish()
    assert story.ended.outcome == Outcome.ANSWERED


def test_the_zero_before_a_number_is_for_trunks_that_say_so() -> None:
    told = []
    for accept_zero in (False, True):
        world = World(trunks=(replace(TRUNKS[0], accept_zero=accept_zero), *TRUNKS[1:]))
        call = world.caller.dial(f"0{X}")
        call.on("200", call.hang_up)
        told += world.finish()
    assert [story.ended.status for story in told] == [404, 200]


@pytest.mark.parametrize(
    ("identity", "pai", "from_user", "status"),
    [
        (Identity.PAI, "<sip:+8613876543210@carrier;user=phone>, <tel:+8613876543210>", "anonymous", 200),
        (Identity.PAI, "<sip:ims-user@carrier>, <tel:+8613876543210>", "anonymous", 200),
        (Identity.PAI, "<tel:13876543210;phone-context=+86>", "anonymous", 200),
        (Identity.PAI, "", "13876543210", 433),  # what From says is not to be trusted
        (Identity.PAI, "<no address", "13876543210", 433),
        (Identity.PAI, "<sip:somebody@carrier>", "13876543210", 403),
        (Identity.FROM, "<sip:15000000000@carrier>", "13876543210", 200),
        (Identity.FROM, "", "anonymous", 433),
    ],
)
def test_the_caller_is_who_the_trusted_header_says(identity: Identity, pai: str, from_user: str, status: int) -> None:
    world = World(trunks=(replace(TRUNKS[0], identity=identity), *TRUNKS[1:]))
    call = world.caller.dial(X, identity=pai, from_value=f"<sip:{from_user}@192.0.2.10>")
    call.on("200", call.hang_up)
    (story,) = world.finish()
    assert story.ended.status == call.statuses[-1] == status


@pytest.mark.parametrize(
    ("said", "told"), [((180, 181, 182, 183), ["180", "180", "180", "183"]), ((182,), ["180"]), ((183,), ["183"])]
)
def test_provisional_answers_say_no_more_than_that_it_rings(said: tuple[int, ...], told: list[str]) -> None:
    def take(call: PhoneCall) -> None:
        for delay, status in enumerate(said):
            call.phone.network.later(delay, partial(call.ring, status))
        call.phone.network.later(len(said) + 1, call.accept)

    world = World()
    world.callee.on_call = take
    call = world.caller.dial(X)
    call.on("200", call.hang_up)
    world.finish()
    assert call.heard == ["100", *told, "200", "BYE 200"]


@pytest.mark.parametrize(("status", "told"), [(180, "180"), (181, "183"), (183, "183")])
def test_early_media_reaches_the_caller(status: int, told: str) -> None:
    world = World()
    world.callee.on_call = answer_after(1.0, status=status, sdp=world.callee.sdp())
    call = world.caller.dial(X)
    call.on("200", call.hang_up)
    world.finish()
    (early,) = sent(world, ">a", told)
    assert b"c=IN IP4 198.51.100.20" in early.body
    assert sent(world, ">a", "200")[0].body == early.body  # the same description, so the same version


def test_an_unusable_early_description_does_not_end_the_call() -> None:
    world = World()
    world.callee.on_call = answer_after(1.0, status=183, sdp=b"v=1\r\nnonsense\r\n")
    call = world.caller.dial(X)
    call.on("200", call.hang_up)
    world.finish()
    (early,) = sent(world, ">a", "183")
    assert early.body == b""


def test_descriptions_cross_with_media_and_without_the_rest() -> None:
    world = World()
    call = world.caller.dial(X)
    call.on("200", call.hang_up)
    world.finish()
    for invite in (sent(world, ">b", "INVITE")[0], sent(world, ">a", "200")[0]):
        lines = invite.body.decode().split("\r\n")
        assert lines[2] == "s=-"
        assert lines[1].startswith("o=- ")
        assert lines[1].endswith(f" 1 IN IP4 {SWITCH[0]}")
        assert "m=audio 20000 RTP/AVP 8 0 101" in lines
        assert "a=fmtp:101 0-15" in lines


def test_a_callee_without_ringing() -> None:
    world = World()
    world.callee.on_call = lambda call: call.accept()
    call = world.caller.dial(X)
    call.on("200", call.hang_up)
    (story,) = world.finish()
    assert call.heard == ["100", "200", "BYE 200"]
    assert story.ended.ringing_ms == 0


def test_a_delayed_offer_is_answered_in_the_ack() -> None:
    """Profile §4 item 6: not acknowledged too soon."""
    world = World(Conditions(latency=0.1))
    call = world.caller.dial(X, sdp=b"")
    call.on("200", call.hang_up, after=1.0)
    (story,) = world.finish()
    assert b"c=IN IP4 198.51.100.20" in sent(world, ">a", "200")[0].body
    assert b"c=IN IP4 198.51.100.10" in world.callee.call.answer_in_ack
    # the ACK to the callee waits for the one of the caller: it cannot hold the answer before
    ways = [(datagram.way, datagram.word) for datagram in world.network.log]
    assert ways.index((">b", "ACK")) > ways.index(("a>", "ACK"))
    assert story.ended.media == "audio PCMA/8000"


def test_a_delayed_offer_with_an_unusable_answer() -> None:
    world = World()
    call = world.caller.dial(X, sdp=b"")
    world.caller.disguise = lambda data: data.replace(b"m=audio", b"m=rubbi") if data.startswith(b"ACK") else data
    (story,) = world.finish()
    assert world.callee.call.answer_in_ack == b""
    assert (call.heard[-1], world.callee.call.heard[-1]) == ("BYE", "BYE")
    assert (story.ended.outcome, story.ended.ended_by, story.ended.reason) == ("answered", "switch", "no_session")


def test_the_reason_crosses_by_protocol_and_cause() -> None:
    world = World()
    call = world.caller.dial(X)
    world.run(2.0)
    call.request("BYE", 'Reason: SIP;cause=200;text="secret", Q.850;cause=31;text="more"')
    world.caller.flush()
    call.stage = type(call.stage).OVER
    (story,) = world.finish()
    (bye,) = sent(world, ">b", "BYE")
    assert bye.get("reason") == "Q.850;cause=31"
    assert story.ended.q850 == 31


def test_both_hang_up_at_once() -> None:
    world = World(Conditions(latency=0.1))
    call = world.caller.dial(X)
    world.run(3.0)
    call.hang_up()
    world.callee.call.hang_up()
    (story,) = world.finish()
    assert call.heard[-1] == "BYE 200"
    assert sorted(world.callee.call.heard[-2:]) == ["BYE", "BYE 200"]
    assert story.ended.outcome == Outcome.ANSWERED


def test_a_caller_that_never_acknowledges_is_released() -> None:
    """Profile §4 item 4: a 2xx that is never acknowledged."""
    world = World(Conditions(drop=lambda datagram: (datagram.way, datagram.word) == ("a>", "ACK")))
    call = world.caller.dial(X)
    (story,) = world.finish()
    assert call.heard[-1] == "BYE"
    assert (story.ended.outcome, story.ended.ended_by, story.ended.reason) == ("answered", "switch", "no_ack")
    assert (story.ended.q850, story.ended.status) == (102, 200)
    assert 32_000 <= story.ended.talk_ms <= 32_500
    # T1 and doubling up to T2 (§13.3.1.4): 0, 0.5, 1.5, 3.5, 7.5 and so on
    answers = [d.at for d in world.network.toward("a") if d.word == "200"]
    assert len(answers) == 11
    assert answers[3] - answers[0] == pytest.approx(3.5, abs=0.5)


def test_a_delayed_offer_whose_answer_never_comes() -> None:
    world = World(Conditions(drop=lambda datagram: (datagram.way, datagram.word) == ("a>", "ACK")))
    world.caller.dial(X, sdp=b"")
    (story,) = world.finish()
    # the callee gave up waiting for its ACK at the same time
    assert story.ended.outcome == Outcome.ANSWERED


def test_an_answer_that_comes_again_is_acknowledged_again() -> None:
    """Profile §4 item 4: a 200 that is repeated."""
    world = World(Conditions(drop=lose(1, ">b", "ACK")))
    call = world.caller.dial(X)
    call.on("200", call.hang_up, after=3.0)
    world.finish()
    acknowledgements = [d.data for d in world.network.toward("b") if d.word == "ACK"]
    assert len(acknowledgements) == 2
    assert len(set(acknowledgements)) == 1


def test_no_bye_before_the_ack() -> None:
    """§15: the callee hangs up while the caller has not got the answer yet; the caller gets that first."""
    world = World(Conditions(drop=lose(2, ">a", "200")))
    world.caller.dial(X)
    world.run(1.2)
    world.callee.call.hang_up()
    (story,) = world.finish()
    assert world.caller.call.heard == ["100", "180", "200", "BYE"]
    assert (story.ended.ended_by, story.ended.talk_ms) == ("callee", 80)


def test_a_bye_waits_no_longer_than_for_the_ack_itself() -> None:
    world = World(Conditions(drop=lambda datagram: (datagram.way, datagram.word) == ("a>", "ACK")))
    world.caller.dial(X)
    world.run(1.5)
    world.callee.call.hang_up()
    (story,) = world.finish()
    assert world.caller.call.heard[-1] == "BYE"
    byes = [d.at for d in world.network.toward("a") if d.word == "BYE"]
    assert byes[0] == pytest.approx(1.13 + 32, abs=0.5)
    assert story.ended.reason == ""


def test_both_hang_up_before_the_ack() -> None:
    """The caller's own BYE ends the wait for its ACK; it needs no other."""
    world = World(Conditions(drop=lambda datagram: (datagram.way, datagram.word) == ("a>", "ACK")))
    call = world.caller.dial(X)
    world.run(2.0)
    world.callee.call.hang_up()
    world.run(1.0)
    call.hang_up()
    (story,) = world.finish()
    assert call.heard[-1] == "BYE 200"
    assert sent(world, ">a", "BYE") == []
    assert story.ended.ended_by == "callee"


def test_the_caller_hangs_up_while_its_own_ack_is_missing() -> None:
    """Profile §4 item 4: BYE before ACK."""
    world = World(Conditions(drop=lambda datagram: (datagram.way, datagram.word) == ("a>", "ACK")))
    call = world.caller.dial(X)
    call.on("200", call.hang_up)
    world.finish()
    assert call.heard[-1] == "BYE 200"
    assert len(sent(world, ">a", "BYE")) == 0


def test_an_invite_that_comes_again_gets_the_last_answer_again() -> None:
    world = World()
    phone = world.script(ADDRESS_A)
    invite = request_text(
        "INVITE", f"sip:{X}@{SWITCH[0]}", ADDRESS_A, number="13876543210", lines=(PAI, "Timestamp: 17.5")
    )
    world.switch.held = True
    phone.send(invite)
    world.run(0.1)
    phone.send(invite)
    world.run(0.1)
    assert phone.words == ["100", "100"]
    assert parse(phone.inbox[0]).get("timestamp") == "17.5"  # §8.2.6.1
    world.switch.held = False
    world.switch.release()
    world.run(0.3)
    phone.send(invite)
    world.run(0.1)
    assert phone.words == ["100", "100", "180", "180"]
    world.run(2.0)
    phone.send(invite)
    world.run(0.1)
    assert len(world.callee.calls) == 1
    assert phone.words[4:] == ["200"] * 2  # the second by the dialog, half a second later, none for the INVITE
    answer = phone.last("200")
    phone.send(request_text("ACK", answer_contact(answer), ADDRESS_A, **dialog(answer)))
    world.run(0.1)
    phone.send(request_text("BYE", answer_contact(answer), ADDRESS_A, **dialog(answer, 2)))
    (story,) = world.finish()
    assert phone.words[-1] == "200"
    assert story.ended.outcome == Outcome.ANSWERED


def answer_contact(answer: Message) -> str:
    return parse_name_addr(answer.first["contact"]).uri


def dialog(answer: Message, cseq: int = 1) -> dict[str, Any]:
    """What a scripted caller puts into a request of the dialog that ``answer`` made."""
    return {
        "call_id": answer.call_id,
        "from_value": answer.from_value,
        "to_value": answer.to_value,
        "cseq": cseq,
    }


def test_requests_go_to_the_contact_and_along_the_recorded_route() -> None:
    """§12.2.1.1, with a loose router; the address of the first hop is where the datagram goes."""
    world = World()
    callee = world.script(ADDRESS_B)
    record_route = ("Record-Route: <sip:198.18.0.1:5080;lr>, <sip:192.0.2.20;lr>",)

    def react(data: bytes) -> None:
        message = parse(data)
        if data.startswith(b"INVITE"):
            contact = "<sip:gateway@203.0.113.9:5099>"
            body = world.callee.sdp().decode()
            callee.send(answer_text(message, 200, ADDRESS_B, contact=contact, lines=record_route, body=body))
        elif isinstance(message, Request) and message.method == "BYE":
            callee.send(answer_text(message, 200, ADDRESS_B))

    callee.react = react
    call = world.caller.dial(X)
    call.on("200", call.hang_up, after=1.0)
    world.finish()
    (ack,) = [parse(data) for data in callee.inbox if data.startswith(b"ACK")]
    assert isinstance(ack, Request)
    assert ack.uri == "sip:gateway@203.0.113.9:5099"
    assert ack.all("route") == ["<sip:192.0.2.20;lr>", "<sip:198.18.0.1:5080;lr>"]
    assert {d.target for d in world.network.log if d.word == "BYE" and d.source == SWITCH} == {ADDRESS_B}


def scripted_callee(world: World, **answer: Any) -> Script:
    """A callee whose 200 is as ``answer`` says."""
    callee = world.script(ADDRESS_B)
    answer.setdefault("body", world.callee.sdp().decode())

    def react(data: bytes) -> None:
        message = parse(data)
        if isinstance(message, Request) and message.method != "ACK":
            given = answer if message.method == "INVITE" else {}
            callee.send(answer_text(message, 200, ADDRESS_B, **given))

    callee.react = react
    return callee


def test_an_answer_without_contact_is_followed_up_where_the_invite_went() -> None:
    world = World()
    callee = scripted_callee(world, contact="")
    call = world.caller.dial(X)
    call.on("200", call.hang_up, after=1.0)
    (story,) = world.finish()
    uris = [message.uri for data in callee.inbox if isinstance(message := parse(data), Request)]
    assert uris == ["sip:13925814703@192.0.2.20:5060"] * 3  # INVITE, ACK, BYE
    assert story.ended.outcome == Outcome.ANSWERED


def test_an_answer_without_tag_is_a_dialog_with_the_null_tag() -> None:
    """§12.1.2: what came before RFC 3261 had none."""
    world = World()
    callee = scripted_callee(world, tag="")
    call = world.caller.dial(X)
    world.run(1.0)
    callee_answer = next(d.data for d in world.network.log if (d.way, d.word) == ("b>", "200"))
    world.network.send(ADDRESS_B, SWITCH, callee_answer)  # comes again
    world.run(0.5)
    call.hang_up()
    (story,) = world.finish()
    assert callee.words == ["INVITE", "ACK", "ACK", "BYE"]
    assert story.ended.outcome == Outcome.ANSWERED


@pytest.mark.parametrize(
    ("answer", "status", "q850"),
    [
        ({"body": "v=0\r\nnonsense"}, 502, 38),
        ({"body": "v=0\r\nc=IN IP4 gateway\r\nm=audio 1 RTP/AVP 0\r\n"}, 488, 79),
        ({"contact": "<sip:unclosed"}, 502, 38),
        ({"contact": ","}, 502, 38),
    ],
)
def test_an_unusable_answer_is_acknowledged_and_ended(answer: dict[str, Any], status: int, q850: int) -> None:
    world = World(trunks=TRUNKS[:2])
    callee = scripted_callee(world, **answer)
    call = world.caller.dial(X)
    (story,) = world.finish()
    assert callee.words == ["INVITE", "ACK", "BYE"]
    assert call.statuses[-1] == story.ended.status == status
    assert story.ended.q850 == q850
    assert story.ended.routes == (f"carrier-b:{status}",)


def test_the_answer_holds_no_description_when_the_callee_gave_none() -> None:
    world = World()
    scripted_callee(world, body="")
    call = world.caller.dial(X)
    call.on("200", call.hang_up, after=1.0)
    (story,) = world.finish()
    assert story.ended.media == ""
    answers = [message for message in sent(world, ">a", "200") if isinstance(message, Response)]
    assert answers[0].body == b""


def test_live_calls_show_masked_numbers() -> None:
    world = World()
    world.callee.on_call = answer_after(3.0)
    call = world.caller.dial(X)
    world.run(0.5)
    (live,) = world.real.live_calls()
    assert (live.state, live.x, live.ingress, live.answered_ms) == ("setup", X, "carrier-a", 0)
    assert (live.caller, live.callee) == ("138****3210", "139****4703")
    world.run(5.0)
    (live,) = world.real.live_calls()
    assert (live.state, live.egress, live.since_ms, live.answered_ms) == (
        "up",
        "carrier-b",
        START_MS + 10,
        START_MS + 3130,
    )
    assert world.real.trunk_calls() == {"carrier-a": 1, "carrier-b": 1, "carrier-c": 0}
    call.hang_up()
    (story,) = world.finish()
    assert story.attempted.record_id == live.id


def test_a_wrong_number_is_masked_for_the_operator_too() -> None:
    world = World()
    world.switch.held = True
    world.caller.dial("13700001111")
    world.run(0.5)
    (live,) = world.real.live_calls()
    assert (live.state, live.x, live.callee) == ("deciding", "137****1111", "")
    world.switch.held = False
    world.switch.release()
    world.finish()


def test_set_up_and_answer_times_are_counted() -> None:
    world = World()
    call = world.caller.dial(X)
    call.on("200", call.hang_up)
    world.finish()
    statistics = world.real.statistics
    assert statistics.setup.keys() == statistics.answer.keys() == {"carrier-b"}
    setup, answer = statistics.setup["carrier-b"], statistics.answer["carrier-b"]
    assert (sum(setup.counts), round(setup.total, 3)) == (1, 0.12)
    assert (sum(answer.counts), round(answer.total, 3)) == (1, 1.12)
    assert dict(statistics.outcomes) == {("carrier-a", "answered"): 1}
