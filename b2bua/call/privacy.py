"""What each party is shown (rules R2 and R4), and the tripwire below every builder.

Default: nothing crosses. The callee's INVITE is built from the route alone; the caller's answers echo the caller's own
fields. So there is no list of headers to remove: there is only what is written here.
"""

from dataclasses import dataclass

from b2bua.call.listeners import contact_uri
from b2bua.sip.errors import ParseError
from b2bua.sip.headers import parse_name_addr, split_list
from b2bua.sip.message import Request
from b2bua.sip.transaction import Flow
from b2bua.sip.uri import dialled_user, parse_uri
from routing.decide import Route
from routing.numbers import bare_digits, format_middle, format_subscriber, parse_subscriber
from routing.targets import uri_host
from routing.trunks import Identity, Peer, Trunk

__all__ = ["Invitation", "claimed_caller", "invitation", "reveals"]


@dataclass(frozen=True, slots=True)
class Invitation:
    """The identities of the INVITE to one route: request URI, From (without tag) and To, Contact, whole extra header
    lines, and the digits that this side must never see (``forbidden``) with the numbers that are its own to see
    (``own``)."""

    uri: str
    from_value: str
    to_value: str
    contact: str
    extra: tuple[str, ...]
    forbidden: bytes
    own: tuple[str, ...]


def invitation(route: Route, trunk: Trunk, peer: Peer, flow: Flow, sent_by: str, lines: tuple[str, ...]) -> Invitation:
    """Address a call to the callee over one trunk, from the middle number and nothing else.

    ``flow`` is the way there and ``sent_by`` our host:port on it; ``lines`` are the headers about ourselves that every
    INVITE has.
    """
    shown = format_middle(route.shown, trunk.number_form)
    host = sent_by.rpartition(":")[0]
    target = f"sip:{format_subscriber(route.callee, trunk.number_form)}@{uri_host(peer)}"
    identity = f"<sip:{shown}@{host}>"
    contact = contact_uri(flow, sent_by, shown)
    extra = (f"Contact: <{contact}>", *lines)
    if trunk.send_identity:
        extra = (*extra, f"P-Asserted-Identity: {identity}")
    own = (route.shown, bare_digits(route.callee))
    return Invitation(target, identity, f"<{target}>", contact, extra, bare_digits(route.caller).encode(), own)


def claimed_caller(request: Request, trunk: Trunk) -> str:
    """Who calls, by the header this trunk is trusted for (RFC 3325 §9.1, rule R1): a user part, '' when there is none.

    Of several P-Asserted-Identity values the first that is a subscriber's number counts.
    """
    if trunk.identity is Identity.FROM:
        return _user(request.from_value)
    users = [_user(element) for value in request.all("p-asserted-identity") for element in split_list(value)]
    users = [user for user in users if user]
    return next((user for user in users if parse_subscriber(user)), users[0] if users else "")


def _user(value: str) -> str:
    try:
        return dialled_user(parse_uri(parse_name_addr(value).uri))
    except ParseError:
        return ""


def reveals(wire: bytes, forbidden: bytes, own: tuple[str, ...]) -> bool:
    """Whether a datagram tells its receiver the digits it must not learn.

    What the receiver itself sent (``own``) is left out of the count: its own Call-ID or Contact may spell any digits,
    tells it nothing new, and must not let it test guesses against this alarm. Of that only texts that hold the digits
    are taken out: a Call-ID of one digit would take the number apart and hide it.
    """
    if not forbidden or forbidden not in wire:
        return False
    for text in sorted(own, key=len, reverse=True):
        said = text.encode("utf-8", "surrogateescape")
        if forbidden in said:
            wire = wire.replace(said, b" ")
    return forbidden in wire
