"""A switch of its own between far ends of its own: what a test calls through, and what it asks afterwards.

Every site has a network of loopback addresses to itself, and each party another one in it. So whatever number or
signalling address of one side shows up on the other is a leak.
"""

import asyncio
import json
import os
import random
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from b2bua.app.control import ask
from cdr.record import Record
from cdr.seal import Seal, format_keyring, new_keyring
from cdr.store.sqlite import RecordStore
from routing.plan import Block, BlockState
from routing.store.sqlite import Store
from tests.app.certificates import Authority
from tests.interop.baresip import Baresip
from tests.interop.far_end import Address, Identity, Phone, until
from tests.interop.kamailio import Kamailio
from tests.interop.pjsip import Softphone
from tests.interop.tone import write_tone
from tests.system.node import BLOCK, BUSINESS, Process, binding
from tests.system.phones import now_ms
from tests.system.wire import free_port

__all__ = ["CALLEE", "CALLEE_HERTZ", "CALLER", "CALLER_HERTZ", "Setting", "Site", "X", "open_site"]

CALLER, CALLEE, X = "13800138000", "13900139001", f"{BLOCK}0001"
CALLER_HERTZ, CALLEE_HERTZ = 440, 1000
# Longer than any call of a test: not every phone plays a file twice.
TONE_SECONDS = 60.0
# A transaction is gone after 64 T1 (RFC 3261 section 17): with these soon, and loopback is far quicker still.
TIMERS = {"t1_ms": 50, "t2_ms": 400, "t4_ms": 500}
SWITCH, PHONE_A, PHONE_B, FRONT, BEHIND, MEDIA_A, MEDIA_B = range(1, 8)


class Setting(NamedTuple):
    """Who calls whom, and which proxies stand between: Kamailio before the switch, and behind it."""

    caller: str
    callee: str
    front: bool = False
    behind: bool = False

    def __str__(self) -> str:
        proxies = " and ".join(name for name, there in (("before", self.front), ("behind", self.behind)) if there)
        phones = f"{self.caller} to {self.callee}"
        return f"{phones}, Kamailio {proxies}" if proxies else phones


class Site:
    """Switch and far ends, all running. `records` are those of the calls so far, oldest first."""

    def __init__(self, directory: Path, setting: Setting, transport: str, stack: ExitStack) -> None:
        self.setting, self.transport = setting, transport
        self.data = directory / "data"
        self.data.mkdir()
        self._network = f"127.{random.randint(10, 250)}.{random.randint(1, 250)}"
        self._authority = Authority(directory)
        self.switch = self._address(SWITCH)
        a, b = self._address(PHONE_A), self._address(PHONE_B)
        before, behind = self._address(FRONT), self._address(BEHIND)
        self._sides = (
            (CALLER, (a, before) if setting.front else (a,)),
            (CALLEE, (b, behind) if setting.behind else (b,)),
        )
        self._config = directory / "x700.toml"
        self._write_config(before if setting.front else a, behind if setting.behind else b)
        self._start_switch(stack)
        proxies = []
        for wanted, address, phone in ((setting.front, before, a), (setting.behind, behind, b)):
            if wanted:
                identity = self._identity(address.host)
                proxies.append(Kamailio(directory, address, self.switch, phone, identity))
                stack.callback(proxies[-1].close)
        self._proxies = tuple(proxies)
        self.caller = self._phone(directory, setting.caller, CALLER, a, before if setting.front else self.switch)
        stack.callback(self.caller.close)
        self.callee = self._phone(directory, setting.callee, CALLEE, b, behind if setting.behind else self.switch)
        stack.callback(self.callee.close)

    def _address(self, party: int) -> Address:
        host = f"{self._network}.{party}"
        kind = socket.SOCK_DGRAM if self.transport == "udp" else socket.SOCK_STREAM
        return Address(host, free_port(host, kind), self.transport)

    def _identity(self, host: str) -> Identity:
        return Identity(self._authority.file, *self._authority.issue(host, host))

    # ------------------------------------------------------------------ the switch

    def _write_config(self, caller: Address, callee: Address) -> None:
        keyring = new_keyring()
        self._seal = Seal(keyring)
        keys = self.data / "keyring"
        keys.touch(mode=0o600)
        keys.write_text(format_keyring(keyring))
        ops = f"{self.switch.host}:{free_port(self.switch.host, socket.SOCK_STREAM)}"
        tables: list[tuple[str, Mapping[str, object]]] = [
            ("[node]", {"name": "interop", "data_dir": str(self.data)}),
            ("[sip]", {"listen": str(self.switch), **TIMERS}),
            *self._listener(),
            ("[journal]", {"segment_mib": 1}),
            ("[log]", {"level": "debug"}),
            ("[ops]", {"listen": ops, "control_socket": "control.sock"}),
        ]
        for name, number, hop, party in (
            ("carrier-a", CALLER, caller, PHONE_A),
            ("carrier-b", CALLEE, callee, PHONE_B),
        ):
            trunk = {
                "name": name,
                "peers": [str(hop)],
                "transport": self.transport,
                "networks": sorted(self._sources(hop.host, f"{self._network}.{party}", party)),
                "prefixes": [number[:3]],
                # a proxy vouches for its callers, a phone says itself who it is
                "identity": "pai" if hop.host != f"{self._network}.{party}" else "from",
            }
            tables.append(("[[trunk]]", trunk))
        self._config.write_text(
            "".join(
                f"{head}\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())
                for head, values in tables
            )
        )

    def _sources(self, hop: str, phone: str, party: int) -> set[str]:
        """Where requests of one side come from. baresip binds what it sends over streams to no address, so that it
        comes from 127.0.0.1; of two such phones the caller's trunk has it."""
        unbound = PHONE_A if self.setting.caller == Baresip.kind else PHONE_B
        if self.transport != "udp" and Baresip.kind in self.setting[:2] and party == unbound:
            return {hop, phone, "127.0.0.1"}
        return {hop, phone}

    def _listener(self) -> Iterator[tuple[str, Mapping[str, object]]]:
        """Where the switch listens besides UDP, which every switch does."""
        if self.transport == "udp":
            return
        table: dict[str, object] = {"name": self.transport, "transport": self.transport, "listen": str(self.switch)}
        if self.transport == "tls":
            identity = self._identity(self.switch.host)
            table |= {"certificate": str(identity.certificate), "key": str(identity.key), "ca": str(identity.authority)}
        yield "[[listener]]", table

    def _start_switch(self, stack: ExitStack) -> None:
        asyncio.run(self._provide())
        clean = {name: value for name, value in os.environ.items() if not name.startswith("X700_")}
        self._processes = []
        for name in ("switch", "recorder"):
            process = Process([name, "--config", str(self._config)], clean, 0)
            stack.callback(process.close)
            # beside what the far ends log themselves, for whoever looks into a failure
            stack.callback(lambda log, lines: log.write_text("\n".join(lines)), self._log(name), process.lines)
            process.wait_ready()
            self._processes.append(process)

    def _log(self, name: str) -> Path:
        return self.data.parent / f"{name}.log"

    async def _provide(self) -> None:
        async with await Store.open(self.data / "bindings.db", self._seal) as store:
            await store.registry.enrol("provider-1", BUSINESS, "delivery", now_ms=now_ms(), by="test")
            await store.blocks.add(Block(BLOCK, "provider-1", BUSINESS, BlockState.ACTIVE), now_ms(), by="test")
            await store.bindings.bind(binding(X, CALLEE, CALLER), now_ms(), by="test")

    def _phone(self, directory: Path, kind: str, number: str, address: Address, proxy: Address) -> Phone:
        identity = self._identity(address.host)
        hertz, media = (CALLER_HERTZ, MEDIA_A) if number == CALLER else (CALLEE_HERTZ, MEDIA_B)
        tone = write_tone(directory / f"tone-{hertz}.wav", hertz, TONE_SECONDS)
        if kind == Softphone.kind:
            host = f"{self._network}.{media}"
            return Softphone(directory, number, address, host, proxy, tone, identity, called=number == CALLEE)
        return Baresip(directory, number, address, proxy, tone, identity)

    # ------------------------------------------------------------------ what tests ask

    def _ends(self) -> tuple[Phone | Kamailio, ...]:
        return (self.caller, self.callee, *self._proxies)

    def versions(self) -> dict[str, str]:
        """The programs at the far ends."""
        return {end.kind: end.version for end in self._ends()}

    def records(self) -> list[Record]:
        """Every record that the recorder has stored."""

        async def read() -> list[Record]:
            store = RecordStore(self.data / "records")
            try:
                return list((await store.list(limit=1000)).records)[::-1]
            finally:
                await store.close()

        return asyncio.run(read())

    def await_records(self, count: int) -> list[Record]:
        """Wait until there are so many records."""
        until(lambda: len(self.records()) >= count, f"record {count}")
        return self.records()

    def entries(self) -> dict[str, int]:
        """The tables of the switch that are not empty."""
        tables = ask(self.data / "control.sock", command="tables")["tables"]
        assert isinstance(tables, dict)
        return {name: count for name, count in tables.items() if count}

    def await_empty(self) -> None:
        """Wait until every table of the switch is empty."""
        until(lambda: not self.entries(), f"empty tables; there are {self.entries()}")

    def bypassed(self) -> list[str]:
        """The proxies that have recorded their route in vain: they saw no ACK or no BYE."""
        return [
            str(proxy.address)
            for proxy in self._proxies
            if not all(f"\n{method} sip:" in proxy.messages() for method in ("INVITE", "ACK", "BYE"))
        ]

    def leaks(self) -> list[str]:
        """What of one side has been seen on the other: numbers in any form, and signalling addresses."""
        found = []
        sides = [
            "\n".join(end.messages() for end in self._ends() if end.address in addresses)
            for _, addresses in self._sides
        ]
        for seen, (number, addresses) in zip(sides, reversed(self._sides), strict=True):
            assert "INVITE" in seen, "nothing was captured"
            if number in seen:
                found.append(number)
            signalling = self._media_free(seen)
            found += [
                address.host
                for address in addresses
                if re.search(rf"(?<![\d.]){re.escape(address.host)}(?!\d)", signalling)
            ]
        return found

    @staticmethod
    def _media_free(seen: str) -> str:
        """Without the lines of speech and its reports: those addresses cross on purpose."""
        return re.sub(r"(?m)^(?:c=IN|o=|a=rtcp:).*$", "", seen)

    def alarms(self) -> list[str]:
        """What the switch and the recorder logged that no test of this kind may cause."""
        found = []
        for process in self._processes:
            found += [str(entry) for entry in process.logged() if entry.get("level") in ("error", "critical")]
            found += process.complaints()
        return found


@contextmanager
def open_site(directory: Path, setting: Setting, transport: str) -> Iterator[Site]:
    """A site that runs; all its programs have ended afterwards."""
    with ExitStack() as stack:
        yield Site(directory, setting, transport, stack)
