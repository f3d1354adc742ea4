"""The section [policy] of the settings: what it comes to, and which mistakes are told how."""

from pathlib import Path

import pytest

from b2bua.app.config import ConfigError, Settings, load
from b2bua.app.config_policy import policy_settings
from cdr.seal import format_keyring, new_keyring
from routing.caps import Caps, CapSet
from routing.policy import PolicySettings

ENVIRON = {"X700_KEY": format_keyring(new_keyring())}


def settings(path: Path, text: str) -> Settings:
    file = path / "x700.toml"
    file.write_text(f'[policy]\n{text}\n[[trunk]]\nname = "carrier-a"\npeers = ["192.0.2.1:5060"]\n')
    return load(file, ENVIRON)


def test_keys_become_caps_ranges_and_fan_out(tmp_path: Path) -> None:
    found = settings(
        tmp_path,
        'allow = ["138", "010"]\ndeny = ["1381"]\ncaller_per_hour = 30\ncaller_distinct_x = 9\nbinding_per_minute = 3\n'
        "number_concurrent = 1\nuser_per_day = 1000\nfan_out_numbers = 50\nfan_out_seconds = 60\n"
        "fan_out_block_seconds = 7200",
    )
    assert policy_settings(found.policy) == PolicySettings(
        allow=("138", "010"),
        deny=("1381",),
        caps=CapSet(caller=Caps(per_hour=30, distinct_x=9), binding=Caps(per_minute=3), number=Caps(concurrent=1)),
        user_caps=Caps(per_day=1000),
        fan_out_numbers=50,
        fan_out_seconds=60,
        fan_out_block_seconds=7200,
    )


def test_by_default_nothing_is_refused_and_fan_out_is_looked_for(tmp_path: Path) -> None:
    assert policy_settings(settings(tmp_path, "").policy) == PolicySettings(fan_out_numbers=100)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('deny = ["+86138"]', "policy.deny"),
        ('allow = ["8"]', "policy.allow"),
        ("caller_per_hour = -1", "policy.caller_per_hour"),
        ("caller_per_hour = 1.5", "policy.caller_per_hour"),
        ("user_per_day = 1000000001", "policy.user_per_day"),
        ("fan_out_seconds = 0", "policy.fan_out_seconds"),
        ("binding_distinct_x = 5", "policy.binding_distinct_x"),
    ],
)
def test_a_mistake_names_its_key(tmp_path: Path, text: str, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings(tmp_path, text)
    assert any(key in problem for problem in caught.value.problems)
