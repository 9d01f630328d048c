"""`paploss init`: from a folder of labelled images to a specification whose proxies can rank losses."""

import json
import math
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
import yaml

from paploss.cli.connection import JsonOption
from paploss.cli.failures import BAD_INPUT, FAILED, CommandError
from paploss.cli.local_training import call_trainer, run_training
from paploss.cli.machine import count_gpus
from paploss.cli.output import echo_json
from paploss.cli.terminal import make_console, say
from paploss.cli.wording import next_command
from paploss.client.estimates import Estimate, estimate_search
from paploss.client.numbers import percent
from paploss.client.specs import SearchSpec
from paploss.files import write_whole
from paploss.jobs.losses import LossSpec
from paploss.jobs.presets import identity
from paploss.jobs.profiles import PROFILES
from paploss.jobs.spec import DatasetSpec, EvaluationEvent, JobSpec, Overrides, PrunePoint, Split
from paploss.jobs.wording import duration

LEAST_AP = 0.03
"""Below this AP the losses of a search cannot be told apart: seeds alone move it by about as much."""
LEAST_EPOCHS = 2
ROUNDS, TRIALS_PER_ROUND = 12, 8
SPEC_NAME = "search.yaml"


class Baseline(NamedTuple):
    """What a short training with the loss that a search starts from has shown."""

    epochs: int
    """How long a proxy has to be."""
    ap: float
    """After so many epochs."""
    epoch_seconds: float
    """Of one epoch, its evaluation included."""
    is_long_enough: bool
    """Whether the AP lets losses be ranked."""


def init(
    folder: Annotated[Path, typer.Argument(help="Labelled images: COCO, Pascal VOC (LabelImg too) or YOLO.")],
    *,
    output: Annotated[
        Path | None, typer.Option(help="Folder for the data set and search.yaml (default: FOLDER-paploss).")
    ] = None,
    profile: Annotated[str, typer.Option(help=f"Detector: {', '.join(PROFILES)}.")] = "retinanet-tiny",
    share: Annotated[
        float,
        typer.Option(min=0.05, max=0.4, help="Fraction of the images for val and for test, where they are missing."),
    ] = 0.2,
    seed: Annotated[int, typer.Option(min=0, help="Seed that selects the images.")] = 0,
    epochs: Annotated[int, typer.Option(min=2, max=100, help="Epochs of the baseline, and at most of a proxy.")] = 12,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace COCO files that exist.")] = False,
    start: Annotated[bool, typer.Option("--search", help="Start the search as `paploss search` does.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Prepare a search on a folder of labelled images: convert, split, measure a baseline, write the specification.

    The baseline says how long a proxy has to be for losses to be ranked by its AP, and how long the search will take.
    """
    known_profiles = [name for name, card in PROFILES.items() if card.detector]
    if profile not in known_profiles:
        known = ", ".join(known_profiles)
        raise CommandError(f"--profile: expected one of {known}, got {profile!r}", BAD_INPUT)
    console = make_console(stderr=as_json)
    folder = folder.resolve()
    output = (output or folder.with_name(f"{folder.name}-paploss")).resolve()
    if output.is_relative_to(folder):
        raise CommandError(f"--output {output}: expected a folder outside {folder}", BAD_INPUT)
    words = ["--output", str(output), "--share", str(share), "--seed", str(seed)]
    written = json.loads(call_trainer(["convert", str(folder), *words, *(["--overwrite"] if overwrite else [])]))
    say(console, _describe(written))
    for note in written["notes"]:
        say(console, f"warning: {note}")
    name = folder.name[:100] or "data"
    dataset = DatasetSpec(
        name=name if name != "digits" else "digits-folder",
        root=str(output),
        **{part: Split(annotations=f"{part}.json", images="images") for part in ("train", "val", "test")},
    )
    say(console, f"baseline: {profile} with the loss that a search starts from, {epochs} epochs at most")
    baseline = _measure(dataset, profile, epochs, output / "baseline", console)
    spec = SearchSpec(
        name=name,
        profile=profile,
        dataset=dataset,
        rounds=ROUNDS,
        trials_per_round=TRIALS_PER_ROUND,
        overrides=Overrides(epochs=baseline.epochs),
        pilot="ask",
    )
    file = output / SPEC_NAME
    estimate = estimate_search(spec, baseline.epochs * baseline.epoch_seconds)
    spans = read_spans(estimate, count_gpus())
    write_whole(file, _as_yaml(spec, baseline, spans))
    if as_json:
        seconds = {"seconds": spans[0], "most_seconds": spans[1]}
        echo_json({"spec": str(file), "dataset": written, "baseline": baseline._asdict(), **seconds})
    for line in _advise(baseline, estimate, spans):
        say(console, line)
    if not baseline.is_long_enough:
        raise CommandError(
            f"{file} was written, but should not be searched as it is: raise overrides.epochs, or --epochs here", FAILED
        )
    if start:
        # Late: it brings the client's models, which a conversion needs as little as the platform.
        from paploss.cli.searches import search  # noqa: PLC0415

        search(file)
    else:
        say(console, f"next: {next_command('search', file)}")


def choose_epochs(evaluations: list[tuple[int, float]]) -> tuple[int, float, bool]:
    """The first epoch whose AP lets losses be ranked, with that AP; else the last one, and False.

    `evaluations`: epoch and AP, ascending. Epochs below LEAST_EPOCHS are left out: their AP is luck.
    """
    for epoch, ap in evaluations:
        if epoch >= LEAST_EPOCHS and ap >= LEAST_AP:
            return epoch, ap, True
    epoch, ap = evaluations[-1]
    return epoch, ap, False


def read_spans(estimate: Estimate, gpus: int) -> tuple[float, float]:
    """The seconds that a search will take here, up to the first and to the last look at its race.

    Each GPU trains a proxy; without one, proxies share the cores.
    """
    least, most = (3600 * (hours or 0) / max(1, gpus) for hours in (estimate.worker_hours, estimate.most_worker_hours))
    return least, most


def _measure(dataset: DatasetSpec, profile: str, epochs: int, folder: Path, console: Any) -> Baseline:
    loss: LossSpec = identity(PROFILES[profile].heads)
    points = tuple(PrunePoint(fraction=epoch / epochs, min_ap=0) for epoch in range(1, epochs))
    job = JobSpec(
        trial_id="baseline",
        profile=profile,
        overrides=Overrides(epochs=epochs),
        dataset=dataset,
        loss=loss,
        prune=points,
    )
    found: list[EvaluationEvent] = []
    result = run_training(job, folder, console, found.append)
    if result.outcome == "failed":
        raise CommandError(f"the baseline failed ({result.error_kind}): {result.error}", FAILED)
    aps = {round(epochs * one.iteration / one.total_iterations): max(0.0, one.metrics.ap) for one in found}
    chosen, ap, is_long_enough = choose_epochs(sorted(aps.items()))
    return Baseline(chosen, ap, result.seconds / epochs, is_long_enough)


def _describe(written: dict[str, Any]) -> str:
    parts = ", ".join(f"{part} {found['images']}" for part, found in written["parts"].items())
    drawn = f" (drawn here: {', '.join(written['drawn'])})" if written["drawn"] else ""
    return f"{written['layout']}: images {parts}{drawn}; classes: {', '.join(written['classes'])}"


def _advise(baseline: Baseline, estimate: Estimate, spans: tuple[float, float]) -> list[str]:
    after = f"AP {percent(baseline.ap)} after {baseline.epochs} epochs, {duration(baseline.epoch_seconds)} each"
    if not baseline.is_long_enough:
        return [f"{after}: too low to rank losses, which takes {percent(LEAST_AP)} or more"]
    return [
        f"{after}: long enough for a proxy",
        f"a pilot of {estimate.pilot} trainings or more, {estimate.proxies} in rounds and "
        f"{estimate.confirmations} to {estimate.most_confirmations} confirmations: about {duration(spans[0])} to "
        f"{duration(spans[1])} here",
    ]


def _as_yaml(spec: SearchSpec, baseline: Baseline, spans: tuple[float, float]) -> str:
    content = spec.model_dump(mode="json", exclude_defaults=True)
    content["dataset"]["root"] = "."
    least, most = (math.ceil(seconds / 60) for seconds in spans)
    remark = (
        f"# Written by `paploss init`. The baseline reached AP {percent(baseline.ap)} after {baseline.epochs} epochs;\n"
        f"# the search was estimated at {least} to {most} minutes on the machine that it was written on.\n"
    )
    return remark + yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
