"""What a profile makes of a job: a detector, its pipelines and its schedule."""

from dataclasses import dataclass
from typing import Any, Literal

from paploss.jobs.spec import Precision

Config = dict[str, Any]
"""A piece of an mmdet configuration."""


SLOW_RATE = 0.1
"""Of the rate, as in DETRs for the backbone and for what says where attention looks."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast a detector learns."""

    epochs: int
    batch_size: int
    """Images a step, over all devices."""
    learning_rate: float
    """Peak rate at this batch size."""
    optimizer: Literal["adamw", "sgd"]
    weight_decay: float
    warmup_iterations: int
    """The rate rises linearly from warmup_factor times the peak to the peak in this many steps."""
    warmup_factor: float
    decay: Literal["constant", "cosine", "steps"]
    milestones: tuple[float, ...] = ()
    """Parts of the schedule after which the rate falls to a tenth, for `steps`."""
    momentum: float = 0.9
    """Of `sgd`."""
    clip_norm: float | None = None
    """Largest norm of the whole gradient."""
    slow_parts: tuple[str, ...] = ()
    """Parameters with one of these in their name learn at SLOW_RATE times the rate."""


@dataclass(frozen=True)
class Head:
    """A part of the detector with losses of its own, watched for divergence by itself."""

    name: str
    module: str
    """Path of the module in the detector."""
    losses: tuple[str, ...]
    """Names of its losses in the detector's output: those of all heads are what training minimises."""


@dataclass(frozen=True)
class Recipe:
    """Everything one training needs beside the data and the seed."""

    model: Config
    """mmdet's model configuration, its test settings included."""
    heads: tuple[Head, ...]
    load_pipeline: tuple[Config, ...]
    """Transforms without randomness, first in training. Their output is kept in memory if `cache_loaded`."""
    augment_pipeline: tuple[Config, ...]
    """Transforms with randomness and the packing, second in training."""
    test_pipeline: tuple[Config, ...]
    schedule: Schedule
    precision: Precision = "float32"
    """What the layers compute in, see `paploss.trainer.precision`."""
    cache_loaded: bool = False
    one_image_size: bool = False
    """Whether all training images come out of the pipelines with the same sides."""
