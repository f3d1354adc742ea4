"""Two small companions of a benchmark, each on a core it was pinned to: ``python -m tests.bench.pace spin|time``.

``spin`` keeps a core from falling idle, since waking it costs the program under test CPU that a busy machine would not
ask for; in the scheduler's idle class it takes only what nobody else wants, and what it got tells how much that was.
``time`` does a fixed piece of work five times a second and writes what CPU it took: the speed of the core just now.
"""

import os
import sys
import time
from contextlib import suppress
from pathlib import Path

# CPU seconds of `work` when it is quiet on the machine the bars were set on: AMD EPYC 9004 at 2.6 GHz, Python 3.11.
REFERENCE_SECONDS = 0.000_445
PAUSE_SECONDS = 0.2
AUTOGROUP = "/proc/self/autogroup"

_HEAD = "\r\n".join(f"Header-{number}: value of number {number};tag=z9hG4bK{number:08x}" for number in range(20))


def work() -> int:
    """Text taken apart and put together, as a switch does it."""
    length = 0
    for _ in range(70):
        fields = {}
        for line in _HEAD.split("\r\n"):
            name, _, value = line.partition(": ")
            fields[name.lower()] = value
        length += len("\r\n".join(f"{name}: {value}" for name, value in fields.items()))
    return length


def spin(parent: int) -> None:
    """Burn what is left of the core until the parent has gone."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    # Linux may share a core out among sessions first (autogroup, sched(7)): then the class counts only inside this one,
    # which would get as much as the program under test
    with suppress(FileNotFoundError):
        Path(AUTOGROUP).write_text("19")
    while os.getppid() == parent:
        for _ in range(1_000_000):
            pass


def keep_time(parent: int) -> None:
    """Write a line for each piece of work until the parent has gone: moment and CPU seconds."""
    while os.getppid() == parent:
        began = time.thread_time()
        work()
        took = time.thread_time() - began
        sys.stdout.write(f"{time.time():.3f} {took:.9f}\n")
        sys.stdout.flush()
        time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    {"spin": spin, "time": keep_time}[sys.argv[1]](os.getppid())
