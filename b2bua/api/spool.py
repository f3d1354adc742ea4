"""Files that wait for their import. Real numbers stand in them, so they lie on the disk in sealed pieces.

A piece is whole lines, no more than one transaction of the store takes; before each stands its length in four bytes.
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Final

from cdr.seal import Seal
from routing.bulk import LONGEST_LINE

__all__ = ["NoRoom", "Spool", "read_piece"]

PIECE_LINES: Final = 500
# A piece ends with the line that makes it so long, in bytes: it is held in memory more than once while it is sealed.
PIECE_BYTES: Final = 1 << 20
# Not written where the disk would be left with less, in bytes: calls and records need it.
LEAST_FREE: Final = 512 << 20
PRIVATE: Final = 0o700
HEAD_BYTES: Final = 4
# UTF-8 has four bytes a character at most; one more than may be read, so that the reader sees it is too long.
LONGEST_KEPT: Final = 4 * (LONGEST_LINE + 1)
# bytes that are no UTF-8 belong to a line that is refused as a line, not as a file
ERRORS: Final = "surrogateescape"


class NoRoom(Exception):
    """The disk is nearly full."""


class Spool:
    """One file as it comes in: `write` parts as they arrive, `finish`, then `digest`, `size` and `lines` tell of it.

    It bears its name only once it is whole and safe. OSError when the disk fails, NoRoom when it is nearly full.
    """

    def __init__(self, path: Path, seal: Seal) -> None:
        self.size = 0
        self.lines = 0
        self._path = path
        self._part = path.with_suffix(".part")
        self._seal = seal
        self._hash = hashlib.sha256()
        self._rest = b""
        self._waiting: list[bytes] = []
        self._held = 0
        path.parent.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
        descriptor = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        self._file: BinaryIO = os.fdopen(descriptor, "wb")

    @property
    def digest(self) -> bytes:
        """SHA-256 of what came in."""
        return self._hash.digest()

    def write(self, data: bytes) -> None:
        """Take the next part, whatever its borders."""
        self.size += len(data)
        self._hash.update(data)
        *whole, rest = (self._rest + data).split(b"\n")
        self._rest = rest[:LONGEST_KEPT]
        for line in whole:
            self._keep(line)

    def finish(self) -> None:
        """Make it whole and safe. May wait for the disk."""
        if self._rest:
            self._keep(self._rest)
        if self._waiting or not self.lines:
            self._put(self._waiting)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._part.rename(self._path)
        directory = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def discard(self) -> None:
        """Forget it, whole or not."""
        self._file.close()
        for path in (self._part, self._path):
            path.unlink(missing_ok=True)

    def _keep(self, line: bytes) -> None:
        self.lines += 1
        self._waiting.append(line[:LONGEST_KEPT])
        self._held += len(self._waiting[-1])
        if len(self._waiting) >= PIECE_LINES or self._held >= PIECE_BYTES:
            self._put(self._waiting)
            self._waiting, self._held = [], 0

    def _put(self, lines: Sequence[bytes]) -> None:
        disk = os.fstatvfs(self._file.fileno())
        if disk.f_bavail * disk.f_frsize < LEAST_FREE:
            raise NoRoom
        blob = self._seal.seal(b"\n".join(lines).decode("utf-8", ERRORS), self._path.stem)
        self._file.write(len(blob).to_bytes(HEAD_BYTES, "big") + blob)


def read_piece(path: Path, place: int, seal: Seal) -> tuple[list[str], int, bool]:
    """The lines of the piece at a place, where the next begins, and whether this is the last. OSError, SealError."""
    with path.open("rb") as file:
        file.seek(place)
        length = int.from_bytes(file.read(HEAD_BYTES), "big")
        blob = file.read(length)
        following = place + HEAD_BYTES + length
        last = not file.read(1)
    return seal.open(blob, path.stem).split("\n"), following, last
