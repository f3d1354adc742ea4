import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.trunks import REMEMBERED_SOURCES, Peer, Sources, Trunk, choose, format_peer, parse_network, parse_peer

MOBILE = "+8613800138000"
BEIJING = "+861012345678"


def trunk(name: str, *networks: str, host: str = "", port: int = 5060, **settings: Any) -> Trunk:
    return Trunk(name, (Peer(host, port),) if host else (), networks, **settings)


def never() -> float:
    raise AssertionError("nothing was to be drawn")


# --- choosing where a call goes out ---


@pytest.mark.parametrize(
    ("trunks", "number", "down", "names"),
    [
        ([], MOBILE, (), ()),
        ([trunk("one")], MOBILE, (), ("one",)),
        ([trunk("one")], MOBILE, ("one",), ()),
        ([trunk("incoming", prefixes=())], MOBILE, (), ()),
        ([trunk("all"), trunk("mobile", prefixes=("13",))], MOBILE, (), ("mobile", "all")),
        ([trunk("all"), trunk("mobile", prefixes=("13",))], BEIJING, (), ("all",)),
        ([trunk("all"), trunk("beijing", prefixes=("010",))], BEIJING, (), ("beijing", "all")),
        ([trunk("bare", prefixes=("10",))], BEIJING, (), ()),
        ([trunk("short", prefixes=("1", "13")), trunk("long", prefixes=("139", "138"))], MOBILE, (), ("long", "short")),
        ([trunk("long", prefixes=("138", "1")), trunk("short", prefixes=("13",))], MOBILE, (), ("long", "short")),
        ([trunk("second", priority=20), trunk("first", priority=10)], MOBILE, (), ("first", "second")),
        ([trunk("far", prefixes=("138",), priority=99), trunk("near", priority=1)], MOBILE, (), ("far", "near")),
        ([trunk("second", priority=20), trunk("first", priority=10)], MOBILE, {"first": 1}, ("second",)),
        ([trunk("one")], "13800138000", (), ()),
        ([trunk("one")], "+14155550123", (), ()),
    ],
)
def test_the_longest_prefix_goes_first_then_the_lowest_priority_and_down_ones_not_at_all(
    trunks: list[Trunk], number: str, down: Any, names: tuple[str, ...]
) -> None:
    assert choose(trunks, number, down, never) == names


def share_of_first(trunks: list[Trunk], draws: int = 4000) -> dict[str, float]:
    pick = random.Random(700).random
    firsts = Counter(choose(trunks, MOBILE, (), pick)[0] for _ in range(draws))
    return {name: firsts[name] / draws for name in firsts}


def test_equals_share_first_tries_by_weight() -> None:
    shares = share_of_first([trunk("half", weight=50), trunk("third", weight=30), trunk("fifth", weight=20)])
    assert shares == {
        "half": pytest.approx(0.5, abs=0.03),
        "third": pytest.approx(0.3, abs=0.03),
        "fifth": pytest.approx(0.2, abs=0.03),
    }


def test_the_second_try_follows_the_weights_of_those_left() -> None:
    trunks = [trunk("half", weight=50), trunk("third", weight=30), trunk("fifth", weight=20)]
    pick = random.Random(7).random
    orders = [choose(trunks, MOBILE, (), pick) for _ in range(8000)]
    seconds = Counter(order[1] for order in orders if order[0] == "half")
    assert seconds["third"] / seconds.total() == pytest.approx(0.6, abs=0.03)


def test_a_weight_of_zero_is_used_only_after_the_others() -> None:
    trunks = [trunk("idle", weight=0), trunk("one", weight=1), trunk("two", weight=1)]
    pick = random.Random(7).random
    orders = {choose(trunks, MOBILE, (), pick) for _ in range(200)}
    assert orders == {("one", "two", "idle"), ("two", "one", "idle")}


def test_without_any_weight_the_draw_is_even() -> None:
    shares = share_of_first([trunk("one", weight=0), trunk("two", weight=0)])
    assert shares == {"one": pytest.approx(0.5, abs=0.03), "two": pytest.approx(0.5, abs=0.03)}


@given(
    st.lists(
        st.tuples(
            st.lists(st.sampled_from(["", "1", "13", "138", "139", "010"]), max_size=3),
            st.integers(1, 3),
            st.integers(0, 3),
            st.booleans(),
        ),
        max_size=6,
    ),
    st.floats(0, 1, exclude_max=True),
)
def test_every_trunk_that_serves_the_number_and_is_up_comes_exactly_once_in_rank_order(
    rows: list[tuple[list[str], int, int, bool]], mark: float
) -> None:
    trunks = [
        trunk(f"t{index}", prefixes=tuple(prefixes), priority=priority, weight=weight)
        for index, (prefixes, priority, weight, _) in enumerate(rows)
    ]
    down = {f"t{index}" for index, row in enumerate(rows) if not row[3]}
    names = choose(trunks, MOBILE, down, lambda: mark)
    serving = {
        one.name: (-max(len(prefix) for prefix in one.prefixes if "13800138000".startswith(prefix)), one.priority)
        for one in trunks
        if one.name not in down and any("13800138000".startswith(prefix) for prefix in one.prefixes)
    }
    assert sorted(names) == sorted(serving)
    ranks = [serving[name] for name in names]
    assert ranks == sorted(ranks)


# --- telling who sent a datagram ---

EAST = trunk("east", host="192.0.2.1")
WEST = trunk("west", "192.0.2.1", "198.51.100.9:5062", "[2001:db8::9]:5062")
WIDE = trunk("wide", "192.0.0.0/16", "2001:db8::/32")
NARROW = trunk("narrow", "192.0.2.0/24", "2001:DB8:0:1::/64", host="Sip.Example")
SOUTH = Trunk("south", (Peer("203.0.113.5", 5060), Peer("203.0.113.5", 5070), Peer("2001:DB9::5", 5060)))


@pytest.mark.parametrize(
    ("host", "port", "name"),
    [
        ("192.0.2.1", 5060, "east"),
        ("192.0.2.1", 5061, "west"),
        ("192.0.2.2", 5060, "narrow"),
        ("192.0.3.1", 5060, "wide"),
        ("198.51.100.9", 5062, "west"),
        ("198.51.100.9", 5060, None),
        ("203.0.113.1", 5060, None),
        ("2001:db8::9", 5062, "west"),
        ("2001:db8::9", 5060, "wide"),
        ("2001:0DB8::0009", 5062, "west"),
        ("2001:db8:0:1::7", 5060, "narrow"),
        ("2001:db9::1", 5060, None),
        ("::ffff:192.0.2.1", 5060, "east"),
        ("::ffff:192.0.2.1", 5999, "west"),
        ("::ffff:192.0.2.77", 5060, "narrow"),
        ("192.0.2.33", 5060, "narrow"),
        ("203.0.113.5", 5060, "south"),
        ("203.0.113.5", 40_000, "south"),
        ("::ffff:203.0.113.5", 40_000, "south"),
        ("2001:db9::5", 40_000, "south"),
        ("sip.example", 5060, None),
        ("not an address", 5060, None),
        ("", 0, None),
    ],
)
def test_a_source_is_found_by_host_and_port_then_host_then_the_narrowest_network_then_the_host_of_a_peer(
    host: str, port: int, name: str | None
) -> None:
    sources = Sources([WIDE, EAST, WEST, NARROW, SOUTH])
    for _ in range(2):
        found = sources.trunk_of(host, port)
        assert (found and found.name) == name


@pytest.mark.parametrize(
    "other",
    [
        trunk("other", host="192.0.2.1", port=5070),
        trunk("other", "192.0.2.1:5070"),
        trunk("other", "192.0.2.1"),
        trunk("other", "192.0.2.0/24"),
    ],
)
def test_another_port_of_a_peer_is_not_guessed_where_another_trunk_has_a_claim_on_the_host(other: Trunk) -> None:
    sources = Sources([EAST, other])
    found = sources.trunk_of("192.0.2.1", 40_000)
    assert found is (other if other.networks and ":" not in other.networks[0] else None)
    assert sources.trunk_of("192.0.2.1", 5060) is EAST


def test_a_source_with_a_port_among_the_networks_stands_for_that_port_alone() -> None:
    assert Sources([trunk("one", "192.0.2.1:5060")]).trunk_of("192.0.2.1", 40_000) is None


def test_resolved_addresses_are_sources_of_their_trunk() -> None:
    named = trunk("named", host="sip.example")
    sources = Sources([named], {"named": [("192.0.2.8", 5070), ("2001:DB8::8", 5060)]})
    assert sources.trunk_of("192.0.2.8", 5070) is named
    assert sources.trunk_of("192.0.2.8", 40_000) is named
    assert sources.trunk_of("2001:db8::8", 5060) is named
    assert sources.trunk_of("192.0.2.9", 5070) is None
    assert sources.conflicts == []


def test_dns_takes_no_address_from_a_trunk_that_has_it() -> None:
    """What the settings say goes first, then the order of the trunks; nobody's name server can take a peer over."""
    thief, heir = trunk("thief", host="thief.example"), trunk("heir", host="heir.example")
    resolved = {"thief": [("192.0.2.1", 5060), ("192.0.2.8", 5060)], "heir": [("192.0.2.8", 5060)]}
    sources = Sources([thief, heir, EAST], resolved)
    assert sources.trunk_of("192.0.2.1", 5060) is EAST
    assert sources.trunk_of("192.0.2.8", 5060) is thief
    assert sources.conflicts == [("thief", "192.0.2.1", 5060), ("heir", "192.0.2.8", 5060)]


def test_without_trunks_every_source_is_unknown() -> None:
    assert Sources([]).trunk_of("192.0.2.1", 5060) is None


def test_a_flood_from_forged_sources_neither_grows_the_memory_nor_changes_answers() -> None:
    sources = Sources([NARROW])
    for number in range(REMEMBERED_SOURCES + 500):
        assert sources.trunk_of(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 5060) is None
    assert len(sources._seen) == REMEMBERED_SOURCES
    assert sources.trunk_of("192.0.2.9", 5060) is NARROW
    assert sources.trunk_of("10.0.0.0", 5060) is None


@pytest.mark.parametrize(
    "trunks",
    [
        [trunk("one", host="192.0.2.1"), trunk("two", host="192.0.2.1")],
        [trunk("one", host="192.0.2.1"), trunk("two", "192.0.2.1:5060")],
        [trunk("one", "192.0.2.1"), trunk("two", "192.0.2.1")],
        [trunk("one", "192.0.2.0/24"), trunk("two", "192.0.2.0/24")],
        [trunk("one", "2001:db8::1"), trunk("two", "2001:DB8:0::1")],
    ],
)
def test_two_trunks_cannot_claim_one_source(trunks: list[Trunk]) -> None:
    with pytest.raises(ValueError, match="'one' and 'two' both claim"):
        Sources(trunks)


def test_a_trunk_may_name_its_own_source_twice() -> None:
    sources = Sources([trunk("one", "192.0.2.1:5060", "192.0.2.1", "192.0.2.0/24", "192.0.2.0/24", host="192.0.2.1")])
    assert sources.trunk_of("192.0.2.1", 5060) is not None


# --- reading addresses ---


@pytest.mark.parametrize(
    ("text", "peer", "written"),
    [
        ("192.0.2.1:5070", Peer("192.0.2.1", 5070), "192.0.2.1:5070"),
        ("192.0.2.1", Peer("192.0.2.1", 5060), "192.0.2.1:5060"),
        ("sip.example:5061", Peer("sip.example", 5061), "sip.example:5061"),
        ("[2001:db8::1]:5070", Peer("2001:db8::1", 5070), "[2001:db8::1]:5070"),
        ("[2001:db8::1]", Peer("2001:db8::1", 5060), "[2001:db8::1]:5060"),
        ("2001:db8::1", Peer("2001:db8::1", 5060), "[2001:db8::1]:5060"),
        ("192.0.2.1:1", Peer("192.0.2.1", 1), "192.0.2.1:1"),
        ("192.0.2.1:65535", Peer("192.0.2.1", 65535), "192.0.2.1:65535"),
    ],
)
def test_a_peer_is_read_and_written(text: str, peer: Peer, written: str) -> None:
    assert parse_peer(text) == peer
    assert format_peer(peer) == written
    assert parse_peer(written) == peer


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":5060",
        "192.0.2.1:",
        "192.0.2.1:0",
        "192.0.2.1:65536",
        "192.0.2.1:506000",
        "192.0.2.1:sip",
        "192.0.2.1:５０６０",
        "192.0.2.1:-1",
        "192.0.2.1 :5060",
        "192.0.2.0/24",
        "user@192.0.2.1",
        "[2001:db8::1",
        "[2001:db8::1]5060",
        "[2001:db8::1]:",
        "[]:5060",
        "[[::1]]:5060",
    ],
)
def test_what_is_no_peer_is_refused_with_the_text(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not|has no port") as caught:
        parse_peer(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("read", "text", "fix"),
    [
        (parse_network, "192.0.2.7/24", "192.0.2.0/24"),
        (parse_network, "2001:db8::1/32", "2001:db8::/32"),
        (parse_network, "192.0.2.0/33", "not a network"),
        (parse_network, "carrier/24", "not a network"),
        (lambda text: Sources([trunk("one", text)]), "192.0.2.7/24", "192.0.2.0/24"),
        (lambda text: Sources([trunk("one", text)]), "192.0.2.7:sip", "no port"),
    ],
)
def test_a_wrong_source_is_refused_with_the_fix(read: Callable[[str], object], text: str, fix: str) -> None:
    with pytest.raises(ValueError, match=fix):
        read(text)
