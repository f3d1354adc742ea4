"""The words for why a call or a message is refused before it is routed."""

from enum import StrEnum

__all__ = ["Reason"]


class Reason(StrEnum):
    """Why an attempt is refused; each has its own SIP status, Q.850 cause and word in the record."""

    NUMBER_MALFORMED = "number_malformed"
    BLOCK_UNKNOWN = "block_unknown"
    BLOCK_INACTIVE = "block_inactive"
    CALLER_ANONYMOUS = "caller_anonymous"
    CALLER_FOREIGN = "caller_foreign"
    CALLER_UNBOUND = "caller_unbound"
    BINDING_NOT_STARTED = "binding_not_started"
    BINDING_EXPIRED = "binding_expired"
    BINDING_ENDED = "binding_ended"
    DIRECTION_BARRED = "direction_barred"
    LOOP = "loop"
    NO_ROUTE = "no_route"
    STORE_UNAVAILABLE = "store_unavailable"
    VERIFICATION_REFUSED = "verification_refused"
    VERIFICATION_FAILED = "verification_failed"
    # policy
    CALLER_BARRED = "caller_barred"
    CALLER_BLOCKED = "caller_blocked"
    CALLEE_BLOCKED = "callee_blocked"
    NUMBER_BLOCKED = "number_blocked"
    BLOCK_BLOCKED = "block_blocked"
    BINDING_BLOCKED = "binding_blocked"
    USER_BLOCKED = "user_blocked"
    PROVIDER_BLOCKED = "provider_blocked"
    MESSAGES_BARRED = "messages_barred"
    OUTSIDE_HOURS = "outside_hours"
    CALLS_USED_UP = "calls_used_up"
    CALLER_CAP = "caller_cap"
    BINDING_CAP = "binding_cap"
    NUMBER_CAP = "number_cap"
    SCENARIO_CAP = "scenario_cap"
    USER_CAP = "user_cap"
    FAN_OUT = "fan_out"
