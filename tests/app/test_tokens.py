"""Tokens for tags, branches and Call-IDs."""

from b2bua.app.tokens import SUPPLY_BYTES, TOKEN_BYTES, Tokens


def test_tokens_are_sixteen_hexadecimal_digits_and_never_repeat() -> None:
    tokens = Tokens()
    drawn = [tokens.draw() for _ in range(3 * SUPPLY_BYTES // TOKEN_BYTES)]
    assert len(set(drawn)) == len(drawn)
    assert all(len(token) == 16 and set(token) <= set("0123456789abcdef") for token in drawn)


def test_two_sources_draw_different_tokens() -> None:
    assert Tokens().draw() != Tokens().draw()
