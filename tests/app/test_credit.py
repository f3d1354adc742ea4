"""Credit files are settled beside the recorder, and only when all records of the day are there."""

import asyncio
from pathlib import Path

import pytest

from b2bua.app import credit as module
from b2bua.app.credit import caught_up, keep_credit
from cdr.seal import Seal, new_keyring
from cdr.store.segments import Writer
from cdr.store.state import Status, _encode
from routing.credit import china_day
from routing.store.sqlite import Store

NOW = 1_800_000_000_000
DAY_MS = 86_400_000


def stored(records: Path, segment: int, offset: int) -> None:
    records.mkdir(exist_ok=True)
    (records / "recorder-status.json").write_bytes(_encode(Status(segment=segment, offset=offset)))


def test_all_is_stored_when_no_more_than_seconds_of_the_journal_are_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BACKLOG_BYTES", 100)
    journal, records = tmp_path / "journal", tmp_path / "records"
    assert caught_up(journal, records)
    writer = Writer(journal, 1 << 20, 20)
    writer.append([b"x" * 299 + b"\n"])
    number = writer.position.segment
    stored(records, number, 150)
    assert not caught_up(journal, records)
    stored(records, number, 200)
    assert caught_up(journal, records)
    stored(records, number - 1, 300)
    assert not caught_up(journal, records)
    writer.close()


async def test_past_days_are_settled_while_the_recorder_runs_and_trouble_is_told(tmp_path: Path) -> None:
    seal, told, trouble = Seal(new_keyring()), list[str](), asyncio.Event()
    bindings = tmp_path / "bindings.db"
    bindings.mkdir()  # nothing can be opened there

    def log(event: str, **fields: object) -> None:
        told.append(event)
        trouble.set()

    keeper = asyncio.create_task(
        keep_credit(bindings, seal, tmp_path / "journal", tmp_path / "records", log, lambda: NOW, 0.01)
    )
    await trouble.wait()
    bindings.rmdir()
    yesterday = china_day(NOW - DAY_MS)
    for _ in range(500):
        await asyncio.sleep(0.01)
        async with await Store.open(bindings, seal) as store:
            if await store.credit.settled(yesterday):
                break
    else:
        pytest.fail("was not settled")
    keeper.cancel()
    await asyncio.gather(keeper, return_exceptions=True)
    assert set(told) == {"credit_not_settled"}


async def test_nothing_is_settled_before_the_recorder_has_caught_up(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "journal", 1 << 20, 20)
    stored(tmp_path / "records", 0, 0)
    keeper = asyncio.create_task(
        keep_credit(
            tmp_path / "bindings.db",
            Seal(new_keyring()),
            tmp_path / "journal",
            tmp_path / "records",
            print,
            seconds=0.01,
        )
    )
    await asyncio.sleep(0.1)
    keeper.cancel()
    await asyncio.gather(keeper, return_exceptions=True)
    assert not (tmp_path / "bindings.db").exists()
    writer.close()
