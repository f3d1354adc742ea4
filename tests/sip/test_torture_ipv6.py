"""RFC 5118 against the parser: each message has its verdict, and means what its section says."""

import contextlib

import pytest

from b2bua.sip.errors import ParseError
from b2bua.sip.message import Request
from b2bua.sip.parser import parse, salvage
from b2bua.sip.sdp import rebuild
from b2bua.sip.uri import SipUri, parse_uri
from tests.torture.ipv6_messages import IPV6_MESSAGES
from tests.torture.ipv6_verdicts import IPV6_VERDICTS
from tests.torture.verdicts import Verdict


def read(name: str) -> Request:
    message = parse(IPV6_MESSAGES[name])
    assert isinstance(message, Request)
    return message


def request_uri(name: str) -> SipUri:
    uri = parse_uri(read(name).uri)
    assert isinstance(uri, SipUri)
    return uri


def test_the_corpus_is_whole() -> None:
    names = [verdict.name for verdict in IPV6_VERDICTS]
    assert names == list(IPV6_MESSAGES)
    assert len(set(names)) == 12
    assert {verdict.section for verdict in IPV6_VERDICTS} == {f"4.{number}" for number in range(1, 11)}
    assert all(verdict.note for verdict in IPV6_VERDICTS)


@pytest.mark.parametrize("verdict", IPV6_VERDICTS, ids=[verdict.name for verdict in IPV6_VERDICTS])
def test_the_parser_takes_every_message(verdict: Verdict) -> None:
    assert verdict.parsed == 0
    assert read(verdict.name).cseq_method == IPV6_MESSAGES[verdict.name].split(b" ")[0].decode()


def test_an_address_without_its_brackets_is_no_uri() -> None:
    with pytest.raises(ParseError):
        request_uri("ipv6-bad")


@pytest.mark.parametrize("name", IPV6_MESSAGES)
def test_a_message_cut_anywhere_is_read_or_refused(name: str) -> None:
    data = IPV6_MESSAGES[name]
    for length in range(len(data)):
        with contextlib.suppress(ParseError):
            parse(data[:length])
        salvage(data[:length])


@pytest.mark.parametrize(
    ("name", "host", "port"),
    [
        ("ipv6-good", "[2001:db8::10]", 0),
        ("port-ambiguous", "[2001:db8::10:5070]", 0),
        ("port-unambiguous", "[2001:db8::10]", 5070),
        ("ipv6-bug-abnf-3-colons", "[2001:db8::192.0.2.1]", 0),
        ("ipv6-correct-abnf-2-colons", "[2001:db8::192.0.2.1]", 0),
    ],
)
def test_brackets_say_where_an_address_ends(name: str, host: str, port: int) -> None:
    uri = request_uri(name)
    assert (uri.host, uri.port) == (host, port)


@pytest.mark.parametrize(
    ("name", "host", "port", "branch"),
    [
        ("ipv6-good", "[2001:db8::9:1]", 0, "z9hG4bKas3-111"),
        ("via-received-param-with-delim", "[2001:db8::9:1]", 0, "z9hG4bKas3-111"),
        ("via-received-param-no-delim", "[2001:db8::9:1]", 0, "z9hG4bKas3"),
        ("mult-ip-in-header", "[2001:db8::9:1]", 6050, "z9hG4bKas3-111"),
        ("ipv4-mapped-ipv6", "[::ffff:192.0.2.10]", 19823, "z9hG4bKbh19"),
    ],
)
def test_a_via_keeps_address_port_and_branch(name: str, host: str, port: int, branch: str) -> None:
    via = read(name).via
    assert (via.host, via.port, via.branch) == (host, port, branch)


def test_via_fields_of_both_families_stay_in_order() -> None:
    vias = read("mult-ip-in-header").all("via")
    assert [value.split(" ")[1].partition(";")[0] for value in vias] == [
        "[2001:db8::9:1]:6050",
        "192.0.2.1",
        "[2001:db8::9:255]",
    ]


@pytest.mark.parametrize(
    ("name", "connections"),
    [
        ("ipv6-in-sdp", ["c=IN IP6 2001:db8::20"]),
        ("mult-ip-in-sdp", ["c=IN IP4 192.0.2.1", "c=IN IP6 2001:db8::1"]),
        ("ipv4-mapped-ipv6", ["c=IN IP6 ::ffff:192.0.2.2"]),
    ],
)
def test_the_addresses_of_a_session_cross_as_they_are(name: str, connections: list[str]) -> None:
    lines = rebuild(read(name).body).decode().split("\r\n")
    assert [line for line in lines if line.startswith("c=")] == connections
    assert [line.split(" ")[0] for line in lines if line.startswith("m=")] == ["m=audio", "m=video"]
