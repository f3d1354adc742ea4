"""Every setting there is: a model for each table of the file, a field for each key with default, bounds and unit."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from b2bua.app.config_values import (
    Address,
    Advertise,
    FarAddress,
    Positive,
    Rate,
    Seconds,
    Source,
    Text,
    Whole,
    parse_node_name,
    parse_peers,
    parse_prefix,
    parse_product,
    parse_retention,
    parse_trunk_name,
)
from cdr.retention import SHORTEST_DAYS
from cdr.seal import Seal, parse_keyring
from routing.numbers import NumberForm
from routing.trunks import Identity, Peer, Trunk


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


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
    longest_call_seconds: Annotated[Seconds, Field(le=43_200)] = Field(
        default=14_400.0, description="Longest call, in seconds; at most 43200."
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


class Routing(Section):
    store: Path = Field(default=Path("bindings.db"), description="SQLite file of blocks and bindings.")
    park_seconds: Annotated[float, Field(strict=True, ge=0, le=3600)] = Field(
        default=30.0, description="A route that did not answer is left alone for these seconds. 0: never parked."
    )


class Journal(Section):
    directory: Path = Field(default=Path("journal"), description="Directory of the journal's segments.")
    segment_mib: Annotated[Whole, Field(ge=1, le=4096)] = Field(
        default=64, description="Size of one segment, reserved on the disk ahead of use, in MiB."
    )
    sync_window_ms: Annotated[Whole, Field(le=10_000)] = Field(
        default=10,
        description="Lines are forced to the disk together, at most so many milliseconds after the first; 0: at once.",
    )


class Records(Section):
    directory: Path = Field(default=Path("records"), description="Directory of the record files, one a month.")
    retention_days: Annotated[Whole, AfterValidator(parse_retention)] = Field(
        default=SHORTEST_DAYS, description="Days that records are kept; rule R10 demands at least 731."
    )


class Keys(Section):
    file: Path = Field(
        default=Path("keyring"),
        description="File of the encryption keys, made by x700 keygen; X700_KEY goes before it.",
    )


class Ops(Section):
    listen: Address = Field(
        default=Peer("127.0.0.1", 9700),
        description="TCP address and port of /metrics, /health and /ready; port 0 takes a free one.",
    )
    control_socket: Path = Field(
        default=Path("control.sock"), description="Unix socket that x700 calls speaks to; at most 107 bytes of path."
    )


class Log(Section):
    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least level written.")
    format: Literal["json", "console"] = Field(
        default="json", description="json: one object a line, for machines; console: coloured text, for people."
    )


class TrunkSettings(Section):
    name: Annotated[Text, AfterValidator(parse_trunk_name)] = Field(
        examples=["carrier-a"], description="Name of the trunk, in records, metrics and logs."
    )
    peers: Annotated[tuple[FarAddress, ...], AfterValidator(parse_peers)] = Field(
        examples=[("192.0.2.7:5060",)],
        description="Addresses and ports of the carrier: where calls are sent, in this order, and come from.",
    )
    networks: tuple[Source, ...] = Field(
        default=(), description="Further sources of its requests: hosts, host:port, or networks such as 192.0.2.0/24."
    )
    transport: Literal["udp"] = Field(default="udp", description="Transport to the peers.")
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

    def trunk(self) -> Trunk:
        return Trunk(**{name: getattr(self, name) for name in type(self).model_fields})


class Settings(Section):
    """All settings. `keyring` is the text of the keys and stands in no settings file. Paths are absolute."""

    node: Node = Node()
    sip: Sip = Sip()
    limits: Limits = Limits()
    routing: Routing = Routing()
    journal: Journal = Journal()
    records: Records = Records()
    keys: Keys = Keys()
    ops: Ops = Ops()
    log: Log = Log()
    trunk: tuple[TrunkSettings, ...] = ()
    keyring: SecretStr = SecretStr("")

    @model_validator(mode="after")
    def _resolve_paths(self) -> Self:
        base = self.node.data_dir.absolute()
        for section, key in PATHS:
            old: Section = getattr(self, section)
            path = base if key == "data_dir" else base / getattr(old, key)
            # the object is still being made: this is the only moment a frozen one may be completed
            self.__dict__[section] = old.model_copy(update={key: path})
        return self

    @property
    def trunks(self) -> tuple[Trunk, ...]:
        return tuple(trunk.trunk() for trunk in self.trunk)

    def seal(self) -> Seal:
        """What seals, opens and hashes numbers with the keyring. KeyringError without one."""
        return Seal(parse_keyring(self.keyring.get_secret_value()))


PATHS = (
    ("node", "data_dir"),
    ("routing", "store"),
    ("journal", "directory"),
    ("records", "directory"),
    ("keys", "file"),
    ("ops", "control_socket"),
)
SECTIONS: Mapping[str, type[Section]] = {
    "node": Node,
    "sip": Sip,
    "limits": Limits,
    "routing": Routing,
    "journal": Journal,
    "records": Records,
    "keys": Keys,
    "ops": Ops,
    "log": Log,
    "trunk": TrunkSettings,
}
