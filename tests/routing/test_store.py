# ruff: noqa: ASYNC240 - nothing else waits for the loop while a test reads its files
import asyncio
import itertools
import sqlite3
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cdr.seal import Seal, new_keyring
from routing.binding import DAY_MS, Direction
from routing.errors import BindingError, StoreError
from routing.store.pages import LONGEST_PAGE
from routing.store.reader import Reader
from routing.store.schema import VERSION
from routing.store.sqlite import Store
from tests.routing.samples import BINDING, HOUR, NOW, PREFIX, STRANGER, A, B, X, provide, request

ANOTHER = "+8613900139000"


async def refused(work: Any) -> BindingError:
    with pytest.raises(BindingError) as caught:
        await work
    return caught.value


# --- bindings ---


async def test_what_is_bound_is_what_both_parties_find(store: Store, reader: Reader) -> None:
    bound = await store.bindings.bind(
        request(direction=Direction.A_TO_B, industrial_id="700.100.1/7", ring_seconds=25, longest_seconds=600),
        NOW,
        by="test",
    )
    assert bound == replace(
        BINDING,
        id=bound.id,
        direction=Direction.A_TO_B,
        industrial_id="700.100.1/7",
        ring_seconds=25,
        longest_seconds=600,
    )
    assert reader.find(X, A) == bound
    assert reader.find(X, B) == bound
    assert await store.bindings.get(bound.id) == bound


async def test_nobody_else_finds_it(store: Store, reader: Reader) -> None:
    await store.bindings.bind(request(), NOW, by="test")
    assert reader.find(X, STRANGER) is None
    assert reader.find(f"{PREFIX}0002", A) is None
    assert await store.bindings.get("none") is None


async def test_a_key_is_held_by_one_live_binding(store: Store, reader: Reader) -> None:
    first = await store.bindings.bind(request(), NOW, by="test")
    for a, b in ((A, STRANGER), (STRANGER, A), (B, STRANGER), (B, A)):
        error = await refused(store.bindings.bind(request(a=a, b=b), NOW + HOUR - 1, by="test"))
        assert (error.field, error.rule) == ("x", "key")
        assert first.id in error.message
    assert reader.find(X, STRANGER) is None
    assert reader.find(X, A) == first
    assert await store.bindings.list() == (first,)


async def test_one_middle_number_serves_several_bindings_whose_keys_differ(store: Store, reader: Reader) -> None:
    first = await store.bindings.bind(request(), NOW, by="test")
    second = await store.bindings.bind(request(a=STRANGER, b=ANOTHER), NOW, by="test")
    assert reader.find(X, B) == first
    assert reader.find(X, STRANGER) == second
    third = await store.bindings.bind(request(x=f"{PREFIX}0002"), NOW, by="test")
    assert reader.find(X, A) == first
    assert reader.find(f"{PREFIX}0002", A) == third


async def test_a_binding_yet_to_start_holds_its_keys(store: Store) -> None:
    await store.bindings.bind(request(starts_ms=NOW + HOUR, expires_ms=NOW + 2 * HOUR), NOW, by="test")
    error = await refused(store.bindings.bind(request(expires_ms=NOW + 1), NOW, by="test"))
    assert error.rule == "key"


async def test_an_expired_binding_is_found_until_another_takes_its_key(store: Store, reader: Reader) -> None:
    first = await store.bindings.bind(request(), NOW, by="test")
    assert reader.find(X, A) == first
    second = await store.bindings.bind(request(b=STRANGER, expires_ms=NOW + 2 * HOUR), NOW + HOUR, by="test")
    assert reader.find(X, A) == second
    assert reader.find(X, STRANGER) == second
    assert reader.find(X, B) == first
    assert await store.bindings.list() == (second, first)


async def test_an_ended_binding_is_found_as_ended_and_frees_its_keys(store: Store, reader: Reader) -> None:
    first = await store.bindings.bind(request(), NOW, by="test")
    ended = await store.bindings.end(first.id, NOW + 5, by="test")
    assert ended == replace(first, ended_ms=NOW + 5)
    assert reader.find(X, A) == ended
    second = await store.bindings.bind(request(), NOW + 5, by="test")
    assert reader.find(X, A) == second
    assert await store.bindings.get(first.id) == ended


async def test_ending_a_dead_binding_changes_nothing(store: Store) -> None:
    first = await store.bindings.bind(request(), NOW, by="test")
    ended = await store.bindings.end(first.id, NOW + 5, by="test")
    assert await store.bindings.end(first.id, NOW + 9, by="test") == ended
    second = await store.bindings.bind(request(), NOW + 5, by="test")
    assert await store.bindings.end(second.id, NOW + HOUR, by="test") == second
    assert (await refused(store.bindings.end("none", NOW, by="test"))).field == "id"


async def test_ending_works_on_a_clock_that_starts_at_zero(store: Store) -> None:
    bound = await store.bindings.bind(request(expires_ms=HOUR), 0, by="test")
    assert not (await store.bindings.end(bound.id, 0, by="test")).live(0)


async def test_a_refused_request_leaves_no_trace(store: Store, reader: Reader) -> None:
    for changes in ({"real_name": ""}, {"consent": ""}, {"business_user": "taxi"}, {"x": "700999999990001"}):
        await refused(store.bindings.bind(request(**changes), NOW, by="test"))
    assert await store.bindings.list() == ()
    assert reader.find(X, A) is None


async def test_the_longest_binding_is_a_setting_of_the_store(path: Path, seal: Seal) -> None:
    async with await Store.open(path, seal, longest_days=1) as store:
        await provide(store)
        error = await refused(store.bindings.bind(request(expires_ms=NOW + DAY_MS + 1), NOW, by="test"))
        assert (error.field, error.rule) == ("expires_ms", "R17")
        await store.bindings.bind(request(expires_ms=NOW + DAY_MS), NOW, by="test")


async def test_bindings_are_listed_in_pages_newest_first(store: Store) -> None:
    bound = [await store.bindings.bind(request(x=f"{PREFIX}{number:04d}"), NOW, by="test") for number in range(5)]
    newest_first = tuple(reversed(bound))
    assert await store.bindings.list() == newest_first
    assert await store.bindings.list(limit=2) == newest_first[:2]
    assert await store.bindings.list(after=newest_first[1].id, limit=2) == newest_first[2:4]
    assert await store.bindings.list(after=newest_first[3].id, limit=2) == newest_first[4:]
    assert await store.bindings.list(after=newest_first[4].id) == ()


async def test_the_bindings_of_one_middle_number_are_its_history(store: Store) -> None:
    first = await store.bindings.bind(request(), NOW, by="test")
    await store.bindings.bind(request(x=f"{PREFIX}0002"), NOW, by="test")
    await store.bindings.end(first.id, NOW, by="test")
    second = await store.bindings.bind(request(), NOW, by="test")
    history = await store.bindings.list(x=f"+86{X}")
    assert [one.id for one in history] == [second.id, first.id]
    assert [one.id for one in await store.bindings.list(x=X, after=second.id)] == [first.id]
    assert await store.bindings.list(x=f"{PREFIX}0003") == ()


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": LONGEST_PAGE + 1}, "limit"),
        ({"after": "none"}, "after"),
        ({"x": "13800138000"}, "x"),
    ],
)
async def test_a_senseless_page_is_refused(store: Store, arguments: dict[str, Any], field: str) -> None:
    assert (await refused(store.bindings.list(**arguments))).field == field


# --- what is on the disk ---


async def test_no_real_number_is_on_the_disk(store: Store, tmp_path: Path) -> None:
    await store.bindings.bind(request(), NOW, by="test")
    content = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert X.encode() in content
    for number in (A, B):
        digits = number.removeprefix("+86")
        assert digits.encode() not in content
        assert digits.encode("utf-16-le") not in content
        assert int(digits).to_bytes(6, "big") not in content


async def test_the_file_itself_refuses_numbers_that_are_no_middle_numbers(store: Store, path: Path) -> None:
    await store.bindings.bind(request(), NOW, by="test")
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in (
        "UPDATE bindings SET x = '13800138000'",
        "UPDATE bindings SET x = '70012345678000x'",
        "UPDATE blocks SET prefix = '40012345678'",
        "UPDATE blocks SET state = 'lost'",
    ):
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute(statement)
    connection.close()


async def test_a_store_is_opened_again_with_all_it_held(path: Path, seal: Seal) -> None:
    async with await Store.open(path, seal) as store:
        await provide(store)
        bound = await store.bindings.bind(request(), NOW, by="test")
    async with await Store.open(str(path), seal) as store:
        assert [life.prefix for life in await store.blocks.list()] == [PREFIX]
        assert await store.bindings.list() == (bound,)


async def test_bringing_a_store_to_the_schema_it_has_changes_nothing(store: Store, reader: Reader) -> None:
    await store._database._migrate()
    assert [life.prefix for life in await store.blocks.list()] == [PREFIX]
    assert len(reader.plan()) == 1


async def test_several_may_create_the_same_store_at_once(tmp_path: Path, seal: Seal) -> None:
    for attempt in range(10):
        path = tmp_path / f"{attempt}.db"
        results = await asyncio.gather(*(Store.open(path, seal) for _ in range(4)), return_exceptions=True)
        for result in results:
            if isinstance(result, Store):
                await result.close()
        assert [result for result in results if isinstance(result, BaseException)] == []
        async with await Store.open(path, seal) as store:
            assert await store.blocks.list() == ()


async def test_creating_a_store_waits_for_another_that_looks_at_the_file_but_not_for_ever(
    path: Path, seal: Seal, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN")
    other.execute("SELECT * FROM sqlite_master").fetchall()
    monkeypatch.setattr("routing.store.database.WRITE_PATIENCE_SECONDS", 0.05)
    with pytest.raises(StoreError, match="locked"):
        await Store.open(path, seal)
    monkeypatch.setattr("routing.store.database.WRITE_PATIENCE_SECONDS", 5.0)
    opening = asyncio.create_task(Store.open(path, seal))
    await asyncio.wait([opening], timeout=0.05)
    assert not opening.done()
    other.execute("ROLLBACK")
    other.close()
    await (await opening).close()


async def test_a_newer_schema_is_refused_by_both_sides_with_a_clear_message(
    store: Store, reader: Reader, path: Path, seal: Seal
) -> None:
    await store.close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    connection.close()
    with pytest.raises(StoreError, match=f"version {VERSION + 1}, newer than {VERSION}.*upgrade"):
        await Store.open(path, seal)
    with pytest.raises(StoreError, match=f"version {VERSION + 1}, newer than {VERSION}.*upgrade"):
        reader.find(X, A)


@pytest.mark.parametrize("statement", ["PRAGMA application_id = 7", "PRAGMA user_version = 1"])
async def test_a_file_of_another_program_is_refused_and_left_alone(path: Path, seal: Seal, statement: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (value)")
    connection.execute(statement)
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="another program"):
        await Store.open(path, seal)
    with pytest.raises(StoreError, match="another program"):
        Reader(path, seal).plan()
    assert path.read_bytes() == before


async def test_another_keyring_is_refused_by_both_sides(store: Store, path: Path) -> None:
    await store.bindings.bind(request(), NOW, by="test")
    strange = Seal(new_keyring())
    with pytest.raises(StoreError, match="other keys"):
        await Store.open(path, strange)
    with pytest.raises(StoreError, match="other keys"):
        Reader(path, strange).find(X, A)


async def test_a_place_that_cannot_be_written_is_an_error_with_its_path(tmp_path: Path, seal: Seal) -> None:
    for path in (tmp_path / "absent" / "bindings.db", tmp_path):
        with pytest.raises(StoreError, match=str(path)):
            await Store.open(path, seal)


async def test_a_file_that_is_no_database_is_an_error_with_its_path(path: Path, seal: Seal) -> None:
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(StoreError, match="not a database"):
        await Store.open(path, seal)


async def test_a_closed_store_says_so(store: Store) -> None:
    await store.close()
    for work in (store.bindings.bind(request(), NOW, by="test"), store.blocks.list(), store.bindings.get("none")):
        with pytest.raises(StoreError):
            await work


async def test_a_binding_that_fails_half_way_takes_no_key(path: Path, seal: Seal, reader: Reader) -> None:
    async with await Store.open(path, seal, token=lambda: "same") as store:
        await provide(store)
        first = await store.bindings.bind(request(), NOW, by="test")
        with pytest.raises(StoreError, match="UNIQUE"):
            await store.bindings.bind(request(x=f"{PREFIX}0002"), NOW, by="test")
        assert reader.find(f"{PREFIX}0002", A) is None
        assert await store.bindings.list() == (first,)


# --- writers at the same time ---


@pytest.mark.parametrize("writers", [1, 4])
async def test_a_key_fought_over_by_writers_is_won_once(path: Path, seal: Seal, writers: int) -> None:
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(await Store.open(path, seal)) for _ in range(writers)]
        await provide(stores[0])
        for round_ in range(3):
            now_ms = NOW + round_ * HOUR
            # Every round fights for the same keys; the holders of the round before have just expired.
            work = [
                store.bindings.bind(request(x=f"{PREFIX}000{number}", b=b, expires_ms=now_ms + HOUR), now_ms, by="test")
                for number in range(3)
                for b in (B, STRANGER)
                for store in stores
            ]
            results = await asyncio.gather(*work, return_exceptions=True)
            won = [result for result in results if not isinstance(result, BaseException)]
            lost = [result for result in results if isinstance(result, BaseException)]
            assert sorted(binding.x for binding in won) == [f"{PREFIX}000{number}" for number in range(3)]
            assert all(isinstance(error, BindingError) and error.rule == "key" for error in lost)
            live = [binding for binding in await stores[-1].bindings.list() if binding.live(now_ms)]
            held = [(binding.x, party) for binding in live for party in (binding.a, binding.b)]
            assert len(held) == len(set(held)) == 6


async def test_a_locked_store_is_an_error_and_works_again_once_it_is_free(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch, seal: Seal
) -> None:
    monkeypatch.setattr("routing.store.database.WRITE_PATIENCE_SECONDS", 0.01)
    async with await Store.open(path, seal) as hasty:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked"):
            await hasty.bindings.bind(request(), NOW, by="test")
        other.execute("ROLLBACK")
        other.close()
        await hasty.bindings.bind(request(), NOW, by="test")


async def test_a_cancelled_request_is_bound_wholly_or_not_at_all(store: Store, reader: Reader) -> None:
    # Cancelled ever later, from before its first statement until it is too late.
    for step in itertools.count():
        x = f"{PREFIX}{step:04d}"
        task = asyncio.create_task(store.bindings.bind(request(x=x), NOW, by="test"))
        for _ in range(step):
            await asyncio.sleep(0.0001)
        in_time = task.cancel()
        await asyncio.wait([task])
        # The next turn comes only once the cancelled one has left nothing open.
        after = await store.bindings.bind(request(x=x, a=STRANGER, b=ANOTHER), NOW, by="test")
        assert reader.find(x, STRANGER) == after
        one, other = reader.find(x, A), reader.find(x, B)
        assert one == other
        assert step or one is None
        if not in_time:
            assert one == task.result()
            break
