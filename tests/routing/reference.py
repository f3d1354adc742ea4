"""The service on a sheet of paper: lists that are gone through from the beginning, no index, no file, no state kept
twice. What it says of a request or of a call is what the store, its reader and the decision have to say."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone

from routing.binding import BindingRequest, Direction, Mode
from routing.blocklist import BlockKind
from routing.caps import Caps, CapSet
from routing.plan import BlockState
from routing.reason import Reason
from routing.registry import State

__all__ = ["Answer", "Bound", "Entry", "Holder", "Model", "Terms"]

DAY_MS = 86_400_000
LONGEST_MS = 90 * DAY_MS
CHINA = timezone(timedelta(hours=8))
SPANS = {"per_minute": 60_000, "per_hour": 3_600_000, "per_day": DAY_MS}
TWO_NUMBERS = (Mode.AXYB, Mode.GXYB)
GROUPS = (Mode.GXB, Mode.GXYB)


@dataclass
class Terms:
    """A scenario. ``hours``: from the first to before the second hour of a day in China, None: always."""

    state: State = State.ACTIVE
    longest_days: int = 90
    direction: Direction = Direction.BOTH
    hours: tuple[int, int] | None = None
    messages: bool = True
    caps: CapSet = field(default_factory=CapSet)


@dataclass
class Holder:
    """A business user. ``covered_until``: the end of its contract, 0 for an open end, -1 for none."""

    provider: str
    state: State = State.ACTIVE
    covered_until: int = -1


@dataclass
class Bound:
    """A binding. ``held_by`` is its group."""

    id: str
    mode: Mode
    x: str
    y: str
    a: str
    b: str
    group: str
    user: str
    provider: str
    scenario: str
    direction: Direction
    starts_ms: int
    expires_ms: int
    most_calls: int
    ended_ms: int = 0

    def held(self, now_ms: int) -> bool:
        return not self.ended_ms and now_ms < self.expires_ms

    @property
    def until_ms(self) -> int:
        return self.ended_ms or self.expires_ms


@dataclass
class Entry:
    """A line of the block list."""

    id: int
    kind: BlockKind
    value: str
    expires_ms: int
    lifted: bool = False

    def live(self, now_ms: int) -> bool:
        return not self.lifted and (not self.expires_ms or now_ms < self.expires_ms)


@dataclass
class Answer:
    """What a caller gets. ``reasons``: any of them is right (no rule says which of several caps comes first); without
    one it is a call to ``callee``, who sees ``shown``."""

    reasons: frozenset[Reason] = frozenset()
    callee: str = ""
    shown: str = ""
    calling: str = ""
    binding: Bound | None = None


@dataclass
class Attempt:
    """A call or message that was let through."""

    handle: int
    at_ms: int
    kind: str
    caller: str
    x: str
    binding: Bound
    caps: CapSet
    limited: bool
    up: bool


def no(*reasons: Reason, binding: Bound | None = None) -> Answer:
    return Answer(frozenset(reasons), binding=binding)


class Model:
    """All there is. ``default`` and ``user_caps`` are those of the settings, ``served`` the numbers with a route."""

    def __init__(self, default: CapSet, user_caps: Caps, served: tuple[str, ...], quarantine_ms: int) -> None:
        self.default, self.user_caps, self.served, self.quarantine_ms = default, user_caps, served, quarantine_ms
        self.providers: dict[str, State] = {}
        self.users: dict[str, Holder] = {}
        self.scenarios: dict[tuple[str, str], Terms] = {}
        self.blocks: dict[str, tuple[str, str, BlockState]] = {}  # provider, business user, state
        self.groups: dict[str, tuple[str, list[str]]] = {}  # business user, members
        self.bindings: list[Bound] = []
        self.taken: dict[
            tuple[str, str], Bound
        ] = {}  # by number dialled and caller: who took it last, and never gave it up
        self.entries: list[Entry] = []
        self.ranges: dict[str, bool] = {}
        self.last: dict[str, str] = {}
        self.attempts: list[Attempt] = []

    # who may be bound

    def holding(self, holder: Holder, now_ms: int) -> Iterator[str]:
        """The rules of the registry that break where a business user gives anybody a new right."""
        if self.providers[holder.provider] is not State.ACTIVE or holder.state is not State.ACTIVE:
            yield "R7"
        if holder.covered_until < 0 or (holder.covered_until and now_ms >= holder.covered_until):
            yield "R6"

    def standing(self, user: str, provider: str, scenario: str, now_ms: int) -> Iterator[str]:
        """The rules of the registry that a new right would break."""
        holder = self.users.get(user)
        if holder is None:
            yield "R6"
            return
        if provider not in ("", holder.provider):
            yield "R6"
        yield from self.holding(holder, now_ms)
        terms = self.scenarios.get((user, scenario))
        if terms is None or terms.state is not State.ACTIVE:
            yield "R17"

    def terms(self, user: str, scenario: str, direction: Direction, starts_ms: int, expires_ms: int) -> Iterator[str]:
        terms = self.scenarios.get((user, scenario))
        if terms is not None:
            if expires_ms - starts_ms > terms.longest_days * DAY_MS:
                yield "R17"
            if terms.direction not in (Direction.BOTH, direction):
                yield "R17"

    def number(self, x: str, user: str, provider: str) -> Iterator[str]:
        """The rules that a number which was asked for breaks."""
        block = self.blocks.get(x[:11])
        if block is None:
            yield "R3"
            return
        if block[2] not in (BlockState.ALLOCATED, BlockState.ACTIVE):
            yield "R18"
        if block[1] != user:
            yield "R5"
        if provider not in ("", block[0]):
            yield "R6"

    def faults(self, asked: BindingRequest, now_ms: int) -> set[str]:
        """All rules that a request breaks. Its numbers are E.164; x and y '' are for the store to choose."""
        found = set(self.standing(asked.business_user, asked.provider, asked.scenario, now_ms))
        starts_ms = asked.starts_ms or now_ms
        found.update(self.terms(asked.business_user, asked.scenario, asked.direction, starts_ms, asked.expires_ms))
        two = asked.mode in TWO_NUMBERS
        if asked.y and (not two or asked.y == asked.x):
            found.add("form")
        for number in (asked.x, asked.y) if two else (asked.x,):
            if number:
                found.update(self.number(number, asked.business_user, asked.provider))
            elif not self.open_blocks(asked.business_user):
                found.add("none_free")
        if asked.a == asked.b:
            found.add("key")
        members: list[str] = []
        if asked.mode in GROUPS:
            user, members = self.groups.get(asked.group, ("", []))
            if not user:
                found.add("form")
            elif user != asked.business_user:
                found.add("R5")
            if user and asked.a not in members:
                found.add("member")
            if asked.b in members:
                found.add("key")
        elif asked.group:
            found.add("form")
        if not asked.consent:
            found.add("R16")
        if asked.expires_ms <= max(starts_ms, now_ms):
            found.add("form")
        if asked.expires_ms - min(starts_ms, now_ms) > LONGEST_MS:
            found.add("R17")
        own = {(asked.x, party) for party in members or [asked.a]} | {(asked.y if two else asked.x, asked.b)}
        if any(self.holder(dialled, caller, now_ms) for dialled, caller in own if dialled):
            found.add("key")
        return found

    def open_blocks(self, user: str) -> list[str]:
        return [prefix for prefix, block in self.blocks.items() if block[1] == user and block[2] is BlockState.ACTIVE]

    def rests(self, number: str, now_ms: int) -> bool:
        """Whether a number is bound, or was a short time ago."""
        return any(now_ms < one.until_ms + self.quarantine_ms for one in self.bindings if number in (one.x, one.y))

    def bind(self, bound: Bound) -> None:
        self.bindings.append(bound)
        self.taken |= dict.fromkeys(self.parties(bound), bound)

    def members(self, bound: Bound) -> list[str]:
        return self.groups[bound.group][1] if bound.group in self.groups else []

    def parties(self, bound: Bound) -> list[tuple[str, str]]:
        callers = self.members(bound) if bound.group else [bound.a]
        return [*((bound.x, caller) for caller in callers), (bound.y or bound.x, bound.b)]

    def _give_up(self, key: tuple[str, str], bound: Bound) -> None:
        if self.taken.get(key) is bound:
            del self.taken[key]

    def holder(self, dialled: str, caller: str, now_ms: int) -> Bound | None:
        """The binding, live or yet to start, that has this key."""
        for bound in self.bindings:
            if bound.held(now_ms) and (dialled, caller) in self.parties(bound):
                return bound
        return None

    # what may be changed of a binding

    def extend_faults(self, bound: Bound, expires_ms: int, now_ms: int) -> set[str]:
        if not bound.held(now_ms):
            return {"ended"}
        found = self._again(bound, now_ms)
        found.update(self.terms(bound.user, bound.scenario, bound.direction, bound.starts_ms, expires_ms))
        if expires_ms <= bound.expires_ms:
            found.add("form")
        if expires_ms - min(bound.starts_ms, now_ms) > LONGEST_MS:
            found.add("R17")
        return found

    def change_faults(self, bound: Bound, direction: Direction, most_calls: int, now_ms: int) -> set[str]:
        if not bound.held(now_ms):
            return {"ended"}
        found = set(self.terms(bound.user, bound.scenario, direction, bound.starts_ms, bound.expires_ms))
        other_way = direction is not bound.direction and bound.direction is not Direction.BOTH
        if other_way or (most_calls or math.inf) > (bound.most_calls or math.inf):
            found |= self._again(bound, now_ms)
        return found

    def party_faults(self, bound: Bound, a: str, b: str, now_ms: int) -> set[str]:
        if not bound.held(now_ms):
            return {"ended"}
        found = self._again(bound, now_ms)
        new = replace(bound, a=a or bound.a, b=b or bound.b)
        if new == bound:
            found.add("form")
        if new.a == new.b:
            found.add("key")
        if bound.group and new.a not in self.members(bound):
            found.add("member")
        if bound.group and new.b in self.members(bound):
            found.add("key")
        for key in self.parties(new):
            if (other := self.holder(*key, now_ms)) is not None and other is not bound:
                found.add("key")
        return found

    def _again(self, bound: Bound, now_ms: int) -> set[str]:
        found = set(self.standing(bound.user, bound.provider, bound.scenario, now_ms))
        for number in (bound.x, bound.y):
            if number and self.blocks[number[:11]][2] not in (BlockState.ALLOCATED, BlockState.ACTIVE):
                found.add("R18")
        return found

    def change_party(self, bound: Bound, a: str, b: str) -> None:
        for key in self.parties(bound):
            self._give_up(key, bound)
        bound.a, bound.b = a or bound.a, b or bound.b
        self.taken |= dict.fromkeys(self.parties(bound), bound)

    # groups

    def joining_faults(self, group: str, number: str, now_ms: int) -> set[str]:
        members = self.groups[group][1]
        if number in members:
            return set()
        own = [bound for bound in self.bindings if bound.group == group and bound.held(now_ms)]
        found = set(self.holding(self.users[self.groups[group][0]], now_ms)) if own else set()
        if any(number == bound.b or self.holder(bound.x, number, now_ms) for bound in own):
            found.add("key")
        return found

    def join(self, group: str, number: str, now_ms: int) -> None:
        members = self.groups[group][1]
        if number not in members:
            members.append(number)
            for bound in self.bindings:
                if bound.group == group and bound.held(now_ms):
                    self.taken[bound.x, number] = bound

    def leaving_faults(self, group: str, number: str, heir: str, now_ms: int) -> set[str]:
        members = self.groups[group][1]
        if number not in members or (heir and (heir == number or heir not in members)):
            return {"member"}
        first = any(one.a == number for one in self.bindings if one.group == group and one.held(now_ms))
        return {"member"} if first and not heir else set()

    def leave(self, group: str, number: str, heir: str, now_ms: int) -> None:
        for bound in self.bindings:
            if bound.group == group and bound.held(now_ms):
                self._give_up((bound.x, number), bound)
                bound.a = heir if bound.a == number else bound.a
        self.groups[group][1].remove(number)

    # who may call whom

    def find(self, dialled: str, caller: str) -> Bound | None:
        """The binding that took this key last, where the caller still is of it."""
        found = self.taken.get((dialled, caller))
        if found is None or (caller not in (found.a, found.b) and caller not in self.members(found)):
            return None
        return found

    def answer(self, kind: str, dialled: str, caller: str, now_ms: int, counted: bool) -> Answer:
        """Say what becomes of an attempt; ``dialled`` is a middle number, ``caller`` E.164. ``counted``: caps count."""
        trouble = self._of_block(dialled)
        if trouble:
            return no(trouble)
        bound = self.find(dialled, caller)
        if bound is None:
            return no(Reason.CALLER_UNBOUND)
        other = bound.y or bound.x
        from_b = dialled == other and caller == bound.b
        if not from_b and dialled != bound.x:
            return no(Reason.CALLER_UNBOUND)
        if bound.ended_ms:
            return no(Reason.BINDING_ENDED, binding=bound)
        if now_ms < bound.starts_ms:
            return no(Reason.BINDING_NOT_STARTED, binding=bound)
        if now_ms >= bound.expires_ms:
            return no(Reason.BINDING_EXPIRED, binding=bound)
        if bound.direction is (Direction.A_TO_B if from_b else Direction.B_TO_A):
            return no(Reason.DIRECTION_BARRED, binding=bound)
        shown = bound.x if from_b else other
        trouble = self._of_block(shown)
        if trouble:
            return no(trouble, binding=bound)
        callee = bound.b
        if from_b:
            recent = self.last.get(bound.id, "")
            callee = recent if bound.group and recent in self.members(bound) else bound.a
        trouble = self._policy(kind, bound, from_b, caller, callee, now_ms)
        if trouble:
            return no(trouble, binding=bound)
        reached = set(self._caps(kind, bound, dialled, caller, now_ms)) if counted else set()
        if reached:
            return no(*reached, binding=bound)
        if not callee.startswith(self.served):
            return no(Reason.NO_ROUTE, binding=bound)
        return Answer(callee=callee, shown=shown, calling="b" if from_b else "a", binding=bound)

    def let_through(self, handle: int, kind: str, dialled: str, caller: str, now_ms: int, answer: Answer) -> None:
        """Remember an attempt that was connected."""
        bound = answer.binding
        assert bound is not None
        if bound.group and answer.calling == "a":
            self.last[bound.id] = caller
        limited = kind == "call" and bound.most_calls > 0
        self.attempts.append(
            Attempt(handle, now_ms, kind, caller, dialled, bound, self._cap_set(bound), limited, kind == "call")
        )

    def _of_block(self, number: str) -> Reason | None:
        block = self.blocks.get(number[:11])
        if block is None:
            return Reason.BLOCK_UNKNOWN
        return None if block[2] is BlockState.ACTIVE else Reason.BLOCK_INACTIVE

    def _policy(self, kind: str, bound: Bound, from_b: bool, caller: str, callee: str, now_ms: int) -> Reason | None:
        national = caller.removeprefix("+86")
        national = national if national[0] == "1" and national[1] != "0" else "0" + national
        fitting = [prefix for prefix in self.ranges if national.startswith(prefix)]
        allowed = self.ranges[max(fitting, key=len)] if fitting else not any(self.ranges.values())
        if not allowed:
            return Reason.CALLER_BARRED
        numbers = [bound.x, bound.y] if bound.y else [bound.x]
        for reason, kinds, values in (
            (Reason.CALLER_BLOCKED, (BlockKind.CALLER, BlockKind.NUMBER), [caller]),
            (Reason.CALLEE_BLOCKED, (BlockKind.CALLEE, BlockKind.NUMBER), [callee]),
            *(
                row
                for number in numbers
                for row in (
                    (Reason.NUMBER_BLOCKED, (BlockKind.X,), [number]),
                    (Reason.BLOCK_BLOCKED, (BlockKind.BLOCK,), [number[:11]]),
                )
            ),
            (Reason.BINDING_BLOCKED, (BlockKind.BINDING,), [bound.id]),
            (Reason.USER_BLOCKED, (BlockKind.BUSINESS_USER,), [bound.user]),
            (Reason.PROVIDER_BLOCKED, (BlockKind.PROVIDER,), [bound.provider]),
        ):
            if any(one.kind in kinds and one.value in values and one.live(now_ms) for one in self.entries):
                return reason
        terms = self.scenarios[bound.user, bound.scenario]
        if terms.direction is (Direction.A_TO_B if from_b else Direction.B_TO_A):
            return Reason.DIRECTION_BARRED
        if kind == "message" and not terms.messages:
            return Reason.MESSAGES_BARRED
        hour = datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(CHINA).hour
        if terms.hours and not terms.hours[0] <= hour < terms.hours[1]:
            return Reason.OUTSIDE_HOURS
        return None

    def _cap_set(self, bound: Bound) -> CapSet:
        return self.scenarios[bound.user, bound.scenario].caps.over(self.default)

    def _caps(self, kind: str, bound: Bound, dialled: str, caller: str, now_ms: int) -> Iterator[Reason]:
        own = self._cap_set(bound)
        used = [one for one in self.attempts if one.limited and one.binding is bound]
        if kind == "call" and bound.most_calls and len(used) >= bound.most_calls:
            yield Reason.CALLS_USED_UP
        for reason, caps, same, of in (
            (Reason.CALLER_CAP, own.caller, lambda one: one.caller == caller, lambda caps: caps.caller),
            (Reason.BINDING_CAP, own.binding, lambda one: one.binding is bound, lambda caps: caps.binding),
            (Reason.NUMBER_CAP, own.number, lambda one: one.x == dialled, lambda caps: caps.number),
            (
                Reason.SCENARIO_CAP,
                own.total,
                lambda one: (one.binding.user, one.binding.scenario) == (bound.user, bound.scenario),
                lambda caps: caps.total,
            ),
            (Reason.USER_CAP, self.user_caps, lambda one: one.binding.user == bound.user, lambda _: self.user_caps),
        ):
            alike = [one for one in self.attempts if one.kind == kind and same(one)]
            for name, span_ms in SPANS.items():
                cap = getattr(caps, name)
                counted = [one for one in alike if getattr(of(one.caps), name)]
                if cap and sum(window(one.at_ms, span_ms) == window(now_ms, span_ms) for one in counted) >= cap:
                    yield reason
            up = [one for one in alike if one.up and of(one.caps).concurrent]
            if kind == "call" and caps.concurrent and len(up) >= caps.concurrent:
                yield reason
        today = {
            one.x
            for one in self.attempts
            if one.caller == caller
            and one.caps.caller.distinct_x
            and window(one.at_ms, DAY_MS) == window(now_ms, DAY_MS)
        }
        if own.caller.distinct_x and len(today) >= own.caller.distinct_x and dialled not in today:
            yield Reason.FAN_OUT


def window(at_ms: int, span_ms: int) -> int:
    """The number of the minute, hour or day, by the clock in China."""
    return (at_ms + 8 * 3_600_000) // span_ms
