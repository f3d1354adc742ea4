"""What the text of a short message may be: no verification codes, nothing from services (R15), no word that the
operator has barred; typed telephone numbers are noticed, and the parties' own never leave (R2).

A message is judged by itself: a code that is spread over two messages is seen in neither.
"""

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from routing.numbers import parse_middle, parse_subscriber

__all__ = [
    "Assessment",
    "ContentPolicy",
    "Finding",
    "Typed",
    "assess",
    "is_service_sender",
    "is_verification_code",
]


class Finding(StrEnum):
    """What was found in a message; the reason in its record when it is dropped for that."""

    VERIFICATION_CODE = "verification_code"
    SERVICE_SENDER = "service_sender"
    KEYWORD = "keyword"
    PHONE_NUMBER = "phone_number"


class Typed(StrEnum):
    """What becomes of telephone numbers in the text: noted in the record, struck out, or the message is dropped. Those
    of the two parties are struck out in any case."""

    FLAG = "flag"
    MASK = "mask"
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class ContentPolicy:
    """The operator's choice. ``keywords`` are looked for whatever their case, width or the blanks in between."""

    keywords: tuple[str, ...] = ()
    typed: Typed = Typed.FLAG


@dataclass(frozen=True, slots=True)
class Assessment:
    """``drop`` is the reason not to deliver it, '' for none. ``text`` is what may be delivered, as long as it was.
    ``masked``: something in it was struck out. ``flags`` are for the record."""

    drop: str
    text: str
    masked: bool = False
    flags: tuple[str, ...] = ()


def assess(text: str, own: Sequence[str], policy: ContentPolicy) -> Assessment:
    """Judge a text. ``own`` are the digits of the parties' numbers, without prefix."""
    if is_verification_code(text):
        return Assessment(Finding.VERIFICATION_CODE, text)
    if policy.keywords and _holds_keyword(text, policy.keywords):
        return Assessment(Finding.KEYWORD, text)
    spots = _spots(text, own)
    typed = _typed_numbers(text)
    flags: tuple[str, ...] = (Finding.PHONE_NUMBER.value,) if spots or typed else ()
    if flags and policy.typed is Typed.DROP:
        return Assessment(Finding.PHONE_NUMBER, text, False, flags)
    if policy.typed is Typed.MASK:
        spots |= typed
    if not spots:
        return Assessment("", text, False, flags)
    return Assessment("", "".join(["*" if at in spots else sign for at, sign in enumerate(text)]), True, flags)


# who sends

# 106… and 95… as far as they go, regional 96…, 1xxxx and 12xxx with what operators put behind them
_SERVICE: Final = re.compile(r"(?:106|95[0-9]{2}|96[0-9]{2}|1[0-2][0-9]{2})[0-9]+|1[0-9]{4}|[0-9]{1,6}")
_COUNTRY: Final = re.compile(r"\+86|0086|86(?=1|9)")


def is_service_sender(sender: str) -> bool:
    """Whether the sender of a message is a service and no person: a short code, a 106, 95 or 96 number (R15).

    With +86 before it a 106 number of ten digits cannot be told from a telephone in Beijing, and counts as that.
    """
    if parse_subscriber(sender) is not None or parse_middle(sender) is not None:
        return False
    number = sender.partition(";")[0].translate(_SEPARATORS)
    digits = _COUNTRY.sub("", number, count=1).lstrip("+")
    return _SERVICE.fullmatch(digits) is not None


_SEPARATORS: Final = str.maketrans("", "", "-.() ")


# what is said

_CODE_WORDS: Final = (
    *(
        "验证码",
        "校验码",
        "动态码",
        "确认码",
        "激活码",
        "认证码",
        "识别码",
        "登录码",
        "登陆码",
        "注册码",
        "短信码",
        "随机码",
    ),
    *(
        "安全码",
        "授权码",
        "动态密码",
        "动态口令",
        "验证密码",
        "临时密码",
        "一次性密码",
        "随机密码",
        "校验密码",
        "短信密码",
    ),
    *("验证短信", "认证口令", "验证口令", "驗證碼", "校驗碼", "動態密碼", "確認碼", "驗證密碼"),
)
_CODE_PHRASES: Final = re.compile(
    r"(?:verif(?:ication|y)|security|confirm(?:ation)?|auth(?:entication|orization)?|one[- ]?time|log[- ]?in|"
    r"sign[- ]?in|activation|registration|reset|two[- ]?factor|2fa|sms|temporary)[ -]?"
    r"(?:code|pass(?:word|code|key)|pin|token)\b"
    r"|\b(?:otp|passcode)\b|is your code\b|\bcode\b[^.]{0,20}\b(?:expires|to (?:verify|log|sign|confirm|complete))"
)
# "… code 123456", "… code is: 1234", but for the codes that people and parcels live with
_NAMED_CODE: Final = re.compile(r"\bcode\b(?: is)?[ :]{0,3}(?:[a-z]{1,2}-)?[0-9]{3}[ -]?[0-9]{1,5}(?![0-9a-z])")
_WORD_BEFORE: Final = re.compile(r"([a-z]+)[ -]\Z")
_LONGEST_WORD: Final = 16  # letters that are looked at before it: more than any harmless word has
_HARMLESS: Final = frozenset(
    (
        *(
            "zip",
            "post",
            "postal",
            "area",
            "country",
            "dress",
            "door",
            "gate",
            "building",
            "lobby",
            "entry",
            "entrance",
        ),
        *("pickup", "up", "collection", "locker", "parcel", "room", "promo", "discount", "coupon", "order", "tracking"),
        *("product", "bar", "qr"),
    )
)
# what is said of a code without naming it, in a message that a service has signed
_SECRECY: Final = re.compile(
    r"(?:请勿|切勿|勿|不要|别)(?:向?任何人|向?他人|把)?(?:泄露|泄漏|透露|告知|告诉|转发|提供|转告)|分钟(?:之?内|内)?有效|有效期(?:为|是)?\d+分钟|"
    r"(?:登录|登陆|注册|绑定|重置密码|找回密码|修改密码|支付|身份验证|实名认证)"
)
_SIGNED: Final = re.compile(r"【[^】]{1,20}】|\[[^\]]{1,20}\]|^<#>")
# four to eight digits, perhaps in two groups or behind a letter and a dash; letters and digits mixed
_CODE: Final = re.compile(
    r"(?<![0-9a-z.])(?:[a-z]{1,2}-)?(?:[0-9]{4,8}|[0-9]{3}[ -][0-9]{3})(?![0-9a-z])"
    r"|(?<![0-9a-z])(?=[a-z]*[0-9])(?=[0-9]*[a-z])[a-z0-9]{5,8}(?![0-9a-z])"
)
_DIGIT_CODE: Final = re.compile(r"(?<![0-9a-z.])(?:[a-z]{1,2}-)?(?:[0-9]{4,8}|[0-9]{3}[ -][0-9]{3})(?![0-9a-z])")
_USE_CODE: Final = re.compile(
    r"\b(?:use|enter|type|input)\s+(?:[a-z]{1,2}-)?[0-9]{4,8}\b.{0,40}\b(?:log ?in|sign ?in|verify|confirm|register|"
    r"reset|complete|as your)"
)
_ORIGIN_BOUND: Final = re.compile(r"@[a-z0-9.\-]+\.[a-z]{2,} #[a-z0-9]{4,10}(?:\s|$)")  # a code bound to a web site
_NEAR: Final = 48  # characters between the word and the code

_IDEOGRAPH: Final = r"[\u3400-\u9fff]"
# blanks and signs that somebody puts between the ideographs of a word
_SPREAD: Final = re.compile(r"(?<=[0-9])[ .\-]+(?=[0-9])")
_STUFFING: Final = re.compile(rf"(?<={_IDEOGRAPH})[^\w\u3400-\u9fff【】\[\]]+(?={_IDEOGRAPH})")


def is_verification_code(text: str) -> bool:
    """Whether a text carries a code with which somebody proves himself to an internet service, in Chinese or English
    (R15). Codes for fetching a parcel or a meal (取件码, 取餐码) are none."""
    plain = _plain(text)
    squeezed = _STUFFING.sub("", plain)
    codes = [found.start() for found in _CODE.finditer(plain)]
    if codes and any(_near(found.start(), codes) for found in _CODE_PHRASES.finditer(plain)):
        return True
    if _USE_CODE.search(plain) is not None or _ORIGIN_BOUND.search(plain) is not None:
        return True
    if any(_word_before(plain, found.start()) not in _HARMLESS for found in _NAMED_CODE.finditer(plain)):
        return True
    if _word_near_code(squeezed) or _word_near_code(_SPREAD.sub("", squeezed)):
        return True
    signed = _SIGNED.search(plain) is not None
    return signed and _DIGIT_CODE.search(plain) is not None and _SECRECY.search(squeezed) is not None


def _near(at: int, codes: Sequence[int]) -> bool:
    """Whether any of these places, which are in order, is no farther away than ``_NEAR``."""
    first = bisect_left(codes, at - _NEAR)
    return first < len(codes) and codes[first] <= at + _NEAR


def _word_before(text: str, at: int) -> str:
    found = _WORD_BEFORE.search(text[max(0, at - _LONGEST_WORD - 1) : at])
    return "" if found is None else found[1]


def _word_near_code(text: str) -> bool:
    codes = [found.start() for found in _CODE.finditer(text)]
    if not codes:
        return False
    for word in _CODE_WORDS:
        at = text.find(word)
        while at >= 0:
            if _near(at, codes):
                return True
            at = text.find(word, at + 1)
    return False


_PIECE: Final = 256  # characters that are normalised at a time: a run of marks costs the square of its length


def _plain(text: str) -> str:
    """Width, case and invisible signs evened out."""
    pieces = [text[at : at + _PIECE] for at in range(0, len(text), _PIECE)]
    folded = "".join([unicodedata.normalize("NFKC", piece) for piece in pieces]).casefold()
    return "".join([sign for sign in folded if unicodedata.category(sign) not in ("Cf", "Mn")])


def _holds_keyword(text: str, keywords: Iterable[str]) -> bool:
    """Blanks and signs count neither in the text nor in the word."""
    bare = _bare(text)
    return any(_bare(keyword) in bare for keyword in keywords)


def _bare(text: str) -> str:
    return "".join([sign for sign in _plain(text) if sign.isalnum()])


# typed numbers

_NUMERALS: Final = {sign: str(value % 10) for value, sign in enumerate("〇一二三四五六七八九零壹贰叁肆伍陆柒捌玖")} | {
    "幺": "1", "两": "2", "貳": "2", "參": "3", "陸": "6",
}  # fmt: skip
_BETWEEN: Final = frozenset(" \t\r\n-.()/_~+*#,:;'\"|·•—–−,。、;:()【】[]<>《》“”‘’…=&@!?!?")
_MOBILE_TYPED: Final = re.compile(r"(?:86)?(1[3-9][0-9]{9})")
_FIXED_TYPED: Final = re.compile(r"0(?:10|2[0-9]|[3-9][0-9]{2})[1-9][0-9]{6,7}")


def _digit(sign: str) -> str:
    """The decimal digit that a sign stands for, '' for none."""
    if "0" <= sign <= "9":
        return sign
    if sign in _NUMERALS:
        return _NUMERALS[sign]
    if sign > "\x7f":
        value = unicodedata.digit(sign, None)
        return "" if value is None else str(value)
    return ""


def _runs(text: str, wide: bool) -> list[tuple[str, list[int]]]:
    """Digits that belong together, each with its place in the text. ``wide``: whatever signs stand between them; else
    one blank or dash at a time."""
    runs: list[tuple[str, list[int]]] = []
    digits: list[str] = []
    places: list[int] = []
    gap = 0
    for at, sign in enumerate(text):
        digit = _digit(sign)
        if digit:
            digits.append(digit)
            places.append(at)
            gap = 0
            continue
        gap += 1
        if (wide and (sign in _BETWEEN or unicodedata.category(sign) == "Cf")) or (gap == 1 and sign in " -."):
            continue
        if digits:
            runs.append(("".join(digits), places))
            digits, places = [], []
    if digits:
        runs.append(("".join(digits), places))
    return runs


def _spots(text: str, own: Sequence[str]) -> set[int]:
    """Where the parties' own numbers stand, however they are spelt."""
    spots: set[int] = set()
    for digits, places in _runs(text, True):
        for number in own:
            at = digits.find(number)
            while at >= 0:
                spots.update(places[at : at + len(number)])
                at = digits.find(number, at + 1)
    return spots


def _typed_numbers(text: str) -> set[int]:
    """Where telephone numbers of China's plan stand."""
    spots: set[int] = set()
    for digits, places in _runs(text, False):
        found = _MOBILE_TYPED.fullmatch(digits) or _FIXED_TYPED.fullmatch(digits)
        if found is not None:
            spots.update(places)
    return spots
