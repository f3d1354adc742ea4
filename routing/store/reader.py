"""Bindings and blocks as the switch reads them: synchronously, without waiting, from the file that writers fill.

Real numbers are in the file only sealed; a lookup goes by the keyed hash of (number dialled, caller).
"""

import os
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Protocol

from routing.binding import Binding, Direction, Mode
from routing.errors import RoutingError, StoreError
from routing.groups import member_text
from routing.plan import Block, BlockState, Plan
from routing.policy import Policy, PolicySettings
from routing.store.policy_reader import PolicyReader
from routing.store.schema import KEY_PROBE, VERSION, misfit

__all__ = [
    "BLOCKS",
    "COLUMNS",
    "FIND",
    "MEMBER",
    "TROUBLE",
    "Reader",
    "Seal",
    "absolute",
    "binding_of",
    "block_of",
    "check_fit",
    "check_key",
    "trouble",
]

# The switch waits for a lock inside its only thread, so hardly at all; WAL readers wait only while a crash is repaired.
READ_PATIENCE_SECONDS = 0.01

# Pages the reader keeps, in KiB: the upper levels of the trees of tens of millions of bindings.
READ_CACHE_KIB = 65_536

# What the library, a damaged row and a wrong key raise; a Seal's error is a ValueError.
TROUBLE = (sqlite3.Error, OSError, ValueError, LookupError)

COLUMNS: Final = (
    "id, mode, x, y, parties, direction, provider, business_user, scenario, order_id, industrial_id,"
    " starts_ms, expires_ms, ended_ms, ring_seconds, longest_seconds, party_group, most_calls"
)
FIND: Final = f"SELECT {COLUMNS} FROM keys JOIN bindings ON number = binding WHERE key = ?"
MEMBER: Final = "SELECT 1 FROM members WHERE party_group = ? AND member = ?"
BLOCKS: Final = "SELECT prefix, provider, business_user, state FROM blocks"

_MODES: Final = {mode.value: mode for mode in Mode}
_DIRECTIONS: Final = {direction.value: direction for direction in Direction}


class Seal(Protocol):
    """Encryption and keyed hashing of real numbers, handed in. Errors are ValueErrors."""

    def seal(self, text: str) -> bytes:
        """Encrypt a text."""
        ...

    def open(self, blob: bytes) -> str:
        """Decrypt what `seal` returned; ValueError when it was damaged or sealed with other keys."""
        ...

    def hash(self, text: str) -> bytes:
        """Return a keyed hash: the same text gives the same bytes under the same keys."""
        ...


class Reader:
    """The switch's view of the store: read-only, synchronous, for one thread.

    Every call sees the newest commit. It raises StoreError while the file is absent, locked, damaged, of another
    version or sealed with other keys, and works again by itself once the file does.
    """

    def __init__(self, path: str | os.PathLike[str], seal: Seal) -> None:
        self._path = absolute(path)
        self._open = seal.open
        self._hash = seal.hash
        self._connection: sqlite3.Connection | None = None
        self._cursor: sqlite3.Cursor | None = None
        self._file: tuple[int, int] | None = None
        self._connects = 0
        self._policy = PolicyReader(self._hash)

    def find(self, dialled: str, caller: str) -> Binding | None:
        """Return the last binding that held the key (15 digits, E.164), live or not; None when there never was one.

        A member of a binding's group finds it with himself as its A.
        """
        try:
            cursor = self._cursor or self._connect()
            row = cursor.execute(FIND, (self._hash(f"{dialled}|{caller}"),)).fetchone()
            if row is None:
                return None
            binding = binding_of(row, self._open)
            if binding.group and caller != binding.a and caller != binding.b:
                return self._of_member(cursor, binding, caller)
            return binding
        except TROUBLE as error:
            raise self._lost(error) from error

    def _of_member(self, cursor: sqlite3.Cursor, binding: Binding, caller: str) -> Binding | None:
        """A binding as a member of its group sees it. The key alone makes nobody a member (R4)."""
        member = self._hash(member_text(binding.group, caller))
        if cursor.execute(MEMBER, (binding.group, member)).fetchone() is None:
            return None
        return replace(binding, a=caller)

    def plan(self) -> Plan:
        """Return a snapshot of all blocks. Read `changes` first, then this: a later change then shows there."""
        try:
            cursor = self._cursor or self._connect()
            return Plan(block_of(row) for row in cursor.execute(BLOCKS).fetchall())
        except TROUBLE as error:
            raise self._lost(error) from error

    def policy(self, settings: PolicySettings, now_ms: int) -> Policy:
        """Return a snapshot of what policy refuses and counts (R12-R15), beside that of the blocks. A call after the
        first reads what has changed of the block list and no more."""
        try:
            cursor = self._cursor or self._connect()
            return self._policy.read(cursor, settings, now_ms)
        except TROUBLE as error:
            raise self._lost(error) from error
        except RoutingError as error:  # a row that no writer of ours has made
            raise self._lost(ValueError(str(error))) from error

    def changes(self) -> int:
        """Return a number that differs whenever blocks may have changed; notices a file put in the place of another."""
        try:
            if self._file is not None and self._file != _identity(self._path):
                self.close()
            cursor = self._cursor or self._connect()
            (counter,) = cursor.execute("SELECT counter FROM change").fetchone()
        except TROUBLE as error:
            raise self._lost(error) from error
        return self._connects << 40 | int(counter)

    def close(self) -> None:
        """Give back the file. A later read opens it again."""
        if self._connection is not None:
            self._connection.close()
        self._connection = self._cursor = self._file = None

    def _connect(self) -> sqlite3.Cursor:
        # Noted before opening: a file swapped in between is then noticed by the next `changes`.
        self._file = _identity(self._path)
        self._connection = sqlite3.connect(
            f"{self._path.as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=READ_PATIENCE_SECONDS
        )
        cursor = self._connection.cursor()
        cursor.execute(f"PRAGMA cache_size = -{READ_CACHE_KIB}")
        # The version before the mark: the other way round, a file being created would look like another program's.
        (version,) = cursor.execute("PRAGMA user_version").fetchone()
        (application,) = cursor.execute("PRAGMA application_id").fetchone()
        check_fit(application, version)
        if version < VERSION:
            raise ValueError(f"has schema version {version}, older than {VERSION}; open it for writing once")
        check_key(self._hash, cursor.execute("SELECT probe FROM keyring").fetchall())
        self._connects += 1
        self._policy = PolicyReader(self._hash)
        self._cursor = cursor
        return cursor

    def _lost(self, error: Exception) -> StoreError:
        self.close()
        return trouble(self._path, error)


def binding_of(row: Any, open_: Callable[[bytes], str]) -> Binding:
    """A row of COLUMNS. ValueError: `open_` refused its parties, or they are no binding's."""
    a, _, b = open_(row[4]).partition("|")
    return Binding(row[0], _MODES[row[1]], row[2], row[3], a, b, _DIRECTIONS[row[5]], *row[6:])


def block_of(row: Any) -> Block:
    """A row of BLOCKS."""
    prefix, provider, business_user, state = row
    return Block(prefix, provider, business_user, BlockState(state))


def absolute(path: str | os.PathLike[str]) -> Path:
    """The path as it will mean the same after a change of directory."""
    return Path(os.path.abspath(path))


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def check_fit(application: int, version: int) -> None:
    """ValueError unless the file is ours and of a version that this program reads."""
    reason = misfit(application, version)
    if reason:
        raise ValueError(reason)


def check_key(hash_: Callable[[str], bytes], probes: list[Any]) -> None:
    """ValueError unless the file was written with the keys that ``hash_`` has."""
    if probes != [(hash_(KEY_PROBE),)]:
        raise ValueError("was written with other keys; point [keys] file at the keyring it was created with")


def trouble(path: Path, error: Exception) -> StoreError:
    """What to tell of an error out of TROUBLE."""
    if isinstance(error, FileNotFoundError):
        return StoreError(f"binding store {path}: does not exist; the first block added creates it")
    return StoreError(f"binding store {path}: {error}")
