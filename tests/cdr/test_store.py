"""Records in SQLite: stored once, found by what people ask for, compact."""

import errno
import os
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdr.journal import decode_event, encode_event
from cdr.record import Parties, Record, reveal
from cdr.recorder import Assembler
from cdr.retention import RetentionError
from cdr.seal import Seal
from cdr.store.sqlite import Cursor, CursorError, Filters, RecordStore, StoreError, format_cursor, parse_cursor
from tests.cdr.story import CALL_ID, CALLEE, CALLER, MIDDLE, NOVEMBER, answered, attempted, ended, new_seal

DAY_MS = 86_400_000
DECEMBER = NOVEMBER + 20 * DAY_MS


def finished(record_id: str, seal: Seal | None = None, outcome: str = "answered", **changes: object) -> Record:
    assembler = Assembler()
    for event in (attempted(record_id, **changes), answered(record_id)):
        assembler.feed(decode_event(encode_event(event, seal or new_seal())))
    [record] = assembler.feed(ended(record_id, outcome=outcome))
    return record


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[RecordStore]:
    store = RecordStore(tmp_path / "records")
    yield store
    await store.close()


async def test_a_record_comes_back_as_it_was_with_its_parties_sealed(store: RecordStore, seal: Seal) -> None:
    record = finished("r-1", seal)
    assert await store.add([record]) == 1
    found = await store.show("r-1")
    assert found == record
    assert reveal(found, seal) == Parties(CALLER, CALLEE, "", CALL_ID)


async def test_a_bare_record_comes_back_too(store: RecordStore) -> None:
    record = Record(record_id="r-1", arrived_ms=NOVEMBER, partial=True)
    await store.add([record])
    assert await store.show("r-1") == record


async def test_an_unknown_record_is_none(store: RecordStore) -> None:
    assert await store.show("r-1") is None
    await store.add([finished("r-2")])
    assert await store.show("r-1") is None


async def test_a_record_is_stored_once(store: RecordStore) -> None:
    first = finished("r-1")
    assert await store.add([first, first]) == 1
    assert await store.add([msgspec.structs.replace(first, outcome="interrupted"), finished("r-2")]) == 1
    assert await store.count() == {"answered": 2}


async def test_months_go_into_files_of_their_own(store: RecordStore, tmp_path: Path) -> None:
    await store.add([finished("r-1"), finished("r-2", arrived_ms=DECEMBER)])
    assert sorted(path.name for path in (tmp_path / "records").glob("*.db")) == [
        "records-2026-11.db",
        "records-2026-12.db",
    ]


async def test_only_the_months_in_use_stay_open(store: RecordStore, tmp_path: Path) -> None:
    for month in range(8):
        await store.add([finished(f"r-{month}", arrived_ms=NOVEMBER + month * 31 * DAY_MS)])
    left = [path.name for path in (tmp_path / "records").glob("*.db-wal")]
    assert len(left) == 3
    assert sum((await store.count()).values()) == 8


async def test_a_partial_record_that_repeats_a_whole_one_of_another_month_is_not_stored(store: RecordStore) -> None:
    await store.add([finished("r-1", arrived_ms=NOVEMBER + 13 * DAY_MS - 80_000_000)])  # the last of November
    [repeat] = Assembler().feed(ended("r-1", ended_ms=NOVEMBER + 13 * DAY_MS, total_ms=100))
    assert await store.add([repeat]) == 0
    assert await store.add([msgspec.structs.replace(repeat, record_id="r-2")]) == 1
    assert sum((await store.count()).values()) == 2


# --- questions ---


async def shelf(store: RecordStore, seal: Seal) -> None:
    await store.add(
        [
            finished("r-1", seal),
            finished("r-2", seal, arrived_ms=NOVEMBER + 10, outcome="busy"),
            finished("r-3", seal, arrived_ms=NOVEMBER + 20, x="700999999999999", order_id="other"),
            finished("r-4", seal, arrived_ms=NOVEMBER + 30, calling="b", caller="+8613700137000"),
            finished("r-5", seal, arrived_ms=DECEMBER, order_id=""),
            finished("r-6", seal, arrived_ms=DECEMBER, x="13900139000", caller="", outcome="refused"),
        ]
    )


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        (None, "654321"),
        (Filters(), "654321"),
        (Filters(since_ms=NOVEMBER + 10), "65432"),
        (Filters(until_ms=NOVEMBER + 10), "1"),
        (Filters(since_ms=NOVEMBER + 10, until_ms=NOVEMBER + 30), "32"),
        (Filters(since_ms=DECEMBER + 1), ""),
        (Filters(x=MIDDLE), "5421"),
        (Filters(x=MIDDLE, since_ms=NOVEMBER + 1), "542"),
        (Filters(outcome="busy"), "2"),
        (Filters(order_id="other"), "3"),
        (Filters(record_id="r-4"), "4"),
        (Filters(number_hash=new_seal().hash(CALLER)), "5321"),
        (Filters(number_hash=new_seal().hash(CALLEE)), "654321"),
        (Filters(number_hash=new_seal().hash("+8613700137000")), "4"),
        (Filters(number_hash=new_seal().hash(CALLER), outcome="busy", x=MIDDLE), "2"),
        (Filters(outcome="nothing"), ""),
    ],
)
async def test_questions(store: RecordStore, seal: Seal, filters: Filters | None, ids: str) -> None:
    await shelf(store, seal)
    page = await store.list(filters)
    assert [record.record_id for record in page.records] == [f"r-{each}" for each in ids]
    assert page.cursor == ""
    assert sum((await store.count(filters)).values()) == len(ids)
    for limit in (1, 2, 3):
        found, cursor = [], ""
        while True:
            page = await store.list(filters, limit=limit, cursor=cursor)
            assert len(page.records) <= limit
            found += page.records
            cursor = page.cursor
            if not cursor:
                break
        assert [record.record_id for record in found] == [f"r-{each}" for each in ids]


async def test_counts_are_by_outcome(store: RecordStore, seal: Seal) -> None:
    await shelf(store, seal)
    assert await store.count() == {"answered": 4, "busy": 1, "refused": 1}


async def test_a_page_has_at_least_one_record_and_at_most_a_thousand(store: RecordStore) -> None:
    await store.add([Record(record_id=f"r-{number}", arrived_ms=NOVEMBER + number) for number in range(1005)])
    assert len((await store.list(limit=0)).records) == 1
    assert len((await store.list(limit=5000)).records) == 1000


@pytest.mark.parametrize(
    ("filters", "index"),
    [
        (Filters(record_id="r"), "sqlite_autoindex_records_1"),
        (Filters(x=MIDDLE, since_ms=1), "by_x"),
        (Filters(order_id="o"), "by_order_id"),
        (Filters(number_hash=b"h"), "by_b_hash"),
        (Filters(since_ms=1), "by_arrival"),
        (Filters(), "by_arrival"),
    ],
)
async def test_every_usual_question_has_its_index(
    store: RecordStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, filters: Filters, index: str
) -> None:
    await store.add([finished("r-1")])
    asked: list[str] = []
    monkeypatch.setattr("cdr.store.sqlite._SELECT", "EXPLAIN QUERY PLAN SELECT * FROM records")
    monkeypatch.setattr("cdr.store.sqlite._record_of", lambda row: asked.append(row[3]))
    await store.list(filters)
    assert index in " ".join(asked)


@given(st.integers(0, 253_402_300_799_999), st.text())
def test_cursors_in_text(arrived_ms: int, record_id: str) -> None:
    cursor = Cursor(arrived_ms, record_id)
    assert parse_cursor(format_cursor(cursor)) == cursor


@pytest.mark.parametrize("text", ["x", "1", "one:r-1", "-1:r-1", "²:r-1", "253402300800000:r-1", f"{9:099}:r-1"])
async def test_texts_that_are_no_cursor(store: RecordStore, text: str) -> None:
    with pytest.raises(CursorError):
        await store.list(cursor=text)


@given(st.sets(st.integers(0, 60), max_size=40), st.integers(1, 7))
@settings(max_examples=15, deadline=None)
def test_pages_give_every_record_once_newest_first(arrivals: set[int], limit: int) -> None:
    import asyncio
    import tempfile

    async def ask(directory: str) -> list[int]:
        store = RecordStore(directory)
        await store.add([Record(record_id=f"r-{day}", arrived_ms=NOVEMBER + day // 2 * 2 * DAY_MS) for day in arrivals])
        found: list[int] = []
        cursor = ""
        while True:
            page = await store.list(limit=limit, cursor=cursor)
            found += [int(record.record_id[2:]) for record in page.records]
            cursor = page.cursor
            if not cursor:
                await store.close()
                return found

    with tempfile.TemporaryDirectory() as directory:
        found = asyncio.run(ask(directory))
    assert sorted(found) == sorted(arrivals)
    assert [day // 2 for day in found] == sorted((day // 2 for day in arrivals), reverse=True)


# --- files ---


async def test_a_reader_beside_the_writer_sees_what_is_stored(store: RecordStore, tmp_path: Path) -> None:
    await store.add([finished("r-1")])
    reader = RecordStore(tmp_path / "records")
    assert await reader.show("r-1") is not None
    await store.add([finished("r-2")])
    assert await reader.count() == {"answered": 2}


async def test_a_directory_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert await RecordStore(tmp_path / "none").list() == ((), "")


async def test_a_directory_that_cannot_be_read_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot read"):
        await RecordStore(tmp_path / "file").list()


async def test_a_file_of_a_later_schema_is_refused(store: RecordStore, tmp_path: Path) -> None:
    await store.add([finished("r-1")])
    await store.close()
    with sqlite3.connect(tmp_path / "records" / "records-2026-11.db") as connection:
        connection.execute("PRAGMA user_version = 2")
    connection.close()
    for attempt in (store.list(), store.add([finished("r-2")])):
        with pytest.raises(StoreError, match="schema version 2, this program knows 1"):
            await attempt


async def test_a_file_that_is_no_database_is_a_store_error(store: RecordStore, tmp_path: Path) -> None:
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "records-2026-11.db").write_bytes(b"no database at all, " * 100)
    with pytest.raises(StoreError, match="cannot read"):
        await store.show("r-1")
    with pytest.raises(StoreError, match="cannot open"):
        await store.add([finished("r-1")])


async def test_a_file_that_is_being_made_reads_as_empty(store: RecordStore, tmp_path: Path) -> None:
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "records-2026-11.db").write_bytes(b"")
    assert await store.list() == ((), "")


async def test_a_file_that_is_gone_when_it_is_opened_is_a_store_error(
    store: RecordStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RecordStore, "_months", lambda self: ("2026-11",))
    with pytest.raises(StoreError, match="No such file"):
        await store.list()


async def test_a_store_that_fails_half_way_can_be_given_the_same_again(store: RecordStore, tmp_path: Path) -> None:
    await store.add([finished("r-1")])
    path = tmp_path / "records" / "records-2026-11.db"
    with sqlite3.connect(path) as connection:
        connection.execute(
            "CREATE TRIGGER full BEFORE INSERT ON records WHEN new.record_id = 'r-3'"
            " BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
        )
    connection.close()
    records = [finished(f"r-{number}") for number in range(1, 6)]
    with pytest.raises(StoreError, match="disk is full"):
        await store.add(records)
    assert await store.count() == {"answered": 1}
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TRIGGER full")
    connection.close()
    assert await store.add(records) == 4


async def test_a_question_that_sqlite_cannot_answer_is_a_store_error(store: RecordStore, tmp_path: Path) -> None:
    await store.add([finished("r-1")])
    with sqlite3.connect(tmp_path / "records" / "records-2026-11.db") as connection:
        connection.execute("ALTER TABLE records RENAME TO others")
    connection.close()
    for asked in (store, RecordStore(tmp_path / "records")):
        with pytest.raises(StoreError, match="no such table"):
            await asked.show("r-1")


async def test_months_past_retention_are_deleted_with_all_their_files(store: RecordStore, tmp_path: Path) -> None:
    month_ms = 2_629_800_000
    await store.add([Record(record_id=f"r-{n}", arrived_ms=NOVEMBER + (n - 26) * month_ms) for n in range(27)])
    assert await store.drop_expired(NOVEMBER - 42 * DAY_MS) == ()
    assert await store.drop_expired(NOVEMBER - 20 * DAY_MS) == ("2024-09",)
    await store.add([Record(record_id="r-new", arrived_ms=NOVEMBER)])
    assert not list((tmp_path / "records").glob("records-2024-09*"))
    assert await store.show("r-0") is None
    assert await store.show("r-1") is not None


async def test_no_setting_deletes_earlier(store: RecordStore) -> None:
    with pytest.raises(RetentionError):
        await store.drop_expired(NOVEMBER, 730)


async def test_a_month_that_cannot_be_deleted_is_a_store_error(
    store: RecordStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.add([finished("r-1")])

    def refuse(*_arguments: object, **_more: object) -> None:
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("cdr.store.sqlite.expired_months", lambda *_arguments: ("2026-11",))
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(StoreError, match=r"cannot delete .*Permission denied"):
        await store.drop_expired(NOVEMBER)


# --- size and privacy ---


async def test_rows_are_compact(store: RecordStore, tmp_path: Path) -> None:
    seal = new_seal()
    count = 2000
    records = [finished(f"019a-{n:06d}-3f9c2a7b41", seal, order_id=f"order-20261118-{n:08d}") for n in range(count)]
    await store.add([msgspec.structs.replace(record, routes=("carrier-b:200",)) for record in records])
    await store.close()
    path = tmp_path / "records" / "records-2026-11.db"
    with sqlite3.connect(path) as connection:
        [(payload,)] = connection.execute("SELECT sum(payload) FROM dbstat WHERE name = 'records'")
    connection.close()
    assert payload / count <= 400
    assert path.stat().st_size / count <= 650


async def test_files_are_for_their_owner_only(store: RecordStore, tmp_path: Path) -> None:
    await store.add([finished("r-1")])
    for path in (tmp_path / "records", *(tmp_path / "records").glob("*")):
        assert path.stat().st_mode & 0o077 == 0
