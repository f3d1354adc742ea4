"""What is shown of the scene: side by side what one party sent and the other saw, the verdict, the records."""

import re

from rich.table import Table
from rich.text import Text

from b2bua.app.cli_cdr import COLUMNS
from b2bua.app.cli_common import show_rows, stdout
from b2bua.app.demo.messages import Traced, find, value
from b2bua.app.demo.scene import Call, Outcome, Phone, X

REQUEST_FIELDS = (
    "From",
    "To",
    "P-Asserted-Identity",
    "Contact",
    "Call-ID",
    "User-Agent",
    "Subject",
    "P-Access-Network-Info",
    "o=",
    "s=",
    "c=",
    "m=",
    "a=tool",
)
ANSWER_FIELDS = ("From", "To", "P-Asserted-Identity", "Contact", "Call-ID", "Server", "o=", "s=", "c=", "m=", "a=tool")
OWN, MIDDLE, LEAK = "yellow", "green", "bold white on red"
NOTHING = "–"

Comparison = list[tuple[str, str, str]]


def compare(sent: Traced | None, seen: Traced | None, fields: tuple[str, ...]) -> Comparison:
    """(field, as one party sent it, as the other saw it); the first row is the request or status line."""
    rows = [("first line", sent.first_line if sent else "", seen.first_line if seen else "")]
    for field in fields:
        rows.append((field, value(sent, field) if sent else "", value(seen, field) if seen else ""))
    return rows


def compare_call(call: Call) -> tuple[Comparison, Comparison]:
    """The INVITE from caller to callee, and the answer from callee to caller."""
    answer = "SIP/2.0 200"
    return (
        compare(find(call.at_caller, True, "INVITE "), find(call.at_callee, False, "INVITE "), REQUEST_FIELDS),
        compare(
            find(call.at_callee, True, answer, "INVITE"), find(call.at_caller, False, answer, "INVITE"), ANSWER_FIELDS
        ),
    )


def verdict(outcome: Outcome) -> str:
    return f"digits of B at A: {outcome.digits_of_b_at_a} / digits of A at B: {outcome.digits_of_a_at_b}"


def as_object(outcome: Outcome) -> dict[str, object]:
    """The whole outcome for machines."""
    keys = ("field", "sent", "seen")
    return {
        "right": outcome.right,
        "verdict": {"digits_of_b_at_a": outcome.digits_of_b_at_a, "digits_of_a_at_b": outcome.digits_of_a_at_b},
        "messages": {"at_a": len(outcome.at(outcome.a)), "at_b": len(outcome.at(outcome.b))},
        "calls": [
            {
                "caller": call.caller.party,
                "callee": call.callee.party,
                "completed": call.completed,
                "invite": [dict(zip(keys, each, strict=True)) for each in invite],
                "answer": [dict(zip(keys, each, strict=True)) for each in answer],
            }
            for call in outcome.calls
            for invite, answer in (compare_call(call),)
        ],
        "records": [dict(record) for record in outcome.records],
    }


def show(outcome: Outcome) -> None:
    """Print it for people."""
    console = stdout()
    for call in outcome.calls:
        end = "completed" if call.completed else "FAILED"
        console.print(f"\n{call.caller.party} calls {call.callee.party} through {X}: {end}", style="bold")
        invite, answer = compare_call(call)
        console.print(_table(invite, call.caller, call.callee))
        console.print(_table(answer, call.callee, call.caller))
    console.print("\nThe records, numbers masked", style="bold")
    show_rows(outcome.records, COLUMNS, as_json=False)
    messages = f"{len(outcome.at(outcome.a))} messages at A, {len(outcome.at(outcome.b))} at B"
    console.print(f"\n{verdict(outcome)}   ({messages}, every byte SIPp traced)", style="bold")
    if outcome.right:
        console.print("Both calls were masked, and each has its record.", style="green")
    else:
        console.print("The demo FAILED: a call failed, a digit leaked, or a record is missing.", style=LEAK)


def _table(rows: Comparison, sender: Phone, receiver: Phone) -> Table:
    table = Table(header_style="bold")
    table.add_column("")
    table.add_column(f"{sender.party} sends", overflow="fold", ratio=1)
    table.add_column(f"{receiver.party} sees", overflow="fold", ratio=1)
    for field, sent, seen in rows:
        table.add_row(field, _marked(sent, sender, receiver), _marked(seen, receiver, sender))
    return table


def _marked(text: str, own: Phone, other: Phone) -> Text:
    """A party's own number is its to see; the other's would be a leak."""
    marked = Text(text or NOTHING, style="" if text else "dim")
    marked.highlight_regex(re.escape(own.digits), OWN)
    marked.highlight_regex(re.escape(X), MIDDLE)
    marked.highlight_regex(re.escape(other.digits), LEAK)
    return marked
