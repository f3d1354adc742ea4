"""Times of day at which something is allowed, by the clock in China: UTC+8 all year, so no zone database is needed."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from routing.errors import BindingError

__all__ = ["CHINA_MS", "DAY_MS", "Window", "format_window", "open_at", "parse_window", "parse_windows"]

CHINA_MS: Final = 8 * 3_600_000
DAY_MS: Final = 86_400_000
MINUTE_MS: Final = 60_000
DAY_MINUTES: Final = 1440
# 1970-01-01 was a Thursday.
FIRST_WEEKDAY: Final = 3
# A week has no use for more, and each is looked at for every call.
MOST_WINDOWS: Final = 28

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_FORM: Final = re.compile(r"(?:([a-z]{3})(?:-([a-z]{3}))? )?([0-2][0-9]):([0-5][0-9])-([0-2][0-9]):([0-5][0-9])")


@dataclass(frozen=True, slots=True)
class Window:
    """On the days from ``first`` to ``last`` (0 is Monday; past Sunday it goes on with Monday), from the minute
    ``start`` of the day on, before the minute ``end``; an ``end`` that is not later lies on the following day."""

    first: int
    last: int
    start: int
    end: int

    def holds(self, weekday: int, minute: int) -> bool:
        """Whether a minute of a day (0 is Monday) lies in it."""
        if self.start < self.end:
            return self._on(weekday) and self.start <= minute < self.end
        return (self._on(weekday) and minute >= self.start) or (self._on((weekday - 1) % 7) and minute < self.end)

    def _on(self, weekday: int) -> bool:
        return (weekday - self.first) % 7 <= (self.last - self.first) % 7


def open_at(windows: Sequence[Window], now_ms: int) -> bool:
    """Whether an instant (UTC ms) lies in one of the windows; without any, always."""
    if not windows:
        return True
    china = now_ms + CHINA_MS
    weekday = (china // DAY_MS + FIRST_WEEKDAY) % 7
    minute = china % DAY_MS // MINUTE_MS
    return any(window.holds(weekday, minute) for window in windows)


def parse_window(text: str, field: str = "windows") -> Window:
    """Read ``08:00-22:00``, ``mon-fri 08:00-22:00`` or ``sat 22:00-06:00``; BindingError for anything else."""
    match = _FORM.fullmatch(text.strip().lower())
    if match is None:
        raise BindingError(field, "form", "write a window as mon-fri 08:00-22:00, or 08:00-22:00 for every day")
    first, last = match[1] or "mon", match[2] or match[1] or "sun"
    for day in (first, last):
        if day not in _DAYS:
            raise BindingError(field, "form", f"the days are {', '.join(_DAYS)}")
    start, end = int(match[3]) * 60 + int(match[4]), int(match[5]) * 60 + int(match[6])
    if start >= DAY_MINUTES or end > DAY_MINUTES:
        raise BindingError(field, "form", "the hours of a day go from 00:00 to 24:00")
    if start == end:
        raise BindingError(field, "form", "begins and ends at the same minute; for a whole day write 00:00-24:00")
    return Window(_DAYS.index(first), _DAYS.index(last), start, end)


def parse_windows(texts: Iterable[object], field: str = "windows") -> tuple[Window, ...]:
    """Read a list of windows; BindingError names the one at fault."""
    windows: list[Window] = []
    for index, text in enumerate(texts):
        if index == MOST_WINDOWS:
            raise BindingError(field, "form", f"there are more than {MOST_WINDOWS}")
        if not isinstance(text, str):
            raise BindingError(f"{field}[{index}]", "form", "must be a text such as mon-fri 08:00-22:00")
        windows.append(parse_window(text, f"{field}[{index}]"))
    return tuple(windows)


def format_window(window: Window) -> str:
    """The text of a window; the pair of ``parse_window``."""
    first, last = _DAYS[window.first], _DAYS[window.last]
    days = "" if (window.last - window.first) % 7 == 6 else f"{first} " if first == last else f"{first}-{last} "
    start, end = window.start, window.end
    return f"{days}{start // 60:02}:{start % 60:02}-{end // 60:02}:{end % 60:02}"
