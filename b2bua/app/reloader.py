"""Taking over changed settings while calls go on: read, check, compare, apply, and say what came of it."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from b2bua.app.config import ConfigError, Settings
from b2bua.app.config_errors import format_problem
from b2bua.app.config_listeners import check_trunks
from b2bua.app.logs import configure
from b2bua.app.reload import Changes, compare, merge

__all__ = ["Reloader", "Reloads"]

# A trunk that the file's own listeners serve lacks one here because that waits.
RESTART = "and restart: a reload opens no listener"


class Log(Protocol):
    """Where it is told; structlog's loggers fit."""

    def warning(self, event: str, **fields: object) -> object: ...
    def error(self, event: str, **fields: object) -> object: ...


class Target(Protocol):
    """What settings are changed of: the shell."""

    def read_certificates(self) -> Sequence[str]:
        """Read certificates again that lie behind unchanged names, and put none in force. What is wrong with them."""

    def reconfigure(self, settings: Settings) -> None:
        """Take over the live ones and the certificates that were read. ValueError, with nothing changed, when they
        cannot be."""


class Reloads(NamedTuple):
    """Figures for metrics. ``good_at``: UTC seconds of the last settings that were right, those of the start at first.
    ``pending``: how many keys of the file wait for a restart."""

    done: int
    failed: int
    good_at: float
    pending: int


class Reloader:
    """One process's settings. Reloads come one after another, however many are asked for at a time."""

    def __init__(self, settings: Settings, read: Callable[[], Settings], target: Target, log: Log) -> None:
        """``read`` returns the settings as they stand in the file, or raises ConfigError."""
        self.settings = settings  # those in force
        self._read = read
        self._target = target
        self._log = log
        self._turn = asyncio.Lock()
        self._done = self._failed = 0
        self._good_at = time.time()
        self._pending: tuple[str, ...] = ()
        self._requests: set[asyncio.Task[dict[str, Any]]] = set()

    @property
    def figures(self) -> Reloads:
        """How reloads went so far."""
        return Reloads(self._done, self._failed, self._good_at, len(self._pending))

    def request(self) -> None:
        """For a signal: reload soon, and tell the log alone."""
        task = asyncio.get_running_loop().create_task(self.reload())
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)

    async def reload(self) -> dict[str, Any]:
        """Read everything again. What is right goes into force as far as it can; on any mistake nothing does.

        The answer: ``ok``; where it is, ``changed``, ``restart`` and ``recorder`` (what needs a restart, or a signal to
        the recorder); where not, ``problems``, a line for each with its key, value and fix.
        """
        async with self._turn:
            try:
                wanted = await asyncio.to_thread(self._read)
            except ConfigError as error:
                return self._refuse(error.problems)
            changes = compare(self.settings, wanted)
            merged = merge(self.settings, wanted)
            problems = [
                format_problem("running listeners", f"{section}.{key}", value, f"{text}, {RESTART}")
                for section, key, value, text in check_trunks(merged)
            ]
            problems += self._target.read_certificates()
            if problems:
                return self._refuse(problems)
            try:
                self._target.reconfigure(merged)
            except ValueError as error:
                return self._refuse((f"trunk: {error}",))
            if (merged.log.level, merged.log.format) != (self.settings.log.level, self.settings.log.format):
                configure(merged.log.level, merged.log.format)
            self.settings = merged
            return self._accept(changes)

    def _refuse(self, problems: Sequence[str]) -> dict[str, Any]:
        self._failed += 1
        for problem in problems:
            self._log.error("reload_failed", problem=problem)
        return {"ok": False, "problems": list(problems)}

    def _accept(self, changes: Changes) -> dict[str, Any]:
        self._done += 1
        self._good_at = time.time()
        self._pending = changes.restart
        told = {"changed": changes.taken(), "restart": list(changes.restart), "recorder": list(changes.recorder)}
        self._log.warning("reloaded", **told)
        return {"ok": True, **told}
