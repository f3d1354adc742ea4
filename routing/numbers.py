"""Numbers of the service: middle numbers and subscribers of China's plan, in every spelling that carriers send.

Inside the switch a middle number is 15 national digits (`700` + 12) and a subscriber is E.164 (`+8613800138000`).
Whatever cannot be brought into one of these two forms is not a number for us (R3, R13).
"""

import re
from enum import StrEnum
from urllib.parse import unquote

# A user part with parameters is far shorter; longer text is not worth decoding.
LONGEST_TEXT = 256

_COUNTRY = r"(?:\+86|0086|86)"
_MIDDLE = re.compile(rf"{_COUNTRY}?(700[0-9]{{12}})")
_MIDDLE_ZERO = re.compile(r"0(700[0-9]{12})")

# Mobile numbers are 11 digits from 13 to 19. Area codes are 10, 2x, or three digits of which none ends in 00: those
# are the service ranges 400, 700 and 800. Two-digit areas have 8-digit numbers, the others 7 or 8; none begins with 0.
_MOBILE = r"1[3-9][0-9]{9}"
_FIXED = r"(?:10|2[0-9])[1-9][0-9]{7}|[3-9](?!00)[0-9]{2}[1-9][0-9]{6,7}"
_SUBSCRIBER = re.compile(rf"{_COUNTRY}({_MOBILE}|{_FIXED})|({_MOBILE})|0({_FIXED})")

_NOTHING_RIDING = re.compile(r"\+?[0-9]*")

# RFC 3966 section 3, visual-separator, and the space that some carriers put in its place.
_SEPARATORS = str.maketrans("", "", "-.() ")

# Fewer digits than this would show more than they hide; more are no telephone number.
_SHORTEST_MASKED = 10
_LONGEST_MASKED = 18

# In any text, ten to seventeen digits that stand alone are a number, with or without its country code, but for middle
# numbers and their blocks, which are nobody's; identifiers hold letters.
_IN_TEXT = re.compile(r"(?<![0-9A-Za-z])(?!700[0-9]{8}(?:[0-9]{4})?(?![0-9]))\+?[0-9]{10,17}(?![0-9A-Za-z])")


class NumberForm(StrEnum):
    """How a trunk wants China's numbers written."""

    NATIONAL = "national"
    E164 = "+86"
    INTERNATIONAL = "86"


def _plain(text: str) -> str | None:
    """Take off what may ride on a user part: parameters, percent escapes, visual separators.

    A number local to another context than +86 is not of our plan (RFC 3966 section 5.1.5): None.
    """
    if len(text) > LONGEST_TEXT:
        return None
    if _NOTHING_RIDING.fullmatch(text):
        return text
    number, *parameters = text.split(";")
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "phone-context" and unquote(value).strip() != "+86":
            return None
    return unquote(number).translate(_SEPARATORS)


def parse_middle(text: str, accept_zero: bool = False) -> str | None:
    """Return the 15 national digits of a middle number, or None for any other text (R3).

    Accepts the aliases `+86`, `86` and `0086`, and `0700…` only with `accept_zero` (a setting of the trunk).
    """
    match = _MIDDLE.fullmatch(text)
    if match is not None:
        return match[1]
    plain = _plain(text)
    if plain is None:
        return None
    match = _MIDDLE.fullmatch(plain)
    if match is None and accept_zero:
        match = _MIDDLE_ZERO.fullmatch(plain)
    return None if match is None else match[1]


def parse_subscriber(text: str) -> str | None:
    """Return a subscriber of China as E.164 (`+86…`), or None for a foreign, malformed or service number (R13).

    Accepts `+86`, `86` and `0086`, a bare mobile number, and a fixed line as `0` + area code + number.
    """
    match = _SUBSCRIBER.fullmatch(text)
    if match is None:
        plain = _plain(text)
        match = None if plain is None else _SUBSCRIBER.fullmatch(plain)
        if match is None:
            return None
    return f"+86{match[match.lastindex or 0]}"


def is_middle(number: str) -> bool:
    """Say whether a number as kept (15 digits, or E.164) is a middle one: no subscriber's digits begin with 700."""
    return number.startswith(("700", "+86700"))


def format_middle(x: str, form: NumberForm) -> str:
    """Write a middle number (15 digits) as a trunk wants it. 86 + 15 digits is over E.164's limit, hence a setting."""
    if form is NumberForm.NATIONAL:
        return x
    return form.value + x


def format_subscriber(e164: str, form: NumberForm) -> str:
    """Write a subscriber (`+86…`) as a trunk wants it; the national form of a fixed line begins with its trunk 0."""
    digits = bare_digits(e164)
    if form is not NumberForm.NATIONAL:
        return form.value + digits
    return digits if _is_mobile(digits) else f"0{digits}"


def bare_digits(e164: str) -> str:
    """Return the digits that every spelling of a subscriber contains: no `+86`, no trunk 0. ValueError without +86."""
    if not e164.startswith("+86"):
        raise ValueError("a subscriber is kept as +86 and its digits")
    return e164[3:]


def mask(number: str) -> str:
    """Return a number as logs may show it: `138****8000`. Text that is too short or no number becomes `****`."""
    if not number:
        return ""
    e164 = parse_subscriber(number)
    digits = bare_digits(e164) if e164 is not None else number.removeprefix("+")
    if not (digits.isascii() and digits.isdigit() and _SHORTEST_MASKED <= len(digits) <= _LONGEST_MASKED):
        return "****"
    return f"{digits[:3]}{'*' * (len(digits) - 7)}{digits[-4:]}"


def mask_text(text: str) -> str:
    """Return the text with each number in it masked: the last guard of logs and error texts."""
    return _IN_TEXT.sub(lambda found: mask(found[0]), text)


def _is_mobile(digits: str) -> bool:
    return digits[0] == "1" and digits[1] != "0"
