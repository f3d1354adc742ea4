"""A provider's end: a real HTTP server on a free port that keeps what it was sent and answers as it is told."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Got:
    """One request, and whether it was answered with 200."""

    path: str
    headers: dict[str, str]
    body: bytes
    taken: bool

    @property
    def event(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def id(self) -> str:
        return str(self.event["id"])


class Receiver:
    """`answer` says what to do with the number of the request: a status, or a status and headers."""

    def __init__(self) -> None:
        self.got: list[Got] = []
        self.answer: Callable[[int], int | tuple[int, dict[str, str], bytes]] = lambda number: 200
        self.delay = 0.0
        self.lock = threading.Lock()
        self.under_way: set[str] = set()
        self.overlapped: list[str] = []
        self.widest = 0
        self.url = ""

    def take(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        record = json.loads(body).get("data", {}).get("record_id", "")
        with self.lock:
            if record in self.under_way:
                self.overlapped.append(record)
            self.under_way.add(record)
            self.widest = max(self.widest, len(self.under_way))
            answer = self.answer(len(self.got))
        if self.delay:
            time.sleep(self.delay)
        whole = (answer, {}, b"") if isinstance(answer, int) else answer
        with self.lock:
            self.under_way.discard(record)
            self.got.append(Got(path, headers, body, whole[0] == 200))
        return whole

    def ids(self) -> list[str]:
        with self.lock:
            return [got.id for got in self.got]

    def wait(self, ready: Callable[["Receiver"], bool], seconds: float = 20.0) -> None:
        until = time.monotonic() + seconds
        while not ready(self):
            assert time.monotonic() < until, f"not in time: {len(self.got)} requests"
            time.sleep(0.02)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    receiver: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        status, more, text = self.receiver.take(self.path, headers, body)
        self.send_response(status)
        for name, value in more.items():
            self.send_header(name, value)
        if "content-length" not in {name.lower() for name in more}:
            self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self) -> None:
        self.receiver.got.append(Got(self.path, {}, b"{}", False))
        self.send_error(405)

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that was killed


@contextmanager
def receiving(path: str = "/hook") -> Iterator[Receiver]:
    """A receiver at work."""
    receiver = Receiver()
    handler = type("Handler", (_Handler,), {"receiver": receiver})
    with _Server(("127.0.0.1", 0), handler) as server:
        receiver.url = f"http://127.0.0.1:{server.server_port}{path}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()


async def until(done: Callable[[], object], seconds: float = 15.0) -> None:
    """Return once this is true."""
    async with asyncio.timeout(seconds):
        while not done():  # noqa: ASYNC110 - what is waited for happens in threads and other processes
            await asyncio.sleep(0.01)
