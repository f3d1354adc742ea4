"""Changes that are put off to the next statement or the commit: there when they are read, undone with their part."""

from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from cdr.seal import Seal
from routing.errors import StoreError
from routing.store.database import Database

INSERT = "INSERT INTO numbers VALUES (?, 0)"
X = 700_123_456_780_000


@pytest.fixture
async def database(path: Path, seal: Seal) -> AsyncIterator[Database]:
    opened = await Database.open(path, seal, lambda: "token")
    yield opened
    await opened.close()


async def there(database: Database) -> list[int]:
    async with database.reading():
        return [x - X for (x,) in await database.rows("SELECT x FROM numbers ORDER BY x")]


async def test_a_change_is_there_for_the_next_statement_and_after_the_commit(database: Database) -> None:
    async with database.transaction():
        await database.many(INSERT, [(X,), (X + 1,)])
        assert await there(database) == [0, 1]
        await database.many(INSERT, [(X + 2,)])
    assert await there(database) == [0, 1, 2]


async def test_a_change_is_undone_with_its_transaction(database: Database) -> None:
    for read in (False, True):
        with suppress(RuntimeError):
            async with database.transaction():
                await database.many(INSERT, [(X,)])
                if read:
                    await there(database)
                raise RuntimeError
    assert await there(database) == []


async def test_a_part_is_undone_alone(database: Database) -> None:
    async with database.transaction():
        await database.many(INSERT, [(X,)])
        with suppress(RuntimeError):
            async with database.transaction():
                await database.many(INSERT, [(X + 1,)])
                raise RuntimeError
        async with database.transaction():
            await database.many(INSERT, [(X + 2,)])
    assert await there(database) == [0, 2]


async def test_a_change_that_fails_fails_its_transaction(database: Database) -> None:
    with pytest.raises(StoreError, match="CHECK constraint failed"):
        async with database.transaction():
            await database.many(INSERT, [(X,), (7,)])
    assert await there(database) == []
    async with database.transaction():
        await database.many(INSERT, [(X,)])
    assert await there(database) == [0]


async def test_a_transaction_without_a_statement_is_nothing(database: Database) -> None:
    async with database.transaction():
        pass
    with suppress(RuntimeError):
        async with database.transaction():
            raise RuntimeError
    assert await there(database) == []
