"""Runs every benchmark, one after the other, each in a process of its own: `python -m benchmarks`, or `make bench`.

The runs on real images need their data and hours, and are started by themselves: `python -m benchmarks.bccd --help`.
"""

import subprocess
import sys

BENCHMARKS = ("first_search", "load", "loss", "page", "proxy", "ranking_losses", "scheduling", "search")


def main() -> int:
    """Run them all; returns how many failed."""
    failed = 0
    for name in BENCHMARKS:
        print(f"== {name}", flush=True)
        failed += subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())
