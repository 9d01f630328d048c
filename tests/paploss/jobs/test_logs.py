"""Log lines for people and for machines."""

import json
import logging
import sys

import pytest

from paploss.jobs.logs import JsonLines, TextLines, start_logging


@pytest.fixture
def record() -> logging.LogRecord:
    made = logging.LogRecord("paploss.worker.attempt", logging.WARNING, __file__, 1, "lost %s", ("it",), None)
    vars(made).update(trial="s-1", search="s", worker=None)
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
        "search": "s",
    }


def test_a_text_line_ends_with_the_fields(record: logging.LogRecord) -> None:
    assert TextLines().format(record).endswith("WARNING worker.attempt: lost it trial=s-1 search=s")


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
    handlers, level = root.handlers[:], root.level
    try:
        start_logging("info", "json", worker="w1")
        logging.getLogger("x").info("hello", extra={"trial": "t"})
        logging.getLogger("x").debug("not this")
    finally:
        root.handlers[:], root.level = handlers, level
    (line,) = map(json.loads, capsys.readouterr().err.splitlines())
    assert (line["message"], line["worker"], line["trial"]) == ("hello", "w1", "t")
