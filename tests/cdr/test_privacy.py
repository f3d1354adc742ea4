"""Nothing personal in clear in any file: journal, recorder's state, records."""

import asyncio
import re
from pathlib import Path

from b2bua.app.recorder import Recorder
from cdr.seal import Seal
from cdr.store.segments import Writer
from cdr.store.sqlite import RecordStore
from tests.cdr.story import CALL_ID, CALLEE, CALLER, MIDDLE, NOVEMBER, answered, attempted, boot, ended, line

LANDLINE = "+861012345678"
DIALLED = "13700137000"
SECRETS = [
    secret.encode(encoding)
    for number in (CALLER, CALLEE, LANDLINE, DIALLED)
    for secret in (number.removeprefix("+86"), number.removeprefix("+86")[::-1])
    for encoding in ("utf-8", "utf-16-le")
] + [CALL_ID.encode(), CALL_ID.partition("@")[0].encode(), b"192.0.2.77"]


def grep(directory: Path) -> tuple[list[tuple[str, bytes]], set[str]]:
    """Which file holds which secret, and which files there are."""
    files = [path for path in sorted(directory.rglob("*")) if path.is_file()]
    return (
        [(path.name, secret) for path in files for secret in SECRETS if secret in path.read_bytes()],
        {re.sub(r"\d{10}|\d{4}-\d{2}", "N", path.name) for path in files},
    )


async def test_no_number_and_no_call_id_of_a_peer_is_in_clear_on_disk(tmp_path: Path, seal: Seal) -> None:
    writer = Writer(tmp_path / "journal", 1500, 50)
    events = [
        boot(),
        attempted("r-1"),
        attempted("r-2", calling="b"),
        attempted("r-3", calling="", callee="", caller=LANDLINE, x=DIALLED),
        answered("r-1"),
        ended("r-1"),
        ended("r-3", reason="number_malformed"),
    ]
    for event in events:
        writer.append([line(event, seal)])
        writer.sync()
    recorder = await Recorder.open(
        tmp_path / "journal", tmp_path / "records", seal, asyncio.Event(), now_ms=lambda: NOVEMBER
    )
    found, _ = grep(tmp_path)
    assert found == []
    await recorder.catch_up()
    await recorder.tend()
    # While all is open, write-ahead logs too.
    found, names = grep(tmp_path)
    assert found == []
    assert {
        "journal-N.log",
        "recorder-state.db",
        "recorder-state.db-wal",
        "recorder-status.json",
        "records-N.db",
        "records-N.db-wal",
    } <= names
    await recorder.close()
    assert grep(tmp_path)[0] == []
    store = RecordStore(tmp_path / "records")
    assert sum((await store.count()).values()) == 2
    assert MIDDLE.encode() in (tmp_path / "records" / "records-2026-11.db").read_bytes()
    writer.close()


def test_the_search_would_find_a_number(tmp_path: Path) -> None:
    (tmp_path / "journal-0000000001.log").write_bytes(b"x" + CALLEE.encode() + b"x")
    assert grep(tmp_path)[0] == [("journal-0000000001.log", CALLEE[3:].encode())]
