"""Where a trunk's calls go: what the settings and DNS say of its peers, and the order for one call (RFC 3263, 2782)."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

from routing.trunks import Peer, Trunk, format_peer, is_name

__all__ = [
    "DEFAULT_PORTS",
    "Choice",
    "Naptr",
    "Service",
    "Target",
    "drawn",
    "fixed_choices",
    "format_target",
    "merged",
    "services",
    "uri_host",
    "wanted",
]

# RFC 3263 §4.2 and RFC 3261 §19.1.2
DEFAULT_PORTS = {"UDP": 5060, "TCP": 5060, "TLS": 5061}
# The NAPTR services of RFC 3263 §4.1, and the SRV names to ask for where a domain has no NAPTR, in our own order.
_NAPTR_TRANSPORTS = {"SIP+D2U": "UDP", "SIP+D2T": "TCP", "SIPS+D2T": "TLS"}
_SRV_PREFIXES = {"UDP": "_sip._udp", "TCP": "_sip._tcp", "TLS": "_sips._tcp"}

_Item = TypeVar("_Item")


class Target(NamedTuple):
    """One place that an INVITE can be sent to. ``transport`` as in a flow: UDP, TCP or TLS.

    ``host`` is an address; '' stands for a peer whose name has none. ``peer`` is how the settings call it: its host is
    the name that a certificate has to show.
    """

    transport: str
    host: str
    port: int
    peer: Peer


class Choice(NamedTuple):
    """What is chosen among: one SRV record, or one peer that needs none. ``targets`` are its addresses: they share its
    calls evenly, those of IPv6 come after those of IPv4.

    The lowest ``rank`` goes first; equals are drawn by ``weight``.
    """

    rank: int
    weight: int
    targets: tuple[Target, ...]


class Service(NamedTuple):
    """The SRV records of one transport: the name to ask for."""

    transport: str
    name: str


class Naptr(NamedTuple):
    """A NAPTR record (RFC 3403 §4.1), as far as RFC 3263 uses it."""

    order: int
    preference: int
    flags: str
    service: str
    regexp: str
    replacement: str


def uri_host(peer: Peer) -> str:
    """The host part of a request URI to this peer: a domain stays a domain, so that the far end sees its own name
    (RFC 3263 §4)."""
    return format_peer(peer) if peer.port else peer.host


def format_target(target: Target) -> str:
    """Write a target for people: transport, address, and the name behind it where there is one."""
    if not target.host:
        return uri_host(target.peer)
    text = f"{target.transport.lower()}:{format_peer(Peer(target.host, target.port))}"
    return f"{text} ({uri_host(target.peer)})" if is_name(target.peer) else text


def wanted(trunk: Trunk) -> tuple[str, ...]:
    """The transports that a trunk's calls may take, best first where DNS leaves it to us (RFC 3263 §4.1)."""
    return ("UDP", "TCP", "TLS") if trunk.transport == "auto" else (trunk.transport.upper(),)


def services(domain: str, naptr: Iterable[Naptr], transports: Sequence[str]) -> tuple[Service, ...]:
    """The SRV names of a domain in the order to use them: as its NAPTR records say, else one for each transport.

    Records for other services, with other flags than S or with a regular expression are not for us (RFC 3263 §4.1).
    """
    usable = [
        record
        for record in naptr
        if record.flags.upper() == "S"
        and not record.regexp
        and _NAPTR_TRANSPORTS.get(record.service.upper(), "") in transports
    ]
    if not usable:
        return tuple(Service(transport, f"{_SRV_PREFIXES[transport]}.{domain}") for transport in transports)
    usable.sort(key=lambda record: (record.order, record.preference))
    return tuple(Service(_NAPTR_TRANSPORTS[record.service.upper()], record.replacement) for record in usable)


def fixed_choices(trunk: Trunk) -> tuple[Choice, ...]:
    """The choices of those peers that are addresses, in the order of the settings: all there is to know without DNS."""
    transport = wanted(trunk)[0]
    return merged(() if is_name(peer) else (Choice(0, 0, (Target(transport, *peer, peer),)),) for peer in trunk.peers)


def merged(peers: Iterable[Sequence[Choice]]) -> tuple[Choice, ...]:
    """The choices of several peers as one row: all of the first peer before any of the second. Places that come twice
    are kept once."""
    row: list[Choice] = []
    seen: set[tuple[str, str, int]] = set()
    first = 0
    for choices in peers:
        ranks = {rank: first + index for index, rank in enumerate(sorted({choice.rank for choice in choices}))}
        for choice in sorted(choices, key=lambda choice: choice.rank):
            fresh = tuple(target for target in choice.targets if target[:3] not in seen)
            seen.update(target[:3] for target in fresh)
            if fresh:
                row.append(Choice(ranks[choice.rank], choice.weight, fresh))
        first += len(ranks)
    return tuple(row)


def drawn(equals: Sequence[tuple[int, _Item]], pick: Callable[[], float]) -> list[_Item]:
    """Order (weight, item) pairs of one priority as RFC 2782 asks for: drawn one by one by weight, where an item of
    weight 0 still has a very small chance. ``pick`` returns a random number in [0, 1)."""
    left = sorted(equals, key=lambda pair: pair[0] > 0)  # those of weight 0 in front
    order: list[_Item] = []
    while len(left) > 1:
        mark = int(pick() * (sum(weight for weight, _ in left) + 1))
        index = 0
        while mark > left[index][0]:
            mark -= left[index][0]
            index += 1
        order.append(left.pop(index)[1])
    order.extend(item for _, item in left)
    return order
