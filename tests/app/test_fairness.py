"""Sources are served in turn, and a flood fills its own queue only."""

from hypothesis import given
from hypothesis import strategies as st

from b2bua.app.fairness import LONGEST_QUEUE, MOST_MESSAGES, FairQueue
from b2bua.sip.transaction import Flow


def flow(host: str, port: int = 5060) -> Flow:
    return Flow("UDP", "udp", (host, port))


def taken(queue: FairQueue) -> list[tuple[str, bytes]]:
    order = []
    while (message := queue.take()) is not None:
        order.append((message[1].peer[0], message[0]))
    return order


def test_a_single_message_waits_for_no_turn_behind_a_flood() -> None:
    queue = FairQueue()
    for number in range(100):
        queue.put(b"flood %d" % number, flow("127.0.0.2", 1024 + number))
    queue.put(b"call", flow("127.0.0.1"))
    assert [host for host, _ in taken(queue)][:3] == ["127.0.0.2", "127.0.0.1", "127.0.0.2"]


def test_a_flood_is_dropped_in_its_own_queue() -> None:
    queue = FairQueue()
    for _ in range(LONGEST_QUEUE + 7):
        queue.put(b"INVITE sip:flood", flow("127.0.0.2"))
    queue.put(b"call", flow("127.0.0.1"))
    assert queue.dropped == 7
    assert len(queue) == LONGEST_QUEUE + 1
    assert ("127.0.0.1", b"call") in taken(queue)


def test_what_ends_a_call_has_room_where_invites_have_none() -> None:
    queue = FairQueue()
    for _ in range(LONGEST_QUEUE + 1):
        queue.put(b"INVITE sip:flood", flow("127.0.0.2"))
    for word in (b"BYE sip:x", b"ACK sip:x", b"CANCEL sip:x", b"SIP/2.0 200 OK"):
        queue.put(word, flow("127.0.0.2"))
    assert queue.dropped == 1
    assert len(queue) == LONGEST_QUEUE + 4
    for _ in range(LONGEST_QUEUE):
        queue.put(b"BYE sip:x", flow("127.0.0.2"))
    assert len(queue) == 2 * LONGEST_QUEUE
    assert queue.dropped == 5


def test_it_tells_when_a_message_was_put() -> None:
    queue = FairQueue()
    queue.put(b"first", flow("127.0.0.1"), 5.0)
    queue.put(b"second", flow("127.0.0.1"), 7.5)
    queue.take()
    assert queue.taken_at == 5.0
    queue.take()
    assert queue.taken_at == 7.5


def test_many_sources_together_stay_within_bounds() -> None:
    queue = FairQueue()
    for number in range(MOST_MESSAGES + 5):
        queue.put(b"flood", flow(f"10.0.{number // 256}.{number % 256}"))
    assert len(queue) == MOST_MESSAGES
    assert queue.dropped == 5
    assert len(taken(queue)) == MOST_MESSAGES
    assert len(queue) == 0


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=60))
def test_order_is_kept_within_a_source_and_nothing_is_lost(steps: list[tuple[str, bool]]) -> None:
    queue = FairQueue()
    put: dict[str, list[bytes]] = {}
    got: dict[str, list[bytes]] = {}

    def take() -> None:
        message = queue.take()
        if message is not None:
            got.setdefault(message[1].peer[0], []).append(message[0])

    for number, (host, also_take) in enumerate(steps):
        queue.put(str(number).encode(), flow(host))
        put.setdefault(host, []).append(str(number).encode())
        if also_take:
            take()
    while len(queue):
        take()
    assert got == put
    assert queue.take() is None
