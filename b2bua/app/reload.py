"""What a settings file that has changed means for a process that runs: what it takes over, what waits for a restart.

Values only; who reads the file and tells the switch is in reloader.py.
"""

from typing import NamedTuple

from b2bua.app.config_models import Settings
from b2bua.app.config_section import Section

__all__ = ["LIVE", "RECORDER", "Changes", "compare", "merge"]

# What the switch takes over while it runs. Whatever is not listed waits for a restart: a key that is new here is then
# never said to be in force while it is not.
LIVE = frozenset(
    (
        "sip.user_agent", "sip.t1_ms", "sip.t2_ms", "sip.t4_ms", "sip.no_reply_seconds", "sip.no_progress_seconds",
        "sip.ring_seconds", "sip.ring_refresh_seconds", "sip.longest_call_seconds", "sip.drain_seconds",
        "sip.session_expires_seconds", "sip.min_se_seconds", "sip.session_refresher",
        "limits.max_calls", "limits.calls_per_second", "limits.message_bytes", "limits.header_fields",
        "limits.header_line_bytes", "limits.via_fields", "limits.source_messages_per_second", "limits.source_burst",
        "limits.connections", "limits.source_connections", "limits.connection_idle_seconds", "limits.message_seconds",
        "limits.overload_delay_ms", "limits.digest_failures", "limits.digest_window_seconds",
        "limits.digest_ignore_seconds", "keys.passwords",
        "verification.url", "verification.scope", "verification.on_failure", "verification.timeout_ms",
        "verification.deadline_ms", "verification.retry_percent", "verification.connections",
        "verification.breaker_failures", "verification.breaker_seconds", "verification.ca",
        "prompts.server", "prompts.transport", "prompts.url", "prompts.answer_seconds", "prompts.longest_seconds",
        "prompts.repeat", "prompts.calls", "prompts.files",
        "routing.park_seconds", "routing.decision_seconds", "routing.inactive_block_ends_calls",
        "log.level", "log.format",
        "messages.enabled", "messages.sms", "messages.sms_sender", "messages.sms_report", "messages.longest_hours",
        "messages.retry_seconds", "messages.longest_retry_seconds", "messages.report_seconds",
        "messages.longest_bytes", "messages.most_waiting", "messages.keywords", "messages.typed_numbers",
        "policy.allow", "policy.deny", "policy.caller_per_minute", "policy.caller_per_hour", "policy.caller_per_day",
        "policy.caller_concurrent", "policy.caller_distinct_x", "policy.binding_per_minute",
        "policy.binding_per_hour", "policy.binding_per_day", "policy.binding_concurrent", "policy.number_per_minute",
        "policy.number_per_hour", "policy.number_per_day", "policy.number_concurrent", "policy.user_per_minute",
        "policy.user_per_hour", "policy.user_per_day", "policy.user_concurrent", "policy.fan_out_numbers",
        "policy.fan_out_seconds", "policy.fan_out_block_seconds",
    )
)  # fmt: skip
# What the recorder takes over by itself when it gets the signal, too.
RECORDER = frozenset(("records.retention_days",))


class Changes(NamedTuple):
    """Names of keys as `section.key`; of trunks only their names. `recorder`: keys that another process reads."""

    live: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()
    recorder: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    def taken(self) -> list[str]:
        """One text for each thing that changes now."""
        return [
            *self.live,
            *(f"trunk[{name}] added" for name in self.added),
            *(f"trunk[{name}] changed" for name in self.changed),
            *(f"trunk[{name}] removed" for name in self.removed),
        ]


def compare(running: Settings, wanted: Settings) -> Changes:
    """What differs between the settings in force and those of the file."""
    names = _differences(running, wanted)
    old = {trunk.name: trunk for trunk in running.trunk}
    new = {trunk.name: trunk for trunk in wanted.trunk}
    return Changes(
        live=tuple(name for name in names if name in LIVE),
        restart=tuple(name for name in names if name not in LIVE | RECORDER),
        recorder=tuple(name for name in names if name in RECORDER),
        added=tuple(name for name in new if name not in old),
        changed=tuple(name for name in new if name in old and new[name] != old[name]),
        removed=tuple(name for name in old if name not in new),
    )


def merge(running: Settings, wanted: Settings) -> Settings:
    """The settings in force after a reload: the live ones of the file, all others as they were."""
    updates: dict[str, object] = {"trunk": wanted.trunk, "passwords": wanted.passwords}
    for section in type(running).model_fields:
        old, new = getattr(running, section), getattr(wanted, section)
        if isinstance(old, Section):
            keys = [key for key in type(old).model_fields if f"{section}.{key}" in LIVE]
            updates[section] = old.model_copy(update={key: getattr(new, key) for key in keys})
    return running.model_copy(update=updates)


def _differences(running: Settings, wanted: Settings) -> list[str]:
    """Every key with another value, the trunks left out. The text of the keys counts as the file it comes from."""
    names: list[str] = []
    for section in type(running).model_fields:
        old, new = getattr(running, section), getattr(wanted, section)
        if section == "trunk" or old == new:
            continue
        if isinstance(old, Section):
            names += [f"{section}.{key}" for key in type(old).model_fields if getattr(old, key) != getattr(new, key)]
        else:
            names.append({"keyring": "keys.file", "passwords": "keys.passwords"}.get(section, section))
    return list(dict.fromkeys(names))
