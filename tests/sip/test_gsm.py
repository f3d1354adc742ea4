"""Semi-octets, the 7-bit alphabet, and where digits may hide."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b2bua.sip.errors import ParseError
from b2bua.sip.gsm import (
    ALPHABET,
    EXTENSION,
    decode_septets,
    encode_septets,
    format_digits,
    pack_septets,
    parse_digits,
    spellings,
    unpack_septets,
)

TEXT = st.text(alphabet=[c for c in (*ALPHABET, *EXTENSION.values()) if c != "\x1b"], max_size=200)


def test_the_alphabet_is_complete() -> None:
    assert len(ALPHABET) == 128
    assert len(set(ALPHABET)) == 128
    assert (ALPHABET[0x00], ALPHABET[0x02], ALPHABET[0x11], ALPHABET[0x20], ALPHABET[0x7F]) == ("@", "$", "_", " ", "à")


def test_hellohello() -> None:
    """The example that everybody uses."""
    assert pack_septets(encode_septets("hellohello")).hex() == "e8329bfd4697d9ec37"


@given(TEXT, st.integers(0, 8))
def test_text_there_and_back(text: str, skipped: int) -> None:
    septets = encode_septets(text)
    packed = pack_septets(septets, skipped)
    assert len(packed) == (7 * (len(septets) + skipped) + 7) // 8
    assert decode_septets(unpack_septets(packed, len(septets), skipped)) == text


def test_escapes_that_lead_nowhere() -> None:
    """§6.2.1.1."""
    assert decode_septets(bytes((0x1B, 0x65))) == "€"
    assert decode_septets(bytes((0x1B, 0x41))) == "A"
    assert decode_septets(bytes((0x1B, 0x1B))) == " "
    assert decode_septets(bytes((0x41, 0x1B))) == "A "


def test_what_the_alphabet_lacks() -> None:
    with pytest.raises(ParseError):
        encode_septets("中")


def test_too_few_octets() -> None:
    with pytest.raises(ParseError):
        unpack_septets(b"\xff", 2)


@given(st.text(alphabet="0123456789*#abc", max_size=20))
def test_digits_there_and_back(digits: str) -> None:
    assert parse_digits(format_digits(digits), len(digits)) == digits


@pytest.mark.parametrize(("data", "count"), [(b"\xf1\x32", 4), (b"\x12", 3), (b"", 1), (b"\xff", 2)])
def test_digits_that_are_none(data: bytes, count: int) -> None:
    with pytest.raises(ParseError):
        parse_digits(data, count)


def test_a_filler_at_the_end_is_no_digit() -> None:
    assert parse_digits(b"\x21\xf3", 4) == "123"


NUMBER = "13876543210"


@pytest.mark.parametrize("prefix", ["", "8", "86", "086", "0086", "1"])
def test_a_number_in_semi_octets_is_found(prefix: str) -> None:
    assert any(spelling in b"\x01" + format_digits(prefix + NUMBER) for spelling in spellings(NUMBER))


@pytest.mark.parametrize("before", ["", "a", "ab", "abc", "abcd", "abcde", "abcdef", "abcdefg", "abcdefgh"])
def test_a_number_in_packed_septets_is_found(before: str) -> None:
    packed = pack_septets(encode_septets(f"{before}{NUMBER} call me"))
    assert any(spelling in packed for spelling in spellings(NUMBER))


def test_a_number_in_ucs2_is_found() -> None:
    assert any(spelling in f"打{NUMBER}".encode("utf-16-be") for spelling in spellings(NUMBER))


def test_another_number_is_not() -> None:
    other = "13900139000"
    wires = (format_digits(other), pack_septets(encode_septets(other)), other.encode("utf-16-be"), other.encode())
    assert not any(spelling in wire for wire in wires for spelling in spellings(NUMBER))
