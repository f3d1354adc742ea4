"""`x700 trunks`: the state of every target of every trunk of the switch that runs here."""

from b2bua.app.cli_common import DEFAULT_CONFIG, Config, Json, Row, settings_of, show_rows
from b2bua.app.control import NoSwitch, ask
from b2bua.call.trunk_state import TargetView

# what a table on a terminal has room for; --json has the rest
COLUMNS = ("trunk", "target", "state", "parked_seconds", "probe_answer", "probe_ms", "probes_failed")


def trunks(config: Config = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """List where each trunk's calls go, and whether each place is up, down, parked or without an address (dns)."""
    path = settings_of(config).ops.control_socket
    targets = ask(path, command="trunks").get("trunks")
    if not isinstance(targets, list):
        raise NoSwitch(f"what answers on {path} knows no trunks")
    rows: list[Row] = [dict.fromkeys(TargetView._fields) | target for target in targets]
    show_rows(rows, COLUMNS, as_json)
