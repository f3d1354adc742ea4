"""A tap on the loopback device: when the kernel received each INVITE, before the switch and behind it (packet(7)).

The kernel filters and stamps, so that between two looks nothing runs here. Opening it needs CAP_NET_RAW. While it is
open, everybody who sends on the device pays for it: it stays closed while CPU is measured.
"""

import ctypes
import re
import socket
import struct
import time
from types import TracebackType
from typing import Self

from tests.bench.figures import Stamp

IPV4 = 0x0800
SO_ATTACH_FILTER = 26  # asm-generic/socket.h; Python names neither
SO_TIMESTAMPNS = 35
RECEIVE_BYTES = 4 << 20
SNAP_BYTES = 4096
LOOK_SECONDS = 0.1

_MEDIA_PORT = re.compile(rb"\nm=audio (\d+)")
_STAMP = struct.Struct("ll")


def classic_filter(inward: int, outward: int) -> bytes:
    """Classic BPF: UDP that was received and carries an INVITE to one of two ports."""
    program = (
        # opcode, jump if true, jump if false, operand
        (0x30, 0, 0, 0xFFFFF004),  # the packet's type: every packet on this device is also seen on its way out, 4
        (0x15, 9, 0, 4),
        (0x30, 0, 0, 9),  # the protocol
        (0x15, 0, 7, 17),
        (0xB1, 0, 0, 0),  # the length of the IP header
        (0x40, 0, 0, 8),  # the first four bytes behind the UDP header
        (0x15, 0, 4, int.from_bytes(b"INVI", "big")),
        (0x48, 0, 0, 2),  # the destination port
        (0x15, 1, 0, inward),
        (0x15, 0, 1, outward),
        (0x06, 0, 0, SNAP_BYTES),
        (0x06, 0, 0, 0),
    )
    return b"".join(struct.pack("HBBI", *instruction) for instruction in program)


class Tap:
    """Open between ``with`` and its end. PermissionError where this is not allowed."""

    def __init__(self, inward: int, outward: int) -> None:
        """``inward`` is the port of the switch, ``outward`` that of the callee."""
        self._inward = inward
        program = classic_filter(inward, outward)
        buffer = ctypes.create_string_buffer(program)
        # protocol 0: nothing arrives before the filter is in place and bind names the device
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
        try:
            self._socket.setsockopt(
                socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", len(program) // 8, ctypes.addressof(buffer))
            )
            self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
            self._socket.setblocking(False)
            self._socket.bind(("lo", IPV4))
        except OSError:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def listen(self, seconds: float) -> list[Stamp]:
        """Collect for so many seconds."""
        stamps: list[Stamp] = []
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS)
            stamps += self._received()
        return stamps

    def _received(self) -> list[Stamp]:
        stamps: list[Stamp] = []
        while True:
            try:
                packet, ancillary, _, _ = self._socket.recvmsg(SNAP_BYTES, socket.CMSG_SPACE(_STAMP.size))
            except BlockingIOError:
                return stamps
            media = _MEDIA_PORT.search(packet)
            at = [data for _, kind, data in ancillary if kind == SO_TIMESTAMPNS]
            if media is None or not at:
                continue
            seconds, nanoseconds = _STAMP.unpack(at[0])
            header = (packet[0] & 0xF) * 4
            (port,) = struct.unpack_from("!H", packet, header + 2)
            stamps.append(Stamp(seconds + nanoseconds / 1e9, port == self._inward, media[1]))
