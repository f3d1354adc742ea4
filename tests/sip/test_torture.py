"""RFC 4475 against the parser: each message has its verdict, whole and cut anywhere."""

import contextlib

import pytest

from b2bua.sip.errors import ParseError
from b2bua.sip.message import Request, Response
from b2bua.sip.parser import parse, salvage
from tests.torture.messages import MESSAGES
from tests.torture.verdicts import VERDICTS, Verdict


def test_the_corpus_is_whole() -> None:
    names = [verdict.name for verdict in VERDICTS]
    assert names == list(MESSAGES)
    assert len(set(names)) == 49
    assert len({verdict.section for verdict in VERDICTS}) == 49
    assert all(verdict.note for verdict in VERDICTS)


# lengths as printed in the RFC: a slip of the pen in the corpus shows here
@pytest.mark.parametrize(
    ("name", "body_bytes"),
    [
        ("wsinv", 150),
        ("esc01", 150),
        ("longreq", 150),
        ("mpart01", 553),
        ("unreason", 154),
        ("quotbal", 152),
        ("ltgtruri", 159),
        ("lwsstart", 150),
        ("mismatch02", 138),
        ("insuf", 152),
        ("invut", 40),
        ("bcast", 154),
        ("sdp01", 150),
    ],
)
def test_a_body_is_as_long_as_the_rfc_says(name: str, body_bytes: int) -> None:
    head, _, body = MESSAGES[name].partition(b"\r\n\r\n")
    assert len(body) == body_bytes
    assert str(body_bytes).encode() in head


@pytest.mark.parametrize("verdict", VERDICTS, ids=[verdict.name for verdict in VERDICTS])
def test_the_parser_gives_its_verdict(verdict: Verdict) -> None:
    data = MESSAGES[verdict.name]
    if verdict.parsed:
        with pytest.raises(ParseError) as refused:
            parse(data)
        assert refused.value.status == verdict.parsed
        assert refused.value.cause
    else:
        message = parse(data)
        assert isinstance(message, Response if data.startswith(b"SIP/2.0 ") else Request)


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_cut_anywhere_is_read_or_refused(name: str) -> None:
    data = MESSAGES[name]
    for length in range(len(data)):
        with contextlib.suppress(ParseError):
            parse(data[:length])
        salvage(data[:length])


@pytest.mark.parametrize("name", MESSAGES)
@pytest.mark.parametrize("octet", [b"\0", b"\r", b"\n", b" ", b"\xff", b'"', b"<", b",", b";"])
def test_a_message_with_one_octet_changed_is_read_or_refused(name: str, octet: bytes) -> None:
    data = MESSAGES[name]
    for place in range(0, len(data), 3):
        spoilt = data[:place] + octet + data[place + 1 :]
        with contextlib.suppress(ParseError):
            parse(spoilt)
        salvage(spoilt)


# what a valid message means, once it is read
def test_folded_and_spaced_fields_are_read_as_meant() -> None:
    message = parse(MESSAGES["wsinv"])
    assert isinstance(message, Request)
    assert (message.method, message.cseq, message.from_tag, message.to_tag) == ("INVITE", 9, "98asjd8", "1918181833n")
    assert (message.via.transport, message.via.host, message.via.branch) == ("UDP", "192.0.2.2", "390skdjuw")
    assert message.get("subject") == ""
    assert message.get("newfangledheader") == "newfangled value continued newfangled value"
    assert message.get("unknownheaderwithunusualvalue") == ";;,,;;,;"
    assert len(message.all("via")) == 2
    assert len(message.body) == 150


def test_unusual_characters_are_read_as_they_stand() -> None:
    message = parse(MESSAGES["intmeth"])
    assert isinstance(message, Request)
    assert message.method == message.cseq_method == "!interesting-Method0123456789_*+`.%indeed'~"
    assert message.call_id == "intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{"
    assert message.from_tag == "_token~1'+`*%!-."
    assert message.get("extensionheader-!.%*+_`'~") == "\ufeff\u5927\u505c\u96fb"


def test_escapes_mean_nothing_in_methods_and_field_names() -> None:
    message = parse(MESSAGES["esc02"])
    assert isinstance(message, Request)
    assert message.method == "RE%47IST%45R"
    assert message.all("contact") == ["<sip:alias1@host1.example.com>", "<sip:alias3@host3.example.com>"]
    assert message.get("c%6fntact") == "<sip:alias2@host2.example.com>"


def test_what_follows_the_first_message_of_a_datagram_is_left_out() -> None:
    message = parse(MESSAGES["dblreq"])
    assert isinstance(message, Request)
    assert message.method == "REGISTER"
    assert message.body == b""


def test_a_binary_body_arrives_octet_by_octet() -> None:
    message = parse(MESSAGES["mpart01"])
    assert message.body == MESSAGES["mpart01"][-553:]
    assert b"\0\x04\x81\x80" in message.body


def test_a_body_without_content_length_is_the_rest_of_the_datagram() -> None:
    assert parse(MESSAGES["inv2543"]).body.endswith(b"m=audio 49217 RTP/AVP 0\r\n")
