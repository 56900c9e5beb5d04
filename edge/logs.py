"""What the station's log looks like: plain lines, JSON lines, or fields in systemd's journal.

A message may carry fields (``extra={"stage": "analysis"}``), by which it can be found again:
``journalctl -t leukoscope-edge LEUKOSCOPE_STAGE=analysis``. A slide is named as the records name it; its
accession id stands in no message.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any, Final, Literal, TextIO

from edge.errors import ConfigError

LogFormat = Literal["plain", "journal", "json"]

FIELDS: Final = ("stage", "slide", "record_key", "error")
"""What a message may be about: a part of the station, a slide, a record by its key, what went wrong."""
IDENTIFIER: Final = "leukoscope-edge"

# sd-daemon(3) and syslog(3): the priority stands as a digit before the line.
_PRIORITIES: Final = (
    (logging.CRITICAL, 2),
    (logging.ERROR, 3),
    (logging.WARNING, 4),
    (logging.INFO, 6),
    (logging.NOTSET, 7),
)
Send = Callable[..., Any]
"""As cysystemd's ``send``: one message, its fields as keywords in capitals."""

_log = logging.getLogger(__name__)


def set_up_logging(
    how: LogFormat,
    *,
    stream: TextIO = sys.stderr,
    environment: Mapping[str, str] = os.environ,
    send: Send | None = None,
) -> None:
    """Have all messages go out like this, those of threads that die included.

    Raises ConfigError for ``journal`` where the library that speaks to the journal is not installed.
    """
    handler: logging.Handler
    if how == "journal":
        handler = JournalHandler(send=send or _journal_send())
    else:
        handler = logging.StreamHandler(stream)
        marked = _read_by_journal(stream, environment)
        handler.setFormatter(JsonLines() if how == "json" else PlainLines(marked=marked))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    threading.excepthook = _log_thread_fault


class PlainLines(logging.Formatter):
    """A line for a person; ``marked`` with its priority, as sd-daemon(3) has it, where the journal reads."""

    def __init__(self, *, marked: bool = False) -> None:
        super().__init__("%(levelname)s %(name)s: %(message)s")
        self._marked = marked

    def format(self, record: logging.LogRecord) -> str:
        """Every line of a message gets the mark: without it the journal would take the rest for notices."""
        said = super().format(record)
        if not self._marked:
            return said
        mark = f"<{priority(record.levelno)}>"
        return "\n".join(mark + line for line in said.splitlines())


class JsonLines(logging.Formatter):
    """An object a line: ``time`` (UTC), ``level``, ``logger``, ``thread``, ``message``, and the fields."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever stands in the message."""
        said = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "thread": record.threadName,
            "message": record.getMessage(),
            **fields_of(record),
        }
        if record.exc_info:
            said["traceback"] = self.formatException(record.exc_info)
        return json.dumps(said, ensure_ascii=False)


class JournalHandler(logging.Handler):
    """Sends each message to systemd's journal with its fields, see systemd.journal-fields(7)."""

    def __init__(self, *, send: Send) -> None:
        super().__init__()
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        """Never raises: a station does not stop because nobody keeps its log."""
        try:
            said = record.getMessage()
            if record.exc_info:
                said += "\n" + logging.Formatter().formatException(record.exc_info)
            self._send(
                MESSAGE=said,
                PRIORITY=str(priority(record.levelno)),
                SYSLOG_IDENTIFIER=IDENTIFIER,
                LOGGER=record.name,
                THREAD_NAME=record.threadName or "",
                CODE_FILE=record.pathname,
                CODE_LINE=str(record.lineno),
                CODE_FUNC=record.funcName,
                **{f"LEUKOSCOPE_{name.upper()}": value for name, value in fields_of(record).items()},
            )
        except (OSError, ValueError, TypeError):
            self.handleError(record)


def priority(level: int) -> int:
    """The syslog priority of a logging level."""
    return next(number for least, number in _PRIORITIES if level >= least)


def fields_of(record: logging.LogRecord) -> dict[str, str]:
    """The fields that a message carries."""
    return {name: str(value) for name in FIELDS if (value := getattr(record, name, None)) is not None}


def _journal_send() -> Send:
    try:
        journal: Any = importlib.import_module("cysystemd.journal")
    except ImportError as error:
        raise ConfigError(
            "The log cannot go to the journal by fields: cysystemd is not installed.",
            remedy="pip install 'leukoscope[journal]', or take another --log-format.",
        ) from error
    send: Send = journal.send
    return send


def _read_by_journal(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether the journal reads this stream: systemd says so by its device and inode, see systemd.exec(5)."""
    told = environment.get("JOURNAL_STREAM", "")
    if not told:
        return False
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return told == f"{found.st_dev}:{found.st_ino}"


def _log_thread_fault(fault: threading.ExceptHookArgs) -> None:
    name = "a thread" if fault.thread is None else f"the thread {fault.thread.name}"
    if fault.exc_value is None:  # only while the interpreter ends
        return
    _log.critical(
        "%s has ended by a fault of the program",
        name,
        exc_info=(fault.exc_type, fault.exc_value, fault.exc_traceback),
        extra={"error": fault.exc_type.__name__},
    )
