"""The switch process: start everything in order, serve until told to stop, drain, stop in order."""

import asyncio
import signal
from collections.abc import Callable

import structlog
import uvloop

from b2bua.app.config import Settings
from b2bua.app.logs import configure
from b2bua.app.notify import notify
from b2bua.app.ops import ControlSocket, OpsServer
from b2bua.app.reloader import Reloader
from b2bua.app.shell import Shell
from b2bua.app.storage import make_directories
from cdr.store.segments import JournalError, Writer
from routing.errors import StoreError
from routing.store.reader import Reader
from routing.store.sqlite import Store
from routing.trunks import format_peer

__all__ = ["run_switch"]

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_SETTINGS = 2
# After the last call is released its BYE should be answered, or sent again once; seconds.
SETTLE_SECONDS = 2.0
POLL_SECONDS = 0.1


def run_switch(settings: Settings, read: Callable[[], Settings]) -> int:
    """Run the switch until a signal stops it; returns the exit code. Needs the main thread.

    ``read`` returns the settings anew for a reload, or raises ConfigError. The caller holds SIGHUP back until we listen
    for it.
    """
    configure(settings.log.level, settings.log.format)
    return uvloop.run(_serve(settings, read))


async def _serve(settings: Settings, read: Callable[[], Settings]) -> int:
    log = structlog.get_logger("switch")
    try:
        make_directories(settings)
        seal = settings.seal()
        async with await Store.open(settings.routing.store, seal):
            pass  # makes the file, or brings it to this version, before the read-only side looks at it
        journal = Writer(
            settings.journal.directory, settings.journal.segment_mib << 20, settings.journal.sync_window_ms
        )
    except (OSError, StoreError, JournalError, ValueError) as error:
        log.error("start_failed", reason=str(error))
        return EXIT_FAILED
    try:
        shell = Shell(settings, seal, journal, Reader(settings.routing.store, seal), log.warning)
    except OSError as error:
        log.error("start_failed", reason=str(error))
        journal.close()
        return EXIT_FAILED
    reloader = Reloader(settings, read, shell, log)
    try:
        ops = OpsServer(shell, settings.ops.listen, settings.records.directory, reloader)
    except OSError as error:
        log.error("start_failed", reason=f"ops.listen {format_peer(settings.ops.listen)}: {error}")
        shell.doors.close()
        journal.close()
        return EXIT_FAILED
    control = ControlSocket(shell, settings.ops.control_socket, reloader)
    try:
        await control.open()
    except OSError as error:
        log.error("start_failed", reason=f"ops.control_socket {settings.ops.control_socket}: {error}")
        ops.close()
        shell.doors.close()
        journal.close()
        return EXIT_FAILED
    signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
    for number in (signal.SIGTERM, signal.SIGINT):
        shell.loop.add_signal_handler(number, signals.put_nowait, number)
    shell.loop.add_signal_handler(signal.SIGHUP, reloader.request)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGHUP,))
    shell.start()
    log.info(
        "started",
        sip=format_peer(shell.socket.address),
        listeners=shell.doors.shown(),
        ops=format_peer(ops.address),
        trunks=len(settings.trunks),
    )
    notify("READY=1")

    await signals.get()
    notify("STOPPING=1")
    shell.enter(shell.switch.drain)
    seconds = reloader.settings.sip.drain_seconds
    log.info("draining", active_calls=shell.switch.active_calls, seconds=seconds)
    forced = await _drain(shell, signals, seconds)
    released = shell.switch.active_calls
    shell.enter(shell.switch.release_all)
    await _until(lambda: not shell.switch.tables()["dialogs"], SETTLE_SECONDS)
    await asyncio.to_thread(ops.close)
    await control.close()
    await shell.close()
    log.info("stopped", forced=forced, released_calls=released)
    return EXIT_OK


async def _drain(shell: Shell, signals: "asyncio.Queue[signal.Signals]", seconds: float) -> bool:
    """Wait for the live calls to end, and for the word on messages under way, at most so long; True when a second
    signal cut it short."""
    end = shell.loop.time() + seconds
    while (shell.switch.active_calls or shell.switch.messages.under_way) and shell.loop.time() < end:
        if not signals.empty():
            return True
        await asyncio.sleep(POLL_SECONDS)
    return False


async def _until(done: Callable[[], bool], seconds: float) -> None:
    end = asyncio.get_running_loop().time() + seconds
    while not done() and asyncio.get_running_loop().time() < end:  # noqa: ASYNC110 - the switch has nothing to await
        await asyncio.sleep(POLL_SECONDS)
