"""What this switch makes of each message of RFC 4475, one row a message.

``parsed`` is 0 when the parser takes the message, else the status of its refusal. ``answer`` is the final status that
goes back, or the name of the counter under which the message is dropped. The switch knows no number in these messages,
so a call that is good in itself ends with 404.
"""

from typing import NamedTuple

__all__ = ["VERDICTS", "Verdict"]


class Verdict(NamedTuple):
    """``section`` is that of RFC 4475."""

    name: str
    section: str
    parsed: int
    answer: int | str
    note: str


VERDICTS: tuple[Verdict, ...] = (
    # valid messages
    Verdict("wsinv", "3.1.1.1", 0, 481, "folded and spaced everywhere; its To tag belongs to no dialog of ours"),
    Verdict(
        "intmeth", "3.1.1.2", 0, 501, "every character a method, URI, Call-ID or tag may have; the method is unknown"
    ),
    Verdict("esc01", "3.1.1.3", 0, 404, "an escaped URI in the user part is a user part"),
    Verdict("escnull", "3.1.1.4", 0, 405, "%00 is a character like others; no REGISTER here"),
    Verdict("esc02", "3.1.1.5", 0, 501, "escapes mean nothing in a method or field name"),
    Verdict("lwsdisp", "3.1.1.6", 0, 200, "no space between display name and URI"),
    Verdict("longreq", "3.1.1.7", 513, 513, "long but valid; its 34 Via fields are over our limit of 32, and told so"),
    Verdict("dblreq", "3.1.1.8", 0, 405, "a datagram is one message; what follows Content-Length is cut off"),
    Verdict("semiuri", "3.1.1.9", 0, 200, "a parameter inside the user part"),
    Verdict("transports", "3.1.1.10", 0, 200, "known and unknown transports below the top Via"),
    Verdict("mpart01", "3.1.1.11", 0, 415, "NUL and CRLF inside a binary body part; no multipart in a MESSAGE"),
    Verdict("unreason", "3.1.1.12", 0, "stray_response", "a reason phrase beyond ASCII; no transaction of ours"),
    Verdict("noreason", "3.1.1.13", 0, "stray_response", "an empty reason phrase; no transaction of ours"),
    # invalid messages
    Verdict("badinv01", "3.1.2.1", 400, 400, "a Via list with elements that are none"),
    Verdict("clerr", "3.1.2.2", 400, 400, "the datagram ends before Content-Length does"),
    Verdict("ncl", "3.1.2.3", 400, 400, "a negative Content-Length"),
    Verdict("scalar02", "3.1.2.4", 400, 400, "CSeq beyond 32 bits"),
    Verdict("scalarlg", "3.1.2.5", 400, "malformed", "the same in a response, which nobody answers"),
    Verdict("quotbal", "3.1.2.6", 400, 400, "a quotation mark without its partner in To"),
    Verdict("ltgtruri", "3.1.2.7", 400, 400, "angle brackets around the request URI"),
    Verdict("lwsruri", "3.1.2.8", 400, 400, "space inside the request URI"),
    Verdict("lwsstart", "3.1.2.9", 400, 400, "two spaces in the request line"),
    Verdict("trws", "3.1.2.10", 400, 400, "space at the end of the request line"),
    Verdict("escruri", "3.1.2.11", 0, 404, "headers in the request URI are read and never acted on"),
    Verdict("baddate", "3.1.2.12", 0, 404, "the Date of a request decides nothing"),
    Verdict("regbadct", "3.1.2.13", 0, 405, "no REGISTER here, whatever its Contact is"),
    Verdict("badaspec", "3.1.2.14", 400, 400, "spaces inside the angle brackets of To"),
    Verdict("baddn", "3.1.2.15", 0, 200, "a display name that should have been quoted is tolerated"),
    Verdict("badvers", "3.1.2.16", 505, 505, "another version of SIP"),
    Verdict("mismatch01", "3.1.2.17", 400, 400, "CSeq names another method"),
    Verdict("mismatch02", "3.1.2.18", 400, 400, "the same with an unknown method; the fault is seen first"),
    Verdict("bigcode", "3.1.2.19", 400, "malformed", "a status of ten digits"),
    # transaction layer
    Verdict("badbranch", "3.2.1", 0, 200, "a branch that is the cookie and no more is matched as before RFC 3261"),
    # application layer
    Verdict("insuf", "3.3.1", 400, "malformed", "without From, To and Call-ID there is no way to address an answer"),
    Verdict("unkscm", "3.3.2", 0, 416, "an unknown scheme in the request URI"),
    Verdict("novelsc", "3.3.3", 0, 416, "a known scheme that is not spoken here"),
    Verdict("unksm2", "3.3.4", 0, 405, "unknown schemes in To, From and Contact; no REGISTER here"),
    Verdict("bext01", "3.3.5", 0, 420, "extensions that we do not have"),
    Verdict("invut", "3.3.6", 0, 415, "an offer that is no session description"),
    Verdict("regaut01", "3.3.7", 0, 405, "no REGISTER here, whatever its credentials are"),
    Verdict("multi01", "3.3.8", 400, 400, "fields given twice of which there is one"),
    Verdict("mcl01", "3.3.9", 400, 400, "two lengths, so no length"),
    Verdict("bcast", "3.3.10", 0, "foreign_response", "a second Via: a response on its way to someone else"),
    Verdict("zeromf", "3.3.11", 0, 200, "OPTIONS ends here, so it has hops enough"),
    Verdict("cparam01", "3.3.12", 0, 405, "a parameter after a bare Contact URI is the header's; no REGISTER here"),
    Verdict("cparam02", "3.3.13", 0, 405, "the same inside brackets is the URI's; no REGISTER here"),
    Verdict("regescrt", "3.3.14", 0, 405, "an escaped Route in Contact; no REGISTER here"),
    Verdict("sdp01", "3.3.15", 0, 404, "Accept without application/sdp; the number decides first"),
    # backward compatibility
    Verdict("inv2543", "3.4.1", 0, 400, "an INVITE of before RFC 3261 is read; without Contact it has no way back"),
)
