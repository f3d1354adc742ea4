"""Who is served next when more has arrived than can be handled: every source in turn.

A flood from one source then waits in that source's own queue, and is dropped there when it is full, while the messages
of the others are handled as if the flood were not there.
"""

from collections import deque

from b2bua.sip.transaction import Flow

__all__ = ["FairQueue"]

# Messages kept for one source: more than wait while new calls are turned away for having waited (admission.py).
LONGEST_QUEUE = 4096
# Messages kept in all, so that many sources together cannot take the memory.
MOST_MESSAGES = 16_384


class FairQueue:
    """Messages by source host, taken round robin. ``dropped`` counts what found its queue full.

    INVITEs are dropped first: there is as much room again for what ends or confirms a call.
    """

    def __init__(self) -> None:
        self._queues: dict[str, deque[tuple[bytes, Flow, float]]] = {}  # in the order of their turns
        self._size = 0
        self.dropped = 0
        self.taken_at = 0.0  # when the message last taken was put

    def __len__(self) -> int:
        """How many messages wait."""
        return self._size

    def put(self, data: bytes, flow: Flow, now: float = 0.0) -> None:
        """Add a message to its source's queue. ``now``: monotonic seconds."""
        host = flow.peer[0]
        queue = self._queues.get(host)
        if queue is None:
            queue = self._queues[host] = deque()
        room = LONGEST_QUEUE if data.startswith(b"INVITE ") else 2 * LONGEST_QUEUE
        if len(queue) >= room or self._size >= MOST_MESSAGES:
            self.dropped += 1
            if not queue:
                del self._queues[host]
            return
        queue.append((data, flow, now))
        self._size += 1

    def take(self) -> tuple[bytes, Flow] | None:
        """The oldest message of the source whose turn it is."""
        if not self._size:
            return None
        host = next(iter(self._queues))
        queue = self._queues.pop(host)
        data, flow, self.taken_at = queue.popleft()
        self._size -= 1
        if queue:
            self._queues[host] = queue  # to the end of the line
        return data, flow
