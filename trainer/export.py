"""What outlives a final training: its weights, mmdet's configuration of it, and where it comes from."""

import json
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from paploss.files import whole_file
from paploss.jobs.metrics import Metrics
from paploss.jobs.spec import JobSpec
from paploss.trainer.config import write_config
from paploss.trainer.datasets.check import check_files
from paploss.trainer.datasets.loading import choose_process_count
from paploss.trainer.datasets.sources import read_job_data
from paploss.trainer.detectors import build_detector
from paploss.trainer.errors import UserError
from paploss.trainer.evaluation import evaluate
from paploss.trainer.precision import compute_in
from paploss.trainer.process import set_up
from paploss.trainer.profiles import recipe_of
from paploss.trainer.profiles.recipe import Config
from paploss.trainer.weights import read_state_dict

WEIGHTS_NAME, CONFIG_NAME, ORIGIN_NAME = "detector.pth", "config.py", "origin.json"


def keep_final(
    folder: Path,
    detector: nn.Module,
    spec: JobSpec,
    metrics: Metrics,
    *,
    config: Config,
    environment: dict[str, str],
) -> Path:
    """Writes to `folder` the weights, a config for mmdet, and a JSON file of job, metrics and environment.

    Returns:
        The file of the weights, a state dict that mmdet loads as a checkpoint. It is written last.
    """
    folder.mkdir(exist_ok=True)
    write_config(config, folder / CONFIG_NAME)
    origin = {
        "job": spec.model_dump(mode="json"),
        "metrics": metrics.model_dump(),
        "environment": environment,
    }
    with whole_file(folder / ORIGIN_NAME) as file:
        file.write((json.dumps(origin, indent=2) + "\n").encode())
    classes = list(config["train_dataloader"]["dataset"]["metainfo"]["classes"])
    with whole_file(folder / WEIGHTS_NAME) as file:
        torch.save({"state_dict": detector.state_dict(), "meta": {"dataset_meta": {"classes": classes}}}, file)
    return folder / WEIGHTS_NAME


def evaluate_final(
    weights: Path, spec: JobSpec, split: Literal["val", "test"], cache: Path | None
) -> tuple[Metrics, int]:
    """COCO metrics of final weights on a split of their job's data set, and of how many images they are.

    `cache`: as that of an attempt.

    Raises:
        UserError: the weights do not fit the job's detector, or its data is wrong.
    """
    data = read_job_data(spec.model_copy(update={"evaluate_split": split}), cache)
    if data.dataset.check_files and spec.dataset.root:
        check_files(data.test, cache, data.findings)
        data.findings.raise_errors()
    recipe = recipe_of(spec, data.train)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    set_up(device)
    detector = build_detector(recipe.model, spec.seed)
    try:
        detector.load_state_dict(read_state_dict(weights))
    except RuntimeError as error:
        raise UserError(f"{weights}: does not fit the profile {spec.profile!r}: {error}") from error
    compute_in(detector.to(device), recipe)
    evaluated = evaluate(detector, data.test, recipe.test_pipeline, choose_process_count(recipe, device))
    return evaluated.metrics, len(data.test.images)
