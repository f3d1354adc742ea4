"""SIPp processes, and waiting for what they and the switch do."""

import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from routing.trunks import Peer

SHOWN_LINES = 60
SOCKET_SECONDS = 5.0

Value = TypeVar("Value")


class Sipp:
    """One sipp process and its files."""

    def __init__(self, command: list[str], directory: Path, title: str) -> None:
        self.title = title
        self._errors = directory / f"{title}.errors.log"
        messages = directory / f"{title}.messages.log"
        self.traces = [self._errors, messages]
        files = ["-trace_err", "-error_file", str(self._errors), "-trace_msg", "-message_file", str(messages)]
        with (directory / f"{title}.out").open("wb") as out:
            self._process = subprocess.Popen(
                command + files, cwd=directory, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
            )

    def await_socket(self, transport: str, place: Peer) -> None:
        """Return once SIPp receives, or has ended."""
        six = ":" in place.host
        raw = socket.inet_pton(socket.AF_INET6 if six else socket.AF_INET, place.host)
        words = (int.from_bytes(raw[start : start + 4], "little") for start in range(0, len(raw), 4))
        row = f" {''.join(f'{word:08X}' for word in words)}:{place.port:04X} "
        table = Path(f"/proc/net/{transport}{'6' if six else ''}")
        until(lambda: row in table.read_text() or self._process.poll() is not None, bool, SOCKET_SECONDS)

    def wait(self, deadline: float) -> int | None:
        """The exit code, or None when it had not ended by the deadline (of the monotonic clock)."""
        try:
            return self._process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            return None

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def complaint(self) -> str:
        """The first thing SIPp found wrong."""
        if not self._errors.exists():
            return "no error file"
        lines = self._errors.read_text(errors="replace").splitlines()
        return lines[1].split(": ", 1)[-1] if len(lines) > 1 else "no error told"


def tail(path: Path) -> str:
    """The last lines of a file; '' when there is none."""
    if not path.exists():
        return ""
    return "\n".join(path.read_text(errors="replace").splitlines()[-SHOWN_LINES:])


def until(probe: Callable[[], Value], good: Callable[[Value], bool], seconds: float) -> Value:
    """The first value that is good, or the last one before the time was over."""
    deadline = time.monotonic() + seconds
    while True:
        value = probe()
        if good(value) or time.monotonic() >= deadline:
            return value
        time.sleep(0.05)
