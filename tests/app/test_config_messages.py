"""The settings of short messages: what is right, what is told of what is not, and what the core is given."""

import pytest
from pydantic import ValidationError

from b2bua.app.config_messages import Messages, message_settings
from b2bua.call.message_settings import MessageSettings, Report, SmsSender
from routing.content import ContentPolicy, Typed


def test_the_defaults_are_those_of_the_core() -> None:
    assert message_settings(Messages()) == MessageSettings()


def test_every_key_reaches_the_core() -> None:
    settings = Messages(
        enabled=False,
        sms="refuse",
        sms_sender=SmsSender.TPDU,
        sms_report=Report.DELIVERED,
        longest_hours=0.5,
        retry_seconds=2.0,
        longest_retry_seconds=30.0,
        report_seconds=5.0,
        longest_bytes=500,
        most_waiting=7,
        keywords=("刷单", "代 购"),
        typed_numbers=Typed.DROP,
    )
    content = ContentPolicy(("刷单", "代 购"), Typed.DROP)
    assert message_settings(settings) == MessageSettings(
        False, False, SmsSender.TPDU, Report.DELIVERED, 1800.0, 2.0, 30.0, 5.0, 500, 7, content
    )


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"keywords": ("x",)}, "must hold 2 letters"),
        ({"keywords": (" - ",)}, "must hold 2 letters"),
        ({"longest_hours": 169.0}, "168"),
        ({"longest_hours": 0.0}, "greater than 0"),
        ({"sms": "perhaps"}, "rewrite"),
        ({"sms_sender": "sip"}, "header"),
        ({"typed_numbers": "hide"}, "flag"),
        ({"most_waiting": 0}, "greater"),
        ({"longest_bytes": 60_001}, "60000"),
        ({"unknown": 1}, "not permitted"),
    ],
)
def test_what_is_wrong_is_told(wrong: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Messages(**wrong)  # type: ignore[arg-type]
