"""Lists come in pages."""

from routing.errors import BindingError

__all__ = ["LONGEST_PAGE", "check_page"]

# Rows a list may return at once: bounds the memory and the time of one answer.
LONGEST_PAGE = 1000


def check_page(limit: int) -> None:
    """BindingError unless so many rows may be asked for."""
    if not 1 <= limit <= LONGEST_PAGE:
        raise BindingError("limit", "form", f"must be from 1 to {LONGEST_PAGE}")
