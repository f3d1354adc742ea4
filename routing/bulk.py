"""Bindings in files, one a line: CSV with a header, or JSON Lines. Lines become requests, bindings become lines.

Columns (keys) are those of a request; the ones that an export has besides are let pass by an import, others are
refused.
"""

import csv
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from enum import StrEnum
from typing import Final

from routing.binding import BindingDetail, BindingRequest, Direction, Mode
from routing.errors import BindingError
from routing.numbers import mask

__all__ = ["COLUMNS", "Fault", "FileFormat", "Lines", "export_header", "export_line", "fault_line", "row_of"]

# A request with every field at its longest is some 2 KiB; a longer line is no request and is not parsed.
LONGEST_LINE: Final = 16_384

_INTEGERS: Final = frozenset({"expires_ms", "starts_ms", "ring_seconds", "longest_seconds", "most_calls"})
_REQUIRED: Final = tuple(field.name for field in fields(BindingRequest) if field.default is MISSING)
_ASKED: Final = frozenset(field.name for field in fields(BindingRequest))
# SQLite and JSON readers elsewhere have no larger integers.
_LARGEST: Final = 2**53

COLUMNS: Final = (
    "id",
    "state",
    "mode",
    "x",
    "y",
    "a",
    "b",
    "group",
    "direction",
    "provider",
    "business_user",
    "scenario",
    "order_id",
    "industrial_id",
    "real_name",
    "consent",
    "starts_ms",
    "expires_ms",
    "ring_seconds",
    "longest_seconds",
    "most_calls",
    "client_token",
    "created_ms",
    "ended_ms",
    "ended_reason",
    "revision",
)
"""What a binding is exported as."""

_WORD: Final = re.compile(r"[A-Za-z_]+")
_KNOWN: Final = _ASKED | frozenset(COLUMNS)


class FileFormat(StrEnum):
    """How a file holds bindings."""

    CSV = "csv"
    JSONL = "jsonl"


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a line was refused, with its number (from 1 on) in the file. Nothing in it is a real number."""

    line: int
    field: str
    rule: str
    message: str


class Lines:
    """Reads one file. Every record is one line: no value of a request may hold a line end."""

    def __init__(self, form: FileFormat) -> None:
        self._form = form
        self._columns: tuple[str, ...] = ()

    def read(self, line: str) -> BindingRequest | None:
        """Return the request in a line, None where there is none: an empty line, the header of a CSV file.

        BindingError when it is no request. One about the field "header" is about the whole file.
        """
        text = line.strip("\r\n").removeprefix("\ufeff")
        if not text.strip():
            return None
        if len(text) > LONGEST_LINE:
            raise BindingError("line", "form", f"is longer than {LONGEST_LINE} characters")
        if self._form is FileFormat.JSONL:
            return request_of(_object(text))
        cells = _cells(text)
        if not self._columns:
            self._columns = _header(cells)
            return None
        if len(cells) != len(self._columns):
            raise BindingError("line", "form", f"has {len(cells)} cells, the header {len(self._columns)}")
        return request_of(dict(zip(self._columns, cells, strict=True)), texts=True)


def request_of(row: Mapping[str, object], *, texts: bool = False) -> BindingRequest:
    """Return the request that a row describes; with ``texts`` its integers are texts, and '' is a field's default."""
    unknown = sorted(row.keys() - _KNOWN)
    if unknown:
        raise BindingError(_shown(unknown[0]), "form", "is no field of a binding")
    values: dict[str, object] = {}
    for name in _ASKED & row.keys():
        value = row[name]
        if not texts or value != "":
            values[name] = _READ.get(name, _text)(name, value)
    for name in _REQUIRED:
        if name not in values:
            if name == "expires_ms":
                raise BindingError(name, "form", "must be given")
            values[name] = ""  # which rule that breaks, if any, is the gate's to say
    return BindingRequest(**values)  # type: ignore[arg-type]


def row_of(detail: BindingDetail, now_ms: int, *, reveal: bool) -> dict[str, str | int]:
    """Return a binding as it is exported and shown: COLUMNS, with real numbers masked unless ``reveal``."""
    binding = detail.binding
    shown: Callable[[str], str] = str if reveal else mask
    return {
        "id": binding.id,
        "state": binding.state(now_ms).value,
        "mode": binding.mode.value,
        "x": binding.x,
        "y": binding.y,
        "a": shown(binding.a),
        "b": shown(binding.b),
        "group": binding.group,
        "direction": binding.direction.value,
        "provider": binding.provider,
        "business_user": binding.business_user,
        "scenario": binding.scenario,
        "order_id": binding.order_id,
        "industrial_id": binding.industrial_id,
        "real_name": detail.real_name,
        "consent": detail.consent,
        "starts_ms": binding.starts_ms,
        "expires_ms": binding.expires_ms,
        "ring_seconds": binding.ring_seconds,
        "longest_seconds": binding.longest_seconds,
        "most_calls": binding.most_calls,
        "client_token": detail.client_token,
        "created_ms": detail.created_ms,
        "ended_ms": binding.ended_ms,
        "ended_reason": detail.ended_reason,
        "revision": detail.revision,
    }


def export_header(form: FileFormat) -> str:
    """Return what stands before the first binding of a file."""
    return _csv_line(COLUMNS) if form is FileFormat.CSV else ""


def export_line(row: Mapping[str, object], form: FileFormat) -> str:
    """Return the line of a row, with its end."""
    if form is FileFormat.CSV:
        return _csv_line(tuple(row.values()))
    return json.dumps(row, ensure_ascii=False) + "\n"


def fault_line(fault: Fault, form: FileFormat) -> str:
    """Return the line of an error file: line number, field, rule and message."""
    row = {"line": fault.line, "field": fault.field, "rule": fault.rule, "message": fault.message}
    return export_line(row, form)


def fault_header(form: FileFormat) -> str:
    """Return what stands before the first fault of an error file."""
    return _csv_line(("line", "field", "rule", "message")) if form is FileFormat.CSV else ""


class _Written:
    """What a csv.writer writes to: the last line."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        self.text = text


def _csv_line(cells: Sequence[object]) -> str:
    written = _Written()
    csv.writer(written, lineterminator="\n").writerow(cells)
    return written.text


def _cells(text: str) -> list[str]:
    try:
        rows = list(csv.reader([text], strict=True))
    except csv.Error as error:
        raise BindingError("line", "form", f"is no CSV: {error}") from None
    return rows[0]


def _header(cells: Sequence[str]) -> tuple[str, ...]:
    columns = tuple(cell.strip() for cell in cells)
    for column in columns:
        if column not in _KNOWN:
            raise BindingError("header", "form", f"{_shown(column)!r} is no field of a binding")
    if len(set(columns)) < len(columns):
        raise BindingError("header", "form", "names a column twice")
    missing = [name for name in _REQUIRED if name != "x" and name not in columns]
    if missing:
        raise BindingError("header", "form", f"lacks {', '.join(missing)}")
    return columns


def _object(text: str) -> dict[str, object]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise BindingError("line", "form", "is no JSON object") from None
    if not isinstance(value, dict):
        raise BindingError("line", "form", "is no JSON object")
    return value


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise BindingError(name, "form", "must be a text")
    return value


def _integer(name: str, value: object) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < len(str(_LARGEST)):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not -_LARGEST <= value <= _LARGEST:
        raise BindingError(name, "form", "must be a whole number")
    return value


def _mode(name: str, value: object) -> Mode:
    try:
        return Mode(_text(name, value))
    except ValueError:
        raise BindingError(name, "form", f"must be one of {', '.join(Mode)}") from None


def _direction(name: str, value: object) -> Direction:
    try:
        return Direction(_text(name, value))
    except ValueError:
        raise BindingError(name, "form", f"must be one of {', '.join(Direction)}") from None


_READ: Final[dict[str, Callable[[str, object], object]]] = {
    "mode": _mode,
    "direction": _direction,
    **dict.fromkeys(_INTEGERS, _integer),
}


def _shown(name: str) -> str:
    """A name that somebody else chose, in an error: short, and no number."""
    return name if len(name) <= 32 and _WORD.fullmatch(name) else "a name that is none"
