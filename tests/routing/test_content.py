"""What the text of a short message may be (R15, R2)."""

from time import perf_counter

import pytest

from routing.content import ContentPolicy, Typed, assess, is_service_sender, is_verification_code

CODES = (
    "【淘宝网】验证码:123456,您正在登录,请勿泄露给他人。",
    "您的验证码是 8831,5分钟内有效。",
    "验 证 码 1 2 3 4 5 6",
    "验.证.码:482913",
    "驗證碼:482913",
    "【招商银行】动态密码 739201,您正在网上支付",
    "校验码 0042,打死都不要告诉别人",
    "【微信】您的注册码为98213",
    "您的一次性密码为５５６６７７",
    "验证码１２３４５６",
    "验\u200b证\u200b码:123456",
    "【京东】登录验证码998877",
    "您的动态口令:AB12CD",
    "您的短信验证码是998123,请在页面填写",
    "【滴滴出行】123456(5分钟内有效),您正在登录",
    "[Alipay] 887766 请勿告知他人",
    "G-123456 is your Google verification code.",
    "Your OTP is 4821. Do not share it.",
    "Your Uber code is 1234. Never share this code.",
    "123456 is your Facebook confirmation code",
    "Use 482913 to log in to your account",
    "<#> 123-456 is your code FA+9qCX9VSu",
    "Your login code: A7K2P9",
    "@example.com #123456",
    "code 8841 to verify your account",
    "Your Amazon security code: 991 223",
    "Telegram code: 12345",
    "WhatsApp code 123-456",
    "two-factor code 102030",
    "YOUR PASSCODE 5521",
)
TALK = (
    "你好,快递到了,放门口了",
    "我到楼下了,车牌京A12345",
    "取件码 8-2-3301,请到菜鸟驿站取件",
    "您的取餐码是 1024",
    "收货码 445566 告诉快递员",
    "我没收到验证码",
    "验证码是什么?",
    "门禁密码 1234#,请上楼",
    "请问房间号 1203 对吗",
    "订单 20261122-8842 已发货",
    "我电话13800138000,打给我",
    "请把 3000 元转给我",
    "尾号1234的司机马上到",
    "楼下保安说要登记,在3号楼2单元1801",
    "【菜鸟驿站】您的包裹已到,凭8-3-2214到店取件",
    "请登录APP查看",
    "价格 1999,可以吗",
    "密码锁是多少?",
    "Hi, I am at gate 12, car plate 8842",
    "The code review is at 3",
    "Meet me at 1530 tomorrow",
    "order no 123456 arrived",
    "My zip code is 100084",
    "The gate code is 4412",
    "your pick-up code is 7788",
    "I'll be 5 minutes late",
    "dress code is casual, 7pm on 2026-11-22",
    "The postcode: 518000",
    "",
)


@pytest.mark.parametrize("text", CODES)
def test_a_code_is_known(text: str) -> None:
    assert is_verification_code(text)
    found = assess(text, (), ContentPolicy())
    assert found.drop == "verification_code"


@pytest.mark.parametrize("text", TALK)
def test_people_may_talk(text: str) -> None:
    assert not is_verification_code(text)
    found = assess(text, (), ContentPolicy())
    assert (found.drop, found.text) == ("", text)


@pytest.mark.parametrize(
    "sender",
    [
        *("106900012345", "1069000123", "10690001", "+8610690012345678", "8610690012345678", "95588", "955880001"),
        *("+8695588", "96169", "10086", "10010", "12306", "1008611", "12345", "12110", "110", "10-086"),
    ],
)
def test_a_service_is_known_by_its_number(sender: str) -> None:
    assert is_service_sender(sender)


@pytest.mark.parametrize(
    "sender",
    [
        *("13800138000", "+8613800138000", "008613800138000", "01069000123", "02112345678", "700123456789012"),
        *("+14155550123", "", "anonymous", "+", "13800138000;npdi"),
    ],
)
def test_a_person_is_no_service(sender: str) -> None:
    assert not is_service_sender(sender)


OWN = ("13876543210", "13925814703")


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("call 13876543210", "call ***********"),
        ("138 7654 3210!", "*** **** ****!"),
        ("138-7654-3210", "***-****-****"),
        ("1 3 8 7 6 5 4 3 2 1 0", "* * * * * * * * * * *"),
        ("１３８７６５４３２１０", "***********"),
        ("一三八七六五四三二一零", "***********"),
        ("幺三八柒六五肆三两幺〇", "***********"),
        ("+8613876543210", "+86***********"),
        ("x8613876543210123", "x86***********123"),
        ("1\u200b3876543210", "*\u200b**********"),
        ("138,7654。3210", "***,****。****"),
        ("13876543210 13925814703", "*********** ***********"),
        ("①③⑧7654③②①0", "***********"),
    ],
)
def test_the_parties_own_numbers_are_struck_out(text: str, masked: str) -> None:
    found = assess(text, OWN, ContentPolicy())
    assert (found.drop, found.text, found.masked, found.flags) == ("", masked, True, ("phone_number",))
    assert len(found.text) == len(text)
    assert assess(text, OWN, ContentPolicy(typed=Typed.DROP)).drop == "phone_number"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("打13900139000或010-62345678", "打***********或***-********"),
        ("8613900139000", "*************"),
        ("139 0013 9000", "*** **** ****"),
        ("订单139001390001234", "订单139001390001234"),
        ("20261122", "20261122"),
        ("700123456789012", "700123456789012"),
    ],
)
def test_other_telephone_numbers_are_noted_or_struck_out(text: str, masked: str) -> None:
    found = assess(text, OWN, ContentPolicy())
    assert (found.text, found.masked, bool(found.flags)) == (text, False, masked != text)
    found = assess(text, OWN, ContentPolicy(typed=Typed.MASK))
    assert (found.text, found.masked) == (masked, masked != text)


@pytest.mark.parametrize("text", ["刷单", "刷 单", "刷-單".replace("單", "单"), "ＶＸ加我 刷单", "快来刷单吧"])
def test_a_word_is_found_whatever_stands_in_it(text: str) -> None:
    assert assess(text, (), ContentPolicy(("刷单",))).drop == "keyword"
    assert assess(text, (), ContentPolicy(("赌",))).drop == ""


def test_a_word_is_found_in_any_case_and_width() -> None:
    assert assess("Buy BITCOIN now", (), ContentPolicy(("bitCoin",))).drop == "keyword"
    assert assess("ｂｉｔ coin", (), ContentPolicy(("bitcoin",))).drop == "keyword"


FAR = "。" * 60


@pytest.mark.parametrize(
    "text",
    [
        "a" * 65536,
        "a-" * 32768,
        "code " * 13000,
        "otp," * 8000 + FAR + "1234 " * 6400,
        "验证码" * 8000 + FAR + "1234 " * 6400,
        "\u0316\u0301" * 16384,
        "\uff9e\u0316" * 10900,
        "1" * 65536,
        " " * 65536,
        "@a." * 21000,
    ],
)
def test_no_text_takes_long_to_judge(text: str) -> None:
    """The thread that reads it is the one that switches: time grows with the length alone."""
    part = text[len(text) // 8 * 3 : len(text) // 2]
    short, whole = (min(_seconds(each) for _ in range(3)) for each in (part, text))
    assert whole < max(0.2, 24 * short), (short, whole)


def _seconds(text: str) -> float:
    begun = perf_counter()
    assess(text, OWN, ContentPolicy(("刷单",)))
    return perf_counter() - begun


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("pick-up code 7788", False),
        ("x" * 30 + "zip code 7788", True),
        ("zip\ncode 7788", True),
        ("zip \ncode 7788", True),
        ("2zip code 7788", False),
        ("code code 7788", True),
        ("code 7788", True),
        ("encode 7788", False),
        ("验证码" + "。" * 45 + "4821", True),
        ("验证码" + "。" * 46 + "4821", False),
        ("4821" + "。" * 44 + "验证码", True),
        ("4821" + "。" * 45 + "验证码", False),
    ],
)
def test_what_stands_before_a_code_and_how_far_it_is(text: str, code: bool) -> None:
    assert is_verification_code(text) is code
