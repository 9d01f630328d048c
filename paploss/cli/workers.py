"""`paploss worker`: a worker alone, in place of this process."""

import os
import sys
from typing import Annotated

import typer

IDLE_SECONDS = 300.0
"""Time to wait for the next trial, as between the rounds of a search, before an idle worker ends."""


def worker(
    ends_when_idle: Annotated[
        bool,
        typer.Option(
            "--ends-when-idle",
            help=f"End when no trial has come for PAPLOSS_IDLE_SECONDS (default: {IDLE_SECONDS:g}).",
        ),
    ] = False,
) -> None:
    """Run a worker alone, as in a job of Slurm; its settings are the environment's PAPLOSS_... variables."""
    if ends_when_idle:
        os.environ.setdefault("PAPLOSS_IDLE_SECONDS", str(IDLE_SECONDS))
    # The same process: signals of whoever started the command reach the worker.
    os.execv(sys.executable, [sys.executable, "-m", "paploss.worker"])  # noqa: S606
