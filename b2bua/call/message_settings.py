"""What short messages are told about: which bodies, how long, how often, and what their text may be."""

from dataclasses import dataclass, field
from enum import StrEnum

from routing.content import ContentPolicy

__all__ = ["MessageSettings", "Report", "SmsSender"]


class SmsSender(StrEnum):
    """Who has sent an SMS-DELIVER: the identity that the trunk is trusted for in headers, or TP-OA, where the header
    names the carrier's service centre."""

    HEADER = "header"
    TPDU = "tpdu"


class Report(StrEnum):
    """When the sender of a short message gets its RP-ACK: once it is on our disk, or when we know what became of it."""

    STORED = "stored"
    DELIVERED = "delivered"


@dataclass(frozen=True, slots=True)
class MessageSettings:
    """Times in seconds, sizes in bytes; ``most`` is how many may wait at one time. ``sms``: whether
    application/vnd.3gpp.sms is taken. ``report_seconds``: so long the callee's phone has to confirm a short message
    that its network has taken."""

    enabled: bool = True
    sms: bool = True
    sms_sender: SmsSender = SmsSender.HEADER
    sms_report: Report = Report.STORED
    longest_seconds: float = 86_400.0
    retry_seconds: float = 1.0
    longest_retry_seconds: float = 600.0
    report_seconds: float = 20.0
    longest_bytes: int = 16_384
    most: int = 10_000
    content: ContentPolicy = field(default_factory=ContentPolicy)
