"""From a split to batches whose content depends on (seed, epoch, image) alone.

Sample order and augmentation are functions of the position in training, so neither the number of loading processes nor
an interruption changes what the detector sees.
"""

import copy
import random
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from mmdet.registry import TRANSFORMS
from mmengine.dataset import Compose, pseudo_collate
from torch.utils.data import DataLoader, Dataset, Sampler

from trainer.datasets.coco import CocoSplit
from trainer.errors import UserError
from trainer.profiles.recipe import Config, Recipe

CACHE_BYTES = 512 * 2**20
"""Most memory that decoded images may take in one process; images beyond are decoded anew each time."""

Batch = dict[str, Any]
"""`inputs`: list of `[3, H, W]` uint8 images; `data_samples`: mmdet's annotations of each."""


class SampleKey(NamedTuple):
    """Which image, in which pass over the data."""

    epoch: int
    position: int
    """Of the image in the split."""


class TrainingSamples(Dataset[Batch]):
    """The images of a split that show an object, augmented as (seed, epoch, image) says.

    Args:
        split: the images; those without an object are left out, as mmdet does.
        recipe: the pipelines, and whether to keep the first one's output in memory, up to CACHE_BYTES.
        seed: the job's seed.
    """

    def __init__(self, split: CocoSplit, recipe: Recipe, seed: int) -> None:
        samples = split.samples()
        self._samples = [one for one in samples if any(not each["ignore_flag"] for each in one["instances"])]
        self._load = build_pipeline(recipe.load_pipeline)
        self._augment = build_pipeline(recipe.augment_pipeline)
        self._seed = seed
        self._cache: dict[int, dict[str, Any]] = {}
        self._cache_bytes_left = CACHE_BYTES if recipe.cache_loaded else 0

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, key: SampleKey) -> Batch:
        loaded = self._loaded(key.position)
        # mmdet's transforms draw from the two global generators.
        state = np.random.SeedSequence((self._seed, key.epoch, key.position)).generate_state(2)
        np.random.seed(state[0])  # noqa: NPY002
        random.seed(int(state[1]))
        sample: Batch = self._augment(loaded)
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


class EvaluationSamples(Dataset[Batch]):
    """Images `indices` of a split through the test pipeline."""

    def __init__(self, split: CocoSplit, pipeline: Sequence[Config], indices: Sequence[int]) -> None:
        samples = split.samples()
        self._samples = [samples[index] for index in indices]
        self._pipeline = build_pipeline(pipeline)

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Batch:
        return load_image(self._pipeline, self._samples[index])


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


def training_loader(samples: TrainingSamples, order: SampleOrder, process_count: int) -> DataLoader[Batch]:
    """Batches in the order given, loaded by `process_count` processes (0: in this one)."""
    return DataLoader(samples, batch_sampler=order, num_workers=process_count, collate_fn=pseudo_collate)


def evaluation_loader(samples: EvaluationSamples, batch_size: int, process_count: int) -> DataLoader[Batch]:
    """Batches for evaluation."""
    return DataLoader(samples, batch_size=batch_size, num_workers=process_count, collate_fn=pseudo_collate)


def build_pipeline(pipeline: Sequence[Config]) -> Compose:
    """mmdet's transforms, composed."""
    return Compose([TRANSFORMS.build(transform) for transform in pipeline])


def load_image(pipeline: Compose, sample: dict[str, Any]) -> dict[str, Any]:
    """`sample` through `pipeline`.

    Raises:
        UserError: the image file is missing or is no image.
    """
    try:
        loaded: dict[str, Any] = pipeline(copy.deepcopy(sample))
    except (OSError, AssertionError) as error:
        raise UserError(f"{sample['img_path']}: cannot be read as an image: {error}") from error
    return loaded
