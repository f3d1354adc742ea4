"""The settings: one TOML file, overridden by a few environment variables, as one frozen and validated object."""

import tomllib
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from os import fsencode
from pathlib import Path
from typing import NamedTuple

from pydantic import SecretStr, ValidationError

from b2bua.app.config_errors import ConfigError, findings, format_problem, unknown_key
from b2bua.app.config_models import SECTIONS, Section, Settings, Sip, TrunkSettings
from cdr.seal import KeyringError, parse_keyring
from routing.trunks import format_peer

__all__ = ["KEY_VARIABLE", "OVERRIDES", "ConfigError", "Setting", "Settings", "load", "settings_table"]

LONGEST_SOCKET_PATH = 107  # bytes, unix(7): sun_path holds 108 with its final NUL
OTHERS_MAY = 0o007  # permission bits that a file of keys must not have


class Override(NamedTuple):
    """An environment variable that goes before a key of the file."""

    variable: str
    section: str
    key: str


# What differs from machine to machine. Secrets never stand in the file: X700_KEY is the text of the keyring.
KEY_VARIABLE = "X700_KEY"
OVERRIDES = (
    Override("X700_NODE_NAME", "node", "name"),
    Override("X700_DATA_DIR", "node", "data_dir"),
    Override("X700_SIP_LISTEN", "sip", "listen"),
    Override("X700_SIP_ADVERTISE", "sip", "advertise"),
    Override("X700_OPS_LISTEN", "ops", "listen"),
    Override("X700_CONTROL_SOCKET", "ops", "control_socket"),
    Override("X700_KEY_FILE", "keys", "file"),
    Override("X700_LOG_LEVEL", "log", "level"),
    Override("X700_LOG_FORMAT", "log", "format"),
)


class Setting(NamedTuple):
    """One row of the manual. `default` is None where the key must be given."""

    section: str
    key: str
    default: object
    meaning: str
    variable: str


def settings_table() -> Iterator[Setting]:
    """Every key there is, in the order of the file."""
    variables = {(section, key): variable for variable, section, key in OVERRIDES}
    for section, model in SECTIONS.items():
        plain = model.model_construct().model_dump(mode="json", warnings=False)
        for key, field in model.model_fields.items():
            yield Setting(section, key, plain.get(key), field.description or "", variables.get((section, key), ""))


def load(path: Path, environ: Mapping[str, str]) -> Settings:
    """Read, override, validate. ConfigError holds one line for every mistake there is, not only for the first."""
    return _Loader(path, environ).load()


class _Loader:
    """One reading of one file; `_problems` collects what is wrong while the reading goes on."""

    def __init__(self, path: Path, environ: Mapping[str, str]) -> None:
        self._path = path
        self._environ = environ
        self._overridden: dict[tuple[str, str], str] = {}
        self._problems: list[str] = []

    def load(self) -> Settings:
        raw = self._override(self._read())
        for key in raw.keys() - SECTIONS.keys():
            self._wrong("", key, raw[key], unknown_key(key, "the file", tuple(SECTIONS), {}))
        sections = {name: self._section(name, name, raw[name]) for name in SECTIONS if name in raw and name != "trunk"}
        trunks = self._trunks(raw.get("trunk"))
        wrong = {name for name, section in sections.items() if section is None}
        # what is right is checked together even where something else is wrong: a second round of mistakes is a nuisance
        settings = Settings.model_validate(
            {**{name: sections[name] for name in sections.keys() - wrong}, "trunk": trunks}
        )
        if "sip" not in wrong:
            self._check_sip(settings.sip)
        if not wrong & {"node", "ops"}:
            self._check_paths(settings)
        self._check_sources(settings)
        keyring = "" if wrong & {"node", "keys"} else self._keyring(settings.keys.file)
        if self._problems:
            raise ConfigError(self._problems)
        return settings.model_copy(update={"keyring": SecretStr(keyring)})

    def _wrong(self, section: str, key: str, value: object, text: str) -> None:
        variable = self._overridden.get((section, key))
        source = f"{variable} in the environment" if variable else str(self._path)
        self._problems.append(format_problem(source, ".".join(filter(None, (section, key))), value, text))

    def _read(self) -> dict[str, object]:
        try:
            return tomllib.loads(self._path.read_text(encoding="utf-8"))
        except OSError as error:
            fix = "name the settings file with --config or X700_CONFIG"
            raise ConfigError([f"{self._path}: cannot be read ({error.strerror}); {fix}"]) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError([f"{self._path}: is not TOML: {error}; see https://toml.io for its spelling"]) from error

    def _override(self, raw: dict[str, object]) -> dict[str, object]:
        for variable, section, key in OVERRIDES:
            if (value := self._environ.get(variable)) is None:
                continue
            table = raw.setdefault(section, {})
            if isinstance(table, dict):
                table[key] = value
                self._overridden[section, key] = variable
        return raw

    def _section(self, name: str, shown: str, raw: object) -> Section | None:
        """One table as its model. None: it is wrong, and the problems are noted."""
        model = SECTIONS[name]
        try:
            return model.model_validate(raw)
        except ValidationError as failure:
            elsewhere = {other: tuple(keys.model_fields) for other, keys in SECTIONS.items() if other != name}
            for key, value, text in findings(model, name, failure, elsewhere):
                self._wrong(shown, key, value, text)
        return None

    def _trunks(self, raw: object) -> list[TrunkSettings]:
        """The trunks that are right by themselves."""
        if not raw or not isinstance(raw, list):
            self._wrong("", "trunk", raw, "no call can come in or go out; write at least one [[trunk]] table")
            return []
        trunks = []
        for number, table in enumerate(raw, start=1):
            name = table.get("name") if isinstance(table, dict) else None
            shown = name if isinstance(name, str) and name and name.isprintable() else number
            trunk = self._section("trunk", f"trunk[{shown}]", table)
            if isinstance(trunk, TrunkSettings):
                trunks.append(trunk)
        return trunks

    def _check_sip(self, sip: Sip) -> None:
        if sip.t1_ms > sip.t2_ms:
            self._wrong("sip", "t2_ms", sip.t2_ms, f"is less than t1_ms; write {sip.t1_ms} or more")
        if ip_address(sip.listen.host).is_unspecified and sip.advertise is None:
            fix = "write the address and port by which the carriers reach this node"
            self._wrong("sip", "advertise", "", f"cannot be taken from the wildcard address in listen; {fix}")

    def _check_paths(self, settings: Settings) -> None:
        path = settings.ops.control_socket
        if len(fsencode(path)) > LONGEST_SOCKET_PATH:
            fix = "write a shorter absolute path, such as /run/x700/control.sock"
            self._wrong("ops", "control_socket", str(path), f"is longer than {LONGEST_SOCKET_PATH} bytes; {fix}")

    def _check_sources(self, settings: Settings) -> None:
        """A source identifies one trunk: names, exact addresses and networks are given once."""
        own = {settings.sip.listen, settings.sip.advertise}
        names: set[str] = set()
        owners: dict[str, str] = {}
        for trunk in settings.trunk:
            shown = f"trunk[{trunk.name}]"
            if trunk.name in names:
                self._wrong(shown, "name", trunk.name, "is given to two trunks; write another name for one of them")
            names.add(trunk.name)
            for peer in set(trunk.peers) & own:
                self._wrong(shown, "peers", format_peer(peer), "is this node's own address; write the carrier's")
            peers = [("peers", format_peer(peer)) for peer in trunk.peers]
            for key, source in peers + [("networks", source) for source in trunk.networks]:
                owner = owners.setdefault(source, trunk.name)
                if owner != trunk.name:
                    text = (
                        f"belongs to trunk {owner} already; a source identifies one trunk, take it out of one of them"
                    )
                    self._wrong(shown, key, source, text)

    def _keyring(self, path: Path) -> str:
        """The text of the keys: from the environment, else from the file."""
        source, text = f"{KEY_VARIABLE} in the environment", self._environ.get(KEY_VARIABLE)
        fix = f"make one with: x700 keygen {path}"
        try:
            if text is None:
                source = str(path)
                if path.stat().st_mode & OTHERS_MAY:
                    self._wrong("keys", "file", str(path), f"is open to every user; close it with: chmod 600 {path}")
                text = path.read_text(encoding="ascii")
            parse_keyring(text)
        except OSError as error:
            text = f"cannot be read ({error.strerror}); {fix}, or put its text into {KEY_VARIABLE}"
            self._wrong("keys", "file", str(path), text)
        except (KeyringError, UnicodeDecodeError) as error:
            self._problems.append(f"{source}: is not a keyring ({error}); {fix}")
        return text or ""
