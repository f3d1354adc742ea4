"""Bodies in parts: only the session description is taken out (RFC 2046 §5.1, RFC 5621)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b2bua.sip.errors import ParseError
from b2bua.sip.multipart import PARTS, media_type, sdp_part

SDP = b"v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nt=0 0\r\n"
SDP_PART = b"Content-Type: application/sdp\r\n\r\n" + SDP
ISUP_PART = (
    b"Content-Type: application/ISUP; version=itu-t92+\r\nContent-Disposition: signal\r\n\r\n\x01\x00\x49\x00\r\n--\xff"
)
EARLY_PART = b"Content-Type: application/sdp\r\nContent-Disposition: early-session\r\n\r\nv=0\r\ns=early\r\n"


def parts(*content: bytes, boundary: bytes = b"b1", end: bytes = b"--\r\n", line: bytes = b"\r\n") -> bytes:
    return b"".join(b"--" + boundary + line + part + line for part in content) + b"--" + boundary + end


MIXED = 'multipart/mixed; boundary="b1"'

FOUND = [
    ("application/sdp", SDP),
    ("APPLICATION / SDP ; charset=utf-8", SDP),
    (MIXED, parts(SDP_PART)),
    ("multipart/mixed;boundary=b1", parts(SDP_PART)),
    ("Multipart/Mixed ; Boundary = b1 ; x=y", parts(SDP_PART)),
    (MIXED, parts(ISUP_PART, SDP_PART)),
    (MIXED, parts(SDP_PART, ISUP_PART)),
    (MIXED, parts(EARLY_PART, SDP_PART)),
    (MIXED, b"preamble\r\n" + parts(SDP_PART) + b"epilogue --b1 "),
    (MIXED, parts(SDP_PART, end=b"--")),
    (MIXED, parts(SDP_PART, line=b"\n")),
    (MIXED, parts(b"\r\ntext", SDP_PART)),
    (MIXED, parts(b"content-type:\r\n application/sdp\r\n\r\n" + SDP)),
    (MIXED, parts(b"Content-Type: application/sdp\r\nContent-Disposition: Session;handling=required\r\n\r\n" + SDP)),
    (MIXED, parts(b"Content-Type: application/sdp\r\nContent-Transfer-Encoding: 8BIT\r\n\r\n" + SDP)),
    ('multipart/mixed; boundary="-= _=b.1"', parts(SDP_PART, boundary=b"-= _=b.1")),
    (
        MIXED,
        parts(b"Content-Type: multipart/related; boundary=b2\r\n\r\n" + parts(ISUP_PART, SDP_PART, boundary=b"b2")),
    ),
]


@pytest.mark.parametrize(("content_type", "body"), FOUND)
def test_the_session_description_is_found(content_type: str, body: bytes) -> None:
    found = sdp_part(content_type, body)
    assert found is not None
    assert found.replace(b"\r\n", b"\n").strip() == SDP.replace(b"\r\n", b"\n").strip()


ABSENT = [
    ("text/plain", SDP),
    ("", SDP),
    ("application", SDP),
    ("application/sdp/x", SDP),
    ("application/sdp,", SDP),
    (MIXED, parts(ISUP_PART)),
    (MIXED, parts(EARLY_PART)),
    (MIXED, parts(b"\r\n" + SDP)),
    (MIXED, parts(b"Content-Type: application/sdp\r\nContent-Transfer-Encoding: base64\r\n\r\ndj0w")),
    (MIXED, parts(b"Content-Type: application/sdp\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b")),
    (
        MIXED,
        parts(
            b"Content-Type: multipart/mixed; boundary=b2\r\n\r\n"
            + parts(
                b"Content-Type: multipart/mixed; boundary=b3\r\n\r\n" + parts(SDP_PART, boundary=b"b3"), boundary=b"b2"
            )
        ),
    ),
]


@pytest.mark.parametrize(("content_type", "body"), ABSENT)
def test_a_body_without_a_session_description_has_none(content_type: str, body: bytes) -> None:
    assert sdp_part(content_type, body) is None


MALFORMED = [
    ("multipart/mixed", parts(SDP_PART)),
    ("multipart/mixed; boundary=", parts(SDP_PART)),
    ('multipart/mixed; boundary="b1', parts(SDP_PART)),
    (MIXED, b""),
    (MIXED, SDP),
    (MIXED, b"--b1\r\n" + SDP_PART),
    (MIXED, parts(SDP_PART, end=b"")),
    (MIXED, parts(b"Content-Type: application/sdp")),
    (MIXED, parts(*[ISUP_PART] * (PARTS + 1))),
]


@pytest.mark.parametrize(("content_type", "body"), MALFORMED)
def test_a_multipart_body_that_cannot_be_read_is_refused(content_type: str, body: bytes) -> None:
    with pytest.raises(ParseError) as refused:
        sdp_part(content_type, body)
    assert refused.value.status == 400


@pytest.mark.parametrize(("content_type", "body"), FOUND + ABSENT + MALFORMED)
def test_a_body_cut_anywhere_is_read_or_refused(content_type: str, body: bytes) -> None:
    for length in range(len(body)):
        try:
            found = sdp_part(content_type, body[:length])
        except ParseError:
            continue
        assert found is None or found in body


@given(
    st.binary(max_size=120),
    st.sampled_from([MIXED, "multipart/mixed", "application/sdp", "text/plain"]) | st.text(max_size=40),
)
def test_any_body_is_read_or_refused(body: bytes, content_type: str) -> None:
    try:
        found = sdp_part(content_type, body.replace(b"\xff", b"--b1"))
    except ParseError:
        return
    assert found is None or found in body.replace(b"\xff", b"--b1")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("application/sdp", "application/sdp"),
        (" Application / SDP;a=b", "application/sdp"),
        ("text/plain ; charset=x", "text/plain"),
        ("text", ""),
        ("text/", ""),
        ("text/plain charset", ""),
        ("text/plain\r\nX: y", ""),
    ],
)
def test_the_media_type_is_read_without_its_parameters(text: str, kind: str) -> None:
    assert media_type(text) == kind
