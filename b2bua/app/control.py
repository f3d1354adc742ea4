"""Speaking to a running switch: one JSON object on a line there, one back, over its local socket."""

import json
import socket
from pathlib import Path

PATIENCE = 5.0  # seconds; the switch answers between two messages
LONGEST_ANSWER = 64 * 1024 * 1024  # bytes: 100,000 calls at a few hundred bytes each


class NoSwitch(Exception):
    """No switch answers on the socket. The text names it."""


def ask(path: Path, **request: object) -> dict[str, object]:
    """Send a request and return the answer; NoSwitch when there is none."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
            channel.settimeout(PATIENCE)
            channel.connect(str(path))
            channel.sendall(json.dumps(request).encode() + b"\n")
            line = _line(channel)
        answer = json.loads(line)
    except OSError as error:
        reason = "no answer" if isinstance(error, TimeoutError) else error.strerror
        raise NoSwitch(f"no switch answers on {path} ({reason}); start one with: x700 run") from error
    except ValueError as error:
        raise NoSwitch(f"what answers on {path} is no switch") from error
    if not isinstance(answer, dict):
        raise NoSwitch(f"what answers on {path} is no switch")
    return answer


def _line(channel: socket.socket) -> bytes:
    parts: list[bytes] = []
    size = 0
    while size < LONGEST_ANSWER:
        part = channel.recv(65536)
        parts.append(part)
        size += len(part)
        if not part or part.endswith(b"\n"):
            return b"".join(parts)
    raise ValueError("an answer without end")
