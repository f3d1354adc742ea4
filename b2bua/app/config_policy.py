"""Settings of the policy (R13, R14): caps where scenarios and business users have none of their own, caller ranges,
fan-out."""

from typing import Annotated

from pydantic import AfterValidator, Field

from b2bua.app.config_section import Section
from b2bua.app.config_values import Positive, Text, Whole
from routing.blocklist import parse_range
from routing.caps import LARGEST_CAP, Caps, CapSet
from routing.policy import PolicySettings

__all__ = ["Policy", "policy_settings"]


def parse_caller_range(text: str) -> str:
    """The first digits of a national number, such as 138 or 010."""
    digits = parse_range(text)
    if digits is None:
        raise ValueError('must be the first digits of a national number; write "138" or "010"')
    return digits


Range = Annotated[Text, AfterValidator(parse_caller_range)]
Cap = Annotated[Whole, Field(le=LARGEST_CAP)]
_NONE = "0: no cap."


class Policy(Section):
    allow: tuple[Range, ...] = Field(
        default=(),
        examples=[("138", "010")],
        description="First national digits of callers that may call; with any, no others may. The longest of allow, "
        "deny and the ranges of the store decides.",
    )
    deny: tuple[Range, ...] = Field(
        default=(), examples=[("170",)], description="First national digits of callers that may not call."
    )
    caller_per_minute: Cap = Field(
        default=0, description=f"Attempts of one caller in a minute, where the scenario has no such cap. {_NONE}"
    )
    caller_per_hour: Cap = Field(default=0, description=f"The same in an hour. {_NONE}")
    caller_per_day: Cap = Field(default=0, description=f"The same in a day, from midnight in China. {_NONE}")
    caller_concurrent: Cap = Field(default=0, description=f"Calls of one caller at one time. {_NONE}")
    caller_distinct_x: Cap = Field(default=0, description=f"Middle numbers that one caller may dial in a day. {_NONE}")
    binding_per_minute: Cap = Field(
        default=0, description=f"Attempts over one binding in a minute, where the scenario has no such cap. {_NONE}"
    )
    binding_per_hour: Cap = Field(default=0, description=f"The same in an hour. {_NONE}")
    binding_per_day: Cap = Field(default=0, description=f"The same in a day. {_NONE}")
    binding_concurrent: Cap = Field(default=0, description=f"Calls over one binding at one time. {_NONE}")
    number_per_minute: Cap = Field(
        default=0, description=f"Attempts to one middle number in a minute, where the scenario has no such cap. {_NONE}"
    )
    number_per_hour: Cap = Field(default=0, description=f"The same in an hour. {_NONE}")
    number_per_day: Cap = Field(default=0, description=f"The same in a day. {_NONE}")
    number_concurrent: Cap = Field(default=0, description=f"Calls to one middle number at one time. {_NONE}")
    user_per_minute: Cap = Field(
        default=0,
        description=f"Attempts over all bindings of one business user in a minute, where it has no such cap "
        f"of its own. {_NONE}",
    )
    user_per_hour: Cap = Field(default=0, description=f"The same in an hour. {_NONE}")
    user_per_day: Cap = Field(default=0, description=f"The same in a day. {_NONE}")
    user_concurrent: Cap = Field(default=0, description=f"Calls of one business user at one time. {_NONE}")
    fan_out_numbers: Cap = Field(
        default=100,
        description="A caller that dials more middle numbers than this within fan_out_seconds is a fan-out: counted, "
        "logged, put into the credit file of the business user. 0: not looked for.",
    )
    fan_out_seconds: Annotated[Positive, Field(le=86_400)] = Field(
        default=3600, description="Length of the windows that fan-out is looked for in, in seconds."
    )
    fan_out_block_seconds: Annotated[Whole, Field(le=31_536_000)] = Field(
        default=0, description="A fan-out blocks its caller for these seconds. 0: it does not."
    )


def policy_settings(policy: Policy) -> PolicySettings:
    """What routing needs of them."""
    return PolicySettings(
        allow=policy.allow,
        deny=policy.deny,
        caps=CapSet(
            caller=Caps(
                policy.caller_per_minute,
                policy.caller_per_hour,
                policy.caller_per_day,
                policy.caller_concurrent,
                policy.caller_distinct_x,
            ),
            binding=Caps(
                policy.binding_per_minute,
                policy.binding_per_hour,
                policy.binding_per_day,
                policy.binding_concurrent,
            ),
            number=Caps(
                policy.number_per_minute, policy.number_per_hour, policy.number_per_day, policy.number_concurrent
            ),
        ),
        user_caps=Caps(policy.user_per_minute, policy.user_per_hour, policy.user_per_day, policy.user_concurrent),
        fan_out_numbers=policy.fan_out_numbers,
        fan_out_seconds=policy.fan_out_seconds,
        fan_out_block_seconds=policy.fan_out_block_seconds,
    )
