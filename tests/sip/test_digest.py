"""Digest: the published vectors, both roles, and whatever a peer may send (RFC 7616, RFC 8760, RFC 2617)."""

import hashlib
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b2bua.sip.digest import (
    PARAMETERS,
    Algorithm,
    Challenge,
    Credentials,
    answer,
    choose_challenge,
    format_challenge,
    format_credentials,
    hash_secret,
    parse_challenge,
    parse_credentials,
    verify,
)
from b2bua.sip.errors import ParseError

MUFASA = Challenge(
    realm="http-auth@example.org",
    nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
    algorithm=Algorithm.MD5,
    qop=("auth", "auth-int"),
    opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS",
)
MUFASA_256 = Challenge(MUFASA.realm, MUFASA.nonce, Algorithm.SHA_256, MUFASA.qop, MUFASA.opaque)
DOE = Challenge(
    realm="api@example.org",
    nonce="5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK",
    algorithm=Algorithm.SHA_512_256,
    opaque="HRPCssKJSGjCrkzDg8OhwpzCiGPChXYjwrI2QmXDnsOS",
    userhash=True,
)
DOE_PLAIN = Challenge(DOE.realm, DOE.nonce, DOE.algorithm, DOE.qop, DOE.opaque)
OLD = Challenge("testrealm@host.com", "dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41")
OLDER = Challenge(OLD.realm, OLD.nonce, qop=(), opaque=OLD.opaque)

CNONCE = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
DOE_CNONCE = "NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v"
DOE_NAME = "J\N{LATIN SMALL LETTER A WITH DIAERESIS}s\N{LATIN SMALL LETTER O WITH STROKE}n Doe"

# RFC 7616 §3.9.1; §3.9.2 as corrected by erratum 4897; RFC 2617 §3.5 and the same without qop
VECTORS = [
    (MUFASA, "/dir/index.html", "Mufasa", "Circle of Life", CNONCE, "8ca523f5e9506fed4657c9700eebdbec"),
    (
        MUFASA_256,
        "/dir/index.html",
        "Mufasa",
        "Circle of Life",
        CNONCE,
        "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
    ),
    (
        DOE,
        "/doe.json",
        DOE_NAME,
        "Secret, or not?",
        DOE_CNONCE,
        "3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5",
    ),
    (
        DOE_PLAIN,
        "/doe.json",
        DOE_NAME,
        "Secret, or not?",
        DOE_CNONCE,
        "3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5",
    ),
    (OLD, "/dir/index.html", "Mufasa", "Circle Of Life", "0a4f113b", "6629fae49393a05397450978507c4ef1"),
    (OLDER, "/dir/index.html", "Mufasa", "Circle Of Life", "", "670fd8c2df070c60b045671b8b24ff02"),
]


@pytest.mark.parametrize(("challenge", "uri", "username", "password", "cnonce", "response"), VECTORS)
def test_the_published_examples_come_out(
    challenge: Challenge, uri: str, username: str, password: str, cnonce: str, response: str
) -> None:
    secret = hash_secret(challenge.algorithm, username, challenge.realm, password)
    credentials = answer(challenge, method="GET", uri=uri, username=username, secret=secret, cnonce=cnonce)
    assert credentials.response == response
    assert verify(credentials, challenge, method="GET", username=username, secret=secret)
    assert parse_credentials(format_credentials(credentials)) == credentials
    assert parse_challenge(format_challenge(challenge)) == challenge


def test_a_hashed_user_name_is_that_of_the_erratum() -> None:
    credentials = answer(DOE, method="GET", uri="/doe.json", username=DOE_NAME, secret="x", cnonce=DOE_CNONCE)
    assert credentials.username == "793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b"
    assert "userhash=true" in format_credentials(credentials)


def test_a_name_beyond_ascii_is_sent_as_extended_value() -> None:
    credentials = answer(DOE_PLAIN, method="GET", uri="/doe.json", username=DOE_NAME, secret="x", cnonce="c")
    assert "username*=UTF-8''J%C3%A4s%C3%B8n%20Doe," in format_credentials(credentials)


SIP = Challenge("example.com", "n0nce")


def credentials_for(challenge: Challenge) -> Credentials:
    return answer(challenge, method="INVITE", uri="sip:700@10.0.0.1", username="trunk", secret="secret", cnonce="c")


@pytest.mark.parametrize("algorithm", Algorithm)
@pytest.mark.parametrize("qop", [(), ("auth",), ("auth", "auth-int")])
@pytest.mark.parametrize("userhash", [False, True])
def test_every_algorithm_is_answered_and_verified(algorithm: Algorithm, qop: tuple[str, ...], userhash: bool) -> None:
    challenge = Challenge('ex"am\\ple', "n", algorithm, qop, "o", True, userhash)
    read = parse_challenge(format_challenge(challenge))
    assert read == challenge
    credentials = parse_credentials(format_credentials(credentials_for(read)))
    assert credentials == credentials_for(challenge)
    assert verify(credentials, challenge, method="INVITE", username="trunk", secret="secret")
    for wrong in (
        {"method": "BYE", "username": "trunk", "secret": "secret"},
        {"method": "INVITE", "username": "other", "secret": "secret"},
        {"method": "INVITE", "username": "trunk", "secret": "Secret"},
    ):
        assert not verify(credentials, challenge, **wrong)


@pytest.mark.parametrize(
    "challenge",
    [
        Challenge("other", "n0nce"),
        Challenge("example.com", "other"),
        Challenge("example.com", "n0nce", Algorithm.SHA_256),
        Challenge("example.com", "n0nce", opaque="o"),
        Challenge("example.com", "n0nce", qop=()),
    ],
)
def test_an_answer_to_another_challenge_does_not_count(challenge: Challenge) -> None:
    credentials = credentials_for(SIP)
    assert verify(credentials, SIP, method="INVITE", username="trunk", secret="secret")
    assert not verify(credentials, challenge, method="INVITE", username="trunk", secret="secret")


def test_the_right_hash_under_another_name_does_not_count() -> None:
    text = format_credentials(credentials_for(SIP)).replace('username="trunk"', 'username="other"')
    assert not verify(parse_credentials(text), SIP, method="INVITE", username="trunk", secret="secret")


@pytest.mark.parametrize("algorithm", Algorithm)
def test_with_auth_int_the_body_is_part_of_the_answer(algorithm: Algorithm) -> None:
    challenge = Challenge("r", "n", algorithm, ("auth-int",))
    asked: dict[str, Any] = {"method": "INVITE", "username": "a", "secret": "b"}
    credentials = answer(challenge, uri="u", cnonce="c", body=b"v=0\r\n", **asked)
    assert credentials.qop == "auth-int"
    assert verify(credentials, challenge, body=b"v=0\r\n", **asked)
    assert not verify(credentials, challenge, body=b"v=1\r\n", **asked)


def test_auth_int_goes_as_the_formula_of_the_rfc() -> None:
    """RFC 7616 §3.4.3: A2 = Method ":" digest-uri-string ":" H(entity-body)."""
    challenge = Challenge("r", "n", Algorithm.SHA_256, ("auth-int",))
    credentials = answer(challenge, method="INVITE", uri="u", username="a", secret="s", cnonce="c", body=b"body")

    def sha(text: str) -> str:
        return hashlib.sha256(text.encode()).hexdigest()

    assert credentials.response == sha(f"s:n:00000001:c:auth-int:{sha('INVITE:u:' + sha('body'))}")


def test_a_qop_that_was_not_offered_does_not_count() -> None:
    challenge = Challenge("r", "n", qop=("auth-int",))
    credentials = answer(challenge, method="INVITE", uri="u", username="a", secret="b", cnonce="c")
    assert not verify(credentials, Challenge("r", "n"), method="INVITE", username="a", secret="b")


def test_the_count_is_part_of_the_answer() -> None:
    first = answer(SIP, method="INVITE", uri="u", username="a", secret="b", cnonce="c", count=1)
    second = answer(SIP, method="INVITE", uri="u", username="a", secret="b", cnonce="c", count=255)
    assert "nc=000000ff" in format_credentials(second)
    assert first.response != second.response


READ_CHALLENGES = [
    ('Digest realm="a", nonce="b"', Challenge("a", "b", qop=())),
    ('DIGEST  REALM="a",NONCE="b",QOP="auth"', Challenge("a", "b")),
    ('Digest realm="a", nonce="b", qop=auth', Challenge("a", "b")),
    ('Digest realm="a", nonce="b", qop="auth-int, AUTH"', Challenge("a", "b", qop=("auth-int", "auth"))),
    (
        'Digest realm="a", nonce="b", algorithm="sha-256", stale=TRUE',
        Challenge("a", "b", Algorithm.SHA_256, (), "", True),
    ),
    ('Digest realm = "a" , nonce = "b" , ,domain="sip:x", x-y=z,', Challenge("a", "b", qop=())),
    ('Digest realm="a", nonce="b", qop="auth-int"', Challenge("a", "b", qop=("auth-int",))),
    ('Digest realm="", nonce=""', Challenge("", "", qop=())),
    ('Digest realm="a, b=\\"c\\"", nonce="b"', Challenge('a, b="c"', "b", qop=())),
    ('Digest\r\n realm="a",\r\n nonce="b"', Challenge("a", "b", qop=())),
]
REFUSED_CHALLENGES = [
    "",
    "Digest",
    "Digest ",
    'Basic realm="a"',
    'DigestX realm="a", nonce="b"',
    'Digest realm="a"',
    'Digest nonce="b"',
    'Digest realm="a" nonce="b"',
    'Digest realm="a, nonce="b"',
    'Digest realm="a", nonce="b',
    'Digest realm="a", nonce=',
    'Digest realm="a", ="b"',
    'Digest realm="a", realm="a", nonce="b"',
    'Digest realm="a", nonce="b", algorithm=SHA-1',
    'Digest realm="a", nonce="b", qop="auth-conf"',
    'Digest realm="a", nonce="b"; x',
    "Digest " + ", ".join(f"a{index}=b" for index in range(PARAMETERS + 1)),
]
GIVEN = 'Digest username="a", realm="b", nonce="c", uri="sip:d", response="' + "Ee" * 16 + '"'
READ_CREDENTIALS = [
    (GIVEN, Credentials("a", "b", "c", "sip:d", "ee" * 16)),
    (
        f"{GIVEN}, qop=auth, nc=0000000A, cnonce=x",
        Credentials("a", "b", "c", "sip:d", "ee" * 16, Algorithm.MD5, "auth", 10, "x"),
    ),
    (
        f'{GIVEN}, qop="auth", nc="00000001", cnonce="x", auts="y"',
        Credentials("a", "b", "c", "sip:d", "ee" * 16, Algorithm.MD5, "auth", 1, "x"),
    ),
    (
        f"{GIVEN}, qop=auth-int, nc=00000001, cnonce=x",
        Credentials("a", "b", "c", "sip:d", "ee" * 16, Algorithm.MD5, "auth-int", 1, "x"),
    ),
    (GIVEN.replace('username="a"', "username*=utf-8'en'%41"), Credentials("A", "b", "c", "sip:d", "ee" * 16)),
]
REFUSED_CREDENTIALS = [
    "",
    GIVEN.replace('username="a", ', ""),
    GIVEN.replace('realm="b", ', ""),
    GIVEN.replace('nonce="c", ', ""),
    GIVEN.replace('uri="sip:d", ', ""),
    GIVEN.replace(', response="' + "Ee" * 16 + '"', ""),
    f"{GIVEN}, qop=auth-conf, nc=00000001, cnonce=x",
    f"{GIVEN}, qop=auth, cnonce=x",
    f"{GIVEN}, qop=auth, nc=1, cnonce=x",
    f"{GIVEN}, qop=auth, nc=0000000\N{ARABIC-INDIC DIGIT ONE}, cnonce=x",
    f"{GIVEN}, qop=auth, nc=00000001",
    f"{GIVEN}, algorithm=x",
    f"{GIVEN}, username*=UTF-8''b",
    GIVEN.replace('username="a"', "username*=latin-1''a"),
]


@pytest.mark.parametrize(("text", "challenge"), READ_CHALLENGES)
def test_a_challenge_is_read_in_every_spelling(text: str, challenge: Challenge) -> None:
    assert parse_challenge(text) == challenge
    assert parse_challenge(format_challenge(challenge)) == challenge


@pytest.mark.parametrize("text", REFUSED_CHALLENGES)
def test_a_challenge_that_cannot_be_answered_is_refused(text: str) -> None:
    with pytest.raises(ParseError):
        parse_challenge(text)


@pytest.mark.parametrize(("text", "credentials"), READ_CREDENTIALS)
def test_credentials_are_read_in_every_spelling(text: str, credentials: Credentials) -> None:
    assert parse_credentials(text) == credentials
    assert parse_credentials(format_credentials(credentials)) == credentials


@pytest.mark.parametrize("text", REFUSED_CREDENTIALS)
def test_malformed_credentials_are_refused(text: str) -> None:
    with pytest.raises(ParseError):
        parse_credentials(text)


def test_the_first_challenge_that_is_understood_is_taken() -> None:
    md5, sha = format_challenge(MUFASA), format_challenge(MUFASA_256)
    assert choose_challenge([sha, md5]) == MUFASA_256
    assert choose_challenge([md5, sha]) == MUFASA
    assert choose_challenge(['Basic realm="a"', md5.replace("MD5", "SHA-9"), md5]) == MUFASA
    assert choose_challenge([sha, md5], [Algorithm.MD5]) == MUFASA
    assert choose_challenge([sha, md5], [Algorithm.SHA_512_256]) is None
    assert choose_challenge(["", "rubbish"]) is None
    assert choose_challenge([]) is None


@pytest.mark.parametrize(
    "text",
    [row[0] for row in READ_CHALLENGES]
    + [row[0] for row in READ_CREDENTIALS]
    + [format_challenge(DOE), format_credentials(credentials_for(DOE))],
)
def test_a_value_cut_anywhere_is_read_or_refused(text: str) -> None:
    for length, parse in itertools.product(range(len(text)), (parse_challenge, parse_credentials)):
        for piece in (text[:length], text[:length] + text[length + 1 :]):
            try:
                parse(piece)
            except ParseError:
                continue


@given(st.text(max_size=80) | st.from_regex(r'Digest ([a-z]{1,8}="?[ -~]{0,9}"?, ?){0,6}', fullmatch=True))
def test_any_text_is_read_or_refused(text: str) -> None:
    for parse in (parse_challenge, parse_credentials):
        try:
            parse(text)
        except ParseError:
            continue


@given(*[st.text(st.characters(codec="utf-8"), max_size=12)] * 3)
def test_any_names_survive_the_wire(username: str, realm: str, password: str) -> None:
    challenge = parse_challenge(format_challenge(Challenge(realm, "n")))
    secret = hash_secret(challenge.algorithm, username, realm, password)
    credentials = answer(challenge, method="INVITE", uri="sip:x", username=username, secret=secret, cnonce="c")
    again = parse_credentials(format_credentials(credentials))
    assert verify(again, challenge, method="INVITE", username=username, secret=secret)
