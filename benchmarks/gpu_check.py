"""Whether everything works on this machine's GPU, and how fast: `make gpu-check`, or `python -m benchmarks.gpu_check`.

    operators   mmcv's compiled operators load, and compute what they compute on the CPU
    agreement   values and gradients of the losses, and the losses of a detector's first step, are those of the CPU
    losses      the Parameterized AP Loss against a lean focal loss, and how often it waits for the device
    records     the losses' benchmarks, each with its own record: loss-cuda.json, ranking-losses-cuda.json
    training    steps of ResNet-50 detectors at 512 px, with as many classes as COCO has: time, peak memory, share of
                the losses
    search      a search with real trainings, three at a time on one GPU

Takes about half an hour. `--steps` chooses among them; `--small` runs the same code on a CPU with tiny sizes, for which
nothing is claimed. Writes benchmarks/results/gpu-check.json after each part, and ends with status 1 if a part failed.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.loss import inputs, ours
from benchmarks.measurement import count_waits, entries, focal, milliseconds
from benchmarks.published import CONTROL_POINTS
from benchmarks.record import write_record
from benchmarks.training_steps import measure, take_steps
from paploss.jobs.losses import parse_loss
from paploss.jobs.presets import PRESETS
from paploss.jobs.spec import DatasetSpec, JobSpec, Overrides, Split
from paploss.losses import alrp_loss, ap_loss, parameterized_ap_loss, rank_sort_loss
from paploss.trainer.datasets.digits import embedded_digits

CODE = ("benchmarks/gpu_check.py", "benchmarks/training_steps.py", "trainer", "paploss/losses")
GOAL_RATIO = 1.5
"""Of the Parameterized AP Loss to a lean focal loss, from a million entries on."""
AGREEMENT = {"float64": 1e-9, "float32": 1e-4, "detector": 1e-2}
"""Largest relative difference to the CPU in float64; a detector's layers compute with the digits of TF32."""


class PartError(Exception):
    """A part found something wrong; the text says what."""


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    device: torch.device
    loss_entries: tuple[int, ...]
    """N; 6.3e7 are those of a RetinaNet with 80 classes, 16 images of 512 px."""
    profiles: tuple[str, ...]
    batch_sizes: tuple[int, ...]
    image_size_px: int
    classes_per_digit: int
    steps: int
    repeats: int
    slots: int
    trials: int
    overrides: Mapping[str, int]
    """Of the trainings in the search."""


FULL = Sizes(
    torch.device("cuda"),
    (10**6, 10**7, 63 * 10**6),
    ("retinanet-r50", "faster-rcnn-r50"),
    (16, 64),
    512,
    16,
    60,
    21,
    slots=3,
    trials=6,
    overrides={"epochs": 2},
)
SMALL = Sizes(
    torch.device("cpu"),
    (10**4,),
    ("retinanet-tiny", "faster-rcnn-tiny"),
    (2,),
    64,
    2,
    4,
    3,
    slots=2,
    trials=2,
    overrides={"epochs": 1, "image_size_px": 64},
)


def check_operators(sizes: Sizes) -> dict[str, object]:
    """Suppression and alignment of boxes, on the device and on the CPU."""
    from mmcv.ops import nms, roi_align  # noqa: PLC0415 (an operator that does not load fails this part alone)

    generator = torch.Generator().manual_seed(0)
    boxes = torch.rand(500, 4, generator=generator) * 50
    boxes[:, 2:] += boxes[:, :2] + 1
    scores = torch.rand(500, generator=generator)
    image = torch.rand(1, 8, 64, 64, generator=generator)
    regions = torch.cat([torch.zeros(500, 1), boxes], dim=1)
    kept, kept_there = (nms(boxes.to(at), scores.to(at), 0.5)[1].cpu() for at in ("cpu", sizes.device))
    aligned, aligned_there = (roi_align(image.to(at), regions.to(at), 7).cpu() for at in ("cpu", sizes.device))
    difference = float((aligned - aligned_there).abs().max())
    if not torch.equal(kept, kept_there) or difference > 1e-4:
        raise PartError(
            f"operators differ from the CPU's: {len(kept)} boxes kept, there {len(kept_there)}; {difference:g}"
        )
    return {"boxes_kept": len(kept), "roi_align_difference": difference}


def check_agreement(sizes: Sizes) -> dict[str, object]:
    """Largest differences to the CPU, relative to the largest number."""
    count = min(sizes.loss_entries[0], 10**5)
    found: dict[str, float] = {}
    for dtype in (torch.float64, torch.float32):
        for name in LOSSES:
            there = _value_and_gradient(name, count, sizes.device, dtype)
            here = _value_and_gradient(name, count, torch.device("cpu"), torch.float64)
            found[f"{name} {str(dtype).rpartition('.')[2]}"] = max(map(_difference, there, here))
    for profile in SMALL.profiles:
        job = make_job(profile, "parameterized_ap", 4, 64)
        losses, expected = (next(take_steps(job, 1, at))[2] for at in (sizes.device, torch.device("cpu")))
        found[f"{profile} detector"] = max(
            abs(losses[name] - known) / max(abs(known), 1e-3) for name, known in expected.items()
        )
    if wrong := {name: value for name, value in found.items() if not value <= AGREEMENT[name.rpartition(" ")[2]]}:
        raise PartError(f"differs from the CPU by more than {AGREEMENT}: {wrong}")
    return dict(found)


def check_losses(sizes: Sizes) -> dict[str, object]:
    """Times of forward and backward beside a lean focal loss, the device's work in them, and waits for the device."""
    found: dict[str, object] = {}
    for count, kind in itertools.product(sizes.loss_entries, ("near", "detector", "initial")):
        logits, quality, targets, points = inputs(kind, count, 1000, sizes.device)
        steps = {"ours": ours(logits, quality, targets, points), "focal": focal(logits, targets)}
        times = milliseconds(steps, sizes.repeats, sizes.device, time.perf_counter)
        ratio = times["ours"] / times["focal"]
        found[f"{kind}, N={count:.2g}"] = {
            "milliseconds": {name: round(taken, 3) for name, taken in times.items()},
            "ratio": round(ratio, 3),
            "goal_ratio": GOAL_RATIO,
            "device": {name: _device_work(step, sizes.device) for name, step in steps.items()},
            "waits": count_waits(steps["ours"]) if sizes.device.type == "cuda" else None,
        }
    return found


def run_records(sizes: Sizes) -> dict[str, object]:
    """The losses' own benchmarks."""
    if sizes is SMALL:
        return {"left_out": "their sizes are fixed, and their CPU records exist"}
    for module in ("loss", "ranking_losses"):
        _run([sys.executable, "-m", f"benchmarks.{module}", "--device", "cuda"], {})
    return {"written": ["loss-cuda.json", "ranking-losses-cuda.json"]}


def measure_training(sizes: Sizes) -> dict[str, object]:
    """Steps of each detector with two losses, in both precisions."""
    found: dict[str, object] = {"steps": sizes.steps}
    with tempfile.TemporaryDirectory() as folder:
        dataset = split_classes(Path(folder), sizes.classes_per_digit)
        for profile, batch_size, precision in itertools.product(sizes.profiles, sizes.batch_sizes, ("float32", "bf16")):
            other = "focal_giou" if profile.startswith("retinanet") else "ce_giou"
            for loss in (other, "parameterized_ap"):
                job = make_job(profile, loss, batch_size, sizes.image_size_px, precision)
                name = f"{profile}, batch {batch_size}, {precision}, {loss}"
                found[name] = measure(job.model_copy(update={"dataset": dataset}), sizes.steps, sizes.device)
                print(f"   {name}: {found[name]}", flush=True)
    return found


def run_search(sizes: Sizes) -> dict[str, object]:
    """A whole search through the platform, several trainings at a time on one device."""
    gpus = int(sizes.device.type == "cuda")
    spec = {
        "name": "gpu check",
        "profile": "retinanet-tiny",
        "gpus": gpus,
        "rounds": 1,
        "trials_per_round": sizes.trials,
        "overrides": dict(sizes.overrides),
        "confirm": {"candidates": 1, "seeds": 1},
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "spec.yaml"
        file.write_text(json.dumps(spec))
        command = [
            sys.executable,
            "-m",
            "paploss.cli",
            "search",
            str(file),
            "--state",
            f"{folder}/state",
            "--workers",
            "1",
        ]
        started = time.monotonic()
        threads = {} if gpus else {"OMP_NUM_THREADS": "1"}  # on a CPU, slots would wait for each other's threads
        _run(command, {"PAPLOSS_SLOTS": str(sizes.slots), "PAPLOSS_GPUS": f"[{gpus}]"} | threads)
        return {"slots": sizes.slots, "trials": sizes.trials, "seconds": round(time.monotonic() - started, 1)}


def split_classes(folder: Path, parts: int) -> DatasetSpec:
    """The embedded data set with each of its classes in `parts`: what a dense head ranks grows with their number."""
    digits = embedded_digits(None)
    splits = {}
    for name in ("train", "val"):
        split = getattr(digits, name)
        content = json.loads((Path(digits.root) / split.annotations).read_text())
        labels = itertools.product(range(len(content["categories"])), range(parts))
        content["categories"] = [
            {"id": 1 + label * parts + part, "name": f"{label}, part {part}"} for label, part in labels
        ]
        for annotation in content["annotations"]:
            annotation["category_id"] = 1 + (annotation["category_id"] - 1) * parts + annotation["id"] % parts
        (folder / f"{name}.json").write_text(json.dumps(content))
        (folder / name).symlink_to(Path(digits.root) / split.images)
        splits[name] = Split(annotations=f"{name}.json", images=name)
    return DatasetSpec(name="digits", root=str(folder), **splits)


def make_job(profile: str, loss: str, batch_size: int, image_size_px: int, precision: str = "float32") -> JobSpec:
    """A training on the embedded images."""
    preset = PRESETS["faster-rcnn" if profile.startswith("faster") else "retinanet"]
    overrides = Overrides.model_validate(
        {"batch_size": batch_size, "image_size_px": image_size_px, "precision": precision}
    )
    chosen = preset if loss == "parameterized_ap" else parse_loss({"name": loss}, strict=True)
    return JobSpec(trial_id="gpu-check", profile=profile, loss=chosen, overrides=overrides)


def _parameterized(logits: Tensor, quality: Tensor, targets: Tensor) -> Tensor:
    return parameterized_ap_loss(logits, quality, targets, CONTROL_POINTS.to(logits.device))


def _alrp(logits: Tensor, quality: Tensor, targets: Tensor) -> Tensor:
    parts = alrp_loss(logits, targets, 1 - quality[targets == 1])
    return parts.classification + parts.regression


def _rank_sort(logits: Tensor, quality: Tensor, targets: Tensor) -> Tensor:
    errors = rank_sort_loss(logits, torch.where(targets == 1, quality, targets))
    return errors.ranking + errors.sorting


LOSSES: Mapping[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "parameterized_ap": _parameterized,
    "ap": lambda logits, _, targets: ap_loss(logits, targets),
    "alrp": _alrp,
    "rank_sort": _rank_sort,
}


def _value_and_gradient(name: str, count: int, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    logits, quality, targets = entries("near", count, 100, torch.device("cpu"), torch.float32)
    given = logits.detach().to(device, dtype).requires_grad_()
    value = LOSSES[name](given, quality.detach().to(device, dtype), targets.to(device))
    (gradient,) = torch.autograd.grad(value, given)
    return value.detach(), gradient


def _difference(there: Tensor, here: Tensor) -> float:
    return float((there.cpu().double() - here.double()).abs().max() / here.double().abs().max().clamp(min=1e-12))


def _device_work(step: Callable[[], object], device: torch.device) -> dict[str, float] | None:
    """What one step launches on a GPU, and how long the GPU works at it; the rest of the step's time it idles."""
    if device.type != "cuda":
        return None
    activities = (torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA)
    found = []
    for _ in range(3):
        step()
        torch.cuda.synchronize(device)
        with torch.profiler.profile(activities=activities) as profiled:
            step()
            torch.cuda.synchronize(device)
        kernels = [event for event in profiled.events() if str(event.device_type) == "DeviceType.CUDA"]
        busy = sum(event.time_range.elapsed_us() for event in kernels)
        found.append({"launches": len(kernels), "busy_ms": round(busy / 1e3, 3)})
    return min(found, key=lambda work: work["launches"])  # on a busy machine a profile has some of the step before


def _run(command: list[str], settings: Mapping[str, str]) -> None:
    done = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PartError(
            f"{' '.join(command[1:5])}: exit status {done.returncode}\n{done.stdout}\n{done.stderr[-2000:]}"
        )


PARTS: Mapping[str, Callable[[Sizes], dict[str, object]]] = {
    "operators": check_operators,
    "agreement": check_agreement,
    "losses": check_losses,
    "records": run_records,
    "training": measure_training,
    "search": run_search,
}


def main(arguments: list[str] | None = None) -> int:
    """Run the parts; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART")
    parser.add_argument("--small", action="store_true", help="tiny sizes on the CPU")
    parser.add_argument("--results", type=Path, help="folder of the record (benchmarks/results; needed with --small)")
    options = parser.parse_args(arguments)
    sizes = SMALL if options.small else FULL
    if options.small and options.results is None:
        parser.error("--small: expected --results FOLDER, so that no record of a GPU is replaced")
    if not options.small and not torch.cuda.is_available():
        parser.error(f"torch {torch.__version__} sees no GPU; --small tries the same code on the CPU")
    result: dict[str, Any] = {
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "gpu": None if options.small else torch.cuda.get_device_name(),
        "failed": [],
    }
    for name in options.steps:
        print(f"== {name}", flush=True)
        started = time.monotonic()
        try:
            result[name] = PARTS[name](sizes)
        except Exception as error:  # the other parts still tell something
            traceback.print_exc()
            result[name] = {"error": f"{type(error).__name__}: {error}"}
            result["failed"].append(name)
        print(f"   {time.monotonic() - started:.0f} s", flush=True)
        path = write_record("gpu-check", CODE, result, options.results)
    print(f"recorded in {path}; failed: {', '.join(result['failed']) or 'nothing'}")
    return 1 if result["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
