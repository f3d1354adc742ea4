"""Short messages for the tests: what a phone sends, what it gets, and what it says to that."""

from collections.abc import Iterable, Iterator
from itertools import chain, repeat

from b2bua.sip.gsm import format_digits
from b2bua.sip.message import Request, Response
from b2bua.sip.sms import SMS, Address, Coding, Concat, Relay, RelayKind, ShortText, deliver, format_relay, parse_relay
from b2bua.sip.transaction import ClientTransaction, ServerTransaction
from tests.call.phone import Phone
from tests.wire import SWITCH

__all__ = ["Inbox", "Sent", "send", "sms_body", "submit"]

HELLO = "我到楼下了"


class Sent:
    """A MESSAGE that a phone has sent: its owner, which keeps what comes back."""

    def __init__(self, call_id: str) -> None:
        self.call_id = call_id
        self.heard: list[str] = []
        self.answer: Response | None = None

    def on_response(self, transaction: ClientTransaction, response: Response) -> None:
        self.heard.append(str(response.status))
        self.answer = response

    def on_timeout(self, transaction: ClientTransaction) -> None:
        self.heard.append("timeout")


def send(
    phone: Phone,
    x: str,
    body: str | bytes = HELLO,
    content_type: str = "text/plain;charset=UTF-8",
    *lines: str,
    identity: str | None = None,
    uri: str = "",
    call_id: str = "",
    from_value: str = "",
    cseq: int = 1,
    max_forwards: int = 70,
) -> Sent:
    """Send a MESSAGE to a number. ``identity`` is the P-Asserted-Identity, '' for none."""
    own = f"<sip:{phone.number}@{phone.address[0]}>"
    uri = uri or f"sip:{x}@{SWITCH[0]}:{SWITCH[1]}"
    sent = Sent(call_id or f"{phone.name}text{phone.token()}@{phone.address[0]}")
    if identity is None:
        identity = own
    extra = (f"P-Asserted-Identity: {identity}", *lines) if identity else lines
    phone.endpoint.request(
        "MESSAGE",
        uri,
        phone.flow,
        from_value or f"{own};tag={phone.token()}",
        f"<{uri}>",
        sent.call_id,
        cseq,
        phone.network.now,
        owner=sent,
        max_forwards=max_forwards,
        extra=extra,
        content_type=content_type,
        body=body.encode() if isinstance(body, str) else body,
    )
    phone.flush()
    return sent


class Inbox:
    """What a phone gets, and the statuses that it answers with, one after the other and the last for ever; 0 is no
    answer. ``confirms``: the relay messages that it sends once it has answered a short message, 'ack' or a cause."""

    def __init__(self, phone: Phone, statuses: Iterable[int] = (200,), *lines: str, confirms: str | int = "") -> None:
        answers = list(statuses)
        self.phone = phone
        self.requests: list[Request] = []
        self.reports: list[Relay] = []
        self.confirms = confirms
        self.lines = lines
        self._statuses: Iterator[int] = chain(answers, repeat(answers[-1]))
        phone.on_message = self._take

    @property
    def bodies(self) -> list[bytes]:
        return [request.body for request in self.requests]

    @property
    def texts(self) -> list[str]:
        return [body.decode() for body in self.bodies]

    def _take(self, transaction: ServerTransaction, request: Request) -> None:
        phone = self.phone
        relay = parse_relay(request.body) if request.get("content-type") == SMS else None
        if relay is not None and relay.kind is not RelayKind.DATA:
            self.reports.append(relay)
            phone.endpoint.respond(transaction, 200, phone.network.now)
            return
        self.requests.append(request)
        status = next(self._statuses)
        if not status:
            return
        phone.endpoint.respond(transaction, status, phone.network.now, extra=self.lines)
        if relay is not None and self.confirms != "" and status < 300:
            cause = self.confirms if isinstance(self.confirms, int) else 0
            kind = RelayKind.ERROR if cause else RelayKind.ACK
            body = format_relay(Relay(kind, False, relay.reference, cause=cause))
            x = request.from_value.partition("sip:")[2].partition("@")[0]
            phone.network.later(0.5, lambda: send(phone, x, body, SMS))


def submit(
    text: str,
    to: str,
    *,
    coding: Coding = Coding.UCS2,
    concat: Concat | None = None,
    validity: int | None = None,
    identifier: int = 0,
    scheme: int | None = None,
) -> bytes:
    """An SMS-SUBMIT, made from the SMS-DELIVER of the same text: the user data is the same."""
    delivered = deliver(ShortText(text, coding, concat, Address(0x91, "")), "700123456789012", 0)
    user_data = delivered[2 + 1 + 8 + 2 + 7 :]
    first = 0x01 | (0x40 if concat else 0) | (0x10 if validity is not None else 0)
    head = (
        bytes((first, 77, len(to), 0x81))
        + format_digits(to)
        + bytes((identifier, coding if scheme is None else scheme))
    )
    return head + (b"" if validity is None else bytes((validity,))) + user_data


def sms_body(tpdu: bytes, *, to_phone: bool = False, reference: int = 42, centre: str = "8613800210500") -> bytes:
    """RP-DATA around a transfer message."""
    address = Address(0x91, centre)
    originator, destination = (address, None) if to_phone else (None, address)
    return format_relay(Relay(RelayKind.DATA, to_phone, reference, tpdu, 0, originator, destination))
