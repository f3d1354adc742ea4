"""Asking each target of a trunk whether it is there: OPTIONS again and again (RFC 3261 §11.1), with hysteresis.

A target is taken out after MISSES probes in a row without a good answer, and taken back after HITS good ones in a row:
neither one lost datagram nor one lucky answer moves calls. Its own silence counts when the next probe is due.
"""

from collections.abc import Callable, Sequence
from math import inf

from b2bua.call.credentials import Accounts
from b2bua.call.leg import Signalling
from b2bua.call.listeners import contact_uri
from b2bua.call.trunk_state import TargetState, TrunkStates
from b2bua.sip.message import Response
from b2bua.sip.timers import Timer
from b2bua.sip.transaction import ClientTransaction, Flow, Input, ServerTransaction
from routing.targets import Target, uri_host

__all__ = ["Probe", "Prober"]

MISSES = 3
HITS = 2
# The first probes of all targets are spread over this time at most, later ones over a fifth of their interval, so that
# a node with many targets does not ask them all at once.
FIRST_SECONDS = 5.0
JITTER = 0.2


class Probe(Timer):
    """Probes one target for as long as its timer is armed. It owns its transactions."""

    __slots__ = ("_hits", "_misses", "_pending", "_prober", "_sent_at", "_settling", "state")

    def __init__(self, prober: "Prober", state: TargetState) -> None:
        super().__init__()
        self.state = state
        self._prober = prober
        self._hits = 0
        self._misses = 0
        self._pending: ClientTransaction | None = None
        self._settling: list[ClientTransaction] = []  # answered, but still in the endpoint's table
        self._sent_at = 0.0

    def fire(self, now: float) -> None:
        """The next probe is due, and an answer to the last one comes too late."""
        pending, self._pending = self._pending, None
        if pending is not None:
            self._miss("none")
            pending.step(Input.TIMEOUT, now)
        self._pending = self._prober.ask(self, now)
        self._sent_at = now
        self.state.probes += 1

    def on_response(self, transaction: ClientTransaction, response: Response) -> None:
        """What the target says."""
        if transaction is not self._pending or response.status < 200:
            return
        self._pending = None
        self._settle(transaction)
        self.state.probe_seconds = self._prober.signalling.now.monotonic - self._sent_at
        answer = str(response.status)
        failing = self.state.trunk.probe_failing
        if answer in failing or f"{answer[0]}xx" in failing:
            self._miss(answer)
            return
        self.state.probe_answer = answer
        self._misses = 0
        self._hits = min(self._hits + 1, HITS)
        if self._hits == HITS:
            self._prober.states.set_down(self.state, False)

    def on_challenge(self, transaction: ClientTransaction, response: Response) -> bool:
        """401 or 407: ask again with our credentials (RFC 3261 §22.2). False: it is an answer like any other."""
        account = self._prober.accounts.at(self.state.trunk.name)
        if account is None or transaction is not self._pending or not account.take(transaction, response):
            return False
        signalling = self._prober.signalling
        cseq = response.cseq + 1
        self._settle(transaction)
        self._pending, _ = account.repeat(signalling.endpoint, transaction, cseq, signalling.now.monotonic)
        return True

    def on_failed(self, transaction: ClientTransaction | ServerTransaction) -> None:
        """No answer in time, or no connection."""
        if transaction is self._pending:
            self._pending = None
            self._miss("none")

    def stop(self) -> None:
        """No further probe; what is on its way no longer counts."""
        self._prober.signalling.endpoint.timers.cancel(self)
        pending, self._pending = self._pending, None
        if pending is not None:
            self._settle(pending)

    def transactions(self) -> int:
        """How many of its transactions stand in the endpoint's table."""
        pending = self._pending is not None and self._pending.alive
        return pending + sum(1 for each in self._settling if each.alive)

    def _settle(self, transaction: ClientTransaction) -> None:
        self._settling = [each for each in self._settling if each.alive]
        self._settling.append(transaction)

    def _miss(self, answer: str) -> None:
        self.state.probes_failed += 1
        self.state.probe_answer = answer
        self._hits = 0
        self._misses = min(self._misses + 1, MISSES)
        if self._misses == MISSES:
            self._prober.states.set_down(self.state, True)


class Prober:
    """All probes. ``flow_of`` says how to reach a target; ``lines`` are the headers about ourselves; ``accounts`` is
    who we are where a target asks."""

    def __init__(
        self,
        signalling: Signalling,
        states: TrunkStates,
        flow_of: Callable[[Target], Flow],
        lines: Sequence[str],
        pick: Callable[[], float],
        accounts: Accounts,
    ) -> None:
        self.signalling = signalling
        self.accounts = accounts
        self.states = states
        self._flow_of = flow_of
        self.lines = lines
        self._pick = pick
        self._probes: dict[TargetState, Probe] = {}
        self._leaving: list[Probe] = []  # stopped, with an answer still to come

    def sync(self, now: float) -> None:
        """Probe what there is to probe: the targets of trunks that calls go out over. To be called when the trunks have
        changed."""
        wanted = [
            state
            for state in self.states.targets()
            if state.trunk.probe_seconds and state.trunk.prefixes and state.target.host
        ]
        kept: dict[TargetState, Probe] = {}
        for state in wanted:
            kept[state] = self._probes.pop(state) if state in self._probes else Probe(self, state)
        self.stop()
        self._probes = kept
        for state, probe in kept.items():
            if probe.deadline == inf:
                soon = min(state.trunk.probe_seconds, FIRST_SECONDS)
                self.signalling.endpoint.timers.set(probe, now + soon * self._pick(), now)

    def stop(self) -> None:
        """Probe nothing any more."""
        for probe in self._probes.values():
            probe.stop()
        self._leaving = [probe for probe in (*self._leaving, *self._probes.values()) if probe.transactions()]
        self._probes = {}

    def transactions(self) -> int:
        """How many entries of the endpoint's table are probes."""
        return sum(probe.transactions() for probe in (*self._probes.values(), *self._leaving))

    def timers(self) -> int:
        """How many armed timers are those of probes and their transactions."""
        return self.transactions() + sum(1 for probe in self._probes.values() if probe.deadline != inf)

    def ask(self, probe: Probe, now: float) -> ClientTransaction:
        """Send one OPTIONS and set the time for the next. It tells of nobody: From is our own address alone."""
        trunk, target = probe.state.trunk, probe.state.target
        interval = trunk.probe_seconds * (1 - JITTER / 2 + JITTER * self._pick())
        self.signalling.endpoint.timers.set(probe, now + interval, now)
        flow = self._flow_of(target)
        sent_by = self.signalling.sent_by(flow)
        uri = f"sip:{uri_host(target.peer)}"
        endpoint = self.signalling.endpoint
        account = self.accounts.at(trunk.name)
        proof = account.lines("OPTIONS", uri, b"") if account is not None else ()
        return endpoint.request(
            "OPTIONS",
            uri,
            flow,
            f"<sip:{sent_by}>;tag={endpoint.token()}",
            f"<{uri}>",
            endpoint.token(),
            1,
            now,
            owner=probe,
            extra=(f"Contact: <{contact_uri(flow, sent_by)}>", *self.lines, *proof),
        )
