"""URIs: the same rows drive parsing and formatting (RFC 3261 §19.1, §25.1; RFC 3966)."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b2bua.sip.errors import ParseError
from b2bua.sip.uri import TOLERANCES, SipUri, TelUri, dialled_user, format_uri, parse_uri

CANONICAL: list[tuple[str, SipUri | TelUri, str]] = [
    ("sip:700123456789012@10.1.2.3:5060", SipUri("sip", "700123456789012", "", "10.1.2.3", 5060), "700123456789012"),
    ("sip:10.1.2.3", SipUri("sip", "", "", "10.1.2.3"), ""),
    ("sip:10.1.2.3:5080", SipUri("sip", "", "", "10.1.2.3", 5080), ""),
    ("sip:alice@10.1.2.3:65535", SipUri("sip", "alice", "", "10.1.2.3", 65535), "alice"),
    ("sips:alice@atlanta.example.com", SipUri("sips", "alice", "", "atlanta.example.com"), "alice"),
    ("sip:alice:secret@atlanta.example.com", SipUri("sip", "alice", "secret", "atlanta.example.com"), "alice"),
    ("sip:a@example.com.", SipUri("sip", "a", "", "example.com."), "a"),
    ("sip:a@localhost", SipUri("sip", "a", "", "localhost"), "a"),
    ("sip:a@x", SipUri("sip", "a", "", "x"), "a"),
    ("sip:a@1and1.de", SipUri("sip", "a", "", "1and1.de"), "a"),
    ("sip:a@[2001:db8::10]", SipUri("sip", "a", "", "[2001:db8::10]"), "a"),
    ("sip:a@[::ffff:192.0.2.1]:5070", SipUri("sip", "a", "", "[::ffff:192.0.2.1]", 5070), "a"),
    ("sip:[2001:db8::10]", SipUri("sip", "", "", "[2001:db8::10]"), ""),
    (
        "sip:+8613800138000@10.0.0.1;user=phone",
        SipUri("sip", "+8613800138000", "", "10.0.0.1", 0, {"user": "phone"}),
        "+8613800138000",
    ),
    (
        "sip:p@example.com:5061;transport=tcp;lr;maddr=[2001:db8::1]",
        SipUri("sip", "p", "", "example.com", 5061, {"transport": "tcp", "lr": "", "maddr": "[2001:db8::1]"}),
        "p",
    ),
    (
        "sip:alice@example.com?Subject=hi%20there&Route=%3Csip:x%3E",
        SipUri("sip", "alice", "", "example.com", 0, {}, "Subject=hi%20there&Route=%3Csip:x%3E"),
        "alice",
    ),
    ("sip:alice@example.com;lr?a=b", SipUri("sip", "alice", "", "example.com", 0, {"lr": ""}, "a=b"), "alice"),
    ("sip:%37%30%30123@10.0.0.1", SipUri("sip", "%37%30%30123", "", "10.0.0.1"), "700123"),
    ("sip:%2B86138@10.0.0.1", SipUri("sip", "%2B86138", "", "10.0.0.1"), "+86138"),
    ("sip:null-%00-null@example.com", SipUri("sip", "null-%00-null", "", "example.com"), "null-\0-null"),
    ("sip:%ff@example.com", SipUri("sip", "%ff", "", "example.com"), "\N{REPLACEMENT CHARACTER}"),
    (
        "sip:sips%3Auser%40example.com@example.net",
        SipUri("sip", "sips%3Auser%40example.com", "", "example.net"),
        "sips:user@example.com",
    ),
    (
        "sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com",
        SipUri(
            "sip",
            "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*",
            "&it+has=1,weird!*pas$wo~d_too.(doesn't-it)",
            "example.com",
        ),
        "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/",
    ),
    (
        "sip:13800138000;npdi;rn=+8610@10.0.0.1;user=phone",
        SipUri("sip", "13800138000;npdi;rn=+8610", "", "10.0.0.1", 0, {"user": "phone"}),
        "13800138000",
    ),
    (
        "sip:700123456789012;phone-context=+86@10.0.0.1;user=phone",
        SipUri("sip", "700123456789012;phone-context=+86", "", "10.0.0.1", 0, {"user": "phone"}),
        "+86700123456789012",
    ),
    ("sip:700;isub=1;Phone-Context=+86@x", SipUri("sip", "700;isub=1;Phone-Context=+86", "", "x"), "+86700"),
    ("sip:12345;phone-context=ims.example@x", SipUri("sip", "12345;phone-context=ims.example", "", "x"), "12345"),
    ("tel:+8613800138000", TelUri("+8613800138000"), "+8613800138000"),
    ("tel:+86-138-0013-8000;isub=12", TelUri("+86-138-0013-8000", {"isub": "12"}), "+86-138-0013-8000"),
    (
        "tel:700123456789012;phone-context=+86",
        TelUri("700123456789012", {"phone-context": "+86"}),
        "+86700123456789012",
    ),
    (
        "tel:700123456789012;phone-context=+8-6",
        TelUri("700123456789012", {"phone-context": "+8-6"}),
        "+86700123456789012",
    ),
    ("tel:01012345678;phone-context=+86", TelUri("01012345678", {"phone-context": "+86"}), "01012345678"),
    ("tel:+8670012;phone-context=+86", TelUri("+8670012", {"phone-context": "+86"}), "+8670012"),
    ("tel:4155550100;phone-context=+1", TelUri("4155550100", {"phone-context": "+1"}), "+14155550100"),
    ("tel:7042;phone-context=example.com", TelUri("7042", {"phone-context": "example.com"}), "7042"),
    ("tel:7042;phone-context=+example", TelUri("7042", {"phone-context": "+example"}), "7042"),
    ("tel:*31#700;phone-context=+86", TelUri("*31#700", {"phone-context": "+86"}), "+86*31#700"),
]

# name of the tolerance, text, what it is read as
TOLERATED: list[tuple[str, str, str]] = [
    ("hash in user", "sip:*31#700123456789012@10.0.0.1", "*31#700123456789012"),
    ("underscore in host", "sip:700@core_sbc.example", "700"),
    ("empty parameter", "sip:700@10.0.0.1;;user=phone;", "700"),
    ("repeated parameter", "sip:700@10.0.0.1;user=phone;user=ip", "700"),
    ("tel without context", "tel:700123456789012", "700123456789012"),
    ("escape in tel number", "tel:%2B86700123456789012", "+86700123456789012"),
    ("three colons", "sip:700@[2001:db8:::192.0.2.1]", "700"),
]

REFUSED: list[tuple[str, int]] = [
    ("", 400),
    ("sip:", 400),
    ("sip", 400),
    ("700123456789012", 400),
    (":x", 400),
    ("sip:@10.0.0.1", 400),
    ("sip::pw@10.0.0.1", 400),
    ("sip:a@", 400),
    ("sip:a@b@example.com", 400),
    ("sip:a b@example.com", 400),
    ("sip:a@exa mple.com", 400),
    ("sip:a@example.com:", 400),
    ("sip:a@example.com:0", 400),
    ("sip:a@example.com:65536", 400),
    ("sip:a@example.com:123456", 400),
    ("sip:a@example.com:5060x", 400),
    ("sip:a@256.1.1.1", 400),
    ("sip:a@1.2.3", 400),
    ("sip:a@1.2.3.4.5", 400),
    ("sip:a@01.2.3.4", 400),
    ("sip:a@-bad.example", 400),
    ("sip:a@bad-.example", 400),
    ("sip:a@bad-", 400),
    ("sip:a@two..dots", 400),
    ("sip:a@.example", 400),
    ("sip:a@[2001:db8::10", 400),
    ("sip:a@2001:db8::10", 400),
    ("sip:a@[12345::]", 400),
    ("sip:a@[:]", 400),
    ("sip:a@[1.2.3.4]", 400),
    ("sip:a@[]", 400),
    ("sip:a@example.com;=x", 400),
    ("sip:a@example.com;x=", 400),
    ("sip:a@example.com;x=y=z", 400),
    ("sip:a@example.com;x=%4", 400),
    ("sip:a%4@example.com", 400),
    ("sip:a%zz@example.com", 400),
    ("sip:a@example.com?", 400),
    ("sip:a@example.com?a=b c", 400),
    ("sip:\N{FULLWIDTH DIGIT ONE}@example.com", 400),
    ("sip:a@example.com:5\N{ARABIC-INDIC DIGIT ZERO}60", 400),
    ("sip:a@ex\N{KELVIN SIGN}.com", 400),
    ("sip:a@example.com\n", 400),
    ("sip:a@10.0.0.1\r\n", 400),
    ("sip:a\0@10.0.0.1", 400),
    ("<sip:a@10.0.0.1>", 400),
    ("tel:", 400),
    ("tel:-", 400),
    ("tel:+", 400),
    ("tel:+abc", 400),
    ("tel:12+34", 400),
    ("tel:+1#", 400),
    ("tel:1%00", 400),
    ("tel:12 34", 400),
    ("tel:12;=x", 400),
    ("nobodyKnowsThisScheme:totallyopaquecontent", 416),
    ("http://10.0.0.1/", 416),
    ("urn:service:sos", 416),
    ("sipx:a@10.0.0.1", 416),
    ("soap.beep://192.0.2.103:3002", 416),
]


@pytest.mark.parametrize(("text", "value", "number"), CANONICAL, ids=[row[0] for row in CANONICAL])
def test_a_uri_reads_writes_and_names_its_number(text: str, value: SipUri | TelUri, number: str) -> None:
    assert parse_uri(text) == value
    assert format_uri(value) == text
    assert dialled_user(value) == number


@pytest.mark.parametrize(("name", "text", "number"), TOLERATED, ids=[row[0] for row in TOLERATED])
def test_what_broken_peers_send_is_still_read(name: str, text: str, number: str) -> None:
    uri = parse_uri(text)
    assert dialled_user(uri) == number
    assert parse_uri(format_uri(uri)) == uri


def test_the_colon_too_many_is_left_out() -> None:
    uri = parse_uri("sip:700@[2001:db8:::192.0.2.1]:5070")
    assert isinstance(uri, SipUri)
    assert (uri.host, uri.port) == ("[2001:db8::192.0.2.1]", 5070)


@pytest.mark.parametrize("host", ["[2001:db8:::1]", "[:::1]", "[2001:db8::::192.0.2.1]", "[1::2:::192.0.2.1]"])
def test_other_colons_too_many_are_refused(host: str) -> None:
    with pytest.raises(ParseError):
        parse_uri(f"sip:700@{host}")


def test_every_tolerance_has_a_row() -> None:
    assert {row[0] for row in TOLERATED} == set(TOLERANCES)


@pytest.mark.parametrize(("text", "status"), REFUSED, ids=[repr(row[0]) for row in REFUSED])
def test_bad_grammar_is_refused_with_its_status(text: str, status: int) -> None:
    with pytest.raises(ParseError) as refused:
        parse_uri(text)
    assert refused.value.status == status


@pytest.mark.parametrize(
    ("text", "params"),
    [
        ("sip:a@10.0.0.1;user=phone;user=ip", {"user": "phone"}),
        ("sip:a@10.0.0.1;;user=phone;", {"user": "phone"}),
        ("SIPS:a@Example.COM;Transport=TCP;LR", {"transport": "TCP", "lr": ""}),
        ("sip:a@10.0.0.1;USER=Phone", {"user": "Phone"}),
    ],
)
def test_parameter_names_ignore_case_and_the_first_counts(text: str, params: dict[str, str]) -> None:
    uri = parse_uri(text)
    assert uri.params == params
    assert isinstance(uri, SipUri)
    assert uri.scheme in ("sip", "sips")


@pytest.mark.parametrize("text", [row[0] for row in CANONICAL] + [row[1] for row in TOLERATED])
def test_a_uri_cut_anywhere_is_read_or_refused(text: str) -> None:
    for length in range(len(text)):
        for piece in (text[:length], text[length + 1 :], text[:length] + "\0" + text[length:]):
            try:
                uri = parse_uri(piece)
            except ParseError:
                continue
            assert parse_uri(format_uri(uri)) == uri


@pytest.mark.parametrize(
    "text",
    [
        "sip:" + "a" * 60_000,
        "sip:" + "a." * 30_000,
        "sip:a@" + "a" * 60_000 + "!",
        "sip:a@" + "a." * 30_000 + "!",
        "sip:a@" + "a-" * 30_000,
        "sip:a@1.2.3.4" + ";a=b" * 15_000 + "\0",
        "sip:a@x?" + "a=b&" * 15_000 + "\0",
        "sip:" + "%41" * 20_000 + "%",
        "tel:" + "1-" * 30_000 + "!",
        "tel:+" + "-" * 60_000,
        "a" * 60_000,
    ],
    ids=lambda text: text[:12],
)
def test_an_endless_uri_is_refused_in_time_linear_in_its_length(text: str) -> None:
    started = time.process_time()
    with pytest.raises(ParseError):
        parse_uri(text)
    assert time.process_time() - started < 0.5


@given(st.text(max_size=60) | st.from_regex(r"(sip|sips|tel):[ -~]{0,60}", fullmatch=True))
def test_any_text_is_read_or_refused_and_what_is_read_writes_back_the_same(text: str) -> None:
    try:
        uri = parse_uri(text)
    except ParseError:
        return
    again = format_uri(uri)
    assert parse_uri(again) == uri
    assert format_uri(parse_uri(again)) == again
    assert isinstance(dialled_user(uri), str)
