"""What passes from one leg to the other while the call is up: an event here is one method there."""

from b2bua.call.events import (
    Acked,
    Cancelled,
    Info,
    InfoAnswered,
    LegEvent,
    Moved,
    Pracked,
    Unchanged,
    UpdateAnswered,
    Updated,
    UpdateRefused,
)
from b2bua.call.timed import TimedLeg

__all__ = ["cross"]


def cross(event: LegEvent, to: TimedLeg) -> None:
    """Hand an event to the other leg; what has no line here does not cross."""
    match event:
        case Acked(sdp):
            to.acknowledge(sdp)
        case Pracked(sdp):
            to.answer_early(sdp)
        case Updated():
            to.update(event.sdp, event.at_once, event.refresh)
        case Unchanged():
            to.answer_unchanged()
        case Moved(sdp):
            to.tell(sdp)
        case UpdateAnswered(sdp):
            to.answer_update(sdp)
        case UpdateRefused(status):
            to.refuse_update(status)
        case Cancelled():
            to.cancel_update()
        case Info():
            to.send_info(event)
        case InfoAnswered(number, status):
            to.answer_info(number, status)
