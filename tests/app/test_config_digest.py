"""Settings of digest authentication: whose secrets there are, where they come from, what is told of a wrong file."""

from pathlib import Path

import pytest

from b2bua.app.config import ConfigError, Settings, load
from b2bua.app.config_passwords import PasswordsError, parse_passwords
from b2bua.app.reload import compare, merge
from cdr.seal import format_keyring, new_keyring
from routing.trunks import Secret

KEYRING = format_keyring(new_keyring())
MD5, SHA = "0123456789abcdef" * 2, "0123456789ABCDEF" * 4
TRUNK = '[[trunk]]\nname = "carrier-a"\npeers = ["192.0.2.1:5060"]\n'
ASKED = f'{TRUNK}digest_realm = "sip.example.net"\ndigest_users = ["gw-1"]\n'
OPEN = (
    '[[trunk]]\nname = "{}"\npeers = []\nprefixes = []\nnetworks = ["0.0.0.0/0"]\n'
    'digest_realm = "r"\ndigest_users = ["{}"]\n'
)
GOOD = "carrier-a gw-1 password open sesame \n"


def read(directory: Path, text: str, passwords: str | None = GOOD) -> Settings:
    path = directory / "x700.toml"
    path.write_text(text)
    return load(path, {"X700_KEY": KEYRING, **({} if passwords is None else {"X700_PASSWORDS": passwords})})


def problems(directory: Path, text: str, passwords: str | None = GOOD) -> list[str]:
    with pytest.raises(ConfigError) as failure:
        read(directory, text, passwords)
    return [problem.replace(f"{directory / 'x700.toml'}: ", "", 1) for problem in failure.value.problems]


def test_every_kind_of_secret_is_read() -> None:
    text = f"""
    # trunk user kind secret
    carrier-a  gw-1  password  open sesame
    carrier-a  gw-1  MD5       {MD5}
    carrier-b  us    SHA-256   {SHA}
    carrier-b  us    SHA-512-256\t{SHA}
    """
    assert parse_passwords(text) == {
        "carrier-a": (Secret("gw-1", "", "open sesame"), Secret("gw-1", "MD5", MD5)),
        "carrier-b": (Secret("us", "SHA-256", SHA), Secret("us", "SHA-512-256", SHA)),
    }
    assert parse_passwords("") == {}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("carrier-a gw-1 s3cret", "line 2 has 3 of 4 parts; write, for example: carrier-a gw-1 password …"),
        (
            "carrier-a gw-1 sha1 s3cret",
            "line 2: the third part is no kind of secret; write one of password, MD5, SHA-256, SHA-512-256",
        ),
        (
            "carrier-a gw-1 MD5 s3cret",
            "line 2: H(A1) of MD5 has 32 hexadecimal digits; write the hash of user:realm:password",
        ),
    ],
)
def test_a_wrong_line_is_named_without_its_secret(line: str, problem: str) -> None:
    with pytest.raises(PasswordsError) as failure:
        parse_passwords(f"# passwords\n{line}\n")
    assert str(failure.value) == problem
    assert "s3cret" not in problem


def test_a_trunk_gets_its_secrets_and_shows_them_nowhere(tmp_path: Path) -> None:
    settings = read(tmp_path, ASKED)
    [trunk] = settings.trunks
    assert trunk.secrets == (Secret("gw-1", "", "open sesame"),)
    assert (trunk.digest_realm, trunk.digest_users, trunk.digest_algorithms) == (
        "sip.example.net",
        ("gw-1",),
        ("SHA-256", "MD5"),
    )
    for shown in (repr(settings), repr(trunk), repr(trunk.secrets), settings.model_dump_json()):
        assert "sesame" not in shown


def test_passwords_come_from_the_file_unless_the_environment_has_them(tmp_path: Path) -> None:
    text = f'[node]\ndata_dir = "{tmp_path}"\n{ASKED}'
    passwords = tmp_path / "passwords"
    passwords.write_text("carrier-a gw-1 password from the file\n")
    passwords.chmod(0o600)
    assert read(tmp_path, text, None).trunks[0].secrets[0].text == "from the file"
    assert read(tmp_path, text).trunks[0].secrets[0].text == "open sesame"
    passwords.chmod(0o644)
    assert problems(tmp_path, text, None) == [
        f'keys.passwords = "{passwords}": is open to every user; close it with: chmod 600 {passwords}'
    ]
    passwords.unlink()
    assert problems(tmp_path, text, None) == [
        f'keys.passwords = "{passwords}": cannot be read (No such file or directory); '
        "write a line for each user, mode 600, or put its text into X700_PASSWORDS"
    ]


def test_without_digest_no_passwords_are_read(tmp_path: Path) -> None:
    assert read(tmp_path, TRUNK, None).trunks[0].secrets == ()


def test_a_trunk_known_by_digest_alone_needs_no_peers_and_shares_its_networks(tmp_path: Path) -> None:
    text = OPEN.format("a", "gw-1") + OPEN.format("b", "gw-2")
    first, second = read(tmp_path, text, "a gw-1 password x\nb gw-2 password y\n").trunks
    assert first.peers == second.peers == ()
    assert first.networks == second.networks == ("0.0.0.0/0",)


PASSWORDS = "X700_PASSWORDS in the environment"


@pytest.mark.parametrize(
    ("text", "passwords", "problem"),
    [
        (
            '[[trunk]]\nname = "carrier-a"\npeers = []\ndigest_realm = "r"\ndigest_users = ["gw-1"]',
            GOOD,
            "trunk[carrier-a].peers = []: is empty, so no call can be sent there; write an address, or prefixes = []",
        ),
        (
            f'{TRUNK}digest_realm = "r"',
            GOOD,
            "trunk[carrier-a].digest_users = []: is empty, and digest authentication needs both realm and users; "
            "write one, or neither",
        ),
        (
            f'{TRUNK}digest_users = ["gw-1"]',
            GOOD,
            'trunk[carrier-a].digest_realm = "": is empty, and digest authentication needs both realm and users; '
            "write one, or neither",
        ),
        (
            f'{ASKED}username = "gw-1"',
            GOOD,
            'trunk[carrier-a].digest_users = "gw-1": is our own user name, or none: who asks us could pass for the '
            "peer; write another",
        ),
        (
            OPEN.format("a", "gw-1") + OPEN.format("b", "gw-1"),
            "a gw-1 password x\nb gw-1 password y\n",
            'trunk[b].digest_users = "gw-1": proves trunk a already in this realm; write another name for one of them',
        ),
        (
            f'{TRUNK}digest_realm = "a\\"b"\ndigest_users = ["gw-1"]',
            GOOD,
            'trunk[carrier-a].digest_realm = "a\\"b": must be up to 63 printable characters, no quotes; '
            'write a name such as "sip.example.net"',
        ),
        (
            f'{TRUNK}username = "a b"',
            GOOD,
            'trunk[carrier-a].username = "a b": must be up to 64 printable characters without blanks and quotes; '
            "write a name such as gw-1",
        ),
        (
            f'{ASKED}digest_algorithms = ["MD5", "MD5"]',
            GOOD,
            'trunk[carrier-a].digest_algorithms = ["MD5", "MD5"]: holds a value twice; take one out',
        ),
        (
            ASKED,
            "carrier-a gw-2 password x",
            f"{PASSWORDS}: has no secret of gw-1 for trunk carrier-a; write a line: carrier-a gw-1 password …",
        ),
        (
            ASKED,
            f"carrier-a gw-1 MD5 {MD5}",
            f"{PASSWORDS}: has no SHA-256 of gw-1 for trunk carrier-a; write a line: carrier-a gw-1 SHA-256 …, or "
            "leave it out of digest_algorithms",
        ),
        (ASKED, "carrier-a", f"{PASSWORDS}: is no file of passwords (line 1 has 1 of 4 parts; write, for example: "
         "carrier-a gw-1 password …)"),
        (
            ASKED + TRUNK.replace("carrier-a", "carrier-b"),
            GOOD,
            'trunk[carrier-b].peers = "192.0.2.1:5060": belongs to trunk carrier-a already; a source identifies one '
            "trunk, take it out of one of them",
        ),
    ],
)  # fmt: skip
def test_a_mistake_names_key_value_and_fix(text: str, passwords: str, problem: str, tmp_path: Path) -> None:
    assert problems(tmp_path, text, passwords) == [problem]


def test_our_own_name_needs_a_secret_of_any_kind(tmp_path: Path) -> None:
    text = f'{TRUNK}username = "us"\n'
    assert read(tmp_path, text, f"carrier-a us MD5 {MD5}").trunks[0].secrets == (Secret("us", "MD5", MD5),)
    assert problems(tmp_path, text, "carrier-b us password x") == [
        f"{PASSWORDS}: has no secret of us for trunk carrier-a; write a line: carrier-a us password …"
    ]


def test_passwords_are_taken_over_by_a_reload(tmp_path: Path) -> None:
    running, wanted = read(tmp_path, ASKED), read(tmp_path, ASKED, "carrier-a gw-1 password new\n")
    changes = compare(running, wanted)
    assert (changes.live, changes.restart) == (("keys.passwords",), ())
    assert merge(running, wanted).trunks[0].secrets[0].text == "new"
