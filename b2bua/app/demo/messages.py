"""What SIPp traced, read without the switch's own parser: the judge must not share a mistake with the judged."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote

_HEAD = re.compile(r"^-{20,} .*\nUDP message (sent|received) .*\n\n", re.MULTILINE)
_SEPARATORS = re.compile(r"(?<=[0-9])[ \t().-]+(?=[0-9])")


@dataclass(frozen=True, slots=True)
class Traced:
    """One message of a trace, as it was on the wire."""

    sent: bool
    text: str

    @property
    def first_line(self) -> str:
        return self.text.partition("\n")[0].strip()


def parse_trace(text: str) -> tuple[Traced, ...]:
    """The messages of a SIPp message file, in order."""
    parts = _HEAD.split(text)[1:]
    return tuple(Traced(way == "sent", body) for way, body in zip(parts[::2], parts[1::2], strict=True))


def count_digits(messages: Iterable[Traced], digits: str) -> int:
    """How often the digits stand in the messages, in any spelling: percent-encoded or parted, with any prefix."""
    return sum(
        _SEPARATORS.sub("", unquote(line)).count(digits) for message in messages for line in message.text.splitlines()
    )


def find(messages: Iterable[Traced], sent: bool, start: str, cseq: str = "") -> Traced | None:
    """The first message that went this way, begins so, and has this method in its CSeq."""
    for message in messages:
        if message.sent is sent and message.text.startswith(start) and cseq in value(message, "CSeq"):
            return message
    return None


def value(message: Traced, name: str) -> str:
    """The values of a header field, or of a line of the SDP where the name ends in '='; '' when there is none."""
    head, _, body = message.text.replace("\r\n", "\n").partition("\n\n")
    if name.endswith("=") or name.startswith("a="):
        return ", ".join(line[2:] for line in body.splitlines() if line.startswith(name))
    prefix = f"{name.lower()}:"
    return ", ".join(line[len(prefix) :].strip() for line in head.splitlines() if line.lower().startswith(prefix))
