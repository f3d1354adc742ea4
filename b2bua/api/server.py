"""Serving the application over HTTP or HTTPS until a signal ends it."""

import asyncio
import signal
import socket
import ssl
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

from fastapi import FastAPI
from uvicorn import Config, Server
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["listen", "serve"]

LONGEST_HEAD: Final = 512 * 1024  # bytes; two reads of the event loop, as a read may bring the body along
HEAD_SECONDS: Final = 20.0
IDLE_SECONDS: Final = 65  # longer than the minute that proxies keep a connection
CONNECTIONS: Final = 2048  # and requests at one time; above, 503
STOP_SECONDS: Final = 5
BACKLOG: Final = 512


def listen(host: str, port: int) -> socket.socket:
    """A socket for `serve`; port 0 takes a free one. OSError where it cannot be had."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


async def serve(
    app: FastAPI,
    listener: socket.socket,
    tls: ssl.SSLContext | None,
    *,
    ready: Callable[[], None],
    stopping: Callable[[], None],
    renew: Callable[[], None],
) -> bool:
    """Answer requests until SIGTERM or SIGINT, then let those under way end; a second signal cuts them short.

    `ready` is called once requests are answered, `stopping` at the first signal, `renew` at each SIGHUP. False: the
    application did not start. The caller has held SIGHUP back until now.
    """
    config = Config(
        app,
        http=_Protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
        ssl_context_factory=None if tls is None else (lambda config, default: tls),
    )
    server = _Server(config, ready)
    loop = asyncio.get_running_loop()

    def stop() -> None:
        if server.should_exit:
            server.force_exit = True
        else:
            stopping()
            server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    loop.add_signal_handler(signal.SIGHUP, renew)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGHUP,))
    try:
        await server.serve(sockets=[listener])
    finally:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.remove_signal_handler(number)
    return server.started


class _Server(Server):
    """Tells when it answers, and leaves signals to us."""

    def __init__(self, config: Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


class _Protocol(HttpToolsProtocol):
    """One connection, whose peer has to send the head of each request within a time and a size."""

    _head = 0
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._deadline is not None:
            self._head += len(data)
            if self._head > LONGEST_HEAD:
                self.transport.abort()

    def on_message_begin(self) -> None:
        self._await_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._stop_waiting()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        self._stop_waiting()
        self._head = 0
        self._deadline = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
