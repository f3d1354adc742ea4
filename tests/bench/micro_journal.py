"""What a call's three events cost the switch process: `python -m tests.bench.micro_journal`.

Says the least of several rounds in microseconds of CPU, since the least is what the code costs and the rest is the
machine's. The last lines show what a sync in another thread does to the appends meanwhile, by the clock, on the disk
of the directory given (default: that of temporary files).
"""

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from cdr.journal import decode_event, encode_event, frame, scan
from cdr.record import Event
from cdr.recorder import Assembler
from cdr.store.segments import Writer
from tests.cdr.story import answered, attempted, ended, new_seal

ROUNDS = 7
EVENTS: tuple[Event, ...] = (attempted("019a9f3c2a7b41d6"), answered("019a9f3c2a7b41d6"), ended("019a9f3c2a7b41d6"))
BARS = {"Attempted": 12.0, "Answered": 3.0, "Ended": 3.0}


def say(text: str) -> None:
    """A line of the result."""
    sys.stdout.write(text + "\n")


def least(work: Callable[[], object], times: int) -> float:
    """CPU microseconds of one `work`."""
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.process_time_ns()
        for _ in range(times):
            work()
        best = min(best, (time.process_time_ns() - started) / times / 1000)
    return best


def encoding(times: int) -> float:
    """Say what each event costs; the sum."""
    seal = new_seal()
    total = 0.0
    for event in EVENTS:
        name = type(event).__name__
        spent = least(lambda event=event: frame(encode_event(event, seal)), times)  # type: ignore[misc]
        total += spent
        size = len(frame(encode_event(event, seal)))
        say(f"encode and frame {name:10} {spent:6.2f} µs  (bar {BARS[name]:.0f})  {size} bytes")
    return total


def appending(directory: Path, times: int) -> float:
    """Say what an append costs; that of three."""
    seal = new_seal()
    lines = [frame(encode_event(event, seal)) for event in EVENTS]
    writer = Writer(directory, sync_window_ms=1000)
    spent = least(lambda: [writer.append([line]) for line in lines], times)
    together = least(lambda: writer.append(lines), times)
    say(f"append             {spent / 3:6.2f} µs a line alone, {together / 3:.2f} µs a line of three together")
    writer.close()
    return spent


def reading(times: int) -> None:
    """Say what the recorder spends before the store."""
    seal = new_seal()
    calls = [(attempted(f"r-{n:08d}"), answered(f"r-{n:08d}"), ended(f"r-{n:08d}")) for n in range(times)]
    data = b"".join(frame(encode_event(event, seal)) for call in calls for event in call)

    def work() -> None:
        assembler = Assembler()
        for payload in scan(data).payloads:
            assembler.feed(decode_event(payload))
        assembler.changes()

    say(f"recorder           {least(work, 1) / times:6.2f} µs a call: scan, decode, assemble")


def syncing(directory: Path, window_ms: int, seconds: float) -> None:
    """Say how long appends take, by the clock, at 7,500 a second while another thread syncs."""
    seal = new_seal()
    lines = [frame(encode_event(event, seal)) for event in EVENTS]
    writer = Writer(directory, sync_window_ms=window_ms)
    done = threading.Event()

    def sync() -> None:
        while not done.wait(window_ms / 1000):
            writer.sync()

    thread = threading.Thread(target=sync)
    thread.start()
    waits: list[int] = []
    started = time.monotonic()
    number = 0
    while (now := time.monotonic()) - started < seconds:
        while number < (now - started) * 7500:
            before = time.perf_counter_ns()
            writer.append([lines[number % 3]])
            waits.append(time.perf_counter_ns() - before)
            number += 1
        time.sleep(0.001)
    done.set()
    thread.join()
    waits.sort()
    p50, p99, p999 = (waits[int(len(waits) * part)] / 1000 for part in (0.5, 0.99, 0.999))
    stats = writer.stats
    say(
        f"append beside a sync every {window_ms} ms: p50 {p50:.1f}, p99 {p99:.1f}, p99.9 {p999:.1f}, "
        f"most {waits[-1] / 1000:.0f} µs; {stats.syncs} syncs took {stats.sync_seconds * 1000:.1f} ms together"
    )
    writer.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, help="where to put the journal; its disk is what is measured")
    parser.add_argument("--times", type=int, default=20_000, help="events in a round")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of the run beside a sync")
    options = parser.parse_args()
    total = encoding(options.times)
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        total += appending(Path(directory) / "append", options.times)
        say(f"a call             {total:6.2f} µs of CPU in the switch for its three events")
        reading(2000)
        for window_ms in (10, 100):
            syncing(Path(directory) / f"sync-{window_ms}", window_ms, options.seconds)


if __name__ == "__main__":
    main()
