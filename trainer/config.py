"""A job as a configuration for mmdet's own tools.

It trains the same detector on the same data with the same schedule as `python -m paploss.trainer run`, in mmengine's
loop (its sample order and the rounding of epochs differ), always in float32. The plug-in is found through
`custom_imports`.
"""

from pathlib import Path
from pprint import pformat

from paploss.files import whole_file
from paploss.jobs.spec import JobSpec, Split
from paploss.trainer.datasets.sources import JobData, split_of
from paploss.trainer.profiles.recipe import SLOW_RATE, Config, Recipe, Schedule

HEADER = (
    '"""Written by `python -m paploss.trainer config`; train with mmdet\'s tools/train.py, paploss installed."""\n\n'
)
LOADING_PROCESSES = 4


def mmdet_config(spec: JobSpec, data: JobData, recipe: Recipe) -> Config:
    """The configuration of `spec` as one dict of plain values."""
    root, classes = Path(data.dataset.root), data.train.classes
    train, val = split_of(data.dataset, "train"), split_of(data.dataset, spec.evaluate_split)
    schedule = recipe.schedule
    per_device = max(1, schedule.batch_size // max(1, spec.gpus))
    test_loader = _loader(root, val, classes, recipe.test_pipeline, batch_size=per_device, training=False)
    evaluator = {"type": "CocoMetric", "ann_file": str(root / val.annotations), "metric": "bbox"}
    train_pipeline = (*recipe.load_pipeline, *recipe.augment_pipeline)
    return {
        "custom_imports": {"imports": ["paploss.trainer.heads"], "allow_failed_imports": False},
        "default_scope": "mmdet",
        "model": _model(recipe, spec),
        "train_dataloader": _loader(root, train, classes, train_pipeline, batch_size=per_device, training=True),
        "val_dataloader": test_loader,
        "test_dataloader": test_loader,
        "val_evaluator": evaluator,
        "test_evaluator": evaluator,
        "train_cfg": {"type": "EpochBasedTrainLoop", "max_epochs": schedule.epochs, "val_interval": 1},
        "val_cfg": {"type": "ValLoop"},
        "test_cfg": {"type": "TestLoop"},
        "optim_wrapper": _optimizer(schedule),
        "param_scheduler": _rates(schedule),
        "custom_hooks": [{"type": "BalancingHook"}],
        "randomness": {"seed": spec.seed},
    }


def write_config(config: Config, file: Path) -> None:
    """Writes `config` as a Python file that mmengine reads."""
    lines = (f"{name} = {pformat(value, width=118, sort_dicts=False)}\n" for name, value in config.items())
    with whole_file(file) as output:
        output.write((HEADER + "\n".join(lines)).encode())


def _model(recipe: Recipe, spec: JobSpec) -> Config:
    if spec.weights is None:
        return recipe.model
    pretrained = {"type": "Pretrained", "checkpoint": spec.weights}
    return {**recipe.model, "backbone": {**recipe.model["backbone"], "init_cfg": pretrained}}


def _loader(
    root: Path, split: Split, classes: tuple[str, ...], pipeline: tuple[Config, ...], *, batch_size: int, training: bool
) -> Config:
    dataset: Config = {
        "type": "CocoDataset",
        "data_root": str(root),
        "ann_file": split.annotations,
        "data_prefix": {"img": split.images},
        "metainfo": {"classes": classes},
        "pipeline": list(pipeline),
    }
    if training:
        dataset["filter_cfg"] = {"filter_empty_gt": True}
    else:
        dataset["test_mode"] = True
    return {
        "batch_size": batch_size,
        "num_workers": LOADING_PROCESSES,
        "persistent_workers": True,
        "sampler": {"type": "DefaultSampler", "shuffle": training},
        "dataset": dataset,
    }


def _optimizer(schedule: Schedule) -> Config:
    optimizer: Config = {"lr": schedule.learning_rate, "weight_decay": schedule.weight_decay}
    if schedule.optimizer == "sgd":
        optimizer = {"type": "SGD", "momentum": schedule.momentum, **optimizer}
    else:
        optimizer = {"type": "AdamW", **optimizer}
    clip = {"max_norm": schedule.clip_norm} if schedule.clip_norm else None
    wrapper = {"type": "OptimWrapper", "optimizer": optimizer, "clip_grad": clip}
    if schedule.slow_parts:
        slow = {part: {"lr_mult": SLOW_RATE} for part in schedule.slow_parts}
        wrapper["paramwise_cfg"] = {"custom_keys": slow}
    return wrapper


def _rates(schedule: Schedule) -> list[Config]:
    warmup: list[Config] = []
    if schedule.warmup_iterations:
        span = {"by_epoch": False, "begin": 0, "end": schedule.warmup_iterations}
        warmup.append({"type": "LinearLR", "start_factor": schedule.warmup_factor, **span})
    by_epoch: Config = {"by_epoch": True, "begin": 0, "end": schedule.epochs}
    if schedule.decay == "cosine":
        return [
            *warmup,
            {"type": "CosineAnnealingLR", "T_max": schedule.epochs, "convert_to_iter_based": True, **by_epoch},
        ]
    if schedule.decay == "steps":
        milestones = [round(milestone * schedule.epochs) for milestone in schedule.milestones]
        return [*warmup, {"type": "MultiStepLR", "milestones": milestones, "gamma": 0.1, **by_epoch}]
    return warmup
