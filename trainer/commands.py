"""The trainer's command line.

Standard output belongs to the results (of `run`: to its events), logs go to standard error. Modules that import torch
are loaded late: `synthetic` jobs and `--help` answer in milliseconds.
"""

import argparse
import json
import logging
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, get_args

from pydantic import ValidationError

from paploss.caches import find_cache_folder, provide_home
from paploss.jobs.frameworks import Framework
from paploss.jobs.losses import parse_loss
from paploss.jobs.metrics import REWARD
from paploss.jobs.spec import EXIT_INTERRUPTED, DatasetSpec, JobResult, JobSpec
from paploss.trainer.attempt import AttemptContext
from paploss.trainer.errors import Interrupted, MachineError, OutOfMemory, UserError
from paploss.trainer.events import claim_stdout, discard
from paploss.trainer.launch import die_with_launcher, leave_failure, run_on_gpus

log = logging.getLogger("trainer")

MAX_ERROR_LENGTH = 4000
USER_ERROR_STATUS = 2


def main() -> int:
    """Runs the command that the process was started with; its exit status."""
    arguments = _parser().parse_args()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        provide_home()
        status: int = arguments.command(arguments)
    except (UserError, MachineError) as error:
        sys.stderr.write(f"paploss: {error}\n")  # as every command of `paploss`, some of which start this program
        return USER_ERROR_STATUS
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m paploss.trainer", description="Train and evaluate detectors.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    cached = argparse.ArgumentParser(add_help=False)
    cached.add_argument(
        "--data-cache", type=Path, help="folder for the embedded data set and for what was read of images"
    )

    run = commands.add_parser("run", parents=[cached], help="train and evaluate one job; prints events as JSON lines")
    run.add_argument("job", type=Path, help="JSON file of a job")
    run.add_argument("--state", type=Path, required=True, help="folder for this trial's checkpoints and final weights")
    run.add_argument("--checkpoint-seconds", type=float, default=60.0, help="time between checkpoints")
    run.add_argument("--no-check", action="store_true", help="do not read all images before the first step")
    run.add_argument("--loading-processes", type=int, default=None, help="processes that load images, per device")
    run.set_defaults(command=_run)

    evaluate = commands.add_parser("evaluate", parents=[cached], help="metrics of final weights, per class too")
    evaluate.add_argument("--checkpoint", type=Path, required=True, help="detector.pth of a final training")
    evaluate.add_argument("--split", choices=("val", "test"), default="test")
    evaluate.add_argument("--job", type=Path, help="JSON file of the job, if not in origin.json beside the checkpoint")
    evaluate.add_argument("--no-check", action="store_true", help="do not read all images first")
    evaluate.set_defaults(command=_evaluate)

    split = commands.add_parser("split", help="cut a training set into search_train*.json and search_val*.json")
    split.add_argument("annotations", type=Path, help="COCO file, e.g. annotations/instances_train2017.json")
    split.add_argument("--val", required=True, help="images for validation: a number, or a part below 1")
    split.add_argument("--seed", type=int, default=0)
    split.add_argument("--overwrite", action="store_true", help="replace files that exist")
    split.set_defaults(command=_split)

    check = commands.add_parser("check", parents=[cached], help="check a data set; prints a report as JSON")
    check.add_argument("target", nargs="?", type=Path, help="folder in any layout that is known, or a COCO file")
    check.add_argument("--dataset", help="in place of a target: a data set of a job, as JSON")
    check.add_argument("--profile", help="detector that objects have to be large enough for")
    check.add_argument("--reward", default='"AP"', help="what has to be measurable, as in a job, as JSON")
    check.add_argument("--image-size", type=int, help="at this image size instead of the profile's, px")
    check.add_argument("--html", type=Path, help="file for the report as a page with pictures")
    check.add_argument("--no-check", action="store_true", help="check annotations alone, read no images")
    check.set_defaults(command=_check)

    convert = commands.add_parser("convert", parents=[cached], help="write a data set in another layout as COCO")
    convert.add_argument("folder", type=Path, help="COCO, Pascal VOC or YOLO")
    convert.add_argument("--output", type=Path, help="folder for the COCO files and images/ (FOLDER)")
    convert.add_argument("--layout", choices=("coco", "voc", "yolo"), help="instead of recognising it")
    convert.add_argument("--overwrite", action="store_true", help="replace COCO files that exist")
    convert.add_argument("--share", type=float, help="draw missing parts, each of this share of the images")
    convert.add_argument("--seed", type=int, default=0, help="which images are drawn")
    convert.set_defaults(command=_convert)

    config = commands.add_parser("config", parents=[cached], help="a job as a configuration for mmdet's own tools")
    config.add_argument("job", type=Path, help="JSON file of a job")
    config.add_argument("--output", type=Path, required=True, help="Python file to write")
    config.set_defaults(command=_config)

    module = commands.add_parser("module", help="a loss as a Python file that needs torch, and a framework, alone")
    module.add_argument("file", type=Path, help="JSON file with a loss under `loss`: a job, or an exported loss")
    module.add_argument("--origin", default="", help="a line for the file that says where the loss is from")
    module.add_argument("--output", type=Path, required=True, help="Python file to write")
    module.add_argument(
        "--for", dest="framework", choices=get_args(Framework), default="torch", help="whose form it takes"
    )
    module.set_defaults(command=_module)
    return parser


def _run(arguments: argparse.Namespace) -> int:
    die_with_launcher()
    stop_signals: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stop_signals.append(number))
    try:
        spec = _with_checks(_read_job(arguments.job), arguments)
        arguments.state.mkdir(parents=True, exist_ok=True)
    except UserError as error:
        claim_stdout()(_failed("user", str(error)))
        return 0
    except OSError as error:
        claim_stdout()(_failed("crash", f"{arguments.state}: cannot be created: {error.strerror}"))
        return 0
    in_group = "RANK" in os.environ
    if spec.gpus > 1 and not in_group:
        return run_on_gpus(sys.argv[1:], spec.gpus)
    attempt = AttemptContext(
        state=arguments.state,
        cache=_cache(arguments),
        emit=discard if in_group and os.environ["RANK"] != "0" else claim_stdout(),
        stop_requested=lambda: bool(stop_signals),
        checkpoint_seconds=arguments.checkpoint_seconds,
        loading_processes=arguments.loading_processes,
    )
    try:
        result = _train(spec, attempt)
    except Interrupted as outcome:
        log.info("%s", outcome)
        return EXIT_INTERRUPTED
    except UserError as error:
        result = _failed("user", str(error))
    except OutOfMemory as error:
        result = _failed("out_of_memory", str(error))
    except MachineError as error:
        result = _failed("crash", str(error))
    except Exception:
        log.exception("crashed")
        result = _failed("crash", traceback.format_exc())
    is_left = result.outcome == "failed" and leave_failure(result)
    if not is_left:
        attempt.emit(result)
    # A process that gave up alone must not look finished: torchrun then ends the others, which wait for it.
    return 1 if in_group and result.outcome == "failed" else 0


def _train(spec: JobSpec, attempt: AttemptContext) -> JobResult:
    if spec.profile == "synthetic":
        from paploss.trainer.synthetic import train_synthetic  # noqa: PLC0415

        return train_synthetic(spec, attempt)
    from paploss.trainer.training import train_and_evaluate  # noqa: PLC0415

    return train_and_evaluate(spec, attempt)


def _evaluate(arguments: argparse.Namespace) -> int:
    spec = _read_origin(arguments.checkpoint) if arguments.job is None else _read_job(arguments.job)
    from paploss.trainer.export import evaluate_final  # noqa: PLC0415

    spec = _with_checks(spec, arguments)
    metrics, images = evaluate_final(arguments.checkpoint, spec, arguments.split, _cache(arguments))
    measured = {"split": arguments.split, "images": images, **metrics.model_dump(mode="json")}
    sys.stdout.write(json.dumps(measured, indent=2) + "\n")
    return 0


def _split(arguments: argparse.Namespace) -> int:
    from paploss.trainer.datasets.split import read_amount, split_file  # noqa: PLC0415

    files = split_file(arguments.annotations, read_amount(arguments.val), arguments.seed, arguments.overwrite)
    sys.stdout.write(json.dumps(files._asdict(), default=str) + "\n")
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from paploss.trainer.datasets.diagnosis import Detector, diagnose  # noqa: PLC0415
    from paploss.trainer.datasets.report_page import write_page  # noqa: PLC0415

    if (arguments.target is None) == (arguments.dataset is None):
        raise UserError("expected a folder or file, or --dataset")
    try:
        target = arguments.target or DatasetSpec.model_validate_json(arguments.dataset)
        reward = REWARD.validate_json(arguments.reward)
    except ValidationError as error:
        raise UserError(f"--dataset, --reward: {error}") from error
    detector = Detector(arguments.profile, arguments.image_size) if arguments.profile else None
    files = not arguments.no_check
    found = diagnose(target, detector=detector, reward=reward, cache=_cache(arguments), files=files)
    if arguments.html is not None:
        with _writing(arguments.html):
            write_page(found.report, found.splits, arguments.html)
    sys.stdout.write(found.report.model_dump_json() + "\n")
    return 0


def _convert(arguments: argparse.Namespace) -> int:
    from paploss.trainer.datasets.layouts.recognition import convert  # noqa: PLC0415

    output = arguments.output or arguments.folder
    if arguments.share is not None:
        from paploss.trainer.datasets.preparation import prepare  # noqa: PLC0415

        written = prepare(
            arguments.folder,
            output,
            arguments.share,
            arguments.seed,
            overwrite=arguments.overwrite,
            cache=_cache(arguments),
        )
        sys.stdout.write(json.dumps(written) + "\n")
        return 0
    written = convert(
        arguments.folder, output, arguments.layout, overwrite=arguments.overwrite, cache=_cache(arguments)
    )
    sys.stdout.write(json.dumps(written) + "\n")
    return 0


def _config(arguments: argparse.Namespace) -> int:
    spec = _read_job(arguments.job)
    from paploss.trainer.config import mmdet_config, write_config  # noqa: PLC0415
    from paploss.trainer.datasets.sources import read_job_data  # noqa: PLC0415
    from paploss.trainer.profiles import recipe_of  # noqa: PLC0415

    data = read_job_data(spec, _cache(arguments))
    config = mmdet_config(spec, data, recipe_of(spec, data.train))
    with _writing(arguments.output):
        write_config(config, arguments.output)
    sys.stdout.write(f"{arguments.output}\n")
    return 0


def _module(arguments: argparse.Namespace) -> int:
    from paploss.trainer.standalone import write_module  # noqa: PLC0415

    try:
        loss = parse_loss(json.loads(arguments.file.read_bytes())["loss"], strict=True)
    except OSError as error:
        raise UserError(f"{arguments.file}: cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{arguments.file}: expected a key 'loss' with a loss: {error}") from error
    with _writing(arguments.output):
        write_module(loss, arguments.origin, arguments.output, arguments.framework)
    sys.stdout.write(f"{arguments.output}\n")
    return 0


@contextmanager
def _writing(file: Path) -> Iterator[None]:
    """Names `file` where it cannot be written."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{file}: cannot be written: {error.strerror}") from error


def _cache(arguments: argparse.Namespace) -> Path:
    """The folder for the embedded data set, and for what was read of images."""
    try:
        return arguments.data_cache or find_cache_folder()
    except OSError as error:
        raise UserError(f"no cache folder can be written to ({error}); name one with XDG_CACHE_HOME") from error


def _with_checks(spec: JobSpec, arguments: argparse.Namespace) -> JobSpec:
    if not arguments.no_check:
        return spec
    return spec.model_copy(update={"dataset": spec.dataset.model_copy(update={"check_files": False})})


def _read_job(file: Path) -> JobSpec:
    try:
        return JobSpec.model_validate_json(file.read_bytes())
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise UserError(f"{file}: {error}") from error


def _read_origin(checkpoint: Path) -> JobSpec:
    file = checkpoint.with_name("origin.json")
    try:
        return JobSpec.model_validate(json.loads(file.read_bytes())["job"])
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror}); name the job with --job") from error
    except (ValueError, KeyError) as error:
        raise UserError(f"{file}: expected a key 'job' with a job: {error}") from error


def _failed(kind: Literal["user", "out_of_memory", "crash"], message: str) -> JobResult:
    # A traceback ends in what matters, a list begins with it.
    shortened = message[-MAX_ERROR_LENGTH:] if kind == "crash" else message[:MAX_ERROR_LENGTH]
    return JobResult(outcome="failed", error_kind=kind, error=shortened or kind)
