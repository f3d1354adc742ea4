"""Dialogs: who is who, the route set, the target, and where requests go (RFC 3261 §12)."""

from collections.abc import Sequence

import pytest

from b2bua.sip.dialog import Dialog
from b2bua.sip.errors import ParseError
from b2bua.sip.message import Request, Response
from b2bua.sip.parser import parse
from b2bua.sip.transaction import Flow
from tests.sip.wire import FROM, TO, wire_request, wire_response

FLOW = Flow("UDP", "main", ("10.0.0.1", 5070))
ELSEWHERE = ("192.0.2.1", 9)


def invite(
    contact: str | None = "<sip:a@10.0.0.1:5070>", routes: Sequence[str] = (), method: str = "INVITE", **changes: str
) -> Request:
    lines = [f"Record-Route: {route}" for route in routes]
    if contact is not None:
        lines.append(f"Contact: {contact}")
    message = parse(wire_request(method, more=lines, **changes))  # type: ignore[arg-type]
    assert isinstance(message, Request)
    return message


def answer(
    contact: str | None = "<sip:b@10.0.0.9:5080>", routes: Sequence[str] = (), status: int = 200, tag: str = "callee"
) -> Response:
    lines = [f"Record-Route: {route}" for route in routes]
    if contact is not None:
        lines.append(f"Contact: {contact}")
    message = parse(wire_response(status, to_value=f"{TO};tag={tag}", more=lines))
    assert isinstance(message, Response)
    return message


def calling(peer: tuple[str, int] = ("10.0.0.9", 5060)) -> Dialog:
    """A dialog of ours that has not been answered yet."""
    dialog = Dialog("call-1", FROM, "caller", Flow("UDP", "main", peer))
    dialog.remote_value = TO
    return dialog


# construction


def test_the_dialog_of_an_answer_of_ours() -> None:
    dialog = Dialog.answering(invite(cseq="42 INVITE"), "ours", FLOW)
    assert dialog.call_id == "call-1"
    assert (dialog.local_value, dialog.local_tag) == (f"{TO};tag=ours", "ours")
    assert (dialog.remote_value, dialog.remote_tag) == (FROM, "caller")
    assert (dialog.target, dialog.routes) == ("sip:a@10.0.0.1:5070", ())
    assert (dialog.remote_cseq, dialog.local_cseq) == (42, 0)
    assert dialog.flow == FLOW


def test_a_caller_of_before_tags_has_none() -> None:
    assert Dialog.answering(invite(from_value="sip:a@10.0.0.1"), "ours", FLOW).remote_tag == ""


def test_the_dialog_of_a_request_of_ours() -> None:
    dialog = calling()
    dialog.answered(answer())
    assert (dialog.local_value, dialog.local_tag) == (FROM, "caller")
    assert (dialog.remote_value, dialog.remote_tag) == (f"{TO};tag=callee", "callee")
    assert dialog.target == "sip:b@10.0.0.9:5080"
    assert dialog.remote_cseq == -1  # whatever the peer starts with is more


def test_sequence_numbers_of_ours_rise_by_one() -> None:
    dialog = calling()
    assert [dialog.next_cseq() for _ in range(3)] == [1, 2, 3]


@pytest.mark.parametrize(
    ("contact", "cause"),
    [
        (None, "no Contact"),
        ("", "bad address"),
        ("*", "bad address"),
        (",", "bad address"),
        ("<sip:a@10.0.0.1", "bad address"),
        ("<>", "bad address"),
    ],
)
def test_an_invite_without_a_way_back_makes_no_dialog(contact: str | None, cause: str) -> None:
    with pytest.raises(ParseError) as refused:
        Dialog.answering(invite(contact), "ours", FLOW)
    assert (refused.value.status, refused.value.cause) == (400, cause)


@pytest.mark.parametrize("route", ["<sip:", "*", ";lr"])
def test_a_record_route_that_is_no_address_makes_no_dialog(route: str) -> None:
    with pytest.raises(ParseError, match="bad address"):
        Dialog.answering(invite(routes=(route,)), "ours", FLOW)
    for contact in ("<sip:b@10.0.0.9>", None):
        with pytest.raises(ParseError, match="bad address"):
            calling().answered(answer(contact, routes=(route,)))


@pytest.mark.parametrize("field", ["from_value", "to_value"])
def test_a_name_that_no_request_of_ours_could_carry_makes_no_dialog(field: str) -> None:
    request = invite(**{field: '"\\\0" <sip:a@10.0.0.1>'})
    with pytest.raises(ParseError, match="400 NUL in address"):
        Dialog.answering(request, "ours", FLOW)


@pytest.mark.parametrize(
    ("contact", "target"),
    [
        ("<sip:a@10.0.0.1:5070;transport=udp>;expires=60", "sip:a@10.0.0.1:5070;transport=udp"),
        ("sip:a@10.0.0.1;expires=60", "sip:a@10.0.0.1"),
        ('"A, B" <sip:a,b@10.0.0.1>', "sip:a,b@10.0.0.1"),
        ("<sip:first@10.0.0.1>, <sip:second@10.0.0.2>", "sip:first@10.0.0.1"),
        (", <sip:first@10.0.0.1>", "sip:first@10.0.0.1"),
    ],
)
def test_the_target_is_the_uri_of_the_first_contact(contact: str, target: str) -> None:
    assert Dialog.answering(invite(contact), "ours", FLOW).target == target


# route sets

P1, P2, P3 = "<sip:p1@10.0.1.1;lr>", "<sip:p2@10.0.1.2:5066;lr>", "<sip:10.0.1.3;lr=on>"


def test_who_answers_keeps_the_order_of_the_routes() -> None:
    dialog = Dialog.answering(invite(routes=(P1, f"{P2} , {P3}")), "ours", FLOW)
    assert dialog.routes == (P1, P2, P3)
    assert dialog.request_uri() == ("sip:a@10.0.0.1:5070", (P1, P2, P3))
    assert dialog.flow.peer == ("10.0.1.1", 5060)


def test_who_called_reverses_the_order_of_the_routes() -> None:
    dialog = calling()
    dialog.answered(answer(routes=(f"{P1},{P2}", P3)))
    assert dialog.routes == (P3, P2, P1)
    assert dialog.request_uri() == ("sip:b@10.0.0.9:5080", (P3, P2, P1))
    assert dialog.flow.peer == ("10.0.1.3", 5060)


def test_the_answer_decides_on_the_routes_whatever_rang_before() -> None:
    dialog = calling()
    dialog.answered(answer(status=180, tag="one"))
    assert dialog.flow.peer == ("10.0.0.9", 5080)
    # §13.2.2.4: computed anew from the 2xx, though the target is the same
    dialog.answered(answer(routes=(P1,), tag="two"))
    assert (dialog.remote_tag, dialog.routes, dialog.flow.peer) == ("two", (P1,), ("10.0.1.1", 5060))
    dialog.answered(answer(tag="three"))
    assert (dialog.remote_tag, dialog.routes, dialog.flow.peer) == ("three", (), ("10.0.0.9", 5080))


def test_an_answer_without_contact_leaves_the_target() -> None:
    dialog = calling()
    dialog.target = "sip:b@10.0.0.9:5060"
    dialog.answered(answer(None, routes=(P2,)))
    assert dialog.request_uri() == ("sip:b@10.0.0.9:5060", (P2,))
    assert dialog.flow.peer == ("10.0.1.2", 5066)


def test_an_answer_without_anything_leaves_everything() -> None:
    dialog = calling()
    dialog.answered(answer(None))
    assert (dialog.target, dialog.routes, dialog.flow.peer) == ("", (), ("10.0.0.9", 5060))


@pytest.mark.parametrize(
    ("routes", "uri", "sent"),
    [
        ((), "sip:a@10.0.0.1:5070", ()),
        (("<sip:10.0.1.1;lr>",), "sip:a@10.0.0.1:5070", ("<sip:10.0.1.1;lr>",)),
        (("<sip:10.0.1.1;LR>",), "sip:a@10.0.0.1:5070", ("<sip:10.0.1.1;LR>",)),
        (("<sip:10.0.1.1;lr=true;x=1>",), "sip:a@10.0.0.1:5070", ("<sip:10.0.1.1;lr=true;x=1>",)),
        (("<sip:10.0.1.1;x=1;lr?a=b>",), "sip:a@10.0.0.1:5070", ("<sip:10.0.1.1;x=1;lr?a=b>",)),
        # a strict router takes the place of the target, which goes to the end (§12.2.1.1)
        (("<sip:s@10.0.1.1>",), "sip:s@10.0.1.1", ("<sip:a@10.0.0.1:5070>",)),
        (("<sip:10.0.1.1>", P2, P3), "sip:10.0.1.1", (P2, P3, "<sip:a@10.0.0.1:5070>")),
        ((P1, "<sip:10.0.1.9>"), "sip:a@10.0.0.1:5070", (P1, "<sip:10.0.1.9>")),
        (("<sip:10.0.1.1;lrx>",), "sip:10.0.1.1;lrx", ("<sip:a@10.0.0.1:5070>",)),
        (("<sip:x;lr;y@10.0.1.1>",), "sip:x;lr;y@10.0.1.1", ("<sip:a@10.0.0.1:5070>",)),
        (("<sip:10.0.1.1?x=;lr>",), "sip:10.0.1.1?x=;lr", ("<sip:a@10.0.0.1:5070>",)),
        (("<sip:10.0.1.1>;lr",), "sip:10.0.1.1", ("<sip:a@10.0.0.1:5070>",)),
    ],
)
def test_loose_and_strict_routing(routes: Sequence[str], uri: str, sent: tuple[str, ...]) -> None:
    dialog = Dialog.answering(invite(routes=routes), "ours", FLOW)
    assert dialog.request_uri() == (uri, sent)
    if routes:
        assert dialog.flow.peer == ("10.0.1.1", 5060)


# the target, refreshed


def test_a_new_contact_is_a_new_target() -> None:
    dialog = Dialog.answering(invite(), "ours", FLOW)
    assert dialog.refresh(invite("<sip:moved@10.0.0.2:5072>"))
    assert dialog.request_uri() == ("sip:moved@10.0.0.2:5072", ())
    assert dialog.flow == Flow("UDP", "main", ("10.0.0.2", 5072))


def test_a_request_without_contact_moves_nothing() -> None:
    dialog = Dialog.answering(invite(), "ours", FLOW)
    assert not dialog.refresh(invite(None, method="INFO"))
    assert (dialog.target, dialog.flow) == ("sip:a@10.0.0.1:5070", FLOW)


def test_a_new_target_behind_a_route_is_still_reached_over_the_route() -> None:
    dialog = Dialog.answering(invite(routes=(P1,)), "ours", FLOW)
    # §12.2.2: the route set of a dialog stays, whatever a later request records
    assert dialog.refresh(invite("<sip:moved@10.0.0.2:5072>", routes=(P2,)))
    assert dialog.request_uri() == ("sip:moved@10.0.0.2:5072", (P1,))
    assert dialog.flow.peer == ("10.0.1.1", 5060)


def test_the_same_contact_again_moves_nothing() -> None:
    dialog = Dialog.answering(invite(), "ours", FLOW)
    dialog.flow = FLOW._replace(peer=ELSEWHERE)
    assert dialog.refresh(invite())
    assert dialog.flow.peer == ELSEWHERE


def test_a_contact_that_cannot_be_read_moves_nothing() -> None:
    dialog = Dialog.answering(invite(), "ours", FLOW)
    with pytest.raises(ParseError):
        dialog.refresh(invite("<sip:"))
    assert (dialog.target, dialog.flow) == ("sip:a@10.0.0.1:5070", FLOW)


# where requests go


@pytest.mark.parametrize(
    ("uri", "peer"),
    [
        ("sip:a@10.0.0.7:5070", ("10.0.0.7", 5070)),
        ("sip:10.0.0.7", ("10.0.0.7", 5060)),
        ("SIP:10.0.0.7:65535;transport=udp", ("10.0.0.7", 65535)),
        ("sips:a@10.0.0.7?Subject=x", ("10.0.0.7", 5060)),
        ("sip:a:secret@10.0.0.7;x", ("10.0.0.7", 5060)),
        ("sip:192.0.2.5;x@10.0.0.7:5071", ("10.0.0.7", 5071)),
        ("sip:192.0.2.5:5060;x@10.0.0.7", ("10.0.0.7", 5060)),
        ("sip:a@[2001:db8::7]:5070", ("2001:db8::7", 5070)),
        ("sip:[2001:db8::7]", ("2001:db8::7", 5060)),
        ("sip:[::ffff:10.0.0.7];lr", ("::ffff:10.0.0.7", 5060)),
        # what is no address goes back to where the peer's messages come from
        ("sip:a@pbx.example.com", ELSEWHERE),
        ("sip:a@pbx.example.com:5070;maddr=10.0.0.7", ELSEWHERE),
        ("sip:192.0.2.5;x@pbx.example.com", ELSEWHERE),
        ("sip:192.0.2.5@pbx.example.com", ELSEWHERE),
        ("sip:a@10.0.0.7.example.com", ELSEWHERE),
        ("sip:a@10.0.0.7.example", ELSEWHERE),
        ("tel:+8613800138000", ELSEWHERE),
        ("urn:service:sos", ELSEWHERE),
        ("sip:a@10.0.0.777", ELSEWHERE),
        ("sip:a@10.0.0.07", ELSEWHERE),
        ("sip:a@10.0.0.7.9", ELSEWHERE),
        ("sip:a@10.0.0.7:0", ELSEWHERE),
        ("sip:a@10.0.0.7:65536", ELSEWHERE),
        ("sip:a@10.0.0.7:123456", ELSEWHERE),
        ("sip:a@[2001:db8::7", ELSEWHERE),
        ("sip:a@[2001:db8::7::1]", ELSEWHERE),
        ("sip:a@[2001:db8::7]:0", ELSEWHERE),
    ],
)
def test_where_requests_go(uri: str, peer: tuple[str, int]) -> None:
    flow = FLOW._replace(peer=ELSEWHERE)
    by_contact = Dialog.answering(invite(f"<{uri}>"), "ours", flow)
    assert by_contact.target == uri
    assert by_contact.flow == flow._replace(peer=peer)
    by_route = Dialog.answering(invite("<sip:a@10.9.9.9>", routes=(f"<{uri}>",)), "ours", flow)
    assert by_route.flow == flow._replace(peer=peer)
