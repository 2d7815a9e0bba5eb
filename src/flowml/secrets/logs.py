"""Masks secrets in log lines, which Prefect keeps and shows: those of Prefect, and those of your own code."""

from __future__ import annotations

import logging
import traceback

from flowml.secrets.masking import mask

_LOGGERS = ("", "prefect", "prefect.flow_runs", "prefect.task_runs", "prefect.extra")


class _Mask(logging.Filter):
    """Lets every record through, with its text masked."""

    def filter(self, record: logging.LogRecord) -> bool:
        try:
            text = record.getMessage()
        except Exception:  # noqa: BLE001 - its arguments do not fit: whoever writes it says so
            return True
        record.msg, record.args = mask(text), None
        if record.exc_info and not record.exc_text:
            record.exc_text = "".join(traceback.format_exception(*record.exc_info)).rstrip()
        if record.exc_text:
            record.exc_text = mask(record.exc_text)
        return True


_masks = _Mask()


def mask_logs() -> None:
    """Mask secrets in all that Prefect's loggers and the root logger write, in this process.

    flowml masks what it sends to MLflow. Prefect's own log lines hold what your code logs and what errors say, and go
    to its server as they are. Call this once, before the first flow begins; in a deployment, in the flow's module.

    Example:
        >>> flowml.mask_logs()
    """
    for name in _LOGGERS:
        for handler in logging.getLogger(name).handlers:
            handler.addFilter(_masks)
