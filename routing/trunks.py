"""Trunks: the carriers we peer with. Which one sent this datagram, and which ones take a call out, best first."""

from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple, TypeVar

from routing.numbers import NumberForm, format_subscriber

# Sources remembered after a search through the networks: enough for every carrier's proxies, while a flood with
# forged addresses cannot make it grow.
REMEMBERED_SOURCES = 4096

_Key = TypeVar("_Key")


class Peer(NamedTuple):
    """An address a trunk sends from and is sent to. `host` is an address, or a name that the shell resolves."""

    host: str
    port: int


class Identity(StrEnum):
    """Where a trunk's calls carry the caller we may trust: P-Asserted-Identity (RFC 3325) or From."""

    PAI = "pai"
    FROM = "from"


@dataclass(frozen=True, slots=True)
class Trunk:
    """One SIP peering; the settings of one `[[trunk]]` section.

    `networks` are sources besides the peers: a host, `host:port` or a CIDR network. `prefixes` are compared with the
    callee's national form (`138…`, `010…`): `''` serves every number, none at all keeps the trunk for incoming calls.
    `priority`: the lowest is tried first; `weight` shares calls among equals, 0 is used only when the others are down.
    `max_calls` and `calls_per_second`: 0 is no limit.
    """

    name: str
    peers: tuple[Peer, ...]
    networks: tuple[str, ...] = ()
    transport: str = "udp"
    identity: Identity = Identity.PAI
    number_form: NumberForm = NumberForm.NATIONAL
    accept_zero: bool = False
    send_identity: bool = True
    prefixes: tuple[str, ...] = ("",)
    priority: int = 10
    weight: int = 100
    max_calls: int = 0
    calls_per_second: float = 0


def choose(trunks: Sequence[Trunk], number: str, down: Container[str], pick: Callable[[], float]) -> tuple[str, ...]:
    """Return the names of the trunks that may take a call to `number` (E.164), in the order to try them.

    The longest matching prefix first, then the lowest priority; equals are drawn by weight. Trunks in `down` are left
    out, and a number outside +86 has none. `pick` returns a random number in [0, 1) and is asked only when there is
    something to draw.
    """
    if not number.startswith("+86"):
        return ()
    digits = format_subscriber(number, NumberForm.NATIONAL)
    ranks: dict[tuple[int, int], list[Trunk]] = {}
    for trunk in trunks:
        longest = -1
        for prefix in trunk.prefixes:
            if len(prefix) > longest and digits.startswith(prefix):
                longest = len(prefix)
        if longest >= 0 and trunk.name not in down:
            ranks.setdefault((-longest, trunk.priority), []).append(trunk)
    names: list[str] = []
    for rank in sorted(ranks):
        names += _drawn(ranks[rank], pick)
    return tuple(names)


def _drawn(equals: list[Trunk], pick: Callable[[], float]) -> Iterable[str]:
    """Draw trunks one by one by weight, as RFC 2782 does for SRV; without any weight left, evenly."""
    while len(equals) > 1:
        total = sum(trunk.weight for trunk in equals)
        if total:
            mark = pick() * total
            index = 0
            while index < len(equals) - 1 and mark >= equals[index].weight:
                mark -= equals[index].weight
                index += 1
        else:
            index = int(pick() * len(equals))
        yield equals.pop(index).name
    yield equals[0].name


class Sources:
    """Says which trunk a source address belongs to: exact host and port, else the host, else the narrowest network.

    ValueError when two trunks claim the same source, or when a source is no host, `host:port` or network.
    """

    __slots__ = ("_exact", "_hosts", "_networks", "_seen")

    def __init__(self, trunks: Iterable[Trunk]) -> None:
        self._exact: dict[tuple[str, int], Trunk] = {}
        self._hosts: dict[str, Trunk] = {}
        networks: dict[IPv4Network | IPv6Network, Trunk] = {}
        for trunk in trunks:
            for peer in trunk.peers:
                _claim(self._exact, (_canonical(peer.host), peer.port), trunk)
            for text in trunk.networks:
                if "/" in text:
                    _claim(networks, parse_network(text), trunk)
                elif (peer := parse_peer(text, 0)).port:
                    _claim(self._exact, (_canonical(peer.host), peer.port), trunk)
                else:
                    _claim(self._hosts, _canonical(peer.host), trunk)
        narrowest_first = sorted(networks, key=lambda network: network.prefixlen, reverse=True)
        self._networks = tuple((network, networks[network]) for network in narrowest_first)
        self._seen: dict[str, tuple[str, Trunk | None]] = {}

    def trunk_of(self, host: str, port: int) -> Trunk | None:
        """Return the trunk that sends from this address, or None: an unknown source (R1)."""
        trunk = self._exact.get((host, port)) or self._hosts.get(host)
        if trunk is not None:
            return trunk
        seen = self._seen.get(host)
        if seen is None:
            seen = self._search(host)
            if len(self._seen) >= REMEMBERED_SOURCES:
                del self._seen[next(iter(self._seen))]
            self._seen[host] = seen
        canonical, network_trunk = seen
        if canonical != host:
            return self._exact.get((canonical, port)) or self._hosts.get(canonical) or network_trunk
        return network_trunk

    def _search(self, host: str) -> tuple[str, Trunk | None]:
        address = _address(host)
        if address is None:
            return host, None
        for network, trunk in self._networks:
            if address in network:
                return str(address), trunk
        return str(address), None


def parse_peer(text: str, default_port: int = 5060) -> Peer:
    """Read `host`, `host:port`, `[address]` or `[address]:port`; ValueError with the reason for anything else."""
    host, port = text, ""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")) or rest == ":":
            raise ValueError(f"{text!r} is not [address]:port")
        port = rest[1:]
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
        if not port:
            raise ValueError(f"{text!r} has no port after the colon")
    if not host or any(character.isspace() or character in "/@[]" for character in host):
        raise ValueError(f"{text!r} is not host:port")
    if not port:
        return Peer(host, default_port)
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) <= 65535):
        raise ValueError(f"{text!r} has no port from 1 to 65535")
    return Peer(host, int(port))


def format_peer(peer: Peer) -> str:
    """Write a peer as `host:port`, an IPv6 address in brackets."""
    return f"[{peer.host}]:{peer.port}" if ":" in peer.host else f"{peer.host}:{peer.port}"


def parse_network(text: str) -> IPv4Network | IPv6Network:
    """Read a CIDR network; ValueError with the fix when host bits are set."""
    try:
        return ip_network(text)
    except ValueError:
        try:
            network = ip_network(text, strict=False)
        except ValueError:
            raise ValueError(f"{text!r} is not a network such as 192.0.2.0/24") from None
        raise ValueError(f"{text!r} names a host inside a network; write {network} or the bare address") from None


def _address(host: str) -> IPv4Address | IPv6Address | None:
    """Read an address; a dual-stack socket shows an IPv4 source as ::ffff:a.b.c.d, which is the same host."""
    try:
        address = ip_address(host)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _canonical(host: str) -> str:
    address = _address(host)
    return host.lower() if address is None else str(address)


def _claim(table: dict[_Key, Trunk], key: _Key, trunk: Trunk) -> None:
    other = table.setdefault(key, trunk)
    if other.name != trunk.name:
        raise ValueError(f"trunks {other.name!r} and {trunk.name!r} both claim the source {key}")
