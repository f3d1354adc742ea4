"""The values that settings are made of: addresses, names, prefixes. A ValueError says what is wrong; how to mend it."""

import re
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field, PlainSerializer, PlainValidator

from cdr.retention import SHORTEST_DAYS, RetentionError, check_days
from routing.targets import uri_host
from routing.trunks import Peer, format_peer, parse_network

_Choice = TypeVar("_Choice")
PEER_FIX = "write 192.0.2.7:5060, sip.example.net:5060, or example.net to have its SRV records looked up"


def parse_address(text: object) -> Peer:
    """'127.0.0.1:5060' or '[::1]:5060'. ValueError says what is wrong and how to write it."""
    if isinstance(text, Peer):
        return text
    fix = "write an IP address and a port, such as 192.0.2.1:5060 or [2001:db8::1]:5060"
    if not isinstance(text, str):
        raise ValueError(f"must be text in quotes; {fix}")
    host, colon, port = text.rpartition(":")
    if not colon:
        raise ValueError(f"has no port; {fix}")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"an IPv6 address with a port stands in brackets; {fix}")
    try:
        host = str(ip_address(host))
    except ValueError:
        raise ValueError(f"{host!r} is not an IP address (names are not looked up); {fix}") from None
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
        raise ValueError(f"{port!r} is not a port; {fix}")
    return Peer(host, int(port))


def parse_far_address(text: object) -> Peer:
    """An address to send to: as `parse_address`, and neither port 0 nor the wildcard address."""
    address = parse_address(text)
    if not address.port or ip_address(address.host).is_unspecified:
        raise ValueError("nothing can be sent there; write the address and port on which the other side listens")
    return address


def parse_far_peer(text: object) -> Peer:
    """A peer: an address and port, a host name and port, or a domain whose NAPTR and SRV records say the rest (port
    0)."""
    if isinstance(text, Peer):
        return text
    if not isinstance(text, str):
        raise ValueError(f"must be text in quotes; {PEER_FIX}")
    host, colon, port = text.rpartition(":") if text.count(":") == 1 else (text, "", "")
    if not re.fullmatch(r"(?=.{1,253}$)([A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9-]{0,62}[A-Za-z][A-Za-z0-9-]{0,62}\.?", host):
        try:
            return parse_far_address(text)
        except ValueError as error:
            if "nothing can be sent there" in str(error):
                raise
            raise ValueError(f"is neither an address and port nor a name; {PEER_FIX}") from None
    if colon and not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) <= 65535):
        raise ValueError(f"{port!r} is not a port; {PEER_FIX}")
    return Peer(host.rstrip(".").lower(), int(port) if colon else 0)


def parse_probe_answer(text: str) -> str:
    if not re.fullmatch(r"[2-6](xx|[0-9]{2})", text):
        raise ValueError('must be a final status or a class of them; write, for example, "503" or "5xx"')
    return text


def parse_peers(peers: tuple[Peer, ...]) -> tuple[Peer, ...]:
    if len(set(peers)) != len(peers):
        raise ValueError("holds an address twice; each is tried once in the order given, take one out")
    return peers


def parse_advertise(text: object) -> Peer | None:
    return None if text in ("", None) else parse_far_address(text)


def parse_listen(text: object) -> Peer | None:
    """An address to listen on; '' is none."""
    return None if text in ("", None) else parse_address(text)


def format_advertise(address: Peer | None) -> str:
    return format_peer(address) if address else ""


def parse_source(text: str) -> str:
    """A source of requests: a host, host:port or network (CIDR), in the spelling that addresses are compared in."""
    fix = "write 192.0.2.7, 192.0.2.7:5060 or 192.0.2.0/24"
    if "/" in text:
        try:
            return str(parse_network(text))
        except ValueError as error:
            raise ValueError(f"{error}; {fix}") from None
    try:
        return str(ip_address(text))
    except ValueError:
        return format_peer(parse_far_address(text))


def parse_node_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]{0,31}", text):
        raise ValueError("must be 1 to 32 letters, digits, dots and hyphens; write a host name such as sip-1")
    return text


def parse_trunk_name(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,31}", text):
        raise ValueError("must be 1 to 32 small letters, digits and hyphens; write a name such as carrier-a")
    return text


def parse_listener_name(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,31}", text):
        raise ValueError("must be 1 to 32 small letters, digits and hyphens; write a name such as tcp or tls-v6")
    if text == "udp":
        raise ValueError('is the name of the listener at sip.listen; write another, such as "udp-v6"')
    return text


def parse_certificate_name(text: str) -> str:
    """A DNS name in small letters, or a URI as it stands in the certificate (RFC 5922 7.1)."""
    if re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?", text):
        return text.lower()
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]{1,250}", text):
        return text
    raise ValueError(
        'must be a DNS name or a URI of the certificate; write "sip.carrier.example" or "sip:carrier.example"'
    )


def parse_realm(text: str) -> str:
    if not re.fullmatch(r"(?:[ !#-\[\]-~]{0,62}[!#-\[\]-~])?", text):
        raise ValueError('must be up to 63 printable characters, no quotes; write a name such as "sip.example.net"')
    return text


def parse_user(text: str) -> str:
    if not re.fullmatch(r"[!#-\[\]-~]{0,64}", text):
        raise ValueError("must be up to 64 printable characters without blanks and quotes; write a name such as gw-1")
    return text


def parse_choices(values: tuple[_Choice, ...]) -> tuple[_Choice, ...]:
    if len(set(values)) != len(values):
        raise ValueError("holds a value twice; take one out")
    return values


def parse_product(text: str) -> str:
    # RFC 3261 25.1: server-val = product / comment; one product token with its version is what is sent
    if not re.fullmatch(r"[A-Za-z0-9.!%*_+`'~-]{1,32}(/[A-Za-z0-9.!%*_+`'~-]{1,32})?", text):
        raise ValueError('must be a product token of RFC 3261 25.1; write "x700" or "x700/1.0"')
    return text


def parse_prefix(text: str) -> str:
    if not re.fullmatch(r"[0-9]{0,12}", text):
        raise ValueError('must be up to 12 digits of the national number; write "138", "010", or "" for every number')
    return text


def parse_retention(days: int) -> int:
    try:
        return check_days(days)
    except RetentionError as error:
        raise ValueError(f"{error}; write {SHORTEST_DAYS} or more") from None


class ClientCertificate(StrEnum):
    """What a TLS listener asks of those who connect."""

    NONE = "none"
    OPTIONAL = "optional"
    REQUIRED = "required"


def parse_file(text: object) -> Path | None:
    """A file that may be left out: '' is none."""
    if text in ("", None):
        return None
    if not isinstance(text, str | Path):
        raise ValueError('must be text in quotes; write the path of a file, or "" for none')
    return Path(text)


def format_file(path: Path | None) -> str:
    return str(path) if path else ""


File = Annotated[Path | None, PlainValidator(parse_file), PlainSerializer(format_file)]
User = Annotated[str, Field(strict=True), AfterValidator(parse_user)]
Address = Annotated[Peer, PlainValidator(parse_address), PlainSerializer(format_peer)]
Advertise = Annotated[
    Peer | None,
    PlainValidator(parse_advertise),
    PlainSerializer(format_advertise),
]
Listen = Annotated[Peer | None, PlainValidator(parse_listen), PlainSerializer(format_advertise)]
FarAddress = Annotated[Peer, PlainValidator(parse_far_address), PlainSerializer(format_peer)]
FarPeer = Annotated[Peer, PlainValidator(parse_far_peer), PlainSerializer(uri_host)]
Source = Annotated[str, Field(strict=True), AfterValidator(parse_source)]
Text = Annotated[str, Field(strict=True)]
Whole = Annotated[int, Field(strict=True, ge=0)]
Positive = Annotated[int, Field(strict=True, ge=1)]
Seconds = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
Rate = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
