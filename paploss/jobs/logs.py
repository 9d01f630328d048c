"""Log lines of the long-running processes: text for people, or one JSON object a line for machines.

Whatever a record has in its `extra` is part of the line; by convention `experiment`, `trial` and `worker` are ids.
Fields that hold for all of a process are given once, at its start. Others' texts, such as a worker's name, forge no
line: text has its control characters escaped and tracebacks indented.
"""

import json
import logging
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Literal

LogFormat = Literal["text", "json"]

_STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}

_CONTROLS: Final = {
    code: chr(code).encode("unicode_escape").decode() for code in (*range(32), *range(127, 160), 0x2028, 0x2029)
}


class TextLines(logging.Formatter):
    """Time, level, module and message, with the record's own fields behind."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (the library's name)
        """The line without its traceback."""
        fields = "".join(f" {name}={value}" for name, value in _own_fields(record).items())
        return _escape(super().formatMessage(record) + fields)

    def formatException(self, ei: Any) -> str:  # noqa: N802 (the library's name)
        """The traceback, indented: no line of it passes for a record."""
        return "\n".join(f"    {_escape(line)}" for line in super().formatException(ei).split("\n"))


class JsonLines(logging.Formatter):
    """One JSON object with time, level, logger, message and the fields of the process and of the record."""

    def __init__(self, process_fields: Mapping[str, object]) -> None:
        super().__init__()
        self._process_fields = dict(process_fields)

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        fields: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields |= self._process_fields | _own_fields(record)
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, default=str)


def start_logging(level: str, log_format: LogFormat, **process_fields: object) -> None:
    """Send every record of `level` and above to standard error; JSON lines carry `process_fields` as well."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(process_fields) if log_format == "json" else TextLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)
    sys.excepthook = _log_exception
    threading.excepthook = lambda ended: _log_exception(ended.exc_type, ended.exc_value, ended.exc_traceback)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs a line for every renewal
    # Of alembic only the migrations that it runs: it also says which database it looks at, whenever it looks.
    logging.getLogger("alembic.runtime.migration").addFilter(_runs_migration)


def _runs_migration(record: logging.LogRecord) -> bool:
    return str(record.msg).startswith("Running")


def _log_exception(kind: type[BaseException], error: BaseException | None, traceback: TracebackType | None) -> None:
    """In place of the traceback as plain text that Python prints for an exception that nothing catches."""
    found = error if error is not None else kind()
    if not isinstance(found, KeyboardInterrupt | SystemExit):
        logging.getLogger(__name__).critical("an exception that nothing catches", exc_info=(kind, found, traceback))


def _escape(text: str) -> str:
    return text.translate(_CONTROLS)


def _own_fields(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD_FIELDS and value is not None}
