"""Looking up the peers of trunks in the background (RFC 3263): NAPTR, then SRV, then addresses, through dnspython.

A call never waits for a name server. Each name is asked for again shortly before its answer expires, and what is found
is handed on as a table of choices, whole trunks at a time. An answer that there is no such name counts as an answer.
Servers that do not answer, or fail, leave the last answer in use for a stated time.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from math import inf
from typing import Any, NamedTuple

import dns.asyncresolver
import dns.exception
import dns.name
import dns.rdatatype
import dns.resolver
from dns.nameserver import Do53Nameserver

from b2bua.app.config_models import Dns
from routing.targets import (
    DEFAULT_PORTS,
    Choice,
    Naptr,
    Target,
    fixed_choices,
    merged,
    services,
    uri_host,
    wanted,
)
from routing.trunks import Peer, Trunk, is_name

__all__ = ["Resolver"]

# A name whose servers fail is asked again after so many seconds at first, then each time twice as many.
RETRY_SECONDS = 2.0
LONGEST_RETRY_SECONDS = 60.0
# Asked again when this share of the time to live is left, so that a slow server does not make the answer stale.
EARLY = 0.1
# What one name may bring: a zone that is broken, or hostile, cannot make calls try hundreds of places.
MOST_RECORDS = 16
MOST_ADDRESSES = 8
# Answers kept for the time that servers fail; past it the oldest is forgotten.
MOST_KEPT = 4096
# A before AAAA; each with an address of its kind
KINDS = (("0.0.0.0", dns.rdatatype.A), ("::", dns.rdatatype.AAAA))


class ServerFailure(Exception):
    """No server gave an answer, and there is none left from before."""


class Found(NamedTuple):
    """The choices for one peer and for how many seconds they hold. ``failed``: a part of them is an old answer, or
    missing, since no server answered."""

    choices: tuple[Choice, ...]
    seconds: float
    failed: bool


@dataclass(slots=True)
class Kept:
    """The last answer to one question and until when it may serve while servers fail (monotonic seconds)."""

    records: tuple[Any, ...]
    until: float


class Resolver:
    """Keeps the named peers of trunks resolved. ``publish`` is called with the trunks whose choices have changed.

    ``reaches(transport, address)`` says whether a listener can send there: nothing else is asked for. To be
    used in one event loop.
    """

    def __init__(
        self,
        settings: Dns,
        publish: Callable[[Mapping[str, Sequence[Choice]]], None],
        log: Callable[..., None],
        reaches: Callable[[str, str], bool],
    ) -> None:
        self._settings = settings
        self._publish = publish
        self._log = log
        self._kinds = {
            transport: tuple(kind for address, kind in KINDS if reaches(transport, address))
            for transport in DEFAULT_PORTS
        }
        self._client: dns.asyncresolver.Resolver | None = None  # made when there is something to ask
        self._kept: dict[tuple[str, dns.rdatatype.RdataType], Kept] = {}
        self._tasks: dict[tuple[Peer, tuple[str, ...]], asyncio.Task[None]] = {}
        self._found: dict[tuple[Peer, tuple[str, ...]], tuple[Choice, ...]] = {}
        self._trunks: tuple[Trunk, ...] = ()
        self._published: dict[str, tuple[Choice, ...]] = {}

    def resolve(self, trunks: Sequence[Trunk]) -> None:
        """Keep the peers of these trunks resolved from now on, and no others."""
        self._trunks = tuple(trunks)
        keys = {self._key(trunk, peer) for trunk in trunks for peer in trunk.peers if is_name(peer)}
        for key in self._tasks.keys() - keys:
            self._tasks.pop(key).cancel()
            self._found.pop(key, None)
        names = {trunk.name for trunk in trunks}
        self._published = {name: choices for name, choices in self._published.items() if name in names}
        for key in sorted(keys - self._tasks.keys()):
            self._tasks[key] = asyncio.get_running_loop().create_task(self._keep(*key))
            self._tasks[key].add_done_callback(self._ended)
        self._tell(again=True)

    async def close(self) -> None:
        """Stop asking."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # one name

    def _key(self, trunk: Trunk, peer: Peer) -> tuple[Peer, tuple[str, ...]]:
        return peer, tuple(transport for transport in wanted(trunk) if self._kinds[transport])

    async def _keep(self, peer: Peer, transports: tuple[str, ...]) -> None:
        """Look one peer up for as long as it is wanted."""
        failures = 0
        name = uri_host(peer)
        while True:
            found: Found | None = None
            failure = ""
            try:
                found = await self._look_up(peer, transports)
            except ServerFailure as error:
                failure = str(error)
            if self._tasks.get((peer, transports)) is not asyncio.current_task():
                return  # told to end in the very instant of an answer: that cancellation is lost in the library
            if found is None:
                seconds = self._retry(failures)
                failures += 1
                if failures == 1:
                    self._log("dns_failed", name=name, reason=failure)
                if self._found.pop((peer, transports), None):
                    self._tell()  # what was kept is too old
            else:
                if found.failed:
                    seconds = self._retry(failures)
                    failures += 1
                    if failures == 1:
                        self._log("dns_failed", name=name, reason="no answer; the last one stays in use")
                else:
                    if failures:
                        self._log("dns_recovered", name=name)
                    failures = 0
                    seconds = found.seconds * (1 - EARLY)
                if not found.choices and self._found.get((peer, transports)) != ():
                    self._log("dns_empty", name=name)
                self._found[peer, transports] = found.choices
                self._tell()
            await asyncio.sleep(seconds)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Only a bug of ours ends it before it is told to."""
        if not task.cancelled() and task.exception() is not None:
            self._log("defect", error=repr(task.exception()), where="resolver")

    def _retry(self, failures: int) -> float:
        return min(RETRY_SECONDS * 2.0 ** min(failures, 10), LONGEST_RETRY_SECONDS)

    def _tell(self, *, again: bool = False) -> None:
        """Hand on what has changed; ``again``: all that is known, to a switch that may have forgotten it."""
        table: dict[str, tuple[Choice, ...]] = {}
        for trunk in self._trunks:
            keys = [self._key(trunk, peer) for peer in trunk.peers if is_name(peer)]
            if not any(key in self._found or trunk.name in self._published for key in keys):
                continue
            fixed = {choice.targets[0].peer: (choice,) for choice in fixed_choices(trunk)}
            choices = merged(
                self._found.get(self._key(trunk, peer), ()) if is_name(peer) else fixed.get(peer, ())
                for peer in trunk.peers
            )
            if again or self._published.get(trunk.name) != choices:
                self._published[trunk.name] = table[trunk.name] = choices
        if table:
            self._publish(table)

    async def _look_up(self, peer: Peer, transports: tuple[str, ...]) -> Found:
        """RFC 3263 §4: a port says that there is nothing to find out but the address. Raises ServerFailure."""
        question = _Question(self, peer)
        if not transports:
            return Found((), self._settings.longest_seconds, False)
        if peer.port:
            targets = await question.targets(transports[0], peer.host, peer.port)
            choices = [Choice(0, 0, targets)] if targets else []
        else:
            choices = await question.domain(transports)
        if not choices and question.failed:
            raise ServerFailure("no name server answers")
        return Found(tuple(choices), question.seconds, question.failed)

    async def ask(self, name: str, kind: dns.rdatatype.RdataType) -> tuple[tuple[Any, ...], float, bool]:
        """(records, seconds for which they hold, whether no server answered). While none does, the last answer."""
        now = time.monotonic()
        if self._client is None:
            self._client = _client(self._settings, self._log)
        try:
            answer = await self._client.resolve(_absolute(name), kind, raise_on_no_answer=False, search=False)
            records, ttl = tuple(answer.rrset or ()), answer.chaining_result.minimum_ttl
        except dns.resolver.NXDOMAIN as error:
            responses: Mapping[Any, Any] = error.kwargs["responses"]
            records, ttl = (), min(each.resolve_chaining().minimum_ttl for each in responses.values())
        except (dns.exception.DNSException, OSError, EOFError, ValueError):
            kept = self._kept.get((name, kind))
            if kept is None or kept.until < now:
                return (), inf, True
            return kept.records, inf, True
        longest = self._settings.longest_seconds if records else self._settings.longest_negative_seconds
        seconds = float(max(min(ttl, longest), self._settings.shortest_seconds))
        self._keep_answer((name, kind), Kept(records, now + seconds + self._settings.stale_seconds), now)
        return records, seconds, False

    def _keep_answer(self, question: tuple[str, dns.rdatatype.RdataType], answer: Kept, now: float) -> None:
        """In the order of their arrival, and never more than MOST_KEPT: a zone may name other hosts each time."""
        self._kept.pop(question, None)
        if len(self._kept) >= MOST_KEPT:
            self._kept = {key: kept for key, kept in self._kept.items() if kept.until >= now}
        if len(self._kept) >= MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[question] = answer

    def kinds(self, transport: str) -> tuple[dns.rdatatype.RdataType, ...]:
        """The kinds of address that this transport can be used with."""
        return self._kinds[transport]


class _Question:
    """One look-up of one peer: collects how long all of what it used holds, and whether a server failed."""

    def __init__(self, resolver: Resolver, peer: Peer) -> None:
        self._resolver = resolver
        self._peer = peer
        self.seconds = inf
        self.failed = False

    async def domain(self, transports: tuple[str, ...]) -> list[Choice]:
        """All there is behind a domain (RFC 3263 §4.1, §4.2): its services in order, else its own addresses."""
        domain = self._peer.host
        naptr = [
            Naptr(
                record.order,
                record.preference,
                record.flags.decode("latin-1"),
                record.service.decode("latin-1"),
                record.regexp.decode("latin-1"),
                record.replacement.to_text(omit_final_dot=True),
            )
            for record in await self._ask(domain, dns.rdatatype.NAPTR)
        ]
        row: list[Choice] = []
        first = 0
        found = False
        for transport, name in services(domain, naptr[:MOST_RECORDS], transports):
            records = await self._ask(name, dns.rdatatype.SRV)
            ranks: set[int] = set()
            for record in sorted(records, key=lambda each: each.priority)[:MOST_RECORDS]:
                found = True
                host = record.target.to_text(omit_final_dot=True)
                if host == ".":
                    continue  # RFC 2782: decidedly no such service here
                targets = await self.targets(transport, host, record.port)
                if targets:
                    ranks.add(record.priority)
                    row.append(Choice(first + record.priority, record.weight, targets))
            first += max(ranks, default=-1) + 1
        if found or self.failed:
            return row
        transport = transports[0]
        targets = await self.targets(transport, domain, DEFAULT_PORTS[transport])
        return [Choice(0, 0, targets)] if targets else []

    async def targets(self, transport: str, host: str, port: int) -> tuple[Target, ...]:
        """The addresses of a host, sorted: servers turn them round at will, and calls are spread over them anyhow."""
        found: list[Target] = []
        for kind in self._resolver.kinds(transport):
            records = await self._ask(host, kind)
            addresses = sorted((record.address for record in records), key=ip_address)
            found += [Target(transport, address, port, self._peer) for address in addresses[:MOST_ADDRESSES]]
        return tuple(found)

    async def _ask(self, name: str, kind: dns.rdatatype.RdataType) -> tuple[Any, ...]:
        records, seconds, failed = await self._resolver.ask(name, kind)
        self.seconds = min(self.seconds, seconds)
        self.failed |= failed
        return records


def _absolute(name: str) -> dns.name.Name:
    return dns.name.from_text(name)


def _client(settings: Dns, log: Callable[..., None]) -> dns.asyncresolver.Resolver:
    """dnspython's resolver, with a cache neither of its own nor of the system: the time to live is kept here."""
    try:
        client = dns.asyncresolver.Resolver(configure=not settings.servers)
    except dns.resolver.NoResolverConfiguration as error:
        log("dns_unconfigured", reason=str(error))
        client = dns.asyncresolver.Resolver(configure=False)
    if settings.servers:
        client.nameservers = [Do53Nameserver(server.host, server.port) for server in settings.servers]
    client.timeout = settings.timeout_seconds
    # each server may time out twice, and the last may still answer over TCP
    client.lifetime = settings.timeout_seconds * (2 * max(len(client.nameservers), 1) + 1)
    return client
