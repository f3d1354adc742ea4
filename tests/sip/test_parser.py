"""From datagrams to messages: what is read, what is tolerated, what is refused and how (RFC 3261 §7, §25)."""

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from b2bua.sip.errors import ParseError
from b2bua.sip.headers import COMPACT_FORMS, NameAddr, parse_name_addr
from b2bua.sip.message import Message, Request, Response
from b2bua.sip.parser import Limits, parse, salvage
from b2bua.sip.serialiser import format_request, format_response
from tests.sip.wire import FROM, TO, VIA, wire_request, wire_response

SDP = b"v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\n"


def refusal(data: bytes, limits: Limits | None = None) -> tuple[int, str]:
    with pytest.raises(ParseError) as refused:
        parse(data, limits or Limits())
    return refused.value.status, refused.value.cause


# requests and responses as a whole


def test_a_request_is_read() -> None:
    message = parse(
        wire_request(
            vias=("SIP/2.0/UDP 10.0.0.1:5070;branch=z9hG4bK77;rport", "SIP/2.0/UDP p;branch=2"),
            more=("Contact: <sip:a@10.0.0.1:5070>", "Content-Type: application/sdp"),
            body=SDP,
        )
    )
    assert isinstance(message, Request)
    assert (message.method, message.uri) == ("INVITE", "sip:700123456789012@10.0.0.2")
    assert (message.via.transport, message.via.host, message.via.port) == ("UDP", "10.0.0.1", 5070)
    assert (message.via.branch, message.via.rest, message.via.has_rport()) == ("z9hG4bK77", "", True)
    assert (message.from_value, message.from_tag) == (FROM, "caller")
    assert (message.to_value, message.to_tag) == (TO, "")
    assert (message.call_id, message.cseq, message.cseq_method) == ("call-1", 1, "INVITE")
    assert message.get("max-forwards") == "70"
    assert message.get("contact") == "<sip:a@10.0.0.1:5070>"
    assert message.get("subject") is None
    assert message.all("via")[1:] == ["SIP/2.0/UDP p;branch=2"]
    assert message.all("contact") == ["<sip:a@10.0.0.1:5070>"]
    assert message.all("subject") == []
    assert message.body == SDP


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("SIP/2.0 200 OK", 200),
        ("SIP/2.0 100 ", 100),
        ("SIP/2.0 699 Whatever (else), 中文 \udcff", 699),
        ("SIP/2.0 486", 486),  # tolerated: the space before an empty phrase is left out
        ("sip/2.0 180 Ringing", 180),
        ("SIP/2.0 183 Session  Progress", 183),
    ],
)
def test_a_status_line_is_read(line: str, status: int) -> None:
    message = parse(line.encode("utf-8", "surrogateescape") + b"\r\n" + wire_response(200).partition(b"\r\n")[2])
    assert isinstance(message, Response)
    assert message.status == status
    assert (message.to_tag, message.cseq, message.cseq_method) == ("callee", 1, "INVITE")


@pytest.mark.parametrize(
    ("line", "method", "uri"),
    [
        ("BYE sip:a@b SIP/2.0", "BYE", "sip:a@b"),
        ("BYE sip:a@b sip/2.0", "BYE", "sip:a@b"),
        ("bye tel:+8613800138000 SIP/2.0", "bye", "tel:+8613800138000"),
        ("X-Y_z! urn:service:sos SIP/2.0", "X-Y_z!", "urn:service:sos"),
        ("BYE sip:a@b;x=1?y=2 SIP/2.0", "BYE", "sip:a@b;x=1?y=2"),
    ],
)
def test_a_request_line_is_read(line: str, method: str, uri: str) -> None:
    message = parse(line.encode() + b"\r\n" + wire_request(cseq=f"1 {method}").partition(b"\r\n")[2])
    assert isinstance(message, Request)
    assert (message.method, message.uri) == (method, uri)


@pytest.mark.parametrize(
    ("line", "refused"),
    [
        ("", (400, "bad method")),
        ("INVITE", (400, "bad request line")),
        ("INVITE sip:a@b", (400, "bad request line")),
        ("INVITE sip:a@b ", (400, "bad request line")),
        ("INVITE sip:a@b SIP/2.0 ", (400, "bad request line")),
        ("INVITE sip:a@b HTTP/1.1", (400, "bad request line")),
        ("INVITE sip:a@b SIP/2.0.0", (400, "bad request line")),
        ("INVITE sip:a@b SIP/\N{ARABIC-INDIC DIGIT FIVE}.0", (400, "bad request line")),
        ("INVITE sip:a@b \N{LATIN SMALL LETTER LONG S}IP/2.0", (400, "bad request line")),
        ("INVITE sip:a@b SIP/3.0", (505, "version not supported")),
        ("INVITE sip:a@b sip/2.1", (505, "version not supported")),
        ("INVITE SIP/2.0", (400, "bad request URI")),
        ("INVITE  SIP/2.0", (400, "bad request URI")),
        ("INVITE  sip:a@b SIP/2.0", (400, "bad request URI")),
        ("INVITE sip:a@b  SIP/2.0", (400, "bad request URI")),
        ("INVITE sip:a b SIP/2.0", (400, "bad request URI")),
        ("INVITE <sip:a@b> SIP/2.0", (400, "bad request URI")),
        ('INVITE sip:"a"@b SIP/2.0', (400, "bad request URI")),
        ("INVITE sip:a\t@b SIP/2.0", (400, "bad request URI")),
        ("INVITE sip SIP/2.0", (400, "bad request URI")),
        (" INVITE sip:a@b SIP/2.0", (400, "bad method")),
        ("INV@TE sip:a@b SIP/2.0", (400, "bad method")),
        ("INVÍTE sip:a@b SIP/2.0", (400, "bad method")),
        ("SIP/2.0", (400, "bad status line")),
        ("SIP/2.0 OK", (400, "bad status line")),
        ("SIP/2.0 2000 OK", (400, "bad status line")),
        ("SIP/2.0 20 OK", (400, "bad status line")),
        ("SIP/2.0  200 OK", (400, "bad status line")),
        ("SIP/1.0 200 OK", (400, "bad status line")),
        ("SIP/2.0 \N{ARABIC-INDIC DIGIT TWO}00 OK", (400, "bad status line")),
        ("SIP/2.0 099 Early", (400, "status out of range")),
        ("SIP/2.0 700 Late", (400, "status out of range")),
    ],
)
def test_a_start_line_of_another_grammar_is_refused(line: str, refused: tuple[int, str]) -> None:
    assert refusal(line.encode() + b"\r\n" + wire_request().partition(b"\r\n")[2]) == refused


# header fields


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ("Contact: <sip:a@b>", "contact", "<sip:a@b>"),
        ("contact: <sip:a@b>", "contact", "<sip:a@b>"),
        ("CONTACT: <sip:a@b>", "contact", "<sip:a@b>"),
        ("cOnTaCt:<sip:a@b>", "contact", "<sip:a@b>"),
        ("Contact:<sip:a@b>", "contact", "<sip:a@b>"),
        ("Contact : <sip:a@b>", "contact", "<sip:a@b>"),
        ("Contact \t : \t <sip:a@b> \t ", "contact", "<sip:a@b>"),
        ("Contact:  <sip:a@b>", "contact", "<sip:a@b>"),
        ("Contact: <sip:a@b>\t", "contact", "<sip:a@b>"),
        ("X-Own: a: b", "x-own", "a: b"),
        ("X-Own:a: b", "x-own", "a: b"),
        ("X-Own:", "x-own", ""),
        ("X-Own: ", "x-own", ""),
        ("Contact: ", "contact", ""),
        ("Contact:", "contact", ""),
        ("!%*_+`'~.: odd", "!%*_+`'~.", "odd"),
        ("Subject: one\r\n two", "subject", "one two"),
        ("Subject: one\r\n\t \ttwo\r\n three", "subject", "one two three"),
        ("Subject:\r\n late", "subject", "late"),
        ("Subject: early\r\n ", "subject", "early"),
        ("Subject\r\n : split", "subject", "split"),
        ("Subject: 中文 \udcff", "subject", "中文 \udcff"),
        ("Subject: \x01\x7f\x85\u2028", "subject", "\x01\x7f\x85\u2028"),
    ],
)
def test_a_header_field_is_read(line: str, key: str, value: str) -> None:
    message = parse(wire_request(more=(line,)))
    assert message.get(key) == value
    assert message.all(key) == [value]


@pytest.mark.parametrize("letter", [*COMPACT_FORMS, *(letter.upper() for letter in COMPACT_FORMS)])
def test_a_compact_name_is_the_long_one(letter: str) -> None:
    name = COMPACT_FORMS[letter.lower()]
    if name in ONCE:
        assert parse(ALL_COMPACT).get(name) is not None
    else:
        message = parse(wire_request(more=(f"{letter}: some value", f"{letter} :another")))
        assert message.all(name) == ["some value", "another"]


ONCE = {"via", "from", "to", "call-id", "content-length", "content-type"}
ALL_COMPACT = (
    f"INVITE sip:a@b SIP/2.0\r\nv:{VIA}\r\nF:{FROM}\r\nt : {TO}\r\ni:call-1\r\nCSeq:1 INVITE\r\n"
    "c:application/sdp\r\nL:3\r\n\r\nv=0 and more"
).encode()


def test_a_message_of_compact_names_is_read() -> None:
    message = parse(ALL_COMPACT)
    assert (message.via.branch, message.call_id) == ("z9hG4bK77", "call-1")
    assert (message.from_tag, message.to_value) == ("caller", TO)
    assert message.get("content-type") == "application/sdp"
    assert message.body == b"v=0"


def test_values_of_one_name_keep_their_order_whatever_its_spelling() -> None:
    lines = ("Route: <sip:1>", "route:<sip:2>", "ROUTE : <sip:3>,<sip:4>", "X-Own: no", "Route: <sip:5>")
    message = parse(wire_request(more=lines))
    assert message.get("route") == "<sip:1>"
    assert message.all("route") == ["<sip:1>", "<sip:2>", "<sip:3>,<sip:4>", "<sip:5>"]


@pytest.mark.parametrize(
    "line",
    ["Nonsense", "Contact", ": value", "Two Words: value", "Näme: value", "Na<me: value", "Na\tme: value", "@:"],
)
def test_a_line_that_is_no_header_field_is_refused(line: str) -> None:
    assert refusal(wire_request(more=("Subject: x", line, "Subject: y"))) == (400, "bad header field")


@pytest.mark.parametrize("name", ["From", "To", "Call-ID", "CSeq", "Via"])
def test_a_missing_field_is_named(name: str) -> None:
    lines = wire_request().split(b"\r\n")
    kept = b"\r\n".join(line for line in lines if not line.startswith(name.encode() + b":"))
    assert refusal(kept) == (400, f"no {name.lower()}")


@pytest.mark.parametrize(
    "name",
    ["From", "t", "i", "Call-Id", "CSeq", "Max-Forwards", "l", "Content-Length", "c", "Date", "Expires", "Timestamp"],
)
def test_a_field_that_may_come_once_is_refused_twice(name: str) -> None:
    key = COMPACT_FORMS.get(name.lower(), name.lower())
    value = {"from": FROM, "to": TO, "cseq": "1 INVITE", "content-length": "0"}.get(key, "1")
    assert refusal(wire_request(more=(f"{name}: {value}", f"{name}: {value}"))) == (400, f"two {key}")


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"vias": ("",)}, "bad Via"),
        ({"vias": ("SIP/2.0/UDP",)}, "bad Via"),
        ({"vias": ("SIP/2.0/UDP h:99999;branch=1",)}, "bad Via port"),
        ({"from_value": ""}, "bad address"),
        ({"from_value": "<sip:a@b"}, "bad address"),
        ({"from_value": "<sip:a@b>;tag=1 2"}, "bad parameters"),
        ({"to_value": '"x <sip:a@b>'}, "bad address"),
        ({"to_value": "<sip:a@b>;@"}, "bad parameters"),
        ({"call_id": ""}, "bad Call-ID"),
        ({"call_id": "a b"}, "bad Call-ID"),
        ({"call_id": "a\tb"}, "bad Call-ID"),
        ({"cseq": "INVITE"}, "bad CSeq"),
        ({"cseq": "2147483648 INVITE"}, "CSeq out of range"),
        ({"cseq": "1 BYE"}, "CSeq of another method"),
        ({"cseq": "1 invite"}, "CSeq of another method"),
    ],
)
def test_a_field_that_every_message_needs_is_looked_at(changes: dict[str, str], cause: str) -> None:
    assert refusal(wire_request(**changes)) == (400, cause)  # type: ignore[arg-type]


def test_the_sequence_number_of_a_response_may_name_any_method() -> None:
    assert parse(wire_response(200, cseq="4 FETCH")).cseq_method == "FETCH"


# line ends, folding, NUL


@pytest.mark.parametrize("start", [b"\r\n", b"\r\n\r\n", b"\n", b"\r\n" * 50])
def test_line_ends_before_the_start_line_are_nothing(start: bytes) -> None:
    assert parse(start + wire_request()).call_id == "call-1"


@pytest.mark.parametrize("data", [b"", b"\r\n", b"\r\n\r\n", b"\0", b"hello", b"INVITE sip:a@b SIP/2.0\r\n"])
def test_what_has_no_end_of_headers_is_refused(data: bytes) -> None:
    assert refusal(data) == (400, "no end of headers")


def test_bare_line_feeds_end_no_headers() -> None:
    assert refusal(wire_request().replace(b"\r\n", b"\n")) == (400, "no end of headers")


@pytest.mark.parametrize("octets", [b"\r", b"\n", b"\n\r", b"\r\r\n", b"\n\n"])
@pytest.mark.parametrize("place", [b"INVITE", b"Via", b"; tag", b"call-1"])
def test_a_bare_line_end_is_refused_wherever_it_is(octets: bytes, place: bytes) -> None:
    data = wire_request(from_value="<sip:a@b>; tag=1")
    spoilt = data.replace(place, place + octets, 1)
    assert spoilt != data
    assert refusal(spoilt) == (400, "bare CR or LF")


@pytest.mark.parametrize(
    "data",
    [
        wire_request().replace(b"\r\nVia", b"\r\n Via", 1),
        b" " + wire_request().replace(b"\r\nMax", b"\r\n Max", 1),
    ],
)
def test_a_folded_start_line_is_refused(data: bytes) -> None:
    assert refusal(data) == (400, "folded start line")


@pytest.mark.parametrize(
    "data",
    [
        wire_request(more=("Subject: a\0b",)),
        wire_request(more=("Subject: \\\\ \0",)),
        wire_request(call_id="a\0"),
        wire_request(call_id="a\\\0"),
        wire_request(uri="sip:a\0@b"),
        wire_request(uri="sip:a\\\0@b"),
        wire_request(more=("Contact: <sip:a\\\0@10.0.0.1>",)),
        wire_request(more=('Record-Route: "\\\0" <sip:10.0.0.1;lr>',)),
        wire_request(more=("Timestamp: \\\0",)),
        wire_request(more=("Require: \\\0",)),
        wire_request(vias=(VIA + ";x=\\\0",)),
        wire_request(from_value='"\0" <sip:a@b>;tag=1'),
        wire_response(200, to_value='"\\\0" <sip:a@b>;tag=1'),
        wire_response(200, more=("Contact: <sip:a\\\0@b>",)),
    ],
)
def test_nul_is_refused(data: bytes) -> None:
    assert refusal(data) == (400, "NUL in header")


def test_an_escaped_nul_rides_in_the_addresses_that_an_answer_echoes() -> None:
    message = parse(wire_request(from_value='"\\\0" <sip:a@b>;tag=1', to_value='"x\\\0\\\0" <sip:c@d>'))
    assert message.from_value == '"\\\0" <sip:a@b>;tag=1'
    assert message.to_value == '"x\\\0\\\0" <sip:c@d>'


# the body


@pytest.mark.parametrize(
    ("length", "body", "kept"),
    [
        ("0", b"", b""),
        ("3", b"abc", b"abc"),
        ("2", b"abc", b"ab"),  # §18.3: the rest of a datagram is thrown away
        ("0", b"abc", b""),
        ("003", b"abc", b"abc"),
        ("4", b"\r\n\r\n", b"\r\n\r\n"),
        ("2", b"\0\xff", b"\0\xff"),
    ],
)
def test_the_body_is_as_long_as_it_says(length: str, body: bytes, kept: bytes) -> None:
    data = wire_request().replace(b"Content-Length: 0", b"Content-Length: " + length.encode()) + body
    assert parse(data).body == kept


def test_a_body_without_a_length_goes_to_the_end() -> None:
    assert parse(wire_request().replace(b"Content-Length: 0\r\n", b"") + b"abc\r\n").body == b"abc\r\n"


@pytest.mark.parametrize(
    ("length", "cause"),
    [
        ("", "bad Content-Length"),
        ("-1", "bad Content-Length"),
        ("+1", "bad Content-Length"),
        ("1 2", "bad Content-Length"),
        ("0x1", "bad Content-Length"),
        ("1,1", "bad Content-Length"),
        ("\N{SUPERSCRIPT TWO}", "bad Content-Length"),
        ("\N{ARABIC-INDIC DIGIT FIVE}", "bad Content-Length"),
        ("0000000001", "bad Content-Length"),
        ("9" * 5000, "bad Content-Length"),
        ("999999999", "body shorter than Content-Length"),
        ("4", "body shorter than Content-Length"),
    ],
    ids=lambda value: value[:20],
)
def test_a_length_that_cannot_be_is_refused(length: str, cause: str) -> None:
    data = wire_request().replace(b"Content-Length: 0", f"Content-Length: {length}".encode()) + b"abc"
    assert refusal(data) == (400, cause)


# limits: the largest that passes, and one more


def test_message_bytes() -> None:
    data = wire_request(body=b"x" * 100)
    assert parse(data, Limits(message_bytes=len(data))).body
    assert refusal(data, Limits(message_bytes=len(data) - 1)) == (513, "message too large")


def test_a_message_too_large_is_not_looked_at_further() -> None:
    assert refusal(b"x" * 11, Limits(message_bytes=10)) == (513, "message too large")


def test_header_fields() -> None:
    data = wire_request(more=("X-Own: 1",) * 20)
    fields = data.count(b"\r\n") - 2
    assert parse(data, Limits(header_fields=fields))
    assert refusal(data, Limits(header_fields=fields - 1)) == (513, "too many header fields")


def test_a_folded_field_counts_once() -> None:
    data = wire_request(more=("X-Own: 1" + "\r\n 2" * 20,))
    assert parse(data, Limits(header_fields=8)).get("x-own") == "1" + " 2" * 20
    assert refusal(data, Limits(header_fields=7)) == (513, "too many header fields")


def test_line_bytes() -> None:
    data = wire_request(more=(f"Subject: {'x' * 291}",))
    assert parse(data, Limits(line_bytes=300))
    assert refusal(data, Limits(line_bytes=299)) == (513, "header line too long")


def test_line_bytes_are_bytes() -> None:
    data = wire_request(more=(f"Subject: {'中' * 97}",))
    assert parse(data, Limits(line_bytes=300))
    assert refusal(data, Limits(line_bytes=299)) == (513, "header line too long")


def test_line_bytes_of_a_start_line() -> None:
    data = wire_request(uri="sip:" + "a" * 300)
    assert refusal(data, Limits(line_bytes=300)) == (513, "header line too long")


def test_line_bytes_of_folded_lines_together() -> None:
    data = wire_request(more=("Subject: x" + "\r\n xxxxxxxxx" * 29,))
    assert parse(data, Limits(line_bytes=300))
    assert refusal(data, Limits(line_bytes=299)) == (513, "header line too long")
    data = wire_request(more=("Subject: x" + "\r\n 中中中" * 29,))
    assert parse(data, Limits(line_bytes=300))
    assert refusal(data, Limits(line_bytes=299)) == (513, "header line too long")


def test_via_fields() -> None:
    data = wire_request(vias=(VIA,) * 5)
    assert len(parse(data, Limits(via_fields=5)).all("via")) == 5
    assert refusal(data, Limits(via_fields=4)) == (513, "too many Via")


def test_the_default_limits_are_those_of_the_profile() -> None:
    assert Limits() == Limits(message_bytes=65_535, header_fields=128, line_bytes=8192, via_fields=32)
    assert parse(wire_request(vias=(VIA,) * 32))
    assert refusal(wire_request(vias=(VIA,) * 33)) == (513, "too many Via")
    assert refusal(wire_request(more=("X-Own: 1",) * 123)) == (513, "too many header fields")
    assert parse(wire_request(more=("X-Own: 1",) * 121))
    assert refusal(wire_request(more=("X-Own: " + "x" * 8186,))) == (513, "header line too long")
    assert parse(wire_request(more=("X-Own: " + "x" * 8185,)))


# anything else: a message or a ParseError, and nothing that could break an answer

SAMPLES = [
    wire_request(body=SDP, more=("Content-Type: application/sdp", "Contact: <sip:a@10.0.0.1>")),
    wire_request(
        "BYE", vias=(VIA + ";rport", "SIP/2.0/TCP p;branch=2, SIP/2.0/UDP q;branch=3"), to_value=TO + ";tag=1"
    ),
    wire_request("OPTIONS", more=("Subject: folded\r\n twice\r\n\tover", "X-Odd: \udcff\udcfe")),
    wire_response(200, body=SDP, more=("Content-Type: application/sdp", 'Contact: "A" <sip:a@10.0.0.1>;expires=1')),
    wire_response(487, vias=(VIA, VIA)),
    ALL_COMPACT,
]


@pytest.mark.parametrize("data", SAMPLES, ids=range(len(SAMPLES)))
def test_a_message_cut_anywhere_is_refused(data: bytes) -> None:
    whole = parse(data)
    if data is ALL_COMPACT:
        data = data[: -len(" and more")]
    for length in range(len(data)):
        with pytest.raises(ParseError):
            parse(data[:length])
        check_salvage(data[:length])
    assert parse(data).body == whole.body


@pytest.mark.parametrize("data", SAMPLES, ids=range(len(SAMPLES)))
def test_a_message_with_an_octet_left_out_or_doubled_is_read_or_refused(data: bytes) -> None:
    for place in range(len(data)):
        for spoilt in (data[:place] + data[place + 1 :], data[:place] + data[place : place + 1] + data[place:]):
            with contextlib.suppress(ParseError):
                check_message(parse(spoilt))
            check_salvage(spoilt)


def check_message(message: Message) -> None:
    for value in [*message.first.values(), *(value for values in message.more.values() for value in values)]:
        assert "\r" not in value
        assert "\n" not in value
    assert message.via.transport
    assert message.via.host
    assert 0 <= message.via.port <= 65535
    assert 0 <= message.cseq < 2**31
    if isinstance(message, Response):
        assert 100 <= message.status <= 699
    elif isinstance(message, Request):
        assert message.method == message.cseq_method


def check_salvage(data: bytes) -> None:
    echo = salvage(data)
    if echo is None:
        return
    start = data.lstrip(b"\r\n")
    assert start[:4].upper() != b"SIP/"
    assert start[:3] != b"ACK" or start[3:4] not in b" \t\r"
    assert echo.keys() == {"via", "from", "to", "call-id", "cseq"}
    for values in echo.values():
        assert values
        for value in values:
            assert not any(character in value for character in "\r\n\0")


values = st.text(
    st.one_of(st.sampled_from('\r\n\0\t "<>;:,=@\\/'), st.characters(codec="utf-8"), st.characters(codec="ascii")),
    max_size=12,
)
starts = st.one_of(
    st.sampled_from(
        ["INVITE sip:a@b SIP/2.0", "ACK sip:a@b SIP/2.0", "SIP/2.0 200 OK", "INVITE sip:a@b SIP/3.0", "ACK\tx"]
    ),
    values,
)
good = {
    "Via": VIA,
    "v": VIA,
    "From": FROM,
    "f": FROM,
    "To": TO,
    "t": TO,
    "Call-ID": "c",
    "CSeq": "1 INVITE",
    "l": "0",
}
names = st.sampled_from([*good, "i", "Content-Length", "Contact", "X-Any", " Via", "Via ", ""])
fields = st.builds(
    lambda name, value, keep: f"{name}: {good.get(name, value) if keep else value}", names, values, st.booleans()
)
near_misses = st.builds(
    lambda start, lines, end, body: "\r\n".join([start, *lines]).encode() + end + body,
    starts,
    st.permutations([f"{name}: {value}" for name, value in good.items() if len(name) > 1]).flatmap(
        lambda lines: st.lists(fields, max_size=4).map(lambda more: [*lines, *more])
    ),
    st.sampled_from([b"\r\n\r\n", b"\r\n", b"\n\n", b""]),
    st.binary(max_size=8),
)
spoilt_samples = st.builds(
    lambda data, place, cut, octets: data[: place % len(data)] + octets + data[place % len(data) + cut :],
    st.sampled_from(SAMPLES),
    st.integers(0, 2000),
    st.integers(0, 12),
    st.one_of(st.binary(max_size=6), st.sampled_from([b"\r\n ", b"\r\n\r\n", b"\\\0", b"\r\nVia: x", b"\xff"])),
)


@given(st.one_of(st.binary(max_size=300), near_misses, spoilt_samples))
@example(b"")
@example(b"ACK \r\n")
def test_any_octets_are_a_message_or_a_parse_error(data: bytes) -> None:
    refused: ParseError | None = None
    try:
        check_message(parse(data))
    except ParseError as error:
        refused = error
    assert refused is None or (refused.status in (400, 505, 513) and refused.cause)
    check_salvage(data)


# what the serialiser makes is read back

lines_of_text = st.text(
    st.characters(exclude_characters="\r\n\0", codec="utf-8") | st.sampled_from("\udc80\udcff"), max_size=30
).map(lambda text: text.strip(" \t"))
words = st.text("abcXYZ0189-.!%*_+`'~", min_size=1, max_size=12)
user_parts = st.text("abcXYZ0189-_.!~*'()&=+$,;?/%", min_size=1, max_size=12)
displays = st.text(st.characters(exclude_characters='\r\n\0"\\', codec="utf-8"), max_size=10)


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '" '


@given(
    method=words.filter(lambda word: word.upper() != "SIP"),
    user=user_parts,
    branch=words,
    display=displays,
    tags=st.tuples(words, words),
    call_id=words,
    cseq=st.integers(0, 2**31 - 1),
    routes=st.lists(words.map(lambda word: f"<sip:{word};lr>"), max_size=3),
    extra=st.lists(lines_of_text, max_size=4),
    body=st.binary(max_size=40),
)
def test_a_request_of_ours_is_read_as_it_was_meant(
    method: str,
    user: str,
    branch: str,
    display: str,
    tags: tuple[str, str],
    call_id: str,
    cseq: int,
    routes: list[str],
    extra: list[str],
    body: bytes,
) -> None:
    from_value = f"{quoted(display)}<sip:{user}@h>;tag={tags[0]}"
    to_value = f"<sip:{user}@h>;tag={tags[1]}"
    wire = format_request(
        method,
        f"sip:{user}@h",
        f"SIP/2.0/UDP h:5060;branch={branch};rport",
        from_value,
        to_value,
        call_id,
        cseq,
        42,
        routes,
        [f"X-Line: {line}" for line in extra],
        "text/plain",
        body,
    )
    message = parse(wire)
    assert isinstance(message, Request)
    assert (message.method, message.uri) == (method, f"sip:{user}@h")
    assert (message.via.branch, message.via.has_rport()) == (branch, True)
    assert (message.from_value, message.from_tag) == (from_value, tags[0])
    assert (message.to_value, message.to_tag) == (to_value, tags[1])
    assert parse_name_addr(message.from_value) == NameAddr(display, f"sip:{user}@h", {"tag": tags[0]})
    assert (message.call_id, message.cseq, message.cseq_method) == (call_id, cseq, method)
    assert message.get("max-forwards") == "42"
    assert message.all("route") == routes
    assert message.all("x-line") == extra
    assert message.get("content-type") == ("text/plain" if body else None)
    assert message.body == body


@given(
    status=st.integers(100, 699),
    tag=st.one_of(st.just(""), words),
    extra=st.lists(lines_of_text, max_size=4),
    body=st.binary(),
)
def test_an_answer_of_ours_is_read_as_it_was_meant(status: int, tag: str, extra: list[str], body: bytes) -> None:
    before = f"Via: {VIA}\r\nVia: SIP/2.0/UDP p;branch=2\r\nFrom: {FROM}\r\nTo: {TO}"
    after = "\r\nCall-ID: call-1\r\nCSeq: 9 BYE\r\n"
    message = parse(
        format_response(status, before, tag, after, [f"X-Line: {line}" for line in extra], "text/plain", body)
    )
    assert isinstance(message, Response)
    assert message.status == status
    assert message.all("via") == [VIA, "SIP/2.0/UDP p;branch=2"]
    assert (message.from_value, message.from_tag) == (FROM, "caller")
    assert message.to_tag == tag
    assert (message.call_id, message.cseq, message.cseq_method) == ("call-1", 9, "BYE")
    assert message.all("x-line") == extra
    assert message.body == body


# salvage: what an answer to the unreadable echoes

ECHO = {"via": [VIA], "from": [FROM], "to": [TO], "call-id": ["call-1"], "cseq": ["1 INVITE"]}


@pytest.mark.parametrize(
    ("data", "changed"),
    [
        (wire_request(), {}),
        (b"\r\n\r\n" + wire_request(), {}),
        (wire_request(vias=(VIA, "SIP/2.0/UDP p")), {"via": [VIA, "SIP/2.0/UDP p"]}),
        (wire_request(vias=("what, is this",)), {"via": ["what, is this"]}),
        (wire_request(from_value="<<<"), {"from": ["<<<"]}),
        (wire_request(cseq="x"), {"cseq": ["x"]}),
        (wire_request(more=("\0: \0", "no colon", "Subject: bad\0", "=: =")), {}),
        (wire_request(more=("Subject: folded\r\n twice",), from_value="one\r\n two"), {"from": ["one two"]}),
        (wire_request().replace(b"INVITE sip", b"ACKNOWLEDGE sip"), {}),
        (wire_request().replace(b"INVITE sip", b"ack sip"), {}),
        (ALL_COMPACT, {}),
        (wire_request(vias=(VIA,) * 34), {"via": [VIA] * 34}),
        (wire_request(more=("X-Own: " + "x" * 9000,)), {}),
        (wire_request().replace(b"\r\n\r\n", b"\r\nX: cut"), {}),
    ],
)
def test_an_answer_to_the_unreadable_echoes_what_it_must(data: bytes, changed: dict[str, list[str]]) -> None:
    assert salvage(data) == {**ECHO, **changed}


def without(name: bytes) -> Callable[[bytes], bytes]:
    return lambda data: b"\r\n".join(line for line in data.split(b"\r\n") if not line.startswith(name))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n\r\n",
        b"\0\xff",
        wire_response(200),
        wire_response(200).replace(b"SIP/2.0", b"sip/9.9", 1),
        b"\r\n" + wire_response(200),
        wire_request("ACK"),
        b"\r\n" + wire_request("ACK"),
        wire_request("ACK").replace(b"ACK sip", b"ACK\tsip", 1),
        wire_request("ACK").replace(b"ACK sip", b"ACK\r\nsip", 1),
        *(without(name)(wire_request()) for name in (b"Via", b"From", b"To", b"Call-ID", b"CSeq")),
        wire_request(from_value="a\rb"),
        wire_request(to_value="a\nb"),
        wire_request(call_id="a\0b"),
        wire_request(vias=("a\\\0b",)),
        wire_request().replace(b"\r\nVia", b"\r\n Via"),
        wire_request().replace(b"\r\n", b"\n"),
    ],
)
def test_what_cannot_or_must_not_be_answered_is_not(data: bytes) -> None:
    assert salvage(data) is None


@pytest.mark.parametrize("name", ["Via", "From", "To", "Call-ID", "CSeq"])
def test_a_field_that_was_cut_in_two_is_not_echoed(name: str) -> None:
    data = wire_request()
    line = next(line for line in data.split(b"\r\n") if line.startswith(name.encode()))
    rest = without(name.encode())(data)
    head = rest.partition(b"\r\n\r\n")[0]
    # the datagram ends inside the field
    assert salvage(head + b"\r\n" + line[:-2]) is None
    # the field lies across the end of what is looked at
    padding = b"\r\nX: " + b"x" * (Limits().line_bytes - len(head) - 10)
    assert salvage(head + padding + b"\r\n" + line + b"\r\n\r\n") is None
