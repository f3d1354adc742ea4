"""`x700 run`: the switch and the recorder as child processes; one that dies is started again, both stop in order.

The first stop signal asks the switch to drain, then the recorder to empty the journal; the second forces both. SIGHUP,
which asks for the settings to be read again, is passed on.
"""

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from b2bua.app.notify import Listener, notify


class Log(Protocol):
    """Where the supervisor tells what happens; structlog's loggers fit."""

    def info(self, event: str, **fields: object) -> object: ...
    def warning(self, event: str, **fields: object) -> object: ...


SETTINGS_ERROR = 2  # exit code of a child whose settings are wrong: another start would end the same way
FAILED_STARTS = 3  # a child that never became ready is tried so often: a port in use should end the command, not loop
FIRST_PAUSE = 0.2  # seconds before the first new start, doubled each time
LONGEST_PAUSE = 10.0
STEADY = 30.0  # seconds of life after which the pause starts small again
PATIENCE = 5.0  # seconds between a forced stop and SIGKILL
PR_SET_PDEATHSIG = 1  # prctl(2)


@dataclass(frozen=True, slots=True)
class Program:
    """A child: its name in the log, its command line, and how many seconds it may take to stop when asked."""

    name: str
    command: tuple[str, ...]
    stop_seconds: float


class _Child:
    """One program kept alive: started, watched, started again after a pause."""

    def __init__(self, program: Program, log: Log, readiness: Callable[[], None]) -> None:
        self.program = program
        self.ready = False
        self.failed = False  # given up: it cannot be started
        self.code = 0
        self._log = log
        self._readiness = readiness
        self._listener = Listener()
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()

    async def keep(self) -> None:
        """Run until stopped, or until it turns out that it cannot run."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._listener.fileno(), self._heard)
        try:
            await self._keep(loop)
        finally:
            loop.remove_reader(self._listener.fileno())
            self._listener.close()

    async def _keep(self, loop: asyncio.AbstractEventLoop) -> None:
        pause, failures, ever_ready = FIRST_PAUSE, 0, False
        while not self._stopping.is_set():
            started = loop.time()
            self.code = await self._once()
            ever_ready, self.ready = ever_ready or self.ready, False
            if self._stopping.is_set():
                return
            failures += 1
            if self.code == SETTINGS_ERROR or (not ever_ready and failures >= FAILED_STARTS):
                self.failed = True
                self._log.warning("child_given_up", child=self.program.name, code=self.code, starts=failures)
                return
            if loop.time() - started >= STEADY:
                pause = FIRST_PAUSE
            self._log.warning("child_died", child=self.program.name, code=self.code, restart_seconds=pause)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _once(self) -> int:
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self.program.command,
                env={**os.environ, **self._listener.environ},
                # out of the terminal's group: Ctrl-C reaches this process alone, which stops the children in order
                process_group=0,
                preexec_fn=_end_with_parent,
            )
        except OSError as error:
            self._log.warning("child_not_started", child=self.program.name, error=error.strerror)
            return SETTINGS_ERROR
        self._log.info("child_started", child=self.program.name, pid=self._process.pid)
        if self._stopping.is_set():
            self.signal(signal.SIGTERM)
        return await self._process.wait()

    def _heard(self) -> None:
        if "READY=1" in self._listener.states() and not self.ready:
            self.ready = True
            self._log.info("child_ready", child=self.program.name)
            self._readiness()

    def stop(self) -> None:
        self._stopping.set()
        self.signal(signal.SIGTERM)

    def signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):  # it has just ended: nothing left to tell
                self._process.send_signal(number)


class Supervisor:
    """Keeps the programs alive. They are given in the order in which they stop.

    ``renew`` returns the same programs as changed settings would have them, or none when those are wrong.
    """

    def __init__(self, programs: Sequence[Program], log: Log, renew: Callable[[], Sequence[Program]] = tuple) -> None:
        self._log = log
        self._renew = renew
        self._children = tuple(_Child(program, log, self._readiness) for program in programs)
        self._stop = asyncio.Event()
        self._force = asyncio.Event()

    async def run(self) -> int:
        """Until a stop signal or a child that cannot run. 0: stopped in order; else a child's code, or 1 if forced."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled, number)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGHUP,))
        keepers = [asyncio.create_task(child.keep(), name=child.program.name) for child in self._children]
        stop = asyncio.create_task(self._stop.wait())
        await asyncio.wait([stop, *keepers], return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        notify("STOPPING=1")
        for child, keeper in zip(self._children, keepers, strict=True):
            await self._end(child, keeper)
        await asyncio.gather(*keepers)
        failed = [child.code or 1 for child in self._children if child.failed]
        # a child told to stop before it could listen for signals has done nothing yet: that is in order
        unclean = any(child.code not in (0, -signal.SIGTERM) for child in self._children)
        code = failed[0] if failed else int(unclean or self._force.is_set())
        self._log.info("stopped", code=code)
        return code

    def _readiness(self) -> None:
        if all(child.ready for child in self._children):
            notify("READY=1\nSTATUS=" + ", ".join(f"{child.program.name} up" for child in self._children))

    def _signalled(self, number: signal.Signals) -> None:
        if self._stop.is_set():
            self._log.warning("stop_forced", signal=number.name)
            self._force.set()
        else:
            self._log.info("stopping", signal=number.name)
            self._stop.set()

    def _reload(self) -> None:
        self._log.info("reloading")
        programs = {program.name: program for program in self._renew()}
        for child in self._children:
            child.program = programs.get(child.program.name, child.program)
            child.signal(signal.SIGHUP)

    async def _end(self, child: _Child, keeper: asyncio.Task[None]) -> None:
        """Ask; when forced or out of time ask again, which a child takes as an order; at last kill."""
        child.stop()
        forced = asyncio.create_task(self._force.wait())
        await asyncio.wait([keeper, forced], timeout=child.program.stop_seconds, return_when=asyncio.FIRST_COMPLETED)
        forced.cancel()
        if keeper.done():
            return
        self._log.warning("child_forced", child=child.program.name)
        child.signal(signal.SIGINT)  # not SIGTERM again: two of one kind that arrive together count as one
        await asyncio.wait([keeper], timeout=PATIENCE)
        if not keeper.done():
            self._log.warning("child_killed", child=child.program.name)
            child.signal(signal.SIGKILL)


def _end_with_parent() -> None:
    """In the child before it runs: SIGTERM to it when this process dies, so that nothing is left behind; and a reload
    waits until it listens."""
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGHUP,))
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


_libc = ctypes.CDLL(None)


def supervise(programs: Sequence[Program], log: Log, renew: Callable[[], Sequence[Program]] = tuple) -> int:
    """Run the programs to their end; the exit code of the command."""

    async def main() -> int:
        return await Supervisor(programs, log, renew).run()

    _watch_without_threads()
    return asyncio.run(main())


def _watch_without_threads() -> None:
    """Wait for children by file descriptor, which is what asyncio does by itself from Python 3.12 on.

    With a waiting thread, a killed supervisor dies in two steps and its children are told twice (prctl(2):
    the signal comes at the end of the parent's thread): the second SIGTERM would force them.
    """
    if sys.version_info < (3, 12):
        asyncio.set_child_watcher(asyncio.PidfdChildWatcher())
