"""SIP messages as ordered header text (RFC 3261 §7).

A message is its start line, its header fields as ``(key, value)`` pairs in order of arrival, and its body. The key is the
full lower-case name whatever the spelling or compact form was. There is no object per header: what the call path reads on
every message (top Via, CSeq, tags, Call-ID) is parsed once into attributes, the rest rides as text.
"""

from b2bua.sip.headers import Via

__all__ = ["Message", "Request", "Response"]


class Message:
    """What requests and responses share. ``first`` maps each key to its first value."""

    __slots__ = ("body", "call_id", "cseq", "cseq_method", "fields", "first", "from_tag", "from_value", "to_tag", "to_value", "via")

    fields: list[tuple[str, str]]
    first: dict[str, str]
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
        if key not in self.first:
            return []
        return [value for name, value in self.fields if name == key]


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
