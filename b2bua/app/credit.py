"""Credit files from records (R19): what was refused on a day goes into the files of the business users, once the day is
over and all its records are stored."""

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from cdr.seal import Seal
from cdr.store.database import StoreError as RecordStoreError
from cdr.store.files import list_segments, segment_path
from cdr.store.sqlite import RecordStore, read_position
from routing.credit import china_day, day_start_ms
from routing.errors import BindingError, StoreError
from routing.store.sqlite import Store
from routing.windows import DAY_MS

__all__ = ["caught_up", "keep_credit", "settle_past"]

# A record arrives within seconds of its call's refusal; this is for clocks that differ.
MARGIN_MS: Final = 15 * 60_000
# Days that are counted in after a long absence.
MOST_DAYS: Final = 62
LOOK_SECONDS: Final = 600.0
# So much of the journal may wait, in bytes: some seconds' worth.
BACKLOG_BYTES: Final = 4 << 20
BY: Final = "recorder"


async def settle_past(store: Store, records: RecordStore, now_ms: int, *, by: str) -> dict[str, int]:
    """Count in the records of all past days that are not yet; how many entries each day has given."""
    done: dict[str, int] = {}
    today_ms = day_start_ms(china_day(now_ms - MARGIN_MS))
    for back in range(MOST_DAYS, 0, -1):
        start_ms = today_ms - back * DAY_MS
        day = china_day(start_ms)
        if not await store.credit.settled(day):
            refused = await records.refusals(start_ms, start_ms + DAY_MS)
            done[day] = len(await store.credit.settle(day, refused, now_ms, by=by))
    return done


def caught_up(journal: Path, records: Path) -> bool:
    """Whether the recorder has stored all of the journal but for the last seconds."""
    position = read_position(records)
    numbers = list_segments(journal) if journal.is_dir() else []
    if not numbers:
        return True
    if position.segment < numbers[-1]:
        return False
    with segment_path(journal, numbers[-1]).open("rb") as file:
        return not os.pread(file.fileno(), 1, position.offset + BACKLOG_BYTES).strip(b"\0")


async def keep_credit(
    bindings: Path,
    seal: Seal,
    journal: Path,
    records: Path,
    log: Callable[..., None],
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    seconds: float = LOOK_SECONDS,
) -> None:
    """Beside the recorder: settle past days again and again, until cancelled."""
    while True:
        await asyncio.sleep(seconds)
        try:
            if caught_up(journal, records):
                async with await Store.open(bindings, seal) as store:
                    await settle_past(store, RecordStore(records), now_ms(), by=BY)
        except (StoreError, RecordStoreError, BindingError, OSError) as error:
            log("credit_not_settled", reason=str(error))
