"""RFC 4028 without a call: the two header fields, and every row of its negotiation."""

from contextlib import suppress
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b2bua.sip.errors import ParseError
from b2bua.sip.message import Message
from b2bua.sip.parser import parse
from b2bua.sip.session_expires import (
    CLIENT_REFRESHES,
    CLIENT_WISHES,
    SERVER_CHOICES,
    Agreement,
    Preference,
    Proposal,
    Refresher,
    SessionExpires,
    Terms,
    agreed_answer,
    answer_lines,
    expires_after,
    format_session_expires,
    is_too_small,
    offer_lines,
    parse_min_se,
    parse_session_expires,
    proposal_of,
    raised,
    refresh_after,
    serve,
)

TERMS = Terms(1800, 90, Preference.EITHER)
UNSAID, UAC, UAS = Refresher


def message(*lines: str) -> Message:
    """A request with these further header lines."""
    head = (
        "INVITE sip:1@192.0.2.1 SIP/2.0",
        "Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK1",
        "From: <sip:2@192.0.2.10>;tag=1",
        "To: <sip:1@192.0.2.1>",
        "Call-ID: 1",
        "CSeq: 1 INVITE",
        *lines,
        "Content-Length: 0",
    )
    return parse(("\r\n".join(head) + "\r\n\r\n").encode())


# the fields


@pytest.mark.parametrize(
    ("text", "expires", "written"),
    [
        ("1800", SessionExpires(1800), "1800"),
        ("1800;refresher=uac", SessionExpires(1800, UAC), "1800;refresher=uac"),
        ("90;refresher=uas", SessionExpires(90, UAS), "90;refresher=uas"),
        ("90 ; Refresher = UAS", SessionExpires(90, UAS), "90;refresher=uas"),
        ("90;refresher=both", SessionExpires(90), "90"),
        ("90;refresher", SessionExpires(90), "90"),
        ("90;x=1;refresher=uac;y", SessionExpires(90, UAC), "90;refresher=uac"),
        ("0", SessionExpires(0), "0"),
        ("9999999999", SessionExpires((1 << 32) - 1), "4294967295"),
    ],
)
def test_session_expires_is_read_and_written(text: str, expires: SessionExpires, written: str) -> None:
    assert parse_session_expires(text) == expires
    assert format_session_expires(expires) == written
    assert parse_session_expires(written) == expires


@pytest.mark.parametrize(
    "text", ["", "soon", "-1", "1.5", "12345678901", "90 uac", "90,90", "90;refresher=uac,x", '90;"', "٩٠"]
)
def test_what_is_no_interval_is_refused(text: str) -> None:
    with pytest.raises(ParseError):
        parse_session_expires(text)
    with pytest.raises(ParseError):
        parse_min_se(text)


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("120;a=b", 120), ("9999999999", (1 << 32) - 1)])
def test_min_se_is_read(text: str, seconds: int) -> None:
    assert parse_min_se(text) == seconds


@given(st.text())
def test_any_text_is_an_interval_or_a_parse_error(text: str) -> None:
    for read in (parse_session_expires, parse_min_se):
        with suppress(ParseError):
            read(text)


@pytest.mark.parametrize(
    ("lines", "proposal"),
    [
        ((), Proposal(False, None, 0)),
        (("Supported: timer",), Proposal(True, None, 0)),
        (("k: 100rel, Timer",), Proposal(True, None, 0)),
        (("Supported: 100rel", "Supported: timer"), Proposal(True, None, 0)),
        (("Require: timer",), Proposal(True, None, 0)),
        (("Supported: 100rel", "Require: 100rel"), Proposal(False, None, 0)),
        (("Supported: timers",), Proposal(False, None, 0)),
        (("Session-Expires: 600",), Proposal(False, SessionExpires(600), 0)),
        (
            ("Supported: timer", "x: 600;refresher=uas", "Min-SE: 300"),
            Proposal(True, SessionExpires(600, UAS), 300),
        ),
        (("Supported: timer", "Session-Expires: soon", "Min-SE: later"), Proposal(True, None, 0)),
    ],
)
def test_what_a_message_says_of_the_timer(lines: tuple[str, ...], proposal: Proposal) -> None:
    assert proposal_of(message(*lines)) == proposal


# the server's side


def test_every_case_of_the_server_has_its_row() -> None:
    assert set(SERVER_CHOICES) == set(product((False, True), Refresher, Preference))


def test_the_answer_always_says_who_refreshes() -> None:
    assert set(SERVER_CHOICES.values()) == {UAC, UAS}


@pytest.mark.parametrize("asked", Refresher)
@pytest.mark.parametrize("preference", Preference)
def test_a_client_without_the_timer_never_has_to_refresh(asked: Refresher, preference: Preference) -> None:
    assert SERVER_CHOICES[False, asked, preference] is UAS


@pytest.mark.parametrize("preference", Preference)
@pytest.mark.parametrize("asked", [UAC, UAS])
def test_what_a_client_with_the_timer_asks_for_is_kept(asked: Refresher, preference: Preference) -> None:
    """§9: the uas may not change a refresher that the request names."""
    assert SERVER_CHOICES[True, asked, preference] is asked


@pytest.mark.parametrize(
    ("preference", "refresher"), [(Preference.EITHER, UAS), (Preference.SWITCH, UAS), (Preference.PEER, UAC)]
)
def test_where_the_client_does_not_ask_our_preference_counts(preference: Preference, refresher: Refresher) -> None:
    assert SERVER_CHOICES[True, UNSAID, preference] is refresher


@pytest.mark.parametrize(
    ("proposal", "interval"),
    [
        (Proposal(True, SessionExpires(1800), 0), 1800),
        (Proposal(True, SessionExpires(600), 0), 600),
        (Proposal(True, SessionExpires(90), 0), 90),
        (Proposal(True, SessionExpires(7200), 0), 1800),  # never raised, but lowered
        (Proposal(True, SessionExpires(7200), 3600), 3600),  # not below the minimum that is asked for
        (Proposal(True, None, 0), 1800),
        (Proposal(True, None, 3600), 3600),
        (Proposal(False, None, 0), 1800),
        (Proposal(False, SessionExpires(600), 0), 600),
        (Proposal(False, SessionExpires(30), 0), 90),
    ],
)
def test_the_interval_that_we_grant(proposal: Proposal, interval: int) -> None:
    assert not is_too_small(proposal, TERMS.minimum)
    assert serve(proposal, TERMS).interval == interval


@given(
    supported=st.booleans(),
    expires=st.none() | st.builds(SessionExpires, st.integers(0, 10_000), st.sampled_from(Refresher)),
    minimum=st.integers(0, 10_000),
    ours=st.integers(90, 10_000),
    least=st.integers(90, 10_000),
    preference=st.sampled_from(Preference),
)
def test_no_answer_of_ours_breaks_the_rules_of_the_rfc(
    supported: bool, expires: SessionExpires | None, minimum: int, ours: int, least: int, preference: Preference
) -> None:
    terms = Terms(max(ours, least), least, preference)
    proposal = Proposal(supported, expires, minimum)
    if is_too_small(proposal, terms.minimum):
        assert supported
        return
    agreement = serve(proposal, terms)
    assert agreement.interval >= max(terms.minimum, minimum)
    if supported and expires is not None and expires.seconds >= minimum:
        assert agreement.interval <= expires.seconds
    assert agreement.shared is supported
    assert supported or agreement.refreshing


@pytest.mark.parametrize(
    ("proposal", "refused"),
    [
        (Proposal(True, SessionExpires(89), 0), True),
        (Proposal(True, SessionExpires(90), 0), False),
        (Proposal(True, None, 10), False),
        (Proposal(False, SessionExpires(10), 0), False),  # it could make nothing of a 422
    ],
)
def test_what_is_too_small(proposal: Proposal, refused: bool) -> None:
    assert is_too_small(proposal, 90) is refused


@pytest.mark.parametrize(
    ("agreement", "lines"),
    [
        (Agreement(600, False, True), ("Require: timer", "Session-Expires: 600;refresher=uac")),
        (Agreement(600, True, True), ("Require: timer", "Session-Expires: 600;refresher=uas")),
        (Agreement(600, True, False), ("Session-Expires: 600;refresher=uas",)),
    ],
)
def test_the_lines_of_a_2xx(agreement: Agreement, lines: tuple[str, ...]) -> None:
    assert answer_lines(agreement) == lines


# the client's side


def test_every_case_of_the_client_has_its_row() -> None:
    assert set(CLIENT_WISHES) == set(Preference)
    assert set(CLIENT_REFRESHES) == set(Refresher)


@pytest.mark.parametrize(
    ("preference", "line"),
    [
        (Preference.EITHER, "Session-Expires: 1800"),
        (Preference.SWITCH, "Session-Expires: 1800;refresher=uac"),
        (Preference.PEER, "Session-Expires: 1800;refresher=uas"),
    ],
)
def test_the_lines_of_a_request(preference: Preference, line: str) -> None:
    assert offer_lines(1800, 90, CLIENT_WISHES[preference]) == (line, "Min-SE: 90")


@pytest.mark.parametrize(
    ("answer", "agreement"),
    [
        (Proposal(False, None, 0), Agreement(1800, True, False)),
        (Proposal(True, None, 0), Agreement(1800, True, False)),
        (Proposal(True, SessionExpires(600, UAC), 0), Agreement(600, True, True)),
        (Proposal(True, SessionExpires(600, UAS), 0), Agreement(600, False, True)),
        (Proposal(True, SessionExpires(600), 0), Agreement(600, True, True)),
        (Proposal(False, SessionExpires(600, UAS), 0), Agreement(600, False, True)),  # without Require, but plain
        (Proposal(True, SessionExpires(0, UAC), 0), Agreement(90, True, True)),  # a flood of refreshes it would be
        (Proposal(True, SessionExpires(7200, UAS), 0), Agreement(7200, False, True)),
    ],
)
def test_what_a_2xx_means(answer: Proposal, agreement: Agreement) -> None:
    assert agreed_answer(answer, TERMS) == agreement


@pytest.mark.parametrize(
    ("lines", "terms"),
    [
        (("Min-SE: 3600",), Terms(3600, 3600, Preference.EITHER)),
        (("Min-SE: 120",), Terms(1800, 120, Preference.EITHER)),  # a proxy had lowered the interval to our minimum
        (("Min-SE: 90",), None),
        (("Min-SE: 0",), None),
        (("Min-SE: later",), None),
        ((), None),
    ],
)
def test_after_a_422(lines: tuple[str, ...], terms: Terms | None) -> None:
    assert raised(message(*lines), TERMS) == terms


@given(st.builds(Terms, st.integers(90, 10_000), st.just(90), st.just(Preference.EITHER)), st.integers(0, 1 << 33))
def test_a_request_after_a_422_is_never_the_same_again(terms: Terms, minimum: int) -> None:
    after = raised(message(f"Min-SE: {minimum}"), terms)
    if after is not None:
        assert after.interval >= after.minimum > terms.minimum
        assert after.interval >= terms.interval
        assert raised(message(f"Min-SE: {minimum}"), after) is None


# the clock


@pytest.mark.parametrize(
    ("interval", "refresh", "end"),
    [(1800, 900.0, 1768.0), (96, 48.0, 64.0), (90, 45.0, 60.0), (9, 4.5, 6.0), (600, 300.0, 568.0)],
)
def test_when_a_session_is_refreshed_and_when_it_ends(interval: int, refresh: float, end: float) -> None:
    assert (refresh_after(interval), expires_after(interval)) == (refresh, end)


@given(st.integers(1, 1 << 32))
def test_there_is_always_time_for_a_refresh_before_the_end(interval: int) -> None:
    assert 0 < refresh_after(interval) < expires_after(interval) < interval
