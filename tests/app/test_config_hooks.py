"""Settings of the verification hook and of announcements: what is read, and what a wrong file is told, word by word."""

import base64
from pathlib import Path

import pytest

from b2bua.app.config import ConfigError, Settings, load
from b2bua.app.config_hooks import hook_context, prompt_settings
from b2bua.call.settings import PromptSettings
from cdr.seal import format_keyring, new_keyring
from routing.targets import Target
from routing.trunks import Peer
from tests.app.certificates import Authority

KEYRING = format_keyring(new_keyring())
TRUNK = '[[trunk]]\nname = "carrier-a"\npeers = ["192.0.2.1:5060"]\n'
HOOK = '[verification]\nurl = "https://platform.example/verify"\nscope = "all"\n'
MEDIA = '[prompts]\nserver = "192.0.2.9:5060"\nurl = "file:///prompts/"\n'


def read(directory: Path, text: str, **environ: str) -> Settings:
    path = directory / "x700.toml"
    path.write_text(text + TRUNK)
    return load(path, {"X700_KEY": KEYRING, **environ})


def problems(directory: Path, text: str, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as failure:
        read(directory, text, **environ)
    return [problem.replace(f"{directory / 'x700.toml'}: ", "", 1) for problem in failure.value.problems]


def test_without_a_word_about_them_there_is_neither(tmp_path: Path) -> None:
    settings = read(tmp_path, "")
    assert (settings.verification.url, settings.verification.scope) == ("", "none")
    assert prompt_settings(settings.prompts) is None


def test_a_hook_as_it_is_written(tmp_path: Path) -> None:
    settings = read(tmp_path, HOOK, X700_VERIFICATION_SECRET="a secret of some length")
    assert settings.verification.url == "https://platform.example/verify"
    assert settings.verification_secret.get_secret_value() == "a secret of some length"
    assert "a secret" not in repr(settings)


def test_a_media_server_as_the_switch_is_told(tmp_path: Path) -> None:
    text = (
        '[[listener]]\nname = "tcp"\ntransport = "tcp"\nlisten = "127.0.0.1:5060"\n'
        f'{MEDIA}transport = "tcp"\nrepeat = 2\ncalls = 9\nlongest_seconds = 7\nanswer_seconds = 1\n'
        '[prompts.files]\ncaller_unbound = "u.wav"\nbinding_ended = ""\n'
    )
    peer = Peer("192.0.2.9", 5060)
    assert prompt_settings(read(tmp_path, text).prompts) == PromptSettings(
        Target("TCP", "192.0.2.9", 5060, peer),
        "file:///prompts/",
        {"caller_unbound": "u.wav", "binding_ended": ""},
        answer_seconds=1.0,
        longest_seconds=7.0,
        repeat=2,
        most=9,
    )


def test_nothing_is_announced_for_a_limit_unless_it_is_asked_for(tmp_path: Path) -> None:
    files = read(tmp_path, MEDIA).prompts.files
    assert set(files) == {
        "block_unknown", "caller_unbound", "binding_expired", "binding_ended", "direction_barred"
    }  # fmt: skip
    asked = read(tmp_path, f'{MEDIA}[prompts.files]\ncaller_cap = "slow-down.wav"\n').prompts.files
    assert asked == {"caller_cap": "slow-down.wav"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            '[verification]\nurl = "platform.example"\n',
            'verification.url = "platform.example": is no http or https URL with a host; '
            'write, for example, "https://platform.example/verify", or "" for no hook',
        ),
        (
            '[verification]\nurl = "ftp://platform.example/"\n',
            'verification.url = "ftp://platform.example/": is no http or https URL with a host; '
            'write, for example, "https://platform.example/verify", or "" for no hook',
        ),
        (
            '[verification]\nurl = "https://platform.example:99999/"\n',
            'verification.url = "https://platform.example:99999/": is no URL (Port out of range 0-65535); '
            'write, for example, "https://platform.example/verify", or "" for no hook',
        ),
        (
            '[verification]\nurl = "https://me@platform.example/"\n',
            'verification.url = "https://me@platform.example/": must hold neither a user nor a fragment; '
            'write, for example, "https://platform.example/verify", or "" for no hook',
        ),
        (
            '[verification]\nurl = "https://platform.example/a b"\n',
            'verification.url = "https://platform.example/a b": must be up to 512 printable characters without blanks; '
            'write, for example, "https://platform.example/verify", or "" for no hook',
        ),
        (
            '[verification]\nscope = "all"\n',
            'verification.url = "": is empty, and scope wants calls verified; write the hook\'s URL, or scope = "none"',
        ),
        (
            f"{HOOK}timeout_ms = 2000\n",
            "verification.timeout_ms = 2000: is more than deadline_ms; write 1500 or less",
        ),
        (
            f"{HOOK}deadline_ms = 3801\n",
            "verification.deadline_ms = 3801: leaves less than 200 ms of routing.decision_seconds; "
            "write 3800 or less, or more there",
        ),
        (
            f'{HOOK}on_failure = "ask"\n',
            "verification.on_failure = \"ask\": must be 'closed' or 'open'; "
            'write, for example, on_failure = "closed"',
        ),
        (
            '[prompts]\nserver = "192.0.2.9:5060"\n',
            'prompts.url = "": is empty, and the prompts of the media server have to lie somewhere; '
            'write "file:///prompts/"',
        ),
        (
            f'{MEDIA}transport = "tcp"\n',
            'prompts.transport = "tcp": has no listener to reach the IPv4 server by; '
            'add a [[listener]] with transport = "tcp" and an IPv4 address',
        ),
        (
            '[prompts]\nserver = "media.example:5060"\nurl = "/provisioned/"\n',
            "prompts.server = \"media.example:5060\": 'media.example' is not an IP address (names are not looked up); "
            "write an IP address and a port, such as 192.0.2.1:5060 or [2001:db8::1]:5060",
        ),
        (
            '[prompts]\nurl = "prompts"\n',
            'prompts.url = "prompts": must be a URL, or a path of the media server; '
            'write "file:///prompts/" or "/provisioned/"',
        ),
        (
            "[prompts]\nfiles = 5\n",
            "prompts.files = 5: must be a table; "
            'write a line for each under [prompts.files], such as caller_unbound = "unbound.wav"',
        ),
        (
            "[prompts.files]\ncaller_unbound = 5\n",
            "prompts.files = {…}: the prompt of caller_unbound must be up to 128 printable characters without blanks; "
            'write a line for each under [prompts.files], such as caller_unbound = "unbound.wav"',
        ),
    ],
)
def test_a_wrong_value_is_told_what_and_how(tmp_path: Path, text: str, expected: str) -> None:
    assert problems(tmp_path, text) == [expected]


def test_a_reason_that_is_none_is_told_which_there_are(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, '[prompts.files]\ncaller_unbond = "unbound.wav"\n')
    assert problem.startswith("prompts.files = {…}: 'caller_unbond' is no reason of a rule; the reasons are ")
    assert "caller_unbound, " in problem


@pytest.mark.parametrize(
    ("secret", "expected"),
    [
        ("tiny", "is shorter than 16 characters; write a longer one, or take it out to sign nothing"),
        ("whsec_no+base64!!!!!!!!", "holds no base64 behind whsec_; write the secret as it was given"),
    ],
)
def test_a_secret_that_is_none(tmp_path: Path, secret: str, expected: str) -> None:
    (problem,) = problems(tmp_path, HOOK, X700_VERIFICATION_SECRET=secret)
    assert problem == f"X700_VERIFICATION_SECRET in the environment: {expected}"
    assert secret not in problem


def test_a_secret_in_the_form_of_standard_webhooks(tmp_path: Path) -> None:
    secret = "whsec_" + base64.b64encode(b"k" * 32).decode()
    assert read(tmp_path, HOOK, X700_VERIFICATION_SECRET=secret).verification_secret.get_secret_value() == secret


def test_the_authority_of_the_hook(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    settings = read(tmp_path, f'[node]\ndata_dir = "{tmp_path}"\n{HOOK}ca = "{authority.file.name}"\n')
    assert settings.verification.ca == authority.file
    assert len(hook_context(settings.verification).get_ca_certs()) == 1
    (problem,) = problems(tmp_path, f'[node]\ndata_dir = "{tmp_path}"\n{HOOK}ca = "gone.pem"\n')
    assert "is no file of certificates" in problem
    assert problem.endswith("write the path of a PEM file")
