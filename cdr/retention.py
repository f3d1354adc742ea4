"""How long records are kept (R10): nothing is deleted before 731 days, whatever a setting says.

Records stand in one file for each UTC month of arrival, and a file goes as a whole.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

SHORTEST_DAYS = 731
# A call of the last moment of a month may end, or be given up, some days later; its record counts from then.
SLACK_DAYS = 7
_LONGEST_MONTH_DAYS = 31
_LAST_MS = 253_402_300_799_999  # the end of year 9999, where datetime ends


class RetentionError(ValueError):
    """A setting that would delete records too early."""


def check_days(days: int) -> int:
    """`days` itself. Raises RetentionError when it is less than the law asks for."""
    if days < SHORTEST_DAYS:
        raise RetentionError(f"records are kept for at least {SHORTEST_DAYS} days (R10), not {days}")
    return days


def month_of(instant_ms: int) -> str:
    """The UTC month of an instant, as "2026-11"."""
    instant = datetime.fromtimestamp(min(max(instant_ms, 0), _LAST_MS) // 1000, UTC)
    return f"{instant.year:04d}-{instant.month:02d}"


def expired_months(months: Iterable[str], now_ms: int, days: int = SHORTEST_DAYS) -> tuple[str, ...]:
    """Those of `months` that may be deleted, oldest first. Raises RetentionError.

    Clock and shelf must agree: a month goes only when its end lies `days` (and some slack) behind `now_ms` and so many
    later months have records that they span `days` too. So a clock that leaps ahead deletes nothing.
    """
    check_days(days)
    ordered = sorted(months)
    limit = month_of(now_ms - round(timedelta(days=days + SLACK_DAYS) / timedelta(milliseconds=1)))
    later_needed = -(-days // _LONGEST_MONTH_DAYS)
    return tuple(
        month for index, month in enumerate(ordered) if month < limit and len(ordered) - 1 - index >= later_needed
    )
