"""What is fuzzed: each target names its seeds, what it is fed to, and its only allowed exception (ParseError)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from b2bua.sip.cpim import format_cpim, parse_cpim
from b2bua.sip.digest import format_challenge, format_credentials, parse_challenge, parse_credentials
from b2bua.sip.dtmf import DTMF, DTMF_RELAY, clean_dtmf
from b2bua.sip.errors import ParseError
from b2bua.sip.headers import parse_cseq, parse_name_addr, parse_params, parse_q850, parse_via, split_list, tag_of
from b2bua.sip.multipart import sdp_part
from b2bua.sip.parser import parse, salvage
from b2bua.sip.plain import parse_plain
from b2bua.sip.sdp import Origin, clean, describe, is_hold
from b2bua.sip.sms import Relay, RelayKind, deliver, format_relay, parse_relay, parse_short_text
from b2bua.sip.stream import Framer, FramingError, answer_port, sender_port
from b2bua.sip.uri import dialled_user, format_uri, parse_uri
from routing.content import ContentPolicy, Typed, assess
from tests.fuzz.call import SEEDS, WORDS, feed_call
from tests.routing import test_content
from tests.sip import test_cpim, test_digest, test_dtmf, test_multipart, test_sdp, test_sms, test_stream, test_uri
from tests.torture.messages import MESSAGES
from tests.torture.test_switch import Bench

__all__ = ["TARGETS", "Target"]


@dataclass(frozen=True, slots=True)
class Target:
    """``feed`` takes any bytes and returns; whatever it raises is a crash. ``words`` are spliced into the seeds."""

    name: str
    feed: Callable[[bytes], None]
    seeds: Sequence[bytes]
    words: Sequence[bytes]


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _feed_parser(data: bytes) -> None:
    salvage(data)
    try:
        message = parse(data)
    except ParseError:
        return
    values = [
        value for key in ("via", "from", "to", "call-id", "cseq", "contact", "route") for value in message.all(key)
    ]
    assert len(values) >= 5
    assert not any(mark in value for value in values for mark in "\r\n")


def _feed_headers(data: bytes) -> None:
    text = _text(data)
    for read in (parse_name_addr, parse_params, parse_via, parse_cseq, tag_of):
        try:
            read(text)
        except ParseError:
            continue
    assert 0 <= parse_q850(text) <= 127
    split_list(text)


def _feed_uri(data: bytes) -> None:
    try:
        uri = parse_uri(_text(data))
    except ParseError:
        return
    again = format_uri(uri)
    assert again.isascii()
    assert parse_uri(again) == uri
    dialled_user(uri)


_ORIGIN = Origin(123456789, 1, "192.0.2.1")


def _feed_sdp(data: bytes) -> None:
    describe(data)
    try:
        cleaned = clean(data, _ORIGIN)
    except ParseError:
        return
    assert clean(cleaned, _ORIGIN) == cleaned
    assert cleaned.startswith(b"v=0\r\no=- 123456789 1 IN IP4 192.0.2.1\r\ns=-\r\n")
    is_hold(cleaned)


def _feed_multipart(data: bytes) -> None:
    content_type, _, body = data.partition(b"\n\n")
    try:
        found = sdp_part(_text(content_type), body)
    except ParseError:
        return
    assert found is None or found in body


def _feed_digest(data: bytes) -> None:
    text = _text(data)
    try:
        challenge = parse_challenge(text)
        assert parse_challenge(format_challenge(challenge)) == challenge
    except ParseError:
        pass
    try:
        credentials = parse_credentials(text)
    except ParseError:
        return
    if credentials.username.isascii():
        assert parse_credentials(format_credentials(credentials)) == credentials


def _feed_dtmf(data: bytes) -> None:
    for content_type in (DTMF, DTMF_RELAY):
        cleaned = clean_dtmf(content_type, data)
        assert cleaned is None or clean_dtmf(content_type, cleaned) == cleaned


def _feed_stream(data: bytes) -> None:
    """The first octet says how the rest is cut; the messages stand in the stream with blank lines between them."""
    step, stream = (data[0] if data else 0) % 32 + 1, data[1:]
    framer = Framer()
    end = 0
    try:
        for start in range(0, len(stream), step):
            framer.feed(stream[start : start + step])
            while (message := framer.take()) is not None:
                while not stream.startswith(message, end):
                    assert stream.startswith(b"\r\n", end)
                    end += 2
                end += len(message)
                assert 0 <= answer_port(message) <= 65535
                assert 0 <= sender_port(message, "192.0.2.1") <= 65535
    except FramingError:
        return


def _feed_cpim(data: bytes) -> None:
    """An envelope that can be read is written anew from the middle number, and says the same."""
    try:
        envelope = parse_cpim(data)
    except ParseError:
        return
    again = format_cpim(envelope, "sip:700123456789012@192.0.2.1", "sip:13900139000@192.0.2.2")
    assert parse_cpim(again) == envelope
    assert again.count(b"\r\n\r\n") >= 2


def _feed_sms(data: bytes) -> None:
    """A relay message is written again as it was read; a text that can be read can be told, and says the same."""
    try:
        relay = parse_relay(data)
    except ParseError:
        return
    if relay.kind is not RelayKind.DATA:
        assert parse_relay(format_relay(relay)).reference == relay.reference
        return
    try:
        text = parse_short_text(relay, 1_800_000_000_000)
    except ParseError:
        return
    told = deliver(text, "700123456789012", 1_800_000_000_000)
    again = parse_short_text(Relay(RelayKind.DATA, True, 0, told), 0)
    assert (again.text, again.coding, again.concat) == (text.text, text.coding, text.concat)
    assert again.party.number == "700123456789012"


def _feed_content(data: bytes) -> None:
    """What may be said is as long as what was said, and holds neither party's number."""
    try:
        text = parse_plain("text/plain", data)
    except ParseError:
        return
    for typed in Typed:
        found = assess(text, ("13876543210", "13925814703"), ContentPolicy(("刷单",), typed))
        assert len(found.text) == len(text)
        assert found.drop or "13876543210" not in found.text


def _feed_switch(data: bytes) -> None:
    bench = Bench()
    bench.feed(data)
    assert bench.options("after") == [200]
    bench.rest()
    assert set(bench.switch.tables().values()) == {0}


_SIP_WORDS = (
    *(
        b"\r\n",
        b"\r\n ",
        b"\r\n\r\n",
        b"\r",
        b"\n",
        b"\0",
        b"\\",
        b'"',
        b"<",
        b">",
        b",",
        b";",
        b":",
        b"@",
        b" ",
        b"\t",
        b"%00",
    ),
    *(
        b"%31",
        b"\xff",
        b"\xe2\x84\xaa",
        b"SIP/2.0",
        b"sip:",
        b"tel:",
        b"[::1]",
        b";tag=",
        b";branch=z9hG4bK",
        b";rport",
        b"-1",
    ),
    *(
        b"4294967296",
        b"99999999999999999999",
        b"\r\nVia: ",
        b"\r\nTo: ",
        b"\r\nCSeq: 1 INVITE",
        b"\r\nContent-Length: 5",
        b"=",
        b"?",
    ),
    *(b"\r\nRequire: x", b"INVITE ", b"ACK ", b"CANCEL ", b"BYE ", b"\xd9\xa3", b"\xc5\xbf"),
)
_SDP_WORDS = (
    *(
        b"\r\n",
        b"\n",
        b"\0",
        b"=",
        b":",
        b" ",
        b"/",
        b";",
        b"\xff",
        b"\x85",
        b"a=",
        b"m=",
        b"c=",
        b"v=0",
        b"t=0 0",
        b"13800138000",
    ),
    *(
        b"a=rtpmap:",
        b"a=fmtp:96 ",
        b"a=crypto:",
        b"a=candidate:",
        b"m=audio 1 RTP/AVP 8",
        b"m=message 1 TCP/MSRP *",
        b"IN IP4 ",
        b"::",
    ),
)
_DIGEST_WORDS = (
    b'"',
    b"\\",
    b",",
    b"=",
    b" ",
    b"\r\n ",
    b"Digest ",
    b"username*=UTF-8''",
    b"%ff",
    b"\xff",
    b"qop=auth",
    b"nc=",
)

_URIS = (
    [row[0] for row in test_uri.CANONICAL]
    + [row[1] for row in test_uri.TOLERATED]
    + [row[0] for row in test_uri.REFUSED]
)
_HEADER_VALUES = (
    b'"A \\" B" <sip:a@x;lr>;tag=1;q="x;y"',
    b"sip:a@x;tag=1",
    b"A B <tel:+8613800138000>;tag=1",
    b"SIP/2.0/UDP 10.0.0.1:5060;rport;branch=z9hG4bKx, SIP / 2.0 / TCP [::1] ; ttl=1",
    b"1 INVITE",
    b'Q.850;cause=16;text="x", SIP;cause=200',
    b';a=b;c="d;e" ; f',
)

TARGETS = {
    target.name: target
    for target in (
        Target("parser", _feed_parser, list(MESSAGES.values()), _SIP_WORDS),
        Target("headers", _feed_headers, _HEADER_VALUES, _SIP_WORDS),
        Target("uri", _feed_uri, [text.encode() for text in _URIS], _SIP_WORDS),
        Target(
            "sdp",
            _feed_sdp,
            [test_sdp.body(*test_sdp.PHONE), test_sdp.body(*test_sdp.MINIMAL, *test_sdp.CROSSING, *test_sdp.LEAKING)],
            _SDP_WORDS,
        ),
        Target(
            "multipart",
            _feed_multipart,
            [kind.encode() + b"\n\n" + body for kind, body in test_multipart.FOUND + test_multipart.MALFORMED],
            (b"--b1", b"--", b"\r\n", b"\r\n\r\n", b"\n", b";", b"boundary=", b'"', b"multipart/x", b"application/sdp"),
        ),
        Target(
            "digest",
            _feed_digest,
            [row[0].encode() for row in test_digest.READ_CHALLENGES + test_digest.READ_CREDENTIALS],
            _DIGEST_WORDS,
        ),
        Target(
            "dtmf",
            _feed_dtmf,
            [row[1] for row in test_dtmf.READ],
            (b"Signal=", b"Duration=", b"\r\n", b"\0", b"16", b"99999"),
        ),
        Target(
            "stream",
            _feed_stream,
            [b"\x06" + row[1] for row in test_stream.WHOLE] + [b"\0" + row[1] for row in test_stream.WRONG],
            (*_SIP_WORDS, b"\r\nl: 3\r\n\r\n", b"\r\nContent-Length: 65535\r\n", b"\r\n\r\n\r\n\r\n"),
        ),
        Target(
            "cpim",
            _feed_cpim,
            [row[0] for row in test_cpim.READ + test_cpim.WRONG],
            (*_SIP_WORDS, b"Content-Type: text/plain", b"charset=", b"DateTime: ", b"Require: ", b"\n\n"),
        ),
        Target(
            "sms",
            _feed_sms,
            [
                *[format_relay(test_sms.rp_data(tpdu, to_phone)) for tpdu, to_phone, _ in test_sms.TEXTS],
                *[row[0] for row in test_sms.RELAYS],
            ],
            (b"\x05\x00\x03\x01\x02\x01", b"\x06\x08\x04\x00\x01\x02\x01", b"\x91", b"\xd0", b"\xff", b"\x00", b"\x1b"),
        ),
        Target(
            "content",
            _feed_content,
            [text.encode() for text in test_content.CODES + test_content.TALK],
            tuple(
                word.encode()
                for word in ("13876543210", "138 7654", "3210", "验证码", "１", "一", "\u200b", "-", "123456")
            ),
        ),
        Target("call", feed_call, SEEDS, WORDS),
        Target("switch", _feed_switch, list(MESSAGES.values()), _SIP_WORDS),
    )
}
