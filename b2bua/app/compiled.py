"""Compile the hot packages with mypyc, in place: the same source, less CPU.

``python -m b2bua.app.compiled build|clean``. Extension modules lie beside the sources and go before them when Python
imports; ``clean`` removes them again. What the tests patch or measure line by line they need as source, so the test
targets clean first. Needs gcc and Python's headers.
"""

import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path

__all__ = ["build", "clean", "stale"]

ROOT = Path(__file__).parents[2]
# everything a call passes through that is plain typed code; structs of msgspec are not
PACKAGES = ("b2bua/sip", "b2bua/call")
MODULES = (
    "b2bua/app/fairness.py",
    "b2bua/app/shell.py",
    "b2bua/app/tokens.py",
    "b2bua/app/udp.py",
    "cdr/journal.py",
    "cdr/seal.py",
    "cdr/store/segments.py",
    "routing/binding.py",
    "routing/decide.py",
    "routing/errors.py",
    "routing/numbers.py",
    "routing/plan.py",
    "routing/targets.py",
    "routing/terms.py",
    "routing/blocklist.py",
    "routing/caps.py",
    "routing/counters.py",
    "routing/last_callers.py",
    "routing/policy.py",
    "routing/reason.py",
    "routing/windows.py",
    "routing/store/reader.py",
    "routing/trunks.py",
)
SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")
LIBRARIES = Path(sysconfig.get_path("platlib"))  # the part that all modules share is found from anywhere here
GROUP = "x700"
SHARED = f"{GROUP}__mypyc{SUFFIX}"


def sources() -> list[str]:
    """The modules to compile, relative to the root."""
    files = [path for package in PACKAGES for path in sorted((ROOT / package).glob("*.py"))]
    return [str(path.relative_to(ROOT)) for path in files if path.name != "__init__.py"] + list(MODULES)


def stale() -> list[str]:
    """Sources that have changed since they were compiled: what runs is not what stands there."""
    changed = []
    for source in sources():
        path = ROOT / source
        made = path.with_suffix(SUFFIX)
        if made.exists() and made.stat().st_mtime < path.stat().st_mtime:
            changed.append(source)
    return changed


def clean() -> None:
    """Remove what ``build`` made."""
    for source in sources():
        (ROOT / source).with_suffix(SUFFIX).unlink(missing_ok=True)
    (LIBRARIES / SHARED).unlink(missing_ok=True)


def build() -> None:
    """Compile in place. Raises what mypyc and the C compiler have to say when they cannot."""
    from mypyc.build import mypycify
    from setuptools import Distribution
    from setuptools.command.build_ext import build_ext

    clean()
    with tempfile.TemporaryDirectory() as work:
        extensions = mypycify(["--strict", *sources()], opt_level="3", target_dir=work, group_name=GROUP)
        command = build_ext(Distribution({"name": "x700", "ext_modules": extensions}))
        command.build_temp = command.build_lib = work
        command.ensure_finalized()
        command.run()
        for made in Path(work).rglob(f"*{SUFFIX}"):
            place = LIBRARIES if made.name == SHARED else ROOT / made.parent.relative_to(work)
            shutil.move(made, place / made.name)


if __name__ == "__main__":
    {"build": build, "clean": clean}[sys.argv[1]]()
