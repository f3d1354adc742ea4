"""The verification hook of the rig: knows each scenario by its order, and says what the catalogue says."""

import contextlib
import json
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from catalogue import Hook

__all__ = ["HookServer"]

HANG_SECONDS = 2.0


class HookServer:
    """Listens on a port of its own until it is closed."""

    def __init__(self, host: str, says: Mapping[str, Hook]) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                word = says[asked["order_id"]]
                if word is Hook.HANGS:
                    time.sleep(HANG_SECONDS)
                body = b"what?" if word is Hook.FAILS else json.dumps({"allow": word is Hook.ALLOWS}).encode()
                with contextlib.suppress(OSError):  # the switch may have had enough
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, *words: object) -> None:
                pass

        self._server = ThreadingHTTPServer((host, 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://{host}:{self._server.server_address[1]}/"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()

    def close(self) -> None:
        """Answer nobody any more."""
        self._server.shutdown()
        self._server.server_close()
