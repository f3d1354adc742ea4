"""The settings: one TOML file, overridden by a few environment variables, as one frozen and validated object."""

import tomllib
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from os import fsencode
from pathlib import Path
from typing import NamedTuple

from pydantic import SecretStr, ValidationError

from b2bua.app.config_api import check_api
from b2bua.app.config_errors import ConfigError, findings, format_problem, unknown_key
from b2bua.app.config_hooks import check_hooks, secret_problem
from b2bua.app.config_listeners import check_listeners
from b2bua.app.config_models import SECTIONS, ListenerSettings, Settings, Sip, TrunkSettings
from b2bua.app.config_passwords import PasswordsError, parse_passwords
from b2bua.app.config_section import Section
from cdr.seal import KeyringError, parse_keyring
from routing.targets import uri_host
from routing.trunks import format_peer

__all__ = ["KEY_VARIABLE", "OVERRIDES", "ConfigError", "Setting", "Settings", "load", "settings_table"]

LONGEST_SOCKET_PATH = 107  # bytes, unix(7): sun_path holds 108 with its final NUL
OTHERS_MAY = 0o007  # permission bits that a file of keys must not have


class Override(NamedTuple):
    """An environment variable that goes before a key of the file."""

    variable: str
    section: str
    key: str


# What differs from machine to machine. Secrets never stand in the file: X700_KEY is the text of the keyring,
# X700_PASSWORDS that of the passwords, X700_VERIFICATION_SECRET what requests to the verification hook are signed with.
KEY_VARIABLE = "X700_KEY"
PASSWORDS_VARIABLE = "X700_PASSWORDS"
VERIFICATION_VARIABLE = "X700_VERIFICATION_SECRET"
OVERRIDES = (
    Override("X700_NODE_NAME", "node", "name"),
    Override("X700_DATA_DIR", "node", "data_dir"),
    Override("X700_SIP_LISTEN", "sip", "listen"),
    Override("X700_SIP_ADVERTISE", "sip", "advertise"),
    Override("X700_OPS_LISTEN", "ops", "listen"),
    Override("X700_API_LISTEN", "api", "listen"),
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
        single = [name for name in SECTIONS if name in raw and name not in ("listener", "trunk")]
        sections = {name: self._section(name, name, raw[name]) for name in single}
        listeners = self._listeners(raw.get("listener", []))
        trunks = self._trunks(raw.get("trunk"))
        wrong = {name for name, section in sections.items() if section is None}
        # what is right is checked together even where something else is wrong: a second round of mistakes is a nuisance
        settings = Settings.model_validate(
            {**{name: sections[name] for name in sections.keys() - wrong}, "listener": listeners, "trunk": trunks}
        )
        if "sip" not in wrong:
            self._check_sip(settings.sip)
        if not wrong & {"node", "ops"}:
            self._check_paths(settings)
        self._check_sources(settings)
        if not wrong & {"node", "sip"}:
            for finding in check_listeners(settings):
                self._wrong(*finding)
        if "api" not in wrong:
            for finding in check_api(settings):
                self._wrong(*finding)
        self._check_digest(settings)
        if not wrong & {"verification", "prompts", "routing"}:
            for finding in check_hooks(settings):
                self._wrong(*finding)
        keyring = passwords = ""
        if not wrong & {"node", "keys"}:
            keyring = self._keyring(settings.keys.file)
            passwords = self._passwords(settings)
        secrets = {"keyring": keyring, "passwords": passwords, "verification_secret": self._verification_secret()}
        if self._problems:
            raise ConfigError(self._problems)
        return settings.model_copy(update={name: SecretStr(secret) for name, secret in secrets.items()})

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

    def _listeners(self, raw: object) -> list[ListenerSettings]:
        """The listeners that are right by themselves."""
        if not isinstance(raw, list):
            self._wrong("", "listener", raw, "must be a list of tables; write [[listener]] above each")
            return []
        return [table for table in self._tables("listener", raw) if isinstance(table, ListenerSettings)]

    def _trunks(self, raw: object) -> list[TrunkSettings]:
        """The trunks that are right by themselves."""
        if not raw or not isinstance(raw, list):
            self._wrong("", "trunk", raw, "no call can come in or go out; write at least one [[trunk]] table")
            return []
        return [table for table in self._tables("trunk", raw) if isinstance(table, TrunkSettings)]

    def _tables(self, section: str, raw: list[object]) -> Iterator[Section | None]:
        """The tables of a list, each named in what is said of it."""
        for number, table in enumerate(raw, start=1):
            name = table.get("name") if isinstance(table, dict) else None
            shown = name if isinstance(name, str) and name and name.isprintable() else number
            yield self._section(section, f"{section}[{shown}]", table)

    def _check_sip(self, sip: Sip) -> None:
        if sip.t1_ms > sip.t2_ms:
            self._wrong("sip", "t2_ms", sip.t2_ms, f"is less than t1_ms; write {sip.t1_ms} or more")
        if 0 < sip.session_expires_seconds < sip.min_se_seconds:
            fix = f"write {sip.min_se_seconds} or more, or 0 for no timers"
            value = sip.session_expires_seconds
            self._wrong("sip", "session_expires_seconds", value, f"is less than min_se_seconds; {fix}")
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
        digest = {trunk.name for trunk in settings.trunk if trunk.digest_realm}
        for trunk in settings.trunk:
            shown = f"trunk[{trunk.name}]"
            if trunk.name in names:
                self._wrong(shown, "name", trunk.name, "is given to two trunks; write another name for one of them")
            names.add(trunk.name)
            for peer in set(trunk.peers) & own:
                self._wrong(shown, "peers", format_peer(peer), "is this node's own address; write the carrier's")
            peers = [("peers", uri_host(peer)) for peer in trunk.peers]
            for key, source in peers + [("networks", source) for source in trunk.networks]:
                owner = owners.setdefault(source, trunk.name)
                if owner != trunk.name and not (trunk.digest_realm and owner in digest):
                    text = (
                        f"belongs to trunk {owner} already; a source identifies one trunk, take it out of one of them"
                    )
                    self._wrong(shown, key, source, text)

    def _check_digest(self, settings: Settings) -> None:
        """A user of a realm identifies one trunk, and a proof of ours is none of theirs."""
        owners: dict[tuple[str, str], str] = {}
        for trunk in settings.trunk:
            shown = f"trunk[{trunk.name}]"
            if not trunk.peers and not trunk.digest_realm:
                text = 'must hold one address at least; write, for example, ["192.0.2.7:5060"]'
                self._wrong(shown, "peers", trunk.peers, text)
            elif not trunk.peers and trunk.prefixes:
                text = "is empty, so no call can be sent there; write an address, or prefixes = []"
                self._wrong(shown, "peers", trunk.peers, text)
            if bool(trunk.digest_realm) != bool(trunk.digest_users):
                key = "digest_users" if trunk.digest_realm else "digest_realm"
                text = "is empty, and digest authentication needs both realm and users; write one, or neither"
                self._wrong(shown, key, getattr(trunk, key), text)
            for user in trunk.digest_users:
                if user in ("", trunk.username):
                    text = "is our own user name, or none: who asks us could pass for the peer; write another"
                    self._wrong(shown, "digest_users", user, text)
                owner = owners.setdefault((trunk.digest_realm, user), trunk.name)
                if owner != trunk.name:
                    text = f"proves trunk {owner} already in this realm; write another name for one of them"
                    self._wrong(shown, "digest_users", user, text)

    def _verification_secret(self) -> str:
        """What proves to the verification hook that it is us who ask; '' for none."""
        secret = self._environ.get(VERIFICATION_VARIABLE, "")
        if problem := secret_problem(secret):
            self._problems.append(f"{VERIFICATION_VARIABLE} in the environment: {problem}")
        return secret

    def _passwords(self, settings: Settings) -> str:
        """The text of the passwords, where a trunk needs any: from the environment, else from the file."""
        wanted = [(trunk, user) for trunk in settings.trunk for user in (*trunk.digest_users, trunk.username) if user]
        if not wanted:
            return ""
        path = settings.keys.passwords
        source, text = f"{PASSWORDS_VARIABLE} in the environment", self._environ.get(PASSWORDS_VARIABLE)
        try:
            if text is None:
                source = str(path)
                if path.stat().st_mode & OTHERS_MAY:
                    fix = f"close it with: chmod 600 {path}"
                    self._wrong("keys", "passwords", str(path), f"is open to every user; {fix}")
                text = path.read_text(encoding="utf-8")
            secrets = parse_passwords(text)
        except OSError as error:
            fix = f"write a line for each user, mode 600, or put its text into {PASSWORDS_VARIABLE}"
            self._wrong("keys", "passwords", str(path), f"cannot be read ({error.strerror}); {fix}")
            return ""
        except (PasswordsError, UnicodeDecodeError) as error:
            self._problems.append(f"{source}: is no file of passwords ({error})")
            return ""
        for trunk, user in wanted:
            kinds = {secret.algorithm for secret in secrets.get(trunk.name, ()) if secret.user == user}
            lacking = [name for name in trunk.digest_algorithms if user in trunk.digest_users and name not in kinds]
            if not kinds:
                fix = f"write a line: {trunk.name} {user} password …"
                self._problems.append(f"{source}: has no secret of {user} for trunk {trunk.name}; {fix}")
            elif lacking and "" not in kinds:
                fix = f"write a line: {trunk.name} {user} {lacking[0]} …, or leave it out of digest_algorithms"
                self._problems.append(f"{source}: has no {lacking[0]} of {user} for trunk {trunk.name}; {fix}")
        return text

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
