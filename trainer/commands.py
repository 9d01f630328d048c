"""The trainer's command line.

Standard output belongs to the commands' results (of `run`: to its events), logs go to standard error. Modules that
import torch are loaded late: `synthetic` jobs and `--help` answer in milliseconds.
"""

import argparse
import logging
import os
import signal
import sys
import traceback
from pathlib import Path

from pydantic import ValidationError

from jobs.spec import EXIT_HANDED_BACK, JobResult, JobSpec
from trainer.attempt import Attempt
from trainer.errors import HandedBack, OutOfMemory, UserError
from trainer.events import claim_stdout, discard

log = logging.getLogger("trainer")

MAX_ERROR_LENGTH = 4000
DEFAULT_CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "paploss"


def main() -> int:
    """Runs the command that the process was started with; its exit status."""
    arguments = _parser().parse_args()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("mmengine").setLevel(logging.WARNING)
    try:
        status: int = arguments.command(arguments)
    except UserError as error:
        log.error("%s", error)  # noqa: TRY400 - the message says it all
        return 2
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m trainer", description="Train and evaluate detectors.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="train and evaluate one job; prints events as JSON lines")
    run.add_argument("job", type=Path, help="JSON file of a JobSpec")
    run.add_argument("--state", type=Path, required=True, help="folder for this trial's checkpoints")
    run.add_argument("--data-cache", type=Path, default=DEFAULT_CACHE, help="folder for the embedded data set")
    run.add_argument("--checkpoint-seconds", type=float, default=60.0, help="time between checkpoints")
    run.add_argument("--loading-processes", type=int, default=None, help="processes that load images, per device")
    run.set_defaults(command=_run)
    return parser


def _run(arguments: argparse.Namespace) -> int:
    stop_signals: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stop_signals.append(number))
    is_first = os.environ.get("RANK", "0") == "0"
    emit = claim_stdout() if is_first else discard
    try:
        spec = _read_job(arguments.job)
        arguments.state.mkdir(parents=True, exist_ok=True)
        attempt = Attempt(
            state=arguments.state,
            data_cache=arguments.data_cache,
            emit=emit,
            stop_requested=lambda: bool(stop_signals),
            checkpoint_seconds=arguments.checkpoint_seconds,
        )
        result = _result(spec, attempt)
    except HandedBack as outcome:
        log.info("%s", outcome)
        return EXIT_HANDED_BACK
    except UserError as error:
        result = _failed("user", str(error))
    except OutOfMemory as error:
        result = _failed("out_of_memory", str(error))
    except Exception:
        log.exception("crashed")
        result = _failed("crash", traceback.format_exc())
    emit(result)
    return 0


def _result(spec: JobSpec, attempt: Attempt) -> JobResult:
    if spec.profile == "synthetic":
        from trainer.synthetic import train_synthetic

        return train_synthetic(spec, attempt)
    from trainer.proxy import train_and_evaluate

    return train_and_evaluate(spec, attempt)


def _read_job(file: Path) -> JobSpec:
    try:
        return JobSpec.model_validate_json(file.read_bytes())
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise UserError(f"{file}: {error}") from error


def _failed(kind: str, message: str) -> JobResult:
    return JobResult.model_validate(
        {"outcome": "failed", "error_kind": kind, "error": message[-MAX_ERROR_LENGTH:] or kind}
    )
