"""Every setting there is: a model for each table of the file, a field for each key with default, bounds and unit."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from b2bua.app.config_hooks import Prompts, Verification
from b2bua.app.config_messages import Messages
from b2bua.app.config_passwords import parse_passwords
from b2bua.app.config_policy import Policy
from b2bua.app.config_section import Section
from b2bua.app.config_values import (
    Address,
    Advertise,
    ClientCertificate,
    FarAddress,
    FarPeer,
    File,
    Listen,
    Positive,
    Rate,
    Seconds,
    Source,
    Text,
    User,
    Whole,
    parse_certificate_name,
    parse_choices,
    parse_listener_name,
    parse_node_name,
    parse_peers,
    parse_prefix,
    parse_probe_answer,
    parse_product,
    parse_realm,
    parse_retention,
    parse_trunk_name,
)
from b2bua.sip.session_expires import Preference
from cdr.retention import SHORTEST_DAYS
from cdr.seal import Seal, parse_keyring
from routing.numbers import NumberForm
from routing.trunks import Identity, Peer, Reliable, Secret, Trunk


class Node(Section):
    name: Annotated[Text, AfterValidator(parse_node_name)] = Field(
        default="x700-1", description="Name of this node, in every record and metric; unlike that of any other node."
    )
    data_dir: Path = Field(
        default=Path("/var/lib/x700"),
        description="Directory that relative paths below start from; itself relative to the working directory.",
    )


class Sip(Section):
    listen: Address = Field(
        default=Peer("127.0.0.1", 5060), description="UDP address and port to receive on; port 0 takes a free one."
    )
    advertise: Advertise = Field(
        default=None,
        examples=["192.0.2.1:5060"],
        description="Address and port written into Via and Contact, when peers reach us by another; empty: as listen.",
    )
    user_agent: Annotated[Text, AfterValidator(parse_product)] = Field(
        default="x700", description="Value of User-Agent and Server."
    )
    t1_ms: Annotated[Positive, Field(le=10_000)] = Field(
        default=500, description="T1, the estimate of a round trip (RFC 3261 17.1.1.1), in milliseconds."
    )
    t2_ms: Annotated[Positive, Field(le=60_000)] = Field(
        default=4000, description="T2, the longest interval between retransmissions, in milliseconds."
    )
    t4_ms: Annotated[Positive, Field(le=60_000)] = Field(
        default=5000, description="T4, how long a message stays in the network, in milliseconds."
    )
    no_reply_seconds: Seconds = Field(
        default=4.0,
        description="A route that has sent nothing, not even 100, is left for the next after these seconds.",
    )
    no_progress_seconds: Seconds = Field(
        default=15.0, description="A route that has sent no 18x is left for the next after these seconds."
    )
    ring_seconds: Seconds = Field(
        default=60.0, description="Longest ringing, in seconds; then CANCEL to the callee and 480 to the caller."
    )
    ring_refresh_seconds: Seconds = Field(
        default=60.0, description="While it rings long, 180 is said again to the caller after so many seconds."
    )
    longest_call_seconds: Annotated[Seconds, Field(le=43_200)] = Field(
        default=14_400.0, description="Longest call, in seconds; at most 43200."
    )
    session_expires_seconds: Annotated[Whole, Field(le=43_200)] = Field(
        default=1800,
        description="Session timer (RFC 4028) of each side of a call: within so many seconds each side is heard of, or "
        "the call is ended. 0: no timers.",
    )
    min_se_seconds: Positive = Field(
        default=90,
        description="Shortest session timer taken from a peer, in seconds; RFC 4028 wants 90 or more outside of tests.",
    )
    session_refresher: Preference = Field(
        default=Preference.EITHER,
        description="Side that is to refresh: switch, peer, or either (the callee's side chooses, the switch does it "
        "for callers); a peer's wish goes first.",
    )
    drain_seconds: Annotated[float, Field(strict=True, ge=0, le=3600)] = Field(
        default=30.0,
        description="After the first stop signal live calls may go on for these seconds, new ones get 503.",
    )
    dscp: Annotated[Whole, Field(le=63)] = Field(
        default=24, description="Differentiated services code point of signalling; 24 is CS3, 0 leaves it alone."
    )


class Limits(Section):
    max_calls: Whole = Field(default=50_000, description="Calls at one time on this node; above, 503. 0: no limit.")
    calls_per_second: Rate = Field(default=0.0, description="New calls a second on this node; above, 503. 0: no limit.")
    message_bytes: Annotated[Whole, Field(ge=1300, le=65_535)] = Field(
        default=65_535, description="Longest message accepted, in bytes."
    )
    header_fields: Annotated[Whole, Field(ge=16, le=1024)] = Field(
        default=128, description="Most header fields in one message."
    )
    header_line_bytes: Annotated[Whole, Field(ge=256, le=65_535)] = Field(
        default=8192, description="Longest header field, in bytes."
    )
    via_fields: Annotated[Whole, Field(ge=1, le=255)] = Field(default=32, description="Most Via values in one message.")
    source_messages_per_second: Rate = Field(
        default=12_000.0, description="Messages a second taken from one source address; above, dropped. 0: no limit."
    )
    source_burst: Positive = Field(
        default=6_000, description="Messages one source may send at once before the rate above counts."
    )
    digest_failures: Whole = Field(
        default=10, description="After so many wrong digest passwords a source is not answered for a time. 0: always."
    )
    digest_window_seconds: Seconds = Field(
        default=60.0, description="Wrong passwords are counted together over these seconds."
    )
    digest_ignore_seconds: Seconds = Field(
        default=300.0, description="So long a source of wrong passwords is not answered, in seconds."
    )
    connections: Positive = Field(
        default=4096, description="TCP and TLS connections at one time, both directions together; above, refused."
    )
    source_connections: Positive = Field(
        default=256, description="Connections that one source address may have open to us; above, refused."
    )
    connection_idle_seconds: Annotated[Seconds, Field(ge=64)] = Field(
        default=300.0, description="A connection on which nothing was received or sent for these seconds is closed."
    )
    message_seconds: Seconds = Field(
        default=10.0, description="A connection on which a message that has begun is not whole by then is closed."
    )
    overload_delay_ms: Annotated[Whole, Field(le=120)] = Field(
        default=100,
        description="Once messages wait longer than these milliseconds for their turn, new calls get 503: a share that "
        "grows until, at four times as long, it is all of them. 0: never.",
    )


class Routing(Section):
    store: Path = Field(default=Path("bindings.db"), description="SQLite file of blocks and bindings.")
    park_seconds: Annotated[float, Field(strict=True, ge=0, le=3600)] = Field(
        default=30.0, description="A route that did not answer is left alone for these seconds. 0: never parked."
    )
    decision_seconds: Seconds = Field(
        default=4.0, description="A call about which nothing is decided after these seconds gets 503."
    )
    inactive_block_ends_calls: Annotated[bool, Field(strict=True)] = Field(
        default=False,
        description="Freezing or returning a block ends the calls of its numbers; else those that are up, or being "
        "set up, go on to their end.",
    )


class Numbers(Section):
    quarantine_hours: Annotated[Whole, Field(le=8760)] = Field(
        default=24,
        description="After its last binding a middle number is not allocated again for so many hours. A binding that "
        "names its number may have it at once.",
    )


class Journal(Section):
    directory: Path = Field(default=Path("journal"), description="Directory of the journal's segments.")
    segment_mib: Annotated[Whole, Field(ge=1, le=4096)] = Field(
        default=64, description="Size of one segment, reserved on the disk ahead of use, in MiB."
    )
    sync_window_ms: Annotated[Whole, Field(le=10_000)] = Field(
        default=20,
        description="Lines are forced to the disk together, at most so many milliseconds after the first; 0: at once.",
    )


class Records(Section):
    directory: Path = Field(default=Path("records"), description="Directory of the record files, one a month.")
    retention_days: Annotated[Whole, AfterValidator(parse_retention)] = Field(
        default=SHORTEST_DAYS, description="Days that records are kept; rule R10 demands at least 731."
    )


class Dns(Section):
    servers: tuple[FarAddress, ...] = Field(
        default=(), description="Name servers, address and port, asked in this order; none: those of the system."
    )
    timeout_seconds: Annotated[Seconds, Field(le=60)] = Field(
        default=2.0, description="A name server that has not answered after these seconds is passed over."
    )
    shortest_seconds: Positive = Field(
        default=5, description="Answers are used at least so many seconds, whatever their TTL."
    )
    longest_seconds: Positive = Field(
        default=3600, description="Answers are asked for again after so many seconds, whatever their TTL."
    )
    longest_negative_seconds: Positive = Field(
        default=60, description="That there is no such name is asked again after so many seconds, whatever its TTL."
    )
    stale_seconds: Whole = Field(
        default=86_400,
        description="While no name server answers, the last answer is used for so many seconds after its time.",
    )


class Keys(Section):
    file: Path = Field(
        default=Path("keyring"),
        description="File of the encryption keys, made by x700 keygen; X700_KEY goes before it.",
    )
    passwords: Path = Field(
        default=Path("passwords"),
        description="File of the secrets for digest authentication, read where a trunk has digest_users or username; "
        "X700_PASSWORDS goes before it. A line is TRUNK USER password TEXT, or TRUNK USER and MD5, SHA-256 or "
        "SHA-512-256 with the hash of user:realm:password.",
    )


class Ops(Section):
    listen: Address = Field(
        default=Peer("127.0.0.1", 9700),
        description="TCP address and port of /metrics, /health and /ready; port 0 takes a free one.",
    )
    control_socket: Path = Field(
        default=Path("control.sock"), description="Unix socket that x700 calls speaks to; at most 107 bytes of path."
    )


class Api(Section):
    listen: Listen = Field(
        default=Peer("127.0.0.1", 9780),
        description="TCP address and port of the HTTP API; port 0 takes a free one, empty is no API.",
    )
    certificate: File = Field(
        default=None,
        description="Certificate of the API with its chain, PEM; empty: plain HTTP, for this machine alone.",
    )
    key: File = Field(default=None, description="Private key of the certificate, PEM, without password.")
    requests_per_second: Rate = Field(
        default=1000.0, description="Requests a second of one API key; above, 429. 0: no limit."
    )
    body_bytes: Annotated[Whole, Field(ge=4096, le=67_108_864)] = Field(
        default=1_048_576, description="Longest body of a request, in bytes; above, 413."
    )
    import_mib: Annotated[Whole, Field(ge=1, le=65_536)] = Field(
        default=1024, description="Longest body of a bulk import, in MiB; it waits sealed in the data directory."
    )
    signature_required: Annotated[bool, Field(strict=True)] = Field(
        default=False, description="Take signed requests alone; a key that is shown as it is gets 401."
    )
    replay_seconds: Annotated[Seconds, Field(le=3600)] = Field(
        default=300.0, description="A signed request is taken once, and so many seconds from its time, before or after."
    )
    webhook_seconds: Annotated[Seconds, Field(le=60)] = Field(
        default=10.0, description="A webhook that has not answered after these seconds is tried again later."
    )
    webhook_parallel: Annotated[Positive, Field(le=256)] = Field(
        default=8, description="Requests at one time to one webhook that answers; to one that fails there is one."
    )
    webhook_private: Annotated[bool, Field(strict=True)] = Field(
        default=False,
        description="Let providers point webhooks at this host and at private addresses; operators may always.",
    )


class Log(Section):
    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least level written.")
    format: Literal["json", "console"] = Field(
        default="json", description="json: one object a line, for machines; console: coloured text, for people."
    )


class ListenerSettings(Section):
    name: Annotated[Text, AfterValidator(parse_listener_name)] = Field(
        examples=["tcp"], description="Name of the listener, in logs."
    )
    transport: Literal["udp", "tcp", "tls"] = Field(examples=["tcp"], description="Transport: udp, tcp or tls.")
    listen: Address = Field(
        examples=["192.0.2.1:5060"],
        description="Address and port to receive on, IPv4 or [IPv6]; port 0 takes a free one.",
    )
    advertise: Advertise = Field(
        default=None,
        examples=["192.0.2.1:5060"],
        description="Address and port that peers of this listener are told, when they reach us by another; empty: as "
        "its listen.",
    )
    certificate: File = Field(
        default=None, examples=["tls.crt"], description="Certificate of this node with its chain, PEM. For tls."
    )
    key: File = Field(
        default=None,
        examples=["tls.key"],
        description="Private key of the certificate, PEM, without password. For tls.",
    )
    ca: File = Field(
        default=None,
        description="Certificates that sign those of the carriers, PEM; empty: those of the system. For tls.",
    )
    client_certificate: ClientCertificate = Field(
        default=ClientCertificate.OPTIONAL,
        description="Whether those who connect have to show a certificate signed by ca: none, optional or required. "
        "For tls.",
    )


class TrunkSettings(Section):
    name: Annotated[Text, AfterValidator(parse_trunk_name)] = Field(
        examples=["carrier-a"], description="Name of the trunk, in records, metrics and logs."
    )
    peers: Annotated[tuple[FarPeer, ...], AfterValidator(parse_peers)] = Field(
        examples=[("192.0.2.7:5060",)],
        description="The carrier: where calls are sent, in this order, and come from. Each an address and port, a host "
        "name and port, or a domain whose NAPTR and SRV records say the rest (RFC 3263).",
    )
    networks: tuple[Source, ...] = Field(
        default=(), description="Further sources of its requests: hosts, host:port, or networks such as 192.0.2.0/24."
    )
    transport: Literal["udp", "tcp", "tls", "auto"] = Field(
        default="udp",
        description="Transport to the peers: udp, tcp or tls; needs a listener of the same transport. auto: whichever "
        "NAPTR and SRV records offer and a listener has, udp for a peer without such records.",
    )
    large_over_tcp: Annotated[bool, Field(strict=True)] = Field(
        default=False,
        description="Send requests above 1300 bytes over TCP to the same port, as RFC 3261 18.1.1 wants; over UDP when "
        "the peer refuses. For transport udp; needs a tcp listener.",
    )
    certificate_names: tuple[Annotated[Text, AfterValidator(parse_certificate_name)], ...] = Field(
        default=(),
        description="DNS names or URIs of the carrier's TLS certificate. With any, its messages are known by "
        "certificate and no longer by address.",
    )
    identity: Identity = Field(
        default=Identity.PAI,
        description="Where the caller's number is trusted: pai (P-Asserted-Identity, RFC 3325) or from (From).",
    )
    number_form: NumberForm = Field(
        default=NumberForm.NATIONAL, description="Form of the numbers we send: national, +86 or 86."
    )
    accept_zero: Annotated[bool, Field(strict=True)] = Field(
        default=False, description="Accept middle numbers dialled with a trunk zero, 0700 and twelve digits."
    )
    send_identity: Annotated[bool, Field(strict=True)] = Field(
        default=True, description="Send P-Asserted-Identity with the middle number."
    )
    reliable: Reliable = Field(
        default=Reliable.SUPPORTED,
        description="Reliable provisional answers (RFC 3262) asked of the trunk: off, supported or required.",
    )
    session_timers: Annotated[bool, Field(strict=True)] = Field(
        default=True, description="Keep session timers (sip.session_expires_seconds) on this trunk's side of a call."
    )
    prefixes: tuple[Annotated[Text, AfterValidator(parse_prefix)], ...] = Field(
        default=("",),
        description="National digits that callees served here begin with; an empty one serves all, an empty list none.",
    )
    priority: Annotated[Whole, Field(le=65_535)] = Field(
        default=10, description="Order among trunks with an equally long prefix; the lower goes first."
    )
    weight: Annotated[Whole, Field(le=65_535)] = Field(
        default=100,
        description="Share of the calls among trunks of the same priority; 0: only when the others are down.",
    )
    max_calls: Whole = Field(
        default=0, description="Legs at one time, both directions together; above, 503. 0: no limit."
    )
    calls_per_second: Rate = Field(
        default=0.0, description="New calls a second, each direction by itself; above, 503. 0: no limit."
    )
    probe_seconds: Annotated[float, Field(strict=True, ge=0, le=3600)] = Field(
        default=30.0,
        description="OPTIONS asks each target so often, in seconds, whether it is there: it is left alone after three "
        "misses, and used again after two good answers. 0: never asked.",
    )
    probe_failing: tuple[Annotated[Text, AfterValidator(parse_probe_answer)], ...] = Field(
        default=("408", "503"),
        description="Answers to it that count as a miss, as no answer does: statuses, or classes such as 5xx.",
    )

    digest_realm: Annotated[Text, AfterValidator(parse_realm)] = Field(
        default="",
        examples=["sip.example.net"],
        description="Realm of the digest authentication (RFC 7616) that requests of this trunk must pass, wherever "
        "they come from; then several trunks may share networks, and peers may be empty. Empty: none is asked.",
    )
    digest_users: Annotated[tuple[User, ...], AfterValidator(parse_choices)] = Field(
        default=(), description="User names that prove this trunk; the secrets stand in keys.passwords."
    )
    digest_algorithms: Annotated[
        tuple[Literal["MD5", "SHA-256", "SHA-512-256"], ...], Field(min_length=1), AfterValidator(parse_choices)
    ] = Field(
        default=("SHA-256", "MD5"),
        description="Algorithms offered, the preferred one first (RFC 8760): MD5, SHA-256, SHA-512-256.",
    )
    digest_qop: Annotated[tuple[Literal["auth", "auth-int"], ...], AfterValidator(parse_choices)] = Field(
        default=("auth",),
        description="Qualities of protection offered: auth, auth-int (the body is proved too); an empty list for peers "
        "that know RFC 2069 alone.",
    )
    digest_nonce_seconds: Annotated[Seconds, Field(le=86_400)] = Field(
        default=300.0, description="A challenge may be answered for these seconds; afterwards a fresh one is sent."
    )
    username: User = Field(
        default="",
        description="Our user name where this trunk asks for digest authentication; the secret stands in "
        "keys.passwords. Empty: we have none.",
    )

    def trunk(self, secrets: tuple[Secret, ...] = ()) -> Trunk:
        return Trunk(**{name: getattr(self, name) for name in type(self).model_fields}, secrets=secrets)


class Settings(Section):
    """All settings. `keyring` and `passwords` are the texts of those files and stand in no settings file, as
    `verification_secret` does not. Paths are absolute."""

    node: Node = Node()
    sip: Sip = Sip()
    limits: Limits = Limits()
    routing: Routing = Routing()
    numbers: Numbers = Numbers()
    journal: Journal = Journal()
    records: Records = Records()
    keys: Keys = Keys()
    ops: Ops = Ops()
    api: Api = Api()
    log: Log = Log()
    dns: Dns = Dns()
    policy: Policy = Policy()
    verification: Verification = Verification()
    prompts: Prompts = Prompts()
    messages: Messages = Messages()
    listener: tuple[ListenerSettings, ...] = ()
    trunk: tuple[TrunkSettings, ...] = ()
    keyring: SecretStr = SecretStr("")
    passwords: SecretStr = SecretStr("")
    verification_secret: SecretStr = SecretStr("")

    @model_validator(mode="after")
    def _resolve_paths(self) -> Self:
        base = self.node.data_dir.absolute()
        for section, key in PATHS:
            old: Section = getattr(self, section)
            path = base if key == "data_dir" else base / getattr(old, key)
            # the object is still being made: this is the only moment a frozen one may be completed
            self.__dict__[section] = old.model_copy(update={key: path})
        if (ca := self.verification.ca) is not None:
            self.__dict__["verification"] = self.verification.model_copy(update={"ca": base / ca})
        files = {key: base / file for key in ("certificate", "key") if (file := getattr(self.api, key))}
        self.__dict__["api"] = self.api.model_copy(update=files)
        self.__dict__["listener"] = tuple(
            listener.model_copy(
                update={key: base / file for key in ("certificate", "key", "ca") if (file := getattr(listener, key))}
            )
            for listener in self.listener
        )
        return self

    @property
    def trunks(self) -> tuple[Trunk, ...]:
        secrets = parse_passwords(self.passwords.get_secret_value())
        return tuple(trunk.trunk(secrets.get(trunk.name, ())) for trunk in self.trunk)

    def seal(self) -> Seal:
        """What seals, opens and hashes numbers with the keyring. KeyringError without one."""
        return Seal(parse_keyring(self.keyring.get_secret_value()))


PATHS = (
    ("node", "data_dir"),
    ("routing", "store"),
    ("journal", "directory"),
    ("records", "directory"),
    ("keys", "file"),
    ("keys", "passwords"),
    ("ops", "control_socket"),
)
SECTIONS: Mapping[str, type[Section]] = {
    "node": Node,
    "sip": Sip,
    "limits": Limits,
    "routing": Routing,
    "numbers": Numbers,
    "journal": Journal,
    "records": Records,
    "keys": Keys,
    "ops": Ops,
    "api": Api,
    "log": Log,
    "dns": Dns,
    "policy": Policy,
    "verification": Verification,
    "prompts": Prompts,
    "messages": Messages,
    "listener": ListenerSettings,
    "trunk": TrunkSettings,
}
