"""`paploss trainer-check`: plays the worker against a program, to see whether it keeps the trainer's contract."""

import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from paploss.cli.connection import JsonOption
from paploss.cli.failures import BAD_INPUT, FAILED, CommandError
from paploss.cli.output import echo_json
from paploss.cli.terminal import make_console
from paploss.jobs.faults import describe_faults
from paploss.jobs.presets import identity
from paploss.jobs.profiles import SYNTHETIC
from paploss.jobs.spec import (
    EVENT,
    EXIT_INTERRUPTED,
    CheckpointEvent,
    EvaluationEvent,
    Event,
    JobResult,
    JobSpec,
    ProgressEvent,
    StartEvent,
    SyntheticOptions,
)

LONGEST_SHOWN = 200


class ContractError(Exception):
    """What was expected of the program, and what it did."""


@dataclass(frozen=True)
class Ran:
    """A run of the program that has ended."""

    events: tuple[Event, ...]
    exit_status: int


def trainer_check(
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="COMMAND...", help="The program; JOB --state FOLDER is added, as a worker does."),
    ] = None,
    job: Annotated[
        Path | None, typer.Option(help="JSON file of a job that takes some seconds; by default a synthetic one.")
    ] = None,
    timeout_seconds: Annotated[float, typer.Option(help="For each run of the program.")] = 600,
    as_json: JsonOption = False,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON schemas of jobs and events instead.")
    ] = False,
) -> None:
    """Check that a training program of your own keeps the contract of trainers.

    Four runs: one to the end, one that is asked to stop, one that goes on from there, and one with a broken job.
    """
    if schema:
        echo_json({"job": JobSpec.model_json_schema(), "event": EVENT.json_schema()})
        return
    if not command:
        raise CommandError(
            "COMMAND: expected the program to check, e.g. `paploss trainer-check python trainer.py`", BAD_INPUT
        )
    console = make_console(stderr=as_json)
    with tempfile.TemporaryDirectory(prefix="paploss-trainer-check-") as folder:
        try:
            shown = []
            for done in check(command, _read_job(job), Path(folder), timeout_seconds):
                console.print(f"{done}: ok")
                shown.append(done)
        except ContractError as error:
            raise CommandError(str(error), FAILED) from None
    if as_json:
        echo_json({"shown": shown})


def check(command: Sequence[str], job: JobSpec, folder: Path, timeout_seconds: float) -> Iterator[str]:
    """Run the program four times; what each run has shown, one by one.

    Args:
        command: the program, to which `JOB --state FOLDER` is added.
        job: what it is given.
        folder: an empty one, for its files.
        timeout_seconds: for each run.

    Raises:
        ContractError: names the line, what was expected and what came.
    """
    job_file, broken_file = folder / "job.json", folder / "broken.json"
    job_file.write_text(job.model_dump_json())
    broken_file.write_text("{")

    def run(file: Path, state: str, stop_after: type[Event] | None = None) -> Ran:
        return _run([*command, str(file), "--state", str(folder / state)], timeout_seconds, stop_after)

    whole = run(job_file, "whole")
    expected = _check_finished(whole)
    yield f"a training from start to result, {len(whole.events)} events"
    stopped = run(job_file, "stopped", stop_after=ProgressEvent)
    if stopped.exit_status != EXIT_INTERRUPTED:
        ended = ": the job ended before, give it a longer one with --job" if stopped.exit_status == 0 else ""
        raise ContractError(f"after SIGTERM: expected exit status {EXIT_INTERRUPTED}, got {stopped.exit_status}{ended}")
    if not any(isinstance(event, CheckpointEvent) for event in stopped.events):
        raise ContractError("after SIGTERM: expected an event `checkpoint` before the end, got none")
    yield "SIGTERM leaves a checkpoint"
    resumed = run(job_file, "stopped")
    found = _check_finished(resumed)
    start = resumed.events[0]
    if not (isinstance(start, StartEvent) and start.resumed_iteration > 0):
        raise ContractError("line 1 after an interruption: expected a `start` with `resumed_iteration` above 0, got 0")
    if found.reward != expected.reward:
        raise ContractError(
            f"after an interruption: expected the reward {expected.reward} of an uninterrupted training, "
            f"got {found.reward}"
        )
    yield "a training that was interrupted ends as one that was not"
    failed = run(broken_file, "broken")
    result = _last_result(failed)
    if (result.outcome, result.error_kind) != ("failed", "user"):
        raise ContractError(
            "a job file that is no JSON: expected a result `failed` with error_kind `user`, "
            f"got {result.outcome!r} with {result.error_kind!r}"
        )
    yield "a job that cannot be read is the user's error"


def _read_job(file: Path | None) -> JobSpec:
    if file is None:
        options = SyntheticOptions(iterations=40, iteration_seconds=0.05)
        return JobSpec(
            trial_id="trainer-check", profile=SYNTHETIC.name, loss=identity(SYNTHETIC.heads), synthetic=options
        )
    try:
        return JobSpec.model_validate_json(file.read_bytes())
    except OSError as error:
        raise CommandError(f"{file}: cannot be read: {error.strerror}", BAD_INPUT) from error
    except ValidationError as error:
        raise CommandError(describe_faults(error, source=str(file)), BAD_INPUT) from error


def _run(command: Sequence[str], timeout_seconds: float, stop_after: type[Event] | None) -> Ran:
    """Run the program; it is sent SIGTERM at its first event of the kind `stop_after`."""
    try:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    except OSError as error:
        raise ContractError(f"{command[0]}: cannot be started: {error.strerror}") from error
    events: list[Event] = []
    with process, _killed_after(timeout_seconds, process.kill) as is_late:
        for number, line in enumerate(process.stdout or (), 1):
            try:
                events.append(EVENT.validate_json(line))
            except ValidationError as error:
                process.kill()
                first = error.errors()[0]
                place = ".".join(map(str, first["loc"])) or "line"
                raise ContractError(
                    f"line {number}: {place}: {first['msg']}, got {line.strip()[:LONGEST_SHOWN]!r}; "
                    "standard output is for events alone"
                ) from None
            if stop_after is not None and isinstance(events[-1], stop_after):
                process.send_signal(signal.SIGTERM)
                stop_after = None
        status = process.wait()
    if is_late():
        raise ContractError(f"expected an end within {timeout_seconds:g} s, got none after {len(events)} events")
    return Ran(tuple(events), status)


@contextmanager
def _killed_after(seconds: float, kill: Callable[[], None]) -> Iterator[Callable[[], bool]]:
    late = threading.Event()

    def give_up() -> None:
        late.set()
        kill()

    timer = threading.Timer(seconds, give_up)
    timer.start()
    try:
        yield late.is_set
    finally:
        timer.cancel()


def _check_finished(ran: Ran) -> JobResult:
    """The result of a training that went through."""
    if not ran.events or not isinstance(ran.events[0], StartEvent):
        got = ran.events[0].event if ran.events else f"none, and exit status {ran.exit_status}"
        raise ContractError(f"line 1: expected the event `start`, got {got}")
    total, iteration = ran.events[0].total_iterations, ran.events[0].resumed_iteration
    for number, event in enumerate(ran.events[1:], 2):
        if isinstance(event, StartEvent):
            raise ContractError(f"line {number}: expected one event `start`, got a second")
        if isinstance(event, JobResult) and number != len(ran.events):
            raise ContractError(
                f"line {number}: expected `result` as the last event, got {ran.events[number].event} after it"
            )
        if isinstance(event, ProgressEvent):
            if not iteration <= event.iteration <= total:
                raise ContractError(f"line {number}: iteration: expected {iteration} to {total}, got {event.iteration}")
            iteration = event.iteration
    result = _last_result(ran)
    if result.outcome != "succeeded":
        raise ContractError(f"result: expected `succeeded`, got {result.outcome!r}: {result.error or ''}")
    measured = [event.metrics.ap for event in ran.events if isinstance(event, EvaluationEvent)]
    if not result.diverged and (not measured or measured[-1] != result.reward):
        last = measured[-1] if measured else "no event `evaluation`"
        raise ContractError(f"result: expected the AP of the last evaluation as reward {result.reward}, got {last}")
    return result


def _last_result(ran: Ran) -> JobResult:
    last = ran.events[-1] if ran.events else None
    if not isinstance(last, JobResult):
        raise ContractError(f"last line: expected the event `result`, got {last.event if last else 'no event'}")
    if ran.exit_status != 0:
        raise ContractError(f"after a result: expected exit status 0, got {ran.exit_status}")
    return last
