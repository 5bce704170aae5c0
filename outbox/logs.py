"""Logs go to stderr: a wide line per event, text on a terminal, else JSON. No personal data."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from structlog.typing import Processor


def configure_logs(level: int = logging.INFO, *, form: str = "auto") -> None:
    """Set the process's logging up; DEBUG adds a line per attempt, ERROR keeps errors only.

    `form` is `json`, `console`, or `auto`: console on a terminal.
    """
    renderer: Processor
    if form == "console" or (form == "auto" and sys.stderr.isatty()):
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    else:
        renderer = structlog.processors.JSONRenderer(default=str)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            keep_frames_only,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )


def keep_frames_only(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Replace an exception's text by its type and frames: foreign texts quote values (P12)."""
    info = event.pop("exc_info", None)
    if not info:
        return event
    error = info if isinstance(info, BaseException) else sys.exc_info()[1]
    if error is not None:
        event.setdefault("error_type", type(error).__name__)
        event["frames"] = _frames(error)
    return event


def _frames(error: BaseException) -> list[str]:
    frames = []
    step = error.__traceback__
    while step is not None:
        code = step.tb_frame.f_code
        name = code.co_filename.replace("\\", "/").rsplit("/", 1)[-1]
        frames.append(f"{name}:{step.tb_lineno} {code.co_name}")
        step = step.tb_next
    return frames[-8:]
