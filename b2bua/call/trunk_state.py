"""What the switch knows of its trunks while it runs: where each can be reached, and which places to leave alone.

The state belongs to a target (one address of one trunk), not to the trunk: one dead proxy does not take its sister
away. A target is left alone while it is parked (it asked for that, or was silent) or down (probing says so).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from routing.targets import Choice, Target, drawn, fixed_choices, format_target
from routing.trunks import Sources, Trunk

__all__ = ["Change", "TargetState", "TargetView", "TrunkStates"]

# So many calls in a row without any reply, and the target is left alone for a while: not after one, which our own
# delay or a lost datagram may explain, and which would take the only way away from all other calls.
SILENT_ATTEMPTS = 5
# The weight of each of several addresses of one host.
EVEN = 1000
LONGEST_PARK = 300.0  # seconds; a peer may ask for more in error


class Change(NamedTuple):
    """Something for the log: what happened to which target of a trunk; ``seconds`` where a time was set."""

    event: str
    trunk: str
    target: str
    seconds: float = 0.0


class TargetView(NamedTuple):
    """A target as the operator sees it. ``state`` is up, down, parked or dns (its name has no address).

    ``parked_seconds`` are left; ``probe_ms`` is the last round trip, ``probe_answer`` the last answer to a probe ('':
    nothing asked yet, 'none': no answer in time).
    """

    trunk: str
    target: str
    transport: str
    state: str
    parked_seconds: int
    probe_ms: float
    probe_answer: str
    probes: int
    probes_failed: int
    silent: int


class TargetState:
    """One target of one trunk. ``down`` is written by probing alone, the rest by TrunkStates."""

    __slots__ = (
        "down",
        "parked_until",
        "probe_answer",
        "probe_seconds",
        "probes",
        "probes_failed",
        "silent",
        "target",
        "trunk",
    )

    def __init__(self, trunk: Trunk, target: Target) -> None:
        self.trunk = trunk
        self.target = target
        self.down = False
        self.parked_until = 0.0
        self.silent = 0  # INVITEs in a row without any reply
        self.probes = 0
        self.probes_failed = 0
        self.probe_seconds = 0.0  # the last round trip
        self.probe_answer = ""

    def usable(self, now: float) -> bool:
        """Whether calls should go there while there is something else."""
        return not self.down and self.parked_until <= now


class _Trunk:
    """One trunk's targets: ``ranks`` hold (weight, targets of each address family) pairs; ``plain`` is the one order
    there is when nothing has to be drawn."""

    __slots__ = ("plain", "ranks", "states", "trunk")

    def __init__(self, trunk: Trunk) -> None:
        self.trunk = trunk
        self.states: dict[Target, TargetState] = {}
        self.ranks: list[list[tuple[int, list[list[TargetState]]]]] = []
        self.plain: tuple[TargetState, ...] | None = ()

    def take(self, choices: Sequence[Choice]) -> None:
        """Other places from now on; what is known of those that stay is kept."""
        if not choices and self.trunk.peers:  # a call shall find, and its record name, what is missing
            peer = self.trunk.peers[0]
            choices = (Choice(0, 0, (Target("UDP", "", 0, peer),)),)
        targets = [target for choice in choices for target in choice.targets]
        self.states = {target: self.states.get(target) or TargetState(self.trunk, target) for target in targets}
        ranks: dict[int, list[tuple[int, list[list[TargetState]]]]] = {}
        drawing = False
        for choice in choices:
            families: dict[bool, list[TargetState]] = {}
            for target in choice.targets:
                families.setdefault(":" in target.host, []).append(self.states[target])
            rank = ranks.setdefault(choice.rank, [])
            rank.append((choice.weight, list(families.values())))
            drawing |= len(rank) > 1 or any(len(family) > 1 for family in families.values())
        self.ranks = [ranks[rank] for rank in sorted(ranks)]
        row = [state for rank in self.ranks for _, families in rank for family in families for state in family]
        self.plain = None if drawing else tuple(row)

    def order(self, pick: Callable[[], float]) -> tuple[TargetState, ...]:
        """The targets in the order to try them, for one call."""
        if self.plain is not None:
            return self.plain
        row: list[TargetState] = []
        for rank in self.ranks:
            for families in drawn(rank, pick):
                for family in families:
                    row += drawn([(EVEN, state) for state in family], pick)
        return tuple(row)


class TrunkStates:
    """All trunks. ``pick`` returns a random number in [0, 1). Times are monotonic seconds.

    ``sources`` says which trunk an address belongs to, ``changes`` collects what is worth a line in the log.
    """

    def __init__(self, trunks: Sequence[Trunk], pick: Callable[[], float]) -> None:
        self.changes: list[Change] = []
        self._pick = pick
        self._trunks: dict[str, _Trunk] = {}
        self._impaired: set[str] = set()  # trunks with a target that is parked or down, or was a moment ago
        self._conflicts: frozenset[tuple[str, str, int]] = frozenset()
        self.sources = Sources(())
        self.replace(trunks)

    def replace(self, trunks: Sequence[Trunk]) -> None:
        """Other settings. What is known of a target stays; a trunk whose peers are others starts with those that are
        addresses, and the rest comes with the next ``resolved``. ValueError, and nothing has changed, when two trunks
        claim one source."""
        Sources(trunks)
        known, self._trunks = self._trunks, {}
        for trunk in trunks:
            kept = known.get(trunk.name) or _Trunk(trunk)
            moved = (kept.trunk.peers, kept.trunk.transport) != (trunk.peers, trunk.transport)
            kept.trunk = trunk
            for state in kept.states.values():
                state.trunk = trunk
            if moved or trunk.name not in known:
                kept.take(fixed_choices(trunk))
            self._trunks[trunk.name] = kept
        self._impaired &= self._trunks.keys()
        self._identify()

    def resolved(self, table: Mapping[str, Sequence[Choice]]) -> None:
        """The targets of some trunks as DNS has them now; trunks that are not in the table stay as they are."""
        for name, choices in table.items():
            trunk = self._trunks.get(name)
            if trunk is not None:
                trunk.take(choices)
        self._identify()

    def _identify(self) -> None:
        """Who is sent to may send: addresses out of DNS are sources too."""
        trunks = [each.trunk for each in self._trunks.values()]
        self.sources = Sources(trunks, {name: self.addresses(name) for name in self._trunks})
        conflicts = frozenset(self.sources.conflicts)
        for name, host, port in sorted(conflicts - self._conflicts):
            self.changes.append(Change("source_conflict", name, f"{host} port {port}"))
        self._conflicts = conflicts

    def addresses(self, name: str) -> list[tuple[str, int]]:
        """Where a trunk is sent to at the moment, none for one that is not known."""
        trunk = self._trunks.get(name)
        return [] if trunk is None else [(target.host, target.port) for target in trunk.states if target.host]

    # choosing

    def route(self, names: Iterable[str], now: float) -> list[TargetState]:
        """The targets for one call over these trunks, in the order to try them.

        Those to be left alone are left out, but a trunk that has nothing else is tried with all it has: whoever names
        it here has found nothing better.
        """
        row: list[TargetState] = []
        for name in names:
            trunk = self._trunks.get(name)
            if trunk is None:
                continue  # it was taken out of the settings while the decision was made
            order = trunk.order(self._pick)
            if name in self._impaired:
                usable = [state for state in order if state.usable(now)]
                row += usable or order
            else:
                row += order
        return row

    def down(self, now: float) -> frozenset[str]:
        """Trunks none of whose targets should be tried at the moment."""
        if not self._impaired:
            return frozenset()
        down = set()
        for name in list(self._impaired):
            usable = [state.usable(now) for state in self._trunks[name].states.values()]
            if not any(usable):
                down.add(name)
            elif all(usable):
                self._impaired.discard(name)
        return frozenset(down)

    # what calls and probes tell

    def current(self, state: TargetState) -> bool:
        """Whether calls may still go there: a reload or DNS may have taken it away while a call was being set up."""
        trunk = self._trunks.get(state.trunk.name)
        return trunk is not None and trunk.states.get(state.target) is state

    def park(self, state: TargetState, seconds: float, now: float) -> None:
        """Leave a target alone for so long, but no longer than LONGEST_PARK."""
        if not self.current(state):
            return
        seconds = min(seconds, LONGEST_PARK)
        if state.parked_until <= now:
            self._note("target_parked", state, seconds)
        state.parked_until = now + seconds
        self._impaired.add(state.trunk.name)

    def silent(self, state: TargetState, park_seconds: float, now: float) -> None:
        """An INVITE had no reply in time. One may be lost; a row of them means that nobody is there.

        ``park_seconds`` 0: it is never parked for that.
        """
        state.silent += 1
        if state.silent >= SILENT_ATTEMPTS:
            state.silent = 0
            if park_seconds:
                self.park(state, park_seconds, now)

    def set_down(self, state: TargetState, down: bool) -> None:
        """What probing has found out."""
        if state.down != down:
            state.down = down
            if down:
                self._impaired.add(state.trunk.name)
            self._note("target_down" if down else "target_up", state, 0.0)

    def _note(self, event: str, state: TargetState, seconds: float) -> None:
        self.changes.append(Change(event, state.trunk.name, format_target(state.target), seconds))

    # what is shown

    def targets(self) -> list[TargetState]:
        """Every target of every trunk, in the order of the settings."""
        return [state for trunk in self._trunks.values() for state in trunk.states.values()]

    def view(self, now: float) -> list[TargetView]:
        """All targets, for the operator."""
        return [_view(state, now) for state in self.targets()]


def _view(state: TargetState, now: float) -> TargetView:
    target = state.target
    parked = max(state.parked_until - now, 0.0)
    word = "dns" if not target.host else "down" if state.down else "parked" if parked else "up"
    return TargetView(
        state.trunk.name,
        format_target(target),
        target.transport,
        word,
        round(parked),
        round(state.probe_seconds * 1000, 1),
        state.probe_answer,
        state.probes,
        state.probes_failed,
        state.silent,
    )
