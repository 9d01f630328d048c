"""The lines of an experiment's file: gzip of JSON, one object a line.

A file comes from elsewhere, so reading it has limits: it fills neither the memory nor the disk.
"""

import gzip
import json
import zlib
from collections.abc import Iterator
from typing import IO, Any, NoReturn

from paploss.controller.store.errors import DumpError

LONGEST_LINE_BYTES = 4_000_000
"""Four times what a request may have; an experiment's request and a trial's measurements are lines."""
DEEPEST = 32
"""Levels of lists and objects in a line; this program writes less than ten."""


def write_line(file: gzip.GzipFile, line: dict[str, Any]) -> None:
    """Add a line."""
    file.write(json.dumps(line, separators=(",", ":"), ensure_ascii=False).encode() + b"\n")


def read_lines(file: IO[bytes], most_bytes: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """The lines with their numbers, which begin at 1. `most_bytes`: of all of them, unpacked.

    Raises:
        DumpError: the file is damaged, or beyond a limit; names the line.
    """
    number = total_bytes = 0
    with gzip.GzipFile(fileobj=file, mode="rb") as packed:
        while content := _read(packed):
            number += 1
            total_bytes += len(content)
            if len(content) > LONGEST_LINE_BYTES:
                raise DumpError(f"line {number}: longer than {LONGEST_LINE_BYTES} bytes")
            if total_bytes > most_bytes:
                raise DumpError(f"line {number}: the file is larger than {most_bytes} bytes when unpacked")
            yield number, _parse(number, content)


def _read(packed: gzip.GzipFile) -> bytes:
    try:
        return packed.readline(LONGEST_LINE_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DumpError(f"the file cannot be unpacked: {error}") from error


def _parse(number: int, content: bytes) -> dict[str, Any]:
    try:
        line = json.loads(content, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise DumpError(f"line {number}: nested deeper than {DEEPEST} levels") from error
    except ValueError as error:
        raise DumpError(f"line {number}: not JSON: {error}") from error
    if not isinstance(line, dict):
        raise DumpError(f"line {number}: expected an object")
    if _is_deeper(line, DEEPEST):
        raise DumpError(f"line {number}: nested deeper than {DEEPEST} levels")
    return line


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"expected finite numbers, got {name}")


def _is_deeper(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(each, levels - 1) for each in inner)
