"""What the recorder remembers, and what others may read of it."""

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from cdr.journal import Position
from cdr.recorder import Changes, OpenAttempt
from cdr.seal import Key, Keyring, Seal
from cdr.store.files import JournalError
from cdr.store.sqlite import StoreError, read_position, read_status
from cdr.store.state import RecorderState, Remembered, Status
from tests.cdr.story import new_seal

Opened = Callable[[Path, Seal], Awaitable[RecorderState]]
FIRST, SECOND = OpenAttempt("r-1", 10), OpenAttempt("r-2", 20)


@pytest.fixture
async def opened() -> AsyncIterator[Opened]:
    """Opens states, and closes what a failing test leaves open: its thread would keep the process alive."""
    states: list[RecorderState] = []

    async def open_state(directory: Path, seal: Seal) -> RecorderState:
        states.append(await RecorderState.open(directory, seal))
        return states[-1]

    yield open_state
    for state in states:
        await state.close()


def change_state(directory: Path, statement: str) -> None:
    connection = sqlite3.connect(directory / "recorder-state.db")
    connection.execute(statement)
    connection.commit()
    connection.close()


async def test_a_new_state_is_at_the_beginning(opened: Opened, tmp_path: Path, seal: Seal) -> None:
    state = await opened(tmp_path / "records", seal)
    assert await state.load() == Remembered(Position(0, 0), "", [])
    await state.close()


async def test_what_was_saved_is_remembered_over_a_restart(opened: Opened, tmp_path: Path, seal: Seal) -> None:
    state = await opened(tmp_path, seal)
    await state.save(Position(3, 99), Changes([FIRST, SECOND], [], "i-1"))
    await state.save(Position(4, 1), Changes([], ["r-1"], "i-2"))
    await state.close()
    state = await opened(tmp_path, seal)
    assert await state.load() == Remembered(Position(4, 1), "i-2", [SECOND])
    await state.close()


async def test_a_save_that_fails_changes_nothing(opened: Opened, tmp_path: Path, seal: Seal) -> None:
    state = await opened(tmp_path, seal)
    await state.save(Position(3, 99), Changes([FIRST], [], "i-1"))
    change_state(
        tmp_path,
        "CREATE TRIGGER full BEFORE INSERT ON settings BEGIN SELECT RAISE(ABORT, 'disk is full'); END",
    )
    with pytest.raises(StoreError, match="disk is full"):
        await state.save(Position(4, 1), Changes([SECOND], ["r-1"], "i-2"))
    assert await state.load() == Remembered(Position(3, 99), "i-1", [FIRST])
    change_state(tmp_path, "DROP TRIGGER full")
    await state.save(Position(4, 1), Changes([SECOND], ["r-1"], "i-2"))
    assert await state.load() == Remembered(Position(4, 1), "i-2", [SECOND])
    await state.close()


async def test_a_second_recorder_is_told_so(opened: Opened, tmp_path: Path, seal: Seal) -> None:
    state = await opened(tmp_path, seal)
    with pytest.raises(JournalError, match="in use: another recorder is running"):
        await opened(tmp_path, seal)
    await state.close()
    await (await opened(tmp_path, seal)).close()


@pytest.mark.parametrize("seed", [2, 255])
async def test_another_keyring_is_refused_before_anything_is_stored_with_it(
    opened: Opened, tmp_path: Path, seed: int
) -> None:
    await (await opened(tmp_path, new_seal(1))).close()
    with pytest.raises(StoreError, match="the keyring is not the one"):
        await opened(tmp_path, new_seal(seed))
    await (await opened(tmp_path, new_seal(1))).close()


async def test_a_keyring_without_the_old_key_is_refused_and_one_with_a_new_key_accepted(
    opened: Opened, tmp_path: Path
) -> None:
    old, new = Key(1, b"1" * 32), Key(2, b"2" * 32)
    await (await opened(tmp_path, Seal(Keyring((old,))))).close()
    await (await opened(tmp_path, Seal(Keyring((old, new))))).close()
    for keys in ((new,), (new, old)):
        with pytest.raises(StoreError, match="the keyring is not the one"):
            await opened(tmp_path, Seal(Keyring(keys)))


async def test_a_keyring_that_lost_the_key_that_sealed_is_refused(opened: Opened, tmp_path: Path) -> None:
    old, new = Key(1, b"1" * 32), Key(2, b"2" * 32)
    await (await opened(tmp_path, Seal(Keyring((old, new))))).close()
    with pytest.raises(StoreError, match="the keyring is not the one"):
        await opened(tmp_path, Seal(Keyring((old,))))


async def test_a_state_that_is_no_database_is_an_error_and_lets_go_of_the_lock(
    opened: Opened, tmp_path: Path, seal: Seal
) -> None:
    (tmp_path / "recorder-state.db").write_bytes(b"no database at all, " * 100)
    with pytest.raises(StoreError, match="cannot open"):
        await opened(tmp_path, seal)
    (tmp_path / "recorder-state.db").unlink()
    await (await opened(tmp_path, seal)).close()


async def test_a_state_of_a_later_schema_is_refused(opened: Opened, tmp_path: Path, seal: Seal) -> None:
    await (await opened(tmp_path, seal)).close()
    change_state(tmp_path, "PRAGMA user_version = 9")
    with pytest.raises(StoreError, match="schema version 9, this program knows 1"):
        await opened(tmp_path, seal)


async def test_a_state_without_its_tables_is_an_error(opened: Opened, tmp_path: Path, seal: Seal) -> None:
    await (await opened(tmp_path, seal)).close()
    change_state(tmp_path, "DROP TABLE settings")
    with pytest.raises(StoreError, match="no such table"):
        await opened(tmp_path, seal)


async def test_an_open_attempt_that_cannot_be_read_is_an_error(opened: Opened, tmp_path: Path, seal: Seal) -> None:
    state = await opened(tmp_path, seal)
    change_state(tmp_path, "INSERT INTO attempts VALUES ('r-1', 'rubbish')")
    with pytest.raises(StoreError, match="cannot read the recorder's state"):
        await state.load()
    await state.close()


async def test_anybody_may_read_the_position_without_a_lock(opened: Opened, tmp_path: Path, seal: Seal) -> None:
    assert read_position(tmp_path) == Position()
    state = await opened(tmp_path, seal)
    status = Status(segment=7, offset=4096, at_ms=1, stored=2, open=3, damaged=4, error="why")
    state.write_status(status)
    assert read_position(tmp_path) == Position(7, 4096)
    assert read_status(tmp_path) == status
    await state.close()
    assert read_position(str(tmp_path)) == Position(7, 4096)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"segment":"x"}'])
def test_a_status_that_cannot_be_read_is_the_beginning(tmp_path: Path, text: str) -> None:
    (tmp_path / "recorder-status.json").write_text(text)
    assert read_position(tmp_path) == Position()


async def test_a_status_that_cannot_be_written_is_a_store_error(opened: Opened, tmp_path: Path, seal: Seal) -> None:
    state = await opened(tmp_path, seal)
    (tmp_path / "recorder-status.draft").mkdir()
    with pytest.raises(StoreError, match="Is a directory"):
        state.write_status(Status())
    await state.close()
