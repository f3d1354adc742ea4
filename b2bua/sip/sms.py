"""Short messages of mobile networks as a body of SIP MESSAGE, ``application/vnd.3gpp.sms``: the relay layer (3GPP
TS 24.011 §7.3, §8.2) and the transfer layer inside it (TS 23.040 §9.2).

Nothing of a message that came in is passed on: it is read into a ``ShortText``, which has no field for anything but the
text, how its parts belong together and how it was coded, and a new one is written from that.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple

from b2bua.sip.errors import ParseError
from b2bua.sip.gsm import (
    decode_septets,
    encode_septets,
    format_digits,
    pack_septets,
    parse_digits,
    unpack_septets,
)

__all__ = [
    "CAUSES",
    "SMS",
    "Address",
    "Coding",
    "Concat",
    "Relay",
    "RelayKind",
    "ShortText",
    "acknowledgement",
    "cause_of_failure",
    "deliver",
    "format_relay",
    "middle_address",
    "parse_relay",
    "parse_short_text",
    "temporary",
]

SMS: Final = "application/vnd.3gpp.sms"

LONGEST_ADDRESS: Final = 12  # octets of a relay address with its type: 20 digits and more (TS 24.011 §8.2.5.1)
LONGEST_TPDU: Final = 232  # TS 24.011 §8.2.5.3
USER_DATA_OCTETS: Final = 140  # TS 23.040 §9.2.3.24
_USER_DATA: Final = 0x41  # the element identifier of user data in RP-ACK and RP-ERROR

# types of number (TS 24.008 §10.5.118), with the extension bit and the ISDN plan where a whole octet is meant
_INTERNATIONAL: Final = 0x91
_NATIONAL: Final = 0xA1
_ALPHANUMERIC: Final = 5


class RelayKind(IntEnum):
    """What a relay message is, whichever way it goes."""

    DATA = 0
    ACK = 1
    ERROR = 2
    MEMORY_AVAILABLE = 3


@dataclass(frozen=True, slots=True)
class Address:
    """A number and how it was written: the ``kind`` octet; ``text`` is digits, or letters where it is alphanumeric."""

    kind: int
    text: str

    @property
    def alphanumeric(self) -> bool:
        """Whether this is a name, not a number."""
        return self.kind >> 4 & 7 == _ALPHANUMERIC

    @property
    def number(self) -> str:
        """The number as routing reads it; an international one with its plus."""
        return f"+{self.text}" if self.kind >> 4 & 7 == 1 and not self.text.startswith("+") else self.text


@dataclass(frozen=True, slots=True)
class Relay:
    """One relay message. ``to_phone``: it goes from the network to the mobile station. ``reference`` pairs a message
    with its acknowledgement; ``cause`` is that of an error; ``tpdu`` is the transfer layer's."""

    kind: RelayKind
    to_phone: bool
    reference: int
    tpdu: bytes = b""
    cause: int = 0
    originator: Address | None = None
    destination: Address | None = None


class Coding(IntEnum):
    """How the text is coded; the value is the data coding scheme that we write (TS 23.038 §4): no class, nothing
    automatic."""

    SEPTETS = 0x00
    UCS2 = 0x08


class Concat(NamedTuple):
    """Which part of a long message this is (TS 23.040 §9.2.3.24.1, .8). ``wide``: the reference has 16 bits."""

    reference: int
    total: int
    number: int
    wide: bool


@dataclass(frozen=True, slots=True)
class ShortText:
    """What one transfer message says. ``party`` is the other end as it names it: of a SUBMIT where it is to go, of a
    DELIVER where it comes from. ``validity_seconds`` is how long the sender wants it tried, 0: it does not say."""

    text: str
    coding: Coding
    concat: Concat | None
    party: Address
    validity_seconds: int = 0


# TS 24.011 table 8.4, all that may cross; any other is told as 111 (protocol error, unspecified)
CAUSES: Final = frozenset(
    (1, 8, 10, 11, 21, 22, 27, 28, 29, 30, 38, 41, 42, 47, 50, 69, 81, 95, 96, 97, 98, 99, 111, 127)
)
# those that pass by themselves: memory exceeded, destination or network out of order, congestion, no resources
_TEMPORARY: Final = frozenset((22, 27, 38, 41, 42, 47))


def temporary(cause: int) -> bool:
    """Whether a message that was answered so may be tried again later."""
    return cause in _TEMPORARY


def cause_of_failure(status: int) -> int:
    """What a mobile network calls the failure that SIP calls ``status``; 0 of a success."""
    if status < 300:
        return 0
    if status in (404, 410, 604):
        return 1  # unassigned number
    if status in (408, 480, 486, 600):
        return 27  # destination out of order
    return 38 if status >= 500 and status < 600 else 21  # network out of order; message transfer rejected


# relay layer

# message types by direction (TS 24.011 §8.2.2): bit 1 says that it goes to the mobile station
_KINDS: Final = {
    0: (RelayKind.DATA, False),
    1: (RelayKind.DATA, True),
    2: (RelayKind.ACK, False),
    3: (RelayKind.ACK, True),
    4: (RelayKind.ERROR, False),
    5: (RelayKind.ERROR, True),
    6: (RelayKind.MEMORY_AVAILABLE, False),
}


def parse_relay(data: bytes) -> Relay:
    """Read a relay message. What follows it is not looked at. ParseError 400."""
    if len(data) < 2:
        raise ParseError("relay message cut short")
    found = _KINDS.get(data[0] & 7)
    if found is None:
        raise ParseError("reserved relay message type")
    kind, to_phone = found
    reference = data[1]
    if kind is RelayKind.DATA:
        originator, at = _relay_address(data, 2)
        destination, at = _relay_address(data, at)
        tpdu, _ = _counted(data, at, LONGEST_TPDU)
        return Relay(kind, to_phone, reference, tpdu, 0, originator, destination)
    at = 2
    cause = 0
    if kind is RelayKind.ERROR:
        value, at = _counted(data, at, 2)
        if not value:
            raise ParseError("relay error without cause")
        cause = value[0] & 127
    tpdu = b""
    if at < len(data) and data[at] == _USER_DATA:
        tpdu, _ = _counted(data, at + 1, LONGEST_TPDU)
    return Relay(kind, to_phone, reference, tpdu, cause)


def format_relay(relay: Relay) -> bytes:
    """The octets of a relay message; the pair of ``parse_relay``."""
    head = bytes((relay.kind << 1 | relay.to_phone, relay.reference))
    if relay.kind is RelayKind.DATA:
        addresses = _format_relay_address(relay.originator) + _format_relay_address(relay.destination)
        return head + addresses + bytes((len(relay.tpdu),)) + relay.tpdu
    if relay.kind is RelayKind.ERROR:
        head += bytes((1, relay.cause))
    return head


def acknowledgement(of: Relay, cause: int = 0) -> Relay:
    """The answer to a message, the other way: that it was taken over, or why not."""
    if not cause:
        return Relay(RelayKind.ACK, not of.to_phone, of.reference)
    return Relay(RelayKind.ERROR, not of.to_phone, of.reference, cause=cause if cause in CAUSES else 111)


def _counted(data: bytes, at: int, longest: int) -> tuple[bytes, int]:
    """A value behind the octet of its length, and where the next one begins."""
    if at >= len(data):
        raise ParseError("relay message cut short")
    end = at + 1 + data[at]
    if data[at] > longest:
        raise ParseError("relay element too long")
    if end > len(data):
        raise ParseError("relay message cut short")
    return data[at + 1 : end], end


def _relay_address(data: bytes, at: int) -> tuple[Address | None, int]:
    value, end = _counted(data, at, LONGEST_ADDRESS)
    if not value:
        return None, end
    return Address(value[0], parse_digits(value[1:], 2 * len(value) - 2)), end


def _format_relay_address(address: Address | None) -> bytes:
    if address is None:
        return b"\0"
    digits = format_digits(address.text)
    return bytes((1 + len(digits), address.kind)) + digits


# transfer layer


def middle_address(number: str) -> Address:
    """The address of a middle number as a trunk wants it written: national, or with 86 or +86 before it."""
    if number.startswith("700"):
        return Address(_NATIONAL, number)
    return Address(_INTERNATIONAL, number.removeprefix("+"))


def parse_short_text(relay: Relay, now_ms: int) -> ShortText:
    """What an RP-DATA carries: the SMS-SUBMIT of a phone, or the SMS-DELIVER of a network.

    ParseError 400 for what cannot be read, 415 for what is no text or not for people: commands, data for an
    application, a SIM or a service, compressed text.
    """
    reader = _Reader(relay.tpdu)
    first = reader.octet()
    kind = first & 3
    headed = bool(first & 0x40)
    validity = 0
    if relay.to_phone:
        if kind != 0:
            raise ParseError("not an SMS-DELIVER", 415)
        party = reader.address()
        identifier, scheme = reader.octet(), reader.octet()
        reader.take(7)  # when another centre took it in: we say when we did
    else:
        if kind != 1:
            raise ParseError("not an SMS-SUBMIT", 415)
        reader.octet()  # the phone's own reference
        party = reader.address()
        identifier, scheme = reader.octet(), reader.octet()
        validity = _validity(reader, first >> 3 & 3, now_ms)
    if identifier not in _FOR_PEOPLE:
        raise ParseError("for a device or a service, not for people", 415)
    coding = _coding(scheme)
    text, concat = _user_data(reader, coding, headed)
    return ShortText(text, coding, concat, party, validity)


def deliver(text: ShortText, shown: str, sent_ms: int) -> bytes:
    """The SMS-DELIVER that tells a phone this text, from the middle number ``shown`` as its trunk wants it written.

    ``sent_ms`` is when it was taken in, UTC milliseconds. ParseError 415 for a text that its coding cannot say.
    """
    header = _concat_header(text.concat)
    address = middle_address(shown)
    # §9.2.2.1: SMS-DELIVER, no more messages waiting, no status report
    first = 0x04 | (0x40 if header else 0)
    data, length = _coded(text, header)
    if len(data) > USER_DATA_OCTETS:
        raise ParseError("text too long for one short message", 413)
    head = bytes((first, len(address.text), address.kind)) + format_digits(address.text)
    return head + bytes((0, text.coding)) + _timestamp(sent_ms) + bytes((length,)) + data


class _Reader:
    """Octets from the left; ParseError when there are too few."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def octet(self) -> int:
        return self.take(1)[0]

    def take(self, count: int) -> bytes:
        taken = self._data[self._at : self._at + count]
        if len(taken) < count:
            raise ParseError("short message cut short")
        self._at += count
        return taken

    def address(self) -> Address:
        """§9.1.2.5: the length counts semi-octets."""
        length, kind = self.octet(), self.octet()
        if length > 20:
            raise ParseError("address too long")
        value = self.take((length + 1) // 2)
        if kind >> 4 & 7 == _ALPHANUMERIC:
            return Address(kind, decode_septets(unpack_septets(value, length * 4 // 7)))
        return Address(kind, parse_digits(value, length))


def _validity(reader: _Reader, form: int, now_ms: int) -> int:
    """§9.2.3.12, in seconds; what cannot be told is 0. §9.2.3.3: 2 is relative, 1 enhanced, 3 absolute."""
    if form == 0:
        return 0
    if form == 2:
        value = reader.octet()
        if value <= 143:
            return (value + 1) * 300
        if value <= 167:
            return 43_200 + (value - 143) * 1800
        if value <= 196:
            return (value - 166) * 86_400
        return (value - 192) * 604_800
    octets = reader.take(7)
    if form == 1:
        return 0
    at_ms = _parse_timestamp(octets)
    return max(1, (at_ms - now_ms) // 1000) if at_ms else 0


def _coding(scheme: int) -> Coding:
    """TS 23.038 §4."""
    group = scheme >> 4
    if group < 8:
        if scheme & 0x20:
            raise ParseError("compressed text", 415)
        alphabet = scheme >> 2 & 3
        if scheme & 0x10 and scheme & 3 == 2:
            raise ParseError("for a SIM", 415)
        if alphabet == 0:
            return Coding.SEPTETS
        if alphabet == 2:
            return Coding.UCS2
    elif group == 13:
        return Coding.SEPTETS
    elif group == 14:
        return Coding.UCS2
    elif group == 15 and scheme & 4 == 0 and scheme & 3 != 2:
        return Coding.SEPTETS
    raise ParseError("not a text", 415)


# §9.2.3.9: a plain message, and the seven that replace an earlier one of their kind
_FOR_PEOPLE: Final = frozenset((0x00, *range(0x41, 0x48)))

# information elements of the user data header (§9.2.3.24) that change what the text is or where it goes
_REFUSED_ELEMENTS: Final = frozenset((0x04, 0x05, 0x24, 0x25, *range(0x70, 0x80)))


def _user_data(reader: _Reader, coding: Coding, headed: bool) -> tuple[str, Concat | None]:
    length = reader.octet()
    octets = reader.take((length * 7 + 7) // 8 if coding is Coding.SEPTETS else length)
    if len(octets) > USER_DATA_OCTETS:
        raise ParseError("user data too long")
    header_octets = 0
    concat = None
    if headed:
        if not octets:
            raise ParseError("user data without its header")
        header_octets = 1 + octets[0]
        if header_octets > len(octets):
            raise ParseError("user data header cut short")
        concat = _elements(octets[1:header_octets])
    if coding is Coding.SEPTETS:
        skipped = (header_octets * 8 + 6) // 7
        if skipped > length:
            raise ParseError("user data header cut short")
        return decode_septets(unpack_septets(octets, length - skipped, skipped)), concat
    content = octets[header_octets:]
    if len(content) % 2:
        raise ParseError("half a character")
    return content.decode("utf-16-be", "surrogatepass"), concat


def _elements(header: bytes) -> Concat | None:
    """Of all elements only those that number the parts of a long message are kept; of several the last counts
    (§9.2.3.24)."""
    concat = None
    at = 0
    while at < len(header):
        if at + 2 > len(header) or at + 2 + header[at + 1] > len(header):
            raise ParseError("user data header cut short")
        identifier, length = header[at], header[at + 1]
        value = header[at + 2 : at + 2 + length]
        at += 2 + length
        if identifier in _REFUSED_ELEMENTS:
            raise ParseError("not for people", 415)
        if (identifier, length) in ((0x00, 3), (0x08, 4)):
            total, number = value[-2], value[-1]
            if 0 < number <= total:  # else the element is to be ignored (§9.2.3.24.1)
                concat = Concat(int.from_bytes(value[:-2], "big"), total, number, identifier == 0x08)
    return concat


def _concat_header(concat: Concat | None) -> bytes:
    if concat is None:
        return b""
    if concat.wide:
        return bytes((6, 0x08, 4)) + concat.reference.to_bytes(2, "big") + bytes((concat.total, concat.number))
    return bytes((5, 0x00, 3, concat.reference, concat.total, concat.number))


def _coded(text: ShortText, header: bytes) -> tuple[bytes, int]:
    """The user data with its header, and its length as the length octet counts it."""
    if text.coding is Coding.UCS2:
        data = header + text.text.encode("utf-16-be", "surrogatepass")
        return data, min(len(data), 255)
    septets = encode_septets(text.text)
    skipped = (len(header) * 8 + 6) // 7
    packed = pack_septets(septets, skipped)
    return header + packed[len(header) :], min(skipped + len(septets), 255)


# China's time, in quarters of an hour
_ZONE: Final = 32


def _timestamp(utc_ms: int) -> bytes:
    """§9.2.3.11, in China's time."""
    days, seconds = divmod(utc_ms // 1000 + _ZONE * 900, 86_400)
    year, month, day = _date_of(days)
    fields = (year % 100, month, day, seconds // 3600, seconds // 60 % 60, seconds % 60, _ZONE)
    return format_digits("".join([f"{value:02}" for value in fields]))


def _parse_timestamp(octets: bytes) -> int:
    """UTC milliseconds, 0 when it is none."""
    values = [(octet & 15) * 10 + (octet >> 4) for octet in octets]
    zone = octets[6]
    quarters = (zone & 7) * 10 + (zone >> 4)
    year, month, day, hour, minute, second = values[0] + 2000, *values[1:6]
    days = _days_until(year, month, day)
    if _date_of(days) != (year, month, day) or hour > 23 or minute > 59 or second > 59:
        return 0
    return (days * 86_400 + hour * 3600 + minute * 60 + second - (-quarters if zone & 8 else quarters) * 900) * 1000


# The calendar by itself: a module that could also read the clock has no place here. Years begin in March, so that the
# day that some have and others have not comes last.
_DAYS_TO_1970: Final = 719_468
_CYCLE: Final = 146_097  # days of 400 years


def _days_until(year: int, month: int, day: int) -> int:
    """Days from 1970 to a date; of what is no date some number that is another's."""
    year -= month <= 2
    of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return 365 * year + year // 4 - year // 100 + year // 400 + of_year - _DAYS_TO_1970


def _date_of(days: int) -> tuple[int, int, int]:
    """(year, month, day); the inverse of ``_days_until``."""
    cycle, of_cycle = divmod(days + _DAYS_TO_1970, _CYCLE)
    year = (of_cycle - of_cycle // 1460 + of_cycle // 36_524 - of_cycle // 146_096) // 365
    of_year = of_cycle - (365 * year + year // 4 - year // 100)
    shifted = (5 * of_year + 2) // 153
    month = (shifted + 2) % 12 + 1
    return 400 * cycle + year + (month <= 2), month, of_year - (153 * shifted + 2) // 5 + 1
