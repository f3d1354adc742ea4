"""What the switch is told about itself: names, times and limits, as one frozen object."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from b2bua.call.message_settings import MessageSettings
from b2bua.sip.parser import Limits
from b2bua.sip.session_expires import Preference, Terms
from b2bua.sip.timers import TimerValues
from routing.targets import Target

__all__ = ["PromptSettings", "SwitchSettings"]


@dataclass(frozen=True, slots=True)
class PromptSettings:
    """Announcements to refused callers. ``target`` is the media server (RFC 4240), ``files`` the prompt of each refusal
    reason, each a rest of ``url``; a reason without one has no prompt. ``repeat``: how often it is played.

    Within ``answer_seconds`` the media server has to take the call, and nobody listens longer than ``longest_seconds``.
    ``most`` are played at one time.
    """

    target: Target
    url: str
    files: Mapping[str, str]
    answer_seconds: float = 2.0
    longest_seconds: float = 20.0
    repeat: int = 1
    most: int = 200


@dataclass(frozen=True, slots=True)
class SwitchSettings:
    """Times in seconds, rates a second, sizes in bytes; 0 is no limit where a limit is meant."""

    node: str = "x700"
    product: str = "x700"
    timers: TimerValues = field(default_factory=TimerValues)
    message: Limits = field(default_factory=Limits)
    no_reply_seconds: float = 4.0
    no_progress_seconds: float = 15.0
    ring_seconds: float = 60.0
    ring_refresh_seconds: float = 60.0
    longest_call_seconds: float = 14_400.0
    session_expires_seconds: int = 1800
    min_se_seconds: int = 90
    session_refresher: Preference = Preference.EITHER
    park_seconds: float = 30.0
    decision_seconds: float = 4.0
    overload_seconds: float = 0.0
    max_calls: int = 0
    calls_per_second: float = 0.0
    source_messages_per_second: float = 0.0
    source_burst: float = 0.0
    digest_failures: int = 10
    digest_window_seconds: float = 60.0
    digest_ignore_seconds: float = 300.0
    prompts: PromptSettings | None = None
    messages: MessageSettings = field(default_factory=MessageSettings)

    @property
    def session_terms(self) -> Terms | None:
        """What we want of session timers; None: nothing."""
        if not self.session_expires_seconds:
            return None
        return Terms(self.session_expires_seconds, self.min_se_seconds, self.session_refresher)
