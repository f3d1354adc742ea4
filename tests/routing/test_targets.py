import random
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.targets import (
    Choice,
    Naptr,
    Service,
    Target,
    drawn,
    fixed_choices,
    format_target,
    merged,
    services,
    uri_host,
    wanted,
)
from routing.trunks import Peer, Trunk

DOMAIN = Peer("example.net", 0)


def target(host: str, port: int = 5060, transport: str = "UDP", peer: Peer = DOMAIN) -> Target:
    return Target(transport, host, port, peer)


def never() -> float:
    raise AssertionError("nothing was to be drawn")


# --- the draw of RFC 2782 ---


def test_one_alone_is_not_drawn() -> None:
    assert drawn([], never) == []
    assert drawn([(0, "a")], never) == ["a"]


def shares(pairs: Sequence[tuple[int, str]], place: int = 0) -> dict[str, float]:
    pick = random.Random(2782).random
    seen = Counter(drawn(pairs, pick)[place] for _ in range(6000))
    return {item: seen[item] / seen.total() for item in seen}


def test_the_first_is_drawn_by_weight() -> None:
    found = shares([(50, "half"), (30, "third"), (20, "fifth")])
    assert found == {
        "half": pytest.approx(0.5, abs=0.03),
        "third": pytest.approx(0.3, abs=0.03),
        "fifth": pytest.approx(0.2, abs=0.03),
    }


def test_a_weight_of_zero_still_has_a_very_small_chance() -> None:
    found = shares([(99, "heavy"), (0, "zero")])
    assert 0 < found["zero"] < 0.03


@pytest.mark.parametrize(
    ("mark", "order"),
    [
        (0.0, ["zero", "one", "two"]),
        (0.24, ["zero", "one", "two"]),
        (0.25, ["one", "zero", "two"]),
        (0.5, ["two", "one", "zero"]),
        (0.999, ["two", "one", "zero"]),
    ],
)
def test_the_running_sum_is_compared_as_the_rfc_says(mark: float, order: list[str]) -> None:
    """Those of weight 0 stand in front; the first whose running sum is not below the number drawn is taken."""
    assert drawn([(1, "one"), (2, "two"), (0, "zero")], lambda: mark) == order


@given(st.lists(st.integers(0, 65535), max_size=8), st.floats(0, 1, exclude_max=True))
def test_each_comes_once_whatever_is_drawn(weights: list[int], mark: float) -> None:
    pairs = [(weight, index) for index, weight in enumerate(weights)]
    assert sorted(drawn(pairs, lambda: mark)) == list(range(len(weights)))


# --- from NAPTR to the names of SRV ---


@pytest.mark.parametrize(
    ("naptr", "transports", "expected"),
    [
        ([], ("UDP",), [("UDP", "_sip._udp.example.net")]),
        (
            [],
            ("UDP", "TCP", "TLS"),
            [("UDP", "_sip._udp.example.net"), ("TCP", "_sip._tcp.example.net"), ("TLS", "_sips._tcp.example.net")],
        ),
        ([(10, 1, "s", "SIP+D2U", "", "a"), (5, 1, "s", "SIP+D2U", "", "b")], ("UDP",), [("UDP", "b"), ("UDP", "a")]),
        (
            [(1, 9, "S", "sip+d2t", "", "a"), (1, 2, "s", "SIPS+D2T", "", "b")],
            ("TLS", "TCP"),
            [("TLS", "b"), ("TCP", "a")],
        ),
        ([(1, 1, "s", "SIP+D2T", "", "a")], ("UDP",), [("UDP", "_sip._udp.example.net")]),
        ([(1, 1, "u", "SIP+D2U", "", "a")], ("UDP",), [("UDP", "_sip._udp.example.net")]),
        ([(1, 1, "s", "SIP+D2U", "!x!y!", "a")], ("UDP",), [("UDP", "_sip._udp.example.net")]),
        ([(1, 1, "s", "E2U+sip", "", "a")], ("UDP",), [("UDP", "_sip._udp.example.net")]),
    ],
)  # fmt: skip
def test_naptr_says_which_services_there_are_and_in_which_order(
    naptr: list[tuple[int, int, str, str, str, str]], transports: tuple[str, ...], expected: list[tuple[str, str]]
) -> None:
    found = services("example.net", [Naptr(*record) for record in naptr], transports)
    assert found == tuple(Service(*pair) for pair in expected)


@pytest.mark.parametrize(
    ("transport", "expected"),
    [("udp", ("UDP",)), ("tcp", ("TCP",)), ("tls", ("TLS",)), ("auto", ("UDP", "TCP", "TLS"))],
)
def test_a_trunk_says_which_transports_it_takes(transport: str, expected: tuple[str, ...]) -> None:
    assert wanted(Trunk("one", (), transport=transport)) == expected


# --- rows of choices ---


def test_addresses_need_no_dns() -> None:
    peers = (Peer("192.0.2.1", 5060), DOMAIN, Peer("2001:db8::1", 5070))
    assert fixed_choices(Trunk("one", peers, transport="tcp")) == (
        Choice(0, 0, (Target("TCP", "192.0.2.1", 5060, peers[0]),)),
        Choice(1, 0, (Target("TCP", "2001:db8::1", 5070, peers[2]),)),
    )
    assert fixed_choices(Trunk("one", (Peer("192.0.2.1", 5060),), transport="auto"))[0].targets[0].transport == "UDP"


def test_one_peer_comes_wholly_before_the_next_and_no_place_twice() -> None:
    row = merged(
        [
            [Choice(20, 1, (target("192.0.2.3"),)), Choice(10, 5, (target("192.0.2.1"), target("192.0.2.2")))],
            [],
            [Choice(0, 7, (target("192.0.2.1"),)), Choice(0, 8, (target("192.0.2.4"), target("192.0.2.3")))],
            [Choice(3, 0, (target("192.0.2.1", 5061), target("192.0.2.1", 5060, "TCP")))],
        ]
    )
    assert [(choice.rank, choice.weight, [each[:3] for each in choice.targets]) for choice in row] == [
        (0, 5, [("UDP", "192.0.2.1", 5060), ("UDP", "192.0.2.2", 5060)]),
        (1, 1, [("UDP", "192.0.2.3", 5060)]),
        (2, 8, [("UDP", "192.0.2.4", 5060)]),
        (3, 0, [("UDP", "192.0.2.1", 5061), ("TCP", "192.0.2.1", 5060)]),
    ]


# --- how they are written ---


@pytest.mark.parametrize(
    ("peer", "written"),
    [
        (DOMAIN, "example.net"),
        (Peer("sip.example.net", 5070), "sip.example.net:5070"),
        (Peer("192.0.2.1", 5060), "192.0.2.1:5060"),
        (Peer("2001:db8::1", 5060), "[2001:db8::1]:5060"),
    ],
)
def test_the_request_uri_names_the_peer_as_the_settings_do(peer: Peer, written: str) -> None:
    assert uri_host(peer) == written


@pytest.mark.parametrize(
    ("one", "written"),
    [
        (target("192.0.2.1"), "udp:192.0.2.1:5060 (example.net)"),
        (target("2001:db8::1", 5061, "TLS"), "tls:[2001:db8::1]:5061 (example.net)"),
        (target("192.0.2.1", peer=Peer("192.0.2.1", 5060)), "udp:192.0.2.1:5060"),
        (target("", 0), "example.net"),
    ],
)
def test_a_target_is_written_for_people(one: Target, written: str) -> None:
    assert format_target(one) == written
