"""What the rules say beyond the binding (R12-R15, R17): who is blocked, which callers may call at all, at what hours,
and how often. An immutable snapshot of the store and the settings; what was counted stands in `routing.counters`."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from routing.binding import Binding
from routing.blocklist import BlockEntry, BlockKind
from routing.caps import NO_CAP_SET, NO_CAPS, Caps, CapSet
from routing.numbers import NumberForm, format_subscriber
from routing.plan import PREFIX_DIGITS
from routing.reason import Reason
from routing.terms import Direction
from routing.windows import Window, open_at

__all__ = ["NO_POLICY", "Claim", "Cut", "Policy", "PolicySettings", "Rule", "Use"]

# So much of the keyed hash of a number stands for its caller where calls are counted: as much as records have, so that
# what was counted can be counted again from them.
CALLER_HASH_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Rule:
    """What a scenario restricts (R17). Its ``direction`` and that of the binding must both allow a call."""

    direction: Direction = Direction.BOTH
    windows: tuple[Window, ...] = ()
    messages: bool = True
    verify: bool = False
    caps: CapSet = NO_CAP_SET


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """The settings of the section ``[policy]``.

    ``allow`` and ``deny`` are national digits (`138`, `010`) that callers begin with: the longest that matches decides,
    and where some are allowed all others are not (R13). ``caps`` count where a scenario has none of its own,
    ``user_caps`` where a business user has none (R14). More than ``fan_out_numbers`` middle numbers dialled by one
    caller within ``fan_out_seconds`` are a fan-out (0: not looked for), which blocks the caller for
    ``fan_out_block_seconds`` (0: it is only told of).
    """

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    caps: CapSet = NO_CAP_SET
    user_caps: Caps = NO_CAPS
    fan_out_numbers: int = 0
    fan_out_seconds: int = 3600
    fan_out_block_seconds: int = 0


class Use(NamedTuple):
    """An attempt counts under ``key``; ``reason`` is said when one of the caps is reached."""

    key: bytes
    caps: Caps
    reason: Reason


class Claim(NamedTuple):
    """What an attempt uses up once it is let through.

    ``most_calls`` (0: none) bounds all calls of ``binding``. ``caller`` is the key of its caller, b'' where callers
    are not counted: ``distinct_x`` middle numbers a day are allowed it, ``fan_out`` in ``fan_out_ms`` are a fan-out,
    0 is no limit. ``x`` is the number dialled. ``call``: it is up for a while, a message is not.
    """

    uses: tuple[Use, ...]
    binding: str
    most_calls: int
    caller: bytes
    distinct_x: int
    fan_out: int
    fan_out_ms: int
    x: str
    call: bool


def _no_hash(text: str) -> bytes:
    raise ValueError("a policy that looks at numbers needs their keyed hash")


class Policy:
    """A snapshot. ``active`` False: it refuses and counts nothing.

    ``blocked`` says of each kind what is blocked until when (UTC ms), ``fresh_cuts`` which of those entries are new and
    end live calls. ``rules`` are of scenarios (business user, name) that restrict something, ``users`` the caps of
    business users, ``ranges`` caller prefixes by whether they are allowed. ``hash_of`` is the keyed hash of a real
    number; it is asked only where an entry or a count needs it.
    """

    __slots__ = (
        "_caps",
        "_lengths",
        "_of_callees",
        "_of_callers",
        "_only_allowed",
        "_user_caps",
        "active",
        "blocked",
        "fresh_cuts",
        "hash_of",
        "ranges",
        "rules",
        "settings",
        "users",
    )

    def __init__(
        self,
        settings: PolicySettings,
        blocked: Mapping[BlockKind, Mapping[str | bytes, int]] | None = None,
        rules: Mapping[tuple[str, str], Rule] | None = None,
        users: Mapping[str, Caps] | None = None,
        ranges: Mapping[str, bool] | None = None,
        hash_of: Callable[[str], bytes] = _no_hash,
        fresh_cuts: tuple[BlockEntry, ...] = (),
    ) -> None:
        self.settings = settings
        self.hash_of = hash_of
        self.fresh_cuts = fresh_cuts
        self.blocked: Mapping[BlockKind, Mapping[str | bytes, int]] = blocked or {}
        self.rules: Mapping[tuple[str, str], Rule] = rules or {}
        self.users: Mapping[str, Caps] = users or {}
        self.ranges = dict.fromkeys(settings.allow, True) | dict.fromkeys(settings.deny, False) | dict(ranges or {})
        self._only_allowed = any(self.ranges.values())
        self._lengths = sorted({len(prefix) for prefix in self.ranges}, reverse=True)
        either = bool(self.blocked.get(BlockKind.NUMBER))
        self._of_callers = either or bool(self.blocked.get(BlockKind.CALLER))
        self._of_callees = either or bool(self.blocked.get(BlockKind.CALLEE))
        self._caps: dict[tuple[str, str], CapSet] = {("", ""): NO_CAP_SET.over(settings.caps)}
        self._user_caps = NO_CAPS.over(settings.user_caps)
        self.active = bool(
            any(self.blocked.values())
            or self.rules
            or self.users
            or self.ranges
            or settings.caps != NO_CAP_SET
            or settings.user_caps != NO_CAPS
            or settings.fan_out_numbers
        )

    def verifies(self, business_user: str, scenario: str) -> bool:
        """Whether the scenario asks for the verification hook (R20)."""
        rule = self.rules.get((business_user, scenario))
        return rule is not None and rule.verify

    def objection(
        self, kind: str, binding: Binding, calling: str, caller: str, callee: str, now_ms: int
    ) -> Reason | None:
        """Why an attempt is refused whatever was counted; None when it is not. Numbers are E.164, ``calling`` says
        which party calls."""
        if self._lengths and not self._in_range(caller):
            return Reason.CALLER_BARRED
        if self.blocked:
            reason = self._blocked(binding, caller, callee, now_ms)
            if reason is not None:
                return reason
        rule = self.rules.get((binding.business_user, binding.scenario))
        if rule is None:
            return None
        if rule.direction is (Direction.B_TO_A if calling == "a" else Direction.A_TO_B):
            return Reason.DIRECTION_BARRED
        if not rule.messages and kind == "message":
            return Reason.MESSAGES_BARRED
        return None if open_at(rule.windows, now_ms) else Reason.OUTSIDE_HOURS

    def claim(self, kind: str, binding: Binding, caller: str, x: str) -> Claim | None:
        """What an attempt of ``caller`` (E.164) counts under; None when there is nothing to count."""
        return self.claim_of(
            kind,
            binding.business_user,
            binding.scenario,
            binding.id,
            binding.most_calls if kind == "call" else 0,
            caller,
            b"",
            x,
        )

    def claim_of(
        self,
        kind: str,
        business_user: str,
        scenario: str,
        binding: str,
        most_calls: int,
        caller: str,
        caller_hash: bytes,
        x: str,
    ) -> Claim | None:
        """The same from what a record says; ``caller_hash`` takes the place of the caller's number where it is
        known."""
        settings = self.settings
        caps = self._caps_of((business_user, scenario))
        user = self.users.get(business_user)
        user_caps = self._user_caps if user is None else user.over(self._user_caps)
        call = kind == "call"
        mark = b"" if call else b"m"  # calls and messages are counted each for themselves
        uses: list[Use] = []
        key = b""
        if caps.caller is not NO_CAPS or settings.fan_out_numbers:
            key = caller_hash or self.hash_of(caller)[:CALLER_HASH_BYTES]
            if caps.caller is not NO_CAPS:
                uses.append(Use(mark + b"c" + key, caps.caller, Reason.CALLER_CAP))
        if caps.binding is not NO_CAPS:
            uses.append(Use(mark + b"b" + binding.encode(), caps.binding, Reason.BINDING_CAP))
        if caps.number is not NO_CAPS:
            uses.append(Use(mark + b"x" + x.encode(), caps.number, Reason.NUMBER_CAP))
        if caps.total is not NO_CAPS:
            uses.append(Use(mark + f"s{business_user}|{scenario}".encode(), caps.total, Reason.SCENARIO_CAP))
        if user_caps is not NO_CAPS:
            uses.append(Use(mark + b"u" + business_user.encode(), user_caps, Reason.USER_CAP))
        if not (uses or key or most_calls):
            return None
        return Claim(
            tuple(uses),
            binding,
            most_calls,
            key,
            caps.caller.distinct_x,
            settings.fan_out_numbers,
            settings.fan_out_seconds * 1000,
            x,
            call,
        )

    def _caps_of(self, scenario: tuple[str, str]) -> CapSet:
        rule = self.rules.get(scenario)
        if rule is None:
            scenario = ("", "")
        caps = self._caps.get(scenario)
        if caps is None:
            assert rule is not None
            caps = self._caps[scenario] = rule.caps.over(self._caps["", ""])
        return caps

    def _in_range(self, caller: str) -> bool:
        digits = format_subscriber(caller, NumberForm.NATIONAL)
        for length in self._lengths:
            allowed = self.ranges.get(digits[:length])
            if allowed is not None:
                return allowed
        return not self._only_allowed

    def _blocked(self, binding: Binding, caller: str, callee: str, now_ms: int) -> Reason | None:
        if self._of_callers and self._number_held(BlockKind.CALLER, caller, now_ms):
            return Reason.CALLER_BLOCKED
        if self._of_callees and self._number_held(BlockKind.CALLEE, callee, now_ms):
            return Reason.CALLEE_BLOCKED
        for number in (binding.x, binding.y) if binding.y else (binding.x,):
            if self._holds(BlockKind.X, number, now_ms):
                return Reason.NUMBER_BLOCKED
            if self._holds(BlockKind.BLOCK, number[:PREFIX_DIGITS], now_ms):
                return Reason.BLOCK_BLOCKED
        if self._holds(BlockKind.BINDING, binding.id, now_ms):
            return Reason.BINDING_BLOCKED
        if self._holds(BlockKind.BUSINESS_USER, binding.business_user, now_ms):
            return Reason.USER_BLOCKED
        if self._holds(BlockKind.PROVIDER, binding.provider, now_ms):
            return Reason.PROVIDER_BLOCKED
        return None

    def _number_held(self, kind: BlockKind, number: str, now_ms: int) -> bool:
        key = self.hash_of(number)
        return self._holds(kind, key, now_ms) or self._holds(BlockKind.NUMBER, key, now_ms)

    def _holds(self, kind: BlockKind, key: str | bytes, now_ms: int) -> bool:
        entries = self.blocked.get(kind)
        return entries is not None and now_ms < entries.get(key, 0)


class Cut:
    """Says which live calls a few entries of the block list end."""

    __slots__ = ("_blocked", "_policy")

    def __init__(self, policy: Policy, entries: Iterable[BlockEntry]) -> None:
        blocked: dict[BlockKind, dict[str | bytes, int]] = {}
        for entry in entries:
            blocked.setdefault(entry.kind, {})[entry.key] = entry.expires_ms
        self._policy = Policy(PolicySettings(), blocked, hash_of=policy.hash_of)

    def ends(self, binding: Binding, caller: str, callee: str, now_ms: int) -> bool:
        """Whether a call on this binding between these two numbers (E.164) is to end."""
        return self._policy.objection("call", binding, "a", caller, callee, now_ms) is not None


NO_POLICY: Final = Policy(PolicySettings())
