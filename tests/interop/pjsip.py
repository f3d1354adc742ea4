"""A pjsua2 telephone, run as a program of its own and driven from the test."""

import json
import re
import sys
from pathlib import Path
from typing import Any

from tests.interop.far_end import Address, Identity, Phone, Program

__all__ = ["Softphone"]

MESSAGE = re.compile(r"(?:TX|RX) \d+ bytes [^\n]*\n(.*?)--end msg--", re.DOTALL)
ROOT = Path(__file__).resolve().parents[2]


class Softphone(Phone):
    """pjsua2. It can record parts of a call too."""

    kind = "pjsua2"

    def __init__(
        self,
        directory: Path,
        number: str,
        address: Address,
        media: str,
        proxy: Address,
        tone: Path,
        identity: Identity,
        called: bool,
    ) -> None:
        super().__init__(number, address)
        self._directory = directory
        self._log = directory / f"softphone-{number}.log"
        self._recordings = 0
        plan = {
            "number": number,
            "transport": address.transport,
            "host": address.host,
            "port": address.port,
            "media_host": media,
            "proxy": f"{proxy.uri()};lr",
            "tone": str(tone),
            "log": str(self._log),
            "ca_file": str(identity.authority),
            "certificate": str(identity.certificate),
            "private_key": str(identity.key),
            # a callee is connected to; without this it would take 127.0.0.1 for its address
            "contact": f"<{address.uri(number)}>" if called else "",
        }
        self._program = Program([sys.executable, "-m", "tests.interop.softphone", json.dumps(plan)], ROOT)
        self._program.await_line('"ready"')
        self.version = self._events("ready")[0]["version"]

    def _events(self, name: str) -> list[dict[str, Any]]:
        entries = [json.loads(line) for line in list(self._program.lines) if line.startswith('{"event"')]
        return [entry for entry in entries if entry["event"] == name]

    def _do(self, what: str, **values: object) -> None:
        self._program.write(json.dumps({"do": what, **values}))

    def history(self) -> list[str]:
        return [event["state"] for event in self._events("state")]

    def digits(self) -> str:
        return "".join(event["digit"] for event in self._events("digit"))

    def streams(self) -> list[tuple[bool, bool]]:
        """How the stream of speech went so far: whether it sends and whether it hears, one entry a change."""
        return [(event["sends"], event["hears"]) for event in self._events("media")]

    def expect(self) -> None:
        super().expect()
        self.record()

    def record(self) -> None:
        """From now on, into a fresh file."""
        self._recordings += 1
        self._do("record", path=str(self.recording()))

    def recording(self) -> Path:
        return self._directory / f"heard-{self.number}-{self._recordings}.wav"

    def _dial(self, number: str) -> None:
        self._do("call", uri=f"sip:{number}@{self.address.host}")

    def answer(self) -> None:
        self._do("answer")

    def hang_up(self) -> None:
        self._do("hangup")

    def hold(self) -> None:
        self._do("hold")

    def resume(self) -> None:
        self._do("resume")

    def press(self, digits: str) -> None:
        self._do("digits", digits=digits, method="rfc4733")

    def press_by_info(self, digits: str) -> None:
        """Send digits in INFO requests (RFC 6086)."""
        self._do("digits", digits=digits, method="info")

    def messages(self) -> str:
        return "\n".join(MESSAGE.findall(self._log.read_text(errors="replace")))

    def close(self) -> None:
        self._program.stop()
