import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.numbers import (
    LONGEST_TEXT,
    NumberForm,
    bare_digits,
    format_middle,
    format_subscriber,
    is_middle,
    mask,
    parse_middle,
    parse_subscriber,
)

X = "700123456780001"
MOBILE = "+8613800138000"
BEIJING = "+861012345678"
FULL_WIDTH = str.maketrans("0123456789", "０１２３４５６７８９")

MIDDLE_SPELLINGS = [
    X,
    f"+86{X}",
    f"86{X}",
    f"0086{X}",
    "700-1234-5678-0001",
    "+86 700 1234 5678 0001",
    "(700)1234.5678.0001",
    f"%2B86{X}",
    "%37%30%30123456780001",
    "700%201234%205678%200001",
    f"{X};npdi",
    f"+86{X};npdi;rn=+8613800000000;noa=nat",
    f"{X};phone-context=+86",
    f"{X};Phone-Context=%2B86",
]

NOT_MIDDLE = [
    "",
    "7",
    X[:-1],
    f"{X}0",
    f"0{X}",
    f"+{X}",
    f"+860{X}",
    f"00{X}",
    f"008686{X}",
    f"1{X[1:]}",
    f"701{X[3:]}",
    "400123456780001",
    f"{X}\n",
    f"\t{X}",
    f"{X}a",
    f"{X[:-1]}A",
    f"{X[:-1]}x",
    X.translate(FULL_WIDTH),
    f"700１{X[4:]}",
    "700%EF%BC%91123456780001",
    "700%zz23456780001",
    "700%2531123456780001",
    f"{X}@example.com",
    f";{X}",
    f"{X};phone-context=+1",
    f"{X};phone-context=example.com",
    f"{X};phone-context",
    "-" * LONGEST_TEXT + X,
]

SUBSCRIBERS = [
    ("13800138000", MOBILE),
    ("+8613800138000", MOBILE),
    ("8613800138000", MOBILE),
    ("008613800138000", MOBILE),
    ("138-0013-8000", MOBILE),
    ("+86 138 0013 8000", MOBILE),
    ("+86(138)0013.8000", MOBILE),
    ("%2B8613800138000", MOBILE),
    ("%31%33800138000", MOBILE),
    ("+8613800138000;npdi;rn=+8613900000000", MOBILE),
    ("13800138000;phone-context=+86", MOBILE),
    ("19912345678", "+8619912345678"),
    ("01012345678", BEIJING),
    ("+861012345678", BEIJING),
    ("00861012345678", BEIJING),
    ("(010) 1234-5678", BEIJING),
    ("02161234567", "+862161234567"),
    ("075582345678", "+8675582345678"),
    ("03162345678", "+863162345678"),
]

NOT_SUBSCRIBERS = [
    "",
    "anonymous",
    "110",
    "95588",
    "10086",
    "1380013800",
    "138001380000",
    "12800138000",
    "013800138000",
    "1082345678",
    "0108234567",
    "+8601082345678",
    "01002345678",
    "+864001234567",
    "04001234567",
    "+867001234567",
    "+8670081234567",
    X,
    f"+86{X}",
    "+14155550123",
    "0014155550123",
    "+85221234567",
    "+8860912345678",
    "13800138000;phone-context=+1",
    "13800138000\n",
    "1380013800o",
    "13800138000".translate(FULL_WIDTH),
    "1380013800０",
    "%EF%BC%91380013800",
    "+" * 8 + "13800138000",
]

mobiles = st.from_regex(r"1[3-9][0-9]{9}", fullmatch=True)
fixed_lines = st.from_regex(r"(10|2[0-9])[1-9][0-9]{7}|[3-9]([1-9][0-9]|0[1-9])[1-9][0-9]{6,7}", fullmatch=True)
subscribers = st.one_of(mobiles, fixed_lines).map(lambda digits: f"+86{digits}")
middles = st.from_regex(r"700[0-9]{12}", fullmatch=True)
forms = st.sampled_from(NumberForm)


@st.composite
def disguised(draw: st.DrawFn, numbers: st.SearchStrategy[str]) -> tuple[str, str]:
    """A number in one of the forms, with escapes, separators and parameters strewn in; and the number."""
    number = draw(numbers)
    form = draw(forms)
    written = format_middle(number, form) if is_middle(number) else format_subscriber(number, form)
    pieces = [
        draw(st.sampled_from(["", "", "-", ".", " ", "(", ")", "%20"]))
        + (f"%{ord(character):02x}" if draw(st.booleans()) else character)
        for character in written
    ]
    tail = draw(st.sampled_from(["", ";npdi", ";rn=+8613812345678;npdi", ";noa=nat", ";phone-context=+86"]))
    return "".join(pieces) + tail, number


@pytest.mark.parametrize("text", MIDDLE_SPELLINGS)
def test_every_accepted_spelling_of_a_middle_number_is_one_number(text: str) -> None:
    assert parse_middle(text) == X


@pytest.mark.parametrize("text", NOT_MIDDLE)
def test_nothing_else_is_a_middle_number(text: str) -> None:
    assert parse_middle(text) is None


@pytest.mark.parametrize("text", [f"0{X}", f"0700-{X[3:]}", f"0{X};npdi", f"%30{X}"])
def test_a_trunk_zero_is_accepted_only_where_the_trunk_says_so(text: str) -> None:
    assert parse_middle(text) is None
    assert parse_middle(text, accept_zero=True) == X


@pytest.mark.parametrize("text", [*MIDDLE_SPELLINGS, *NOT_MIDDLE])
def test_accepting_a_zero_changes_nothing_for_other_spellings(text: str) -> None:
    if text != f"0{X}":
        assert parse_middle(text, accept_zero=True) == parse_middle(text)


@pytest.mark.parametrize("text", [f"+860{X}", f"00{X}", f"0{X}0", f"0{X[:-1]}", f"0{X};phone-context=+1"])
def test_a_zero_elsewhere_is_never_accepted(text: str) -> None:
    assert parse_middle(text, accept_zero=True) is None


@pytest.mark.parametrize(("text", "number"), SUBSCRIBERS)
def test_every_accepted_spelling_of_a_subscriber_is_e164(text: str, number: str) -> None:
    assert parse_subscriber(text) == number


@pytest.mark.parametrize("text", NOT_SUBSCRIBERS)
def test_foreign_malformed_and_service_numbers_are_no_subscribers(text: str) -> None:
    assert parse_subscriber(text) is None


@pytest.mark.parametrize(
    ("form", "middle", "mobile", "fixed"),
    [
        (NumberForm.NATIONAL, X, "13800138000", "01012345678"),
        (NumberForm.E164, f"+86{X}", "+8613800138000", "+861012345678"),
        (NumberForm.INTERNATIONAL, f"86{X}", "8613800138000", "861012345678"),
    ],
)
def test_a_number_is_written_as_the_trunk_wants_it(form: NumberForm, middle: str, mobile: str, fixed: str) -> None:
    assert format_middle(X, form) == middle
    assert format_subscriber(MOBILE, form) == mobile
    assert format_subscriber(BEIJING, form) == fixed


@pytest.mark.parametrize("text", ["13800138000", "", "8613800138000", "+14155550123"])
def test_formatting_what_is_no_subscriber_is_a_mistake_and_does_not_echo_it(text: str) -> None:
    for use in (bare_digits, lambda number: format_subscriber(number, NumberForm.NATIONAL)):
        with pytest.raises(ValueError, match="kept as") as caught:
            use(text)
        assert not re.search(r"\d{3}", str(caught.value))


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        ("+8613800138000", "138****8000"),
        ("13800138000", "138****8000"),
        ("0086 138 0013 8000", "138****8000"),
        ("%2B8613800138000;npdi", "138****8000"),
        ("01012345678", "101***5678"),
        ("+861012345678", "101***5678"),
        ("+14155550123", "141****0123"),
        (X, "700********0001"),
        ("", ""),
        ("10086", "****"),
        ("123456789", "****"),
        ("1" * 19, "****"),
        ("anonymous", "****"),
        ("alice13800138000", "****"),
        ("１３８００１３８０００", "****"),
        ("138-0013-800", "****"),
    ],
)
def test_a_mask_shows_the_ends_of_a_number_and_nothing_of_odd_text(number: str, shown: str) -> None:
    assert mask(number) == shown


@given(middles, forms)
def test_a_middle_number_survives_every_form(x: str, form: NumberForm) -> None:
    assert parse_middle(format_middle(x, form)) == x


@given(subscribers, forms)
def test_a_subscriber_survives_every_form_and_each_contains_its_bare_digits(number: str, form: NumberForm) -> None:
    written = format_subscriber(number, form)
    assert parse_subscriber(written) == number
    assert bare_digits(number) in written


@given(disguised(middles))
def test_escapes_separators_and_parameters_do_not_change_a_middle_number(pair: tuple[str, str]) -> None:
    text, x = pair
    assert parse_middle(text) == x
    assert parse_subscriber(text) is None


@given(disguised(subscribers))
def test_escapes_separators_and_parameters_do_not_change_a_subscriber(pair: tuple[str, str]) -> None:
    text, number = pair
    assert parse_subscriber(text) == number
    assert parse_middle(text, accept_zero=True) is None


@given(st.one_of(st.text(), st.text(alphabet="0123456789+-%;.( )８", max_size=24)))
def test_any_text_is_a_number_in_its_one_form_or_none(text: str) -> None:
    x, number = parse_middle(text, accept_zero=True), parse_subscriber(text)
    assert x is None or re.fullmatch(r"700[0-9]{12}", x)
    assert number is None or re.fullmatch(r"\+86[0-9]{9,11}", number)
    assert x is None or number is None
    assert x is None or is_middle(x)
    assert number is None or not is_middle(number)


@given(st.one_of(st.text(), subscribers, st.text(alphabet="0123456789", max_size=24)))
def test_a_mask_never_shows_more_than_seven_digits_and_hides_at_least_three(number: str) -> None:
    shown = mask(number)
    assert sum(character.isdigit() for character in shown) in (0, 7)
    assert not shown or shown.count("*") >= 3
