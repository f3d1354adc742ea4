"""message/cpim: opened, and a new envelope put around the text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b2bua.sip.cpim import FIELDS, Envelope, format_cpim, parse_cpim
from b2bua.sip.errors import MisuseError, ParseError
from b2bua.sip.plain import parse_plain

RFC_EXAMPLE = (
    b"From: MR SANDERS <im:piglet@100akerwood.com>\r\nTo: Depressed Donkey <im:eeyore@100akerwood.com>\r\n"
    b"DateTime: 2000-12-13T13:40:00-08:00\r\nSubject: the weather will be fine today\r\n"
    b"Subject:;lang=fr: beau temps prevu pour aujourd'hui\r\n"
    b"NS: MyFeatures <mid:MessageFeatures@id.foo.com>\r\n"
    b"Require: From,To\r\n"
    b"MyFeatures.WackyMessageOption: Use-silly-font\r\n\r\n"
    b"Content-type: text/plain; charset=utf-8\r\nContent-ID: <1234567890@foo.com>\r\n\r\n"
    b"Here is the text of my message."
)
READ: tuple[tuple[bytes, Envelope], ...] = (
    (RFC_EXAMPLE, Envelope("Here is the text of my message.", "2000-12-13T13:40:00-08:00")),
    (b"From: <a:b>\r\n\r\nContent-Type: text/plain\r\n\r\nx", Envelope("x", "")),
    (b"From: <a:b>\n\nContent-Type: text/plain\n\nx", Envelope("x", "")),
    (b"\r\n\r\nx", Envelope("x", "")),  # no header on either side
    (b"From: <a:b>\r\n\r\n\r\nx\r\n\r\ny", Envelope("x\r\n\r\ny", "")),
    (b"From: <a:b>\r\nDateTime: yesterday at 13876543210\r\n\r\n\r\nx", Envelope("x", "")),
    (b"DateTime: 2026-11-22T10:00:00.123Z\r\n\r\n\r\n", Envelope("", "2026-11-22T10:00:00.123Z")),
    (b"A: b\r\n\r\nContent-Type: text/plain;\r\n charset=gbk\r\n\r\n\xc4\xe3\xba\xc3", Envelope("你好", "")),
    (b"A: b\r\n\r\nContent-Type: TEXT/Plain\r\ncontent-transfer-encoding: 8bit\r\n\r\nx", Envelope("x", "")),
)
WRONG: tuple[tuple[bytes, int], ...] = (
    (b"", 400),
    (b"From: <a:b>", 400),
    (b"From: <a:b>\r\n\r\n", 400),
    (b"From <a:b>\r\n\r\n\r\nx", 400),
    (b": x\r\n\r\n\r\nx", 400),
    (b" folded\r\n\r\n\r\nx", 400),
    (b"\xff: x\r\n\r\n\r\nx", 400),
    (b"a: b\r\n" * (FIELDS + 1) + b"\r\n\r\nx", 400),
    (b"Require: MyFeatures.VitalMessageOption\r\n\r\n\r\nx", 415),
    (b"A: b\r\n\r\nContent-Type: text/html\r\n\r\nx", 415),
    (b"A: b\r\n\r\nContent-Type: message/imdn+xml\r\n\r\n<imdn/>", 415),
    (b"A: b\r\n\r\nContent-Transfer-Encoding: base64\r\n\r\neA==", 415),
    (b"A: b\r\n\r\nContent-Encoding: gzip\r\n\r\nx", 415),
    (b"A: b\r\n\r\nContent-Type: text/plain;charset=klingon\r\n\r\nx", 415),
    (b"A: b\r\n\r\n\r\n\xff\xfe", 400),
)


@pytest.mark.parametrize(("body", "envelope"), READ)
def test_an_envelope_is_read(body: bytes, envelope: Envelope) -> None:
    assert parse_cpim(body) == envelope
    again = format_cpim(envelope, "sip:700123456789012@192.0.2.1", "sip:13900139000@192.0.2.20")
    assert parse_cpim(again) == envelope


@pytest.mark.parametrize(("body", "status"), WRONG)
def test_an_envelope_is_refused(body: bytes, status: int) -> None:
    with pytest.raises(ParseError) as found:
        parse_cpim(body)
    assert found.value.status == status


@pytest.mark.parametrize("body", [row[0] for row in READ])
def test_cut_at_every_byte(body: bytes) -> None:
    for length in range(len(body)):
        try:
            parse_cpim(body[:length])
        except ParseError:
            continue


def test_nothing_of_the_old_envelope_is_in_the_new_one() -> None:
    new = format_cpim(parse_cpim(RFC_EXAMPLE), "sip:700123456789012@h", "sip:13900139000@h")
    for word in (b"piglet", b"SANDERS", b"eeyore", b"weather", b"Features", b"1234567890@foo"):
        assert word not in new
    assert new.split(b"\r\n\r\n")[0].split(b"\r\n") == [
        b"From: <sip:700123456789012@h>",
        b"To: <sip:13900139000@h>",
        b"DateTime: 2000-12-13T13:40:00-08:00",
    ]


def test_a_line_break_in_an_address_is_our_bug() -> None:
    with pytest.raises(MisuseError):
        format_cpim(Envelope("x", ""), "sip:a\r\nSubject: b", "sip:c")


@given(st.text())
def test_any_text_survives(text: str) -> None:
    envelope = parse_cpim(format_cpim(Envelope(text, ""), "sip:a@b", "sip:c@d"))
    assert envelope.text == parse_plain("text/plain", text.encode("utf-8", "replace"))


@pytest.mark.parametrize(
    ("content_type", "body", "text"),
    [
        ("text/plain", "你好".encode(), "你好"),
        ("text/plain; charset=UTF-8", "你好".encode(), "你好"),
        ('text/plain;charset="gb2312"', "你好".encode("gbk"), "你好"),
        ("text/plain;charset=iso-8859-1;format=flowed", b"\xe9", "é"),
        ("text/plain;charset=utf-16", "你好".encode("utf-16"), "你好"),
        ("text/plain", b"a\x00b\x1bc\r\n\td\x7f", "abc\r\n\td"),
    ],
)
def test_plain_text(content_type: str, body: bytes, text: str) -> None:
    assert parse_plain(content_type, body) == text
