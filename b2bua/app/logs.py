"""Logs on standard error, one JSON object a line or coloured text, with every long number masked on its way out."""

import logging
import sys
from typing import Literal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from routing.numbers import mask_text


def configure(level: str, form: Literal["json", "console"]) -> None:
    """Set up structlog, and the standard library's logging behind it, for this process."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: list[Processor] = (
        [structlog.processors.format_exc_info, _mask_fields, structlog.processors.JSONRenderer(ensure_ascii=False)]
        if form == "json"
        else [_mask_fields, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    # at debug it writes each statement with its values, which is neither ours to read nor to keep
    logging.getLogger("aiosqlite").setLevel(logging.WARNING)
    # it writes every address it sends to, and those of webhooks are their owners' secret
    logging.getLogger("httpx").setLevel(logging.WARNING)
    logging.getLogger("httpcore").setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _mask_fields(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    return {key: mask_text(value) if isinstance(value, str) else value for key, value in event.items()}
