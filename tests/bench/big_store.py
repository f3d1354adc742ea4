"""Builds a binding store with millions of live bindings: `python -m tests.bench.big_store FILE --bindings 10000000`.

Rows are written by SQL in big transactions, with the schema, the seals and the hashes of the real store; what that
leaves out is the admission of each. Some 100 µs a binding all in all, and 1 KiB of disk.
"""

import argparse
import asyncio
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from cdr.seal import Seal, format_keyring, new_keyring, parse_keyring
from routing.allocation import NUMBERS_OF_A_BLOCK
from routing.binding import Binding, Direction, Mode, key_text
from routing.plan import Block, BlockState
from routing.store.binding_rows import parties_text
from routing.store.reader import COLUMNS
from routing.store.sqlite import Store, new_token

PROVIDER, USER, SCENARIO = "provider-1", "shop-1", "delivery"
FIRST_BLOCK = 70_010_000_000
AT_ONCE = 100_000
DAY_MS = 86_400_000

_INSERT = (
    f"INSERT INTO bindings (number, {COLUMNS}, real_name, consent, created_ms)"
    f" VALUES ({', '.join('?' * (COLUMNS.count(',') + 5))})"
)


class Line(NamedTuple):
    """The n-th binding: every one has numbers and parties of its own."""

    x: str
    a: str
    b: str


def line(number: int) -> Line:
    """Return what the n-th binding joins, n from 0 on and below 10^8."""
    return Line(str(FIRST_BLOCK * 10_000 + number), f"+86138{number:08d}", f"+86139{number:08d}")


def fill(path: Path, seal: Seal, count: int, now_ms: int, told: Callable[[str], None] = lambda _: None) -> None:
    """Create a store of `count` bindings that are live at `now_ms` and for a day, in active blocks of one user."""
    asyncio.run(_frame(path, seal, count, now_ms))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        execute = connection.execute
        execute("PRAGMA journal_mode = OFF")
        execute("PRAGMA synchronous = OFF")
        execute("PRAGMA cache_size = -500000")
        execute("PRAGMA temp_store = FILE")
        execute("CREATE TEMP TABLE loose (key BLOB NOT NULL, binding INTEGER NOT NULL)")
        # Indexes that are made at the end are made in one sweep; so are keys, which come sorted by then.
        indexes = execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'bindings' AND sql IS NOT NULL"
        ).fetchall()
        for name, _ in indexes:
            execute(f"DROP INDEX {name}")
        for first in range(0, count, AT_ONCE):
            execute("BEGIN")
            part = range(first, min(first + AT_ONCE, count))
            connection.executemany(_INSERT, _rows(part, seal, now_ms))
            connection.executemany("INSERT INTO loose VALUES (?, ?)", _keys(part, seal))
            execute("COMMIT")
            told(f"{part.stop} of {count} bindings")
        for what, statement in (
            ("keys", "INSERT INTO keys SELECT key, binding FROM loose ORDER BY key"),
            ("numbers", "INSERT INTO numbers SELECT CAST(x AS INTEGER), expires_ms FROM bindings ORDER BY x"),
            ("ledger", _LEDGER),
            *((name, sql) for name, sql in indexes),
        ):
            told(what)
            execute(statement)
        execute("PRAGMA journal_mode = WAL")


_LEDGER = """
    INSERT INTO ledger (x, at_ms, who, event, reason, binding, provider, business_user, scenario, order_id, starts_ms,
        until_ms, party_group, parties)
    SELECT CAST(x AS INTEGER), created_ms, 'bench', 'bound', '', id, provider, business_user, scenario, order_id,
        starts_ms, expires_ms, '', parties
    FROM bindings ORDER BY number
"""


async def _frame(path: Path, seal: Seal, count: int, now_ms: int) -> None:
    async with await Store.open(path, seal) as store:
        await store.registry.enrol(PROVIDER, USER, SCENARIO, now_ms=now_ms, by="bench")
        async with store.transaction():
            for block in range(-(-count // NUMBERS_OF_A_BLOCK)):
                prefix = str(FIRST_BLOCK + block)
                await store.blocks.add(Block(prefix, PROVIDER, USER, BlockState.ACTIVE), now_ms, by="bench")


def binding(number: int, now_ms: int) -> Binding:
    """Return the n-th binding; its id is another one every time."""
    x, a, b = line(number)
    return Binding(
        id=new_token(),
        mode=Mode.AXB,
        x=x,
        y="",
        a=a,
        b=b,
        direction=Direction.BOTH,
        provider=PROVIDER,
        business_user=USER,
        scenario=SCENARIO,
        order_id=f"order-{number}",
        industrial_id="",
        starts_ms=now_ms,
        expires_ms=now_ms + DAY_MS,
        ended_ms=0,
    )


def _rows(part: range, seal: Seal, now_ms: int) -> Iterator[tuple[str | int | bytes, ...]]:
    for number in part:
        one = binding(number, now_ms)
        yield (
            number + 1,
            one.id,
            one.mode.value,
            one.x,
            one.y,
            seal.seal(parties_text(one)),
            one.direction.value,
            one.provider,
            one.business_user,
            one.scenario,
            one.order_id,
            one.industrial_id,
            one.starts_ms,
            one.expires_ms,
            one.ended_ms,
            one.ring_seconds,
            one.longest_seconds,
            one.group,
            one.most_calls,
            f"proof-{number}",
            f"consent-{number}",
            now_ms,
        )


def _keys(part: range, seal: Seal) -> Iterator[tuple[bytes, int]]:
    for number in part:
        x, a, b = line(number)
        for party in (a, b):
            yield seal.hash(key_text(x, party)), number + 1


def main() -> int:
    """Build a store; beside it goes its keyring, unless one is given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--bindings", type=int, default=10_000_000)
    parser.add_argument("--keyring", type=Path, help="keyring file; without: FILE.keyring, made when it is not there")
    options = parser.parse_args()
    keyring = options.keyring or options.file.with_name(f"{options.file.name}.keyring")
    if not keyring.exists():
        keyring.touch(mode=0o600)
        keyring.write_text(format_keyring(new_keyring()), encoding="ascii")
    seal = Seal(parse_keyring(keyring.read_text(encoding="ascii")))
    began = time.monotonic()

    def told(what: str) -> None:
        sys.stderr.write(f"{time.monotonic() - began:6.0f} s  {what}\n")

    fill(options.file, seal, options.bindings, time.time_ns() // 1_000_000, told)
    told(f"{os.path.getsize(options.file) / 2**30:.2f} GiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
