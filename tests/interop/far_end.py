"""What every far end has: a program that a test starts, hears from, drives as a telephone, and ends by its pid."""

import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

__all__ = ["Address", "FarEndError", "Identity", "Phone", "Program", "until"]

POLL_SECONDS = 0.05
# Everything that is waited for comes soon on an idle machine; on a busy one it may take its time.
PATIENCE = 30.0
STOP_SECONDS = 10.0


class FarEndError(Exception):
    """A far end did not do what it was told to; the text has the end of its log."""


class Identity(NamedTuple):
    """Files in PEM: whom a host trusts, what it shows, and its key."""

    authority: Path
    certificate: Path
    key: Path


class Address(NamedTuple):
    """Where a far end or the switch is reached."""

    host: str
    port: int
    transport: str = "udp"

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    def uri(self, user: str = "") -> str:
        """The sip URI of a user here."""
        name = f"{user}@" if user else ""
        return f"sip:{name}{self.host}:{self.port};transport={self.transport}"


def until(probe: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    """Return when the probe is true; FarEndError, saying what was waited for, when it does not become so."""
    end = time.monotonic() + seconds
    while not probe():
        if time.monotonic() > end:
            raise FarEndError(f"waited {seconds:.0f} s for {what}")
        time.sleep(POLL_SECONDS)


class Program:
    """A process whose output is read as it comes; `lines` is all it has written so far."""

    def __init__(self, command: Sequence[str], directory: Path) -> None:
        self.name = Path(command[0]).name
        self._popen = subprocess.Popen(
            command, cwd=directory, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._popen.stdout is not None
        with self._popen.stdout as stream:
            self.lines.extend(line.decode(errors="replace").rstrip("\n") for line in stream)

    @property
    def running(self) -> bool:
        return self._popen.poll() is None

    def write(self, line: str) -> None:
        """A line to its standard input."""
        assert self._popen.stdin is not None
        self._popen.stdin.write(f"{line}\n".encode())
        self._popen.stdin.flush()

    def await_line(self, text: str) -> None:
        """Wait until it has written this; FarEndError when it ends before."""
        until(lambda: any(text in line for line in list(self.lines)) or not self.running, f"{text!r} of {self.name}")
        if not self.running:
            raise FarEndError(f"{self.name} ended at its start:\n" + "\n".join(self.lines[-30:]))

    def stop(self) -> None:
        """End it, kindly first, and leave nothing behind."""
        assert self._popen.stdin is not None
        self._popen.stdin.close()
        if self.running:
            self._popen.terminate()
        try:
            self._popen.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        self._reader.join(STOP_SECONDS)


class Phone(ABC):
    """A telephone with one line, played by some program. What takes too long raises FarEndError.

    It plays its own tone to the other party in every call, and records what it hears.
    """

    kind: str
    version: str

    def __init__(self, number: str, address: Address) -> None:
        self.number = number
        self.address = address
        self._mark = 0

    def expect(self) -> None:
        """A new call begins: only what happens from now on belongs to it."""
        self._mark = len(self.history())

    def dial(self, number: str) -> None:
        """Call a number."""
        self.expect()
        self._dial(number)

    def await_ringing(self) -> None:
        """Wait for a call that comes in."""
        self._await("ringing")

    def await_up(self) -> None:
        """Wait for the answer, or for its ACK."""
        self._await("up")

    def await_down(self) -> None:
        """Wait for the end."""
        self._await("down")

    def _await(self, state: str) -> None:
        until(lambda: state in self.history()[self._mark :], f"{self.number} to be {state}; it was {self.history()}")

    @abstractmethod
    def history(self) -> list[str]:
        """The states of its calls so far, as it tells them: ringing, up, down."""

    @abstractmethod
    def digits(self) -> str:
        """All it has been told by its keypad's other end."""

    @abstractmethod
    def _dial(self, number: str) -> None: ...

    @abstractmethod
    def answer(self) -> None:
        """Take the call that rings."""

    @abstractmethod
    def hang_up(self) -> None:
        """End the call, or give it up, or refuse it with 486, whatever is due."""

    @abstractmethod
    def hold(self) -> None: ...

    @abstractmethod
    def resume(self) -> None: ...

    @abstractmethod
    def press(self, digits: str) -> None:
        """Send digits as RFC 4733 events in the stream of speech."""

    @abstractmethod
    def recording(self) -> Path:
        """What it heard in its last call, once that is over."""

    @abstractmethod
    def messages(self) -> str:
        """Every SIP message that it has sent or received, as it logged them."""

    @abstractmethod
    def close(self) -> None: ...
