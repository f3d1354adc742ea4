"""The messages of RFC 5118 section 4, written out here by the names of its appendix.

They stand as the RFC prints them but for Content-Length, which it prints too long or too short for each of its three
bodies: here it is what the body has. The RFC means each of these messages to be about addresses.
"""

__all__ = ["IPV6_MESSAGES"]


def _message(text: str, body: str = "") -> bytes:
    """Header lines with the blank line after them, and a body, whose length they tell."""
    session = body.lstrip("\n").replace("{space}", " ").replace("\n", "\r\n")
    head = text.strip("\n").replace("\n", "\r\n").replace("{length}", str(len(session)))
    return f"{head}\r\n\r\n{session}".encode()


def _register(uri: str) -> bytes:
    """The request of which only the URI differs."""
    return _message(f"""
REGISTER {uri} SIP/2.0
To: sip:user@example.com
From: sip:user@example.com;tag=81x2
Via: SIP/2.0/UDP [2001:db8::9:1];branch=z9hG4bKas3-111
Call-ID: SSG9559905523997077@hlau_4100
Max-Forwards: 70
Contact: "Caller" <sip:caller@[2001:db8::1]>
CSeq: 98176 REGISTER
Content-Length: 0
""")


def _options(uri: str) -> bytes:
    """The two of section 4.10, which differ in a colon."""
    return _message(f"""
OPTIONS {uri} SIP/2.0
To: {uri}
From: sip:user@example.com;tag=810x2
Via: SIP/2.0/UDP lab1.east.example.com;branch=z9hG4bKas3-111
Call-ID: G9559905523997077@hlau_4100
CSeq: 689 OPTIONS
Max-Forwards: 70
Content-Length: 0
""")


IPV6_MESSAGES: dict[str, bytes] = {}

# 4.1 and 4.2
IPV6_MESSAGES["ipv6-good"] = _register("sip:[2001:db8::10]")
IPV6_MESSAGES["ipv6-bad"] = _register("sip:2001:db8::10")

# 4.3 and 4.4
IPV6_MESSAGES["port-ambiguous"] = _register("sip:[2001:db8::10:5070]")
IPV6_MESSAGES["port-unambiguous"] = _register("sip:[2001:db8::10]:5070")

# 4.5
IPV6_MESSAGES["via-received-param-with-delim"] = _message("""
BYE sip:[2001:db8::10] SIP/2.0
To: sip:user@example.com;tag=bd76ya
From: sip:user@example.com;tag=81x2
Via: SIP/2.0/UDP [2001:db8::9:1];received=[2001:db8::9:255];branch=z9hG4bKas3-111
Call-ID: SSG9559905523997077@hlau_4100
Max-Forwards: 70
CSeq: 321 BYE
Content-Length: 0
""")
IPV6_MESSAGES["via-received-param-no-delim"] = _message("""
OPTIONS sip:[2001:db8::10] SIP/2.0
To: sip:user@example.com
From: sip:user@example.com;tag=81x2
Via: SIP/2.0/UDP [2001:db8::9:1];received=2001:db8::9:255;branch=z9hG4bKas3
Call-ID: SSG95523997077@hlau_4100
Max-Forwards: 70
Contact: "Caller" <sip:caller@[2001:db8::9:1]>
CSeq: 921 OPTIONS
Content-Length: 0
""")

# 4.6
IPV6_MESSAGES["ipv6-in-sdp"] = _message(
    """
INVITE sip:user@[2001:db8::10] SIP/2.0
To: sip:user@[2001:db8::10]
From: sip:user@example.com;tag=81x2
Via: SIP/2.0/UDP [2001:db8::20];branch=z9hG4bKas3-111
Call-ID: SSG9559905523997077@hlau_4100
Contact: "Caller" <sip:caller@[2001:db8::20]>
CSeq: 8612 INVITE
Max-Forwards: 70
Content-Type: application/sdp
Content-Length: {length}
""",
    """
v=0
o=assistant 971731711378798081 0 IN IP6 2001:db8::20
s=Live video feed for today's meeting
c=IN IP6 2001:db8::20
t=3338481189 3370017201
m=audio 6000 RTP/AVP 2
a=rtpmap:2 G726-32/8000
m=video 6024 RTP/AVP 107
a=rtpmap:107 H263-1998/90000
""",
)

# 4.7
IPV6_MESSAGES["mult-ip-in-header"] = _message("""
BYE sip:user@host.example.net SIP/2.0
Via: SIP/2.0/UDP [2001:db8::9:1]:6050;branch=z9hG4bKas3-111
Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKjhja8781hjuaij65144
Via: SIP/2.0/TCP [2001:db8::9:255];branch=z9hG4bK451jj;received=192.0.2.200
Call-ID: 997077@lau_4100
Max-Forwards: 70
CSeq: 89187 BYE
To: sip:user@example.net;tag=9817--94
From: sip:user@example.com;tag=81x2
Content-Length: 0
""")

# 4.8
IPV6_MESSAGES["mult-ip-in-sdp"] = _message(
    """
INVITE sip:user@[2001:db8::10] SIP/2.0
To: sip:user@[2001:db8::10]
From: sip:user@example.com;tag=81x2
Via: SIP/2.0/UDP [2001:db8::9:1];branch=z9hG4bKas3-111
Call-ID: SSG9559905523997077@hlau_4100
Contact: "Caller" <sip:caller@[2001:db8::9:1]>
Max-Forwards: 70
CSeq: 8912 INVITE
Content-Type: application/sdp
Content-Length: {length}
""",
    """
v=0
o=bob 280744730 28977631 IN IP4 host.example.com
s={space}
t=0 0
m=audio 22334 RTP/AVP 0
c=IN IP4 192.0.2.1
m=video 6024 RTP/AVP 107
c=IN IP6 2001:db8::1
a=rtpmap:107 H263-1998/90000
""",
)

# 4.9
IPV6_MESSAGES["ipv4-mapped-ipv6"] = _message(
    """
INVITE sip:user@example.com SIP/2.0
To: sip:user@example.com
From: sip:user@east.example.com;tag=81x2
Via: SIP/2.0/UDP [::ffff:192.0.2.10]:19823;branch=z9hG4bKbh19
Via: SIP/2.0/UDP [::ffff:192.0.2.2];branch=z9hG4bKas3-111
Call-ID: SSG9559905523997077@hlau_4100
Contact: "T. desk phone" <sip:ted@[::ffff:192.0.2.2]>
CSeq: 612 INVITE
Max-Forwards: 70
Content-Type: application/sdp
Content-Length: {length}
""",
    """
v=0
o=assistant 971731711378798081 0 IN IP6 ::ffff:192.0.2.2
s=Call me soon, please!
c=IN IP6 ::ffff:192.0.2.2
t=3338481189 3370017201
m=audio 6000 RTP/AVP 2
a=rtpmap:2 G726-32/8000
m=video 6024 RTP/AVP 107
a=rtpmap:107 H263-1998/90000
""",
)

# 4.10
IPV6_MESSAGES["ipv6-bug-abnf-3-colons"] = _options("sip:user@[2001:db8:::192.0.2.1]")
IPV6_MESSAGES["ipv6-correct-abnf-2-colons"] = _options("sip:user@[2001:db8::192.0.2.1]")
