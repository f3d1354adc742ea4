"""Settings of short messages: what is taken, how long it is tried, what its text may be."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from b2bua.app.config_section import Section
from b2bua.app.config_values import Positive, Seconds, Text
from b2bua.call.message_settings import MessageSettings, Report, SmsSender
from routing.content import ContentPolicy, Typed

__all__ = ["Messages", "message_settings"]

SHORTEST_KEYWORD = 2
HOUR_SECONDS = 3600


def parse_keyword(text: str) -> str:
    """A word to look for; blanks and signs do not count in it."""
    if sum(sign.isalnum() for sign in text) < SHORTEST_KEYWORD:
        raise ValueError(f"must hold {SHORTEST_KEYWORD} letters, digits or ideographs; shorter ones are everywhere")
    return text


class Messages(Section):
    enabled: Annotated[bool, Field(strict=True)] = Field(
        default=True, description="Take SIP MESSAGE for middle numbers (rule R8); else it gets 405."
    )
    sms: Literal["rewrite", "refuse"] = Field(
        default="rewrite",
        description="Bodies of application/vnd.3gpp.sms: rewrite (addresses to middle numbers, an SMS-SUBMIT becomes "
        "an SMS-DELIVER), or refuse with 415.",
    )
    sms_sender: SmsSender = Field(
        default=SmsSender.HEADER,
        description="Who has sent an SMS-DELIVER: header (the identity the trunk is trusted for, with which TP-OA has "
        "to agree), or tpdu (TP-OA, where the header names the carrier's service centre).",
    )
    sms_report: Report = Field(
        default=Report.STORED,
        description="When the sender of a short message gets its RP-ACK: stored (it is on our disk), or delivered "
        "(then RP-ERROR where that fails).",
    )
    longest_hours: Annotated[float, Field(strict=True, gt=0, le=168)] = Field(
        default=24.0, description="A message that nobody has taken by then is given up; at most 168."
    )
    retry_seconds: Seconds = Field(
        default=1.0, description="Wait before the second try; each further one is twice as long."
    )
    longest_retry_seconds: Seconds = Field(default=600.0, description="Longest wait between two tries, in seconds.")
    report_seconds: Annotated[Seconds, Field(le=600)] = Field(
        default=20.0,
        description="So long the callee's phone has to confirm a short message that its network has taken; without any "
        "word it counts as delivered.",
    )
    longest_bytes: Annotated[Positive, Field(le=60_000)] = Field(
        default=16_384, description="Longest body taken, in bytes; above, 513."
    )
    most_waiting: Annotated[Positive, Field(le=1_000_000)] = Field(
        default=10_000, description="Messages kept at one time; above, 503."
    )
    keywords: tuple[Annotated[Text, AfterValidator(parse_keyword)], ...] = Field(
        default=(),
        examples=[("刷单",)],
        description="A message with one of these in it is dropped, whatever its case, width, or the blanks between.",
    )
    typed_numbers: Typed = Field(
        default=Typed.FLAG,
        description="Telephone numbers typed into a text: flag (noted in the record), mask (struck out), drop. Those "
        "of the two parties are struck out in any case.",
    )


def message_settings(settings: Messages) -> MessageSettings:
    """What the core needs of it."""
    return MessageSettings(
        enabled=settings.enabled,
        sms=settings.sms == "rewrite",
        sms_sender=settings.sms_sender,
        sms_report=settings.sms_report,
        longest_seconds=settings.longest_hours * HOUR_SECONDS,
        retry_seconds=settings.retry_seconds,
        longest_retry_seconds=settings.longest_retry_seconds,
        report_seconds=settings.report_seconds,
        longest_bytes=settings.longest_bytes,
        most=settings.most_waiting,
        content=ContentPolicy(settings.keywords, settings.typed_numbers),
    )
