"""Log lines for people and for machines."""

import json
import logging
import subprocess
import sys
import threading

import pytest

from paploss.jobs.logs import JsonLines, TextLines, start_logging


@pytest.fixture
def record() -> logging.LogRecord:
    made = logging.LogRecord("paploss.worker.attempt", logging.WARNING, __file__, 1, "lost %s", ("it",), None)
    vars(made).update(trial="s-1", experiment="s", worker=None)
    return made


def test_a_json_line_has_the_fields_of_process_and_record(record: logging.LogRecord) -> None:
    line = json.loads(JsonLines({"worker": "w1"}).format(record))
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "warning",
        "logger": "paploss.worker.attempt",
        "message": "lost it",
        "worker": "w1",
        "trial": "s-1",
        "experiment": "s",
    }


def test_a_text_line_ends_with_the_fields(record: logging.LogRecord) -> None:
    assert TextLines().format(record).endswith("WARNING paploss.worker.attempt: lost it trial=s-1 experiment=s")


@pytest.mark.parametrize("formatter", [TextLines(), JsonLines({})], ids=["text", "json"])
def test_an_exception_is_told_in_full(formatter: logging.Formatter, record: logging.LogRecord) -> None:
    try:
        raise ValueError("inner")
    except ValueError:
        record.exc_info = sys.exc_info()
    told = formatter.format(record)
    assert "ValueError: inner" in told
    assert isinstance(formatter, TextLines) or "\n" not in told


def test_a_program_logs_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    handlers, level, hooks = root.handlers[:], root.level, (sys.excepthook, threading.excepthook)
    try:
        start_logging("info", "json", worker="w1")
        logging.getLogger("x").info("hello", extra={"trial": "t"})
        logging.getLogger("x").debug("not this")
    finally:
        root.handlers[:], root.level = handlers, level
        sys.excepthook, threading.excepthook = hooks
        logging.captureWarnings(False)
    (line,) = map(json.loads, capsys.readouterr().err.splitlines())
    assert (line["message"], line["worker"], line["trial"]) == ("hello", "w1", "t")


def test_every_line_of_a_program_is_json_whoever_writes_it() -> None:
    """Warnings, exceptions that nothing catches, also of threads; of alembic only the migrations that it runs."""
    script = """
import logging, threading, warnings
from paploss.jobs.logs import start_logging
start_logging("info", "json")
warnings.warn("old")
logging.getLogger("alembic.runtime.migration").info("Context impl SQLiteImpl.")
logging.getLogger("alembic.runtime.migration").info("Running upgrade 1 -> 2")
thread = threading.Thread(target=lambda: 1 / 0)
thread.start(); thread.join()
raise ValueError("the end")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["level"] for line in lines] == ["warning", "info", "critical", "critical"]
    assert lines[1]["message"] == "Running upgrade 1 -> 2"
    assert [line["exception"].rpartition("\n")[2] for line in lines[2:]] == [
        "ZeroDivisionError: division by zero",
        "ValueError: the end",
    ]


@pytest.mark.parametrize("text", ["w\n2026 INFO forged", "w\rforged", "w\x1b[2Kforged", "w\x85forged", "w\u2028forged"])
def test_no_text_forges_a_line(record: logging.LogRecord, text: str) -> None:
    vars(record).update(worker=text, msg="lost %s", args=(text,))
    line = TextLines().format(record)
    assert line.isprintable()
    assert line.count("forged") == 2
    try:
        raise ValueError(text)
    except ValueError:
        record.exc_info = sys.exc_info()
    _, *traceback = TextLines().format(record).splitlines()
    assert all(line.startswith("    ") and line.isprintable() for line in traceback)
