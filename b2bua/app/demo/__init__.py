"""`x700 demo`: a masked call in both directions on this machine, and the proof of what each party saw."""

import shutil
import tempfile
from pathlib import Path

from b2bua.app.cli_common import Exit, complain, show_json
from b2bua.app.demo.report import as_object, show
from b2bua.app.demo.scene import DemoError, play

__all__ = ["run_demo"]


def run_demo(keep: bool, as_json: bool) -> Exit:
    """Play the scene in a directory of its own and report; FAILED when a call failed or a digit leaked."""
    if shutil.which("sipp") is None:
        complain("the demo calls with SIPp, which is not installed; on Debian: apt-get install sip-tester")
        return Exit.FAILED
    directory = Path(tempfile.mkdtemp(prefix="x700-demo-"))
    try:
        outcome = play(directory, complain)
    except DemoError as error:
        complain(str(error))
        return Exit.FAILED
    finally:
        if keep:
            complain(f"kept: {directory}")
        else:
            shutil.rmtree(directory, ignore_errors=True)
    if as_json:
        show_json(as_object(outcome))
    else:
        show(outcome)
    return Exit.DONE if outcome.right else Exit.FAILED
