"""The outbox file: written once however often it is told, in order for each attempt, bounded, and never in the way."""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from cdr.outbox import Notice
from cdr.store import outbox as module
from cdr.store.database import StoreError
from cdr.store.outbox import DAMAGED_NAME, DEAD_KEPT_MS, KEPT_MS, OUTBOX_NAME, Counts, Outbox, Result, State

NOW = 1_795_000_000_000


def notice(record_id: str = "r-1", phase: int = 0, at_ms: int = NOW) -> Notice:
    return Notice(("call.attempted", "call.answered", "call.ended")[phase], record_id, phase, at_ms, "p", b"{}", b"x")


def call(record_id: str) -> list[Notice]:
    return [notice(record_id, phase, NOW + phase) for phase in range(3)]


@pytest.fixture
async def outbox(tmp_path: Path) -> AsyncIterator[Outbox]:
    made = Outbox(tmp_path, durable=True)
    yield made
    await made.close()


async def due(outbox: Outbox, now_ms: int = NOW + 10, webhook: str = "w") -> list[tuple[str, int]]:
    return [(each.notice.record_id, each.notice.phase) for each in await outbox.due(webhook, now_ms, 100)]


async def settle(outbox: Outbox, state: int, *, due_ms: int = 0, now_ms: int = NOW, webhook: str = "w") -> None:
    """The same becomes of all that is due."""
    items = await outbox.due(webhook, now_ms + 10, 1000)
    error = "" if state == State.DELIVERED else "answered 500"
    await outbox.settle([Result(item.number, state, due_ms, 500 if error else 200, error) for item in items], now_ms)


async def test_nothing_is_made_before_there_is_something_to_tell(outbox: Outbox, tmp_path: Path) -> None:
    assert await outbox.add([], NOW) == 0
    assert await due(outbox) == []
    assert await outbox.counts("w") == Counts()
    assert await outbox.dead("w") == []
    assert await outbox.redeliver("w", NOW) == 0
    await outbox.settle([Result(1, State.DELIVERED, 0, 200, "")], NOW)
    await outbox.settle([], NOW)
    await outbox.tend(NOW, ["w"])
    assert await outbox.waiting(NOW) == []
    assert os.listdir(tmp_path) == []


async def test_an_event_that_is_written_again_is_there_once(outbox: Outbox) -> None:
    assert await outbox.add([("w", each) for each in call("r-1")[:2]], NOW) == 2
    assert await outbox.add([("w", each) for each in call("r-1")], NOW) == 1
    assert await outbox.add([("other", notice())], NOW) == 1
    assert (await outbox.counts("w")).waiting == 3


async def test_the_file_is_only_ours_to_read(outbox: Outbox, tmp_path: Path) -> None:
    await outbox.add([("w", notice())], NOW)
    assert (tmp_path / OUTBOX_NAME).stat().st_mode & 0o077 == 0


async def test_an_event_waits_for_the_one_before_it_of_the_same_attempt(outbox: Outbox) -> None:
    await outbox.add([("w", each) for each in (*call("r-1"), *call("r-2"))], NOW + 5)
    assert await due(outbox) == [("r-1", 0), ("r-2", 0)]
    await settle(outbox, State.DELIVERED)
    assert await due(outbox) == [("r-1", 1), ("r-2", 1)]
    await settle(outbox, State.DEAD)
    assert await due(outbox) == [("r-1", 2), ("r-2", 2)]


async def test_while_one_waits_for_another_try_later_ones_wait_as_long_even_if_they_come_later(outbox: Outbox) -> None:
    await outbox.add([("w", notice()), ("w", notice("r-1", 1))], NOW)
    await settle(outbox, State.WAITING, due_ms=NOW + 60_000)
    await outbox.add([("w", notice("r-1", 2)), ("w", notice("r-2"))], NOW)
    assert await due(outbox) == [("r-2", 0)]
    assert await due(outbox, NOW + 60_000) == [("r-2", 0), ("r-1", 0)]
    # and no index is walked over them meanwhile: they are not due at all
    with closing(sqlite3.connect(outbox._path)) as connection:
        (least,) = connection.execute("SELECT min(due_ms) FROM events WHERE record_id = 'r-1'").fetchone()
    assert least == NOW + 60_000


async def test_an_event_from_the_future_is_due_at_once(outbox: Outbox) -> None:
    await outbox.add([("w", notice(at_ms=NOW + 3_600_000))], NOW)
    assert await due(outbox, NOW) == [("r-1", 0)]


async def test_webhooks_with_something_due_are_found(outbox: Outbox) -> None:
    for name in ("c", "a", "b"):
        await outbox.add([(name, each) for each in call("r-1")], NOW)
    await settle(outbox, State.WAITING, due_ms=NOW + 60_000, webhook="b")
    assert await outbox.waiting(NOW + 10) == ["a", "c"]
    assert await outbox.waiting(NOW + 60_000) == ["a", "b", "c"]


async def test_what_was_delivered_is_emptied_and_later_removed(outbox: Outbox) -> None:
    await outbox.add([("w", notice())], NOW)
    await settle(outbox, State.DELIVERED)
    with closing(sqlite3.connect(outbox._path)) as connection:
        assert connection.execute("SELECT facts, sealed, attempts, status FROM events").fetchall() == [
            (b"", b"", 1, 200)
        ]
        # while the recorder may say it again, it is remembered
        assert await outbox.add([("w", notice())], NOW) == 0
        await outbox.tend(NOW + KEPT_MS - 1, ["w"])
        assert connection.execute("SELECT count(*) FROM events").fetchone() == (1,)
        await outbox.tend(NOW + KEPT_MS, ["w"])
        assert connection.execute("SELECT count(*) FROM events").fetchone() == (0,)


async def test_dead_letters_are_listed_in_pages_and_told_again(outbox: Outbox) -> None:
    await outbox.add([("w", notice(f"r-{number}")) for number in range(5)], NOW)
    await settle(outbox, State.DEAD)
    first = await outbox.dead("w", limit=3)
    assert [each.id for each in first] == ["r-0-attempted", "r-1-attempted", "r-2-attempted"]
    assert (first[0].attempts, first[0].status, first[0].error) == (1, 500, "answered 500")
    assert [each.record_id for each in await outbox.dead("w", first[-1].number)] == ["r-3", "r-4"]
    assert await outbox.redeliver("w", NOW, [("r-1", 0), ("r-1", 1), ("nobody", 0)]) == 1
    assert await due(outbox) == [("r-1", 0)]
    assert (await outbox.due("w", NOW, 1))[0].attempts == 0
    assert await outbox.redeliver("other", NOW) == 0
    assert await outbox.redeliver("w", NOW) == 4
    assert await outbox.counts("w") == Counts(5, 0, 0, NOW, "answered 500")


async def test_dead_letters_go_when_they_are_old(outbox: Outbox) -> None:
    await outbox.add([("w", notice())], NOW)
    await settle(outbox, State.DEAD)
    await outbox.tend(NOW + DEAD_KEPT_MS - 1, ["w"])
    assert len(await outbox.dead("w")) == 1
    await outbox.tend(NOW + DEAD_KEPT_MS, ["w"])
    assert await outbox.dead("w") == []


async def test_the_oldest_dead_letters_go_when_there_are_too_many_and_are_counted(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_DEAD", 2)
    await outbox.add([("w", notice(f"r-{number}")) for number in range(5)], NOW)
    await settle(outbox, State.DEAD)
    await outbox.tend(NOW, ["w"])
    assert [each.record_id for each in await outbox.dead("w")] == ["r-3", "r-4"]
    assert (await outbox.counts("w")).lost == 3


async def test_a_webhook_for_which_too_much_waits_gets_no_more_until_there_is_room_and_others_do(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 3)
    await outbox.add([("w", notice(f"r-{number}")) for number in range(3)], NOW)
    await outbox.tend(NOW, ["w", "other"])
    assert await outbox.add([("w", notice("r-8")), ("w", notice("r-9")), ("other", notice("r-9"))], NOW) == 1
    assert await outbox.add([("w", notice("r-10"))], NOW) == 0
    assert await outbox.counts("w") == Counts(3, 0, 3, NOW, "")
    await settle(outbox, State.DELIVERED)
    await outbox.tend(NOW, ["w", "other"])
    assert await outbox.add([("w", notice("r-11"))], NOW) == 1


async def test_what_waits_for_a_webhook_that_is_gone_is_removed(outbox: Outbox) -> None:
    await outbox.add([("w", notice()), ("gone", notice()), ("gone", notice("r-2"))], NOW)
    await settle(outbox, State.DEAD, webhook="gone")
    await outbox.add([("gone", notice("r-3"))], NOW)
    item = (await outbox.due("gone", NOW, 1))[0]
    await outbox.tend(NOW, ["w"])
    assert (await outbox.counts("gone"), (await outbox.counts("w")).waiting) == (Counts(), 1)
    # a request that was under way meanwhile marks nobody else's row
    await outbox.add([("w", notice("r-4"))], NOW)
    await outbox.settle([Result(item.number, State.DELIVERED, 0, 200, "")], NOW)
    assert (await outbox.counts("w")).waiting == 2


async def test_two_processes_share_the_file(tmp_path: Path, outbox: Outbox) -> None:
    other = Outbox(tmp_path, durable=False)
    assert await due(other) == []
    await outbox.add([("w", each) for each in call("r-1")], NOW)
    assert await due(other) == [("r-1", 0)]
    await asyncio.gather(
        settle(other, State.DELIVERED), *(outbox.add([("w", notice(f"r-{number}"))], NOW) for number in range(2, 20))
    )
    assert len(await due(other)) == 19
    (tmp_path / OUTBOX_NAME).rename(tmp_path / "elsewhere")
    assert await due(other) == []
    await other.close()


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    path = tmp_path / OUTBOX_NAME
    path.write_bytes(b"no database at all" * 1000)
    return path


async def test_a_damaged_file_is_set_aside_by_the_one_that_writes_and_by_nobody_else(
    outbox: Outbox, damaged: Path
) -> None:
    reader = Outbox(damaged.parent, durable=False)
    for attempt in (reader.due("w", NOW, 1), reader.counts("w"), outbox.add([("w", notice())], NOW)):
        with pytest.raises(StoreError, match=r"outbox\.db"):
            await attempt
    assert await outbox.add([("w", notice())], NOW) == 1
    assert await due(reader) == [("r-1", 0)]
    assert (damaged.parent / DAMAGED_NAME).read_bytes().startswith(b"no database")
    await reader.close()


@pytest.mark.parametrize("what", ["settle", "redeliver", "tend", "add"])
async def test_a_file_that_refuses_is_said_and_used_again_later(outbox: Outbox, what: str) -> None:
    await outbox.add([("w", notice())], NOW)
    item = (await outbox.due("w", NOW, 1))[0]
    await settle(outbox, State.DEAD)
    refuse = "BEFORE {} ON events BEGIN SELECT RAISE(ABORT, 'no room'); END"
    with closing(sqlite3.connect(outbox._path)) as connection:
        for when in ("UPDATE", "INSERT", "DELETE"):
            connection.execute(f"CREATE TRIGGER no_{when} {refuse.format(when)}")
        result = Result(item.number, State.DELIVERED, 0, 200, "")
        # a mark goes to rows that wait only
        connection.execute("DROP TRIGGER no_UPDATE")
        connection.execute("UPDATE events SET state = 0")
        connection.execute(f"CREATE TRIGGER no_UPDATE {refuse.format('UPDATE')}")
        connection.commit()
        calls = {
            "settle": lambda: outbox.settle([result], NOW),
            "redeliver": lambda: outbox.redeliver("w", NOW),
            "tend": lambda: outbox.tend(NOW, []),
            "add": lambda: outbox.add([("w", notice("r-2"))], NOW),
        }
        if what == "redeliver":
            connection.execute("DROP TRIGGER no_UPDATE")
            connection.execute("UPDATE events SET state = 2")
            connection.execute(f"CREATE TRIGGER no_UPDATE {refuse.format('UPDATE')}")
            connection.commit()
        with pytest.raises(StoreError, match="no room"):
            await calls[what]()
        for when in ("UPDATE", "INSERT", "DELETE"):
            connection.execute(f"DROP TRIGGER no_{when}")
        connection.commit()
        await calls[what]()


async def test_much_is_removed_a_part_at_a_time(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK", 2)
    await outbox.add([("w", notice(f"r-{number}")) for number in range(5)], NOW)
    await outbox.tend(NOW, [])
    assert await outbox.counts("w") == Counts()


async def test_no_statement_looks_through_all_that_waits(outbox: Outbox) -> None:
    """A dead receiver has 200,000 events waiting, and each new one must cost as little as the first."""
    await outbox.add([("w", notice())], NOW)
    with closing(sqlite3.connect(outbox._path)) as connection:
        plans = {
            name: [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", values)]
            for name, statement, values in (
                ("insert", module._INSERT, ("w", "r-1", 0, "e", 1, "p", b"", b"", 1)),
                ("due", module._DUE, ("w", 1, 1)),
                ("waiting", module._WAITING, (1,)),
            )
        }
    assert "SEARCH events USING INDEX once (webhook=? AND record_id=?)" in plans["insert"]
    assert "SEARCH e USING INDEX waiting (webhook=? AND due_ms<?)" in plans["due"]
    assert "SEARCH p USING INDEX once (webhook=? AND record_id=? AND phase<?)" in plans["due"]
    assert [step for plan in plans.values() for step in plan if step.startswith(("SCAN e", "SCAN p"))] == []


async def test_a_file_that_lacks_what_is_asked_of_it_is_said(outbox: Outbox) -> None:
    await outbox.add([("w", notice())], NOW)
    with closing(sqlite3.connect(outbox._path)) as connection:
        connection.execute("DROP TABLE losses")
    with pytest.raises(StoreError, match="no such table"):
        await outbox.counts("w")


async def test_a_directory_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    broken = Outbox(tmp_path / "file", durable=True)
    with pytest.raises(StoreError, match="Not a directory"):
        await broken.counts("w")
