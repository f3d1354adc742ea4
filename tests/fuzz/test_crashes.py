"""Inputs that once crashed or stalled a target, by target. A crash that the fuzzer finds is added here first."""

import time

import pytest

from tests.fuzz.call import INVITE, SDP, answer, request
from tests.fuzz.targets import TARGETS

SLOW_SECONDS = 0.03  # of CPU for a datagram at the limits; all that stalled took twice as much and more

OTHER_INVITE = (
    INVITE.replace(b"Call-ID: caller", b"Call-ID: other")
    .replace(b"z9hG4bKcaller", b"z9hG4bKother")
    .replace(b"sip:+8613800138000@192.0.2.10:5060", b"sip:x")
    .replace(b"+8613800138000", b"x")
)
OTHER_TAG = answer("200 OK", SDP).replace(b"tag=callee", b"tag=other")

CRASHES: list[tuple[str, bytes]] = [
    # a display name of blanks: two patterns for blank space side by side tried every way to share them
    ("headers", b"x" + b" " * 8000 + b"x"),
    ("parser", b"OPTIONS sip:a SIP/2.0\r\nFrom: x" + b" " * 8000 + b"x\r\n\r\n"),
    # blanks before a text, and blanks at the end of another line: each blank was a place to begin
    ("sdp", b"v=0\r\no= \r\ns=" + b" " * 8000 + b"x\r\nt=0 0\r\n"),
    # blanks in a media line, each a place where the port could begin
    ("sdp", b"m=" + b" " * 8000 + b"x"),
    # a response that is no hexadecimal number was written back as it came
    ("digest", b'Digest username="a", realm="b", nonce="c", uri="sip:d", response=\\'),
    # parameters of Via that are none, looked at only because of the word in them
    (
        "switch",
        b"OPTIONS sip:192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKx;rport 1\r\nMax-Forwards: 70\r\n"
        b"From: <sip:a@x>;tag=1\r\nTo: <sip:b@x>\r\nCall-ID: x\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n",
    ),
    # Contact and Record-Route that are none, in every message that moves the target of a dialog
    ("call", b"\0" + OTHER_INVITE.replace(b"<sip:x>", b",")),
    ("call", b"\0" + OTHER_INVITE.replace(b"<sip:x>", b"<<sip:x>")),
    ("call", b"\x01" + answer("200 OK", SDP).replace(b"\r\nCall-ID", b"\r\nRecord-Route: <sip:r;lr>x\r\nCall-ID")),
    ("call", b"\x05" + OTHER_TAG.replace(b"\r\nCall-ID", b"\r\nRecord-Route: <sip:r;lr>x\r\nCall-ID")),
    ("call", b"\x06" + request("INVITE", SDP).replace(b"Contact: <", b"Contact: <<")),
    ("call", b"\x07" + request("INVITE", SDP).replace(b"Contact: <", b"Contact: <<")),
    ("call", b"\x07" + request("INVITE", SDP).replace(b"Contact: <sip:p@203.0.113.9>", b"Contact: ,")),
    ("call", b"\x09" + answer("200 OK", SDP).replace(b"\r\nContact: <", b"\r\nContact: <<")),
    # a host of labels: nested repetition tried every way to cut it
    ("uri", b"sip:a@" + b"a" * 8000 + b"!"),
    ("uri", b"sip:a@" + b"a." * 4000 + b"!"),
]


@pytest.mark.parametrize(("name", "data"), CRASHES, ids=[f"{row[0]}-{index}" for index, row in enumerate(CRASHES)])
def test_what_once_crashed_does_no_more(name: str, data: bytes) -> None:
    started = time.process_time()
    TARGETS[name].feed(data)
    assert time.process_time() - started < SLOW_SECONDS


@pytest.mark.parametrize("name", TARGETS)
def test_every_target_takes_its_own_seeds(name: str) -> None:
    target = TARGETS[name]
    assert target.seeds
    assert target.words
    for data in target.seeds:
        target.feed(data)
