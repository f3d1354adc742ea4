"""Bindings and blocks in one SQLite file, for provisioning: an asynchronous writer. The switch reads with reader.py.

The file is in WAL mode, so that readers and the one writer never wait for each other. Real numbers are in it only
sealed; a lookup goes by the keyed hash of (number dialled, caller).
"""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import aiosqlite

from routing.binding import (
    LONGEST_DAYS,
    Binding,
    BindingRequest,
    admit,
    check_reference,
    keys,
    requested_number,
)
from routing.errors import BindingError, StoreError
from routing.numbers import parse_middle
from routing.plan import MOVES, PREFIX_DIGITS, Block, BlockState, parse_prefix
from routing.store.reader import (
    BLOCKS,
    COLUMNS,
    TROUBLE,
    Seal,
    absolute,
    binding_of,
    block_of,
    check_fit,
    check_key,
    trouble,
)
from routing.store.schema import KEY_PROBE, VERSION, pending

__all__ = ["LONGEST_PAGE", "BindingError", "Seal", "Store", "StoreError"]

# Rows a list may return at once: bounds the memory and the time of one answer.
LONGEST_PAGE = 1000

WRITE_PATIENCE_SECONDS = 5.0
TURN_SECONDS = 0.02

_HOLDERS = (
    "SELECT id FROM keys JOIN bindings ON number = binding WHERE key IN (?, ?) AND ended_ms = 0 AND expires_ms > ?"
)
_INSERT = (
    f"INSERT INTO bindings ({COLUMNS}, real_name, consent, created_ms)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING number"
)
_TAKE_KEYS = "INSERT INTO keys VALUES (?, ?), (?, ?) ON CONFLICT (key) DO UPDATE SET binding = excluded.binding"


class Store:
    """The writers' view of the store. One object may be shared by the tasks of one event loop.

    Every method raises BindingError when the request is at fault and StoreError when the file is.
    """

    def __init__(
        self, connection: aiosqlite.Connection, path: Path, seal: Seal, longest_days: int, token: Callable[[], str]
    ) -> None:
        self._connection = connection
        self._path = path
        self._seal = seal
        self._longest_days = longest_days
        self._token = token
        # One connection holds one transaction: tasks take turns, readers too, so that none sees half of another's.
        self._turn = asyncio.Lock()

    @classmethod
    async def open(
        cls,
        path: str | os.PathLike[str],
        seal: Seal,
        *,
        longest_days: int = LONGEST_DAYS,
        token: Callable[[], str] = lambda: os.urandom(12).hex(),
    ) -> Self:
        """Open the file, creating it or bringing it to the newest schema; its directory must exist.

        `longest_days` bounds how long a binding may last; `token` makes binding ids.
        """
        where = absolute(path)
        with _telling(where):
            # Proved here, because aiosqlite leaves its thread behind when the file cannot be opened.
            sqlite3.connect(where).close()
            connection = await aiosqlite.connect(where, isolation_level=None, timeout=WRITE_PATIENCE_SECONDS)
        store = cls(connection, where, seal, longest_days, token)
        try:
            with _telling(where):
                await store._prepare()
        except BaseException:
            await connection.close()
            raise
        return store

    async def close(self) -> None:
        """Close the file."""
        await self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def add_block(self, block: Block) -> None:
        """Register a block (R3, R5, R6). A prefix is registered once."""
        if parse_prefix(block.prefix) is None:
            raise BindingError("prefix", "R3", "a block is 700 and 8 digits")
        for field, text in (("provider", block.provider), ("business_user", block.business_user)):
            if not text.strip():
                raise BindingError(field, "R6", "must be given")
            check_reference(field, text)
        async with self._transaction():
            if await self._block_row(block.prefix) is not None:
                raise BindingError("prefix", "R5", f"block {block.prefix} is already registered")
            await self._rows(
                "INSERT INTO blocks VALUES (?, ?, ?, ?)",
                (block.prefix, block.provider, block.business_user, block.state.value),
            )

    async def move_block(self, prefix: str, state: BlockState) -> Block:
        """Take a block to another state of its life (R18) and return it. Calls follow within a second."""
        async with self._transaction():
            block = await self._block_row(prefix)
            if block is None:
                raise BindingError("prefix", "R3", "no such block")
            if state not in MOVES[block.state]:
                raise BindingError("state", "R18", f"block {prefix} is {block.state} and cannot become {state}")
            await self._rows("UPDATE blocks SET state = ? WHERE prefix = ?", (state.value, prefix))
        return Block(block.prefix, block.provider, block.business_user, state)

    async def blocks(self, after: str = "", limit: int = 100) -> tuple[Block, ...]:
        """Return blocks in the order of their prefixes; the next page begins `after` the last prefix of this one."""
        _page(limit)
        async with self._reading():
            rows = await self._rows(f"{BLOCKS} WHERE prefix > ? ORDER BY prefix LIMIT ?", (after, limit))
            return tuple(block_of(row) for row in rows)

    async def bind(self, request: BindingRequest, now_ms: int) -> Binding:
        """Admit a request, take its keys and return the binding (R1, R3, R5, R13, R16).

        A key is free when no binding holds it, or a dead one does; one that has yet to start holds it already.
        """
        x = requested_number(request)
        async with self._transaction():
            block = await self._block_row(x[:PREFIX_DIGITS])
            binding = admit(request, block, self._token(), now_ms, self._longest_days)
            one, other = (self._seal.hash(f"{dialled}|{caller}") for dialled, caller in keys(binding))
            for (holder,) in await self._rows(_HOLDERS, (one, other, now_ms)):
                raise BindingError("x", "key", f"binding {holder} holds this number for one of the parties")
            values = _values(binding, self._seal)
            ((number,),) = await self._rows(_INSERT, (*values, request.real_name, request.consent, now_ms))
            await self._rows(_TAKE_KEYS, (one, number, other, number))
        return binding

    async def bindings(self, after: str = "", limit: int = 100, x: str = "") -> tuple[Binding, ...]:
        """Return bindings, the newest first, of one middle number or of all.

        The next page begins `after` the id of the last binding of this one.
        """
        _page(limit)
        middle = parse_middle(x) if x else ""
        if middle is None:
            raise BindingError("x", "R3", "a middle number is 700 and 12 digits")
        conditions, values = ["1"], list[str | int]()
        if middle:
            conditions, values = ["x = ?"], [middle]
        async with self._reading():
            if after:
                last = await self._rows("SELECT number FROM bindings WHERE id = ?", (after,))
                if not last:
                    raise BindingError("after", "form", "no such binding")
                conditions.append("number < ?")
                values.append(last[0][0])
            rows = await self._rows(
                f"SELECT {COLUMNS} FROM bindings WHERE {' AND '.join(conditions)} ORDER BY number DESC LIMIT ?",
                (*values, limit),
            )
            return tuple(binding_of(row, self._seal.open) for row in rows)

    async def binding(self, identifier: str) -> Binding | None:
        """Return a binding by its id, live or not, or None."""
        async with self._reading():
            return await self._binding_row(identifier)

    async def end(self, identifier: str, now_ms: int) -> Binding:
        """End a binding from the next call on and return it; one that is dead already is returned as it is."""
        async with self._transaction():
            # 0 means "not ended", also on a clock that starts there.
            await self._rows(
                "UPDATE bindings SET ended_ms = ? WHERE id = ? AND ended_ms = 0 AND expires_ms > ?",
                (max(now_ms, 1), identifier, now_ms),
            )
            binding = await self._binding_row(identifier)
        if binding is None:
            raise BindingError("id", "form", "no such binding")
        return binding

    async def _prepare(self) -> None:
        # An existing file is only looked at, so that opening it does not wait for its writer.
        ((journal,),) = await self._rows("PRAGMA journal_mode")
        check_fit(*await self._header())
        if journal != "wal":
            await self._write_ahead()
        # A binding that was confirmed must be there after a power cut.
        await self._rows("PRAGMA synchronous = FULL")
        await self._rows("PRAGMA foreign_keys = ON")
        if (await self._header())[1] < VERSION:
            await self._migrate()
        check_key(self._seal.hash, await self._rows("SELECT probe FROM keyring"))

    async def _write_ahead(self) -> None:
        # SQLite does not wait its turn for this one statement when several create the file at once.
        patience = WRITE_PATIENCE_SECONDS
        while True:
            try:
                await self._rows("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or patience <= 0:
                    raise
                await asyncio.sleep(TURN_SECONDS)
                patience -= TURN_SECONDS
            else:
                return

    async def _migrate(self) -> None:
        async with self._transaction():
            _, version = await self._header()
            for statement in pending(version):
                await self._rows(statement)
            if version == 0:
                await self._rows("INSERT INTO keyring VALUES (1, ?)", (self._seal.hash(KEY_PROBE),))
            await self._rows(f"PRAGMA user_version = {VERSION}")

    async def _header(self) -> tuple[int, int]:
        # In the same order as the reader, for the same reason.
        ((version,),) = await self._rows("PRAGMA user_version")
        ((application,),) = await self._rows("PRAGMA application_id")
        return application, version

    async def _block_row(self, prefix: str) -> Block | None:
        for row in await self._rows(f"{BLOCKS} WHERE prefix = ?", (prefix,)):
            return block_of(row)
        return None

    async def _binding_row(self, identifier: str) -> Binding | None:
        for row in await self._rows(f"SELECT {COLUMNS} FROM bindings WHERE id = ?", (identifier,)):
            return binding_of(row, self._seal.open)
        return None

    async def _rows(self, sql: str, values: Sequence[str | int | bytes] = ()) -> list[Any]:
        return list(await self._connection.execute_fetchall(sql, values))

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[None]:
        with _telling(self._path):
            async with self._turn:
                yield

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[None]:
        with _telling(self._path):
            async with self._turn:
                try:
                    await self._rows("BEGIN IMMEDIATE")
                    yield
                    await self._rows("COMMIT")
                except BaseException:
                    # Cancelled at any point above, the worker thread still runs what was handed to it, in order: the
                    # rollback comes after it and finds a transaction to undo, or none, which is as well.
                    with suppress(sqlite3.Error, ValueError):
                        await self._rows("ROLLBACK")
                    raise


def _values(binding: Binding, seal: Seal) -> tuple[str | int | bytes, ...]:
    return (
        binding.id,
        binding.mode.value,
        binding.x,
        binding.y,
        seal.seal(f"{binding.a}|{binding.b}"),
        binding.direction.value,
        binding.provider,
        binding.business_user,
        binding.scenario,
        binding.order_id,
        binding.industrial_id,
        binding.starts_ms,
        binding.expires_ms,
        binding.ended_ms,
        binding.ring_seconds,
        binding.longest_seconds,
    )


def _page(limit: int) -> None:
    if not 1 <= limit <= LONGEST_PAGE:
        raise BindingError("limit", "form", f"must be from 1 to {LONGEST_PAGE}")


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    try:
        yield
    except TROUBLE as error:
        raise trouble(path, error) from error
