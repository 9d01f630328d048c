"""What a specification's `start_from` names as a file: a search that was dumped, or a loss that was exported."""

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from paploss.cli.failures import BAD_INPUT, CommandError
from paploss.client.documents import SPEC
from paploss.client.specs import SearchSpec
from paploss.client.start import MOST_EARLIER, EarlierSearch, EarlierTrial, choose_trials
from paploss.jobs.documents import UnreadableError

_GZIP = b"\x1f\x8b"
_FINISHED = {"succeeded": True, "pruned": False}
"""States with a reward, and whether it is that of a whole training."""


def read_start(file: Path) -> dict[str, Any]:
    """What a file stands for in `start_from`.

    Raises:
        CommandError: names the file.
    """
    try:
        content = file.read_bytes()
        if content.startswith(_GZIP):
            return {"earlier": _read_dump(file, gzip.decompress(content))}
        exported = yaml.safe_load(content)
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror or error}", BAD_INPUT) from None
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, EOFError, zlib.error, KeyError, TypeError) as error:
        raise CommandError(f"{file}: cannot be read: {error}", BAD_INPUT) from None
    if not isinstance(exported, dict):
        raise CommandError(f"{file}: expected what `paploss dump` or `paploss export` writes", BAD_INPUT)
    if "loss" not in exported:
        return {"loss": exported}
    return {name: exported[name] for name in ("loss", "learning_rate_factor") if name in exported}


def _read_dump(file: Path, content: bytes) -> EarlierSearch:
    lines = [json.loads(line) for line in content.splitlines()]
    if not lines or lines[0].get("paploss") != "search":
        raise CommandError(f"{file}: expected what `paploss dump` writes", BAD_INPUT)
    search = next(_rows(lines, "searches"))
    try:
        spec = SPEC.read(search["spec"])
    except UnreadableError as error:
        raise CommandError(f"{file}: {error}", BAD_INPUT) from None
    if not isinstance(spec, SearchSpec):
        raise CommandError(f"{file}: expected a search, got a {spec.kind}", BAD_INPUT)
    trials = [
        EarlierTrial(theta=row["theta"], reward=row["reward"], seed=row["seed"], complete=_FINISHED[row["state"]])
        for row in _rows(lines, "trials")
        if row["kind"] == "proxy"
        and row["state"] in _FINISHED
        and row["theta"] is not None
        and row.get("length", 1) == 1
    ]
    if not trials:
        raise CommandError(f"{file}: expected a search with a finished trial", BAD_INPUT)
    return EarlierSearch(name=search["name"], space=spec.space, trials=choose_trials(trials, MOST_EARLIER))


def _rows(lines: list[dict[str, Any]], table: str) -> Iterator[dict[str, Any]]:
    return (line["row"] for line in lines if line.get("table") == table)
