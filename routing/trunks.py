"""Trunks: the carriers we peer with. Which one sent this datagram, and which ones take a call out, best first."""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple, TypeVar

from routing.numbers import NumberForm, format_subscriber

# Sources remembered after a search through the networks: enough for every carrier's proxies, while a flood with
# forged addresses cannot make it grow.
REMEMBERED_SOURCES = 4096

_Key = TypeVar("_Key")


class Peer(NamedTuple):
    """Where a trunk sends from and is sent to. `host` is an address, or a name that the shell resolves; port 0 leaves
    the port of a name to DNS as well."""

    host: str
    port: int


class Identity(StrEnum):
    """Where a trunk's calls carry the caller we may trust: P-Asserted-Identity (RFC 3325) or From."""

    PAI = "pai"
    FROM = "from"


@dataclass(frozen=True, slots=True)
class Secret:
    """What proves a user name: a password where `algorithm` is '', else the H(A1) of that digest algorithm in
    hexadecimal (RFC 7616 §3.4.2)."""

    user: str
    algorithm: str
    text: str = field(repr=False)


class Reliable(StrEnum):
    """What a trunk is offered of reliable provisional answers (RFC 3262): nothing, 100rel, or only that."""

    OFF = "off"
    SUPPORTED = "supported"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class Trunk:
    """One SIP peering; the settings of one `[[trunk]]` section.

    `transport` is `udp`, `tcp`, `tls` or `auto`; with `large_over_tcp` UDP requests that are too long for it go by TCP.
    `certificate_names`: only a connection whose certificate shows one of them is this trunk's, whatever its address.
    `networks` are sources besides the peers: a host, `host:port` or a CIDR network. `prefixes` are compared with the
    callee's national form (`138…`, `010…`): `''` serves every number, none at all keeps the trunk for incoming calls.
    `priority`: the lowest is tried first; `weight` shares calls among equals, 0 is used only when the others are down.
    `reliable`: whether calls to it ask for reliable provisional answers. `session_timers`: whether its side of a call
    may have one.
    `max_calls` and `calls_per_second`: 0 is no limit. `probe_seconds`: how often OPTIONS asks whether a target is
    there, 0 for never; `probe_failing` are the answers that say no, a status (`503`) or a class (`5xx`).
    `digest_realm`: requests that begin something must prove one of `digest_users` in this realm; '' asks for no proof.
    `username` is who we are where this trunk asks us. `secrets` hold what proves all these names.
    """

    name: str
    peers: tuple[Peer, ...]
    networks: tuple[str, ...] = ()
    transport: str = "udp"
    large_over_tcp: bool = False
    certificate_names: tuple[str, ...] = ()
    identity: Identity = Identity.PAI
    number_form: NumberForm = NumberForm.NATIONAL
    accept_zero: bool = False
    send_identity: bool = True
    reliable: Reliable = Reliable.SUPPORTED
    session_timers: bool = True
    prefixes: tuple[str, ...] = ("",)
    priority: int = 10
    weight: int = 100
    max_calls: int = 0
    calls_per_second: float = 0
    probe_seconds: float = 0
    probe_failing: tuple[str, ...] = ("408", "503")
    digest_realm: str = ""
    digest_users: tuple[str, ...] = ()
    digest_algorithms: tuple[str, ...] = ("SHA-256", "MD5")
    digest_qop: tuple[str, ...] = ("auth",)
    digest_nonce_seconds: float = 300
    username: str = ""
    secrets: tuple[Secret, ...] = field(default=(), repr=False)


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
    """Says which trunk a source address belongs to: exact host and port, else the host, else the narrowest network,
    else the host of a peer, if no other trunk has a peer or a source on that host.

    `resolved` holds the addresses that DNS gives for the peers of a trunk. What the settings say goes before them, and
    of two trunks with the same address the first has it; `conflicts` names such (trunk left out, host, port).

    ValueError when two trunks claim the same source in the settings, or when a source is no host, `host:port` or
    network.
    """

    __slots__ = ("_exact", "_hosts", "_networks", "_only", "_seen", "conflicts")

    def __init__(
        self, trunks: Sequence[Trunk], resolved: Mapping[str, Iterable[tuple[str, int]]] | None = None
    ) -> None:
        self._exact: dict[tuple[str, int], Trunk] = {}
        self._hosts: dict[str, Trunk] = {}
        networks: dict[IPv4Network | IPv6Network, Trunk] = {}
        peers: set[str] = set()
        for trunk in trunks:
            for peer in trunk.peers:
                if not is_name(peer):
                    _claim(self._exact, (_canonical(peer.host), peer.port), trunk)
                    peers.add(_canonical(peer.host))
            for text in trunk.networks:
                if "/" in text:
                    _claim(networks, parse_network(text), trunk)
                elif (peer := parse_peer(text, 0)).port:
                    _claim(self._exact, (_canonical(peer.host), peer.port), trunk)
                else:
                    _claim(self._hosts, _canonical(peer.host), trunk)
        narrowest_first = sorted(networks, key=lambda network: network.prefixlen, reverse=True)
        self._networks = tuple((network, networks[network]) for network in narrowest_first)
        self.conflicts: list[tuple[str, str, int]] = []
        for trunk in trunks:
            for host, port in (resolved or {}).get(trunk.name, ()):
                peers.add(_canonical(host))
                if self._exact.setdefault((_canonical(host), port), trunk).name != trunk.name:
                    self.conflicts.append((trunk.name, host, port))
        # A peer may send requests from another port than it listens on, and over TCP always does.
        self._only: dict[str, Trunk | None] = {}
        for (host, _), trunk in self._exact.items():
            if host in peers:
                self._only[host] = trunk if self._only.get(host, trunk) is trunk else None
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

    def knows(self, host: str) -> bool:
        """Whether any trunk sends from this host, whatever the port."""
        return self.trunk_of(host, 0) is not None or _canonical(host) in self._only

    def _search(self, host: str) -> tuple[str, Trunk | None]:
        address = _address(host)
        if address is None:
            return host, None
        for network, trunk in self._networks:
            if address in network:
                return str(address), trunk
        return str(address), self._only.get(str(address))


def is_name(peer: Peer) -> bool:
    """Whether a peer has to be looked up in DNS."""
    return _address(peer.host) is None


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
    if other.name != trunk.name and not (other.digest_realm and trunk.digest_realm):  # there digest decides
        raise ValueError(f"trunks {other.name!r} and {trunk.name!r} both claim the source {key}")
