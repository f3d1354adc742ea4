"""A small name server on loopback, UDP and TCP on one port, that answers as a test tells it to."""

import asyncio
from types import TracebackType
from typing import Self, cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from routing.trunks import Peer

__all__ = ["NameServer"]

CLASS = dns.rdataclass.IN


class NameServer:
    """Holds records by name and type. ``rcode`` other than NOERROR answers everything so; ``silent`` nothing at all.

    ``truncated``: over UDP only that the answer is too long. ``failing`` are (name, type) pairs answered SERVFAIL.
    ``asked`` lists (name, type, transport) as it was asked.
    """

    def __init__(self) -> None:
        self.rcode = dns.rcode.NOERROR
        self.silent = False
        self.truncated = False
        self.delay = 0.0
        self.negative_ttl = 30
        self.failing: set[tuple[str, str]] = set()
        self.asked: list[tuple[str, str, str]] = []
        self._records: dict[tuple[str, str], dns.rrset.RRset] = {}
        self._transport: asyncio.DatagramTransport | None = None
        self._server: asyncio.Server | None = None
        self.address = Peer("127.0.0.1", 0)

    def put(self, name: str, kind: str, *values: str, ttl: int = 60) -> None:
        """Answer so from now on; without values there is no such record."""
        if values:
            self._records[name, kind] = dns.rrset.from_text(f"{name}.", ttl, CLASS, kind, *values)
        else:
            self._records.pop((name, kind), None)

    def questions(self, kind: str) -> list[str]:
        """The names asked for, of one type."""
        return [name for name, asked, _ in self.asked if asked == kind]

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        while self._transport is None:
            server = await asyncio.start_server(self._stream, "127.0.0.1", 0)
            port = server.sockets[0].getsockname()[1]
            try:
                self._transport, _ = await loop.create_datagram_endpoint(
                    lambda: _Datagrams(self), local_addr=("127.0.0.1", port)
                )
            except OSError:  # the port is free for TCP only: another one
                server.close()
                await server.wait_closed()
        self._server = server
        self.address = Peer("127.0.0.1", port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._transport is not None
        assert self._server is not None
        self._transport.close()
        self._server.close()
        await self._server.wait_closed()

    def answer(self, data: bytes, transport: str) -> bytes | None:
        """What to say to a query, None for nothing."""
        query = dns.message.from_wire(data)
        question = query.question[0]
        name, kind = question.name.to_text(omit_final_dot=True).lower(), dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind, transport))
        if self.silent:
            return None
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        if self.truncated and transport == "udp":
            response.flags |= dns.flags.TC
            return response.to_wire()
        response.set_rcode(dns.rcode.SERVFAIL if (name, kind) in self.failing else self.rcode)
        if response.rcode() == dns.rcode.NOERROR:
            self._fill(response, name, kind)
        return response.to_wire()

    def _fill(self, response: dns.message.Message, name: str, kind: str) -> None:
        alias = self._records.get((name, "CNAME"))
        if alias is not None:
            response.answer.append(alias)
            name = alias[0].target.to_text(omit_final_dot=True)
        found = self._records.get((name, kind))
        if found is not None:
            response.answer.append(found)
            return
        if not any(known == name for known, _ in self._records):
            response.set_rcode(dns.rcode.NXDOMAIN)
        zone = name.partition(".")[2] or name
        soa = f"ns.{zone}. admin.{zone}. 1 60 60 60 {self.negative_ttl}"
        response.authority.append(dns.rrset.from_text(f"{zone}.", 3600, CLASS, "SOA", soa))

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            data = await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
            answer = self.answer(data, "tcp")
            if answer is not None:
                writer.write(len(answer).to_bytes(2) + answer)
                await writer.drain()
        except asyncio.IncompleteReadError:
            pass  # the client went away
        finally:
            writer.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: NameServer) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)  # the loop's own class does not derive from it

    def datagram_received(self, data: bytes, source: tuple[str, int]) -> None:
        assert self._transport is not None
        try:
            answer = self._server.answer(data, "udp")
        except dns.exception.DNSException:
            return
        if answer is not None:
            asyncio.get_running_loop().call_later(self._server.delay, self._transport.sendto, answer, source)
