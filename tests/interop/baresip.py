"""baresip as a telephone: a configuration of its own, driven through its control port."""

import contextlib
import json
import re
import socket
import time
from pathlib import Path
from typing import Any

from tests.interop.far_end import Address, Identity, Phone, Program, until
from tests.system.wire import free_port

__all__ = ["Baresip"]

CONFIG = """\
sip_listen {host}:{listen}
sip_certificate {pem}
net_interface {host}
module_path /usr/lib/baresip/modules
module g711.so
module aufile.so
module aubridge.so
module sndfile.so
module_tmp account.so
module_app menu.so
module_app ctrl_tcp.so
ctrl_tcp_listen {host}:{control}
audio_player aubridge,none
audio_alert aubridge,none
audio_source aufile,{tone}
snd_path {heard}
rtp_ports 20000-29999
"""
ACCOUNT = '<sip:{number}@{host}:{port};transport={transport}>;regint=0;outbound="{proxy};lr";audio_codecs=PCMA/8000/1\n'
STATES = {"CALL_INCOMING": "ringing", "CALL_ESTABLISHED": "up", "CALL_CLOSED": "down"}
# how it shows a message under -s, in colour
MESSAGE = re.compile(r"\x1b\[36;1m#\n[^\n]* -> [^\n]*\n(.*?)\x1b\[;m", re.DOTALL)
CONNECT_SECONDS = 5.0
# A key is down for a moment; the next one must not fall into it.
DIGIT_SECONDS = 0.3


class Baresip(Phone):
    """baresip. Its media address is that of its signalling; it has no way to send digits by INFO."""

    kind = "baresip"

    def __init__(
        self, directory: Path, number: str, address: Address, proxy: Address, tone: Path, identity: Identity
    ) -> None:
        super().__init__(number, address)
        home = directory / f"baresip-{number}"
        self._heard = home / "heard"
        self._heard.mkdir(parents=True)
        pem = home / "identity.pem"
        pem.write_bytes(identity.key.read_bytes() + identity.certificate.read_bytes())
        control = free_port(address.host, socket.SOCK_STREAM)
        # TLS it takes one port above the one that it is told
        listen = address.port - (address.transport == "tls")
        (home / "config").write_text(
            CONFIG.format(host=address.host, listen=listen, control=control, tone=tone, heard=self._heard, pem=pem)
        )
        (home / "accounts").write_text(
            ACCOUNT.format(
                number=number, host=address.host, port=address.port, transport=address.transport, proxy=proxy.uri()
            )
        )
        # its output is a pipe here, which it would fill by the block
        self._program = Program(["stdbuf", "-oL", "baresip", "-f", str(home), "-s"], home)
        self._program.await_line("baresip is ready")
        self.version = self._program.lines[0].split()[1].removeprefix("v")
        self._control = socket.create_connection((address.host, control), CONNECT_SECONDS)
        self._control.settimeout(0)
        self._received = b""
        self._events: list[dict[str, Any]] = []

    def _command(self, name: str, params: str = "") -> None:
        text = json.dumps({"command": name, "params": params}).encode()
        self._control.sendall(b"%d:%s," % (len(text), text))

    def _read(self) -> list[dict[str, Any]]:
        """Every event so far; they come as netstrings of JSON."""
        with contextlib.suppress(BlockingIOError):
            self._received += self._control.recv(1 << 20)
        while (colon := self._received.find(b":")) >= 0:
            end = colon + 1 + int(self._received[:colon])
            if len(self._received) <= end:
                break
            self._events.append(json.loads(self._received[colon + 1 : end]))
            self._received = self._received[end + 1 :]
        return self._events

    def history(self) -> list[str]:
        return [STATES[event["type"]] for event in self._read() if event.get("type") in STATES]

    def digits(self) -> str:
        return "".join(event["param"] for event in self._read() if event.get("type") == "CALL_DTMF_START")

    def _dial(self, number: str) -> None:
        self._command("dial", f"sip:{number}@{self.address.host}")

    def answer(self) -> None:
        self._command("accept")

    def hang_up(self) -> None:
        self._command("hangup")

    def hold(self) -> None:
        self._command("hold")

    def resume(self) -> None:
        self._command("resume")

    def press(self, digits: str) -> None:
        for digit in digits:
            self._command("sndcode", digit)
            time.sleep(DIGIT_SECONDS)

    def recording(self) -> Path:
        until(lambda: any(self._heard.glob("*-dec.wav")), f"a recording of {self.number}")
        return max(self._heard.glob("*-dec.wav"), key=lambda path: path.stat().st_mtime_ns)

    def messages(self) -> str:
        return "\n".join(MESSAGE.findall("\n".join(list(self._program.lines))))

    def close(self) -> None:
        self._control.close()
        self._program.stop()
