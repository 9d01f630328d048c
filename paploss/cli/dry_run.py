"""`paploss search --dry-run`: what a search will cost, from earlier trials or from a few measured steps."""

import math
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from paploss.cli.address import find_running
from paploss.cli.connection import connect
from paploss.cli.extras import require
from paploss.cli.failures import FAILED, CommandError
from paploss.cli.local_training import TRAINER, start_trainer
from paploss.cli.machine import count_cores, count_gpus, share
from paploss.cli.terminal import say
from paploss.client.estimates import Estimate, estimate_search
from paploss.client.numbers import hours_range
from paploss.client.specs import SearchSpec
from paploss.jobs.presets import identity
from paploss.jobs.profiles import PROFILES
from paploss.jobs.spec import EVENT, EvaluationEvent, JobResult, JobSpec, ProgressEvent
from paploss.jobs.wording import duration

MEASURED_SECONDS = 20.0


class MeasuredSteps(NamedTuple):
    """A training that was stopped after a while."""

    seconds: float
    """That the whole would take."""
    has_evaluations: bool
    """Whether that counts its evaluations: not where it was stopped before the first."""
    disk_bytes: int
    """Of its folder, with the checkpoint that it left."""


def estimate_here(
    spec: SearchSpec, console: Console, state: Path, url: str | None, key_file: Path | None
) -> tuple[Estimate, MeasuredSteps | None]:
    """The cost, and what was measured here for it.

    Raises:
        CommandError: there are no earlier trials, and no training can start on this machine.
    """
    if url is not None or find_running(state) is not None:
        with connect(state, url, key_file) as client:
            estimate = client.estimate(spec)
        if estimate.proxy_seconds is not None:
            return estimate, None
    require("a measured step (no comparable earlier search)", "trainer")
    doing = f"measuring for {MEASURED_SECONDS:g} s after the first step ..."
    if not console.is_terminal:  # which shows no status
        say(console, doing)
    with console.status(doing):
        measured = measure_steps(spec, MEASURED_SECONDS)
    return estimate_search(spec, measured.seconds), measured


def measure_steps(spec: SearchSpec, seconds: float) -> MeasuredSteps:
    """Train a proxy of a search on this machine for so long, or to its end.

    Raises:
        CommandError: it fails, with the trainer's reason.
    """
    job = JobSpec(
        trial_id="dry-run",
        profile=spec.profile,
        overrides=spec.overrides,
        dataset=spec.dataset.model_copy(update={"check_files": False}),
        reward=spec.reward,
        loss=identity(PROFILES[spec.profile].heads, spec.knots),
        weights=spec.weights,
        gpus=spec.trial_gpus,
        gather_scores=spec.gather_scores,
        synthetic=spec.synthetic,
    )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "job.json"
        file.write_text(job.model_dump_json(), encoding="utf-8")
        training = Path(folder) / "training"
        command = [*TRAINER, "run", str(file), "--state", str(training)]
        # With the cores that a worker of this machine would have; GPUs are all its own.
        cores = {} if count_gpus() else share(0, count_cores())
        with start_trainer(command, stderr=subprocess.DEVNULL, environment=cores) as run:
            try:
                whole, has_evaluations = _follow(run, seconds)
            finally:
                run.terminate()  # Ctrl-C reaches this process alone
        size = sum(each.stat().st_size for each in training.rglob("*") if each.is_file())
    return MeasuredSteps(whole, has_evaluations, size)


def _follow(run: "subprocess.Popen[bytes]", seconds: float) -> tuple[float, bool]:
    """The seconds of the whole training, and whether they count its evaluations.

    It is asked to stop, with a checkpoint, once enough is known.
    """
    first: ProgressEvent | None = None
    whole: float | None = None
    has_evaluations = evaluated = False
    for line in run.stdout or ():
        try:
            event = EVENT.validate_json(line)
        except ValidationError:
            continue
        match event:
            case JobResult(outcome="failed"):
                raise CommandError(f"no step can be measured: {event.error}", FAILED)
            case JobResult():
                whole, has_evaluations = event.seconds, True
            case EvaluationEvent():
                evaluated = True
            case ProgressEvent():
                first = first or event
                steps, taken = event.iteration - first.iteration, event.seconds - first.seconds
                if steps and taken >= seconds:
                    whole = event.seconds + taken / steps * (event.total_iterations - event.iteration)
                    has_evaluations = evaluated
                    run.terminate()
    if whole is None:
        raise CommandError(f"no step can be measured: the trainer ended with status {run.wait()}", FAILED)
    return whole, has_evaluations


def show(estimate: Estimate, measured: MeasuredSteps | None, console: Console) -> None:
    """Print the cost of a search."""
    source = f"mean of {estimate.trials} earlier trials" if estimate.trials else "from steps measured on this machine"
    if measured is not None and not measured.has_evaluations:
        source += ", without evaluations"
    capped = ", which worker_hours allows" if estimate.is_capped else ""
    first = f"{estimate.pilot} or more in a pilot, then " if estimate.pilot else ""
    is_range = estimate.most_confirmations > estimate.confirmations
    last = f"then {estimate.confirmations}{f' to {estimate.most_confirmations}' if is_range else ''} confirmations"
    as_long = f", as long as {estimate.whole_proxies:.3g} whole ones" if estimate.has_lengths else ""
    say(console, f"trainings: {first}{estimate.proxies} in rounds{as_long}{capped}, {last}")
    say(console, f"one training: {duration(estimate.proxy_seconds)} ({source})")
    spent = hours_range(estimate.worker_hours, estimate.most_worker_hours)
    on_gpus = hours_range(estimate.gpu_hours, estimate.most_gpu_hours)
    say(console, f"worker hours: {spent}, GPU-hours: {on_gpus}{_describe_hours(estimate)}")
    on_disk = "not measured" if measured is None else f"{math.ceil(measured.disk_bytes / 1e6)} MB for each worker"
    if measured is not None and estimate.has_lengths:
        on_disk += ", and as much for each short training until it is promoted or the rounds are over"
    say(console, f"disk while it runs: {on_disk}")
    until = "the race's first look" if is_range and estimate.has_confirmations else "end"
    table = Table("workers", f"from start to {until}", box=None, header_style="dim")
    for workers, taken in estimate.hours_by_workers.items():
        table.add_row(str(workers), duration(3600 * taken))
    console.print(table)


def _describe_hours(estimate: Estimate) -> str:
    if not estimate.has_confirmations:
        return " (without the confirmations: how long their schedule takes is not known)"
    if estimate.most_confirmations > estimate.confirmations:
        return " (depending on how many seeds the race needs)"
    return ""
