# ruff: noqa: ASYNC240 - nothing else waits for the loop while a test moves its files
import asyncio
import shutil
import sqlite3
from pathlib import Path

import pytest

from cdr.seal import Seal
from routing.errors import StoreError
from routing.plan import BlockState
from routing.store.reader import FIND, Reader
from routing.store.sqlite import Store
from tests.routing.samples import BLOCK, NOW, PREFIX, STRANGER, A, X, provide, request


async def test_a_lookup_is_two_searches_by_primary_key_and_no_scan(store: Store, path: Path) -> None:
    connection = sqlite3.connect(path)
    steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {FIND}", (b"",))]
    connection.close()
    assert steps == ["SEARCH keys USING PRIMARY KEY (key=?)", "SEARCH bindings USING INTEGER PRIMARY KEY (rowid=?)"]


async def test_every_lookup_sees_the_newest_commit(store: Store, reader: Reader) -> None:
    for number in range(20):
        x = f"{PREFIX}{number:04d}"
        assert reader.find(x, A) is None
        bound = await store.bindings.bind(request(x=x), NOW, by="test")
        assert reader.find(x, A) == bound
        ended = await store.bindings.end(bound.id, NOW + 1, by="test")
        assert reader.find(x, A) == ended


async def test_lookups_go_on_while_writers_write(store: Store, path: Path, seal: Seal, reader: Reader) -> None:
    async def write(writer: Store, first: int) -> None:
        for number in range(first, first + 40):
            await writer.bindings.bind(request(x=f"{PREFIX}{number:04d}"), NOW, by="test")

    held = await store.bindings.bind(request(), NOW, by="test")
    async with await Store.open(path, seal) as second:
        writing = asyncio.gather(write(store, 1000), write(second, 2000))
        lookups = 0
        while not writing.done():
            assert reader.find(X, A) == held
            lookups += 1
            await asyncio.sleep(0)
        await writing
    assert lookups > 10


async def test_a_lookup_leaves_no_transaction_open_that_would_hold_up_checkpoints(
    store: Store, reader: Reader, path: Path
) -> None:
    bound = await store.bindings.bind(request(), NOW, by="test")
    assert reader.find(X, A) == bound
    assert reader.find(X, STRANGER) is None
    assert len(reader.plan()) == 1
    reader.changes()
    await store.bindings.end(bound.id, NOW, by="test")
    connection = sqlite3.connect(path)
    (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    connection.close()
    assert busy == 0
    assert path.with_name("bindings.db-wal").stat().st_size == 0


async def test_the_reader_cannot_write(store: Store, reader: Reader) -> None:
    reader.plan()
    assert reader._connection is not None
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader._connection.execute("DELETE FROM blocks")


async def test_a_name_with_url_characters_is_only_a_name(tmp_path: Path, seal: Seal) -> None:
    path = tmp_path / "100% 绑定?mode=rw#1.db"
    async with await Store.open(path, seal) as store:
        await provide(store)
        reader = Reader(path, seal)
        assert len(reader.plan()) == 1
        reader.close()


async def test_what_a_killed_writer_committed_is_read(store: Store, path: Path, tmp_path: Path, seal: Seal) -> None:
    bound = await store.bindings.bind(request(), NOW, by="test")
    left = tmp_path / "left"
    left.mkdir()
    # As a kill leaves them: the log not copied back, its shared index gone with the machine.
    for name in ("bindings.db", "bindings.db-wal"):
        shutil.copy(path.with_name(name), left / name)
    reader = Reader(left / "bindings.db", seal)
    assert reader.find(X, A) == bound
    reader.close()


async def test_an_absent_store_is_an_error_until_it_is_there(path: Path, seal: Seal, reader: Reader) -> None:
    for read in (lambda: reader.find(X, A), reader.plan, reader.changes):
        with pytest.raises(StoreError, match=r"bindings\.db: does not exist"):
            read()
    async with await Store.open(path, seal) as store:
        assert len(reader.plan()) == 0
        await provide(store)
        bound = await store.bindings.bind(request(), NOW, by="test")
        assert reader.find(X, A) == bound
        assert len(reader.plan()) == 1


async def test_an_empty_file_is_an_error_until_a_writer_has_made_its_tables(
    path: Path, seal: Seal, reader: Reader
) -> None:
    path.touch()
    with pytest.raises(StoreError, match="open it for writing once"):
        reader.plan()
    async with await Store.open(path, seal):
        assert len(reader.plan()) == 0


async def test_a_store_that_went_away_is_an_error_until_it_is_back(
    path: Path, tmp_path: Path, seal: Seal, reader: Reader
) -> None:
    async with await Store.open(path, seal) as store:
        await provide(store)
        bound = await store.bindings.bind(request(), NOW, by="test")
    assert reader.find(X, A) == bound
    before = reader.changes()
    reader.close()
    away = tmp_path / "away.db"
    path.rename(away)
    with pytest.raises(StoreError):
        reader.find(X, A)
    with pytest.raises(StoreError):
        reader.changes()
    away.rename(path)
    assert reader.changes() != before
    assert reader.find(X, A) == bound


async def test_a_file_taken_from_under_the_reader_is_noticed_by_the_next_look_for_changes(
    store: Store, path: Path, tmp_path: Path, reader: Reader
) -> None:
    await store.bindings.bind(request(), NOW, by="test")
    reader.find(X, A)
    path.rename(tmp_path / "away.db")
    with pytest.raises(StoreError, match="does not exist"):
        reader.changes()
    with pytest.raises(StoreError, match="does not exist"):
        reader.find(X, A)


async def test_a_store_put_in_the_place_of_another_is_read_from_then_on(
    path: Path, tmp_path: Path, seal: Seal, reader: Reader
) -> None:
    other = tmp_path / "other.db"
    for name, state in ((path, BlockState.ACTIVE), (other, BlockState.FROZEN)):
        async with await Store.open(name, seal) as store:
            await provide(store)
            await store.blocks.move(PREFIX, BlockState.FROZEN, NOW, by="test", reason="misuse")
            if state is BlockState.ACTIVE:
                await store.blocks.move(PREFIX, state, NOW, by="test")
    before = reader.changes()
    assert reader.plan().block_of(X) == BLOCK
    other.rename(path)
    assert reader.changes() != before
    block = reader.plan().block_of(X)
    assert block is not None
    assert block.state is BlockState.FROZEN


async def test_a_damaged_file_is_an_error_until_it_is_mended(path: Path, seal: Seal, reader: Reader) -> None:
    async with await Store.open(path, seal) as store:
        await provide(store)
        bound = await store.bindings.bind(request(), NOW, by="test")
    sound = path.read_bytes()
    path.write_bytes(b"\xff" * len(sound))
    with pytest.raises(StoreError, match=str(path)):
        reader.find(X, A)
    path.write_bytes(sound)
    assert reader.find(X, A) == bound


async def test_a_damaged_row_is_an_error_and_the_others_are_read(store: Store, path: Path, reader: Reader) -> None:
    damaged = await store.bindings.bind(request(), NOW, by="test")
    sound = await store.bindings.bind(request(x=f"{PREFIX}0002"), NOW, by="test")
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("UPDATE bindings SET parties = zeroblob(80) WHERE id = ?", (damaged.id,))
    connection.close()
    with pytest.raises(StoreError, match=str(path)) as caught:
        reader.find(X, A)
    assert "13800138000" not in str(caught.value)
    assert reader.find(f"{PREFIX}0002", A) == sound
    with pytest.raises(StoreError):
        await store.bindings.list()


async def test_a_locked_store_is_an_error_soon_and_read_again_once_it_is_free(path: Path, seal: Seal) -> None:
    async with await Store.open(path, seal) as store:
        await provide(store)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    reader = Reader(path, seal)
    with pytest.raises(StoreError, match="locked"):
        reader.plan()
    other.execute("ROLLBACK")
    other.close()
    assert len(reader.plan()) == 1
    reader.close()
