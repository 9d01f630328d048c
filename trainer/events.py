"""The trainer's standard output: one JSON object a line, as `paploss.jobs.spec` says, and nothing else."""

import os
import sys
import threading
from collections.abc import Callable
from typing import TextIO

from paploss.jobs.spec import AnalysisEvent, CheckpointEvent, EvaluationEvent, JobResult, ProgressEvent, StartEvent

AnyEvent = StartEvent | ProgressEvent | EvaluationEvent | AnalysisEvent | CheckpointEvent | JobResult
Emit = Callable[[AnyEvent], None]


def claim_stdout() -> Emit:
    """Keeps the process's standard output for events; whatever else is printed, by C code too, goes to stderr."""
    stream: TextIO = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    sys.stdout.flush()
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    lock = threading.Lock()

    def emit(event: AnyEvent) -> None:
        with lock:
            stream.write(event.model_dump_json() + "\n")
            stream.flush()

    return emit


def discard(event: AnyEvent) -> None:
    """Emits nothing: for processes of a training beside the first."""
