"""One training on this machine, without a controller: the trainer as a child process, its events as a progress bar."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import IO

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from paploss.cli.failures import BAD_INPUT, FAILED, INTERRUPTED, CommandError
from paploss.client.numbers import percent
from paploss.files import write_whole
from paploss.jobs.spec import EVENT, EXIT_INTERRUPTED, EvaluationEvent, JobResult, JobSpec, ProgressEvent, StartEvent
from paploss.processes import ending_with_parent

TRAINER = (sys.executable, "-m", "paploss.trainer")


def run_training(
    job: JobSpec, folder: Path, console: Console, on_evaluation: Callable[[EvaluationEvent], None] = lambda _: None
) -> JobResult:
    """Train and evaluate `job` in `folder`; one that was interrupted there goes on from its checkpoint.

    Ctrl-C asks the trainer for a checkpoint and waits for it. `on_evaluation`: called with each AP that is measured.

    Raises:
        CommandError: the folder holds another training, or the trainer ended without a result.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"--output {folder}: {error.strerror}", BAD_INPUT) from None
    job_file = folder / "job.json"
    text = job.model_dump_json(indent=1)
    if job_file.exists() and job_file.read_bytes() != text.encode():
        raise CommandError(
            f"{job_file}: the folder holds another training; choose another one with --output", BAD_INPUT
        )
    write_whole(job_file, text)
    command = [*TRAINER, "run", str(job_file), "--state", str(folder)]
    with (
        (folder / "trainer.log").open("ab") as log,
        _bar(console) as bar,
        start_trainer(command, stderr=log) as trainer,
    ):
        try:
            result = _follow(trainer, bar, on_evaluation)
        except KeyboardInterrupt:
            bar.console.print("asking the trainer for a checkpoint ...")
            trainer.terminate()
            trainer.wait()
            raise CommandError("interrupted; the same command goes on from the checkpoint", INTERRUPTED) from None
        status = trainer.wait()
    if result is None:
        if status == EXIT_INTERRUPTED:
            raise CommandError("the trainer was asked to stop; the same command goes on from its checkpoint", FAILED)
        tail = (folder / "trainer.log").read_bytes()[-2000:].decode(errors="replace")
        raise CommandError(f"the trainer ended without a result (exit status {status}):\n{tail}", FAILED)
    write_whole(folder / "result.json", result.model_dump_json(indent=1))
    return result


def call_trainer(arguments: Sequence[str], *, is_quiet: bool = False) -> str:
    """Run another command of the trainer; its standard output.

    `is_quiet`: what it says to people is kept for the error; by default it comes on this terminal's standard error.

    Raises:
        CommandError: it failed quietly.
        typer.Exit: it failed and has said why.
    """
    with start_trainer([*TRAINER, *arguments], stderr=subprocess.PIPE if is_quiet else None) as trainer:
        try:
            output, said = trainer.communicate()
        except KeyboardInterrupt:
            trainer.terminate()
            raise
    if trainer.returncode and is_quiet:
        # Before the message, libraries may have said things of their own.
        _, _, message = f"\n{said.decode(errors='replace')}".rpartition("\npaploss: ")
        reason = message.strip() or f"the trainer ended with status {trainer.returncode}"
        raise CommandError(reason, trainer.returncode)
    if trainer.returncode:
        raise typer.Exit(trainer.returncode)
    return output.decode()


def start_trainer(
    command: Sequence[str],
    stderr: IO[bytes] | int | None = None,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> subprocess.Popen[bytes]:
    """Start a trainer as a worker would: on a machine that is busy otherwise its threads wait passively.

    `environment`: what is added to this process's own, which decides otherwise.
    """
    return subprocess.Popen(
        command,
        # What it prints is read as UTF-8, whatever the locale.
        env={"OMP_WAIT_POLICY": "passive", **environment, **os.environ, "PYTHONIOENCODING": "utf-8"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=stderr,
        start_new_session=True,  # Ctrl-C is for this process, which asks the trainer once for a checkpoint
        preexec_fn=ending_with_parent(signal.SIGTERM),  # noqa: PLW1509 (one prctl, no lock is taken)
    )


def _follow(
    trainer: subprocess.Popen[bytes], bar: Progress, on_evaluation: Callable[[EvaluationEvent], None]
) -> JobResult | None:
    """Show events until the trainer's output ends; returns its result if it printed one."""
    result = None
    task = bar.add_task("starting", total=None, ap="–")
    for line in trainer.stdout or ():
        try:
            event = EVENT.validate_json(line)
        except ValidationError:
            bar.console.print(line.decode(errors="replace").rstrip())
            continue
        match event:
            case StartEvent():
                for warning in event.warnings:
                    bar.console.print(f"warning: {warning}", markup=False, soft_wrap=True)
                resumed = event.resumed_iteration
                bar.update(task, description="training", total=event.total_iterations, completed=resumed)
            case ProgressEvent():
                bar.update(task, completed=event.iteration)
            case EvaluationEvent():
                bar.update(task, ap=percent(event.metrics.ap))
                on_evaluation(event)
            case JobResult():
                result = event
    return result


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("AP {task.fields[ap]}", markup=False),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )
