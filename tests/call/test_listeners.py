"""By which listener a message leaves, and how a peer is told to reach us."""

import pytest

from b2bua.call.listeners import MOST_REFUSALS, REFUSED_SECONDS, Listeners, asks_secure, contact_uri
from b2bua.sip.message import Request
from b2bua.sip.parser import parse
from b2bua.sip.transaction import Flow
from tests.sip.wire import wire_request

LISTENERS = Listeners(
    {
        "udp": "192.0.2.1:5060",
        "tcp": "192.0.2.1:5061",
        "tcp-2": "192.0.2.1:5062",
        "udp-v6": "[2001:db8::1]:5060",
        "tls-v6": "[2001:db8::1]:5061",
    },
    {"tcp": "TCP", "tcp-2": "TCP", "tls-v6": "TLS"},
)


@pytest.mark.parametrize(
    ("transport", "host", "name"),
    [
        ("UDP", "198.51.100.1", "udp"),
        ("UDP", "2001:db8::9", "udp-v6"),
        ("TCP", "198.51.100.1", "tcp"),
        ("TCP", "2001:db8::9", ""),
        ("TLS", "198.51.100.1", ""),
        ("TLS", "2001:db8::9", "tls-v6"),
    ],
)
def test_the_first_listener_of_the_transport_and_family_is_taken(transport: str, host: str, name: str) -> None:
    assert LISTENERS.reaches(transport, host) is bool(name)
    assert LISTENERS.flow_to(transport, host, 5060) == Flow(transport, name, (host, 5060))
    assert LISTENERS.advertised[name]


def udp(host: str, port: int = 5060) -> Flow:
    return LISTENERS.flow_to("UDP", host, port)


def test_large_requests_take_tcp_where_there_is_a_listener_for_it() -> None:
    assert LISTENERS.heavy(udp("198.51.100.1"), 0.0) == Flow("TCP", "tcp", ("198.51.100.1", 5060))
    assert LISTENERS.heavy(udp("2001:db8::9"), 0.0) is None
    assert LISTENERS.heavy(LISTENERS.flow_to("TCP", "198.51.100.1", 5060), 0.0) is None


def test_a_peer_that_refused_is_left_alone_for_a_while() -> None:
    listeners = Listeners({"udp": "192.0.2.1:5060", "tcp": "192.0.2.1:5060"}, {"tcp": "TCP"})
    listeners.refused(listeners.flow_to("TCP", "198.51.100.1", 5060), 10.0)
    flow = listeners.flow_to("UDP", "198.51.100.1", 5060)
    assert listeners.heavy(flow, 10.0 + REFUSED_SECONDS - 1) is None
    assert listeners.heavy(flow, 10.0 + REFUSED_SECONDS) is not None
    assert listeners.heavy(listeners.flow_to("UDP", "198.51.100.2", 5060), 11.0) is not None


def test_only_so_many_refusals_are_remembered() -> None:
    listeners = Listeners({"udp": "192.0.2.1:5060", "tcp": "192.0.2.1:5060"}, {"tcp": "TCP"})
    for port in range(1, MOST_REFUSALS + 2):
        listeners.refused(listeners.flow_to("TCP", "198.51.100.1", port), 0.0)
    assert listeners.heavy(listeners.flow_to("UDP", "198.51.100.1", 1), 1.0) is not None
    assert listeners.heavy(listeners.flow_to("UDP", "198.51.100.1", 2), 1.0) is None


@pytest.mark.parametrize(
    ("transport", "user", "secure", "uri"),
    [
        ("UDP", "700", False, "sip:700@h:5060"),
        ("UDP", "", False, "sip:h:5060"),
        ("TCP", "700", False, "sip:700@h:5060;transport=tcp"),
        ("TLS", "700", False, "sip:700@h:5060;transport=tls"),
        ("TLS", "700", True, "sips:700@h:5060"),
        ("TCP", "", True, "sips:h:5060"),
    ],
)
def test_a_contact_names_the_transport_it_is_reached_by(transport: str, user: str, secure: bool, uri: str) -> None:
    assert contact_uri(Flow(transport, "l", ("p", 1)), "h:5060", user, secure) == uri


@pytest.mark.parametrize(
    ("uri", "more", "secure"),
    [
        ("sip:b@h", (), False),
        ("SIPS:b@h", (), True),
        ("sip:b@h", ("Contact: <sips:a@h>",), True),
        ("sip:b@h", ("Contact: <sip:a@h>",), False),
        ("sip:b@h", ("Record-Route: <sip:p;lr>, <sips:q;lr>", "Contact: <sips:a@h>"), False),
        ("sip:b@h", ("Record-Route: <sips:p;lr>", "Contact: <sip:a@h>"), True),
        ("sip:b@h", ('Contact: "sips:" <sip:a@h>',), False),
    ],
)
def test_sips_is_answered_with_sips(uri: str, more: tuple[str, ...], secure: bool) -> None:
    """RFC 3261 §12.1.1: the request URI, the top Record-Route, or the Contact where there is none."""
    rest = wire_request().partition(b"\r\n")[2]
    start = b" ".join([b"INVITE", uri.encode(), b"SIP/2.0"])
    lines = [line for line in rest.split(b"\r\n") if not line.startswith((b"Contact", b"Record-Route"))]
    request = parse(b"\r\n".join([start, *(line.encode() for line in more), *lines]))
    assert isinstance(request, Request)
    assert asks_secure(request) is secure
