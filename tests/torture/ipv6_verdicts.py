"""What this switch makes of each message of RFC 5118, one row a message; the columns are those of RFC 4475's.

All but one are valid there. Nobody registers here and no number in them is known, so most end with 405 or 404.
"""

from tests.torture.verdicts import Verdict

__all__ = ["IPV6_VERDICTS"]

IPV6_VERDICTS: tuple[Verdict, ...] = (
    Verdict("ipv6-good", "4.1", 0, 405, "addresses in brackets in URI, Via and Contact; no REGISTER here"),
    Verdict("ipv6-bad", "4.2", 0, 400, "an address in a URI without its brackets"),
    Verdict("port-ambiguous", "4.3", 0, 405, "what stands inside the brackets is all address; no REGISTER here"),
    Verdict("port-unambiguous", "4.4", 0, 405, "a port behind the brackets; no REGISTER here"),
    Verdict("via-received-param-with-delim", "4.5", 0, 481, "received with brackets, as many send it; no such dialog"),
    Verdict("via-received-param-no-delim", "4.5", 0, 200, "received without brackets, as the grammar has it"),
    Verdict("ipv6-in-sdp", "4.6", 0, 404, "a session on an IPv6 address"),
    Verdict("mult-ip-in-header", "4.7", 0, 481, "both families in the Via fields; no such dialog"),
    Verdict("mult-ip-in-sdp", "4.8", 0, 404, "a stream of each family"),
    Verdict("ipv4-mapped-ipv6", "4.9", 0, 404, "an IPv4 address written as IPv6, in every place"),
    Verdict("ipv6-bug-abnf-3-colons", "4.10", 0, 200, "a colon too many, which the grammar of RFC 3261 allowed"),
    Verdict("ipv6-correct-abnf-2-colons", "4.10", 0, 200, "the same without it"),
)
