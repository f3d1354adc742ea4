"""The journal's forced writes, in a thread of their own: one for all lines of a window, none when nothing was
written."""

import threading
import time

from cdr.store.segments import Writer

__all__ = ["Syncer"]

# The writer wants to be asked about once a second even when nothing is written, to notice a disk that is back.
IDLE_SECONDS = 1.0
# Without a line for so long, the thread waits to be woken. Under traffic it looks for itself once a window: waking a
# thread costs the switch more than this thread's own clock does.
QUIET_SECONDS = 0.5


class Syncer:
    """Calls ``journal.sync`` at most ``journal.sync_window_ms`` after the first line that was not yet forced to
    disk."""

    def __init__(self, journal: Writer) -> None:
        self._journal = journal
        self._window = max(journal.sync_window_ms, 1) / 1000  # with 0 the journal itself syncs, and this finds it done
        self._dirty = False
        self._asleep = False
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="journal-sync", daemon=True)
        self._thread.start()

    def wrote(self) -> None:
        """Lines were appended. Costs next to nothing."""
        self._dirty = True
        if self._asleep:
            self._wake.set()

    def close(self) -> None:
        """Stop; what is left the journal's own ``close`` forces to disk."""
        self._stopping = True
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        quiet = QUIET_SECONDS
        while not self._stopping:
            if quiet >= QUIET_SECONDS:
                self._sleep()
            time.sleep(self._window)
            if self._dirty:
                quiet = 0.0
                self._dirty = False
                self._journal.sync()
            else:
                quiet += self._window

    def _sleep(self) -> None:
        """Until there is something to do. Who sets ``_dirty`` afterwards sees ``_asleep``, and who set it before is
        seen here."""
        self._asleep = True
        while not self._dirty and not self._stopping:
            if not self._wake.wait(IDLE_SECONDS):
                self._journal.sync()
            self._wake.clear()
        self._asleep = False
