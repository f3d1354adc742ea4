"""Dialogs (RFC 3261 §12): who is who, where requests go, and the two sequence numbers."""

import re
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address

from b2bua.sip.errors import ParseError
from b2bua.sip.headers import parse_name_addr, split_list
from b2bua.sip.message import Message, Request, Response
from b2bua.sip.transaction import Flow
from b2bua.sip.uri import SipUri, parse_uri

__all__ = ["Dialog"]

DEFAULT_PORT = 5060

# sip:user@1.2.3.4:5060 with anything behind it: nearly every Contact and Record-Route of a carrier
_IPV4_HOP = re.compile(r"sips?:(?:[^@<>\s]*+@)?+([0-9.]{7,15})(?::([0-9]{1,5}))?(?=[;?]|$)", re.IGNORECASE)


class Dialog:
    """One dialog of ours. ``local_value`` and ``remote_value`` are whole From and To values of the requests we send
    in it."""

    __slots__ = (
        "call_id",
        "flow",
        "local_cseq",
        "local_tag",
        "local_value",
        "remote_cseq",
        "remote_tag",
        "remote_value",
        "routes",
        "target",
    )

    def __init__(self, call_id: str, local_value: str, local_tag: str, flow: Flow) -> None:
        self.call_id = call_id
        self.local_value = local_value
        self.local_tag = local_tag
        self.remote_value = ""
        self.remote_tag = ""
        self.target = ""
        self.routes: tuple[str, ...] = ()
        self.local_cseq = 0
        self.remote_cseq = -1
        self.flow = flow

    @classmethod
    def answering(cls, request: Request, local_tag: str, flow: Flow) -> "Dialog":
        """The dialog that our answer to ``request`` makes (§12.1.1). ParseError: no usable Contact or Record-Route,
        or a From or To that no request of ours could carry."""
        if "\0" in request.from_value or "\0" in request.to_value:
            raise ParseError("NUL in address")
        dialog = cls(request.call_id, f"{request.to_value};tag={local_tag}", local_tag, flow)
        dialog.remote_value = request.from_value
        dialog.remote_tag = request.from_tag
        dialog.remote_cseq = request.cseq
        dialog.routes = _routes(request)
        if not dialog.refresh(request):
            raise ParseError("no Contact")
        return dialog

    def answered(self, response: Response) -> None:
        """Take over what an answer to our request says (§12.1.2): the peer's tag, its Contact and the route set.

        ParseError: a Contact or Record-Route that cannot be read.
        """
        self.remote_value = response.to_value
        self.remote_tag = response.to_tag
        routes = _routes(response)[::-1]
        rerouted = routes != self.routes
        self.routes = routes
        self.refresh(response)
        if rerouted:
            self._aim()  # even where the target is still the same

    def refresh(self, message: Message) -> bool:
        """Take a new remote target from Contact (§12.2.1.2, §12.2.2); False when the message has none."""
        contact = message.get("contact")
        if contact is None:
            return False
        target = parse_name_addr(next(iter(split_list(contact)), "") if "," in contact else contact).uri
        if target != self.target or not self.target:
            self.target = target
            self._aim()
        return True

    def request_uri(self) -> tuple[str, tuple[str, ...]]:
        """(request URI, Route values) of the next request (§12.2.1.1), with the strict router's exchange where one
        stands first."""
        if not self.routes:
            return self.target, ()
        first = parse_name_addr(self.routes[0]).uri
        if _is_loose(first):
            return self.target, self.routes
        return first, (*self.routes[1:], f"<{self.target}>")

    def next_cseq(self) -> int:
        """The sequence number of our next request."""
        self.local_cseq += 1
        return self.local_cseq

    def _aim(self) -> None:
        """Send to the first route or the target; where that is a name, back to where the peer's messages come from."""
        hop = parse_name_addr(self.routes[0]).uri if self.routes else self.target
        found = _IPV4_HOP.match(hop)
        peer = _peer(found[1], found[2]) if found is not None else _other_peer(hop)
        if peer is not None and peer != self.flow.peer:
            self.flow = self.flow._replace(peer=peer)


def _is_loose(uri: str) -> bool:
    """Whether a route has the parameter lr (§19.1.1), in whatever spelling."""
    names = uri.rpartition("@")[2].partition("?")[0].lower().split(";")
    return any(name.partition("=")[0] == "lr" for name in names)


def _routes(message: Message) -> tuple[str, ...]:
    """The Record-Route elements in order; ParseError when one of them is no address."""
    values = message.all("record-route")
    routes = tuple(element for value in values for element in split_list(value)) if values else ()
    for route in routes:
        parse_name_addr(route)
    return routes


@lru_cache(4096)
def _peer(host: str, port: str | None) -> tuple[str, int] | None:
    """An IPv4 hop, remembered: the same few peers take all the traffic."""
    try:
        IPv4Address(host)
    except AddressValueError:
        return None
    number = int(port) if port else DEFAULT_PORT
    return (host, number) if 0 < number <= 65535 else None


def _other_peer(hop: str) -> tuple[str, int] | None:
    """An IPv6 hop, or None for a name."""
    try:
        uri = parse_uri(hop)
        if not isinstance(uri, SipUri) or not uri.host.startswith("["):
            return None
    except ParseError:
        return None
    return uri.host.strip("[]"), uri.port or DEFAULT_PORT
