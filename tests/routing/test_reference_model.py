"""Any history of the service against the reference: registering and suspending, blocks and their states, bindings of
all four modes, groups, the block list, passing time and calls. Store, reader and decision never disagree with it about
who may call whom, what the callee sees, and why not (R1-R7, R12-R14, R17, R18)."""

import asyncio
import itertools
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from cdr.seal import Seal
from routing.binding import BindingRequest, Direction, Mode
from routing.blocklist import LONGEST_RANGE, BlockKind, BlockRequest
from routing.caps import Caps, CapSet
from routing.counters import Counters
from routing.decide import Query, Refusal, Route, decide
from routing.errors import BindingError
from routing.last_callers import LastCallers
from routing.plan import MOVES as BLOCK_MOVES
from routing.plan import Block, BlockState
from routing.policy import PolicySettings
from routing.registry import MOVES, BusinessUser, Contract, Provider, Scenario, State
from routing.store.reader import Reader
from routing.store.sqlite import Store
from routing.trunks import Trunk
from routing.windows import parse_windows
from tests.routing.reference import DAY_MS, GROUPS, LONGEST_MS, TWO_NUMBERS, Answer, Bound, Entry, Holder, Model, Terms
from tests.routing.samples import NOW

QUARANTINE_MS = 3_600_000
POLICY = PolicySettings(caps=CapSet(caller=Caps(per_hour=6, distinct_x=3)), user_caps=Caps(per_day=14))
TRUNKS = (Trunk("mobile", (), prefixes=("13", "15")),)
SERVED = ("+8613", "+8615")

TIGHT = CapSet(binding=Caps(per_minute=2), number=Caps(concurrent=1), total=Caps(per_day=8))
# business user, its provider, its scenarios
USERS = (
    ("shop", "north", {"delivery": Terms(), "tight": Terms(caps=TIGHT)}),
    ("mall", "north", {"delivery": Terms(hours=(8, 22)), "survey": Terms(direction=Direction.A_TO_B, messages=False)}),
    ("taxi", "south", {"delivery": Terms(longest_days=2)}),
)
KINDS = ("call", "call", "message")
PARTIES = 7
LINES = 3

few = st.integers(0, 11)
number = st.integers(0, PARTIES - 1)
instants = st.sampled_from([1, 20_000, 60_000, 600_000, 3_600_000, 7 * 3_600_000, DAY_MS, 3 * DAY_MS])
lives = st.sampled_from([600_000, 30_000, 6 * 3_600_000, DAY_MS, 2 * DAY_MS, 40 * DAY_MS, LONGEST_MS, LONGEST_MS + 1])

Value = TypeVar("Value")


class Wish(NamedTuple):
    """A binding that is asked for. ``line`` and ``second`` choose X and Y, beyond LINES they are left to the store."""

    mode: Mode
    user: int
    scenario: int
    line: int
    second: int
    parties: tuple[int, int]
    group: int
    direction: Direction
    starts_in: int
    lasts: int
    most_calls: int
    odd: str


attempts = st.lists(
    st.tuples(few, st.integers(0, 8), st.sampled_from(KINDS), st.integers(1, 4)), min_size=1, max_size=6
)
ODD = ("any group", "foreign block", "other provider", "no consent", "unknown user")
riders = st.sets(number, min_size=1, max_size=3)
wishes = st.builds(
    Wish,
    mode=st.sampled_from(Mode),
    user=st.sampled_from([0, 0, 0, 1, 1, 2]),
    scenario=st.integers(0, 1),
    line=st.integers(0, 2 * LINES),
    second=st.integers(0, 2 * LINES),
    parties=st.tuples(number, number),
    group=few,
    direction=st.sampled_from([Direction.BOTH] * 4 + [Direction.A_TO_B, Direction.B_TO_A]),
    starts_in=st.sampled_from([0] * 6 + [60_000]),
    lasts=lives,
    most_calls=st.sampled_from([0, 0, 0, 1, 2]),
    odd=st.sampled_from([""] * 20 + list(ODD)),
)


class World:
    """The real store and its reader. Every history has names and numbers of its own in it."""

    def __init__(self, runner: asyncio.Runner, store: Store, reader: Reader) -> None:
        self.runner, self.store, self.reader = runner, store, reader
        self.serial = itertools.count(1)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, seal: Seal) -> Iterator[World]:
    path: Path = tmp_path_factory.mktemp("reference") / "bindings.db"
    with asyncio.Runner() as runner:
        store = runner.run(Store.open(path, seal, quarantine_ms=QUARANTINE_MS))
        reader = Reader(path, seal)
        yield World(runner, store, reader)
        reader.close()
        runner.run(store.close())


def one_of(items: Sequence[Value], index: int) -> Value:
    return items[index % len(items)]


class History(RuleBasedStateMachine):
    """Each rule does one thing to the store and to the model, and expects the same of both."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world, self.store = world, world.store
        serial = next(world.serial)
        self.mark = f"h{serial}"
        self.now_ms = NOW
        self.model = Model(POLICY.caps, POLICY.user_caps, SERVED, QUARANTINE_MS)
        mobiles = [f"+86{13 if index % 2 else 15}{serial:06d}{index:03d}" for index in range(PARTIES - 1)]
        self.parties = [*mobiles, f"+86106{serial:06d}7"]
        self.prefixes = [f"700{serial:06d}{index:02d}" for index in range(4)]
        self.counters, self.last = Counters(), LastCallers()
        self.handles = itertools.count(1)
        self.changes = -1

    # what is done

    def do(self, work: Coroutine[Any, Any, Value], faults: set[str]) -> Value | None:
        """Do it; it fails if, and only if, a rule is broken, and then names one of those."""
        try:
            done = self.world.runner.run(work)
        except BindingError as error:
            refused = error
        else:
            assert not faults, f"done, though it breaks {faults}"
            return done
        assert refused.rule in faults, f"refused for {refused}, which breaks {faults or 'nothing'}"
        assert not any(party[3:] in str(refused) for party in self.parties)
        return None

    def name(self, text: str) -> str:
        return f"{self.mark}.{text}"

    @initialize(first=st.lists(wishes, min_size=2, max_size=6), riders=riders, drivers=riders, calls=attempts)
    def begin(
        self, first: list[Wish], riders: set[int], drivers: set[int], calls: list[tuple[int, int, str, int]]
    ) -> None:
        """Two providers, three business users; the third has neither contract nor block yet."""
        for provider in ("north", "south"):
            self.do(self.store.registry.add(Provider(self.name(provider), "P"), self.now_ms, by="t"), set())
            self.model.providers[self.name(provider)] = State.ACTIVE
        for user, provider, scenarios in USERS:
            holder = Holder(self.name(provider))
            self.do(
                self.store.registry.add(BusinessUser(self.name(user), holder.provider, "U"), self.now_ms, by="t"), set()
            )
            self.model.users[self.name(user)] = holder
            for name, terms in scenarios.items():
                self.model.scenarios[self.name(user), name] = replace(terms)
                self.do(self.store.registry.add(self.scenario(self.name(user), name), self.now_ms, by="t"), set())
        self.contract(0, 0)
        self.contract(1, 0)
        self.add_block(0, 0, BlockState.ACTIVE)
        self.add_block(1, 1, BlockState.ACTIVE)
        self.add_group(0, riders)
        self.add_group(1, drivers)
        self.bind(first)
        self.attempt(calls)

    def scenario(self, user: str, name: str) -> Scenario:
        terms = self.model.scenarios[user, name]
        windows = parse_windows([f"{terms.hours[0]:02}:00-{terms.hours[1]:02}:00"]) if terms.hours else ()
        return Scenario(
            user,
            name,
            longest_days=terms.longest_days,
            direction=terms.direction,
            windows=windows,
            messages=terms.messages,
            caps=terms.caps,
        )

    @rule(user=st.integers(0, 2), lasts=st.sampled_from([0, 0, DAY_MS, 30 * DAY_MS]))
    def contract(self, user: int, lasts: int) -> None:
        name = self.name(USERS[user][0])
        holder = self.model.users[name]
        if holder.covered_until >= 0:
            return
        holder.covered_until = self.now_ms + lasts if lasts else 0
        if State.TERMINATED in (holder.state, self.model.providers[holder.provider]):
            holder.covered_until = -1
        asked = Contract(f"{name}.c", holder.provider, name, "paper", self.now_ms, self.now_ms + lasts if lasts else 0)
        self.do(self.store.registry.add(asked, self.now_ms, by="t"), set() if holder.covered_until >= 0 else {"R7"})

    @rule(which=few, state=st.sampled_from(State))
    def move(self, which: int, state: State) -> None:
        """Somebody in the registry is suspended, resumed, terminated."""
        things: list[tuple[Any, str, State]] = [
            *((Provider, name, was) for name, was in self.model.providers.items()),
            *((BusinessUser, name, holder.state) for name, holder in self.model.users.items()),
            *((Scenario, "/".join(key), terms.state) for key, terms in self.model.scenarios.items()),
        ]
        kind, name, was = one_of(things, which)
        faults = set() if state in MOVES[was] else {"R7"}
        # the end of somebody would end most histories
        if state is State.TERMINATED and which % 3:
            return
        if self.do(self.store.registry.move(kind, name, state, self.now_ms, by="t", reason="why"), faults) is None:
            return
        if kind is Provider:
            self.model.providers[name] = state
        elif kind is BusinessUser:
            self.model.users[name].state = state
        else:
            user, _, scenario = name.partition("/")
            self.model.scenarios[user, scenario].state = state

    @rule(which=few, direction=st.sampled_from(Direction), hours=st.sampled_from([None, (8, 22), (0, 12)]))
    def change_scenario(self, which: int, direction: Direction, hours: tuple[int, int] | None) -> None:
        key, terms = one_of(list(self.model.scenarios.items()), which)
        if terms.state is State.TERMINATED:
            return
        terms.direction, terms.hours = direction, hours
        terms.messages = not terms.messages
        stored = self.do(self.store.registry.get(Scenario, "/".join(key)), set())
        assert stored is not None
        changed = replace(self.scenario(*key), revision=stored.revision)
        self.do(self.store.registry.change(changed, self.now_ms, by="t"), set())

    @rule(
        which=st.integers(0, 3),
        user=st.integers(0, 2),
        state=st.sampled_from([BlockState.ALLOCATED, BlockState.ACTIVE]),
    )
    def add_block(self, which: int, user: int, state: BlockState) -> None:
        prefix, name = self.prefixes[which], self.name(USERS[user][0])
        holder = self.model.users[name]
        faults = {rule for rule in self.model.standing(name, "", "", self.now_ms) if rule != "R17"}
        there = self.model.blocks.get(prefix)
        if there is not None and there[2] is not BlockState.RETURNED:
            faults.add("R5")
        block = Block(prefix, holder.provider, name, state)
        if self.do(self.store.blocks.add(block, self.now_ms, by="t"), faults):
            self.model.blocks[prefix] = (holder.provider, name, state)

    @rule(which=few, state=st.sampled_from(BlockState))
    def move_block(self, which: int, state: BlockState) -> None:
        prefix, (provider, user, was) = one_of(list(self.model.blocks.items()), which)
        faults = set() if state in BLOCK_MOVES[was] else {"R18"}
        if state is BlockState.RETURNED and any(
            one.held(self.now_ms) for one in self.model.bindings if prefix in (one.x[:11], one.y[:11])
        ):
            faults.add("R7")
        if self.do(self.store.blocks.move(prefix, state, self.now_ms, by="t", reason="why"), faults):
            self.model.blocks[prefix] = (provider, user, state)

    @rule(wishes=st.lists(wishes, min_size=1, max_size=4))
    def bind(self, wishes: list[Wish]) -> None:
        for wish in wishes:
            self.bind_one(*wish)

    def bind_one(
        self,
        mode: Mode,
        user: int,
        scenario: int,
        line: int,
        second: int,
        parties: tuple[int, int],
        group: int,
        direction: Direction,
        starts_in: int,
        lasts: int,
        most_calls: int,
        odd: str,
        x: str = "",
    ) -> None:
        name, provider, scenarios = USERS[user]
        block = self.prefixes[(user + 1) % 3 if odd == "foreign block" else user]
        a, b = (self.parties[party] for party in parties)
        chosen = ""
        groups = [one for one, (of, _) in self.model.groups.items() if of == self.name(name) or odd == "any group"]
        if mode in GROUPS and groups:
            chosen = one_of(groups, group)
            members = self.model.groups[chosen][1]
            a = a if odd == "any group" else one_of(members, parties[0])
        asked = BindingRequest(
            x=x or (f"{block}{line:04d}" if line < LINES else ""),
            y=f"{block}{second:04d}" if second < LINES and mode in TWO_NUMBERS else "",
            a=a,
            b=b,
            business_user=self.name("nobody" if odd == "unknown user" else name),
            scenario=one_of(list(scenarios), scenario),
            order_id="order",
            real_name="proof",
            consent="" if odd == "no consent" else "consent",
            provider=self.name("south" if provider == "north" else "north") if odd == "other provider" else "",
            starts_ms=self.now_ms + starts_in if starts_in else 0,
            expires_ms=self.now_ms + starts_in + lasts,
            direction=direction,
            mode=mode,
            group=chosen,
            most_calls=most_calls,
        )
        done = self.do(self.store.bindings.bind(asked, self.now_ms, by="t"), self.model.faults(asked, self.now_ms))
        if done is None:
            return
        for wanted, got in ((asked.x, done.x), (asked.y, done.y)):
            if wanted:
                assert got == wanted
            elif got:
                assert got[:11] in self.model.open_blocks(asked.business_user)
                assert not self.model.rests(got, self.now_ms)
        assert bool(done.y) == (mode in TWO_NUMBERS)
        assert done.x != done.y
        bound = Bound(
            id=done.id,
            mode=mode,
            x=done.x,
            y=done.y,
            a=a,
            b=b,
            group=chosen,
            user=asked.business_user,
            provider=self.name(provider),
            scenario=asked.scenario,
            direction=direction,
            starts_ms=asked.starts_ms or self.now_ms,
            expires_ms=asked.expires_ms,
            most_calls=most_calls,
        )
        self.model.bind(bound)

    @rule(which=few, lasts=lives)
    def extend(self, which: int, lasts: int) -> None:
        if not self.model.bindings:
            return
        bound = self.model.bindings[-1 - which % len(self.model.bindings)]
        expires_ms = self.now_ms + lasts
        faults = self.model.extend_faults(bound, expires_ms, self.now_ms)
        if self.do(self.store.bindings.extend(bound.id, expires_ms, self.now_ms, by="t"), faults):
            bound.expires_ms = expires_ms

    @rule(which=few)
    def end(self, which: int) -> None:
        if not self.model.bindings:
            return
        bound = self.model.bindings[-1 - which % len(self.model.bindings)]
        done = self.do(self.store.bindings.end(bound.id, self.now_ms, by="t"), set())
        if bound.held(self.now_ms):
            bound.ended_ms = self.now_ms
        assert done is not None
        assert done.ended_ms == bound.ended_ms

    @rule(which=few, a=st.none() | number, b=st.none() | number)
    def change_party(self, which: int, a: int | None, b: int | None) -> None:
        if not self.model.bindings:
            return
        bound = self.model.bindings[-1 - which % len(self.model.bindings)]
        new_a, new_b = ("" if party is None else self.parties[party] for party in (a, b))
        faults = self.model.party_faults(bound, new_a, new_b, self.now_ms)
        work = self.store.bindings.change_party(
            bound.id, self.now_ms, a=new_a, b=new_b, real_name="proof", consent="consent", by="t"
        )
        if self.do(work, faults):
            self.model.change_party(bound, new_a, new_b)

    @rule(which=few, direction=st.sampled_from(Direction), most_calls=st.sampled_from([0, 1, 3]))
    def change(self, which: int, direction: Direction, most_calls: int) -> None:
        if not self.model.bindings:
            return
        bound = self.model.bindings[-1 - which % len(self.model.bindings)]
        faults = self.model.change_faults(bound, direction, most_calls, self.now_ms)
        work = self.store.bindings.change(bound.id, self.now_ms, direction=direction, most_calls=most_calls, by="t")
        if self.do(work, faults):
            bound.direction, bound.most_calls = direction, most_calls

    # groups

    @rule(user=st.integers(0, 2), members=riders)
    def add_group(self, user: int, members: set[int]) -> None:
        name = self.name(USERS[user][0])
        numbers = [self.parties[member] for member in sorted(members)]
        group = self.do(self.store.groups.add(name, "riders", numbers, self.now_ms, by="t"), set())
        assert group is not None
        self.model.groups[group.id] = (name, numbers)

    @rule(which=few, party=number)
    def join(self, which: int, party: int) -> None:
        if not self.model.groups:
            return
        group, joining = one_of(list(self.model.groups), which), self.parties[party]
        faults = self.model.joining_faults(group, joining, self.now_ms)
        work = self.store.groups.add_members(
            group, [joining], self.now_ms, real_name="proof", consent="consent", by="t"
        )
        if self.do(work, faults):
            self.model.join(group, joining, self.now_ms)

    @rule(which=few, party=number, heir=st.none() | number)
    def leave(self, which: int, party: int, heir: int | None) -> None:
        if self.model.groups:
            self.leave_one(one_of(list(self.model.groups), which), self.parties[party], heir)

    @rule(which=few, other=number)
    def leave_after_a_call(self, which: int, other: int) -> None:
        """Who has called B last leaves the group, and is bound to somebody else under the same number."""
        called = [one for one in self.model.bindings if one.id in self.model.last and one.held(self.now_ms)]
        if not called:
            return
        bound = one_of(called, which)
        leaving, members = self.model.last[bound.id], self.model.members(bound)
        if leaving not in members:
            return
        self.leave_one(bound.group, leaving, self.parties.index(next((m for m in members if m != leaving), leaving)))
        user = [self.name(name) for name, _, _ in USERS].index(bound.user)
        pair = (self.parties.index(leaving), other)
        wish = Wish(Mode.AXB, user, which, 0, 0, pair, 0, Direction.BOTH, 0, 600_000, 0, "")
        self.bind_one(*wish, x=bound.x)

    def leave_one(self, group: str, leaving: str, heir: int | None) -> None:
        if self.model.groups[group][1] == [leaving]:
            return
        follows = "" if heir is None else self.parties[heir]
        faults = self.model.leaving_faults(group, leaving, follows, self.now_ms)
        work = self.store.groups.remove_member(group, leaving, self.now_ms, by="t", successor=follows)
        if self.do(work, faults):
            self.model.leave(group, leaving, follows, self.now_ms)

    # policy

    @rule(kind=st.sampled_from(BlockKind), which=few, lasts=st.sampled_from([0, 0, 20_000, 3_600_000]))
    def block(self, kind: BlockKind, which: int, lasts: int) -> None:
        bindings = self.model.bindings
        if kind in (BlockKind.CALLER, BlockKind.CALLEE, BlockKind.NUMBER):
            value = one_of(self.parties, which)
        elif kind is BlockKind.BLOCK:
            value = one_of(self.prefixes, which)
        elif kind is BlockKind.PROVIDER:
            value = one_of(list(self.model.providers), which)
        elif kind is BlockKind.BUSINESS_USER:
            value = one_of(list(self.model.users), which)
        elif not bindings:
            return
        else:
            bound = one_of(bindings, which)
            value = bound.id if kind is BlockKind.BINDING else (bound.y if which % 2 else "") or bound.x
        expires_ms = self.now_ms + lasts if lasts else 0
        there = any(one.live(self.now_ms) for one in self.model.entries if (one.kind, one.value) == (kind, value))
        work = self.store.blocklist.add(BlockRequest(kind, value, "why", expires_ms), self.now_ms, by="t")
        if entry := self.do(work, {"R12"} if there else set()):
            self.model.entries.append(Entry(entry.id, kind, value, expires_ms))

    @rule(which=few)
    def lift(self, which: int) -> None:
        if not self.model.entries:
            return
        entry = self.model.entries[-1 - which % len(self.model.entries)]
        faults = set() if entry.live(self.now_ms) else {"R12"}
        if self.do(self.store.blocklist.lift(entry.id, self.now_ms, by="t", reason="why not"), faults):
            entry.lifted = True

    @rule(party=number, digits=st.integers(2, LONGEST_RANGE), allowed=st.sampled_from([False, False, True]))
    def set_range(self, party: int, digits: int, allowed: bool) -> None:
        national = self.parties[party][3:] if party < PARTIES - 1 else "0" + self.parties[party][3:]
        prefix = national[:digits]
        self.do(self.store.blocklist.set_range(prefix, allowed, self.now_ms, by="t", reason="why"), set())
        self.model.ranges[prefix] = allowed

    @rule(which=few)
    def drop_range(self, which: int) -> None:
        if self.model.ranges:
            prefix = one_of(list(self.model.ranges), which)
            self.do(self.store.blocklist.drop_range(prefix, self.now_ms, by="t", reason="why not"), set())
            del self.model.ranges[prefix]

    @rule(ms=instants)
    def time_passes(self, ms: int) -> None:
        self.now_ms += ms

    # calls

    @rule(calls=attempts)
    def attempt(self, calls: list[tuple[int, int, str, int]]) -> None:
        """People call and write; mostly who may on a number that there is."""
        for which, party, kind, again in calls:
            bindings = [one for one in self.model.bindings if one.held(self.now_ms)] or self.model.bindings
            if not bindings:
                return
            bound = bindings[-1 - which % len(bindings)]
            stranger = (bound.x, one_of(self.parties, which))
            dialled, caller = one_of([*self.model.parties(bound) * 2, stranger], party)
            for _ in range(again):
                self.attempt_one(kind, dialled, caller)

    @rule(calls=attempts, gap=st.sampled_from([15_000, 600_000]))
    def attempt_now_and_then(self, calls: list[tuple[int, int, str, int]], gap: int) -> None:
        for call in calls:
            self.attempt([call])
            self.now_ms += gap

    def attempt_one(self, kind: str, dialled: str, caller: str) -> None:
        handle = next(self.handles)
        answer = self.model.answer(kind, dialled, caller, self.now_ms, counted=True)
        self.compare(answer, self.ask(kind, dialled, caller, handle, self.counters), dialled, caller)
        if answer.callee:
            self.model.let_through(handle, kind, dialled, caller, self.now_ms, answer)
            if answer.binding is not None and answer.binding.group and answer.calling == "a":
                self.last.note(answer.binding.id, caller)

    @rule(which=few)
    def hang_up(self, which: int) -> None:
        up = [one for one in self.model.attempts if one.up]
        if up:
            over = one_of(up, which)
            over.up = False
            self.counters.release(over.handle)

    # what is compared

    @invariant()
    def everybody_is_told_the_same(self) -> None:
        """Everybody dials every number there is, and one that is not."""
        bindings = self.model.bindings[-8:]
        numbers = dict.fromkeys(number for one in bindings for number in (one.x, one.y) if number)
        for dialled in numbers:
            for caller in self.parties:
                answer = self.model.answer("call", dialled, caller, self.now_ms, counted=False)
                self.compare(answer, self.ask("call", dialled, caller), dialled, caller)

    def ask(
        self, kind: str, dialled: str, caller: str, handle: int = 0, counters: Counters | None = None
    ) -> Route | Refusal:
        """Ask as the switch does: with a snapshot that is read again only when the store says that it has changed."""
        reader = self.world.reader
        changes = reader.changes()
        if changes != self.changes:
            self.changes = changes
            self.plan, self.policy = reader.plan(), reader.policy(POLICY, self.now_ms)
        query = Query(handle, "mobile", dialled, caller, False, kind)
        return decide(
            query, self.plan, reader.find, TRUNKS, (), self.now_ms, lambda: 0.5, self.last.get, self.policy, counters
        )

    def compare(self, expected: Answer, got: Route | Refusal, dialled: str, caller: str) -> None:
        told = f"{caller} dials {dialled} of {expected.binding} at {self.now_ms}"
        if isinstance(got, Refusal):
            assert got.reason in expected.reasons, f"{told}: {got.reason}, not {expected}"
            assert (got.caller, got.dialled) == (caller, dialled)
        else:
            assert not expected.reasons, f"{told}: connected, not {expected.reasons}"
            assert (got.callee, got.shown, got.calling) == (expected.callee, expected.shown, expected.calling), told
            assert (got.caller, got.dialled) == (caller, dialled)
            assert got.shown.startswith("700")
        if got.binding is not None and expected.binding is not None:
            assert got.binding.id == expected.binding.id

    def teardown(self) -> None:
        """Take back what speaks of everybody."""
        for prefix in self.model.ranges:
            self.do(self.store.blocklist.drop_range(prefix, self.now_ms, by="t", reason="over"), set())


def test_store_reader_and_decision_never_disagree_with_the_reference(world: World) -> None:
    run_state_machine_as_test(
        lambda: History(world),
        settings=settings(
            max_examples=60,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
