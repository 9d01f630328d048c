"""From a split to batches whose content depends on (seed, epoch, image) alone.

Sample order and augmentation are functions of the position in training, so neither the number of loading processes nor
an interruption changes what the detector sees.
"""

import copy
import os
import random
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from mmdet.registry import TRANSFORMS
from mmengine.dataset import Compose
from torch.utils.data import BatchSampler, DataLoader, Dataset, Sampler, SequentialSampler

from paploss.trainer import distributed
from paploss.trainer.cores import available_cores
from paploss.trainer.datasets.batches import Batch, PackedBatch, Sample, pack, unpack
from paploss.trainer.datasets.coco import CocoSplit
from paploss.trainer.datasets.image_files import read_image
from paploss.trainer.datasets.records import Records
from paploss.trainer.errors import MachineError, UserError, blame_machine
from paploss.trainer.profiles.recipe import Config, Recipe

CACHE_BYTES = 512 * 2**20
"""Most memory that decoded images may take in one process; images beyond are decoded anew each time."""

MOST_LOADING_PROCESSES = 8
"""For one device, unless an attempt says otherwise."""


class SampleKey(NamedTuple):
    """Which image, in which pass over the data."""

    epoch: int
    position: int
    """Of the image in the split."""


class TrainingSamples(Dataset[Sample]):
    """The images of a split that show an object, augmented as (seed, epoch, image) says.

    Args:
        split: the images; those without an object are left out, as mmdet does.
        recipe: the pipelines, and whether to keep the first one's output in memory, up to CACHE_BYTES.
        seed: the job's seed.
    """

    def __init__(self, split: CocoSplit, recipe: Recipe, seed: int) -> None:
        self._samples = Records(
            sample for sample in split.samples() if any(not one["ignore_flag"] for one in sample["instances"])
        )
        self._load = build_pipeline(recipe.load_pipeline)
        self._augment = build_pipeline(recipe.augment_pipeline)
        self._seed = seed
        self._cache: dict[int, dict[str, Any]] = {}
        self._cache_bytes_left = CACHE_BYTES if recipe.cache_loaded else 0

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, key: SampleKey) -> Sample:
        loaded = self._loaded(key.position)
        # mmdet's transforms draw from the two global generators.
        state = np.random.SeedSequence((self._seed, key.epoch, key.position)).generate_state(2)
        np.random.seed(state[0])  # noqa: NPY002
        random.seed(int(state[1]))
        sample: Sample = self._augment(loaded)
        return sample

    def _loaded(self, index: int) -> dict[str, Any]:
        if index in self._cache:
            return copy.deepcopy(self._cache[index])
        loaded = load_image(self._load, self._samples[index])
        size = loaded["img"].nbytes
        if size <= self._cache_bytes_left:
            self._cache_bytes_left -= size
            self._cache[index] = copy.deepcopy(loaded)
        return loaded


class EvaluationSamples(Dataset[Sample]):
    """Images `indices` of a split through the test pipeline."""

    def __init__(self, split: CocoSplit, pipeline: Sequence[Config], indices: Sequence[int]) -> None:
        self._samples = Records(split.samples())
        self._indices = indices
        self._pipeline = build_pipeline(pipeline)

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> Sample:
        return load_image(self._pipeline, self._samples[self._indices[index]])


class SampleOrder(Sampler[list[SampleKey]]):
    """The batches from `start_iteration` to `total_iterations` of one device of `device_count`.

    Passes over the data, each in its own random order, are joined to one endless row; iteration i takes the i-th
    `batch_size` of it, so every batch is full. Each device takes an equal, interleaved part.
    """

    def __init__(
        self,
        *,
        image_count: int,
        batch_size: int,
        seed: int,
        start_iteration: int,
        total_iterations: int,
        device: int = 0,
        device_count: int = 1,
    ) -> None:
        self._image_count = image_count
        self._batch_size = batch_size
        self._seed = seed
        self._iterations = range(start_iteration, total_iterations)
        self._device, self._device_count = device, device_count

    def __len__(self) -> int:
        return len(self._iterations)

    def __iter__(self) -> Iterator[list[SampleKey]]:
        order_epoch, order = -1, np.empty(0, dtype=np.int64)
        for iteration in self._iterations:
            keys = []
            for position in range(iteration * self._batch_size, (iteration + 1) * self._batch_size):
                epoch, place = divmod(position, self._image_count)
                if epoch != order_epoch:
                    order_epoch = epoch
                    order = np.random.default_rng((self._seed, epoch)).permutation(self._image_count)
                keys.append(SampleKey(epoch, int(order[place])))
            yield keys[self._device :: self._device_count]


def training_batches(
    samples: TrainingSamples, order: SampleOrder, process_count: int, device: torch.device
) -> Iterator[Batch]:
    """Batches in the order given, on `device`, loaded by `process_count` processes (0: by this one).

    Raises:
        UserError: an image cannot be read.
        MachineError: the same, and the image is not to blame.
    """
    return _batches(samples, order, process_count, device)


def evaluation_batches(
    samples: EvaluationSamples, batch_size: int, process_count: int, device: torch.device
) -> Iterator[Batch]:
    """All samples in batches, on `device`; arguments and errors as in `training_batches`."""
    order = BatchSampler(SequentialSampler(samples), batch_size, drop_last=False)
    return _batches(samples, order, process_count, device)


def choose_process_count(recipe: Recipe, device: torch.device) -> int:
    """How many processes should load images for this one."""
    if recipe.cache_loaded or device.type == "cpu":
        return 0  # the images are in memory, or the cores are busy training
    return min(MOST_LOADING_PROCESSES, max(1, available_cores() // distributed.world_size()))


class _Packing(Dataset[PackedBatch | UserError | MachineError]):
    """Packs batches where they are loaded.

    An image that cannot be read is what it gives: if it were raised in another process, torch would put that process's
    traceback in front of the sentence.
    """

    def __init__(self, samples: Dataset[Sample]) -> None:
        self._samples = samples

    def __getitem__(self, keys: Sequence[Any]) -> PackedBatch | UserError | MachineError:
        try:
            return pack([self._samples[key] for key in keys])
        except (UserError, MachineError) as error:
            return error


def _batches(
    samples: Dataset[Sample], order: Sampler[Any], process_count: int, device: torch.device
) -> Iterator[Batch]:
    loader = DataLoader(
        _Packing(samples),
        sampler=order,
        batch_size=None,  # the order's items are whole batches
        num_workers=process_count,
        collate_fn=_unchanged,  # type: ignore[arg-type]
        pin_memory=device.type == "cuda",
    )
    for packed in loader:
        if isinstance(packed, UserError | MachineError):
            raise packed
        yield unpack(packed, device)


def _unchanged(packed: PackedBatch | UserError | MachineError) -> PackedBatch | UserError | MachineError:
    return packed


def build_pipeline(pipeline: Sequence[Config]) -> Compose:
    """mmdet's transforms, composed."""
    return Compose([TRANSFORMS.build(transform) for transform in pipeline])


def load_image(pipeline: Compose, sample: dict[str, Any]) -> dict[str, Any]:
    """`sample` through `pipeline`.

    Raises:
        UserError: the image file is missing, is no image, or has another size than the annotation file says.
        MachineError: it cannot be read, which is no fault of the file.
    """
    file, expected = sample["img_path"], (sample["height"], sample["width"])
    try:
        if not stat.S_ISREG(os.stat(file).st_mode):  # a pipe would be waited for, and a device never ends
            raise UserError(f"{file}: cannot be read as an image: it is no file")
        loaded: dict[str, Any] = pipeline(sample)
    except (OSError, AssertionError, cv2.error) as error:
        blame_machine(file, error)
        raise UserError(f"{file}: cannot be read as an image: {read_image(Path(file)).problem or error}") from error
    height, width = loaded["ori_shape"] if "ori_shape" in loaded else loaded["data_samples"].ori_shape
    if (height, width) != expected:
        raise UserError(
            f"{file}: {expected[1]} x {expected[0]} px in the annotations, {width} x {height} px in the image"
        )
    return loaded
