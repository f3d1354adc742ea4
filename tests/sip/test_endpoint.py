"""One endpoint fed by hand: requests, answers and where they go, CANCEL, the unreadable, the gate."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from b2bua.sip.endpoint import (
    AckReceived,
    CancelReceived,
    Endpoint,
    Event,
    RequestReceived,
    ResponseReceived,
    TransactionFailed,
)
from b2bua.sip.message import Request, Response
from b2bua.sip.parser import Limits, parse
from b2bua.sip.timers import TimerValues
from b2bua.sip.transaction import ClientTransaction, Flow, ServerTransaction, State
from tests.sip.test_parser import SAMPLES, near_misses, spoilt_samples
from tests.sip.wire import FROM, TO, tokens, wire_request, wire_response

PEER = Flow("UDP", "main", ("10.0.0.1", 5070))
VIA = "SIP/2.0/UDP 10.0.0.1:5070;branch=z9hG4bK77"


def endpoint(limits: Limits | None = None, gate: Callable[[bytes, Flow, object], bool] | None = None) -> Endpoint:
    return Endpoint(TimerValues(), tokens("t"), {"main": "10.0.0.2:5060"}, limits=limits, gate=gate)


def feed(ours: Endpoint, data: bytes, now: float = 0.0, flow: Flow = PEER) -> list[Event]:
    ours.receive(data, flow, now)
    return ours.take_events()


def sent(ours: Endpoint) -> list[Request | Response]:
    outgoing, ours.outgoing = ours.outgoing, []
    return [parse(wire) for wire, _ in outgoing]


def statuses(ours: Endpoint) -> list[int]:
    return [message.status for message in sent(ours) if isinstance(message, Response)]


def requested(ours: Endpoint, data: bytes, flow: Flow = PEER) -> ServerTransaction:
    """The transaction of a new request."""
    (event,) = feed(ours, data, flow=flow)
    assert isinstance(event, RequestReceived)
    assert event.flow == flow
    return event.transaction


def calling(ours: Endpoint, method: str = "INVITE", now: float = 0.0) -> ClientTransaction:
    """A request of ours, on its way."""
    transaction = ours.request(method, "sip:b@10.0.0.1", PEER, "<sip:a@h>;tag=a", "<sip:b@h>", "c", 7, now, owner="leg")
    ours.outgoing.clear()
    return transaction


def reply(transaction: ClientTransaction, status: int, **changes: object) -> bytes:
    branch = transaction.key.partition(" ")[0]
    values = {"vias": (f"SIP/2.0/UDP 10.0.0.2:5060;branch={branch}",), "cseq": f"7 {transaction.method}", **changes}
    return wire_response(status, **values)  # type: ignore[arg-type]


def run_out(ours: Endpoint) -> None:
    while (due := ours.timers.deadline()) is not None:
        ours.wake(due)


# requests come in


def test_a_request_is_told_once_and_repeated_answers_come_by_themselves() -> None:
    ours = endpoint()
    transaction = requested(ours, wire_request())
    assert feed(ours, wire_request()) == []
    assert sent(ours) == []
    wire = ours.respond(transaction, 180, 0.0)
    assert feed(ours, wire_request()) == []
    assert [data for data, _ in ours.outgoing] == [wire, wire]
    assert (ours.retransmissions_in, ours.retransmissions_out) == (2, 1)
    assert ours.received == {"INVITE": 3}


@pytest.mark.parametrize(
    "other",
    [
        wire_request(vias=(VIA + "8",)),
        wire_request(vias=("SIP/2.0/UDP 10.0.0.1:5071;branch=z9hG4bK77",)),
        wire_request(vias=("SIP/2.0/UDP 10.0.0.3:5070;branch=z9hG4bK77",)),
        wire_request("OPTIONS"),
    ],
)
def test_another_branch_sender_or_method_is_another_request(other: bytes) -> None:
    ours = endpoint()
    requested(ours, wire_request())
    requested(ours, other)
    assert len(ours.servers) == 2


OLD = ("SIP/2.0/UDP 10.0.0.1:5070",)
BRANCHLESS = {"none": OLD, "old": (f"{OLD[0]};branch=77",), "cookie alone": (f"{OLD[0]};branch=z9hG4bK",)}


@pytest.mark.parametrize("vias", BRANCHLESS.values(), ids=BRANCHLESS)
def test_a_branch_of_before_rfc_3261_names_nothing_by_itself(vias: tuple[str, ...]) -> None:
    ours = endpoint()
    invite = requested(ours, wire_request(vias=vias))
    assert feed(ours, wire_request(vias=vias)) == []
    for other in (
        wire_request(vias=vias, call_id="call-2"),
        wire_request(vias=vias, cseq="2 INVITE"),
        wire_request(vias=vias, from_value="<sip:a@h>;tag=other"),
        wire_request(vias=vias, uri="sip:other@10.0.0.2"),
        wire_request("BYE", vias=vias),
    ):
        requested(ours, other)
    (cancelled,) = feed(ours, wire_request("CANCEL", vias=vias))
    assert isinstance(cancelled, CancelReceived)
    assert cancelled.transaction is invite
    ours.respond(invite, 487, 0.0)
    assert feed(ours, wire_request("ACK", vias=vias, to_value=f"{TO};tag={invite.to_tag}")) == []
    assert invite.state is State.CONFIRMED


def test_the_ack_of_a_failure_ends_its_repetition_and_is_not_told() -> None:
    ours = endpoint()
    transaction = requested(ours, wire_request())
    assert feed(ours, wire_request("ACK")) == []  # before any answer: nonsense
    ours.respond(transaction, 486, 0.0)
    ours.wake(0.5)
    assert statuses(ours) == [486, 486]
    assert feed(ours, wire_request("ACK"), 0.6) == []
    assert feed(ours, wire_request("ACK"), 0.7) == []
    ours.wake(4.0)
    assert statuses(ours) == []
    run_out(ours)
    assert ours.servers == {}


@pytest.mark.parametrize("vias", [(f"{VIA}x",), (VIA,)], ids=["own", "the INVITE's"])
def test_the_ack_of_a_2xx_is_told_whatever_its_branch(vias: tuple[str, ...]) -> None:
    ours = endpoint()
    ours.respond(requested(ours, wire_request()), 200, 0.0)
    (event,) = feed(ours, wire_request("ACK", vias=vias))
    assert isinstance(event, AckReceived)
    assert event.request.method == "ACK"


def test_a_request_that_nobody_answers_is_told_after_an_hour() -> None:
    ours = endpoint()
    transactions = [requested(ours, wire_request()), requested(ours, wire_request("OPTIONS"))]
    run_out(ours)
    failed = {event.transaction for event in ours.take_events() if isinstance(event, TransactionFailed)}
    assert failed == set(transactions)
    assert ours.servers == {}


# answers: their lines and where they go


def test_an_answer_echoes_the_request() -> None:
    ours = endpoint()
    vias = (f"{VIA};rport", "SIP/2.0/UDP p;branch=z9hG4bK2", "SIP/2.0/TCP q;branch=z9hG4bK3")
    transaction = requested(ours, wire_request(vias=vias, cseq="9 INVITE"))
    wire = ours.respond(transaction, 486, 0.0, extra=("Server: x700",), content_type="text/plain", body=b"no")
    message = parse(wire)
    assert message.all("via") == [f"{VIA};rport=5070;received=10.0.0.1", *vias[1:]]
    assert (message.from_value, message.call_id, message.cseq, message.cseq_method) == (FROM, "call-1", 9, "INVITE")
    assert message.to_value == f"{TO};tag={transaction.to_tag}"
    assert (message.get("server"), message.get("content-type"), message.body) == ("x700", "text/plain", b"no")


def test_every_answer_but_100_has_the_same_tag() -> None:
    ours = endpoint()
    transaction = requested(ours, wire_request())
    for status in (100, 180, 183, 200):
        ours.respond(transaction, status, 0.0)
    trying, *others = [message.to_tag for message in sent(ours)]
    assert trying == ""
    assert set(others) == {transaction.to_tag}
    assert transaction.to_tag


def test_a_tag_that_call_control_chose_is_kept() -> None:
    ours = endpoint()
    transaction = requested(ours, wire_request())
    transaction.to_tag = "chosen"
    assert parse(ours.respond(transaction, 180, 0.0)).to_tag == "chosen"


def test_a_request_in_a_dialog_keeps_its_tag() -> None:
    ours = endpoint()
    transaction = requested(ours, wire_request("BYE", to_value=f"{TO};tag=ours"))
    assert parse(ours.respond(transaction, 200, 0.0)).to_value == f"{TO};tag=ours"


def test_a_quoted_nul_is_echoed_as_it_came() -> None:
    ours = endpoint()
    transaction = requested(ours, wire_request(from_value='"\\\0" <sip:a@h>;tag=1'))
    assert b'From: "\\\0" <sip:a@h>;tag=1\r\n' in ours.respond(transaction, 400, 0.0)


HOME, NAT, SIX = ("10.0.0.1", 5070), ("203.0.113.9", 40001), ("2001:db8::1", 5070)
BRANCH = ";branch=z9hG4bK1"
PATHS = [
    # (Via, where from, Via of the answer, where to): RFC 3261 §18.2.1 and §18.2.2, RFC 3581 §4
    (f"SIP/2.0/UDP 10.0.0.1:5070{BRANCH}", HOME, f"SIP/2.0/UDP 10.0.0.1:5070{BRANCH}", HOME),
    (f"SIP/2.0/UDP 10.0.0.1{BRANCH}", HOME, f"SIP/2.0/UDP 10.0.0.1{BRANCH}", ("10.0.0.1", 5060)),
    (f"SIP/2.0/UDP 10.0.0.1:5080{BRANCH}", HOME, f"SIP/2.0/UDP 10.0.0.1:5080{BRANCH}", ("10.0.0.1", 5080)),
    (
        f"SIP/2.0/UDP 10.0.0.1:5070{BRANCH}",
        NAT,
        f"SIP/2.0/UDP 10.0.0.1:5070{BRANCH};received=203.0.113.9",
        ("203.0.113.9", 5070),
    ),
    (
        f"SIP/2.0/UDP pbx.example.com{BRANCH}",
        HOME,
        f"SIP/2.0/UDP pbx.example.com{BRANCH};received=10.0.0.1",
        ("10.0.0.1", 5060),
    ),
    (
        f"SIP/2.0/UDP 10.0.0.1:5070{BRANCH};rport",
        HOME,
        f"SIP/2.0/UDP 10.0.0.1:5070{BRANCH};rport=5070;received=10.0.0.1",
        HOME,
    ),
    (
        f"SIP/2.0/UDP 10.0.0.1:5070;rport{BRANCH}",
        NAT,
        f"SIP/2.0/UDP 10.0.0.1:5070;rport=40001{BRANCH};received=203.0.113.9",
        NAT,
    ),
    (
        f"SIP/2.0/UDP 10.0.0.1{BRANCH}; RPORT ;x=y",
        NAT,
        f"SIP/2.0/UDP 10.0.0.1{BRANCH};rport=40001;x=y;received=203.0.113.9",
        NAT,
    ),
    (
        f"SIP/2.0/UDP 10.0.0.1:5070{BRANCH};received=10.9.9.9, SIP/2.0/UDP q;received=10.9.9.9",
        HOME,
        f"SIP/2.0/UDP 10.0.0.1:5070{BRANCH}, SIP/2.0/UDP q;received=10.9.9.9",
        HOME,
    ),
    (f"SIP/2.0/UDP 10.0.0.1; Received = 10.9.9.9 {BRANCH}", HOME, f"SIP/2.0/UDP 10.0.0.1{BRANCH}", ("10.0.0.1", 5060)),
    (
        f"SIP/2.0/UDP h:5070;received;x=y{BRANCH};received=10.9.9.9;rport",
        NAT,
        f"SIP/2.0/UDP h:5070;x=y{BRANCH};rport=40001;received=203.0.113.9",
        NAT,
    ),
    (
        f'SIP/2.0/UDP 10.0.0.1{BRANCH};x=";received=h"',
        HOME,
        f'SIP/2.0/UDP 10.0.0.1{BRANCH};x=";received=h"',
        ("10.0.0.1", 5060),
    ),
    (f"SIP/2.0/UDP [2001:db8::1]:5070{BRANCH}", SIX, f"SIP/2.0/UDP [2001:db8::1]:5070{BRANCH}", SIX),
    (
        f"SIP/2.0/UDP [2001:db8::9]:5070{BRANCH};rport",
        SIX,
        f"SIP/2.0/UDP [2001:db8::9]:5070{BRANCH};rport=5070;received=2001:db8::1",
        SIX,
    ),
    (
        f"SIP/2.0/UDP h:5070{BRANCH};rport, SIP/2.0/TCP p;branch=2,SIP/2.0/UDP q",
        NAT,
        f"SIP/2.0/UDP h:5070{BRANCH};rport=40001;received=203.0.113.9, SIP/2.0/TCP p;branch=2,SIP/2.0/UDP q",
        NAT,
    ),
    (
        f"SIP / 2.0 / udp 10.0.0.1 : 5070 {BRANCH}",
        NAT,
        f"SIP/2.0/UDP 10.0.0.1:5070{BRANCH};received=203.0.113.9",
        ("203.0.113.9", 5070),
    ),
]


@pytest.mark.parametrize(("via", "source", "echoed", "target"), PATHS, ids=[row[0] for row in PATHS])
def test_received_and_rport(via: str, source: tuple[str, int], echoed: str, target: tuple[str, int]) -> None:
    ours = endpoint()
    transaction = requested(ours, wire_request(vias=(via, "SIP/2.0/UDP r")), Flow("UDP", "main", source))
    ours.respond(transaction, 404, 0.0)
    ((wire, flow),) = ours.outgoing
    assert parse(wire).all("via") == [echoed, "SIP/2.0/UDP r"]
    assert flow == Flow("UDP", "main", target)


@pytest.mark.parametrize("params", [BRANCH, f"{BRANCH};rport"])
def test_over_a_stream_the_answer_takes_the_way_the_request_came(params: str) -> None:
    ours = endpoint()
    flow = Flow("TCP", "main", ("10.0.0.1", 41234))
    ours.respond(requested(ours, wire_request(vias=(f"SIP/2.0/TCP 10.0.0.1:5070{params}",)), flow), 200, 0.0)
    assert ours.outgoing[0][1] == flow


@pytest.mark.parametrize("rubbish", [";rport;@", ";rport;=;", ";x=\t;rport"])
def test_rubbish_behind_the_branch_harms_nobody(rubbish: str) -> None:
    ours = endpoint()
    transaction = requested(ours, wire_request(vias=(f"{VIA}{rubbish}",)))
    ours.respond(transaction, 200, 0.0)
    assert ours.outgoing[0][1] == PEER


# what cannot be read


@pytest.mark.parametrize(
    ("data", "limits", "status"),
    [
        (wire_request(cseq="x"), None, 400),
        (wire_request().replace(b"SIP/2.0", b"SIP/3.0", 1), None, 505),
        (wire_request(body=b"x" * 200), Limits(message_bytes=400), 513),
        (wire_request(more=("Subject: " + "x" * 300,)), Limits(line_bytes=200), 513),
    ],
)
def test_the_unreadable_is_answered_without_a_transaction(data: bytes, limits: Limits | None, status: int) -> None:
    ours = endpoint(limits)
    assert feed(ours, data) == []
    ((wire, flow),) = ours.outgoing
    assert flow == PEER
    assert wire.startswith(f"SIP/2.0 {status} ".encode())
    for line in data.partition(b"\r\n\r\n")[0].split(b"\r\n"):
        if line.startswith((b"Via:", b"From:", b"Call-ID:", b"CSeq:")):
            assert line + b"\r\n" in wire
    assert f"\r\nTo: {TO};tag=".encode() in wire
    assert wire.endswith(b"\r\nContent-Length: 0\r\n\r\n")
    assert (ours.servers, len(ours.timers), ours.drops) == ({}, 0, {"malformed": 1})


def test_the_unreadable_keeps_a_tag_that_it_has() -> None:
    ours = endpoint()
    feed(ours, wire_request(cseq="x", to_value=f"{TO};Tag=there"))
    assert b";Tag=there\r\n" in ours.outgoing[0][0]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"rubbish",
        b"\r\n\r\n",
        wire_request("ACK", cseq="x"),
        wire_response(200, cseq="x"),
        wire_request(call_id="a\0"),
    ],
)
def test_what_nobody_can_answer_is_counted(data: bytes) -> None:
    ours = endpoint()
    assert feed(ours, data) == []
    assert ours.outgoing == []
    assert ours.drops == {"malformed": 1}


def drained(ours: Endpoint) -> bool:
    """Answer what is left unanswered, let time pass, and say whether every table is empty."""
    for transaction in list(ours.servers.values()):
        if transaction.state in (State.TRYING, State.PROCEEDING):
            ours.respond(transaction, 500, 0.0)
    run_out(ours)
    return (ours.servers, ours.clients, len(ours.timers)) == ({}, {}, 0)


@settings(deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=80), near_misses, spoilt_samples, st.sampled_from(SAMPLES)), max_size=6))
def test_no_datagram_does_harm(datagrams: list[bytes]) -> None:
    ours = endpoint()
    for data in datagrams:
        ours.receive(data, PEER, 0.0)
    for wire, _ in ours.outgoing:
        assert wire.count(b"\r\n") == wire.count(b"\n") == wire.count(b"\r")
    assert drained(ours)


# CANCEL


def test_a_cancel_is_answered_and_told_once() -> None:
    ours = endpoint()
    invite = requested(ours, wire_request())
    invite.owner = "leg"
    ours.respond(invite, 180, 0.0)
    (event,) = feed(ours, wire_request("CANCEL"))
    assert isinstance(event, CancelReceived)
    assert event.transaction is invite
    assert event.request.method == "CANCEL"
    assert feed(ours, wire_request("CANCEL")) == []
    ringing, first, again = sent(ours)
    assert isinstance(first, Response)
    assert (first.status, first.cseq_method, first.to_tag) == (200, "CANCEL", ringing.to_tag)
    assert (again.to_tag, again.cseq_method) == (ringing.to_tag, "CANCEL")
    ours.respond(invite, 487, 0.0)
    assert sent(ours)[0].to_tag == ringing.to_tag
    assert {transaction.owner for transaction in ours.servers.values()} == {"leg"}


def test_a_cancel_before_any_answer_settles_the_tag_of_all() -> None:
    ours = endpoint()
    invite = requested(ours, wire_request())
    feed(ours, wire_request("CANCEL"))
    ours.respond(invite, 487, 0.0)
    assert {message.to_tag for message in sent(ours)} == {invite.to_tag}


def test_a_cancel_of_a_request_in_a_dialog_keeps_its_tag() -> None:
    ours = endpoint()
    requested(ours, wire_request(to_value=f"{TO};tag=ours"))
    feed(ours, wire_request("CANCEL", to_value=f"{TO};tag=ours"))
    assert sent(ours)[0].to_value == f"{TO};tag=ours"


@pytest.mark.parametrize("status", [200, 486])
def test_a_cancel_after_the_end_is_answered_and_changes_nothing(status: int) -> None:
    ours = endpoint()
    ours.respond(requested(ours, wire_request()), status, 0.0)
    assert feed(ours, wire_request("CANCEL")) == []
    assert statuses(ours) == [status, 200]


def test_a_cancel_of_nothing_is_refused() -> None:
    ours = endpoint()
    requested(ours, wire_request(vias=(VIA + "8",)))
    assert feed(ours, wire_request("CANCEL")) == []
    assert statuses(ours) == [481]


def test_a_cancel_of_ours_belongs_to_its_invite() -> None:
    ours = endpoint()
    invite = calling(ours)
    feed(ours, reply(invite, 180))
    ours.cancel(invite, 0.0)
    ((wire, flow),) = ours.outgoing
    cancel = parse(wire)
    assert isinstance(cancel, Request)
    assert (cancel.method, cancel.uri, cancel.cseq, cancel.cseq_method) == ("CANCEL", "sip:b@10.0.0.1", 7, "CANCEL")
    assert cancel.via.branch == invite.key.partition(" ")[0]
    assert flow == PEER
    # its answer is its own, and the INVITE's comes by itself
    (answered,) = feed(ours, reply(invite, 200, cseq="7 CANCEL"))
    assert isinstance(answered, ResponseReceived)
    assert (answered.transaction.method, answered.transaction.owner) == ("CANCEL", "leg")
    (ended,) = feed(ours, reply(invite, 487))
    assert isinstance(ended, ResponseReceived)
    assert (ended.transaction, ended.response.status) == (invite, 487)
    run_out(ours)
    assert ours.clients == {}


def test_an_invite_whose_cancel_is_not_heeded_is_given_up() -> None:
    ours = endpoint()
    invite = calling(ours)
    feed(ours, reply(invite, 180))
    ours.cancel(invite, 0.0)
    feed(ours, reply(invite, 200, cseq="7 CANCEL"))
    ours.wake(31.9)
    assert ours.take_events() == []
    ours.wake(32.3)  # §9.1: 64·T1 after the CANCEL
    (event,) = ours.take_events()
    assert isinstance(event, TransactionFailed)
    assert event.transaction is invite
    assert ours.clients == {}


# requests of ours


def test_a_request_of_ours_names_us_and_no_two_are_alike() -> None:
    ours = endpoint()
    for _ in range(3):
        ours.request(
            "INFO",
            "sip:b@10.0.0.1",
            PEER,
            "<sip:a@h>;tag=a",
            "<sip:b@h>;tag=b",
            "c",
            7,
            0.0,
            max_forwards=69,
            routes=("<sip:p;lr>",),
            extra=("Allow: INFO",),
            content_type="application/dtmf",
            body=b"5",
        )
    messages = sent(ours)
    assert len({message.via.branch for message in messages}) == 3
    for message in messages:
        assert isinstance(message, Request)
        assert (message.via.transport, message.via.host, message.via.port) == ("UDP", "10.0.0.2", 5060)
        assert message.via.branch.startswith("z9hG4bKt")
        assert message.via.has_rport()
        assert (message.method, message.get("max-forwards"), message.get("route")) == ("INFO", "69", "<sip:p;lr>")
        assert (message.get("allow"), message.get("content-type"), message.body) == ("INFO", "application/dtmf", b"5")


def test_a_request_of_ours_may_take_70_hops() -> None:
    ours = endpoint()
    ours.request("BYE", "sip:b@10.0.0.1", PEER, "<sip:a@h>;tag=a", "<sip:b@h>;tag=b", "c", 8, 0.0)
    ours.acknowledge("sip:b@10.0.0.1", PEER, "<sip:a@h>;tag=a", "<sip:b@h>;tag=b", "c", 7)
    assert [message.get("max-forwards") for message in sent(ours)] == ["70", "70"]


def test_answers_reach_their_request_and_others_are_counted() -> None:
    ours = endpoint()
    transaction = calling(ours, "OPTIONS")
    branch = transaction.key.partition(" ")[0]
    via = f"SIP/2.0/UDP 10.0.0.2:5060;branch={branch}"
    for stray in (
        reply(transaction, 200, vias=(via + "x",)),
        reply(transaction, 200, vias=("SIP/2.0/UDP 10.0.0.2:5060",)),
        reply(transaction, 200, cseq="7 INVITE"),
    ):
        assert feed(ours, stray) == []
    for foreign in (reply(transaction, 200, vias=(via, via)), reply(transaction, 200, vias=(f"{via}, {via}",))):
        assert feed(ours, foreign) == []
    assert ours.drops == {"stray_response": 3, "foreign_response": 2}
    (event,) = feed(ours, reply(transaction, 200))
    assert isinstance(event, ResponseReceived)
    assert event.transaction is transaction
    run_out(ours)
    assert feed(ours, reply(transaction, 200)) == []
    assert ours.drops["stray_response"] == 4
    assert ours.outgoing == []  # nobody answers an answer


def test_what_came_in_is_counted_by_method_and_class() -> None:
    ours = endpoint()
    for data in (
        wire_request(),
        wire_request("BYE"),
        wire_request("FETCH"),
        wire_request("PULL"),
        wire_response(183),
        wire_response(200),
        wire_response(302),
        wire_response(404),
        wire_response(500),
        wire_response(603),
        wire_response(699),
        b"?",
    ):
        ours.receive(data, PEER, 0.0)
    classes = {"1xx": 1, "2xx": 1, "3xx": 1, "4xx": 1, "5xx": 1, "6xx": 2}
    assert ours.received == {"INVITE": 1, "BYE": 1, "other": 2, **classes}


@pytest.mark.parametrize("method", ["INVITE", "BYE"])
def test_a_request_that_is_never_answered_has_failed(method: str) -> None:
    ours = endpoint()
    transaction = calling(ours, method)
    run_out(ours)
    (event,) = ours.take_events()
    assert isinstance(event, TransactionFailed)
    assert event.transaction is transaction
    assert ours.retransmissions_out == len(ours.outgoing) == (6 if method == "INVITE" else 10)
    assert drained(ours)


def test_a_transport_that_fails_ends_what_depends_on_it() -> None:
    ours = endpoint()
    client = calling(ours)
    server = requested(ours, wire_request("OPTIONS"))
    for transaction in (client, server):
        ours.transport_failed(transaction, 0.0)
        (event,) = ours.take_events()
        assert isinstance(event, TransactionFailed)
        assert event.transaction is transaction
        ours.transport_failed(transaction, 0.0)
        assert ours.take_events() == []
    assert (ours.servers, ours.clients, len(ours.timers)) == ({}, {}, 0)


def test_the_ack_of_a_2xx_is_sent_without_a_transaction() -> None:
    ours = endpoint()
    invite = calling(ours)
    feed(ours, reply(invite, 200))
    wire = ours.acknowledge(
        "sip:b@10.0.0.1",
        PEER,
        "<sip:a@h>;tag=a",
        "<sip:b@h>;tag=b",
        "c",
        7,
        routes=("<sip:p;lr>",),
        content_type="application/sdp",
        body=b"v=0\r\n",
    )
    assert ours.outgoing == [(wire, PEER)]
    ack = parse(wire)
    assert isinstance(ack, Request)
    assert (ack.method, ack.cseq, ack.cseq_method) == ("ACK", 7, "ACK")
    assert (ack.get("route"), ack.body) == ("<sip:p;lr>", b"v=0\r\n")
    assert ack.via.branch != invite.key.partition(" ")[0]  # §17.1.1.3: it is not part of the INVITE's transaction
    assert list(ours.clients.values()) == [invite]


def test_events_are_taken_once() -> None:
    ours = endpoint()
    ours.receive(wire_request(), PEER, 0.0)
    assert len(ours.take_events()) == 1
    assert ours.take_events() == []


# the gate


def test_nothing_leaves_past_the_gate() -> None:
    asked: list[tuple[bytes, Flow]] = []

    def closed(wire: bytes, flow: Flow, sender: object) -> bool:
        asked.append((wire, flow))
        return False

    ours = endpoint(gate=closed)
    ours.respond(requested(ours, wire_request()), 200, 0.0)
    ours.respond(requested(ours, wire_request(vias=(VIA + "1",))), 486, 0.0)
    ours.respond(requested(ours, wire_request("OPTIONS")), 200, 0.0)
    feed(ours, wire_request("OPTIONS"))
    feed(ours, wire_request(cseq="x"))
    invite = calling(ours)
    feed(ours, reply(invite, 180))
    ours.cancel(invite, 0.0)
    feed(ours, reply(invite, 487))
    ours.acknowledge("sip:b@10.0.0.1", PEER, "<sip:a@h>;tag=a", "<sip:b@h>;tag=b", "c", 7)
    run_out(ours)
    assert ours.outgoing == []
    assert ours.retransmissions_out == 0
    first_lines = {wire.partition(b"\r\n")[0] for wire, _ in asked}
    assert first_lines == {
        b"SIP/2.0 200 OK",
        b"SIP/2.0 486 Busy Here",
        b"SIP/2.0 400 Bad Request",
        b"INVITE sip:b@10.0.0.1 SIP/2.0",
        b"CANCEL sip:b@10.0.0.1 SIP/2.0",
        b"ACK sip:b@10.0.0.1 SIP/2.0",
    }
    assert {flow for _, flow in asked} == {PEER}
    assert len(asked) > len(first_lines)  # it is asked about repetitions, too
    assert (ours.servers, ours.clients, len(ours.timers)) == ({}, {}, 0)


def test_the_gate_may_let_some_pass() -> None:
    ours = endpoint(gate=lambda wire, flow, sender: b"486" not in wire)
    transaction = requested(ours, wire_request())
    ours.respond(transaction, 180, 0.0)
    ours.respond(transaction, 486, 0.0)
    assert statuses(ours) == [180]


def test_a_final_answer_that_the_gate_stops_becomes_a_bare_500() -> None:
    ours = endpoint(gate=lambda wire, flow, sender: b"secret" not in wire)
    transaction = requested(ours, wire_request("OPTIONS"))
    assert ours.respond(transaction, 180, 0.0, extra=("Server: secret",))  # a provisional answer may be missed
    assert ours.respond(transaction, 200, 0.0, extra=("Server: secret",)) == b""
    (answer,) = sent(ours)
    assert isinstance(answer, Response)
    assert (answer.status, answer.to_tag, answer.get("server")) == (500, transaction.to_tag, None)
    assert drained(ours)
