"""The credit file of a business user (R19): what it did against the rules, by type and day, to be shared."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from routing.errors import BindingError
from routing.reason import Reason
from routing.windows import CHINA_MS, DAY_MS

__all__ = ["VIOLATIONS", "CreditEntry", "CreditFile", "Source", "Violation", "china_day", "day_start_ms", "summed"]


# From 1 March of the year 0 on, in which the calendar repeats itself every 400 years.
DAYS_TO_1970: Final = 719_468
DAYS_OF_400_YEARS: Final = 146_097

_DAY: Final = re.compile(r"([0-9]{4})-([01][0-9])-([0-3][0-9])")


class Violation(StrEnum):
    """Types of violations. CAP: attempts beyond a cap. FAN_OUT: one caller, too many middle numbers. BLOCKED: it was
    blocked, or attempts of blocked parties. HOURS and SCOPE: attempts outside the hours, or beyond what its scenario
    allows. CONTENT: messages that were refused for what they say. The others are noted by people."""

    CAP = "cap"
    FAN_OUT = "fan_out"
    BLOCKED = "blocked"
    HOURS = "hours"
    SCOPE = "scope"
    CONTENT = "content"
    VERIFICATION = "verification"
    COMPLAINT = "complaint"
    MARKETING = "marketing"
    OTHER = "other"


class Source(StrEnum):
    """Where an entry comes from: counted from the records of a day, told by the switch, a block that was ordered, or
    a person."""

    RECORDS = "records"
    SWITCH = "switch"
    BLOCK = "block"
    MANUAL = "manual"


# Which refusals in the records are violations of the business user whose binding it was.
VIOLATIONS: Final[dict[str, Violation]] = {
    Reason.CALLER_BLOCKED: Violation.BLOCKED,
    Reason.CALLEE_BLOCKED: Violation.BLOCKED,
    Reason.NUMBER_BLOCKED: Violation.BLOCKED,
    Reason.BLOCK_BLOCKED: Violation.BLOCKED,
    Reason.BINDING_BLOCKED: Violation.BLOCKED,
    Reason.USER_BLOCKED: Violation.BLOCKED,
    Reason.PROVIDER_BLOCKED: Violation.BLOCKED,
    Reason.CALLER_CAP: Violation.CAP,
    Reason.BINDING_CAP: Violation.CAP,
    Reason.NUMBER_CAP: Violation.CAP,
    Reason.SCENARIO_CAP: Violation.CAP,
    Reason.USER_CAP: Violation.CAP,
    Reason.FAN_OUT: Violation.FAN_OUT,
    Reason.OUTSIDE_HOURS: Violation.HOURS,
    Reason.MESSAGES_BARRED: Violation.SCOPE,
    Reason.VERIFICATION_REFUSED: Violation.VERIFICATION,
    # of messages, by the switch (R15)
    "verification_code": Violation.CONTENT,
    "service_sender": Violation.CONTENT,
    "keyword": Violation.CONTENT,
    "phone_number": Violation.CONTENT,
}


@dataclass(frozen=True, slots=True)
class CreditEntry:
    """``times`` that something happened on one day in China (`2026-11-22`); negative takes something back."""

    number: int
    business_user: str
    day: str
    violation: Violation
    times: int
    source: Source
    note: str
    by: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class CreditFile:
    """What stands against a business user between two days, both included; '' is without bound."""

    business_user: str
    since_day: str
    until_day: str
    totals: dict[str, int]
    entries: tuple[CreditEntry, ...]


def summed(entries: Iterable[CreditEntry]) -> dict[str, int]:
    """The times of each type of violation, in the order of the types."""
    totals: dict[str, int] = {}
    for entry in entries:
        totals[entry.violation] = totals.get(entry.violation, 0) + entry.times
    return {violation.value: totals[violation] for violation in Violation if violation in totals}


def china_day(at_ms: int) -> str:
    """The day in China of an instant (UTC ms), such as 2026-11-22."""
    # Years begin with March here, so that the day of the leap year is the last one of its year.
    days = (at_ms + CHINA_MS) // DAY_MS + DAYS_TO_1970
    era, day = divmod(days, DAYS_OF_400_YEARS)
    year = (day - day // 1460 + day // 36_524 - day // 146_096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153
    day -= (153 * month + 2) // 5
    month = month + 3 if month < 10 else month - 9
    return f"{era * 400 + year + (month <= 2):04d}-{month:02d}-{day + 1:02d}"


def day_start_ms(day: str, field: str = "day") -> int:
    """When a day begins in China, UTC ms; BindingError when the text is no day such as 2026-11-22."""
    match = _DAY.fullmatch(day)
    if match is None:
        raise BindingError(field, "form", "is no day such as 2026-11-22")
    year, month, date = int(match[1]), int(match[2]), int(match[3])
    year -= month <= 2
    era, year = divmod(year, 400)
    month = month - 3 if month > 2 else month + 9
    days = era * DAYS_OF_400_YEARS + year * 365 + year // 4 - year // 100 + (153 * month + 2) // 5 + date - 1
    start = (days - DAYS_TO_1970) * DAY_MS - CHINA_MS
    if china_day(start) != day:
        raise BindingError(field, "form", "is no day such as 2026-11-22")
    return start
