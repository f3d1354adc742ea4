"""The recorder process: follows the journal, folds its events into records, stores them, removes what is stored.

Order is all: records, then what webhooks are to be told, then position and open attempts, then the journal's old
segments. Killed between any two, it does the last step again at the next start, and nothing changes by that.
"""

import asyncio
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import structlog

from b2bua.app.config import ConfigError, Settings
from b2bua.app.credit import keep_credit
from b2bua.app.logs import configure
from b2bua.app.notify import notify
from cdr.journal import EntryError, Position, decode_event, format_position
from cdr.outbox import Notice, ends_of, notices_of
from cdr.record import Answered, Record
from cdr.recorder import DEFAULT_LONGEST_OPEN_MS, Assembler
from cdr.retention import SHORTEST_DAYS, check_days
from cdr.seal import Seal
from cdr.store.outbox import Outbox
from cdr.store.segments import Batch, JournalError, Reader
from cdr.store.sqlite import RecordStore, StoreError
from cdr.store.state import RecorderState, Status
from routing.errors import StoreError as BindingStoreError
from routing.store.webhooks import Subscribers
from routing.webhooks import Subscription

POLL_SECONDS = 0.2
HEARTBEAT_MS = 5_000  # the status is written so often even when nothing happens
TEND_MS = 60_000  # between looks for attempts whose end was lost
RETENTION_MS = 3_600_000  # between looks for months past retention
OUTBOX_MS = 10_000  # between removals of what webhooks have been told
OUTBOX_TRIES = 5  # before records go on without the outbox
FIRST_RETRY_SECONDS = 0.2
LONGEST_RETRY_SECONDS = 10.0

log = structlog.get_logger("recorder")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class Recorder:
    """One journal, one records directory, and what leads from the first to the second.

    Everything that fails for want of a disk is tried again until `stop` is set; `status.error` says why meanwhile.
    """

    def __init__(
        self,
        reader: Reader,
        store: RecordStore,
        state: RecorderState,
        stop: asyncio.Event,
        *,
        outbox: Outbox,
        subscribers: Callable[[], Sequence[Subscription]],
        retention_days: int = SHORTEST_DAYS,
        now_ms: Callable[[], int] = _now_ms,
    ) -> None:
        """Use `open`, which also reads where to go on."""
        self._reader = reader
        self._store = store
        self._state = state
        self._stop = stop
        self._outbox = outbox
        self._subscribers = subscribers
        self._wanted: dict[str, list[Subscription]] = {}
        self._webhooks: frozenset[str] = frozenset()
        self._unknown = ""  # why nobody knows them
        self._outbox_failures = 0  # since the outbox was last written
        self._retention_days = check_days(retention_days)
        self._now_ms = now_ms
        self._assembler = Assembler()
        self._position = Position()
        self._stored = self._damaged = self._torn = self._untold = 0
        self._error = ""
        self._tended_ms = self._beaten_ms = self._dropped_ms = self._outbox_ms = 0

    @classmethod
    async def open(
        cls,
        journal_directory: Path | str,
        records_directory: Path | str,
        seal: Seal,
        stop: asyncio.Event,
        *,
        retention_days: int = SHORTEST_DAYS,
        longest_open_ms: int = DEFAULT_LONGEST_OPEN_MS,
        subscribers: Callable[[], Sequence[Subscription]] = tuple,
        now_ms: Callable[[], int] = _now_ms,
    ) -> Self:
        """Lock both directories and read where the last run ended.

        `subscribers` says which webhooks there are, whenever it is asked; BindingStoreError: not just now.
        Raises JournalError when another recorder is at work on either, StoreError for a state or keyring that does not
        fit, RetentionError for a period that is too short.
        """
        check_days(retention_days)
        reader = Reader(journal_directory)
        try:
            state = await RecorderState.open(records_directory, seal)
        except (JournalError, StoreError):
            reader.close()
            raise
        recorder = cls(
            reader,
            RecordStore(records_directory),
            state,
            stop,
            outbox=Outbox(records_directory, durable=True),
            subscribers=subscribers,
            retention_days=retention_days,
            now_ms=now_ms,
        )
        try:
            remembered = await state.load()
        except StoreError:
            await recorder.close()
            raise
        recorder._position = remembered.position
        recorder._assembler = Assembler(remembered.attempts, remembered.instance, longest_open_ms)
        log.info("recorder_opened", position=format_position(remembered.position), open=len(remembered.attempts))
        return recorder

    @property
    def status(self) -> Status:
        """How it fares now."""
        return Status(
            segment=self._position.segment,
            offset=self._position.offset,
            at_ms=self._now_ms(),
            stored=self._stored,
            open=len(self._assembler),
            damaged=self._damaged,
            torn=self._torn,
            partial=self._assembler.partial,
            interrupted=self._assembler.interrupted,
            untold=self._untold,
            error=self._error,
        )

    async def catch_up(self) -> bool:
        """Store all that the journal holds at the moment. False when `stop` came while the disk refused."""
        try:
            for batch in self._reader.follow(self._position):
                if not await self._take(batch):
                    return False
                self._reader.remove_before(self._position)
        except OSError as error:
            self._fail(f"cannot follow the journal: {error.strerror}")
        else:
            self._error = ""
        return True

    async def tend(self) -> bool:
        """What is due by the clock: attempts whose end was lost, retention, a sign of life. As `catch_up`."""
        now_ms = self._now_ms()
        # With an error the journal may not have been read to its end, where the missing ends may be.
        if now_ms - self._tended_ms >= TEND_MS and not self._error:
            self._tended_ms = now_ms
            records = self._assembler.expire(now_ms)
            if records and not await self._save(records, ends_of(records), self._position):
                return False
        if now_ms - self._dropped_ms >= RETENTION_MS:
            self._dropped_ms = now_ms
            try:
                dropped = await self._store.drop_expired(now_ms, self._retention_days)
            except StoreError as error:
                self._fail(str(error))
            else:
                if dropped:
                    log.info("records_expired", months=dropped)
        # Without an error all that was told is behind our position, so that nothing of it comes again.
        if now_ms - self._outbox_ms >= OUTBOX_MS and not self._error:
            self._outbox_ms = now_ms
            await self._tidy_outbox(now_ms)
        if now_ms - self._beaten_ms >= HEARTBEAT_MS:
            self._publish()
        return True

    def keep(self, retention_days: int) -> None:
        """Another period from now on. Raises RetentionError for one that is too short."""
        self._retention_days = check_days(retention_days)

    async def close(self) -> None:
        """Close all files and let another recorder in."""
        try:
            await self._outbox.close()
            await self._store.close()
            await self._state.close()
        finally:
            self._reader.close()

    async def _take(self, batch: Batch) -> bool:
        records: list[Record] = []
        notices: list[Notice] = []
        damaged = batch.damaged
        self._ask_subscribers()
        for payload in batch.payloads:
            try:
                entry = decode_event(payload)
            except EntryError:
                damaged += 1
                self._reader.keep(batch.segment)
                continue
            completed = self._assembler.feed(entry)
            records += completed
            if self._wanted:
                attempt = self._assembler.attempt(entry.record_id) if isinstance(entry, Answered) else None
                notices += notices_of(entry, attempt, completed)
        if damaged:
            self._damaged += damaged
            log.error("journal_damaged", segment=batch.segment, lines=damaged)
        if batch.torn:
            self._torn += 1
            log.warning("journal_torn", segment=batch.segment)
        if batch.restarted:
            log.warning("journal_replaced", was=format_position(self._position))
        return await self._save(records, notices, batch.position)

    async def _save(self, records: list[Record], notices: list[Notice], position: Position) -> bool:
        """Records first, position last: tried until it is done, or False when `stop` comes first.

        An outbox that goes on refusing does not hold records up: what it would have told is lost.
        """
        changes = self._assembler.changes()
        told = [
            (each.id, notice)
            for notice in notices
            for each in self._wanted.get(notice.provider, ())
            if notice.event in each.events
        ]
        delay = FIRST_RETRY_SECONDS
        while True:
            try:
                self._stored += await self._store.add(records)
                refusal = await self._tell(told) if told else ""
                await self._state.save(position, changes)
                break
            except (StoreError, JournalError) as error:
                self._fail(str(error))
            if await _sleep(self._stop, delay):
                return False
            delay = min(delay * 2, LONGEST_RETRY_SECONDS)
        if refusal:
            self._untold += len(told)
            log.error("webhook_events_lost", events=len(told), error=refusal)
        self._position = position
        self._error = ""
        self._publish()
        return True

    async def _tell(self, told: Sequence[tuple[str, Notice]]) -> str:
        """Write the outbox. StoreError while it is worth waiting for; then why it refuses, else ""."""
        try:
            await self._outbox.add(told, self._now_ms())
        except StoreError as error:
            self._outbox_failures += 1
            if self._outbox_failures < OUTBOX_TRIES:
                raise
            return str(error)
        self._outbox_failures = 0
        return ""

    def _ask_subscribers(self) -> bool:
        """Who is to be told from now on; False when nobody knows. Records do not wait for it: in doubt it is who it
        was."""
        try:
            found = self._subscribers()
        except BindingStoreError as error:
            if str(error) != self._unknown:
                self._unknown = str(error)
                log.error("webhooks_unknown", error=self._unknown)
            return False
        self._unknown = ""
        self._webhooks = frozenset(each.id for each in found)
        self._wanted = {}
        for each in found:
            if each.events:
                self._wanted.setdefault(each.provider, []).append(each)
        return True

    async def _tidy_outbox(self, now_ms: int) -> None:
        if not self._ask_subscribers():
            return
        try:
            await self._outbox.tend(now_ms, self._webhooks)
        except StoreError as error:
            log.error("outbox_not_tidied", error=str(error))

    def _fail(self, error: str) -> None:
        if error != self._error:
            log.error("recorder_cannot_store", error=error)
        self._error = error
        self._publish()

    def _publish(self) -> None:
        self._beaten_ms = self._now_ms()
        try:
            self._state.write_status(self.status)
        except StoreError as error:
            log.warning("status_not_written", error=str(error))


async def _sleep(stop: asyncio.Event, seconds: float) -> bool:
    """Wait, but not beyond `stop`; whether it is set."""
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return False
    return True


async def run(
    journal_directory: Path | str,
    records_directory: Path | str,
    seal: Seal,
    *,
    stop: asyncio.Event,
    retention_days: int = SHORTEST_DAYS,
    longest_open_ms: int = DEFAULT_LONGEST_OPEN_MS,
    poll_seconds: float = POLL_SECONDS,
    subscribers: Callable[[], Sequence[Subscription]] = tuple,
    now_ms: Callable[[], int] = _now_ms,
    started: Callable[["Recorder"], object] = lambda recorder: None,
) -> None:
    """Record until `stop` is set, then empty the journal once more and return.

    `started` is called with the recorder when both directories are ours. Raises as `Recorder.open` does.
    """
    recorder = await Recorder.open(
        journal_directory,
        records_directory,
        seal,
        stop,
        retention_days=retention_days,
        longest_open_ms=longest_open_ms,
        subscribers=subscribers,
        now_ms=now_ms,
    )
    try:
        started(recorder)
        while True:
            stopping = stop.is_set()
            if not (await recorder.catch_up() and await recorder.tend()) or stopping:
                return
            await _sleep(stop, poll_seconds)
    finally:
        await recorder.close()


def run_recorder(settings: Settings, read: Callable[[], Settings]) -> int:
    """The whole process: runs until SIGTERM or SIGINT. The exit code: 0, or 1 when it could not start.

    ``read`` returns the settings anew when SIGHUP comes, which the caller holds back until we listen for it.
    """
    try:
        asyncio.run(_main(settings, read))
    except (JournalError, StoreError) as error:
        log.error("recorder_failed", error=str(error))
        return 1
    return 0


async def _main(settings: Settings, read: Callable[[], Settings]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    def listen(recorder: Recorder) -> None:
        loop.add_signal_handler(signal.SIGHUP, _reload, recorder, read)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGHUP,))
        notify("READY=1")

    subscribers = Subscribers(settings.routing.store)
    journal, records = settings.journal.directory, settings.records.directory
    credit = asyncio.create_task(keep_credit(settings.routing.store, settings.seal(), journal, records, log.error))
    try:
        await run(
            settings.journal.directory,
            settings.records.directory,
            settings.seal(),
            stop=stop,
            retention_days=settings.records.retention_days,
            subscribers=subscribers.read,
            started=listen,
        )
    finally:
        credit.cancel()
        subscribers.close()


def _reload(recorder: Recorder, read: Callable[[], Settings]) -> None:
    """Take over what concerns us of changed settings; wrong ones are the switch's to explain in full."""
    try:
        settings = read()
    except ConfigError as error:
        for problem in error.problems:
            log.error("reload_failed", problem=problem)
        return
    configure(settings.log.level, settings.log.format)
    recorder.keep(settings.records.retention_days)
    log.info("reloaded", retention_days=settings.records.retention_days)
