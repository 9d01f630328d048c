"""Batches on their way from the processes that load images to the device that trains."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor

Sample = Mapping[str, Any]
"""What mmdet's pipelines end in: `inputs`, an image `[3, H, W]`, and `data_samples`, a DetDataSample."""

Batch = dict[str, Any]
"""`inputs`: images `[B, 3, H, W]`, or a list of `[3, H, W]` where they differ in size; uint8, or float32 where a
pipeline changes colours. `data_samples`: mmdet's annotations of each, a list."""


class PackedBatch(NamedTuple):
    """A batch in few tensors: each takes a file descriptor between processes, and a copy to a device."""

    images: Tensor | list[Tensor]
    boxes: Tensor
    """Of all images, `[n, 4]` corners in pixels: objects of the first, its crowds, objects of the second, and so on."""
    labels: Tensor
    """`[n]` int64."""
    counts: list[int]
    """Objects and crowds of each image, in that order."""
    metainfo: list[dict[str, Any]]
    """mmdet's, of each image."""


def pack(samples: Sequence[Sample]) -> PackedBatch:
    """The samples as one batch."""
    images = [sample["inputs"] for sample in samples]
    boxes, labels = [torch.zeros(0, 4)], [torch.zeros(0, dtype=torch.int64)]
    counts = []
    for sample in samples:
        for found in (sample["data_samples"].gt_instances, sample["data_samples"].ignored_instances):
            if "bboxes" in found:  # not in tests
                boxes.append(found.bboxes.tensor)
                labels.append(found.labels)
            counts.append(len(found))
    same_size = len({image.shape for image in images}) == 1
    return PackedBatch(
        images=torch.stack(images) if same_size else images,
        boxes=torch.cat(boxes),
        labels=torch.cat(labels),
        counts=counts,
        metainfo=[sample["data_samples"].metainfo for sample in samples],
    )


def unpack(packed: PackedBatch, device: torch.device) -> Batch:
    """The batch on `device`, as mmdet's data preprocessors take it. Copies from pinned memory are not waited for."""

    def move(tensor: Tensor) -> Tensor:
        return tensor.to(device, non_blocking=True)

    images = move(packed.images) if isinstance(packed.images, Tensor) else [move(image) for image in packed.images]
    boxes, labels = (torch.split(move(tensor), packed.counts) for tensor in (packed.boxes, packed.labels))
    instances = [InstanceData(bboxes=own, labels=names) for own, names in zip(boxes, labels, strict=True)]
    samples = []
    for metainfo, objects, crowds in zip(packed.metainfo, instances[::2], instances[1::2], strict=True):
        sample = DetDataSample(metainfo=metainfo)
        sample.gt_instances, sample.ignored_instances = objects, crowds
        samples.append(sample)
    return {"inputs": images, "data_samples": samples}
