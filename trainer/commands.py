"""The trainer's command line: `python -m trainer run JOB.json --state DIR`."""

import argparse
import logging
import os
import signal
import sys
from pathlib import Path

from pydantic import ValidationError

from jobs.spec import EXIT_HANDED_BACK, JobResult, JobSpec
from trainer.errors import HandedBack, UserError
from trainer.events import Emit, claim_stdout, discard

log = logging.getLogger("trainer")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m trainer", description=__doc__)
    commands = parser.add_subparsers(required=True)
    run = commands.add_parser("run", help="train and evaluate one job; events go to standard output")
    run.add_argument("job", type=Path)
    run.add_argument("--state", type=Path, required=True)
    run.add_argument("--data-cache", type=Path, default=Path.home() / ".cache" / "paploss")
    run.set_defaults(function=run_job)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    status: int = arguments.function(arguments)
    return status


def run_job(arguments: argparse.Namespace) -> int:
    emit: Emit = claim_stdout() if os.environ.get("RANK", "0") == "0" else discard
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    spec = JobSpec.model_validate_json(arguments.job.read_bytes())
    arguments.state.mkdir(parents=True, exist_ok=True)
    from trainer.proxy import Surroundings, train_and_evaluate

    try:
        result = train_and_evaluate(spec, Surroundings(arguments.state, arguments.data_cache, emit, lambda: bool(stopped)))
    except HandedBack:
        return EXIT_HANDED_BACK
    except UserError as error:
        result = JobResult(outcome="failed", error_kind="user", error=str(error))
    emit(result)
    return 0
