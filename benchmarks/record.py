"""Where a result comes from: commit, date, machine; and where it is kept."""

import json
import os
import platform
import subprocess
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
CONDITIONS = {"threads": "{}-threads", "clock": "{}-clock", "dataset": "{}"}
"""What makes figures incomparable, and how it is written in the name of a file."""


def write_record(name: str, paths: tuple[str, ...], result: Mapping[str, Any], folder: Path | None = None) -> Path:
    """Write NAME.json into `folder`, benchmarks/results by default, and return its path.

    `paths`: the code that the result depends on.

    A record of that name that was measured under other conditions stays: the new one has its own added to the name.
    """
    record = {"benchmark": name, **provenance(paths), **result}
    folder = folder or RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    known = json.loads(path.read_text()) if path.exists() else result
    differing = [text.format(result.get(key)) for key, text in CONDITIONS.items() if known.get(key) != result.get(key)]
    path = folder / f"{'-'.join([name, *differing])}.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    return path


def read_parts(path: Path, parts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The parts of a record that a stopped benchmark left, to be gone on with; empty ones where it left none.

    Not its provenance: that is of who writes it next.
    """
    known = json.loads(path.read_text()) if path.exists() else {}
    return {part: known.get(part, {}) for part in parts}


def provenance(paths: tuple[str, ...]) -> dict[str, Any]:
    """The commit (marked where one of `paths` differs from it), the time and the machine."""
    return {
        "commit": _commit(paths),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "cpu": _cpu_field("model name") or platform.processor() or platform.machine(),
            "vectors": _vectors(_cpu_field("flags").split()),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
        },
    }


def _commit(paths: tuple[str, ...]) -> str:
    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(RESULTS.parents[1]), *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--", *paths)
        return git("rev-parse", "HEAD") + (" with changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _cpu_field(name: str) -> str:
    """Of the first processor; empty where Linux does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")


def _vectors(flags: Collection[str]) -> str:
    """The widest vector instructions of a processor: others round in another order, and a training ends elsewhere."""
    return next((name for name in ("avx512f", "avx2", "avx") if name in flags), "unknown")
