"""What goes on the wire, octet by octet, and the guard that keeps values inside their lines."""

import pytest

from b2bua.sip.errors import MisuseError
from b2bua.sip.serialiser import PHRASES, format_repetition, format_request, format_response, phrase_of

REQUEST = {
    "method": "INVITE",
    "uri": "sip:13800138000@10.0.0.9",
    "via": "SIP/2.0/UDP 10.0.0.2:5060;branch=z9hG4bK1;rport",
    "from_value": "<sip:700123456789012@10.0.0.2>;tag=a",
    "to_value": "<sip:13800138000@10.0.0.9>",
    "call_id": "c1",
}
BEFORE = "Via: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>"
AFTER = "\r\nCall-ID: c1\r\nCSeq: 1 INVITE\r\n"


def request(**changes: object) -> bytes:
    return format_request(**{**REQUEST, "cseq": 7, **changes})  # type: ignore[arg-type]


def test_a_bare_request_is_its_mandatory_fields() -> None:
    assert request() == (
        b"INVITE sip:13800138000@10.0.0.9 SIP/2.0\r\n"
        b"Via: SIP/2.0/UDP 10.0.0.2:5060;branch=z9hG4bK1;rport\r\n"
        b"Max-Forwards: 70\r\n"
        b"From: <sip:700123456789012@10.0.0.2>;tag=a\r\n"
        b"To: <sip:13800138000@10.0.0.9>\r\n"
        b"Call-ID: c1\r\n"
        b"CSeq: 7 INVITE\r\n"
        b"Content-Length: 0\r\n"
        b"\r\n"
    )


def test_routes_further_lines_and_a_body_have_their_places() -> None:
    wire = request(
        max_forwards=12,
        routes=("<sip:p1@10.0.0.3;lr>", "<sip:p2@10.0.0.4;lr>"),
        extra=("Contact: <sip:10.0.0.2>", "Allow: INVITE"),
        content_type="application/sdp",
        body=b"v=0\r\n\0",
    )
    head, _, body = wire.partition(b"\r\n\r\n")
    assert head.split(b"\r\n")[2:] == [
        b"Max-Forwards: 12",
        b"Route: <sip:p1@10.0.0.3;lr>",
        b"Route: <sip:p2@10.0.0.4;lr>",
        b"From: <sip:700123456789012@10.0.0.2>;tag=a",
        b"To: <sip:13800138000@10.0.0.9>",
        b"Call-ID: c1",
        b"CSeq: 7 INVITE",
        b"Contact: <sip:10.0.0.2>",
        b"Allow: INVITE",
        b"Content-Type: application/sdp",
        b"Content-Length: 6",
    ]
    assert body == b"v=0\r\n\0"


def test_without_a_body_there_is_no_content_type() -> None:
    assert b"Content-Type" not in request(content_type="application/sdp")
    assert b"Content-Type" not in format_response(200, BEFORE, "", AFTER, (), "application/sdp")


def test_an_answer_echoes_its_lines_and_adds_the_tag() -> None:
    wire = format_response(486, BEFORE, "ours", AFTER, ("Server: x700",))
    assert wire == (
        b"SIP/2.0 486 Busy Here\r\n"
        b"Via: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1\r\n"
        b"From: <sip:a@h>;tag=1\r\n"
        b"To: <sip:b@h>;tag=ours\r\n"
        b"Call-ID: c1\r\n"
        b"CSeq: 1 INVITE\r\n"
        b"Server: x700\r\n"
        b"Content-Length: 0\r\n"
        b"\r\n"
    )


def test_an_answer_without_a_tag_of_ours_leaves_to_alone() -> None:
    assert b"To: <sip:b@h>\r\nCall-ID" in format_response(100, BEFORE, "", AFTER)


def test_an_answer_carries_a_body() -> None:
    wire = format_response(200, BEFORE, "t", AFTER, (), "application/sdp", b"v=0\r\n")
    assert wire.endswith(b"CSeq: 1 INVITE\r\nContent-Type: application/sdp\r\nContent-Length: 5\r\n\r\nv=0\r\n")


def test_octets_that_are_not_utf8_leave_as_they_came() -> None:
    odd = b"\xff\xe4".decode("utf-8", "surrogateescape")
    assert b'From: "\xff\xe4" <sip:a@h>;tag=1\r\n' in request(from_value=f'"{odd}" <sip:a@h>;tag=1')
    assert b"\r\nTo: \xff\xe4\r\n" in format_response(400, f"From: x\r\nTo: {odd}", "", AFTER)
    assert b"Subject: \xff\xe4\r\n" in request(extra=(f"Subject: {odd}",))


BREAKS = ["\r", "\n", "\0", "\r\n", "\n\r", "\r\nVia: evil", "\r\n ", "\r\n\r\n"]
PLACES = ["{}", "{}x", "x{}", "x{}x"]


@pytest.mark.parametrize("bad", [place.format(text) for text in BREAKS for place in PLACES], ids=repr)
@pytest.mark.parametrize("position", ["method", "uri", "via", "from_value", "to_value", "call_id"])
def test_no_value_of_a_request_breaks_its_line(position: str, bad: str) -> None:
    with pytest.raises(MisuseError, match="CR, LF or NUL"):
        request(**{position: bad})


@pytest.mark.parametrize("bad", [place.format(text) for text in BREAKS for place in PLACES], ids=repr)
def test_no_list_of_a_request_breaks_its_lines(bad: str) -> None:
    for changes in (
        {"routes": (bad,)},
        {"routes": ("<sip:p;lr>", bad)},
        {"extra": (bad,)},
        {"extra": ("Allow: INVITE", f"Subject: {bad}")},
        {"content_type": bad, "body": b"x"},
    ):
        with pytest.raises(MisuseError, match="CR, LF or NUL"):
            request(**changes)


@pytest.mark.parametrize("bad", [place.format(text) for text in BREAKS for place in PLACES], ids=repr)
def test_no_value_of_an_answer_breaks_its_line(bad: str) -> None:
    for to_tag, extra, content_type in (
        (bad, (), ""),
        ("t", (bad,), ""),
        ("t", ("Allow: INVITE", f"Server: {bad}"), ""),
        ("t", (), bad),
    ):
        with pytest.raises(MisuseError, match="CR, LF or NUL"):
            format_response(200, BEFORE, to_tag, AFTER, extra, content_type, b"x")


def test_a_body_may_hold_anything() -> None:
    assert request(content_type="a/b", body=b"\r\n\0\r\n\r\n").endswith(b"Content-Length: 7\r\n\r\n\r\n\0\r\n\r\n")


@pytest.mark.parametrize(
    ("status", "phrase"),
    [
        (100, "Trying"),
        (180, "Ringing"),
        (200, "OK"),
        (486, "Busy Here"),
        (487, "Request Terminated"),
        (603, "Decline"),
        # statuses without a phrase of their own take that of the class (RFC 3261 §8.1.3.2)
        (155, "Trying"),
        (299, "OK"),
        (302, "Multiple Choices"),
        (499, "Bad Request"),
        (599, "Server Internal Error"),
        (699, "Decline"),
    ],
)
def test_the_phrase_is_the_standards(status: int, phrase: str) -> None:
    assert phrase_of(status) == phrase


def test_every_phrase_is_plain_text_for_a_status() -> None:
    assert all(100 <= status <= 699 for status in PHRASES)
    assert all(phrase.isascii() and phrase.isprintable() and phrase for phrase in PHRASES.values())


def test_a_repeated_request_has_another_via_and_number_and_other_credentials_and_is_else_the_same() -> None:
    body = b"v=0\r\nCSeq: 1 X\r\n"
    first = format_request(
        "INVITE", "sip:b@x", "V1", "<sip:a>;tag=1", "<sip:b>", "c", 7, 69, ("<sip:r;lr>",),
        ("Authorization: Digest a", "Proxy-Authorization: Digest b", "X: y"), "application/sdp", body,
    )  # fmt: skip
    again = format_repetition(first, "V2", 8, ("Authorization: Digest c", "Authorization: Digest d"))
    assert again == format_request(
        "INVITE", "sip:b@x", "V2", "<sip:a>;tag=1", "<sip:b>", "c", 8, 69, ("<sip:r;lr>",),
        ("Authorization: Digest c", "Authorization: Digest d", "X: y"), "application/sdp", body,
    )  # fmt: skip
    assert format_repetition(again, "V1", 9, ()).count(b"Authorization") == 0
    for line in ("Authorization: a\r\nX: y", "Authorization: a\nb", "Authorization: a\0"):
        with pytest.raises(MisuseError):
            format_repetition(first, "V2", 8, (line,))
