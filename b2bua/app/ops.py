"""The operator's side of the switch process: metrics and health over HTTP, live calls on a local socket."""

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any, TypeVar
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

from b2bua.app.metrics import SwitchCollector, snapshot
from b2bua.app.reloader import Reloader
from b2bua.app.shell import Shell
from b2bua.call.switch import Switch
from routing.trunks import Peer

__all__ = ["ControlSocket", "OpsServer"]

_Value = TypeVar("_Value")
PATIENCE = 5.0  # seconds a scrape waits for the switch's thread
LONGEST_COMMAND = 65_536


class OpsServer:
    """/metrics, /health and /ready. Pages are made in a thread of their own; figures are copied in the switch's
    thread."""

    def __init__(self, shell: Shell, listen: Peer, records_directory: Path, reloader: Reloader) -> None:
        """Bind; OSError when the address is taken."""
        self._shell = shell
        registry = CollectorRegistry()
        take = lambda: snapshot(shell, records_directory, reloader.figures)  # noqa: E731
        registry.register(_Quiet(SwitchCollector(lambda: self._ask(take))))
        self._metrics = make_wsgi_app(registry)
        server = _Server6 if ":" in listen.host else _Server
        self._server = make_server(listen.host, listen.port, self._page, server, _Handler)
        self.address = Peer(listen.host, self._server.server_port)
        self._thread = threading.Thread(target=self._server.serve_forever, name="ops-http", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(PATIENCE)

    def _page(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == "/metrics":
            return self._metrics(environ, start)  # type: ignore[no-any-return]
        if path not in ("/health", "/ready"):
            start("404 Not Found", [("Content-Type", "application/json")])
            return [b'{"error": "pages are /metrics, /health and /ready"}\n']
        try:
            state = self._ask(lambda: health(self._shell))
        except TimeoutError:
            start("503 Service Unavailable", [("Content-Type", "application/json")])
            return [b'{"healthy": false, "reasons": ["the switch does not respond"]}\n']
        good = state["healthy"] if path == "/health" else state["ready"]
        start("200 OK" if good else "503 Service Unavailable", [("Content-Type", "application/json")])
        return [json.dumps(state).encode() + b"\n"]

    def _ask(self, question: Callable[[], _Value]) -> _Value:
        answer: Future[_Value] = Future()

        def step() -> None:
            try:
                answer.set_result(question())
            except Exception as error:  # noqa: BLE001 - handed to the thread that asked
                answer.set_exception(error)

        self._shell.loop.call_soon_threadsafe(step)
        return answer.result(PATIENCE)


def health(shell: Shell) -> dict[str, Any]:
    """What /health and /ready say: healthy is whether calls can be carried, ready whether new ones should be sent
    here."""
    reasons = [f"journal: {shell.switch.journal_failure}"] if shell.switch.journal_failure else []
    if shell.store_failure:
        reasons.append(f"binding store: {shell.store_failure}")
    healthy = not reasons
    if shell.switch.draining:
        reasons.append("draining")
    return {
        "healthy": healthy,
        "ready": healthy and not shell.switch.draining,
        "draining": shell.switch.draining,
        "active_calls": shell.switch.active_calls,
        "reasons": reasons,
    }


class _Quiet:
    """A collector that is not asked at registration time, when the switch is not running yet."""

    def __init__(self, collector: SwitchCollector) -> None:
        self.collect = collector.collect

    def describe(self) -> list[Any]:
        return []


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = PATIENCE  # an idle or slow client does not keep its thread

    def log_message(self, format: str, *args: object) -> None:
        pass


class ControlSocket:
    """One JSON object a line there, one back. Commands: calls, hangup, messages, discard, trunks, tables,
    health, reload."""

    def __init__(self, shell: Shell, path: Path, reloader: Reloader) -> None:
        self._shell = shell
        self._reloader = reloader
        self._path = path
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listen; a socket left by a dead process is replaced. OSError when the path cannot be used."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            self._path.unlink()
        self._server = await asyncio.start_unix_server(self._serve, self._path, limit=LONGEST_COMMAND)
        self._path.chmod(0o600)

    async def close(self) -> None:
        """Stop listening and remove the socket."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
        with suppress(FileNotFoundError):
            self._path.unlink()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                answer = await self._answer(line)
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError):
            pass  # the client went away, or sent a line without end
        finally:
            writer.close()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
            command = request["command"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return {"error": 'send one JSON object a line, such as {"command": "calls"}'}
        switch = self._shell.switch
        if command == "calls":
            return _live_calls(switch, request)
        if command == "messages":
            return {"messages": [message._asdict() for message in switch.messages.live()]}
        if command == "trunks":
            return {"trunks": [target._asdict() for target in switch.trunk_view(self._shell.now())]}
        if command == "tables":
            return {"tables": switch.tables()}
        if command == "health":
            return health(self._shell)
        if command == "reload":
            return await self._reloader.reload()
        if command == "hangup":
            found = False

            def hang_up(now: Any) -> None:
                nonlocal found
                found = switch.hang_up(str(request.get("id", "")), now, str(request.get("provider", "")))

            self._shell.enter(hang_up)
            return {"ok": True} if found else {"error": "no live call has this id"}
        if command == "discard":
            found = False

            def give_up(now: Any) -> None:
                nonlocal found
                found = switch.discard(str(request.get("id", "")), now)

            self._shell.enter(give_up)
            return {"ok": True} if found else {"error": "no message that waits has this id"}
        known = "calls, hangup, messages, discard, trunks, tables, health and reload"
        return {"error": f"unknown command {str(command)[:40]!r}; there are {known}"}


def _live_calls(switch: Switch, request: dict[str, Any]) -> dict[str, Any]:
    """All calls, or a page of those that are asked for: by provider, id, number of the last one and how many."""
    provider, record_id = (str(request.get(key, "")) for key in ("provider", "id"))
    after, limit = (request.get(key, 0) for key in ("after", "limit"))
    if not (isinstance(after, int) and isinstance(limit, int)):
        return {"error": "after and limit are whole numbers"}
    return {"calls": [call._asdict() for call in switch.live_calls(provider, after, limit, record_id)]}
