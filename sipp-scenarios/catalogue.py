"""What there is to run: each scenario's files, what it needs of the switch, and what must come of it. Data only."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from routing.binding import Direction, Mode
from routing.blocklist import BlockKind
from routing.caps import NO_CAP_SET, NO_CAPS, Caps, CapSet


class Bound(Enum):
    """What the caller's key (number dialled, caller) leads to in the binding store."""

    LIVE = "live"
    BACK = "live, and the caller is its party B"
    NEVER = "no binding"
    EXPIRED = "an expired binding"
    ENDED = "a binding that was ended"
    BARRED = "a live binding of the other direction only"
    LATER = "a binding that has yet to start"


class Way(Enum):
    """How a side speaks: transport and IP version."""

    UDP = ("udp", 4)
    TCP = ("tcp", 4)
    UDP_V6 = ("udp", 6)
    TCP_V6 = ("tcp", 6)

    @property
    def transport(self) -> str:
        """udp or tcp."""
        return str(self.value[0])

    @property
    def ipv6(self) -> bool:
        """Whether it is over IPv6."""
        return int(self.value[1]) == 6


class Digest(Enum):
    """Who has to prove itself by digest authentication (RFC 3261 section 22)."""

    NONE = "nobody"
    CALLER = "the caller's trunk, to the switch"
    CALLEE = "the switch, to the callee's trunk"


# user name (each line of the rig adds its own number to the caller's) and password on either side
CALLER_PASSWORD = ("gw-1", "open sesame")
CALLEE_PASSWORD = ("x700-at-far-end", "let us in")


class Hook(Enum):
    """What the verification hook says to the calls of a scenario, where there is one."""

    ALLOWS = "yes"
    REFUSES = "no"
    FAILS = "rubbish"
    HANGS = "nothing"


class Before(Enum):
    """A call that is made, and is over, before the scenario begins."""

    NONE = "none"
    SAME = "the same call"
    OTHER = "the same caller dials another number"
    BACK = "the callee calls the caller"


@dataclass(frozen=True, slots=True)
class Order:
    """What a scenario needs of the store besides a plain binding.

    `mode` is that of its binding; in a group's, `default` says whether the party of the group is its default A.
    `caps` are those of its scenario, `user_caps` those of its business user, which is then its own, as with `own`:
    with a block of its own, `frozen` or not. `closed`: its scenario's hours are over. `blocked` goes onto the block
    list, of whichever is the scenario's; `barred`: the caller's range may not call.
    """

    mode: Mode = Mode.AXB
    default: bool = False
    caps: CapSet = NO_CAP_SET
    user_caps: Caps = NO_CAPS
    own: bool = False
    frozen: bool = False
    closed: bool = False
    most_calls: int = 0
    blocked: BlockKind | None = None
    barred: bool = False
    before: Before = Before.NONE

    @property
    def two(self) -> bool:
        """Whether B's number is another than A's."""
        return self.mode in (Mode.AXYB, Mode.GXYB)

    @property
    def grouped(self) -> bool:
        """Whether a group takes the part of A."""
        return self.mode in (Mode.GXB, Mode.GXYB)


PLAIN = Order()

DIRECTIONS: Mapping[Bound, Direction] = {Bound.BARRED: Direction.B_TO_A}

# Settings of [sip] and [routing] that differ from the defaults. With T1 = 100 ms a transaction is gone after 6.4 s
# (64 T1, RFC 3261 section 17), so that "every table is empty" can be seen soon; loopback is far quicker than that.
TIMERS = {"t1_ms": 100, "t2_ms": 800, "t4_ms": 1000, "drain_seconds": 2.0}
PROFILES: Mapping[str, Mapping[str, float]] = {
    "usual": TIMERS | {"no_reply_seconds": 4.0, "ring_seconds": 30.0, "longest_call_seconds": 60.0},
    "hasty": TIMERS
    | {"no_reply_seconds": 2.0, "no_progress_seconds": 5.0, "ring_seconds": 2.0, "longest_call_seconds": 3.0},
    "brief": TIMERS | {"session_expires_seconds": 6, "min_se_seconds": 2},
    "prompts": TIMERS,
    "verified": TIMERS,
}
# Settings of a profile besides those of [sip]: {media} is the media server of the rig, {hook} its verification hook.
SERVICES: Mapping[str, str] = {
    "prompts": '[prompts]\nserver = "{media}"\nurl = "file:///prompts/"\nlongest_seconds = 1.5\n',
    "verified": '[verification]\nurl = "{hook}"\nscope = "all"\ntimeout_ms = 600\nretry_percent = 0\n',
}


@dataclass(frozen=True, slots=True)
class Expected:
    """The record of one attempt. None: not looked at."""

    outcome: str
    status: int
    ended_by: str | None = None
    q850: int | None = None
    reason: str | None = ""
    routes: int | None = None


@dataclass(frozen=True, slots=True)
class Phone:
    """One sipp on the callee's side: its scenario file without uas_ and .xml, its -key pairs, further options."""

    file: str
    keys: tuple[tuple[str, str], ...] = ()
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Scenario:
    """One behaviour. `caller` is the file of the caller without uac_ and .xml; `callees` are the routes in order.

    `number` and `identity` go before the middle number dialled and the caller's number that the runner deals out.
    `hold_ms` is -d of the caller. `digest` says who has to prove itself. `record` is None when no record may exist;
    `media` is the media server's file, where the switch asks it; `hook` what the verification hook says; `order` what
    the binding is besides. `seconds`
    bounds the run. `ways` are those of the caller and of all callees; one of them at most may be of IPv6,
    whose only loopback address would be both sides' otherwise.
    """

    name: str
    caller: Phone
    callees: tuple[Phone, ...]
    record: Expected | None
    profile: str = "usual"
    bound: Bound = Bound.LIVE
    calls: int = 1
    hold_ms: int = 300
    number: str = ""
    identity: str = ""
    seconds: int = 15
    digest: Digest = Digest.NONE
    ways: tuple[Way, Way] = (Way.UDP, Way.UDP)
    media: Phone | None = None
    hook: Hook = Hook.ALLOWS
    order: Order = PLAIN


ONE = Caps(per_day=1)
ANSWERED = Expected("answered", 200, "caller", 16)
HUNG_UP = Expected("answered", 200, "callee", 16)
DELIVERED = Expected("delivered", 200, "callee", 16, routes=1)
CANCELLED = Expected("cancelled", 487, "caller")
TRANSPORTS: Mapping[str, tuple[Way, Way]] = {
    "tcp": (Way.TCP, Way.TCP),
    "tcp_to_udp": (Way.TCP, Way.UDP),
    "udp_to_tcp": (Way.UDP, Way.TCP),
    "ipv6_to_ipv4": (Way.UDP_V6, Way.UDP),
    "tcp_to_ipv6": (Way.TCP, Way.TCP_V6),
}
NO_RETRANSMISSION_FILTER = ("-nr",)


def _call(
    name: str,
    record: Expected = ANSWERED,
    profile: str = "usual",
    hold_ms: int = 300,
    seconds: int = 15,
    caller_options: tuple[str, ...] = (),
    callee_options: tuple[str, ...] = (),
) -> Scenario:
    """A scenario that reaches its callee, one file of its own on each side."""
    caller, callee = Phone(name, options=caller_options), Phone(name, options=callee_options)
    return Scenario(name, caller, (callee,), record, profile=profile, hold_ms=hold_ms, seconds=seconds)


def _refused(
    name: str,
    status: int,
    q850: int,
    reason: str,
    file: str = "",
    bound: Bound = Bound.LIVE,
    number: str = "",
    identity: str = "",
) -> Scenario:
    """A scenario that the switch refuses by itself: nothing may reach the callee."""
    record = Expected("refused", status, "switch", q850, reason, routes=0)
    return Scenario(name, Phone(file or name), (), record, bound=bound, number=number, identity=identity)


def _mode(name: str, mode: Mode, bound: Bound = Bound.LIVE, default: bool = False) -> Scenario:
    """A whole call in another mode than AXB. Without `default`, B calls the member who has called before."""
    file = "two_numbers" if mode in (Mode.AXYB, Mode.GXYB) else "answered"
    before = Before.BACK if bound is Bound.BACK and mode in (Mode.GXB, Mode.GXYB) and not default else Before.NONE
    order = Order(mode, default, before=before)
    return Scenario(name, Phone(file), (Phone(file),), ANSWERED, bound=bound, order=order)


def _barred(reason: str, order: Order, name: str = "", bound: Bound = Bound.LIVE) -> Scenario:
    """A caller with a binding whom something else keeps from calling."""
    record = Expected("refused", 403, "switch", 21, reason, routes=0)
    return Scenario(name or reason, Phone("policy"), (), record, bound=bound, order=order)


def _announced(name: str, caller: str, media: str) -> Scenario:
    """A refused caller who hears an announcement, or would; the record is the same in either case."""
    record = Expected("refused", 403, "switch", 21, "caller_unbound", routes=0)
    return Scenario(name, Phone(caller), (), record, "prompts", Bound.NEVER, media=Phone(media))


def _fails(status: int, seen: int, outcome: str, q850: int | None = None) -> Scenario:
    """A scenario whose callee fails with a status, and whose caller sees one."""
    caller = Phone("callee_fails", (("expected", str(seen)),))
    callee = Phone("callee_fails", (("status", str(status)),))
    record = Expected(outcome, seen, None if outcome == "failed" else "callee", q850, reason=None, routes=1)
    return Scenario(f"callee_fails_{status}", caller, (callee,), record)


def _text(
    name: str,
    record: Expected,
    callees: tuple[str, ...] = ("message",),
    file: str = "message",
    bound: Bound = Bound.LIVE,
    text: str = "在楼下等您",
    ways: tuple[Way, Way] = (Way.UDP, Way.UDP),
) -> Scenario:
    """A short message, and who answers it on each route of the callee."""
    said = (("text", text),)
    phones = tuple(Phone(callee, said) for callee in callees)
    return Scenario(name, Phone(file, said), phones, record, bound=bound, ways=ways)


SCENARIOS: tuple[Scenario, ...] = (
    # the long ones first: they run beside the others
    _call("never_acked", Expected("answered", 200, "switch", None, "no_ack"), seconds=25),
    _call("long_hold", hold_ms=5000),
    Scenario("answered", Phone("answered"), (Phone("answered"),), ANSWERED, calls=3, hold_ms=500),
    Scenario("answered_back", Phone("answered"), (Phone("answered"),), ANSWERED, bound=Bound.BACK),
    _call("caller_hangs_up"),
    _call("callee_hangs_up", HUNG_UP),
    Scenario("busy", Phone("busy"), (Phone("busy"),), Expected("busy", 486, "callee", 17, None, 1)),
    _call("no_answer", Expected("no_answer", 480, "switch", 19, None, 1), "hasty"),
    _call("cancel_ringing", CANCELLED),
    _call("cancel_crossing_200", CANCELLED),
    _call("cancel_too_late"),
    _refused("unknown_number", 404, 1, "block_unknown", number="700999999990001"),
    _refused("malformed_number", 404, 1, "number_malformed", "unknown_number", number="7001234"),
    _refused("unbound_caller", 403, 21, "caller_unbound", bound=Bound.NEVER),
    _refused("expired_binding", 403, 21, "binding_expired", bound=Bound.EXPIRED),
    _refused("ended_binding", 403, 21, "binding_ended", "expired_binding", bound=Bound.ENDED),
    _refused("direction_barred", 403, 21, "direction_barred", bound=Bound.BARRED),
    _refused("anonymous_caller", 433, 21, "caller_anonymous"),
    _refused("foreign_caller", 403, 21, "caller_foreign", identity="+14155550123"),
    _refused("max_forwards_zero", 483, 25, "max_forwards"),
    _refused("loop", 482, 25, "loop", identity="700999999990002"),
    _call("lost_200", hold_ms=1000, caller_options=("-pause_msg_ign",)),
    _call("lost_ack", caller_options=NO_RETRANSMISSION_FILTER),
    _call("lost_bye", callee_options=NO_RETRANSMISSION_FILTER),
    _call("lost_invite", callee_options=NO_RETRANSMISSION_FILTER),
    _call("repeated_invite", caller_options=NO_RETRANSMISSION_FILTER),
    _call("callee_lost_ack", hold_ms=1000, callee_options=NO_RETRANSMISSION_FILTER),
    _call("caller_holds"),
    _call("callee_holds", HUNG_UP),
    _call("early_media"),
    _call("delayed_offer"),
    _call("longest_call", Expected("answered", 200, "switch", None, "longest_call"), "hasty"),
    _call("info_dtmf"),
    *(
        Scenario(f"{name}_{file}", Phone(file), (Phone(file),), record, ways=ways)
        for name, ways in TRANSPORTS.items()
        for file, record in (
            ("answered", ANSWERED),
            ("callee_hangs_up", HUNG_UP),
            ("caller_holds", ANSWERED),
            ("cancel_ringing", CANCELLED),
        )
    ),
    _call("forked_ringing"),
    _call("forked_answer", hold_ms=1000),
    _call("prack"),
    Scenario("prack_callee_only", Phone("early_media"), (Phone("prack"),), ANSWERED),
    Scenario("prack_caller_only", Phone("prack"), (Phone("early_media"),), ANSWERED),
    _call("prack_delayed_offer"),
    _call("prack_update"),
    _call("prack_forked"),
    _call("bye_before_ack"),
    _call("glare"),
    _call("hold_refused"),
    _call("refer_refused"),
    _call("info_refused"),
    Scenario(
        "digest_caller",
        Phone("digest_caller", options=("-ap", CALLER_PASSWORD[1])),
        (Phone("long_hold"),),
        ANSWERED,
        digest=Digest.CALLER,
    ),
    Scenario(
        "digest_wrong",
        Phone("digest_wrong", options=("-ap", "a guess")),
        (),
        None,
        digest=Digest.CALLER,
    ),
    Scenario("digest_callee", Phone("long_hold"), (Phone("digest_callee"),), ANSWERED, digest=Digest.CALLEE),
    _call("session_refreshed", profile="brief", hold_ms=1000),
    _call("session_refreshes", profile="brief", hold_ms=1000),
    _call("session_expired", Expected("answered", 200, "switch", 102, "session_expired"), "brief"),
    Scenario(
        "interval_too_small",
        Phone("interval_too_small"),
        (),
        Expected("refused", 422, "switch", 127, "session_interval", routes=0),
        profile="brief",
    ),
    _mode("axyb", Mode.AXYB),
    _mode("axyb_back", Mode.AXYB, Bound.BACK),
    _mode("gxb_member", Mode.GXB),
    _mode("gxb_back_last", Mode.GXB, Bound.BACK),
    _mode("gxb_back_default", Mode.GXB, Bound.BACK, default=True),
    _mode("gxyb_member", Mode.GXYB),
    _mode("gxyb_back_last", Mode.GXYB, Bound.BACK),
    _mode("gxyb_back_default", Mode.GXYB, Bound.BACK, default=True),
    _barred("caller_blocked", Order(blocked=BlockKind.CALLER)),
    _barred("callee_blocked", Order(blocked=BlockKind.CALLEE)),
    _barred("number_blocked", Order(blocked=BlockKind.X)),
    _barred("number_blocked", Order(Mode.AXYB, blocked=BlockKind.X), "alias_blocked"),
    _barred("binding_blocked", Order(blocked=BlockKind.BINDING)),
    _barred("block_blocked", Order(own=True, blocked=BlockKind.BLOCK)),
    _barred("user_blocked", Order(own=True, blocked=BlockKind.BUSINESS_USER)),
    _barred("provider_blocked", Order(own=True, blocked=BlockKind.PROVIDER)),
    _barred("caller_barred", Order(barred=True)),
    _barred("block_inactive", Order(own=True, frozen=True)),
    _barred("binding_not_started", PLAIN, bound=Bound.LATER),
    _barred("outside_hours", Order(closed=True)),
    _barred("calls_used_up", Order(most_calls=1, before=Before.SAME)),
    _barred("caller_cap", Order(caps=CapSet(caller=ONE), before=Before.SAME)),
    _barred("binding_cap", Order(caps=CapSet(binding=ONE), before=Before.SAME)),
    _barred("number_cap", Order(caps=CapSet(number=ONE), before=Before.SAME)),
    _barred("scenario_cap", Order(caps=CapSet(total=ONE), before=Before.SAME)),
    _barred("user_cap", Order(user_caps=ONE, own=True, before=Before.SAME)),
    _barred("fan_out", Order(caps=CapSet(caller=Caps(distinct_x=1)), before=Before.OTHER)),
    _announced("prompt", "prompt", "announcement"),
    _announced("prompt_reliable", "prompt_reliable", "announcement"),
    _announced("prompt_cut", "prompt", "announcement_cut"),
    _announced("prompt_cancelled", "prompt_cancelled", "announcement_cut"),
    _announced("prompt_missing", "unbound_caller", "announcement_missing"),
    Scenario("verified", Phone("answered"), (Phone("answered"),), ANSWERED, "verified", hold_ms=500),
    Scenario(
        "verification_refused",
        Phone("unbound_caller"),
        (),
        Expected("refused", 403, "switch", 21, "verification_refused", routes=0),
        "verified",
        hook=Hook.REFUSES,
    ),
    Scenario(
        "verification_failed",
        Phone("verification_failed"),
        (),
        Expected("refused", 503, "switch", 41, "verification_failed", routes=0),
        "verified",
        hook=Hook.FAILS,
    ),
    Scenario("verification_cancelled", Phone("verification_cancelled"), (), CANCELLED, "verified", hook=Hook.HANGS),
    Scenario("options", Phone("options"), (), None),
    _text("message", DELIVERED),
    _text("message_back", DELIVERED, bound=Bound.BACK),
    _text("message_cpim", DELIVERED, file="message_cpim"),
    _text("message_tcp_to_udp", DELIVERED, ways=(Way.TCP, Way.UDP)),
    _text("message_udp_to_tcp", DELIVERED, ways=(Way.UDP, Way.TCP)),
    _text(
        "message_failover",
        Expected("delivered", 200, "callee", 16, routes=2),
        callees=("message_unavailable", "message"),
    ),
    _text("message_rejected", Expected("rejected", 404, "callee", 1, routes=1), callees=("message_not_found",)),
    _text(
        "message_unbound",
        Expected("refused", 403, "switch", 21, "caller_unbound", 0),
        (),
        "message_refused",
        Bound.NEVER,
    ),
    _text(
        "message_code",
        Expected("dropped", 403, "switch", 21, "verification_code", 0),
        (),
        "message_refused",
        text="【某网】验证码123456,请勿泄露",
    ),
    _fails(404, 404, "rejected", 1),
    _fails(480, 480, "rejected", 18),
    _fails(486, 486, "busy", 17),
    _fails(600, 600, "busy", 17),
    _fails(603, 603, "rejected", 21),
    _fails(503, 500, "failed"),
    Scenario(
        "failover_silent",
        Phone("failover"),
        (Phone("failover_silent"), Phone("failover")),
        Expected("answered", 200, "caller", 16, routes=2),
        profile="hasty",
    ),
    Scenario(
        "failover_late_200",
        Phone("failover"),
        (Phone("failover_late"), Phone("failover")),
        Expected("answered", 200, "caller", 16, routes=2),
        profile="hasty",
    ),
    Scenario(
        "failover_503",
        Phone("failover"),
        (Phone("callee_fails", (("status", "503"),)), Phone("failover")),
        Expected("answered", 200, "caller", 16, routes=2),
    ),
)
