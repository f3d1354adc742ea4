"""The journal's forced writes, in a thread of their own: one for all lines of a window, none when nothing was
written."""

import threading
import time

from cdr.store.segments import Writer

__all__ = ["Syncer"]

# The writer wants to be asked about once a second even when nothing is written, to notice a disk that is back.
IDLE_SECONDS = 1.0


class Syncer:
    """Calls ``journal.sync`` at most ``journal.sync_window_ms`` after the first line that was not yet forced to
    disk."""

    def __init__(self, journal: Writer) -> None:
        self._journal = journal
        self._window = journal.sync_window_ms / 1000
        self._wanted = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="journal-sync", daemon=True)
        self._thread.start()

    def wrote(self) -> None:
        """Lines were appended. Costs next to nothing."""
        if not self._wanted.is_set():
            self._wanted.set()

    def close(self) -> None:
        """Stop; what is left the journal's own ``close`` forces to disk."""
        self._stopping = True
        self._wanted.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping:
            if self._wanted.wait(IDLE_SECONDS) and not self._stopping:
                time.sleep(self._window)
                self._wanted.clear()
            self._journal.sync()
