"""Our listeners as call control sees them: which one a message to a peer leaves by, and when a large request takes
another transport than the trunk's own."""

from collections.abc import Mapping

from b2bua.sip.message import Request
from b2bua.sip.transaction import Flow

__all__ = ["Listeners", "asks_secure", "contact_uri"]

# A peer that refused TCP is not asked again for so long, in seconds: each large request would wait for the refusal.
REFUSED_SECONDS = 300.0
MOST_REFUSALS = 4096


class Listeners:
    """``advertised`` maps names to host:port as peers see them, ``transports`` names to UDP, TCP or TLS (UDP where it
    has none). Of several for one transport and address family the first is where messages leave.

    Where none fits, a flow has the listener '', which cannot send; it is called by the address of the first.
    """

    __slots__ = ("_refused", "_table", "advertised")

    def __init__(self, advertised: Mapping[str, str], transports: Mapping[str, str]) -> None:
        self.advertised = {**advertised, "": next(iter(advertised.values()))}
        self._table: dict[tuple[str, bool], str] = {}
        self._refused: dict[tuple[str, int], float] = {}
        for name, address in advertised.items():
            self._table.setdefault((transports.get(name, "UDP"), address.startswith("[")), name)

    def reaches(self, transport: str, host: str) -> bool:
        """Whether there is a listener of this transport and of the family of this address."""
        return (transport, ":" in host) in self._table

    def flow_to(self, transport: str, host: str, port: int) -> Flow:
        """The way to a peer."""
        return Flow(transport, self._table.get((transport, ":" in host), ""), (host, port))

    def heavy(self, flow: Flow, now: float) -> Flow | None:
        """The flow for a request that is too large for UDP (RFC 3261 §18.1.1); None: it goes as it is."""
        host, port = flow.peer
        if flow.transport != "UDP" or not self.reaches("TCP", host):
            return None
        if self._refused and now < self._refused.get(flow.peer, now):
            return None
        return self.flow_to("TCP", host, port)

    def refused(self, flow: Flow, now: float) -> None:
        """There is no TCP to be had of this peer."""
        if len(self._refused) >= MOST_REFUSALS:
            del self._refused[next(iter(self._refused))]
        self._refused[flow.peer] = now + REFUSED_SECONDS


def asks_secure(request: Request) -> bool:
    """Whether our Contact has to be sips: the request URI, or the hop that our requests go to, is (§12.1.1)."""
    if request.uri[:5].lower() == "sips:":
        return True
    hop = request.first.get("record-route") or request.first.get("contact")
    return hop is not None and "sips:" in hop and "<sips:" in hop.partition(",")[0]


def contact_uri(flow: Flow, sent_by: str, user: str = "", secure: bool = False) -> str:
    """The address at which a peer reaches us over the same transport. ``user`` may be empty; ``secure``: the peer asked
    with sips, and has to be given one (§12.1.1)."""
    at = f"{user}@{sent_by}" if user else sent_by
    if secure:
        return f"sips:{at}"
    return f"sip:{at}" if flow.transport == "UDP" else f"sip:{at};transport={flow.transport.lower()}"
