"""INFO bodies: one key crosses, nothing else does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b2bua.sip.dtmf import BODY_BYTES, DTMF, DTMF_RELAY, clean_dtmf

NUMBER = b"13800138000"
CLEAN_FIVE = b"Signal=5\r\nDuration=160\r\n"

READ = [
    (DTMF_RELAY, b"Signal=5\r\nDuration=160\r\n", CLEAN_FIVE),
    (DTMF_RELAY, b"Signal= 5\r\nDuration= 160", CLEAN_FIVE),
    (DTMF_RELAY, b"signal=5\nduration=160\n", CLEAN_FIVE),
    (DTMF_RELAY, b"Duration=160\r\nSignal=5\r\n", CLEAN_FIVE),
    (DTMF_RELAY, b"\r\nSignal=5\r\n\r\n", CLEAN_FIVE),
    (DTMF_RELAY, b"Signal=5\r\n", CLEAN_FIVE),
    (DTMF_RELAY, b"Signal=5\r\nDuration=0\r\n", CLEAN_FIVE),
    (DTMF_RELAY, b"Signal=5\r\nDuration=x\r\n", CLEAN_FIVE),
    (DTMF_RELAY, b"Signal=5\r\nDuration=" + NUMBER, CLEAN_FIVE),
    (DTMF_RELAY, b"Signal=5\r\nDuration=160\r\nX-Caller=" + NUMBER, CLEAN_FIVE),
    (DTMF_RELAY, b"Signal=5\r\nDuration=160\r\n" + NUMBER, CLEAN_FIVE),
    (DTMF_RELAY, b"Signal=5\r\nSignal=" + NUMBER, CLEAN_FIVE),
    (DTMF_RELAY, b"Signal=5\r\nDuration=60000\r\n", b"Signal=5\r\nDuration=9999\r\n"),
    (DTMF_RELAY, b"Signal=*\r\nDuration=250\r\n", b"Signal=*\r\nDuration=250\r\n"),
    (DTMF_RELAY, b"Signal=#\r\nDuration=250\r\n", b"Signal=#\r\nDuration=250\r\n"),
    (DTMF_RELAY, b"Signal=10\r\n", b"Signal=*\r\nDuration=160\r\n"),
    (DTMF_RELAY, b"Signal=11\r\n", b"Signal=#\r\nDuration=160\r\n"),
    (DTMF_RELAY, b"Signal=d\r\n", b"Signal=D\r\nDuration=160\r\n"),
    (DTMF_RELAY, b"Signal=16\r\n", b"Signal=!\r\nDuration=160\r\n"),
    ("Application/DTMF-Relay; x=13800138000", b"Signal=5\r\nDuration=160\r\n", CLEAN_FIVE),
    (DTMF, b"5", b"5"),
    (DTMF, b" 5\r\n", b"5"),
    (DTMF, b"#", b"#"),
    (DTMF, b"11", b"#"),
    (DTMF, b"Signal=5\r\nDuration=160\r\n", b"5"),
]

REFUSED = [
    (DTMF_RELAY, b""),
    (DTMF_RELAY, b"5"),
    (DTMF_RELAY, b"Signal="),
    (DTMF_RELAY, b"Signal=" + NUMBER),
    (DTMF_RELAY, b"Signal=55"),
    (DTMF_RELAY, b"Signal=E"),
    (DTMF_RELAY, b"Signal=\xb2"),
    (DTMF_RELAY, b"Duration=160"),
    (DTMF_RELAY, b"Signal=5" + b"\r\n" * BODY_BYTES),
    (DTMF, b""),
    (DTMF, NUMBER),
    (DTMF, b"17"),
    (DTMF, b"5 " + NUMBER),
    ("text/plain", b"Signal=5\r\nDuration=160\r\n"),
    ("application/dtmf-relay-x", b"Signal=5"),
    ("message/sipfrag", b"5"),
    ("", b"5"),
    ("13800138000", b"5"),
]


@pytest.mark.parametrize(("content_type", "body", "clean"), READ)
def test_a_key_press_is_written_anew(content_type: str, body: bytes, clean: bytes) -> None:
    assert clean_dtmf(content_type, body) == clean
    assert clean_dtmf(content_type, clean) == clean


@pytest.mark.parametrize(("content_type", "body"), REFUSED)
def test_what_is_not_one_key_press_is_refused(content_type: str, body: bytes) -> None:
    assert clean_dtmf(content_type, body) is None


@pytest.mark.parametrize(("content_type", "body"), [(row[0], row[1]) for row in READ] + REFUSED)
def test_a_body_cut_anywhere_is_one_key_or_nothing(content_type: str, body: bytes) -> None:
    for length in range(len(body)):
        cleaned = clean_dtmf(content_type, body[:length])
        assert cleaned is None or clean_dtmf(content_type, cleaned) == cleaned


@given(
    st.sampled_from([DTMF, DTMF_RELAY]),
    st.binary(max_size=40) | st.binary(max_size=20).map(lambda end: b"Signal=" + end),
)
def test_any_body_gives_at_most_one_key(content_type: str, body: bytes) -> None:
    cleaned = clean_dtmf(content_type, body)
    if cleaned is not None:
        if content_type == DTMF:
            assert len(cleaned) == 1
        else:
            assert cleaned.startswith(b"Signal=")
            assert cleaned[8:19] == b"\r\nDuration="
