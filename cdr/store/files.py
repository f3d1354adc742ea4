"""Names and locks of the journal's files.

    journal-0000000007.log      a segment; the one with the highest number is being written
    journal.spare               the next segment, its space already allocated
    journal-0000000005.damaged  a second name for a segment in which damage was found, kept for the operator
    reader.lock                 held by the recorder

The highest segment is never removed, so numbers never repeat.
"""

import fcntl
import os
import re
from pathlib import Path

_SEGMENT = re.compile(r"journal-([0-9]{10})\.log")
_NUMBERED = re.compile(r"journal-([0-9]{10})\.(?:log|damaged)")
SPARE = "journal.spare"
READER_LOCK = "reader.lock"


class JournalError(Exception):
    """The journal's directory cannot be used: it is not there, not ours, or in use by another process."""


def segment_path(directory: Path, number: int) -> Path:
    """Where segment `number` is."""
    return directory / f"journal-{number:010d}.log"


def damaged_path(directory: Path, number: int) -> Path:
    """The second name that keeps a damaged segment."""
    return directory / f"journal-{number:010d}.damaged"


def list_segments(directory: Path) -> list[int]:
    """The numbers of the segments that are there, oldest first."""
    return sorted(int(match[1]) for name in os.listdir(directory) if (match := _SEGMENT.fullmatch(name)))


def highest_number(directory: Path) -> int:
    """The highest number ever seen in this directory, 0 when there is none."""
    return max((int(match[1]) for name in os.listdir(directory) if (match := _NUMBERED.fullmatch(name))), default=0)


def make_directory(directory: Path) -> None:
    """Make a directory that only we can read. Raises JournalError."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise JournalError(f"cannot make the directory {directory}: {error.strerror}") from error


def lock(path: Path, holder: str) -> int:
    """Lock a file or directory for this process and return the descriptor that holds it.

    The lock ends with the process, however it ends. Raises JournalError, naming `holder`, when another has it.
    """
    try:
        flags = os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        raise JournalError(f"cannot open {path}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise JournalError(f"{path} is in use: another {holder} is running") from error
    return descriptor
