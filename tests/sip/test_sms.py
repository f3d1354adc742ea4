"""3GPP short messages: relay and transfer layer, read into a text and written anew."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b2bua.sip.errors import ParseError
from b2bua.sip.gsm import encode_septets, format_digits, pack_septets
from b2bua.sip.sms import (
    Address,
    Coding,
    Concat,
    Relay,
    RelayKind,
    ShortText,
    acknowledgement,
    cause_of_failure,
    deliver,
    format_relay,
    middle_address,
    parse_relay,
    parse_short_text,
    temporary,
)

NOW_MS = 1_800_000_000_000
X = "700123456789012"
CENTRE = Address(0x91, "8613800210500")
PARTY = Address(0x91, "8613876543210")


def rp_data(tpdu: bytes, to_phone: bool = False) -> Relay:
    return Relay(RelayKind.DATA, to_phone, 5, tpdu, 0, CENTRE if to_phone else None, None if to_phone else CENTRE)


def submit(user_data: bytes, length: int, *, first: int = 0x01, pid: int = 0, dcs: int = 0, vp: bytes = b"") -> bytes:
    return (
        bytes((first, 9, 13, 0x91))
        + format_digits("8613876543210")
        + bytes((pid, dcs))
        + vp
        + bytes((length,))
        + user_data
    )


def delivered(
    user_data: bytes, length: int, *, first: int = 0x04, pid: int = 0, dcs: int = 0, origin: bytes = b""
) -> bytes:
    origin = origin or bytes((13, 0x91)) + format_digits("8613876543210")
    return bytes((first,)) + origin + bytes((pid, dcs)) + bytes.fromhex("62112201000023") + bytes((length,)) + user_data


HI = pack_septets(encode_septets("hi"))
NI = "你好".encode("utf-16-be")
TEXTS: tuple[tuple[bytes, bool, ShortText], ...] = (
    (submit(HI, 2), False, ShortText("hi", Coding.SEPTETS, None, PARTY)),
    (submit(NI, 4, dcs=8), False, ShortText("你好", Coding.UCS2, None, PARTY)),
    (submit(HI, 2, dcs=0xF1), False, ShortText("hi", Coding.SEPTETS, None, PARTY)),
    (submit(HI, 2, dcs=0x10), False, ShortText("hi", Coding.SEPTETS, None, PARTY)),  # to be shown at once: like others
    (submit(HI, 2, dcs=0xD0), False, ShortText("hi", Coding.SEPTETS, None, PARTY)),
    (submit(NI, 4, dcs=0xE0), False, ShortText("你好", Coding.UCS2, None, PARTY)),
    (submit(HI, 2, pid=0x41), False, ShortText("hi", Coding.SEPTETS, None, PARTY)),
    (submit(HI, 2, first=0x11, vp=b"\x00"), False, ShortText("hi", Coding.SEPTETS, None, PARTY, 300)),
    (submit(HI, 2, first=0x11, vp=b"\x8f"), False, ShortText("hi", Coding.SEPTETS, None, PARTY, 43_200)),
    (submit(HI, 2, first=0x11, vp=b"\xa7"), False, ShortText("hi", Coding.SEPTETS, None, PARTY, 86_400)),
    (submit(HI, 2, first=0x11, vp=b"\xc4"), False, ShortText("hi", Coding.SEPTETS, None, PARTY, 30 * 86_400)),
    (submit(HI, 2, first=0x11, vp=b"\xff"), False, ShortText("hi", Coding.SEPTETS, None, PARTY, 63 * 604_800)),
    (submit(HI, 2, first=0x09, vp=b"\x00" * 7), False, ShortText("hi", Coding.SEPTETS, None, PARTY)),
    # 15 January 2027, 16:05:00 in China is 300 s after NOW_MS
    (submit(HI, 2, first=0x19, vp=bytes.fromhex("72105161500023")), False,
     ShortText("hi", Coding.SEPTETS, None, PARTY, 300)),
    (submit(HI, 2, first=0x19, vp=b"\xff" * 7), False, ShortText("hi", Coding.SEPTETS, None, PARTY)),
    (submit(b"\x05\x00\x03\x2a\x03\x02" + NI, 10, first=0x41, dcs=8), False,
     ShortText("你好", Coding.UCS2, Concat(42, 3, 2, False), PARTY)),
    (submit(b"\x06\x08\x04\x01\x02\x03\x02" + NI, 11, first=0x41, dcs=8), False,
     ShortText("你好", Coding.UCS2, Concat(258, 3, 2, True), PARTY)),
    (submit(b"\x05\x00\x03\x2a\x03\x02" + pack_septets(encode_septets("hi"), 7)[6:], 9, first=0x41), False,
     ShortText("hi", Coding.SEPTETS, Concat(42, 3, 2, False), PARTY)),
    (submit(b"\x05\x00\x03\x2a\x00\x00" + NI, 10, first=0x41, dcs=8), False,
     ShortText("你好", Coding.UCS2, None, PARTY)),
    (submit(b"\x04\x22\x02\x91\x68" + NI, 9, first=0x41, dcs=8), False, ShortText("你好", Coding.UCS2, None, PARTY)),
    (submit("😀".encode("utf-16-be")[:2], 2, dcs=8), False, ShortText("\ud83d", Coding.UCS2, None, PARTY)),
    (submit(b"", 0), False, ShortText("", Coding.SEPTETS, None, PARTY)),
    (delivered(NI, 4, dcs=8), True, ShortText("你好", Coding.UCS2, None, PARTY)),
    (delivered(HI, 2, origin=b"\x0b\xd0" + pack_septets(encode_septets("TAOBAO"))), True,
     ShortText("hi", Coding.SEPTETS, None, Address(0xD0, "TAOBAO"))),
)  # fmt: skip
WRONG: tuple[tuple[bytes, bool, int], ...] = (
    (b"", False, 400),
    (submit(HI, 2, first=0x02), False, 415),  # SMS-COMMAND
    (submit(HI, 2, first=0x00), False, 415),
    (delivered(HI, 2, first=0x02), True, 415),  # SMS-STATUS-REPORT
    (submit(HI, 2, pid=0x40), False, 415),  # short message of type 0
    (submit(HI, 2, pid=0x7F), False, 415),  # data for the SIM
    (submit(HI, 2, pid=0x22), False, 415),  # fax
    (submit(HI, 2, dcs=0x04), False, 415),  # 8-bit data
    (submit(HI, 2, dcs=0x0C), False, 415),
    (submit(HI, 2, dcs=0x20), False, 415),  # compressed
    (submit(HI, 2, dcs=0x12), False, 415),  # class 2
    (submit(HI, 2, dcs=0xF2), False, 415),
    (submit(HI, 2, dcs=0xF6), False, 415),
    (submit(HI, 2, dcs=0xC0), False, 415),
    (submit(HI, 2, dcs=0x80), False, 415),
    (submit(b"\x06\x05\x04\x23\xf4\x00\x00" + NI, 11, first=0x41, dcs=8), False, 415),  # ports
    (submit(b"\x02\x70\x00" + NI, 7, first=0x41, dcs=8), False, 415),  # SIM toolkit
    (submit(b"\x03\x24\x01\x01" + NI, 8, first=0x41, dcs=8), False, 415),  # another alphabet
    (submit(b"\x09\x00\x03" + NI, 7, first=0x41, dcs=8), False, 400),
    (submit(b"\x02\x00\x03", 3, first=0x41, dcs=8), False, 400),
    (submit(b"\x01\x00", 2, first=0x41, dcs=8), False, 400),
    (submit(b"", 0, first=0x41, dcs=8), False, 400),
    (submit(b"\x05\x00\x03\x01\x02\x01", 1, first=0x41), False, 400),
    (submit(NI[:3], 3, dcs=8), False, 400),
    (submit(b"x" * 142, 142, dcs=8), False, 400),
    (bytes((1, 9, 30, 0x91)) + b"\x00" * 40, False, 400),
)
RELAYS: tuple[tuple[bytes, Relay], ...] = (
    (bytes.fromhex("0005 00 08 91 683108200105f0 02 0102".replace(" ", "")),
     Relay(RelayKind.DATA, False, 5, b"\x01\x02", 0, None, CENTRE)),
    (bytes.fromhex("0105 08 91 683108200105f0 00 02 0102".replace(" ", "")),
     Relay(RelayKind.DATA, True, 5, b"\x01\x02", 0, CENTRE, None)),
    (b"\x02\x05", Relay(RelayKind.ACK, False, 5)),
    (b"\x03\xff", Relay(RelayKind.ACK, True, 255)),
    (b"\x04\x05\x01\x16", Relay(RelayKind.ERROR, False, 5, cause=22)),
    (b"\x05\x05\x01\x95", Relay(RelayKind.ERROR, True, 5, cause=21)),
    (b"\x06\x05", Relay(RelayKind.MEMORY_AVAILABLE, False, 5)),
)  # fmt: skip
WRONG_RELAYS = (
    b"", b"\x00", b"\x07\x01", b"\x00\x05", b"\x00\x05\x00", b"\x00\x05\x00\x00\x05\x01",
    b"\x00\x05\x0d" + b"\x91" * 20,
    b"\x04\x05", b"\x04\x05\x00", b"\x04\x05\x03abc", b"\x02\x05\x41", b"\x02\x05\x41\x05\x00",
    b"\x00\x05\x00\x03\x91\xf1\xf2\x00",
)  # fmt: skip


@pytest.mark.parametrize(("tpdu", "to_phone", "text"), TEXTS)
def test_a_text_is_read_and_told_from_the_middle_number(tpdu: bytes, to_phone: bool, text: ShortText) -> None:
    assert parse_short_text(rp_data(tpdu, to_phone), NOW_MS) == text
    told = deliver(text, X, NOW_MS)
    again = parse_short_text(rp_data(told, True), NOW_MS)
    assert again == ShortText(text.text, text.coding, text.concat, Address(0xA1, X))
    assert format_digits("8613876543210") not in told
    assert format_digits("13876543210")[:5] not in told


@pytest.mark.parametrize(("tpdu", "to_phone", "status"), WRONG)
def test_what_is_no_text_is_refused(tpdu: bytes, to_phone: bool, status: int) -> None:
    with pytest.raises(ParseError) as found:
        parse_short_text(rp_data(tpdu, to_phone), NOW_MS)
    assert found.value.status == status


@pytest.mark.parametrize(("tpdu", "to_phone"), [row[:2] for row in TEXTS])
def test_a_text_cut_at_every_byte(tpdu: bytes, to_phone: bool) -> None:
    for length in range(len(tpdu)):
        with pytest.raises(ParseError):
            parse_short_text(rp_data(tpdu[:length], to_phone), NOW_MS)


@pytest.mark.parametrize(("data", "relay"), RELAYS)
def test_relay_messages(data: bytes, relay: Relay) -> None:
    assert parse_relay(data) == relay
    if relay.kind is not RelayKind.MEMORY_AVAILABLE:
        assert parse_relay(format_relay(relay)) == relay
    for length in range(len(data)):
        try:
            parse_relay(data[:length])
        except ParseError:
            continue


@pytest.mark.parametrize("data", WRONG_RELAYS)
def test_relay_messages_that_are_none(data: bytes) -> None:
    with pytest.raises(ParseError):
        parse_relay(data)


def test_an_acknowledgement_goes_back_with_the_reference() -> None:
    data = rp_data(b"")
    assert format_relay(acknowledgement(data)) == b"\x03\x05"
    assert format_relay(acknowledgement(data, 27)) == b"\x05\x05\x01\x1b"
    assert format_relay(acknowledgement(data, 5)) == b"\x05\x05\x01\x6f"  # no cause of the table
    assert format_relay(acknowledgement(rp_data(b"", True))) == b"\x02\x05"


@pytest.mark.parametrize(
    ("status", "cause"), [(200, 0), (404, 1), (480, 27), (408, 27), (503, 38), (403, 21), (603, 21), (600, 27)]
)
def test_what_a_status_means_to_a_phone(status: int, cause: int) -> None:
    assert cause_of_failure(status) == cause


def test_which_causes_pass() -> None:
    assert [cause for cause in (1, 21, 22, 27, 38, 41, 42, 47, 50, 111) if temporary(cause)] == [22, 27, 38, 41, 42, 47]


@pytest.mark.parametrize(
    ("shown", "kind", "digits"), [(X, 0xA1, X), (f"+86{X}", 0x91, f"86{X}"), (f"86{X}", 0x91, f"86{X}")]
)
def test_a_middle_number_in_the_form_of_the_trunk(shown: str, kind: int, digits: str) -> None:
    assert middle_address(shown) == Address(kind, digits)
    tpdu = deliver(ShortText("x", Coding.SEPTETS, None, PARTY), shown, NOW_MS)
    assert tpdu[1:3] == bytes((len(digits), kind))
    assert tpdu[3 : 3 + (len(digits) + 1) // 2] == format_digits(digits)


def test_the_time_is_ours_in_chinas_zone() -> None:
    tpdu = deliver(ShortText("x", Coding.SEPTETS, None, PARTY), X, NOW_MS)
    assert tpdu[13:20].hex() == "72105161000023"  # 2027-01-15 16:00:00 +8 h


def test_a_text_too_long_for_one_is_refused() -> None:
    with pytest.raises(ParseError):
        deliver(ShortText("字" * 71, Coding.UCS2, None, PARTY), X, NOW_MS)
    with pytest.raises(ParseError):
        deliver(ShortText("x" * 154, Coding.SEPTETS, Concat(1, 2, 1, False), PARTY), X, NOW_MS)


@given(
    st.text(alphabet="abc 123*@£€{}", max_size=70),
    st.sampled_from([None, Concat(1, 2, 1, False), Concat(300, 2, 2, True)]),
)
def test_any_text_of_the_alphabet_survives(text: str, concat: Concat | None) -> None:
    told = deliver(ShortText(text, Coding.SEPTETS, concat, PARTY), X, NOW_MS)
    again = parse_short_text(rp_data(told, True), NOW_MS)
    assert (again.text, again.concat) == (text, concat)


@given(st.text(max_size=66), st.sampled_from([None, Concat(1, 2, 1, False), Concat(300, 2, 2, True)]))
def test_any_text_in_ucs2_survives(text: str, concat: Concat | None) -> None:
    if len(text.encode("utf-16-be", "surrogatepass")) > 132:
        return
    told = deliver(ShortText(text, Coding.UCS2, concat, PARTY), X, NOW_MS)
    assert parse_short_text(rp_data(told, True), NOW_MS).text == text


@given(st.binary(max_size=200), st.booleans())
def test_rubbish_is_a_parse_error(data: bytes, to_phone: bool) -> None:
    try:
        text = parse_short_text(rp_data(data, to_phone), NOW_MS)
    except ParseError:
        return
    deliver(text, X, NOW_MS)
