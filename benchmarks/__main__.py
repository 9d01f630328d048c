"""Runs every benchmark, one after the other, each in a process of its own: `python -m benchmarks`, or `make bench`.

Each has the options that its record was measured with. `--data FOLDER` (`make bench DATA=FOLDER`) names the blood cells
in COCO format, on which `proxy` and `analysis` are measured; without it these are left out. What trains on them for an
hour or more, and what needs a GPU, is started by itself: benchmarks/README.md lists all.
"""

import argparse
import subprocess
import sys
from pathlib import Path

BENCHMARKS: dict[str, tuple[str, ...]] = {
    "analysis": ("analysis", "--threads", "1", "--clock", "cpu", "--epochs", "4"),
    "command-line": ("command_line",),
    "first-search": ("first_search",),
    "guided": ("guided", "--searches", "16"),
    "lengths": ("lengths", "--searches", "4"),
    "load": ("load", "--workers", "5000", "--seconds", "20"),
    "load-large": ("load_large", "--workers", "1000"),
    "loss-cpu": ("loss", "--threads", "1"),
    "loss-cpu-2-threads": ("loss", "--threads", "2"),
    "page": ("page",),
    "proxy-cpu": ("proxy", "--threads", "1", "--clock", "cpu", "--steps", "40"),
    "ranking-losses-cpu": ("ranking_losses", "--threads", "1", "--clock", "cpu"),
    "rate-checks": ("rate_checks",),
    "scheduling": ("scheduling",),
    "screen": ("screen",),
    "search": ("search",),
    "sharing": ("sharing", "--searches", "16"),
    "starts": ("starts", "--searches", "6"),
}
"""Module and options by record."""
ON_IMAGES = ("analysis", "proxy-cpu")


def main() -> int:
    """Run them all; returns how many failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, help="folder with train.json and images/ of BCCD")
    data: Path | None = parser.parse_args().data
    failed = 0
    for record, (module, *options) in BENCHMARKS.items():
        print(f"== {record}", flush=True)
        if record in ON_IMAGES:
            if data is None:
                print("left out: its record was measured on BCCD; name its folder with --data")
                continue
            options += ["--data", str(data)]
        failed += subprocess.run([sys.executable, "-m", f"benchmarks.{module}", *options], check=False).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())
