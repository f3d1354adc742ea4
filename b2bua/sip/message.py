"""SIP messages as header text (RFC 3261 §7).

A message is its start line, the first value of each header field, the further values of those that came more than
once, and its body. Keys are full lower-case names whatever the spelling or compact form was. There is no object per
header: what the call path reads on every message (top Via, CSeq, tags, Call-ID) is parsed once into attributes, the
rest rides as text. The order between different header fields is not kept: it means nothing (§7.3.1), and no message
is ever passed on.
"""

from b2bua.sip.headers import Via

__all__ = ["Message", "Request", "Response"]


class Message:
    """What requests and responses share. ``first`` maps each key to its first value, ``more`` to the values after
    it."""

    __slots__ = (
        "body",
        "call_id",
        "cseq",
        "cseq_method",
        "first",
        "from_tag",
        "from_value",
        "more",
        "to_tag",
        "to_value",
        "via",
    )

    first: dict[str, str]
    more: dict[str, list[str]]
    body: bytes
    via: Via
    call_id: str
    cseq: int
    cseq_method: str
    from_value: str
    from_tag: str
    to_value: str
    to_tag: str

    def get(self, key: str) -> str | None:
        """The first value of a header field, by its full lower-case name."""
        return self.first.get(key)

    def all(self, key: str) -> list[str]:
        """Every value of a header field, one element for each line, in order."""
        value = self.first.get(key)
        if value is None:
            return []
        return [value, *self.more[key]] if key in self.more else [value]


class Request(Message):
    """RFC 3261 §7.1. ``uri`` is the request URI as text; parse it where it decides something."""

    __slots__ = ("method", "uri")

    def __init__(self, method: str, uri: str) -> None:
        self.method = method
        self.uri = uri


class Response(Message):
    """RFC 3261 §7.2. The reason phrase is not kept: nothing may depend on it and nothing passes it on."""

    __slots__ = ("status",)

    def __init__(self, status: int) -> None:
        self.status = status
