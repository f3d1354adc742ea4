"""How short messages spell numbers and text: semi-octets (3GPP TS 23.040 §9.1.2.3, TS 24.008 §10.5.4.7), the 7-bit
alphabet and its packing (TS 23.038 §6.1.2, §6.2.1)."""

from typing import Final

from b2bua.sip.errors import ParseError

__all__ = [
    "decode_septets",
    "encode_septets",
    "format_digits",
    "pack_septets",
    "parse_digits",
    "spellings",
    "unpack_septets",
]

# TS 23.038 §6.2.1: the default alphabet in the order of its codes; 0x1B stands for the escape, which is no character
ALPHABET: Final = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
# §6.2.1.1: what follows an escape
EXTENSION: Final = {
    0x0A: "\f", 0x14: "^", 0x28: "{", 0x29: "}", 0x2F: "\\", 0x3C: "[", 0x3D: "~", 0x3E: "]", 0x40: "|", 0x65: "€",
}  # fmt: skip
ESCAPE: Final = 0x1B
SPACE: Final = 0x20

_CODES: Final = {character: code for code, character in enumerate(ALPHABET) if code != ESCAPE}
_EXTENDED: Final = {character: code for code, character in EXTENSION.items()}

# TS 23.040 §9.1.2.3: 15 fills the last semi-octet
_DIGITS: Final = "0123456789*#abc"
_FILLER: Final = 15


def parse_digits(data: bytes, count: int) -> str:
    """The first ``count`` semi-octets as digits; of a filler in the last place nothing is shown. ParseError for one
    anywhere else."""
    halves = [half for octet in data for half in (octet & 15, octet >> 4)][:count]
    if len(halves) < count:
        raise ParseError("address cut short")
    if halves and halves[-1] == _FILLER:
        halves.pop()
    if _FILLER in halves:
        raise ParseError("filler inside an address")
    return "".join([_DIGITS[half] for half in halves])


def format_digits(digits: str) -> bytes:
    """Digits as semi-octets; the pair of ``parse_digits``."""
    halves = [_DIGITS.index(digit) for digit in digits]
    if len(halves) % 2:
        halves.append(_FILLER)
    return bytes([low | high << 4 for low, high in zip(halves[::2], halves[1::2], strict=True)])


def unpack_septets(data: bytes, count: int, skipped: int = 0) -> bytes:
    """``count`` septets of packed octets, after ``skipped`` septets (those that a header takes). ParseError when there
    are fewer."""
    if (skipped + count) * 7 > len(data) * 8:
        raise ParseError("user data cut short")
    stream = int.from_bytes(data, "little") >> (7 * skipped)
    return bytes([(stream >> (7 * index)) & 127 for index in range(count)])


def pack_septets(septets: bytes, skipped: int = 0) -> bytes:
    """Septets as octets, with room for ``skipped`` septets before them left zero; the pair of ``unpack_septets``."""
    stream = 0
    for index, septet in enumerate(septets):
        stream |= septet << (7 * (skipped + index))
    return stream.to_bytes((7 * (skipped + len(septets)) + 7) // 8, "little")


def decode_septets(septets: bytes) -> str:
    """Text of the default alphabet. An escape before a code that has no extension shows the code of the main table, and
    a trailing one a space (§6.2.1.1)."""
    text: list[str] = []
    escaped = False
    for septet in septets:
        if escaped:
            escaped = False
            text.append(" " if septet == ESCAPE else EXTENSION.get(septet) or ALPHABET[septet])
        elif septet == ESCAPE:
            escaped = True
        else:
            text.append(ALPHABET[septet])
    return "".join(text) + " " * escaped


def encode_septets(text: str) -> bytes:
    """The septets of a text; ParseError for a character that the alphabet lacks."""
    septets: list[int] = []
    for character in text:
        code = _CODES.get(character)
        if code is not None:
            septets.append(code)
            continue
        extended = _EXTENDED.get(character)
        if extended is None:
            raise ParseError("a character outside the 7-bit alphabet", 415)
        septets += (ESCAPE, extended)
    return bytes(septets)


def spellings(digits: str) -> tuple[bytes, ...]:
    """Every other way than plain text in which these digits may stand in a short message: semi-octets in both
    alignments, UCS-2, and 7-bit packed at each of its bit offsets. Whole octets only, what stands at the ends is left
    out."""
    found = [digits.encode("utf-16-be")]
    for start in (0, 1):  # as the first half of an octet, as the second
        inner = digits[start : start + (len(digits) - start) // 2 * 2]
        found.append(format_digits(inner))
    septets = encode_septets(digits)
    for skipped in range(8):
        packed = pack_septets(septets, skipped)
        first = (7 * skipped + 7) // 8
        last = 7 * (skipped + len(septets)) // 8
        found.append(packed[first:last])
    return tuple(found)
