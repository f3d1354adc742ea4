"""Looking names up against a real name server on loopback: order, time to live, and what happens while servers fail."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import dns.rcode
import pytest

from b2bua.app import resolver as module
from b2bua.app.config_models import Dns
from b2bua.app.resolver import Resolver
from routing.targets import Choice, Target
from routing.trunks import Peer, Trunk
from tests.name_server import NameServer

PATIENCE = 5.0


class Scene:
    """A resolver, its server, and what it has published and logged. ``ways`` are (transport, IP version)."""

    def __init__(self, server: NameServer, ways: set[tuple[str, int]] | None = None, **settings: Any) -> None:
        self.server = server
        self.tables: list[Mapping[str, Sequence[Choice]]] = []
        self.now: dict[str, tuple[Choice, ...]] = {}
        self.log: list[tuple[str, dict[str, object]]] = []
        self.ways = ways or {("UDP", 4)}
        dns = Dns(**{"servers": (server.address,), "timeout_seconds": 0.2, "shortest_seconds": 1} | settings)
        self.resolver = Resolver(
            dns, self._publish, lambda event, **fields: self.log.append((event, fields)), self._reaches
        )

    def _reaches(self, transport: str, host: str) -> bool:
        return (transport, 6 if ":" in host else 4) in self.ways

    def _publish(self, table: Mapping[str, Sequence[Choice]]) -> None:
        self.tables.append(table)
        self.now |= {name: tuple(choices) for name, choices in table.items()}

    def resolve(self, *peers: Peer, transport: str = "udp") -> None:
        self.resolver.resolve([Trunk("carrier", peers, transport=transport)])

    async def until(self, done: Callable[[], object], seconds: float = PATIENCE) -> None:
        end = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < end, (self.now, self.log, self.server.asked)
            await asyncio.sleep(0.005)

    async def found(self) -> list[str]:
        """The places of the one trunk, once there are any."""
        await self.until(lambda: self.now.get("carrier"))
        return self.places()

    def places(self) -> list[str]:
        return [place(target) for choice in self.now["carrier"] for target in choice.targets]

    @property
    def events(self) -> list[str]:
        return [event for event, _ in self.log]


def place(target: Target) -> str:
    return f"{target.transport} {target.host} {target.port}"


@pytest.fixture
async def server() -> AsyncIterator[NameServer]:
    async with NameServer() as server:
        yield server


@pytest.fixture
async def scene(server: NameServer) -> AsyncIterator[Scene]:
    scene = Scene(server)
    yield scene
    await scene.resolver.close()


DOMAIN = Peer("example.net", 0)
HOST = Peer("sip.example.net", 5070)


async def test_a_host_name_with_a_port_is_asked_for_its_addresses_alone(scene: Scene) -> None:
    scene.server.put("sip.example.net", "A", "192.0.2.1", "192.0.2.2")
    scene.resolve(HOST)
    assert await scene.found() == ["UDP 192.0.2.1 5070", "UDP 192.0.2.2 5070"]
    assert {kind for _, kind, _ in scene.server.asked} == {"A"}
    (choice,) = scene.now["carrier"]
    assert choice.targets[0].peer == HOST


async def test_an_alias_is_followed(scene: Scene) -> None:
    scene.server.put("sip.example.net", "CNAME", "pop.example.net.")
    scene.server.put("pop.example.net", "A", "192.0.2.9")
    scene.resolve(HOST)
    assert await scene.found() == ["UDP 192.0.2.9 5070"]


async def test_naptr_leads_to_srv_and_that_to_addresses(scene: Scene) -> None:
    """RFC 3263 §4.1: the replacement need not be of the usual form, and what we cannot speak is passed over."""
    server = scene.server
    server.put(
        "example.net", "NAPTR",
        '20 10 "s" "SIP+D2U" "" _sip._udp.backup.example.net.',
        '10 50 "s" "SIPS+D2T" "" _sips._tcp.example.net.',
        '10 60 "S" "sip+d2u" "" _sip._udp.pop.example.net.',
        '5 10 "u" "E2U+sip" "!.*!sip:x@example.net!" .',
    )  # fmt: skip
    server.put("_sip._udp.pop.example.net", "SRV", "20 0 5062 b.example.net.", "10 7 5061 a.example.net.")
    server.put("_sip._udp.backup.example.net", "SRV", "1 0 5063 c.example.net.")
    for name, address in (("a", "192.0.2.1"), ("b", "192.0.2.2"), ("c", "192.0.2.3")):
        server.put(f"{name}.example.net", "A", address)
    scene.resolve(DOMAIN)
    assert await scene.found() == ["UDP 192.0.2.1 5061", "UDP 192.0.2.2 5062", "UDP 192.0.2.3 5063"]
    assert [(choice.rank, choice.weight) for choice in scene.now["carrier"]] == [(0, 7), (1, 0), (2, 0)]


async def test_srv_records_of_one_priority_stay_one_rank_with_their_weights(scene: Scene) -> None:
    server = scene.server
    server.put("_sip._udp.example.net", "SRV", "1 60 5060 a.example.net.", "1 40 5060 b.example.net.")
    server.put("a.example.net", "A", "192.0.2.1")
    server.put("b.example.net", "A", "192.0.2.2")
    scene.resolve(DOMAIN)
    await scene.found()
    assert {(choice.rank, choice.weight, choice.targets[0].host) for choice in scene.now["carrier"]} == {
        (0, 60, "192.0.2.1"), (0, 40, "192.0.2.2")
    }  # fmt: skip
    assert server.questions("NAPTR") == ["example.net"]


async def test_a_domain_without_srv_is_reached_at_the_usual_port(scene: Scene) -> None:
    scene.server.put("example.net", "A", "192.0.2.5")
    scene.resolve(DOMAIN)
    assert await scene.found() == ["UDP 192.0.2.5 5060"]
    assert [kind for _, kind, _ in scene.server.asked] == ["NAPTR", "SRV", "A"]


async def test_a_domain_that_says_it_has_no_such_service_has_none(scene: Scene) -> None:
    """RFC 2782: the target '.'; its own address is then not meant for calls."""
    scene.server.put("_sip._udp.example.net", "SRV", "0 0 0 .")
    scene.server.put("example.net", "A", "192.0.2.5")
    scene.resolve(DOMAIN)
    await scene.until(lambda: scene.events == ["dns_empty"])
    assert not scene.now.get("carrier")


@pytest.mark.parametrize(
    ("transport", "places"),
    [
        ("auto", ["TLS 192.0.2.3 5063", "TCP 192.0.2.2 5062", "UDP 192.0.2.1 5061"]),
        ("tcp", ["TCP 192.0.2.2 5062"]),
        ("tls", ["TLS 192.0.2.3 5063"]),
    ],
)
async def test_the_domain_chooses_the_transport_where_the_trunk_leaves_it_open(
    server: NameServer, transport: str, places: list[str]
) -> None:
    scene = Scene(server, {("UDP", 4), ("TCP", 4), ("TLS", 4)})
    server.put(
        "example.net", "NAPTR",
        '10 30 "s" "SIP+D2U" "" _sip._udp.example.net.',
        '10 20 "s" "SIP+D2T" "" _sip._tcp.example.net.',
        '10 10 "s" "SIPS+D2T" "" _sips._tcp.example.net.',
    )  # fmt: skip
    for number, name in enumerate(("_sip._udp", "_sip._tcp", "_sips._tcp"), start=1):
        server.put(f"{name}.example.net", "SRV", f"0 0 506{number} h{number}.example.net.")
        server.put(f"h{number}.example.net", "A", f"192.0.2.{number}")
    scene.resolve(DOMAIN, transport=transport)
    assert await scene.found() == places
    await scene.resolver.close()


async def test_nothing_is_asked_for_that_no_listener_could_reach(server: NameServer) -> None:
    scene = Scene(server, {("UDP", 6)})
    server.put("sip.example.net", "AAAA", "2001:db8::1")
    server.put("sip.example.net", "A", "192.0.2.1")
    scene.resolver.resolve([
        Trunk("carrier", (HOST,)), Trunk("lost", (HOST,), transport="tls")
    ])  # fmt: skip
    assert await scene.found() == ["UDP 2001:db8::1 5070"]
    await scene.until(lambda: "dns_empty" in scene.events)
    assert "lost" not in scene.now or scene.now["lost"] == ()
    assert server.questions("A") == []
    await scene.resolver.close()


async def test_peers_are_taken_in_the_order_of_the_settings_whatever_their_kind(scene: Scene) -> None:
    scene.server.put("sip.example.net", "A", "192.0.2.1", "192.0.2.9")
    scene.resolve(Peer("192.0.2.8", 5060), HOST, Peer("192.0.2.1", 5070), Peer("192.0.2.7", 5060))
    await scene.until(lambda: len(scene.now.get("carrier", ())) == 3)
    assert scene.places() == ["UDP 192.0.2.8 5060", "UDP 192.0.2.1 5070", "UDP 192.0.2.9 5070", "UDP 192.0.2.7 5060"]


async def test_a_truncated_answer_is_fetched_over_tcp(scene: Scene) -> None:
    scene.server.truncated = True
    scene.server.put("sip.example.net", "A", *(f"192.0.2.{number}" for number in range(1, 6)))
    scene.resolve(HOST)
    assert len(await scene.found()) == 5
    assert [transport for _, _, transport in scene.server.asked] == ["udp", "tcp"]


async def test_a_zone_cannot_make_calls_try_hundreds_of_places(scene: Scene) -> None:
    records = [f"{number} 0 5060 h.example.net." for number in range(100)]
    scene.server.put("_sip._udp.example.net", "SRV", *records)
    scene.server.put("h.example.net", "A", *(f"192.0.2.{number}" for number in range(100)))
    scene.resolve(DOMAIN)
    assert len(await scene.found()) == module.MOST_ADDRESSES
    assert len(scene.server.questions("A")) == module.MOST_RECORDS
    assert len(scene.tables) == 1


# time to live


async def test_a_changed_record_is_taken_over_when_its_time_is_up(scene: Scene) -> None:
    scene.server.put("sip.example.net", "A", "192.0.2.1", ttl=1)
    scene.resolve(HOST)
    began = time.monotonic()
    assert await scene.found() == ["UDP 192.0.2.1 5070"]
    scene.server.put("sip.example.net", "A", "192.0.2.2", ttl=1)
    await scene.until(lambda: scene.places() == ["UDP 192.0.2.2 5070"])
    assert 0.8 < time.monotonic() - began < 2.0  # before the answer expires, and not earlier than need be
    assert len(scene.tables) == 2


async def test_an_answer_that_stays_the_same_is_not_published_again(scene: Scene) -> None:
    scene.server.put("sip.example.net", "A", "192.0.2.1", ttl=1)
    scene.resolve(HOST)
    await scene.until(lambda: len(scene.server.asked) >= 3)
    assert len(scene.tables) == 1


@pytest.mark.parametrize(
    ("ttl", "settings", "asked"),
    [
        (0, {"shortest_seconds": 3600, "longest_seconds": 3600}, 1),
        (3600, {"shortest_seconds": 1, "longest_seconds": 1}, 2),
    ],
)
async def test_the_settings_bound_the_time_to_live(
    server: NameServer, ttl: int, settings: dict[str, int], asked: int
) -> None:
    scene = Scene(server, **settings)
    server.put("sip.example.net", "A", "192.0.2.1", ttl=ttl)
    scene.resolve(HOST)
    await scene.found()
    await asyncio.sleep(1.1)
    assert len(server.asked) == asked
    await scene.resolver.close()


@pytest.mark.parametrize("exists", [False, True], ids=["no name", "no record"])
async def test_that_there_is_nothing_is_an_answer_with_a_time_to_live_too(scene: Scene, exists: bool) -> None:
    if exists:
        scene.server.put("sip.example.net", "TXT", '"nothing of use"')
    scene.server.negative_ttl = 1
    scene.resolve(HOST)
    await scene.until(lambda: scene.events == ["dns_empty"])
    assert len(scene.server.asked) == 1
    scene.server.put("sip.example.net", "A", "192.0.2.1")
    assert await scene.found() == ["UDP 192.0.2.1 5070"]
    assert len(scene.server.asked) == 2


async def test_a_name_that_is_taken_out_of_the_zone_is_left(scene: Scene) -> None:
    """An answer is an answer: it goes before what was known."""
    scene.server.put("sip.example.net", "A", "192.0.2.1", ttl=1)
    scene.resolve(HOST)
    await scene.found()
    scene.server.put("sip.example.net", "A")
    await scene.until(lambda: scene.now["carrier"] == ())
    assert scene.events == ["dns_empty"]


# servers that fail


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.1)
    monkeypatch.setattr(module, "LONGEST_RETRY_SECONDS", 0.2)


def break_down(server: NameServer, how: str) -> None:
    server.silent = how == "silence"
    server.rcode = {"servfail": dns.rcode.SERVFAIL, "refused": dns.rcode.REFUSED}.get(how, dns.rcode.NOERROR)


@pytest.mark.parametrize("how", ["silence", "servfail", "refused"])
async def test_while_servers_fail_the_last_answer_stays_in_use(scene: Scene, how: str) -> None:
    scene.server.put("sip.example.net", "A", "192.0.2.1", ttl=1)
    scene.resolve(HOST)
    await scene.found()
    break_down(scene.server, how)
    await scene.until(lambda: scene.events == ["dns_failed"])
    await asyncio.sleep(0.5)
    assert scene.places() == ["UDP 192.0.2.1 5070"]
    break_down(scene.server, "")
    scene.server.put("sip.example.net", "A", "192.0.2.2")
    await scene.until(lambda: scene.places() == ["UDP 192.0.2.2 5070"])
    assert scene.events == ["dns_failed", "dns_recovered"]


async def test_an_old_answer_is_dropped_when_its_stated_time_is_over(server: NameServer) -> None:
    scene = Scene(server, stale_seconds=0)
    server.put("sip.example.net", "A", "192.0.2.1", ttl=1)
    scene.resolve(HOST)
    await scene.found()
    break_down(server, "servfail")
    await scene.until(lambda: scene.now["carrier"] == ())
    await scene.resolver.close()


async def test_a_name_that_never_resolved_is_asked_for_again_and_again(scene: Scene) -> None:
    scene.server.silent = True
    scene.server.put("sip.example.net", "A", "192.0.2.1")
    scene.resolve(HOST)
    await scene.until(lambda: scene.events == ["dns_failed"])
    assert scene.tables == []
    scene.server.silent = False
    assert await scene.found() == ["UDP 192.0.2.1 5070"]


async def test_one_host_that_cannot_be_found_does_not_take_the_others_away(scene: Scene) -> None:
    scene.server.put("_sip._udp.example.net", "SRV", "1 0 5060 a.example.net.", "2 0 5060 b.example.net.")
    scene.server.put("a.example.net", "A", "192.0.2.1")
    scene.server.put("b.example.net", "A", "192.0.2.2")
    scene.server.failing = {("a.example.net", "A")}
    scene.resolve(DOMAIN)
    assert await scene.found() == ["UDP 192.0.2.2 5060"]
    scene.server.failing = set()
    await scene.until(lambda: scene.places() == ["UDP 192.0.2.1 5060", "UDP 192.0.2.2 5060"])
    assert scene.events == ["dns_failed", "dns_recovered"]


async def test_a_domain_whose_srv_records_cannot_be_had_is_not_tried_at_its_own_address(scene: Scene) -> None:
    scene.server.put("example.net", "A", "192.0.2.5")
    scene.server.failing = {("_sip._udp.example.net", "SRV")}
    scene.resolve(DOMAIN)
    await scene.until(lambda: scene.events == ["dns_failed"])
    assert scene.tables == []


async def test_the_next_server_is_asked_when_the_first_is_silent() -> None:
    async with NameServer() as first, NameServer() as second:
        first.silent = True
        second.put("sip.example.net", "A", "192.0.2.1")
        scene = Scene(first, servers=(first.address, second.address))
        scene.resolve(HOST)
        assert await scene.found() == ["UDP 192.0.2.1 5070"]
        assert len(first.asked) == 1
        await scene.resolver.close()


async def test_rubbish_for_an_answer_is_a_failure(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scene.server, "answer", lambda data, transport: data[:2] + b"\xff" * 20)
    scene.resolve(HOST)
    await scene.until(lambda: scene.events == ["dns_failed"])


# settings that change


async def test_trunks_come_and_go(scene: Scene) -> None:
    scene.server.put("sip.example.net", "A", "192.0.2.1")
    scene.server.put("b.example.net", "A", "192.0.2.2")
    scene.resolve(HOST)
    await scene.found()
    both = [Trunk("carrier", (HOST,)), Trunk("other", (Peer("b.example.net", 5060),))]
    scene.resolver.resolve(both)
    assert scene.tables[-1].keys() == {"carrier"}  # what is known is told again: the switch may have forgotten it
    await scene.until(lambda: "other" in scene.now)
    scene.resolver.resolve(both[1:])
    asked = len(scene.server.asked)
    scene.resolver.resolve(both)
    await scene.until(lambda: scene.tables[-1].keys() == {"carrier"})
    assert len(scene.server.asked) == asked + 1


async def test_trunks_of_addresses_ask_nothing(scene: Scene) -> None:
    scene.resolve(Peer("192.0.2.1", 5060))
    await asyncio.sleep(0.05)
    assert (scene.tables, scene.server.asked) == ([], [])


async def test_two_trunks_of_one_name_share_one_question(scene: Scene) -> None:
    scene.server.put("sip.example.net", "A", "192.0.2.1")
    scene.resolver.resolve([Trunk("carrier", (HOST,)), Trunk("other", (HOST,))])
    await scene.until(lambda: len(scene.now) == 2)
    assert len(scene.server.asked) == 1


async def test_a_system_without_name_servers_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "dns.resolver.BaseResolver.read_resolv_conf",
        lambda self, path: (_ for _ in ()).throw(module.dns.resolver.NoResolverConfiguration("none")),
    )
    async with NameServer() as server:
        scene = Scene(server, servers=())
        scene.resolve(HOST)
        await scene.until(lambda: scene.events == ["dns_unconfigured", "dns_failed"])
        await scene.resolver.close()


async def test_a_defect_of_ours_is_told_of(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(table: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(scene.resolver, "_publish", broken)
    scene.server.put("sip.example.net", "A", "192.0.2.1")
    scene.resolve(HOST)
    await scene.until(lambda: scene.events == ["defect"])


async def test_answers_kept_for_bad_times_are_bounded(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A zone may name other hosts in each answer. Those that have expired go first, then the oldest."""
    monkeypatch.setattr(module, "MOST_KEPT", 3)
    now = 0.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    resolver = scene.resolver

    def keep(name: str, seconds: float) -> None:
        resolver._keep_answer((name, module.dns.rdatatype.A), module.Kept((), now + seconds), now)

    def kept() -> list[str]:
        return [name for name, _ in resolver._kept]

    for name, seconds in (("a", 9.0), ("b", 9.0), ("c", 2.0)):
        keep(name, seconds)
    keep("a", 9.0)  # asked for again: nobody has to go, and it is the newest
    assert kept() == ["b", "c", "a"]
    now = 3.0
    keep("d", 9.0)
    assert kept() == ["b", "a", "d"]
    keep("e", 9.0)
    assert kept() == ["a", "d", "e"]


async def test_other_hosts_in_each_answer_do_not_pile_up(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_KEPT", 3)
    for number in range(6):
        scene.server.put(f"host{number}.example.net", "A", "192.0.2.1")
        await scene.resolver.ask(f"host{number}.example.net", module.dns.rdatatype.A)
    assert len(scene.resolver._kept) == 3
