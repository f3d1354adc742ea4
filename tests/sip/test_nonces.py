"""Nonces: nobody can make one, nobody can use another's, and none is used twice with the same count."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b2bua.sip.nonces import WINDOW, Nonces

HOST = "192.0.2.10"
NOW = 1_800_000


def test_a_nonce_tells_when_it_was_given_and_to_whom() -> None:
    issuer = Nonces(b"key")
    nonce = issuer.issue(HOST, "5a17", NOW)
    assert issuer.issued_at(nonce, HOST) == NOW
    assert issuer.issued_at(nonce, "192.0.2.11") is None
    assert Nonces(b"other").issued_at(nonce, HOST) is None
    assert issuer.issue(HOST, "5a18", NOW) != nonce


@given(st.text(max_size=40) | st.from_regex(r"[0-9a-f]{1,12}\.[0-9a-f]{1,16}\.[0-9a-f]{32}", fullmatch=True))
def test_nobody_makes_a_nonce(text: str) -> None:
    assert Nonces(b"key").issued_at(text, HOST) is None


def test_no_nonce_survives_a_changed_character() -> None:
    issuer = Nonces(b"key")
    nonce = issuer.issue(HOST, "5a17", NOW)
    for index, character in enumerate(nonce):
        other = "1" if character != "1" else "2"
        assert issuer.issued_at(nonce[:index] + other + nonce[index + 1 :], HOST) is None
        assert issuer.issued_at(nonce[:index], HOST) is None


@given(st.lists(st.integers(1, 3 * WINDOW), max_size=200))
def test_each_count_is_good_once_and_in_any_order_within_the_window(counts: list[int]) -> None:
    issuer = Nonces(b"key")
    nonce = issuer.issue(HOST, "5a17", NOW)
    used: set[int] = set()
    for count in counts:
        expected = count not in used and (not used or count > max(used) - WINDOW)
        assert issuer.spend(nonce, count, NOW) is expected
        if expected:
            used.add(count)


@pytest.mark.parametrize("first", [True, False])
def test_a_count_of_zero_is_never_good(first: bool) -> None:
    issuer = Nonces(b"key")
    nonce = issuer.issue(HOST, "5a17", NOW)
    assert first or issuer.spend(nonce, 1, NOW)
    assert not issuer.spend(nonce, 0, NOW)


def test_a_nonce_that_had_to_be_forgotten_is_not_good_again() -> None:
    issuer = Nonces(b"key", capacity=2)
    early, first, second, third = (issuer.issue(HOST, f"{index}", NOW + index) for index in range(4))
    assert issuer.spend(first, 1, NOW + 1)
    assert issuer.spend(second, 1, NOW + 2)
    assert issuer.spend(third, 1, NOW + 3)  # the first is forgotten
    assert not issuer.spend(first, 1, NOW + 1)
    assert not issuer.spend(early, 1, NOW)
    assert issuer.spend(second, 2, NOW + 2)
    assert issuer.spend(issuer.issue(HOST, "4", NOW + 4), 1, NOW + 4)
