"""What a MESSAGE carries: read from its body into text, and written anew for the other party.

Three bodies are taken: text/plain, message/cpim and application/vnd.3gpp.sms. The other party gets the kind that was
sent, built from the text and the middle number alone.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from b2bua.sip.cpim import CPIM, Envelope, format_cpim, parse_cpim
from b2bua.sip.errors import ParseError
from b2bua.sip.message import Request
from b2bua.sip.multipart import media_type
from b2bua.sip.plain import PLAIN, PLAIN_UTF8, parse_plain
from b2bua.sip.sms import (
    SMS,
    Address,
    Coding,
    Concat,
    Relay,
    RelayKind,
    ShortText,
    deliver,
    format_relay,
    middle_address,
    parse_relay,
    parse_short_text,
)

__all__ = ["ACCEPTED", "ACCEPTED_WITHOUT_SMS", "Kind", "Payload", "read_payload", "relay_of", "write_payload"]

ACCEPTED: Final = f"Accept: {PLAIN}, {CPIM}, {SMS}"
ACCEPTED_WITHOUT_SMS: Final = f"Accept: {PLAIN}, {CPIM}"


class Kind(StrEnum):
    """The bodies, by their media types."""

    PLAIN = PLAIN
    CPIM = CPIM
    SMS = SMS


@dataclass(frozen=True, slots=True)
class Payload:
    """A message without anything of where it comes from. ``sent`` is the time an envelope gave. Of a short message
    ``coding`` and ``concat`` are kept, and for its sender's acknowledgement the relay ``reference`` and which way it
    went; ``party`` and ``validity_seconds`` serve admission alone."""

    kind: Kind
    text: str
    sent: str = ""
    coding: Coding = Coding.SEPTETS
    concat: Concat | None = None
    reference: int = -1
    to_phone: bool = False
    party: Address | None = None
    validity_seconds: int = 0

    def relay(self) -> Relay:
        """The relay message it came in, as far as its acknowledgement needs it."""
        return Relay(RelayKind.DATA, self.to_phone, self.reference)


def read_payload(request: Request, now_ms: int) -> Payload:
    """The payload of a MESSAGE. ParseError 415 for a body that is none of the three, or not for people to read, 400 for
    one that cannot be read."""
    if request.get("content-encoding") is not None:
        raise ParseError("content encoding not known", 415)
    content_type = request.get("content-type") or (PLAIN if request.body else "")
    kind = media_type(content_type)
    if kind == PLAIN:
        return Payload(Kind.PLAIN, parse_plain(content_type, request.body))
    if kind == CPIM:
        envelope = parse_cpim(request.body)
        return Payload(Kind.CPIM, envelope.text, envelope.sent)
    relay = relay_of(request)
    if relay is None:
        raise ParseError("body type not supported", 415)
    if relay.kind is not RelayKind.DATA:
        raise ParseError("not a short message", 415)
    text = parse_short_text(relay, now_ms)
    return Payload(
        Kind.SMS,
        text.text,
        "",
        text.coding,
        text.concat,
        relay.reference,
        relay.to_phone,
        text.party,
        text.validity_seconds,
    )


def relay_of(request: Request) -> Relay | None:
    """The relay message in a MESSAGE, None where its body is of another type. ParseError 400."""
    if media_type(request.get("content-type") or "") != SMS:
        return None
    return parse_relay(request.body)


def write_payload(
    payload: Payload, sender: str, recipient: str, shown: str, reference: int, arrived_ms: int
) -> tuple[str, bytes]:
    """(Content-Type, body) for the other party. ``sender`` and ``recipient`` are URIs, ``shown`` the middle number, all
    as the trunk wants them; ``reference`` is the relay reference of our own short message. ParseError when a short
    message cannot hold it any more, which what was read from one always can."""
    if payload.kind is Kind.PLAIN:
        return PLAIN_UTF8, payload.text.encode("utf-8", "replace")
    if payload.kind is Kind.CPIM:
        return CPIM, format_cpim(Envelope(payload.text, payload.sent), sender, recipient)
    centre = middle_address(shown)
    text = ShortText(payload.text, payload.coding, payload.concat, centre)
    tpdu = deliver(text, shown, arrived_ms)
    return SMS, format_relay(Relay(RelayKind.DATA, True, reference, tpdu, 0, centre, None))
