"""Framing: the same messages and the same error however a stream is cut (RFC 3261 §18.3, RFC 5626 §4.4.1)."""

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from b2bua.sip.parser import Limits
from b2bua.sip.stream import Framer, FramingError, answer_port, sender_port

LIMITS = Limits(message_bytes=200)


def message(body: bytes = b"", name: bytes = b"Content-Length", more: bytes = b"") -> bytes:
    return b"OPTIONS sip:x SIP/2.0\r\n%s%s: %d\r\n\r\n%s" % (more, name, len(body), body)


def read(chunks: list[bytes], limits: Limits = LIMITS) -> tuple[list[bytes], int, str, bytes]:
    """(messages, pings, error, head of the message with the error) of a stream that comes in these chunks."""
    framer = Framer(limits)
    messages = []
    for chunk in chunks:
        framer.feed(chunk)
        try:
            while (whole := framer.take()) is not None:
                messages.append(whole)
        except FramingError as error:
            return messages, framer.pings, str(error), error.head
    return messages, framer.pings, "", b""


WHOLE = [
    ("one message", message(), [message()], 0),
    ("a body", message(b"v=0\r\n\r\n"), [message(b"v=0\r\n\r\n")], 0),
    ("two in one segment", message(b"a") + message(b"b"), [message(b"a"), message(b"b")], 0),
    ("the compact form", message(b"abc", b"l"), [message(b"abc", b"l")], 0),
    ("any case", message(b"abc", b"CONTENT-length"), [message(b"abc", b"CONTENT-length")], 0),
    ("blanks before the colon", message(b"abc", b"L \t"), [message(b"abc", b"L \t")], 0),
    ("a folded length", b"A b c\r\nl:\r\n  3\r\n\r\nabc", [b"A b c\r\nl:\r\n  3\r\n\r\nabc"], 0),
    ("a leading blank line", b"\r\n" + message(), [message()], 0),
    ("a ping", b"\r\n\r\n", [], 1),
    ("pings around messages", b"\r\n\r\n" + message() + b"\r\n\r\n\r\n\r\n" + message(), [message(), message()], 3),
    ("three blank lines are one ping", b"\r\n\r\n\r\n" + message(), [message()], 1),
    ("blank lines on both sides of a message are none", b"\r\n" + message() + b"\r\n", [message()], 0),
    ("the word in a value", message(more=b"Subject: l: 7\r\n"), [message(more=b"Subject: l: 7\r\n")], 0),
    ("the word in a folded value", message(more=b"S: x\r\n l: 7\r\n"), [message(more=b"S: x\r\n l: 7\r\n")], 0),
    ("the word in the body", message(b"\r\nl: 9\r\n\r\n"), [message(b"\r\nl: 9\r\n\r\n")], 0),
    ("half a message", message(b"abc")[:-1], [], 0),
    ("a lone CR", b"\r", [], 0),
    ("rubbish with a length is the parser's to refuse", b"\rx\r\nl:0\r\n\r\n", [b"\rx\r\nl:0\r\n\r\n"], 0),
]


@pytest.mark.parametrize(("stream", "messages", "pings"), [row[1:] for row in WHOLE], ids=[row[0] for row in WHOLE])
def test_a_stream_gives_its_messages_in_one_piece_and_byte_by_byte(
    stream: bytes, messages: list[bytes], pings: int
) -> None:
    assert read([stream]) == (messages, pings, "", b"")
    assert read([stream[index : index + 1] for index in range(len(stream))]) == (messages, pings, "", b"")


WRONG = [
    ("no Content-Length", b"A b c\r\nTo: x\r\n\r\n", "400 no Content-Length"),
    ("an empty head", b"x\r\n\r\n", "400 no Content-Length"),
    ("two lengths", message(more=b"l: 0\r\n"), "400 two Content-Length"),
    ("two on one line", b"A b c\r\nl: 1, 1\r\n\r\nx", "400 bad Content-Length"),
    ("no number", b"A b c\r\nl: x\r\n\r\n", "400 bad Content-Length"),
    ("nothing", b"A b c\r\nl:\r\n\r\n", "400 bad Content-Length"),
    ("a negative one", b"A b c\r\nl: -1\r\n\r\n", "400 bad Content-Length"),
    ("digits of another script", "A b c\r\nl: ١\r\n\r\n".encode(), "400 bad Content-Length"),
    ("more digits than an integer is worth", b"A b c\r\nl: 0000000001\r\n\r\nx", "400 bad Content-Length"),
    ("a body above the limit", b"A b c\r\nl: 199\r\n\r\n", "513 message too long"),
    ("a head without end", b"A b c\r\nTo: " + b"x" * 200, "513 head too long"),
    ("a head too long with its end", b"A b c\r\nTo: " + b"x" * 200 + b"\r\nl: 0\r\n\r\n", "513 head too long"),
]


@pytest.mark.parametrize(("stream", "error"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_a_stream_that_cannot_be_followed_is_an_error_after_what_came_before_it(stream: bytes, error: str) -> None:
    together = read([message() + stream + message()])
    assert together[:3] == ([message()], 0, error)
    assert stream.startswith(together[3])
    assert read([bytes((octet,)) for octet in message() + stream]) == together


def test_the_longest_message_is_taken_and_one_byte_more_is_not() -> None:
    body = b"x" * (200 - len(message(b"x" * 100)) + 100)
    assert read([message(body)])[0] == [message(body)]
    assert read([message(body + b"x")])[2] == "513 message too long"


PIECES = st.sampled_from([row[1] for row in WHOLE + [(*row, 0) for row in WRONG]])


@given(st.lists(PIECES | st.binary(max_size=12), max_size=6), st.data())
@example([b"\r\n", b"\r\n"], None)
def test_any_split_gives_the_same(pieces: list[bytes], data: st.DataObject | None) -> None:
    stream = b"".join(pieces)
    cuts = [1] if data is None else data.draw(st.lists(st.integers(0, len(stream)), max_size=12))
    marks = sorted({0, len(stream), *cuts})
    chunks = [stream[start:end] for start, end in pairwise(marks)]
    assert read(chunks) == read([stream])


def test_what_has_come_and_was_not_taken_is_known() -> None:
    framer = Framer()
    framer.feed(message() + b"OPT")
    assert len(framer) == len(message()) + 3
    assert framer.take() == message()
    assert len(framer) == 3


def test_many_small_chunks_cost_no_more_than_their_bytes() -> None:
    """The end of the head is not looked for in what was searched before."""
    framer = Framer()
    for _ in range(60_000):
        framer.feed(b"x")
        assert framer.take() is None
    framer.feed(b"\r\nl: 2\r\n\r\n")
    assert framer.take() is None
    framer.feed(b"ab")
    assert framer.take() == b"x" * 60_000 + b"\r\nl: 2\r\n\r\nab"


@pytest.mark.parametrize(
    ("via", "port"),
    [
        ("SIP/2.0/TCP 192.0.2.1:5070;branch=z9hG4bKa", 5070),
        ("SIP/2.0/TCP 192.0.2.1;branch=z9hG4bKa", 5060),
        ("SIP/2.0/TLS 192.0.2.1;branch=z9hG4bKa", 5061),
        ("SIP/2.0/TCP proxy.example:5070;received=192.0.2.2;rport=40000;branch=z9hG4bKa", 5070),
        ("SIP/2.0/TCP [2001:db8::1]:5070;branch=z9hG4bKa", 5070),
        ("SIP/2.0/TCP x;received=192.0.2.2;branch=z9hG4bKa, SIP/2.0/UDP y:7;branch=z9hG4bKb", 5060),
        ("rubbish", 0),
    ],
)
def test_an_answer_without_its_connection_goes_to_the_port_that_its_via_names(via: str, port: int) -> None:
    assert answer_port(f"SIP/2.0 200 OK\r\nVia: {via}\r\nTo: x\r\n\r\n".encode()) == port


def test_an_answer_without_via_goes_nowhere() -> None:
    assert answer_port(b"SIP/2.0 200 OK\r\nTo: x\r\n\r\n") == 0


@pytest.mark.parametrize(
    ("start", "via", "port"),
    [
        ("OPTIONS sip:x SIP/2.0", "Via: SIP/2.0/TCP 192.0.2.1:5070;branch=a", 5070),
        ("OPTIONS sip:x SIP/2.0", "v:SIP/2.0/TCP 192.0.2.1;branch=a", 5060),
        ("OPTIONS sip:x SIP/2.0", "VIA : SIP/2.0/TLS 192.0.2.1;branch=a", 5061),
        ("OPTIONS sip:x SIP/2.0", "Via: SIP/2.0/TCP 192.0.2.2:5070;branch=a", 0),
        ("OPTIONS sip:x SIP/2.0", "Via: SIP/2.0/TCP proxy.example;branch=a", 0),
        ("OPTIONS sip:x SIP/2.0", "Via: rubbish", 0),
        ("OPTIONS sip:x SIP/2.0", "To: x", 0),
        ("SIP/2.0 200 OK", "Via: SIP/2.0/TCP 192.0.2.1:5070;branch=a", 0),
    ],
)
def test_the_port_of_a_sender_is_believed_for_its_own_host_only(start: str, via: str, port: int) -> None:
    assert sender_port(f"{start}\r\n{via}\r\nTo: x\r\n\r\n".encode(), "192.0.2.1") == port
