"""Transactions inside transactions of one task: parts of a whole, which stand or fall with it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cdr.seal import Seal
from routing.store.database import Database


@pytest.fixture
async def database(path: Path, seal: Seal) -> AsyncIterator[Database]:
    opened = await Database.open(path, seal, lambda: "token")
    async with opened.transaction():
        await opened.rows("CREATE TABLE words (word TEXT NOT NULL)")
    yield opened
    await opened.close()


async def say(database: Database, *words: str) -> None:
    async with database.transaction():
        for word in words:
            await database.rows("INSERT INTO words VALUES (?)", (word,))


async def said(database: Database) -> list[str]:
    async with database.reading():
        return [word for (word,) in await database.rows("SELECT word FROM words ORDER BY rowid")]


async def test_parts_are_there_together(database: Database) -> None:
    assert not database.joined()
    async with database.transaction():
        assert database.joined()
        await say(database, "one")
        await say(database, "two")
        assert await said(database) == ["one", "two"]
    assert not database.joined()
    assert await said(database) == ["one", "two"]


async def fail(database: Database, *words: str) -> None:
    """A transaction that comes to nothing."""
    async with database.transaction():
        await say(database, *words)
        await database.many("INSERT INTO words VALUES (?)", [("put off",)])
        raise RuntimeError


async def test_a_whole_that_fails_takes_its_parts_with_it(database: Database) -> None:
    with pytest.raises(RuntimeError):
        await fail(database, "one")
    assert await said(database) == []


async def test_a_part_that_fails_is_undone_alone(database: Database) -> None:
    async with database.transaction():
        await say(database, "one")
        with pytest.raises(RuntimeError):
            await fail(database, "two")
        await say(database, "four")
    assert await said(database) == ["one", "four"]


async def test_what_was_put_off_before_a_part_outlives_it(database: Database) -> None:
    async with database.transaction():
        await database.many("INSERT INTO words VALUES (?)", [("one",)])
        with pytest.raises(RuntimeError):
            await fail(database)
    assert await said(database) == ["one"]


async def test_other_tasks_wait_their_turn(database: Database) -> None:
    async with database.transaction():
        other = asyncio.create_task(say(database, "other"))
        await asyncio.sleep(0.01)
        await say(database, "own")
        assert not other.done()
    await other
    assert await said(database) == ["own", "other"]
