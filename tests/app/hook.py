"""A verification hook that does what the test wants, on a thread of its own: also what no sane server would do."""

import contextlib
import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple, Self

__all__ = ["Hook", "Told", "answer", "drip", "hang", "raw", "reset", "shut"]

ALLOW = b'{"allow": true}'
PATIENCE = 10.0


class Told(NamedTuple):
    """One request."""

    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def question(self) -> dict[str, str]:
        """What was asked."""
        asked = json.loads(self.body)
        assert isinstance(asked, dict)
        return asked


Manner = Callable[[socket.socket, Told], None]


def answer(body: bytes = ALLOW, status: str = "200 OK", *lines: str) -> Manner:
    """A whole answer."""
    head = "".join(f"{line}\r\n" for line in lines)

    def say(connection: socket.socket, told: Told) -> None:
        connection.sendall(f"HTTP/1.1 {status}\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    return say


def raw(data: bytes) -> Manner:
    """These bytes and the end."""

    def say(connection: socket.socket, told: Told) -> None:
        connection.sendall(data)
        connection.close()

    return say


def drip(seconds: float) -> Manner:
    """An answer, byte by byte."""

    def say(connection: socket.socket, told: Told) -> None:
        for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n" + ALLOW:
            connection.sendall(bytes((byte,)))
            time.sleep(seconds)

    return say


def hang(connection: socket.socket, told: Told) -> None:
    """Say nothing, until the client has had enough."""
    connection.settimeout(PATIENCE)
    connection.recv(1)


def shut(connection: socket.socket, told: Told) -> None:
    """Hang up without a word."""
    connection.close()


def reset(connection: socket.socket, told: Told) -> None:
    """Hang up rudely."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


class Hook:
    """A server on a port of its own. ``manners`` are taken one for each request; the last one stays."""

    def __init__(self, *manners: Manner, context: ssl.SSLContext | None = None) -> None:
        self.told: list[Told] = []
        self.connections = 0
        self.most = 0  # at one time
        self._open = 0
        self._manners = list(manners) or [answer()]
        self._context = context
        self._lock = threading.Lock()
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._socket.getsockname()[1]
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self.port}/verify?v=1"
        threading.Thread(target=self._serve, daemon=True).start()

    def behave(self, *manners: Manner) -> None:
        """From now on so."""
        with self._lock:
            self._manners = list(manners)

    def close(self) -> None:
        """Take no connection any more; those that are open are served on."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # or the thread would go on accepting
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with self._lock:
            self.connections += 1
            self._open += 1
            self.most = max(self.most, self._open)
        try:
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
            while (told := self._read(connection)) is not None:
                with self._lock:
                    self.told.append(told)
                    manner = self._manners[0] if len(self._manners) == 1 else self._manners.pop(0)
                manner(connection, told)
        except OSError:
            pass  # the client had enough, or we have closed
        finally:
            with self._lock:
                self._open -= 1
            connection.close()

    @staticmethod
    def _read(connection: socket.socket) -> Told | None:
        data = b""
        while b"\r\n\r\n" not in data:
            if not (more := connection.recv(65_536)):
                return None
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        line, *fields = head.decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
        while len(body) < int(headers["content-length"]):
            body += connection.recv(65_536)
        return Told(line, headers, body)
