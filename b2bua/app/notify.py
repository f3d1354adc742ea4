"""Readiness by datagram, as sd_notify(3) of systemd speaks it: a service tells its manager READY=1 or STOPPING=1."""

import os
import socket
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

VARIABLE = "NOTIFY_SOCKET"
LONGEST_DATAGRAM = 4096  # bytes; a state is a few short lines


def notify(state: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Send `state` (lines of NAME=value) to the manager. False: nobody asked, or nobody listens."""
    address = environ.get(VARIABLE, "")
    if not address:
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]  # the abstract namespace, unix(7)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        try:
            channel.connect(address)
            channel.send(state.encode())
        except OSError:
            return False
    return True


class Listener:
    """The manager's end: a socket in a directory of its own that only this user can reach.

    Hand `environ` to the child, add `fileno()` to a loop or call `wait`; `close` removes the directory.
    """

    def __init__(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="x700-notify-"))
        self._path = self._directory / "socket"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.bind(str(self._path))
        self._socket.setblocking(False)

    @property
    def environ(self) -> dict[str, str]:
        """The variable a child needs to report here."""
        return {VARIABLE: str(self._path)}

    def fileno(self) -> int:
        return self._socket.fileno()

    def states(self) -> list[str]:
        """Every line that has arrived and was not read yet. Never blocks."""
        lines: list[str] = []
        while True:
            try:
                lines += self._socket.recv(LONGEST_DATAGRAM).decode(errors="replace").splitlines()
            except BlockingIOError:
                return lines

    def close(self) -> None:
        self._socket.close()
        self._path.unlink(missing_ok=True)
        self._directory.rmdir()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
